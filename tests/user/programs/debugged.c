// What the debugger looks at: a known call, threads, a signal with a handler, and an exit status.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

volatile int handled, total;
pthread_barrier_t both;

__attribute__((noinline)) int triple(int n)
{
    int twice = n * 2;
    total += twice + n;
    return twice + n;
}

static void handler(int sig)
{
    handled = sig;
}

static void *worker(void *arg)
{
    pthread_barrier_wait(&both);
    triple(5);
    pthread_barrier_wait(&both);
    return arg;
}

int main(void)
{
    pthread_t t;
    signal(SIGUSR1, handler);
    int r = triple(14);
    pthread_barrier_init(&both, NULL, 2);
    pthread_create(&t, NULL, worker, NULL);
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&both);
    pthread_join(t, NULL);
    raise(SIGUSR1);
    printf("%d %d %d\n", r, total, handled);
    if (getppid() == 0)
        triple(1);
    return r - 35;
}
