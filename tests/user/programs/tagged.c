// Guest program: addresses with a tag in the top byte, which AArch64 ignores for data and drops
// from the program counter, and RISC-V refuses; what system calls make of them; which address a
// fault reports.
#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SET_TAGGED = 55, GET_TAGGED = 56 };

static sigjmp_buf back;
static void *volatile faulted;
static volatile int code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    faulted = info->si_addr;
    code = info->si_code;
    siglongjmp(back, 1);
}

static void *tagged(const void *p, unsigned tag)
{
    return (void *)((uintptr_t)p | (uintptr_t)tag << 56);
}

// Does reading there fault, at this address?
static int faults_at(volatile char *p, void *address, int why)
{
    faulted = NULL;
    if (!sigsetjmp(back, 1)) {
        (void)*p;
        return 0;
    }
    return faulted == address && code == why;
}

#if defined(__aarch64__)

static uint64_t words[64] __attribute__((aligned(64)));

static int seven(void)
{
    return 7;
}

static void accesses(void)
{
    volatile uint8_t *b = tagged(words, 0xff);
    volatile uint16_t *h = tagged(words, 0x7f);
    volatile uint32_t *w = tagged(words, 0x01);
    volatile uint64_t *x = tagged(words, 0x80);
    *x = 0x1122334455667788;
    CHECK(*w == 0x55667788 && *h == 0x7788 && *b == 0x88 && words[0] == *x);
    CHECK(__atomic_add_fetch(x, 1, __ATOMIC_SEQ_CST) == 0x1122334455667789);
    uint64_t old = *x;
    CHECK(__atomic_compare_exchange_n(x, &old, 5, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
          words[0] == 5);
    uint64_t v, failed;
    __asm__ volatile("1: ldaxr %0, [%2]\n add %0, %0, #1\n stlxr %w1, %0, [%3]\n cbnz %w1, 1b"
                     : "=&r"(v), "=&r"(failed)
                     : "r"(x), "r"(tagged(words, 3))
                     : "memory");
    CHECK(words[0] == 6);
    __asm__ volatile("ldp x9, x10, [%0]\n stp x9, x9, [%0, #16]\n ld1 {v0.2d, v1.2d}, [%0]\n st1 "
                     "{v0.2d, v1.2d}, [%1]" ::"r"(x),
                     "r"(tagged(words + 8, 9))
                     : "x9", "x10", "v0", "v1", "memory");
    CHECK(words[2] == 6 && words[8] == 6 && words[10] == 6);
    memset(tagged(words, 0x5a), 1, sizeof words);
    CHECK(words[63] == 0x0101010101010101);
    __asm__ volatile("dc zva, %0" ::"r"(tagged(words, 0x22)) : "memory");
    CHECK(words[0] == 0);
    CHECK(((int (*)(void))tagged(seven, 0x42))() == 7);
}

static void *in_thread(void *arg)
{
    return (void *)*(volatile uintptr_t *)arg;
}

static void threads(void)
{
    pthread_t t;
    void *got;
    words[0] = 99;
    CHECK(!pthread_create(&t, NULL, in_thread, tagged(words, 0x33)) && !pthread_join(t, &got) &&
          got == (void *)99);
}

static void system_calls(void)
{
    int p[2];
    char *text = tagged("x", 0x11), buf[2] = {0};
    CHECK(!pipe(p));
    CHECK(write(p[1], text, 1) == -1 && errno == EFAULT);
    CHECK(prctl(SET_TAGGED, 2, 0, 0, 0) == -1 && errno == EINVAL &&
          prctl(GET_TAGGED, 0, 0, 0, 0) == 0);
    CHECK(!prctl(SET_TAGGED, 1, 0, 0, 0) && prctl(GET_TAGGED, 0, 0, 0, 0) == 1);
    CHECK(write(p[1], text, 1) == 1 && read(p[0], tagged(buf, 0x81), 1) == 1 && buf[0] == 'x');
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mmap(tagged(m, 1), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
          MAP_FAILED);
    CHECK(!mprotect(tagged(m, 1), 4096, PROT_NONE) && faults_at(tagged(m, 1), m, SEGV_ACCERR));
    CHECK(!munmap(tagged(m, 1), 8192) && faults_at(tagged(m, 1), m, SEGV_MAPERR));
    CHECK(!prctl(SET_TAGGED, 0, 0, 0, 0) && write(p[1], text, 1) == -1);
}

// The signal frame is written where a tagged alternate stack lies.
static volatile int handled;
static void on_usr1(int sig, siginfo_t *info, void *context)
{
    handled = 1;
}

static void tagged_stack(void)
{
    uint64_t used;
    __asm__ volatile("mov x9, sp\n orr x10, x9, #0x0100000000000000\n mov sp, x10\n str x9, [sp, "
                     "#-16]!\n ldr %0, [sp], #16\n mov sp, x9"
                     : "=r"(used)::"x9", "x10", "memory");
    CHECK(used != 0);
    on_signal(SIGUSR1, on_usr1, 0);
    raise(SIGUSR1);
    CHECK(handled);
}

static void all(void)
{
    char *low = tagged((void *)0x1000, 0x77);
    CHECK(faults_at((void *)0x00f0000000001000, (void *)0x00f0000000001000, SEGV_MAPERR));
    threads();
    accesses();
    CHECK(faults_at(low, (void *)0x1000, SEGV_MAPERR));
    CHECK(faults_at((void *)0x00f0000000001000, (void *)0x00f0000000001000, SEGV_MAPERR));
    system_calls();
    tagged_stack();
    volatile uint64_t *x = tagged(words, 0x99);
    for (unsigned i = 0; i < 10000000; i++)
        x[i & 63] += i;
    uint64_t sum = 0;
    for (unsigned i = 0; i < 64; i++)
        sum += words[i] - (i ? 0x0101010101010101 : 0);
    CHECK(sum != 0);
}

#else

static void all(void)
{
    static char byte;
    char *p = tagged(&byte, 0x11);
    CHECK(faults_at(p, p, SEGV_MAPERR));
    CHECK(prctl(SET_TAGGED, 1, 0, 0, 0) == -1 && errno == EINVAL);
}

#endif

int main(void)
{
    on_signal(SIGSEGV, on_fault, 0);
    all();
    return failures != 0;
}
