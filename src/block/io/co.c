// Stackful coroutines. A switch saves the callee-saved registers of the System V ABI on the old
// stack and takes up the other stack pointer (x86-64 by hand, other hosts through ucontext). Stacks
// are mapped with a guard page and kept for reuse; untouched pages of a stack cost nothing.

#include "block/io/co.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
// gcc says it with a macro, clang with a feature test.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

enum { STACK_SIZE = 256 * 1024, SPARE_MAX = 64 };

struct co {
    struct list link; // in the ready queue, a wait queue or the spare list
    struct co_sched *sched;
    void (*fn)(void *);
    void *arg;
    void *map;
    size_t map_len;
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t uc;
#endif
#if defined(__SANITIZE_ADDRESS__)
    void *fake_stack;
#endif
#if defined(__SANITIZE_THREAD__)
    void *fiber;
#endif
};

struct co_sched {
    struct co *current; // NULL: the thread's own stack
    struct list ready, spare;
    size_t n_spare, n_live;
    struct co home;
#if defined(__SANITIZE_ADDRESS__)
    const void *home_bottom;
    size_t home_size;
#endif
};

#if defined(__x86_64__)
void block_co_switch(void **save_sp, void *load_sp);
__asm__(".text\n"
        ".hidden block_co_switch\n"
        ".globl block_co_switch\n"
        ".type block_co_switch,@function\n"
        "block_co_switch:\n"
        "    push %rbp\n"
        "    push %rbx\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbx\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size block_co_switch,.-block_co_switch\n");
#endif

static void switch_to(struct co *from, struct co *to)
{
#if defined(__SANITIZE_ADDRESS__)
    struct co_sched *s = from->sched;
    const void *bottom = to == &s->home ? s->home_bottom : (char *)to->map + getpagesize();
    size_t size = to == &s->home ? s->home_size : STACK_SIZE;
    __sanitizer_start_switch_fiber(&from->fake_stack, bottom, size);
#endif
#if defined(__SANITIZE_THREAD__)
    if (from == &from->sched->home)
        from->fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
#if defined(__x86_64__)
    block_co_switch(&from->sp, to->sp);
#else
    swapcontext(&from->uc, &to->uc);
#endif
#if defined(__SANITIZE_ADDRESS__)
    if (from == &s->home)
        __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
    else
        __sanitizer_finish_switch_fiber(from->fake_stack, &s->home_bottom, &s->home_size);
#endif
}

static void co_main(struct co *co)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &co->sched->home_bottom, &co->sched->home_size);
#endif
    for (;;) {
        co->fn(co->arg);
        co->fn = NULL;
        switch_to(co, &co->sched->home);
    }
}

#if defined(__x86_64__)
// First activation: the new coroutine arrives in rbx.
void block_co_entry(struct co *co);
void block_co_entry(struct co *co)
{
    co_main(co);
}
void block_co_trampoline(void);
__asm__(".text\n"
        ".hidden block_co_trampoline\n"
        ".globl block_co_trampoline\n"
        ".type block_co_trampoline,@function\n"
        "block_co_trampoline:\n"
        "    mov %rbx, %rdi\n"
        "    call block_co_entry\n"
        "    ud2\n"
        ".size block_co_trampoline,.-block_co_trampoline\n");

static void prepare_stack(struct co *co, char *top)
{
    void **sp = (void **)top;
    *--sp = NULL;
    *--sp = NULL; // the stack is aligned at the trampoline's call
    *--sp = (void *)block_co_trampoline;
    *--sp = NULL; // rbp
    *--sp = co;   // rbx
    for (int i = 0; i < 4; i++)
        *--sp = NULL; // r12 to r15
    co->sp = sp;
}
#else
static void uc_entry(unsigned hi, unsigned lo)
{
    co_main((struct co *)(((uint64_t)hi << 32) | lo));
}

static void prepare_stack(struct co *co, char *top)
{
    getcontext(&co->uc);
    co->uc.uc_stack.ss_sp = top - STACK_SIZE;
    co->uc.uc_stack.ss_size = STACK_SIZE;
    co->uc.uc_link = NULL;
    makecontext(&co->uc, (void (*)(void))uc_entry, 2, (unsigned)((uint64_t)co >> 32),
                (unsigned)(uint64_t)co);
}
#endif

struct co_sched *co_sched_new(void)
{
    struct co_sched *s = xalloc(sizeof *s);
    list_init(&s->ready);
    list_init(&s->spare);
    s->home.sched = s;
    return s;
}

static void co_destroy(struct co *co)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(co->fiber);
#endif
    munmap(co->map, co->map_len);
    free(co);
}

void co_sched_free(struct co_sched *s)
{
    BUG_ON(s->n_live || s->current);
    struct co *co, *tmp;
    list_for_each_safe(co, tmp, &s->spare, link) co_destroy(co);
    free(s);
}

static struct co *co_new(struct co_sched *s)
{
    struct co *co = xalloc(sizeof *co);
    co->sched = s;
    list_init(&co->link);
    size_t page = (size_t)getpagesize();
    co->map_len = STACK_SIZE + page;
    co->map = mmap(NULL, co->map_len, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (co->map == MAP_FAILED || mprotect(co->map, page, PROT_NONE)) {
        // The same end as xalloc: the host has no memory left.
        static const char msg[] = "myna: out of memory for a block request\n";
        ssize_t unused = write(2, msg, sizeof msg - 1);
        (void)unused;
        _exit(1);
    }
#if defined(__SANITIZE_THREAD__)
    co->fiber = __tsan_create_fiber(0);
#endif
    prepare_stack(co, (char *)co->map + co->map_len);
    return co;
}

// Runs `co` until it yields or ends; a finished one goes to the spare list or is unmapped.
static void enter(struct co_sched *s, struct co *co)
{
    s->current = co;
    switch_to(&s->home, co);
    s->current = NULL;
    if (co->fn)
        return;
    s->n_live--;
    if (s->n_spare < SPARE_MAX) {
        list_prepend(&s->spare, &co->link);
        s->n_spare++;
    } else {
        co_destroy(co);
    }
}

void co_start(struct co_sched *s, void (*fn)(void *), void *arg)
{
    struct co *co;
    if (list_empty(&s->spare)) {
        co = co_new(s);
    } else {
        co = list_entry(s->spare.next, struct co, link);
        list_remove(&co->link);
        s->n_spare--;
    }
    s->n_live++;
    co->fn = fn;
    co->arg = arg;
    if (s->current)
        co_wake(s, co); // coroutines do not nest; it runs when this one gives way
    else
        enter(s, co);
}

bool co_inside(const struct co_sched *s)
{
    return s->current;
}

struct co *co_self(struct co_sched *s)
{
    BUG_ON(!s->current);
    return s->current;
}

void co_yield (struct co_sched *s)
{
    BUG_ON(!s->current);
    switch_to(s->current, &s->home);
}

void co_wake(struct co_sched *s, struct co *co)
{
    BUG_ON(!list_empty(&co->link));
    list_append(&s->ready, &co->link);
}

bool co_any_ready(const struct co_sched *s)
{
    return !list_empty(&s->ready);
}

bool co_run_ready(struct co_sched *s)
{
    BUG_ON(s->current);
    bool any = false;
    while (!list_empty(&s->ready)) {
        struct co *co = list_entry(s->ready.next, struct co, link);
        list_remove(&co->link);
        enter(s, co);
        any = true;
    }
    return any;
}

void co_queue_init(struct co_queue *q)
{
    list_init(&q->waiters);
}

void co_queue_wait(struct co_sched *s, struct co_queue *q)
{
    list_append(&q->waiters, &co_self(s)->link);
    co_yield (s);
}

bool co_queue_wake_one(struct co_sched *s, struct co_queue *q)
{
    if (list_empty(&q->waiters))
        return false;
    struct co *co = list_entry(q->waiters.next, struct co, link);
    list_remove(&co->link);
    co_wake(s, co);
    return true;
}

void co_queue_wake_all(struct co_sched *s, struct co_queue *q)
{
    while (co_queue_wake_one(s, q))
        continue;
}

void co_mutex_init(struct co_mutex *m)
{
    m->locked = false;
    co_queue_init(&m->q);
}

void co_mutex_lock(struct co_sched *s, struct co_mutex *m)
{
    while (m->locked)
        co_queue_wait(s, &m->q);
    m->locked = true;
}

void co_mutex_unlock(struct co_sched *s, struct co_mutex *m)
{
    BUG_ON(!m->locked);
    m->locked = false;
    co_queue_wake_one(s, &m->q);
}

void co_rwlock_init(struct co_rwlock *l)
{
    *l = (struct co_rwlock){0};
    co_queue_init(&l->q);
}

void co_rwlock_read(struct co_sched *s, struct co_rwlock *l)
{
    while (l->writer || l->writers_waiting)
        co_queue_wait(s, &l->q);
    l->readers++;
}

void co_rwlock_write(struct co_sched *s, struct co_rwlock *l)
{
    l->writers_waiting++;
    while (l->writer || l->readers)
        co_queue_wait(s, &l->q);
    l->writers_waiting--;
    l->writer = true;
}

void co_rwlock_unlock(struct co_sched *s, struct co_rwlock *l)
{
    BUG_ON(!l->writer && !l->readers);
    if (l->writer)
        l->writer = false;
    else
        l->readers--;
    if (!l->readers)
        co_queue_wake_all(s, &l->q);
}
