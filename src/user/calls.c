// The dispatcher of system calls: number to table entry, arguments to the host's, the result back.
// Most calls go to the host as they are, since Linux's generic ABI and the host's agree on almost
// every layout; structures on which they do not are converted on the way (layout.h). The rest have
// functions in calls/.
#include "user/calls.h"

#include "base/log.h"
#include "user/path.h"
#include "user/proxy.h"

#include <stdlib.h>

#define PASS   NULL
#define INT    K_INT
#define HEX    K_HEX
#define LONG   K_LONG
#define SIZE   K_SIZE
#define MODE   K_MODE
#define OFF    K_OFF
#define POS    K_POS
#define FD     K_FD
#define DIRFD  K_DIRFD
#define OPEN   K_OPEN
#define SIG    K_SIG
#define ADDR   K_ADDR
#define PTR    K_PTR
#define BUF    K_BUF
#define NAME   K_NAME
#define PATH   K_PATH
#define IN(x)  K_IN | LAYOUT_##x
#define OUT(x) K_OUT | LAYOUT_##x
const struct call calls[CALLS] = {
#define CALL(name, fn, ...) {#name, fn, SYS_##name, {__VA_ARGS__}},
#include "user/calls/all.h"
#undef CALL
};

const uint16_t calls_generic[CALLS_GENERIC] = {
#define NUMBER(name, number) [number] = 1 + CALL_##name,
#include "user/calls/numbers_generic.def"
#include "user/calls/numbers_generic64.def"
#undef NUMBER
};

int64_t call_host(struct thread *t, long nr, const uint64_t args[6])
{
    return t->proxy ? proxy_call(t->proxy, nr, args, &t->captured)
                    : host_call(nr, args, &t->captured);
}

// ---- arguments ----

// From registers to one value for each argument.
static void decode(const struct user *u, const struct call *c, const uint64_t *raw, uint64_t *a)
{
    unsigned bits = 8 * u->abi->data.long_size, r = 0;
    for (unsigned i = 0; i < CALL_ARGS; i++) {
        uint8_t k = c->kinds[i];
        bool pair = k == K_POS || (k == K_OFF && bits < 64);
        if (k == K_OFF && pair && u->abi->data.even_pairs)
            r += r & 1;
        a[i] = r < CALL_ARGS ? raw[r++] : 0;
        if (k == K_LONG)
            a[i] = (uint64_t)((int64_t)(a[i] << (64 - bits)) >> (64 - bits));
        uint64_t second = pair && r < CALL_ARGS ? raw[r++] : 0;
        if (pair && bits < 64) {
            bool high_first = k == K_OFF && u->isa->big_endian;
            a[i] = high_first ? a[i] << bits | second : a[i] | second << bits;
        }
    }
}

static bool is_layout(uint8_t kind)
{
    return (kind & (K_IN | K_OUT)) != 0;
}

// Structures whose layout is not the host's: copies in, the call, copies out.
static int64_t pass_converted(struct thread *t, const struct call *c, const uint64_t *a,
                              uint64_t *args)
{
    uint8_t host[CALL_ARGS][LAYOUT_MOST] __attribute__((aligned(8)));
    for (unsigned i = 0; i < CALL_ARGS; i++) {
        uint8_t k = c->kinds[i];
        enum layout_id id = k & K_LAYOUT;
        if (!is_layout(k) || !a[i] || layout_same(t, id))
            continue;
        if (k & K_IN && !layout_read(t, id, a[i], host[i]))
            return -EFAULT;
        args[i] = (uint64_t)(uintptr_t)host[i];
    }
    int64_t r = call_host(t, c->host, args);
    for (unsigned i = 0; i < CALL_ARGS && r >= 0; i++) {
        uint8_t k = c->kinds[i];
        if (k & K_OUT && a[i] && !layout_same(t, k & K_LAYOUT) &&
            !layout_write(t, k & K_LAYOUT, a[i], host[i]))
            r = -EFAULT;
    }
    return r;
}

// With -L, a path of the program's may mean a file below it.
static int64_t pass_with_path(struct thread *t, const struct call *c, const uint64_t *a,
                              uint64_t *args, unsigned which)
{
    char path[4096], found[4096];
    int64_t r = guest_string(t, a[which], path, sizeof path);
    if (r)
        return r;
    path_lookup(t->u, path, found, sizeof found, true);
    args[which] = (uint64_t)(uintptr_t)found;
    return pass_converted(t, c, a, args);
}

int64_t call_pass(struct thread *t, enum call_id id, const uint64_t *a)
{
    const struct call *c = &calls[id];
    uint64_t args[CALL_ARGS];
    unsigned path = CALL_ARGS;
    bool convert = false;
    for (unsigned i = 0; i < CALL_ARGS; i++) {
        uint8_t k = c->kinds[i];
        args[i] = k < K_PTR ? a[i] : call_ptr(t, a[i]);
        if (k == K_PATH && t->fds->prefix >= 0 && a[i])
            path = i;
        convert |= is_layout(k) && !layout_same(t, k & K_LAYOUT);
    }
    if (path < CALL_ARGS)
        return pass_with_path(t, c, a, args, path);
    return convert ? pass_converted(t, c, a, args) : call_host(t, c->host, args);
}

void call_guest(struct thread *t)
{
    const struct abi *abi = t->u->abi;
    uint64_t raw[CALL_ARGS], a[CALL_ARGS], number = abi->call_number(t->env);
    unsigned id = number < abi->n_numbers ? abi->numbers[number] : 0;
    abi->call_args(t->env, raw);
    if (!id) {
        if (log_on(LOG_UNIMP))
            log_debug("system call %llu is not known", (unsigned long long)number);
        abi->set_result(t->env, -ENOSYS);
        return;
    }
    const struct call *c = &calls[id - 1];
    decode(t->u, c, raw, a);
    t->call_nr = number;
    t->call_arg0 = raw[0];
    bool returns = id - 1 != CALL_rt_sigreturn;
    if (unlikely(t->u->opt.strace))
        strace_begin(t, c, number, a);
    int64_t r = fd_names_own(t, c, a) ? -EBADF : c->fn ? c->fn(t, a) : call_pass(t, id - 1, a);
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
