// QMP commands about the machine as a whole, and the table of all commands.
#include "control/monitor/json.h"
#include "control/version.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct json_object *str(const char *s)
{
    return json_object_new_string(s);
}

RUN(capabilities)
{
    struct json_object *enable;
    if (args && json_object_object_get_ex(args, "enable", &enable) &&
        json_object_is_type(enable, json_type_array) && json_object_array_length(enable))
        return qmp_fail(e, "GenericError", "No capability is offered, so none can be enabled");
    m->negotiated = true;
    return NULL;
}

RUN(cont)
{
    vm_continue(m->vm);
    return NULL;
}

RUN(stop)
{
    vm_pause(m->vm);
    return NULL;
}

RUN(quit)
{
    vm_quit(m->vm, "host-qmp-quit");
    return NULL;
}

RUN(system_powerdown)
{
    vm_powerdown(m->vm);
    return NULL;
}

RUN(system_reset)
{
    vm_system_reset(m->vm, "host-qmp-system-reset");
    return NULL;
}

RUN(human_monitor_command)
{
    struct buf out = {0};
    hmp_run(m->vm, qmp_str(args, "command-line"), &out);
    struct json_object *r = str(buf_str(&out));
    buf_free(&out);
    return r;
}

// Physical memory to a file, as a device would read it; what is not memory is an error.
RUN(pmemsave)
{
    enum { STEP = 1 << 16 };
    struct json_object *v;
    const char *name = qmp_str(args, "filename");
    json_object_object_get_ex(args, "val", &v);
    uint64_t at = (uint64_t)json_object_get_int64(v);
    json_object_object_get_ex(args, "size", &v);
    int64_t left = json_object_get_int64(v);
    FILE *f = fopen(name, "wbe");
    if (!f)
        return qmp_fail(e, "GenericError", "Could not open '%s': %s", name, strerror(errno));
    uint8_t *b = xalloc(STEP);
    bool good = left >= 0, written = true;
    while (left > 0 && good && written) {
        size_t n = (size_t)MIN(left, (int64_t)STEP);
        good = !dma_read(m->vm->machine->memory, at, b, n);
        written = !good || fwrite(b, 1, n, f) == n;
        at += n;
        left -= (int64_t)n;
    }
    free(b);
    written &= !fclose(f);
    if (!good)
        qmp_fail(e, "GenericError", "Invalid addr 0x%016llx/size %lld specified",
                 (unsigned long long)at, (long long)left);
    else if (!written)
        qmp_fail(e, "GenericError", "Could not write '%s'", name);
    return NULL;
}

RUN(query_version)
{
    struct json_object *v = json_object_new_object(), *n = json_object_new_object();
    json_object_object_add(n, "micro", json_object_new_int(COMPAT_MICRO));
    json_object_object_add(n, "minor", json_object_new_int(COMPAT_MINOR));
    json_object_object_add(n, "major", json_object_new_int(COMPAT_MAJOR));
    json_object_object_add(v, "qemu", n);
    json_object_object_add(v, "package", str("myna " MYNA_VERSION));
    return v;
}

RUN(query_status)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "status", str(run_state_name(m->vm->state)));
    json_object_object_add(o, "running", json_object_new_boolean(m->vm->state == RUN_RUNNING));
    return o;
}

RUN(set_action)
{
    static const char *const events[] = {"panic", "reboot", "shutdown", "watchdog"};
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        const char *action = qmp_str(args, events[i]);
        if (action && vm_actions_set(&m->vm->opt.actions, events[i], action, &e->err))
            return qmp_fail(e, "GenericError", "%s", e->err.msg);
    }
    return NULL;
}

RUN(query_name)
{
    struct json_object *o = json_object_new_object();
    if (m->vm->opt.name)
        json_object_object_add(o, "name", str(m->vm->opt.name));
    return o;
}

RUN(query_uuid)
{
    static const uint8_t none[16];
    const uint8_t *u = m->vm->machine->config.uuid ? m->vm->machine->config.uuid : none;
    char text[40];
    snprintf(text, sizeof text,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
             u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
             u[15]);
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "UUID", str(text));
    return o;
}

RUN(query_kvm)
{
    bool on = !strcmp(m->vm->machine->accel->ops->name, "kvm");
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "enabled", json_object_new_boolean(on));
    json_object_object_add(o, "present", json_object_new_boolean(on));
    return o;
}

RUN(query_target)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "arch", str(m->vm->machine->isa->name));
    return o;
}

RUN(query_cpus_fast)
{
    struct json_object *a = json_object_new_array();
    const struct vcpus *vs = m->vm->machine->vcpus;
    for (unsigned i = 0; i < vs->n; i++) {
        char path[64];
        struct json_object *o = json_object_new_object();
        snprintf(path, sizeof path, "/machine/unattached/device[%u]", i);
        json_object_object_add(o, "cpu-index", json_object_new_int((int)i));
        json_object_object_add(o, "qom-path", str(path));
        json_object_object_add(o, "thread-id", json_object_new_int(vs->v[i]->host_tid));
        json_object_object_add(o, "target", str(m->vm->machine->isa->name));
        json_object_object_add(o, "props", qmp_cpu_place(m, i));
        json_object_array_add(a, o);
    }
    return a;
}

RUN(query_commands)
{
    struct json_object *a = json_object_new_array();
    for (size_t i = 0; i < n_qmp_commands; i++) {
        struct json_object *o = json_object_new_object();
        json_object_object_add(o, "name", str(qmp_commands[i].name));
        json_object_array_add(a, o);
    }
    return a;
}

const struct qmp_command qmp_commands[] = {
#define QMP(n, f, a, r, early) {n, qmp_do_##f, a, r, early},
#include "control/monitor/qmp_commands.def"
#undef QMP
};
const size_t n_qmp_commands = ARRAY_SIZE(qmp_commands);
