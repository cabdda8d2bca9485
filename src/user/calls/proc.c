// Processes and threads: clone, exec, exit, futex, limits, prctl, and who the kernel says it is.
#include "user/calls.h"
#include "user/debug/debug.h"
#include "user/proxy.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

// ---- clone ----

int64_t sys_clone(struct thread *t, const uint64_t *a)
{
    struct clone_request r = {.flags = a[0] & ~0xffull,
                              .exit_signal = (int)(a[0] & 0xff),
                              .stack = a[1],
                              .parent_tid = a[2],
                              .pidfd = a[2],
                              .tls = a[3],
                              .child_tid = a[4]};
    return thread_clone(t, &r);
}

int64_t sys_clone3(struct thread *t, const uint64_t *a)
{
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
            set_tid_size, cgroup;
    } g = {0};
    enum { LEAST = 64 };
    const uint64_t clear_sighand = 1ull << 32, into_cgroup = 1ull << 33; // linux/sched.h
    if (a[1] < LEAST)
        return -EINVAL;
    if (a[1] > 4096)
        return -E2BIG;
    if (!guest_read(t, a[0], &g, MIN(a[1], sizeof g)))
        return -EFAULT;
    if (g.set_tid_size || g.flags & (into_cgroup | CLONE_DETACHED) || g.exit_signal > 64 ||
        !g.stack != !g.stack_size)
        return -EINVAL;
    if (g.flags & clear_sighand)
        return -ENOSYS; // callers then use clone
    struct clone_request r = {.flags = g.flags,
                              .exit_signal = (int)g.exit_signal,
                              .stack = g.stack ? g.stack + g.stack_size : 0,
                              .parent_tid = g.parent_tid,
                              .pidfd = g.pidfd,
                              .tls = g.tls,
                              .child_tid = g.child_tid};
    return thread_clone(t, &r);
}

int64_t sys_exit(struct thread *t, const uint64_t *a)
{
    thread_end(t, (int)a[0]);
    return 0;
}

int64_t sys_exit_group(struct thread *t, const uint64_t *a)
{
    if (t->u->debug && !t->debug_free)
        debug_end(t->u, (int)a[0], 0);
    uint64_t mask;
    signal_block_all(&mask);
    robust_process_ends(t);
    HOST_DO(exit_group, a[0]);
    return 0; // the end of a child of vfork
}

int64_t sys_execve(struct thread *t, const uint64_t *a)
{
    char path[4096];
    int64_t r = guest_string(t, a[0], path, sizeof path);
    return r ? r : exec_program(t, AT_FDCWD, path, a[1], a[2], 0);
}

int64_t sys_execveat(struct thread *t, const uint64_t *a)
{
    char path[4096];
    int64_t r = guest_string(t, a[1], path, sizeof path);
    return r ? r : exec_program(t, (int)a[0], path, a[2], a[3], (int)a[4]);
}

int64_t sys_set_tid_address(struct thread *t, const uint64_t *a)
{
    t->clear_tid = a[0];
    return HOST_DO(gettid, 0);
}

// ---- futex ----

int64_t sys_futex(struct thread *t, const uint64_t *a)
{
    uint64_t timeout = a[3], second = a[4];
    switch ((int)a[1] & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        timeout = call_ptr(t, timeout);
        break;
    case FUTEX_WAIT_REQUEUE_PI:
        timeout = call_ptr(t, timeout);
        second = call_ptr(t, second);
        break;
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_CMP_REQUEUE_PI:
    case FUTEX_WAKE_OP:
        second = call_ptr(t, second);
        break;
    default:
        break;
    }
    return CALL_HOST(t, futex, (uint64_t)(uintptr_t)mm_host(&t->u->mm, a[0]), a[1], a[2], timeout,
                     second, a[5]);
}

// The host could not follow the guest's pointers: robust.c walks the list.
int64_t sys_set_robust_list(struct thread *t, const uint64_t *a)
{
    if (a[1] != layout_size(t, LAYOUT_robust_list))
        return -EINVAL;
    t->robust_list = a[0];
    robust_has_list(t->u);
    return 0;
}

int64_t sys_get_robust_list(struct thread *t, const uint64_t *a)
{
    if (a[0] && (pid_t)a[0] != (pid_t)HOST_DO(gettid, 0))
        return -EPERM;
    bool ok = word_write(t, a[1], t->robust_list) &&
              word_write(t, a[2], layout_size(t, LAYOUT_robust_list));
    return ok ? 0 : -EFAULT;
}

// ---- limits: those of memory would be the emulator's ----

static bool emulated_limit(unsigned resource)
{
    return resource == RLIMIT_AS || resource == RLIMIT_DATA || resource == RLIMIT_STACK;
}

static int64_t limit(struct thread *t, unsigned resource, const struct rlimit *fresh,
                     struct rlimit *old)
{
    struct user_limit *l = &t->u->limits[resource];
    if (fresh && fresh->rlim_cur > fresh->rlim_max)
        return -EINVAL;
    *old = (struct rlimit){l->soft, l->hard};
    if (fresh && fresh->rlim_max > l->hard && HOST_DO(geteuid, 0))
        return -EPERM;
    if (fresh)
        *l = (struct user_limit){fresh->rlim_cur, fresh->rlim_max};
    return 0;
}

// getrlimit and setrlimit have longs, prlimit64 has not.
int64_t sys_getrlimit(struct thread *t, const uint64_t *a)
{
    struct rlimit l;
    int64_t r = emulated_limit((unsigned)a[0])
                    ? limit(t, (unsigned)a[0], NULL, &l)
                    : CALL_HOST(t, prlimit64, 0, a[0], 0, (uint64_t)(uintptr_t)&l);
    return r ? r : layout_write(t, LAYOUT_rlimit, a[1], &l) ? 0 : -EFAULT;
}

int64_t sys_setrlimit(struct thread *t, const uint64_t *a)
{
    struct rlimit l, old;
    if (!layout_read(t, LAYOUT_rlimit, a[1], &l))
        return -EFAULT;
    return emulated_limit((unsigned)a[0])
               ? limit(t, (unsigned)a[0], &l, &old)
               : CALL_HOST(t, prlimit64, 0, a[0], (uint64_t)(uintptr_t)&l, 0);
}

int64_t sys_prlimit64(struct thread *t, const uint64_t *a)
{
    struct rlimit fresh, old;
    if ((a[0] && (pid_t)a[0] != (pid_t)HOST_DO(getpid, 0)) || !emulated_limit((unsigned)a[1]))
        return CALL_HOST(t, prlimit64, a[0], a[1], call_ptr(t, a[2]), call_ptr(t, a[3]));
    if (a[2] && !guest_read(t, a[2], &fresh, sizeof fresh))
        return -EFAULT;
    int64_t r = limit(t, (unsigned)a[1], a[2] ? &fresh : NULL, &old);
    return !r && a[3] && !guest_write(t, a[3], &old, sizeof old) ? -EFAULT : r;
}

// ---- processors: an array of longs, as long as the program says ----

enum { MOST_CPU_BYTES = 1024 };

int64_t sys_sched_getaffinity(struct thread *t, const uint64_t *a)
{
    uint64_t set[MOST_CPU_BYTES / 8];
    size_t word = t->u->abi->data.long_size, n = MIN((uint32_t)a[1], (uint32_t)sizeof set);
    if (a[1] & (word - 1))
        return -EINVAL;
    int64_t r = CALL_HOST(t, sched_getaffinity, a[0], (n + 7) & ~7ull, (uint64_t)(uintptr_t)set);
    if (r < 0)
        return r;
    n = MIN(n, (size_t)r);
    return guest_write(t, a[2], set, n) ? (int64_t)n : -EFAULT;
}

int64_t sys_sched_setaffinity(struct thread *t, const uint64_t *a)
{
    uint64_t set[MOST_CPU_BYTES / 8] = {0};
    size_t n = MIN((uint32_t)a[1], (uint32_t)sizeof set);
    if (!guest_read(t, a[2], set, n))
        return -EFAULT;
    return CALL_HOST(t, sched_setaffinity, a[0], sizeof set, (uint64_t)(uintptr_t)set);
}

// ---- prctl, personality ----

enum { PAC_RESET_KEYS = 54 };

// May system calls be given addresses with tags? Linux, Documentation/arch/arm64/
// tagged-address-abi.rst; here for the whole process.
static int64_t tagged_addresses(struct thread *t, const uint64_t *a, bool set)
{
    struct mm *m = &t->u->mm;
    if (!t->u->abi->tag_bits || a[2] | a[3] | a[4] ||
        a[1] & ~(uint64_t)(set ? PR_TAGGED_ADDR_ENABLE : 0))
        return -EINVAL;
    if (!set)
        return m->tag_bits ? PR_TAGGED_ADDR_ENABLE : 0;
    m->tag_bits = a[1] ? t->u->abi->tag_bits : 0;
    return 0;
}

// A proxy's own is not the child's.
static int64_t death_signal(struct thread *t, const uint64_t *a)
{
    bool set = (int)a[0] == PR_SET_PDEATHSIG;
    if (!t->proxy)
        return CALL_HOST(t, prctl, a[0], set ? a[1] : call_ptr(t, a[1]), a[2], a[3], a[4]);
    if (set)
        return proxy_set_death_signal(t->proxy, a[1]);
    return guest_write_u32(t, a[1], (uint32_t)proxy_death_signal(t->proxy)) ? 0 : -EFAULT;
}

int64_t sys_prctl(struct thread *t, const uint64_t *a)
{
    uint64_t random[12];
    switch ((int)a[0]) {
    case PR_SET_NAME:
    case PR_GET_NAME:
    case PR_GET_CHILD_SUBREAPER:
        return CALL_HOST(t, prctl, a[0], call_ptr(t, a[1]), a[2], a[3], a[4]);
    case PR_GET_PDEATHSIG:
    case PR_SET_PDEATHSIG:
        return death_signal(t, a);
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_GET_TIMING:
    case PR_SET_TIMING:
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_SET_TIMERSLACK:
    case PR_GET_TIMERSLACK:
    case PR_SET_CHILD_SUBREAPER:
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_NO_NEW_PRIVS:
    case PR_SET_THP_DISABLE:
    case PR_GET_THP_DISABLE:
    case PR_CAP_AMBIENT:
    case PR_SET_PTRACER:
    case PR_SET_IO_FLUSHER:
    case PR_GET_IO_FLUSHER:
        return CALL_HOST(t, prctl, a[0], a[1], a[2], a[3], a[4]);
    case PR_GET_SECCOMP:
        return 0;
    case PR_GET_TID_ADDRESS:
        return word_write(t, a[1], t->clear_tid) ? 0 : -EFAULT;
    case PR_SET_TAGGED_ADDR_CTRL:
    case PR_GET_TAGGED_ADDR_CTRL:
        return tagged_addresses(t, a, a[0] == PR_SET_TAGGED_ADDR_CTRL);
    case PAC_RESET_KEYS:
        if (a[2] | a[3] | a[4] || !t->u->abi->randomize)
            return -EINVAL;
        if (getrandom(random, sizeof random, 0) == sizeof random)
            t->u->abi->randomize(t->env, random);
        return 0;
    default:
        return -EINVAL;
    }
}

// Address-space layout and 32-bit flavours mean the emulator to the host: only remembered.
int64_t sys_personality(struct thread *t, const uint64_t *a)
{
    uint32_t old = t->u->personality;
    if ((uint32_t)a[0] != 0xffffffff)
        t->u->personality = (uint32_t)a[0];
    return old;
}

// What the last argument is depends on what is compared.
int64_t sys_kcmp(struct thread *t, const uint64_t *a)
{
    enum { EPOLL_TFD = 7 }; // linux/kcmp.h
    uint64_t last = (int)a[2] == EPOLL_TFD ? call_ptr(t, a[4]) : a[4];
    return CALL_HOST(t, kcmp, a[0], a[1], a[2], a[3], last);
}

// ---- the kernel ----

// Memory in units so large that a long can count them.
int64_t sys_sysinfo(struct thread *t, const uint64_t *a)
{
    struct sysinfo s;
    int64_t r = CALL_HOST(t, sysinfo, (uint64_t)(uintptr_t)&s);
    if (r)
        return r;
    unsigned long *const counts[] = {&s.totalram,  &s.freeram,  &s.sharedram, &s.bufferram,
                                     &s.totalswap, &s.freeswap, &s.totalhigh, &s.freehigh};
    unsigned bits = 8 * t->u->abi->data.long_size, shift = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
        while (bits < 64 && *counts[i] >> shift >> bits)
            shift++;
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
        *counts[i] >>= shift;
    s.mem_unit <<= shift;
    return layout_write(t, LAYOUT_sysinfo, a[0], &s) ? 0 : -EFAULT;
}

int64_t sys_uname(struct thread *t, const uint64_t *a)
{
    struct utsname u;
    int64_t r = HOST_DO(uname, HOST_PTR(&u));
    if (r)
        return r;
    snprintf(u.machine, sizeof u.machine, "%s", t->u->abi->machine);
    if (t->u->opt.release)
        snprintf(u.release, sizeof u.release, "%s", t->u->opt.release);
    return guest_write(t, a[0], &u, sizeof u) ? 0 : -EFAULT;
}
