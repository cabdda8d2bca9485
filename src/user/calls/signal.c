// Signals as the program asks about them; signal.c does the work.
#include "user/calls.h"

// struct sigaction of the kernel: handler, flags, restorer where the ABI has one, all of a long's
// size; then the mask.
static bool read_action(struct thread *t, uint64_t addr, struct guest_action *out)
{
    bool restorer = t->u->abi->has_restorer;
    size_t size = t->u->abi->data.long_size;
    *out = (struct guest_action){0};
    if (!word_read(t, addr, &out->handler) || !word_read(t, addr + size, &out->flags) ||
        (restorer && !word_read(t, addr + 2 * size, &out->restorer)) ||
        !guest_read(t, addr + (restorer ? 3 : 2) * size, &out->mask, sizeof out->mask))
        return false;
    if (!restorer)
        out->flags &= ~(uint64_t)GUEST_SA_RESTORER;
    return true;
}

static bool write_action(struct thread *t, uint64_t addr, const struct guest_action *a)
{
    bool restorer = t->u->abi->has_restorer;
    size_t size = t->u->abi->data.long_size;
    return word_write(t, addr, a->handler) && word_write(t, addr + size, a->flags) &&
           (!restorer || word_write(t, addr + 2 * size, a->restorer)) &&
           guest_write(t, addr + (restorer ? 3 : 2) * size, &a->mask, sizeof a->mask);
}

int64_t sys_rt_sigaction(struct thread *t, const uint64_t *a)
{
    struct guest_action fresh, old;
    if (a[3] != 8)
        return -EINVAL;
    if (a[1] && !read_action(t, a[1], &fresh))
        return -EFAULT;
    int64_t r = signal_action(t, (int)a[0], a[1] ? &fresh : NULL, &old);
    if (r)
        return r;
    return a[2] && !write_action(t, a[2], &old) ? -EFAULT : 0;
}

int64_t sys_rt_sigprocmask(struct thread *t, const uint64_t *a)
{
    uint64_t old = t->blocked, set;
    if (a[3] != 8)
        return -EINVAL;
    if (a[1]) {
        if (!guest_read(t, a[1], &set, sizeof set))
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
    if (!guest_read(t, a[0], &mask, sizeof mask))
        return -EFAULT;
    signal_mask_for_call(t, mask);
    host = signal_host_mask(mask);
    int64_t r = CALL_HOST(t, rt_sigsuspend, (uint64_t)(uintptr_t)&host, 8);
    // A signal that came before the call began: it has been waited for.
    bool again = r == HOST_CALL_RESTART || r == HOST_CALL_NOT_MADE;
    return again && !(mask & SIG_BIT(atomic_load(&t->captured))) ? -EINTR : r;
}

int64_t sys_rt_sigreturn(struct thread *t, const uint64_t *a)
{
    return signal_return(t);
}

int64_t sys_sigaltstack(struct thread *t, const uint64_t *a)
{
    return signal_altstack(t, a[0], a[1]);
}
