// Commands of both monitors that save a machine, send its state away and take one in.
#include "base/clock.h"
#include "control/monitor/json.h"
#include "control/saved/saved.h"
#include <stdio.h>
#include <time.h>

static void report(struct buf *out, int result, const struct err *e)
{
    if (result)
        buf_printf(out, "Error: %s\n", e->msg);
}

// A name as programs write it, in quotes with backslashes, is put plainly in its place.
static char *plain(char *args)
{
    if (*args != '"')
        return args;
    char *to = args, *from = args + 1;
    while (*from && *from != '"') {
        from += *from == '\\' && from[1];
        *to++ = *from++;
    }
    *to = 0;
    return args;
}

HMP_RUN(savevm)
{
    struct err e = {0};
    char name[64];
    time_t now = time(NULL);
    struct tm tm;
    if (!*args && localtime_r(&now, &tm)) {
        strftime(name, sizeof name, "vm-%Y%m%d%H%M%S", &tm);
        args = name;
    }
    report(out, vm_snapshot_save(vm, plain(args), &e), &e);
}

HMP_RUN(loadvm)
{
    struct err e = {0};
    if (!*args)
        buf_printf(out, "Error: loadvm: give the name of a snapshot (info snapshots lists them)\n");
    else
        report(out, vm_snapshot_load(vm, plain(args), &e), &e);
}

HMP_RUN(delvm)
{
    struct err e = {0};
    if (!*args)
        buf_printf(out, "Error: delvm: give the name of a snapshot (info snapshots lists them)\n");
    else
        report(out, vm_snapshot_delete(vm, plain(args), &e), &e);
}

HMP_RUN(info_snapshots)
{
    vm_snapshot_print(vm, out);
}

HMP_RUN(migrate)
{
    struct err e = {0};
    bool wait = true;
    for (; !strncmp(args, "-d", 2) || *args == ' '; args += *args == ' ' ? 1 : 2)
        wait &= *args == ' ';
    if (!*args)
        buf_printf(out, "Error: migrate: say where to (file:PATH, unix:PATH, …)\n");
    else
        report(out, vm_migrate(vm, args, wait, &e), &e);
}

// ---- QMP ----

RUN(migrate)
{
    if (vm_migrate(m->vm, qmp_str(args, "uri"), false, &e->err))
        e->class = "GenericError";
    return NULL;
}

RUN(migrate_incoming)
{
    if (vm_incoming(m->vm, qmp_str(args, "uri"), &e->err))
        e->class = "GenericError";
    return NULL;
}

RUN(migrate_cancel)
{
    vm_migrate_cancel(m->vm);
    return NULL;
}

RUN(query_migrate)
{
    static const char *const idle[] = {"duplicate",     "skipped",          "normal",
                                       "normal-bytes",  "dirty-pages-rate", "postcopy-requests",
                                       "multifd-bytes", "pages-per-second"};
    struct json_object *o = object(), *ram = object();
    if (!m->vm->migration.status) {
        json_object_put(ram);
        return o;
    }
    put_str(o, "status", m->vm->migration.status);
    if (m->vm->migration.error[0])
        put_str(o, "error-desc", m->vm->migration.error);
    bool active = m->vm->migration.out || m->vm->migration.in;
    put_int(o, "total-time",
            active ? (host_monotonic_ns() - m->vm->migration.began) / 1000000
                   : m->vm->migration.time_ms);
    if (active)
        put_int(o, "expected-downtime", m->vm->migration.downtime_ms);
    else
        put_int(o, "downtime", m->vm->migration.down_ms);
    put_int(ram, "total", (int64_t)m->vm->machine->config.ram_size);
    put_int(ram, "transferred", (int64_t)m->vm->migration.bytes);
    put_int(ram, "remaining", (int64_t)m->vm->migration.remaining);
    put_int(ram, "dirty-sync-count", m->vm->migration.passes);
    put_int(ram, "page-size", 4096);
    json_object_object_add(ram, "mbps", json_object_new_double(0));
    for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
        put_int(ram, idle[i], 0);
    json_object_object_add(o, "ram", ram);
    return o;
}

RUN(query_migrate_parameters)
{
    struct json_object *o = object();
    uint64_t rate = m->vm->migration.max_bandwidth;
    put_int(o, "max-bandwidth", rate ? (int64_t)rate : INT64_MAX);
    put_int(o, "downtime-limit", m->vm->migration.downtime_ms);
    return o;
}

// Names for bitmaps are taken and have no use: the capability to send them along is not there.
RUN(migrate_set_parameters)
{
    struct json_object *v;
    int64_t rate = -1, down = -1;
    if (args && json_object_object_get_ex(args, "max-bandwidth", &v) &&
        (rate = json_object_get_int64(v)) < 0)
        return qmp_fail(e, "GenericError", "Parameter 'max-bandwidth' expects a size");
    if (args && json_object_object_get_ex(args, "downtime-limit", &v) &&
        ((down = json_object_get_int64(v)) < 0 || down > 2000000))
        return qmp_fail(e, "GenericError",
                        "Parameter 'downtime-limit' expects an integer from 0 to 2000000");
    if (rate >= 0)
        m->vm->migration.max_bandwidth = (uint64_t)rate == INT64_MAX ? 0 : (uint64_t)rate;
    if (down >= 0)
        m->vm->migration.downtime_ms = (unsigned)down;
    return NULL;
}

// Every disk of a machine takes part: a list that leaves one out asks for what cannot be kept.
static bool all_disks(struct monitor *m, struct json_object *args, struct qmp_error *e)
{
    struct json_object *list;
    json_object_object_get_ex(args, "devices", &list);
    if (!json_object_is_type(list, json_type_array)) {
        qmp_fail(e, "GenericError", "Invalid parameter type for 'devices', expected: array");
        return false;
    }
    size_t n = json_object_array_length(list);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(list, i));
        if (!vm_snapshot_takes(m->vm, name ? name : "")) {
            qmp_fail(e, "GenericError", "No block device node '%s' that can be written", name);
            return false;
        }
    }
    if (n == vm_snapshot_disks(m->vm))
        return true;
    qmp_fail(e, "GenericError", "'devices' leaves out a writable disk; all of them take part");
    return false;
}

static struct json_object *snapshot(struct monitor *m, enum vm_snapshot_job kind,
                                    struct json_object *args, struct qmp_error *e)
{
    const char *state = qmp_str(args, "vmstate");
    if (!all_disks(m, args, e))
        return NULL;
    if (state && !vm_snapshot_takes(m->vm, state))
        return qmp_fail(e, "GenericError", "vmstate node '%s' is not among the disks", state);
    if (vm_snapshot_job(m->vm, kind, qmp_str(args, "job-id"), qmp_str(args, "tag"), &e->err))
        e->class = "GenericError";
    return NULL;
}

RUN(snapshot_save)
{
    return snapshot(m, VM_SNAPSHOT_SAVE, args, e);
}

RUN(snapshot_load)
{
    return snapshot(m, VM_SNAPSHOT_LOAD, args, e);
}

RUN(snapshot_delete)
{
    return snapshot(m, VM_SNAPSHOT_DELETE, args, e);
}

// ---- migration: events are always sent ----

RUN(query_migrate_capabilities)
{
    struct json_object *a = array(), *o = object();
    put_str(o, "capability", "events");
    put_bool(o, "state", true);
    json_object_array_add(a, o);
    return a;
}

RUN(migrate_set_capabilities)
{
    struct json_object *list, *on;
    json_object_object_get_ex(args, "capabilities", &list);
    if (!json_object_is_type(list, json_type_array))
        return qmp_fail(e, "GenericError",
                        "Invalid parameter type for 'capabilities', expected: array");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *c = json_object_array_get_idx(list, i);
        const char *name = qmp_str(c, "capability");
        bool wanted = json_object_object_get_ex(c, "state", &on) && json_object_get_boolean(on);
        if (!name || (strcmp(name, "events") && wanted))
            return qmp_fail(e, "GenericError", "Migration capability '%s' is not available",
                            name ? name : "");
    }
    return NULL;
}
