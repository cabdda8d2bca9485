// Memory that several processes and threads write at once: counters by atomic instructions, words
// that are only stored to, what the kernel writes. Under -accel dbt,verify=on no two runs of a
// region see the same.
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 20000, PROCESSES = 3 };
static struct shared {
    _Atomic long added, exchanged;
    volatile long stored, sum;
    _Atomic int ready;
    char text[64];
} * s;

static void count(long who)
{
    s->ready++;
    while (s->ready < PROCESSES)
        ;
    for (int i = 0; i < ROUNDS; i++) {
        s->added += 1;
        long v = s->exchanged;
        while (!atomic_compare_exchange_weak(&s->exchanged, &v, v + 2))
            ;
        s->stored = who;
        s->sum += s->stored;
    }
}

static void *reads(void *arg)
{
    int *fd = arg;
    for (int i = 0; i < ROUNDS / 10; i++)
        if (read(*fd, s->text, sizeof s->text) != sizeof s->text)
            break;
    return NULL;
}

int main(void)
{
    pthread_t t;
    int fds[2], status;
    char text[64];
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < PROCESSES; i++)
        if (!fork()) {
            count(i + 1);
            _exit(0);
        }
    while (wait(&status) > 0)
        CHECK(status == 0);
    CHECK(s->added == PROCESSES * ROUNDS && s->exchanged == 2 * PROCESSES * ROUNDS);
    CHECK(s->stored >= 1 && s->stored <= PROCESSES && s->sum > 0);
    // And by the kernel, from another thread.
    CHECK(!pipe(fds) && !pthread_create(&t, NULL, reads, &fds[0]));
    for (int i = 0; i < ROUNDS / 10; i++) {
        memset(text, i, sizeof text);
        CHECK(write(fds[1], text, sizeof text) == sizeof text);
        s->text[i % 64]++;
        s->text[(i + 7) % 64] ^= 5;
    }
    pthread_join(t, NULL);
    return failures != 0;
}
