// Guest program: faults arrive as signals with Linux's si_code and si_addr; stack overflow is
// caught on the alternate stack.
#include "check.h"
#include "cpu.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

static sigjmp_buf back;
static volatile int got;
static siginfo_t info;
static char *volatile handler_sp;

static void caught(int sig, siginfo_t *i, void *context)
{
    char here;
    got = sig;
    info = *i;
    handler_sp = &here;
    siglongjmp(back, 1);
}

static void expect(int sig, int code, const void *addr, int line)
{
    if (got != sig || info.si_code != code || (addr && info.si_addr != addr)) {
        printf("line %d: signal %d code %d address %p\n", line, got, info.si_code, info.si_addr);
        failures++;
    }
}
#define FAULT(statement, sig, code, addr)                                                          \
    do {                                                                                           \
        got = 0;                                                                                   \
        if (!sigsetjmp(back, 1)) {                                                                 \
            statement;                                                                             \
        }                                                                                          \
        expect(sig, code, addr, __LINE__);                                                         \
    } while (0)

static int deeper(int n)
{
    volatile char frame[4096];
    frame[0] = (char)n;
    return deeper(n + 1) + frame[0];
}

// Execution runs off a page, in the middle of an instruction where the architecture has such, onto
// one that cannot be executed.
static void run_off_the_page(int prot, int code)
{
    char *page =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *last = page + 4096 - NOP_ALIGNMENT;
    memcpy(last, &(uint32_t){NOP}, 4);
    __builtin___clear_cache(page, page + 8192);
    if (prot < 0)
        CHECK(!munmap(page + 4096, 4096));
    else
        CHECK(!mprotect(page + 4096, 4096, prot));
    FAULT(((void (*)(void))last)(), SIGSEGV, code, page + 4096);
    munmap(page, 8192);
}

int main(void)
{
    static char stack[65536];
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
    int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    for (int i = 0; i < 4; i++)
        on_signal(signals[i], caught, SA_ONSTACK);
    char *ro = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *f = tmpfile();
    CHECK(fwrite("x", 1, 1, f) == 1 && !fflush(f));
    char *file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
    void *nowhere = (void *)0x123458;
    FAULT(*(volatile int *)nowhere = 1, SIGSEGV, SEGV_MAPERR, nowhere);
    FAULT((void)*(volatile int *)nowhere, SIGSEGV, SEGV_MAPERR, nowhere);
    FAULT(((volatile char *)ro)[5] = 1, SIGSEGV, SEGV_ACCERR, ro + 5);
    FAULT(((void (*)(void))ro)(), SIGSEGV, SEGV_ACCERR, ro);
    FAULT(((void (*)(void))0x5000)(), SIGSEGV, SEGV_MAPERR, (void *)0x5000);
    run_off_the_page(-1, SEGV_MAPERR);
    run_off_the_page(PROT_NONE, SEGV_ACCERR);
    run_off_the_page(PROT_READ, SEGV_ACCERR);
    FAULT(((volatile char *)file)[4096] = 1, SIGBUS, BUS_ADRERR, file + 4096);
    FAULT(load_off_stack(16), 0, info.si_code, NULL);
    FAULT(load_off_stack(8), STACK_CHECKED ? SIGBUS : 0, STACK_CHECKED ? BUS_ADRALN : info.si_code,
          NULL);
    FAULT(__asm__ volatile(".word 0"), SIGILL, ILL_ILLOPC, NULL);
    FAULT(__asm__ volatile(BREAKPOINT), SIGTRAP, TRAP_BRKPT, NULL);
    CHECK(!sigaltstack(&alt, NULL));
    got = 0;
    if (!sigsetjmp(back, 1))
        deeper(0);
    CHECK(got == SIGSEGV && handler_sp > stack && handler_sp < stack + sizeof stack);
    return failures != 0;
}
