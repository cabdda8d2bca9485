// A program without code: an address space, a CPU and one thread, so that the parts of user mode
// can be called one by one.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "accel/dbt.h"
#include "base/err.h"
#include "user/calls.h"

#include <sys/mman.h>

enum { PAGE = 4096, GUEST_SIZE = 1 << 30, SCRATCH = 0x100000, SCRATCH_SIZE = 16 * PAGE };

static inline struct thread *guest_new(const char *isa)
{
    struct user *u = xalloc(sizeof *u);
    struct opts o = {0};
    struct err e = {0};
    for (unsigned i = 0; abis[i]; i++)
        if (!strcmp(abis[i]->isa, isa))
            u->abi = abis[i];
    u->isa = isa_find(isa);
    layouts_make(&u->layouts, &u->abi->data, u->isa->big_endian);
    u->fds = (struct own_fds){-1, -1, -1};
    u->pid = getpid();
    u->exe = xstrdup("/nowhere/program");
    u->opt.stack_size = MiB;
    assert_non_null(u->abi);
    assert_int_equal(mm_init(&u->mm, 0, false, GUEST_SIZE, PAGE, &e), 0);
    const struct dbt_user du = {.base = u->mm.base};
    u->max_threads = 4;
    u->threads = xcalloc(u->max_threads, sizeof *u->threads);
    pthread_mutex_init(&u->threads_lock, NULL);
    assert_int_equal(opts_parse(&o, "dbt,tb-size=4M", "accel", &e), 0);
    u->accel = dbt_open_user(u->isa, u->max_threads, &du, &o, &e);
    opts_free(&o);
    assert_non_null(u->accel);
    struct thread *t = thread_new(u, &e);
    assert_non_null(t);
    user_self = t;
    t->sighand = xalloc(sizeof *t->sighand);
    u->accel->ops->thread_enter(u->accel, t->env);
    signal_take_faults();
    assert_int_equal(mm_map(&u->mm, SCRATCH, SCRATCH_SIZE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     SCRATCH);
    return t;
}

static inline void guest_free(struct thread *t)
{
    struct user *u = t->u;
    free(t->sighand);
    u->accel->ops->thread_leave(u->accel, t->env);
    thread_free(t);
    accel_close(u->accel);
    munmap(u->mm.base, u->mm.size + PAGE);
    vec_free(&u->mm.areas);
    free(u->threads);
    free(u->exe);
    free(u);
    user_self = NULL;
}

static inline void *guest_at(struct thread *t, uint64_t addr)
{
    return mm_host(&t->u->mm, addr);
}

// A call by its entry in the table, as the program would make it.
static inline int64_t guest_call(struct thread *t, enum call_id id, const uint64_t *args)
{
    uint64_t a[CALL_ARGS] = {0};
    signal_take_faults(); // cmocka takes the faults' signals for itself at the start of a test
    memcpy(a, args, sizeof a);
    return calls[id].fn ? calls[id].fn(t, a) : call_pass(t, id, a);
}
#define GUEST_CALL(t, name, ...)                                                                   \
    guest_call(t, CALL_##name, (const uint64_t[CALL_ARGS]){__VA_ARGS__})
