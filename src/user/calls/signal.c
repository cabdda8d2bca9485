// Signals as the program asks about them; signal.c does the work.
#include "user/calls.h"

// struct sigaction of the kernel where there is no restorer in it (asm-generic/signal.h).
struct guest_sigaction {
    uint64_t handler, flags, mask;
};

int64_t sys_rt_sigaction(struct thread *t, const uint64_t *a)
{
    struct guest_sigaction g;
    struct guest_action fresh = {0}, old;
    if (a[3] != 8)
        return -EINVAL;
    if (a[1]) {
        if (!guest_read(t, a[1], &g, sizeof g))
            return -EFAULT;
        fresh = (struct guest_action){.handler = g.handler, .flags = g.flags, .mask = g.mask};
        fresh.flags &= ~0x04000000ull; // SA_RESTORER has no meaning in this ABI
    }
    int64_t r = signal_action(t, (int)a[0], a[1] ? &fresh : NULL, &old);
    if (r)
        return r;
    g = (struct guest_sigaction){old.handler, old.flags, old.mask};
    return a[2] && !guest_write(t, a[2], &g, sizeof g) ? -EFAULT : 0;
}

int64_t sys_rt_sigprocmask(struct thread *t, const uint64_t *a)
{
    uint64_t old = t->blocked, set;
    if (a[3] != 8)
        return -EINVAL;
    if (a[1]) {
        if (!guest_read_u64(t, a[1], &set))
            return -EFAULT;
        switch ((int)a[0]) {
        case SIG_BLOCK:
            set |= old;
            break;
        case SIG_UNBLOCK:
            set = old & ~set;
            break;
        case SIG_SETMASK:
            break;
        default:
            return -EINVAL;
        }
    }
    if (a[2] && !guest_write(t, a[2], &old, sizeof old))
        return -EFAULT;
    if (a[1])
        signal_set_mask(t, set);
    return 0;
}

int64_t sys_rt_sigsuspend(struct thread *t, const uint64_t *a)
{
    uint64_t mask, host;
    if (a[1] != 8)
        return -EINVAL;
    if (!guest_read_u64(t, a[0], &mask))
        return -EFAULT;
    signal_mask_for_call(t, mask);
    host = signal_host_mask(mask);
    int64_t r = CALL_HOST(t, rt_sigsuspend, (uint64_t)(uintptr_t)&host, 8);
    // A signal that came before the call began: it has been waited for.
    return r == HOST_CALL_RESTART && !(mask & SIG_BIT(atomic_load(&t->captured))) ? -EINTR : r;
}

int64_t sys_rt_sigreturn(struct thread *t, const uint64_t *a)
{
    return signal_return(t);
}

int64_t sys_sigaltstack(struct thread *t, const uint64_t *a)
{
    return signal_altstack(t, a[0], a[1]);
}
