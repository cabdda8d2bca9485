// The life of a virtual machine: back ends by id, run state, and requests that arrive from other
// threads.
#include "control/gdb/machine.h"
#include "control/monitor/monitor.h"
#include "control/saved/saved.h"
#include "base/buf.h"
#include "base/signals.h"
#include "base/thread.h"
#include "base/trace.h"
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

const char *run_state_name(enum run_state s)
{
    static const char *const names[RUN_STATES] = {"prelaunch", "running",   "paused",
                                                  "shutdown",  "debug",     "internal-error",
                                                  "io-error",  "inmigrate", "postmigrate"};
    return names[s];
}

// ---- I/O threads ----

void vm_hold_io(struct vm *vm)
{
    for (size_t i = 0; i < vm->objects.len; i++)
        if (object_is_iothread(&vm->objects.data[i]))
            loop_hold(vm->objects.data[i].backend);
}

void vm_release_io(struct vm *vm)
{
    for (size_t i = 0; i < vm->objects.len; i++)
        if (object_is_iothread(&vm->objects.data[i]))
            loop_release(vm->objects.data[i].backend);
}

// ---- requests ----

static void pause_as(struct vm *vm, enum run_state why)
{
    if (vm->state != RUN_RUNNING)
        return;
    machine_pause(vm->machine);
    vm->state = why;
    vm_event(vm, "STOP", NULL);
    gdb_machine_paused(vm);
}

// A guest that cannot go on, where the machine is to stay.
static bool outlives_panic(struct vm *vm)
{
    enum vm_panic how = vm->opt.actions.panic;
    char data[40];
    if (strcmp(atomic_load(&vm->shutdown_reason), "guest-panic"))
        return false;
    snprintf(data, sizeof data, "{\"action\": \"%s\"}", vm_panic_name(how));
    vm_event(vm, "GUEST_PANICKED", data);
    if (how == VM_PANIC_PAUSE)
        pause_as(vm, RUN_INTERNAL_ERROR);
    else if (how == VM_PANIC_SHUTDOWN)
        atomic_store(&vm->shutdown_status, 0);
    return how == VM_PANIC_PAUSE || how == VM_PANIC_NONE;
}

static void carry_out(void *opaque)
{
    struct vm *vm = opaque;
    vm_hold_io(vm);
    if (atomic_exchange(&vm->want_reset, false)) {
        if (vm->opt.actions.no_reboot) {
            atomic_store(&vm->shutdown_reason, "guest-reset");
            atomic_store(&vm->want_shutdown, true);
        } else {
            vm_system_reset(vm, atomic_load(&vm->reset_reason));
        }
    }
    if (atomic_exchange(&vm->want_powerdown, false))
        vm_powerdown(vm);
    if (atomic_exchange(&vm->want_io_stop, false))
        pause_as(vm, RUN_IO_ERROR);
    if (atomic_exchange(&vm->want_shutdown, false) && !outlives_panic(vm)) {
        const char *reason = atomic_load(&vm->shutdown_reason);
        machine_pause(vm->machine);
        vm->state = RUN_SHUTDOWN;
        char data[96];
        snprintf(data, sizeof data, "{\"guest\": %s, \"reason\": \"%s\"}",
                 strncmp(reason, "guest", 5) ? "false" : "true", reason);
        vm_event(vm, "SHUTDOWN", data);
        vm->exit_status = atomic_load(&vm->shutdown_status);
        if (!vm->opt.actions.no_shutdown || !strncmp(reason, "host", 4))
            loop_quit(vm->loop);
    }
    vm_release_io(vm);
}

static void on_reset(void *opaque, const char *reason)
{
    struct vm *vm = opaque;
    atomic_store(&vm->reset_reason, reason);
    atomic_store(&vm->want_reset, true);
    loop_defer(&vm->requests);
}

static void on_shutdown(void *opaque, const char *reason, int exit_status)
{
    struct vm *vm = opaque;
    atomic_store(&vm->shutdown_reason, reason);
    atomic_store(&vm->shutdown_status, exit_status);
    atomic_store(&vm->want_shutdown, true);
    loop_defer(&vm->requests);
}

void vm_quit(struct vm *vm, const char *reason)
{
    on_shutdown(vm, reason, 0);
}

// A balloon counts what it holds; the event says what is left of the machine's memory.
static void on_event(void *opaque, const char *name, const char *json_data)
{
    struct vm *vm = opaque;
    uint64_t held;
    char data[64];
    if (!strcmp(name, "BALLOON_CHANGE") && sscanf(json_data, "{\"actual\": %" SCNu64, &held) == 1) {
        snprintf(data, sizeof data, "{\"actual\": %" PRIu64 "}",
                 vm->machine->config.ram_size - held);
        json_data = data;
    }
    if (!strcmp(name, "DEVICE_DELETED"))
        vm_drop_idle_drives(vm);
    vm_event(vm, name, json_data);
}

void vm_hook_machine(struct vm *vm, struct machine_config *c)
{
    c->loop = vm->loop;
    c->on_reset = on_reset;
    c->on_shutdown = on_shutdown;
    c->on_event = on_event;
    c->opaque = vm;
}

static void on_disk_failure(void *opaque, struct drive *d, enum block_op op, enum drive_err action,
                            int result)
{
    struct vm *vm = opaque;
    struct buf data = {0};
    buf_printf(&data, "{\"device\": ");
    buf_json_string(&data, d->from_blockdev ? "" : d->id);
    buf_printf(&data, ", \"node-name\": ");
    buf_json_string(&data, block_node_name(d->node));
    buf_printf(&data,
               ", \"operation\": \"%s\", \"action\": \"%s\", \"nospace\": %s, \"reason\": \"%s\"}",
               op == BLOCK_READ ? "read" : "write", drive_err_names[action],
               result == -ENOSPC ? "true" : "false", strerror(-result));
    vm_event(vm, "BLOCK_IO_ERROR", buf_str(&data));
    buf_free(&data);
    if (action == DRIVE_ERR_STOP) {
        atomic_store(&vm->want_io_stop, true);
        loop_defer(&vm->requests);
    }
}

static void on_job_event(void *opaque, const char *name, const char *json_data)
{
    vm_event(opaque, name, json_data);
}

// ---- events: from any thread, sent on the loop ----

static void send_events(void *opaque)
{
    struct vm *vm = opaque;
    for (;;) {
        struct vm_event e = {0};
        mutex_lock(&vm->events_lock);
        if (vm->events.len) {
            e = vm->events.data[0];
            vec_remove(&vm->events, 0);
        }
        mutex_unlock(&vm->events_lock);
        if (!e.name)
            return;
        monitor_broadcast(vm, e.name, e.data);
        free(e.name);
        free(e.data);
    }
}

// ---- run state ----

void vm_continue(struct vm *vm)
{
    if (vm->state == RUN_RUNNING || vm->state == RUN_SHUTDOWN || vm->state == RUN_INMIGRATE)
        return;
    vm->state = RUN_RUNNING;
    vm_event(vm, "RESUME", NULL);
    gdb_machine_started(vm);
    machine_run(vm->machine);
    vm_hold_io(vm);
    drives_retry(vm->drives);
    vm_release_io(vm);
}

void vm_pause(struct vm *vm)
{
    pause_as(vm, RUN_PAUSED);
    // What the disks still do is done when this returns: nothing changes in a machine that stands.
    vm_hold_io(vm);
    for (struct drive *d = drives_next(vm->drives, NULL); d; d = drives_next(vm->drives, d))
        if (d->node)
            block_drain(d->node);
    vm_release_io(vm);
}

void vm_system_reset(struct vm *vm, const char *reason)
{
    bool run = vm->state == RUN_RUNNING || vm->state == RUN_SHUTDOWN;
    machine_pause(vm->machine);
    drives_give_up(vm->drives);
    machine_reset(vm->machine);
    char data[96];
    snprintf(data, sizeof data, "{\"guest\": %s, \"reason\": \"%s\"}",
             strncmp(reason, "guest", 5) ? "false" : "true", reason);
    vm_event(vm, "RESET", data);
    if (run) {
        vm->state = RUN_RUNNING;
        machine_run(vm->machine);
    }
}

void vm_powerdown(struct vm *vm)
{
    vm_event(vm, "POWERDOWN", NULL);
    machine_powerdown(vm->machine);
}

void vm_event(struct vm *vm, const char *name, const char *json_data)
{
    TRACE(vm_event, "%s %s", name, json_data ? json_data : "");
    mutex_lock(&vm->events_lock);
    vec_push(&vm->events, (struct vm_event){xstrdup(name), json_data ? xstrdup(json_data) : NULL});
    mutex_unlock(&vm->events_lock);
    if (loop_is_current(vm->loop))
        send_events(vm); // in order with the replies of the command that caused it
    else
        loop_defer(&vm->send_events);
}

// ---- back ends ----

struct chardev *vm_find_chardev(struct vm *vm, const char *id)
{
    for (size_t i = 0; i < vm->chardevs.len; i++)
        if (!strcmp(chardev_id(vm->chardevs.data[i]), id))
            return vm->chardevs.data[i];
    return NULL;
}

struct chardev *vm_add_chardev(struct vm *vm, struct opts *o, struct err *e)
{
    const char *id = opts_get(o, "id");
    if (!id) {
        err_set(e, "give it an id=");
        return NULL;
    }
    if (vm_find_chardev(vm, id)) {
        err_set(e, "id %s is already in use", id);
        return NULL;
    }
    if (fd_store_resolve_names(&vm->fds, o, e) || fd_store_resolve_files(&vm->fds, o, e)) {
        err_prefix(e, "chardev '%s'", id);
        return NULL;
    }
    struct chardev *c = chardev_open(o, vm->loop, e);
    if (c)
        vec_push(&vm->chardevs, c);
    return c;
}

int vm_legacy_chardev(struct vm *vm, const char *spec, const char *id, struct chardev **out,
                      struct err *e)
{
    *out = NULL;
    if (!strcmp(spec, "none"))
        return 0;
    if (!strncmp(spec, "chardev:", 8)) {
        *out = vm_find_chardev(vm, spec + 8);
        return *out ? 0 : err_set(e, "%s: no -chardev has the id '%s'", spec, spec + 8);
    }
    struct opts o = {0};
    bool mux = false;
    int r = -1;
    if (!chardev_opts_from_legacy(spec, &o, &mux, e)) {
        opts_set(&o, "id", id);
        if (mux)
            opts_set(&o, "mux", "on");
        *out = vm_add_chardev(vm, &o, e);
        r = *out ? 0 : -1;
    }
    opts_free(&o);
    return r;
}

struct netdev *vm_find_netdev(struct vm *vm, const char *id)
{
    struct netdev *n;
    list_for_each(n, &vm->netdevs, link) if (!strcmp(n->id, id)) return n;
    return NULL;
}

static struct netdev *netdev_of(struct device *d)
{
    device_for_each_field(d->type, b, f)
    {
        struct netdev *n = f->kind == F_BACKEND_NET ? *(void **)device_field_ptr(d, f) : NULL;
        if (n)
            return n;
    }
    return d->inner ? netdev_of(d->inner) : NULL;
}

struct netdev *vm_find_link(struct vm *vm, const char *id)
{
    struct netdev *n = vm_find_netdev(vm, id);
    struct device *d = n ? NULL : device_find(&vm->machine->tree, id);
    return d ? netdev_of(d) : n;
}

struct netdev *vm_add_netdev(struct vm *vm, struct opts *o, struct err *e)
{
    const char *id = opts_get(o, "id");
    if (!id) {
        err_set(e, "give it an id=");
        return NULL;
    }
    if (vm_find_netdev(vm, id)) {
        err_set(e, "id %s is already in use", id);
        return NULL;
    }
    if (fd_store_resolve_names(&vm->fds, o, e)) {
        err_prefix(e, "netdev '%s'", id);
        return NULL;
    }
    struct netdev *n = netdev_open(o, vm->loop, e);
    if (!n)
        return NULL;
    list_append(&vm->netdevs, &n->link);
    if (!netdev_join_hub(n, &vm->netdevs, e))
        return n;
    netdev_close(n);
    return NULL;
}

void *vm_find_backend(void *opaque, enum field_kind kind, const char *id, struct device *d,
                      struct err *e)
{
    struct vm *vm = opaque;
    void *found = NULL;
    switch (kind) {
    case F_BACKEND_BLOCK:
        return drives_get(vm->drives, id, e);
    case F_BACKEND_NET:
        found = vm_find_netdev(vm, id);
        break;
    case F_BACKEND_CHR:
        found = vm_find_chardev(vm, id);
        break;
    case F_BACKEND_OBJ:
    case F_BACKEND_LOOP: {
        struct object *o = object_find(&vm->objects, id);
        if (o && !object_memory(o) && object_is_iothread(o) == (kind == F_BACKEND_LOOP))
            found = o->backend;
        break;
    }
    default:
        break;
    }
    if (!found)
        err_set(e, "no %s has the id '%s'",
                kind == F_BACKEND_NET    ? "-netdev"
                : kind == F_BACKEND_CHR  ? "-chardev"
                : kind == F_BACKEND_LOOP ? "-object iothread"
                                         : "-object",
                id);
    return found;
}

// ---- taking away ----

// The device whose property of this kind is `backend`, or NULL.
static const struct device *user_of(struct vm *vm, enum field_kind kind, const void *backend)
{
    for (size_t i = 0; i < vm->machine->tree.devices.len; i++) {
        struct device *d = vm->machine->tree.devices.data[i];
        device_for_each_field(d->type, b, f)
        {
            if (f->kind == kind && *(void **)device_field_ptr(d, f) == backend)
                return d->host && !d->id ? d->host : d;
        }
    }
    return NULL;
}

static int in_use(struct vm *vm, enum field_kind kind, const void *backend, const char *what,
                  const char *id, struct err *e)
{
    const struct device *d = backend ? user_of(vm, kind, backend) : NULL;
    return d ? err_set(e, "%s '%s' is in use by device '%s'; remove that first (device_del)", what,
                       id, d->id ? d->id : d->type->name)
             : 0;
}

int vm_del_netdev(struct vm *vm, const char *id, struct err *e)
{
    struct netdev *n = vm_find_netdev(vm, id);
    if (!n)
        return err_set(e, "Device '%s' not found", id);
    if (in_use(vm, F_BACKEND_NET, n, "netdev", id, e))
        return -1;
    list_remove(&n->link);
    netdev_close(n);
    return 0;
}

int vm_del_object(struct vm *vm, const char *id, struct err *e)
{
    struct object *o = object_find(&vm->objects, id);
    enum field_kind kind = o && object_is_iothread(o) ? F_BACKEND_LOOP : F_BACKEND_OBJ;
    if (o && in_use(vm, kind, o->backend, "object", id, e))
        return -1;
    struct memory_backend *mem = o ? object_memory(o) : NULL;
    if (mem && mem->used)
        return err_set(e, "object '%s' is in use by the machine's RAM", id);
    if (kind == F_BACKEND_LOOP && drives_use_loop(vm->drives, o->backend))
        return err_set(e, "object '%s' is in use by a block job", id);
    return object_del(&vm->objects, id, e);
}

void vm_drop_idle_drives(struct vm *vm)
{
    struct drive *next;
    for (struct drive *d = drives_next(vm->drives, NULL); d; d = next) {
        next = drives_next(vm->drives, d);
        if (d->from_blockdev && !d->dev)
            drives_del(vm->drives, d);
    }
}

int vm_del_device(struct vm *vm, const char *id, struct err *e)
{
    const char *slash = strrchr(id, '/');
    struct device *d = device_find(&vm->machine->tree, slash ? slash + 1 : id);
    if (!d)
        return err_set(e, "Device '%s' not found", id);
    return device_request_unplug(&vm->machine->tree, d, e);
}

// ---- life ----

static void asked_to_end(void *opaque, int signal)
{
    vm_quit(opaque, "host-signal");
}

struct vm *vm_new(void)
{
    struct vm *vm = xalloc(sizeof *vm);
    vm->loop = loop_new("main");
    vm->drives = drives_new(vm->loop);
    drives_on_failure(vm->drives, on_disk_failure, vm);
    drives_on_event(vm->drives, on_job_event, vm);
    fd_store_init(&vm->fds);
    vm->migration.downtime_ms = 300;
    drives_set_fdsets(vm->drives, vm->fds.sets);
    list_init(&vm->netdevs);
    loop_work_init(&vm->send_events, vm->loop, send_events, vm);
    pthread_mutex_init(&vm->events_lock, NULL);
    loop_work_init(&vm->requests, vm->loop, carry_out, vm);
    vm->signals = signals_watch(vm->loop, asked_to_end, vm);
    atomic_store(&vm->reset_reason, "guest-reset");
    atomic_store(&vm->shutdown_reason, "guest-shutdown");
    return vm;
}

void vm_free(struct vm *vm)
{
    struct netdev *n, *next;
    while (vm->monitors.len)
        monitor_free(vm->monitors.data[0]);
    gdb_machine_free(vm);
    vm_migrate_end(vm);
    vm_incoming_end(vm);
    vm_hold_io(vm); // from here on they serve nobody
    machine_free(vm->machine);
    list_for_each_safe(n, next, &vm->netdevs, link) netdev_close(n);
    for (size_t i = 0; i < vm->chardevs.len; i++)
        chardev_close(vm->chardevs.data[i]);
    vec_free(&vm->chardevs);
    drives_free(vm->drives);
    fd_store_free(&vm->fds);
    object_free_all(&vm->objects);
    loop_work_cancel(&vm->requests);
    loop_work_cancel(&vm->send_events);
    for (size_t i = 0; i < vm->events.len; i++) {
        free(vm->events.data[i].name);
        free(vm->events.data[i].data);
    }
    vec_free(&vm->events);
    vec_free(&vm->monitors);
    pthread_mutex_destroy(&vm->events_lock);
    signals_unwatch(vm->signals);
    loop_free(vm->loop);
    free(vm);
}

int vm_run(struct vm *vm)
{
    if (!vm->opt.incoming)
        vm->state = RUN_PRELAUNCH;
    if (!vm->opt.incoming && !vm->opt.start_paused)
        vm_continue(vm);
    loop_run(vm->loop);
    machine_pause(vm->machine);
    return vm->exit_status;
}
