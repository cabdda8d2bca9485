// Robust mutexes (Linux, Documentation/locking/robust-futexes.rst): what a thread holds when it
// dies is marked and handed on. The host's kernel has such lists, and their layout is the same for
// 64-bit guests, but the pointers in them are guest addresses: the kernel would look for an entry
// at that address of the host, not at mm.base plus it. So we walk the lists ourselves. For a
// process that is killed with SIGKILL an undertaker does it: a process that shares its memory,
// holds none of its files, is nobody's ordinary child, and waits for its end. A process has one as
// soon as it shares memory with other processes, since only there can a mutex outlive it, and a
// thread of it has told where its list will be. A mutex is taken without a system call, so it
// cannot be started later.
#include "user/guest.h"
#include "user/host_call.h"
#include "user/abi/layout_host.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_MUTEXES = 2048 };

// Where memory is read from: the calling thread, or the undertaker, which has none.
struct reader {
    struct user *u;
    struct thread *t; // NULL: the undertaker
};

// A call of the host past the C library, whose thread-local data the undertaker does not have.
static int64_t plain_call(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    static _Atomic int never;
    return host_call(nr, (const uint64_t[6]){a, b, c, d, e}, &never);
}

static bool fetch(const struct reader *r, uint64_t addr, void *dst, size_t n)
{
    if (r->t)
        return guest_read(r->t, addr, dst, n);
    struct iovec to = {dst, n}, from = {mm_host(&r->u->mm, addr), n};
    return mm_inside(&r->u->mm, addr, n) &&
           plain_call(SYS_process_vm_readv, (uint64_t)plain_call(SYS_getpid, 0, 0, 0, 0, 0),
                      (uint64_t)(uintptr_t)&to, 1, (uint64_t)(uintptr_t)&from, 1) == (int64_t)n;
}

static void wake_one(const struct reader *r, uint64_t addr)
{
    plain_call(SYS_futex, (uint64_t)(uintptr_t)mm_host(&r->u->mm, addr), FUTEX_WAKE, 1, 0, 0);
}

static void release(const struct reader *r, uint32_t tid, uint64_t entry, int64_t offset,
                    bool pending)
{
    uint64_t at = (entry & ~1ull) + (uint64_t)offset;
    uint32_t val;
    if (at & 3 || !fetch(r, at, &val, 4))
        return;
    if (pending && !val) {
        wake_one(r, at);
        return;
    }
    if ((val & FUTEX_TID_MASK) != tid)
        return;
    uint32_t fresh = (val & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    uint32_t *word = mm_host(&r->u->mm, at);
    if (__atomic_compare_exchange_n(word, &val, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
        val & FUTEX_WAITERS)
        wake_one(r, at);
}

static void walk(const struct reader *r, const struct thread *of)
{
    struct host_robust_list head;
    uint8_t bytes[LAYOUT_MOST];
    uint32_t tid = (uint32_t)of->tid;
    if (!of->robust_list ||
        !fetch(r, of->robust_list, bytes, r->u->layouts.size[LAYOUT_robust_list]))
        return;
    layout_unpack(r->u, LAYOUT_robust_list, &head, bytes);
    uint64_t entry = head.next, next;
    for (unsigned n = 0; n < MOST_MUTEXES && (entry & ~1ull) != of->robust_list;
         n++, entry = next) {
        if (!fetch(r, entry & ~1ull, bytes, r->u->abi->data.long_size))
            return;
        words_unpack(r->u, &next, bytes, 1);
        if (entry != head.pending)
            release(r, tid, entry, head.offset, false);
    }
    if (head.pending)
        release(r, tid, head.pending, head.offset, true);
}

static void walk_all(const struct reader *r)
{
    for (unsigned i = 0; i < r->u->max_threads; i++)
        if (r->u->threads[i])
            walk(r, r->u->threads[i]);
}

void robust_thread_ends(struct thread *t)
{
    walk(&(struct reader){t->u, t}, t);
}

void robust_process_ends(struct thread *t)
{
    struct user *u = t->u;
    if (t->proxy)
        return;
    robust_suspend(u);
    mutex_lock(&u->threads_lock);
    walk_all(&(struct reader){u, t});
    mutex_unlock(&u->threads_lock);
}

// ---- the undertaker ----

#if defined(__x86_64__)
enum { STACK = 16384, TLS = 4096 }; // the top holds what the compiler's own code looks for there

struct job {
    struct user *u;
    int pidfd;
};

static int undertaker(void *arg)
{
    struct job *job = arg;
    uint64_t fd = (uint64_t)job->pidfd;
    struct pollfd p = {.fd = job->pidfd, .events = POLLIN};
    plain_call(SYS_setsid, 0, 0, 0, 0, 0); // not of the group that is killed
    plain_call(SYS_chdir, (uint64_t)(uintptr_t) "/", 0, 0, 0, 0);
    if (fd)
        plain_call(SYS_close_range, 0, fd - 1, 0, 0, 0);
    plain_call(SYS_close_range, fd + 1, UINT32_MAX, 0, 0, 0);
    int64_t n;
    do
        n = plain_call(SYS_ppoll, (uint64_t)(uintptr_t)&p, 1, 0, 0, 8);
    while (n == -EINTR || n == HOST_CALL_RESTART);
    if (n == 1)
        walk_all(&(struct reader){.u = job->u});
    plain_call(SYS_exit_group, 0, 0, 0, 0, 0);
    return 0;
}

// threads_lock held.
static void start(struct user *u)
{
    uint8_t *stack = u->undertaker_stack;
    if (!stack) {
        stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED)
            return;
        u->undertaker_stack = stack;
    }
    struct job *job = (struct job *)stack;
    *job = (struct job){u, (int)syscall(SYS_pidfd_open, getpid(), 0)};
    if (job->pidfd < 0)
        return;
    uint64_t mask;
    signal_block_all(&mask);
    int pid = clone(undertaker, stack + STACK - TLS, CLONE_VM | CLONE_SETTLS, job, NULL,
                    stack + STACK - TLS / 2, NULL);
    signal_restore(mask);
    close(job->pidfd);
    u->undertaker = MAX(pid, 0);
}
#else
static void start(struct user *u) {}
#endif

static void start_if_needed(struct user *u)
{
    if (!u->shares_memory || !u->has_robust_list || u->undertaker)
        return;
    mutex_lock(&u->threads_lock);
    if (!u->undertaker)
        start(u);
    mutex_unlock(&u->threads_lock);
}

void robust_shares_memory(struct user *u)
{
    u->shares_memory = true;
    start_if_needed(u);
}

void robust_has_list(struct user *u)
{
    u->has_robust_list = true;
    start_if_needed(u);
}

void robust_suspend(struct user *u)
{
    if (!u->undertaker)
        return;
    mutex_lock(&u->threads_lock);
    if (u->undertaker) {
        kill(u->undertaker, SIGKILL);
        while (waitpid(u->undertaker, NULL, __WALL) < 0 && errno == EINTR)
            ;
        u->undertaker = 0;
    }
    mutex_unlock(&u->threads_lock);
}

void robust_resume(struct user *u)
{
    start_if_needed(u);
}
