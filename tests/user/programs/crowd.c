// Guest program: threads that make code, rewrite a page that others run, come and go, fault, are
// sent signals, map memory and wait for each other, all at once. What it is for is the translator's
// own state, which they share: it is to be run under the thread sanitizer, too.
#include "check.h"
#include "cpu.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 400, FUNCTIONS = 16, APART = 64, PAGE = 4096, CODE = PROT_READ | PROT_EXEC };
static uint32_t *shared;
static _Atomic bool over;
static _Atomic int signals, faults;
static _Thread_local sigjmp_buf back;
static _Thread_local volatile int armed;

static void *map(int prot)
{
    void *p = mmap(NULL, 4 * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static void write_code(uint32_t *at, uint32_t n)
{
    put_function(at, n);
    __builtin___clear_cache((char *)at, (char *)(at + 2));
}

static uint32_t call(const uint32_t *at)
{
    return ((uint32_t(*)(void))at)();
}

static void *make_code(void *arg)
{
    for (uint32_t n = 0; n < ROUNDS; n++) {
        bool by_turns = n & 1; // writable or executable, never both
        uint32_t *code = map(by_turns ? PROT_READ | PROT_WRITE : CODE | PROT_WRITE);
        for (uint32_t k = 0; k < 8; k++) {
            uint32_t *at = code + k * 128;
            write_code(at, n + k);
            CHECK(!by_turns || !mprotect(code, 4 * PAGE, CODE));
            CHECK(call(at) == n + k);
            CHECK(!by_turns || !mprotect(code, 4 * PAGE, PROT_READ | PROT_WRITE));
        }
        CHECK(!munmap(code, 4 * PAGE));
    }
    return NULL;
}

static void *run_neighbours(void *arg)
{
    while (!over)
        for (uint32_t k = 1; k < FUNCTIONS; k++)
            CHECK(call(shared + k * APART) == k);
    return NULL;
}

static void *rewrite_shared(void *arg)
{
    for (uint32_t n = 0; n < ROUNDS * 4; n++) {
        write_code(shared, n);
        CHECK(call(shared) == n);
    }
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}
static void *come_and_go(void *arg)
{
    for (long n = 0; n < ROUNDS; n++) {
        pthread_t t[3];
        void *r;
        for (long k = 0; k < 3; k++)
            CHECK(!pthread_create(&t[k], NULL, nothing, (void *)k));
        for (long k = 0; k < 3; k++)
            CHECK(!pthread_join(t[k], &r) && r == (void *)k);
    }
    return NULL;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    if (!armed)
        abort();
    faults++;
    siglongjmp(back, 1);
}
static void *touch_nothing(void *arg)
{
    for (int n = 0; n < ROUNDS; n++) {
        volatile char *p = map(PROT_NONE);
        if (!sigsetjmp(back, 1)) {
            armed = 1;
            *p = 1;
            CHECK(false);
        }
        armed = 0;
        CHECK(!mprotect((void *)p, 4 * PAGE, PROT_READ | PROT_WRITE));
        *p = 2;
        p = mremap((void *)p, 4 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
        CHECK(p != MAP_FAILED && *p == 2);
        CHECK(!munmap((void *)p, 16 * PAGE));
    }
    return NULL;
}

static void *wait_and_wake(void *arg)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
    for (int n = 0; n < ROUNDS; n++) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += t.tv_nsec < 999000000 ? 100000 : 0;
        pthread_mutex_lock(&lock);
        int why =
            n & 1 ? pthread_cond_timedwait(&changed, &lock, &t) : pthread_cond_broadcast(&changed);
        CHECK(!why || why == ETIMEDOUT);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void on_signal_count(int sig, siginfo_t *info, void *context)
{
    signals++;
}

// All but the second, which runs until the others have ended.
static void *(*const work[])(void *) = {make_code,   run_neighbours, make_code,     rewrite_shared,
                                        come_and_go, touch_nothing,  wait_and_wake, wait_and_wake};
enum { WORKERS = sizeof work / sizeof work[0], RUNS_ON = 1 };

static pthread_t workers[WORKERS];
static void *send_signals(void *arg)
{
    for (unsigned n = 0; !over; n++) {
        CHECK(!pthread_kill(workers[RUNS_ON], SIGRTMIN + 3));
        CHECK(!pthread_kill(*(pthread_t *)arg, SIGUSR1));
        usleep(100);
    }
    return NULL;
}

int main(void)
{
    pthread_t self = pthread_self(), sender;
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
    on_signal(SIGUSR1, on_signal_count, SA_RESTART);
    on_signal(SIGALRM, on_signal_count, SA_RESTART);
    on_signal(SIGRTMIN + 3, on_signal_count, SA_RESTART);
    on_signal(SIGSEGV, on_fault, SA_NODEFER);
    shared = map(CODE | PROT_WRITE);
    for (uint32_t k = 0; k < FUNCTIONS; k++)
        write_code(shared + k * APART, k);
    for (unsigned k = 0; k < WORKERS; k++)
        CHECK(!pthread_create(&workers[k], NULL, work[k], NULL));
    CHECK(!pthread_create(&sender, NULL, send_signals, &self));
    CHECK(!setitimer(ITIMER_REAL, &often, NULL)); // to whichever thread
    for (unsigned k = 0; k < WORKERS; k++)
        CHECK(k == RUNS_ON || !pthread_join(workers[k], NULL));
    while (!signals)
        usleep(1000);
    over = true;
    CHECK(!pthread_join(sender, NULL) && !pthread_join(workers[RUNS_ON], NULL));
    CHECK(!setitimer(ITIMER_REAL, &never, NULL));
    CHECK(faults == ROUNDS);
    return failures != 0;
}
