// -incoming and migrate-incoming: a machine's state arrives. From a socket a thread takes it in,
// memory as it comes, while the monitors go on; what has come to its end is made the machine's on
// the main loop.
#include "base/log.h"
#include "base/thread.h"
#include "control/saved/saved.h"
#include "control/saved/ways.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct arrival {
    struct vm *vm;
    struct way way;
    struct vm_load *load;
    struct err err;
    int result;
    pthread_t thread;
    struct loop_work finish;
};

// The stream is at its end, good or bad.
static int take_over(struct vm *vm, struct vm_load *l, struct way *w, int r, struct err *e)
{
    struct err late = {0};
    vm_hold_io(vm);
    r = vm_load_finish(l, r, e);
    if (way_close(w, &late) && !r) {
        *e = late;
        r = -1;
    }
    vm->state = r ? RUN_INMIGRATE : RUN_PRELAUNCH;
    vm_migration_done(vm, r, e);
    if (!r && vm->opt.start_paused)
        vm->state = RUN_PAUSED;
    else if (!r)
        vm_continue(vm);
    vm_release_io(vm);
    return r;
}

static void finish(void *opaque)
{
    struct arrival *a = opaque;
    struct vm *vm = a->vm;
    pthread_join(a->thread, NULL);
    vm->migration.in = NULL;
    if (take_over(vm, a->load, &a->way, a->result, &a->err)) {
        log_error("-incoming: %s", a->err.msg);
        vm->exit_status = 1;
        loop_quit(vm->loop);
    }
    free(a);
}

static void receive(void *opaque)
{
    struct arrival *a = opaque;
    struct state_in i = {.read = way_get, .opaque = &a->way};
    a->result = vm_load_stream(a->load, &i, &a->err);
    loop_defer(&a->finish);
}

static void stop_listening(struct vm *vm)
{
    if (!vm->migration.watch)
        return;
    loop_fd_del(vm->migration.watch);
    close(vm->migration.listen_fd);
    vm->migration.watch = NULL;
}

static void connected(void *opaque, unsigned events)
{
    struct vm *vm = opaque;
    int fd = sock_accept(vm->migration.listen_fd);
    if (fd < 0)
        return;
    stop_listening(vm);
    struct arrival *a = xalloc(sizeof *a);
    a->vm = vm;
    a->way.fd = fd;
    a->way.data = xalloc(WAY_BUFFER);
    a->way.patient = true;
    loop_work_init(&a->finish, vm->loop, finish, a);
    vm_migration_status(vm, "active");
    vm_hold_io(vm);
    a->load = vm_load_begin(vm);
    vm_release_io(vm);
    vm->migration.in = a;
    a->thread = thread_start("migration", receive, a);
}

void vm_incoming_end(struct vm *vm)
{
    struct arrival *a = vm->migration.in;
    struct err ignored = {0};
    stop_listening(vm);
    if (!a)
        return;
    atomic_store(&a->way.stop, true);
    pthread_join(a->thread, NULL);
    loop_work_cancel(&a->finish);
    if (vm_load_finish(a->load, -1, &a->err) && way_close(&a->way, &ignored))
        log_debug("%s", ignored.msg);
    free(a);
    vm->migration.in = NULL;
}

static int listen_on(struct vm *vm, const char *uri, struct err *e)
{
    struct sock_addr a;
    if (way_resolve(&a, uri, true, e) || (vm->migration.listen_fd = sock_listen(&a, e)) < 0)
        return -1;
    vm->migration.watch = loop_fd_add(vm->loop, vm->migration.listen_fd, LOOP_IN, connected, vm);
    return 0;
}

int vm_incoming(struct vm *vm, const char *uri, struct err *e)
{
    struct way w = {0};
    struct err ignored = {0};
    if (vm->state != RUN_INMIGRATE || vm->migration.watch || vm->migration.in)
        return err_set(e, "'-incoming' was not specified on the command line, or its machine is "
                          "there already");
    if (!vm->machine->ram)
        return err_set(e, "machine '%s' has nothing to load", vm->machine->board->name);
    vm_migration_begin(vm);
    if (way_is_socket(uri))
        return listen_on(vm, uri, e);
    if (way_open(vm, &w, uri, false, e)) {
        if (way_close(&w, &ignored))
            err_prefix(e, "%s; and before", ignored.msg);
        return vm_migration_done(vm, -1, e);
    }
    vm_migration_status(vm, "active");
    struct vm_load *l = vm_load_begin(vm);
    struct state_in i = {.read = way_get, .opaque = &w};
    return take_over(vm, l, &w, vm_load_stream(l, &i, e), e);
}
