// The dispatcher of system calls: number to table entry, arguments to the host's, the result back.
// Most calls go to the host as they are, since Linux's generic ABI and the host's agree on almost
// every layout; the rest have functions in calls_*.c.
#include "user/calls.h"

#include "base/log.h"
#include "user/path.h"

#include <stdlib.h>

#define PASS  NULL
#define INT   K_INT
#define HEX   K_HEX
#define LONG  K_LONG
#define SIZE  K_SIZE
#define MODE  K_MODE
#define FD    K_FD
#define DIRFD K_DIRFD
#define OPEN  K_OPEN
#define SIG   K_SIG
#define ADDR  K_ADDR
#define PTR   K_PTR
#define BUF   K_BUF
#define NAME  K_NAME
#define PATH  K_PATH
const struct call calls[CALLS] = {
#define CALL(name, fn, ...) {#name, fn, SYS_##name, {__VA_ARGS__}},
#include "user/calls/all.h"
#undef CALL
};

const uint16_t calls_generic[CALLS_GENERIC] = {
#define NUMBER(name, number) [number] = 1 + CALL_##name,
#include "user/calls/numbers_generic.def"
#undef NUMBER
};

// With -L, a path of the program's may mean a file below it.
static int64_t pass_with_path(struct thread *t, const struct call *c, uint64_t *args,
                              unsigned which, uint64_t guest)
{
    char path[4096], found[4096];
    int64_t r = guest_string(t, guest, path, sizeof path);
    if (r)
        return r;
    path_lookup(t->u, path, found, sizeof found, true);
    args[which] = (uint64_t)(uintptr_t)found;
    return host_call(c->host, args, &t->captured);
}

static int64_t pass(struct thread *t, const struct call *c, const uint64_t *a)
{
    uint64_t args[CALL_ARGS];
    unsigned path = CALL_ARGS;
    for (unsigned i = 0; i < CALL_ARGS; i++) {
        args[i] = c->kinds[i] < K_PTR ? a[i] : call_ptr(t, a[i]);
        if (c->kinds[i] == K_PATH && t->u->prefix_fd >= 0 && a[i])
            path = i;
    }
    if (path < CALL_ARGS)
        return pass_with_path(t, c, args, path, a[path]);
    return host_call(c->host, args, &t->captured);
}

void call_guest(struct thread *t)
{
    const struct abi *abi = t->u->abi;
    uint64_t a[CALL_ARGS], number = abi->call_number(t->env);
    unsigned id = number < abi->n_numbers ? abi->numbers[number] : 0;
    abi->call_args(t->env, a);
    if (!id) {
        if (log_on(LOG_UNIMP))
            log_debug("system call %llu is not known", (unsigned long long)number);
        abi->set_result(t->env, -ENOSYS);
        return;
    }
    const struct call *c = &calls[id - 1];
    t->call_nr = number;
    t->call_arg0 = a[0];
    bool returns = id - 1 != CALL_rt_sigreturn;
    if (unlikely(t->u->opt.strace))
        strace_begin(t, c, number, a);
    int64_t r = fd_names_own(t, c, a) ? -EBADF : c->fn ? c->fn(t, a) : pass(t, c, a);
    if (unlikely(t->u->opt.strace))
        strace_call(t, c, number, a, r);
    if (unlikely(r == HOST_CALL_RESTART || r == HOST_CALL_NOT_MADE))
        t->restart = r == HOST_CALL_RESTART ? RESTART_ASK : RESTART_ALWAYS;
    else if (returns)
        abi->set_result(t->env, r);
}

// ---- calls that are refused ----

int64_t sys_refuse_enosys(struct thread *t, const uint64_t *a)
{
    return -ENOSYS;
}
int64_t sys_refuse_eperm(struct thread *t, const uint64_t *a)
{
    return -EPERM;
}
int64_t sys_refuse_einval(struct thread *t, const uint64_t *a)
{
    return -EINVAL;
}
int64_t sys_refuse_eintr(struct thread *t, const uint64_t *a)
{
    return -EINTR;
}
