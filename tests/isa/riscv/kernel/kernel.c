// A small kernel in the manner of teaching systems: several harts, spin locks, pages, a space for
// the kernel and one for each process with a page both share, processes that are preempted, sleep
// and end, pages given on first touch. It checks itself: processes verify what they computed,
// stored and read back, the kernel that every hart took part, and the machine's exit status says
// so.
#include "kernel.h"

enum { V = 1, R = 2, W = 4, X = 8, U = 16, A = 64, D = 128, PROCESSES = 12 };
enum { SPIE = 1 << 5, SPP = 1 << 8, SIE = 1 << 1, ECALL_U = 8, LOAD_PAGE = 13, STORE_PAGE = 15 };
#define RAM_END   0x84000000ul
#define INTERRUPT ((u64)1 << 63)

enum state { UNUSED, READY, RUNNING, SLEEPING, ENDED };
struct process {
    struct lock lock;
    enum state state;
    const void *waits_for;
    unsigned number, faults;
    u64 *space, heap_end;
    struct frame *frame;
    char *stack;
    struct context context;
};
static struct hart_state {
    struct process *process;
    struct context scheduler;
    int depth, interrupts_were_on;
    unsigned switches, ticks;
} harts[HARTS];
static struct process processes[PROCESSES];
static struct lock pages_lock;
static volatile u32 started, ended, bad;
static unsigned harts_there;
static u64 *kernel_space;
extern char kernel_end[], text_start[], text_end[], trampoline[], user_vector[], user_return[],
    kernel_vector[];
void switch_to(struct context *from, struct context *to);

void panic(unsigned code)
{
    console_shared = 0;
    print("kernel: failed at ");
    print_number(code);
    print("\n");
    end(code);
}
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            panic(__LINE__);                                                                       \
    } while (0)

// ---- locks ----

static void interrupts_off(void)
{
    const int were = READ(sstatus) & SIE ? 1 : 0;
    CLEAR(sstatus, SIE);
    struct hart_state *h = &harts[hart()];
    if (!h->depth++)
        h->interrupts_were_on = were;
}

static void interrupts_back(void)
{
    struct hart_state *h = &harts[hart()];
    CHECK(!(READ(sstatus) & SIE) && h->depth > 0);
    if (!--h->depth && h->interrupts_were_on)
        SET(sstatus, SIE);
}

void lock(struct lock *l)
{
    u32 was;
    interrupts_off();
    do
        __asm__ volatile("amoswap.w.aq %0, %1, (%2)"
                         : "=r"(was)
                         : "r"(1), "r"(&l->held)
                         : "memory");
    while (was);
    l->owner = hart();
}

void unlock(struct lock *l)
{
    CHECK(l->held && l->owner == hart());
    __asm__ volatile("amoswap.w.rl zero, zero, (%0)" ::"r"(&l->held) : "memory");
    interrupts_back();
}

// ---- pages ----

static void *free_pages;

static void page_free(void *p)
{
    lock(&pages_lock);
    *(void **)p = free_pages;
    free_pages = p;
    unlock(&pages_lock);
}

void *page_new(void)
{
    lock(&pages_lock);
    u64 *p = free_pages;
    CHECK(p);
    free_pages = *(void **)p;
    unlock(&pages_lock);
    for (unsigned n = 0; n < PAGE / 8; n++)
        p[n] = 0;
    return p;
}

static u64 *entry_of(u64 *table, u64 va, int make)
{
    for (int level = 2; level > 0; level--) {
        u64 *e = &table[va >> (12 + 9 * level) & 511];
        if (!(*e & V)) {
            if (!make)
                return 0;
            *e = (u64)page_new() >> 12 << 10 | V;
        }
        table = (u64 *)(*e >> 10 << 12);
    }
    return &table[va >> 12 & 511];
}

static void map(u64 *space, u64 va, u64 pa, u64 size, u64 flags)
{
    for (u64 n = 0; n < size; n += PAGE) {
        u64 *e = entry_of(space, va + n, 1);
        CHECK(!(*e & V));
        *e = (pa + n) >> 12 << 10 | flags | V | A | D;
    }
}

static u64 satp_of(const u64 *space)
{
    return (u64)8 << 60 | (u64)space >> 12;
}

static void make_kernel_space(void)
{
    for (u64 p = ((u64)kernel_end + PAGE - 1) & -(u64)PAGE; p < RAM_END; p += PAGE)
        page_free((void *)p);
    kernel_space = page_new();
    const u64 text = (u64)text_start;
    map(kernel_space, 0x100000, 0x100000, PAGE, R | W);         // test device
    map(kernel_space, 0x10000000, 0x10000000, PAGE, R | W);     // UART
    map(kernel_space, 0x10001000, 0x10001000, 8 * PAGE, R | W); // virtio
    map(kernel_space, 0xc000000, 0xc000000, 0x400000, R | W);   // PLIC
    map(kernel_space, text, text, (u64)text_end - text, R | X);
    map(kernel_space, (u64)text_end, (u64)text_end, RAM_END - (u64)text_end, R | W);
    map(kernel_space, TRAMPOLINE, (u64)trampoline, PAGE, R | X);
}

static void use_kernel_space(void)
{
    __asm__ volatile("sfence.vma" ::: "memory");
    WRITE(satp, satp_of(kernel_space));
    __asm__ volatile("sfence.vma" ::: "memory");
}

// ---- processes ----

static void leave_to_user(void);

static void process_begin(void)
{
    unlock(&harts[hart()].process->lock); // taken by the scheduler
    leave_to_user();
}

static void process_make(struct process *p, unsigned number)
{
    p->number = number;
    p->space = page_new();
    p->frame = page_new();
    p->stack = page_new();
    p->heap_end = USER_HEAP;
    map(p->space, TRAMPOLINE, (u64)trampoline, PAGE, R | X);
    map(p->space, USER_FRAME, (u64)p->frame, PAGE, R | W);
    for (u64 n = 0; n < (u64)(user_end - user_start); n += PAGE) {
        char *page = page_new();
        for (unsigned k = 0; k < PAGE; k++)
            page[k] = user_start[n + k];
        map(p->space, USER_CODE + n, (u64)page, PAGE, R | X | U);
    }
    map(p->space, USER_STACK - PAGE, (u64)page_new(), PAGE, R | W | U);
    __asm__ volatile("fence.i" ::: "memory");
    p->frame->pc = USER_CODE;
    p->frame->x[2] = USER_STACK;
    p->frame->x[10] = number;
    p->context.x[1] = (u64)process_begin;
    p->context.x[2] = (u64)p->stack + PAGE;
    p->state = READY;
}

static void process_free(struct process *p)
{
    for (u64 va = USER_CODE; va < USER_STACK; va += PAGE) {
        u64 *e = entry_of(p->space, va, 0);
        if (e && *e & V)
            page_free((void *)(*e >> 10 << 12));
    }
    page_free(p->frame);
}

// Back to the scheduler, with the process locked, until it is chosen again.
static void give_up(struct process *p)
{
    const int were = harts[hart()].interrupts_were_on;
    CHECK(p->lock.held && harts[hart()].depth == 1 && p->state != RUNNING);
    switch_to(&p->context, &harts[hart()].scheduler);
    harts[hart()].interrupts_were_on = were;
}

static void yield(void)
{
    struct process *p = harts[hart()].process;
    lock(&p->lock);
    p->state = READY;
    give_up(p);
    unlock(&p->lock);
}

void wait_for(const void *what, struct lock *l)
{
    struct process *p = harts[hart()].process;
    lock(&p->lock);
    unlock(l);
    p->waits_for = what;
    p->state = SLEEPING;
    give_up(p);
    p->waits_for = 0;
    unlock(&p->lock);
    lock(l);
}

void wake(const void *what)
{
    for (unsigned n = 0; n < PROCESSES; n++) {
        struct process *p = &processes[n];
        if (p == harts[hart()].process)
            continue;
        lock(&p->lock);
        if (p->state == SLEEPING && p->waits_for == what)
            p->state = READY;
        unlock(&p->lock);
    }
}

static void run(struct hart_state *h, struct process *p)
{
    p->state = RUNNING;
    h->process = p;
    h->switches++;
    switch_to(&h->scheduler, &p->context);
    h->process = 0;
}

static void finish(void)
{
    unsigned worked = 0, ticked = 0;
    for (unsigned n = 0; n < HARTS; n++) {
        worked += harts[n].switches > 0;
        ticked += harts[n].ticks > 0;
    }
    CHECK(!bad && worked == harts_there && ticked == harts_there && disk_interrupts &&
          platform_good());
    for (unsigned n = 0; n < PROCESSES; n++)
        CHECK(processes[n].faults >= 8); // pages given on first touch
    print("kernel: all is well\n");
    end(0);
}

static void schedule(void)
{
    struct hart_state *h = &harts[hart()];
    for (;;) {
        SET(sstatus, SIE);
        unsigned found = 0;
        for (unsigned n = 0; n < PROCESSES; n++) {
            struct process *p = &processes[n];
            lock(&p->lock);
            if (p->state == READY) {
                run(h, p);
                found++;
            }
            unlock(&p->lock);
        }
        if (ended == PROCESSES && !hart())
            finish();
        if (!found)
            __asm__ volatile("wfi");
    }
}

// ---- traps ----

static int interrupt(u64 cause)
{
    if (cause == (INTERRUPT | 9))
        return device_interrupt();
    if (cause != (INTERRUPT | 5) && cause != (INTERRUPT | 1))
        return 0;
    if (!timer_interrupt(cause & 63))
        return 1;
    harts[hart()].ticks++;
    return 2;
}

void kernel_trap(void)
{
    const u64 cause = READ(scause);
    CHECK(READ(sstatus) & SPP && !(READ(sstatus) & SIE));
    const int what = interrupt(cause);
    if (!what) {
        print("trap ");
        print_number(cause);
        print(" at ");
        print_number(READ(sepc));
    }
    CHECK(what);
    struct process *p = harts[hart()].process;
    if (what == 2 && p && p->state == RUNNING && !harts[hart()].depth)
        yield();
}

static u64 physical(struct process *p, u64 va)
{
    u64 *e = entry_of(p->space, va, 0);
    return e && (*e & (V | U)) == (V | U) ? *e >> 10 << 12 | va % PAGE : 0;
}

static u64 call(struct process *p, u64 number, u64 a, u64 b)
{
    switch (number) {
    case CALL_EXIT:
        if (a) {
            __atomic_fetch_add(&bad, 1, __ATOMIC_SEQ_CST);
            print("process failed at ");
            print_number(a);
            print("\n");
        }
        __atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST);
        process_free(p);
        lock(&p->lock);
        p->state = ENDED;
        give_up(p);
        panic(__LINE__);
    case CALL_WHO:
        return p->number;
    case CALL_YIELD:
        yield();
        return 0;
    case CALL_GROW:
        p->heap_end += a;
        return p->heap_end - a;
    case CALL_READ:
    case CALL_WRITE: {
        const u64 at = physical(p, b);
        CHECK(at && b % 512 == 0);
        disk_move(a, (void *)at, number == CALL_WRITE);
        return 0;
    }
    case CALL_PUT: {
        const char text[2] = {(char)a, 0};
        print(text);
        return 0;
    }
    default:
        return (u64)-1;
    }
}

// A page of the heap on its first touch.
static int give_page(struct process *p, u64 va)
{
    if (va < USER_HEAP || va >= p->heap_end)
        return 0;
    map(p->space, va & -(u64)PAGE, (u64)page_new(), PAGE, R | W | U);
    p->faults++;
    return 1;
}

static void user_trap(void)
{
    const u64 cause = READ(scause), value = READ(stval);
    struct process *p = harts[hart()].process;
    WRITE(stvec, kernel_vector);
    CHECK(!(READ(sstatus) & SPP));
    int what = 1;
    if (cause == ECALL_U) {
        p->frame->pc += 4;
        SET(sstatus, SIE);
        p->frame->x[10] = call(p, p->frame->x[17], p->frame->x[10], p->frame->x[11]);
    } else if (cause == LOAD_PAGE || cause == STORE_PAGE) {
        what = give_page(p, value);
    } else {
        what = interrupt(cause);
    }
    CHECK(what);
    if (what == 2)
        yield();
    leave_to_user();
}

static void leave_to_user(void)
{
    CLEAR(sstatus, SIE);
    struct process *p = harts[hart()].process;
    WRITE(stvec, TRAMPOLINE + (u64)(user_vector - trampoline));
    p->frame->kernel_satp = READ(satp);
    p->frame->kernel_sp = (u64)p->stack + PAGE;
    p->frame->kernel_trap = (u64)user_trap;
    p->frame->hart = hart();
    CLEAR(sstatus, SPP);
    SET(sstatus, SPIE);
    void (*leave)(u64 frame, u64 satp) = (void *)(TRAMPOLINE + (u64)(user_return - trampoline));
    leave(USER_FRAME, satp_of(p->space));
}

// ---- the harts ----

void main(void)
{
    WRITE(stvec, kernel_vector);
    const u32 first = __atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
    if (!first) {
        platform_start();
        make_kernel_space();
        use_kernel_space();
        disk_start();
        for (unsigned n = 0; n < PROCESSES; n++)
            process_make(&processes[n], n);
        __atomic_store_n(&harts_there, platform_start_others(&started), __ATOMIC_SEQ_CST);
    } else {
        while (!__atomic_load_n(&harts_there, __ATOMIC_SEQ_CST))
            ;
        use_kernel_space();
    }
    platform_start_hart();
    schedule();
}
