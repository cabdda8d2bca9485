// The runner of a differential test for 32-bit RISC-V, for which distributions have no C library:
// what ../runner.c does, on bare system calls. A signal's context is Linux's (asm/ucontext.h,
// asm/sigcontext.h of that architecture).
#include "../case.h"
#include "state.h"

#define AT_FDCWD (-100)
enum {
    SYS_openat = 56,
    SYS_write = 64,
    SYS_exit_group = 94,
    SYS_sigaltstack = 132,
    SYS_mmap2 = 222
};
enum { SYS_rt_sigaction = 134, SYS_read = 63 };
enum { O_CREAT_TRUNC_WRITE = 01 | 0100 | 01000, PROT_ALL = 7, MAP_PRIVATE_ANON_FIXED = 0x32 };
enum { SA_SIGINFO_ONSTACK = 0x08000004, SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGSEGV = 11 };

struct context {
    uint32_t flags, link, stack[3];
    uint8_t mask[128];
    uint32_t pc __attribute__((aligned(16))), x[31];
    uint64_t f[32];
    uint32_t fcsr;
};

static char heap[sizeof(struct diff_header) + WINDOW_SIZE +
                 (sizeof(struct diff_state) + CODE_STRIDE) * MAX_CASES]
    __attribute__((aligned(16)));
static char out[(sizeof(struct diff_state) + WINDOW_SIZE) * MAX_CASES] __attribute__((aligned(16)));
static const struct diff_header *const header = (void *)heap;
static const struct diff_state *const in = (void *)(heap + sizeof(struct diff_header));
static const char *first_window, *out_name;
static uint32_t running = UINT32_MAX;
enum { STACK_SIZE = 1 << 16, RESULT = sizeof(struct diff_state) + WINDOW_SIZE };

static int32_t call(uint32_t number, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    register uint32_t a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register uint32_t a3 __asm__("a3") = d, a4 __asm__("a4") = (uint32_t)-1, a5 __asm__("a5") = 0;
    register uint32_t a7 __asm__("a7") = number;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
                     : "memory");
    return (int32_t)a0;
}

static _Noreturn void leave(uint32_t status)
{
    for (;;)
        call(SYS_exit_group, status, 0, 0, 0);
}

static void copy(void *to, const void *from, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        ((volatile char *)to)[k] = ((const char *)from)[k];
}

// All of a file in or out.
static void transfer(uint32_t number, const char *name, uint32_t flags, char *data, uint32_t size)
{
    int32_t fd = call(SYS_openat, (uint32_t)AT_FDCWD, (uint32_t)name, flags, 0600), n;
    if (fd < 0)
        leave(2);
    for (uint32_t at = 0; at < size; at += (uint32_t)n)
        if ((n = call(number, (uint32_t)fd, (uint32_t)data + at, size - at, 0)) <= 0)
            break;
}

static void store_context(const struct context *c, struct diff_state *s)
{
    s->pc = c->pc;
    for (unsigned n = 0; n < 31; n++)
        s->r[STATE_X + 1 + n] = c->x[n];
    copy(&s->r[STATE_F], c->f, sizeof c->f);
    s->r[STATE_FCSR] = c->fcsr;
}

static void load_context(struct context *c, const struct diff_state *s)
{
    c->pc = (uint32_t)s->pc;
    for (unsigned n = 0; n < 31; n++)
        c->x[n] = (uint32_t)s->r[STATE_X + 1 + n];
    copy(c->f, &s->r[STATE_F], sizeof c->f);
    c->fcsr = (uint32_t)s->r[STATE_FCSR];
}

static void on_signal(int number, void *info, struct context *c)
{
    if (running != UINT32_MAX) {
        struct diff_state *s = (void *)(out + running * RESULT);
        store_context(c, s);
        s->signal = (uint32_t)number;
        copy(s + 1, (void *)WINDOW_VA, WINDOW_SIZE);
    }
    if (++running == header->cases) {
        transfer(SYS_write, out_name, O_CREAT_TRUNC_WRITE, out, running * RESULT);
        leave(0);
    }
    load_context(c, &in[running]);
    copy((void *)WINDOW_VA, first_window, WINDOW_SIZE);
}

__attribute__((used)) static void start(const uint32_t *sp)
{
    static const uint8_t signals[] = {SIGTRAP, SIGILL, SIGSEGV, SIGBUS};
    const uint32_t action[] = {(uint32_t)on_signal, SA_SIGINFO_ONSTACK, 0, 0};
    if (sp[0] != 3)
        leave(2);
    transfer(SYS_read, (const char *)sp[2], 0, heap, sizeof heap);
    out_name = (const char *)sp[3];
    const char *code = (const char *)(in + header->cases);
    const uint32_t code_size = header->cases * CODE_STRIDE;
    first_window = code + code_size;
    // The handler's stack lies where no case's stack pointer is by chance: at low addresses that
    // happens.
    const uint32_t alt[] = {CODE_VA + code_size, 0, STACK_SIZE};
    if (call(SYS_mmap2, WINDOW_VA, WINDOW_SIZE + code_size + STACK_SIZE, PROT_ALL,
             MAP_PRIVATE_ANON_FIXED) != (int32_t)WINDOW_VA)
        leave(2);
    copy((void *)CODE_VA, code, code_size);
    __asm__ volatile("fence.i" ::: "memory");
    call(SYS_sigaltstack, (uint32_t)alt, 0, 0, 0);
    for (unsigned n = 0; n < sizeof signals; n++)
        call(SYS_rt_sigaction, signals[n], (uint32_t)action, 0, 8);
    __asm__ volatile("ebreak");
    leave(3);
}

__asm__(".globl _start\n"
        "_start: mv a0, sp\n"
        "j start");
