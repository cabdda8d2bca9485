// Guest program: threads with mutexes, atomics, thread-local storage, signals and cancellation.
#include "check.h"

#include <pthread.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 20000 };
static int counter;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int atomic_counter;
static __thread long local = 7;
static volatile int woken;

static void *count(void *arg)
{
    CHECK(local == 7);
    local = (long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        atomic_counter++;
    }
    CHECK(local == (long)arg);
    return arg;
}

static void wake(int sig, siginfo_t *i, void *context)
{
    woken++;
}
static void *wait_signal(void *arg)
{
    pause();
    return NULL;
}
static void *sleep_on(void *arg)
{
    for (;;)
        sleep(1);
}

// The C library changes identities in every thread, by a signal of its own.
static void change_identity(void)
{
    pthread_t t;
    gid_t mine = getgid();
    pthread_create(&t, NULL, sleep_on, NULL);
    usleep(10000);
    CHECK(!setgid(mine) && !setuid(getuid()));
    pthread_cancel(t);
    CHECK(!pthread_join(t, NULL));
}

int main(void)
{
    pthread_t t[THREADS];
    void *r;
    for (long i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&t[i], NULL, count, (void *)i));
    for (long i = 0; i < THREADS; i++)
        CHECK(!pthread_join(t[i], &r) && r == (void *)i);
    CHECK(counter == THREADS * ROUNDS && atomic_counter == THREADS * ROUNDS && local == 7);
    on_signal(SIGUSR1, wake, 0);
    pthread_create(&t[0], NULL, wait_signal, NULL);
    while (pthread_tryjoin_np(t[0], NULL)) { // one signal may come before it pauses
        pthread_kill(t[0], SIGUSR1);
        usleep(20000);
    }
    CHECK(woken);
    pthread_create(&t[0], NULL, sleep_on, NULL);
    pthread_cancel(t[0]);
    CHECK(!pthread_join(t[0], &r) && r == PTHREAD_CANCELED);
    change_identity();
    return failures != 0;
}
