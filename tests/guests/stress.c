// For a guest with a compiler: SECONDS of work on every CPU at once. Each CPU has a thread that
// fills and checks memory, one that writes, reads back and deletes a file, one that starts and
// joins short threads, and pairs that pass a token through a mutex and a condition. Every answer is
// checked; the counts show that all of them moved.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static time_t end;
static atomic_ulong memory_rounds, file_rounds, threads, tokens, faults;

static uint64_t next(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static int going(void)
{
    return time(NULL) < end;
}

static void check(int good, const char *what)
{
    if (!good && atomic_fetch_add(&faults, 1) < 20)
        printf("FAULT: %s\n", what);
}

static void *memory(void *arg)
{
    const size_t n = 2 << 20;
    for (uint64_t seed = (uintptr_t)arg + 1; going(); memory_rounds++) {
        uint64_t *p = malloc(n * 8), x = seed;
        for (size_t i = 0; i < n; i++)
            p[i] = next(&x);
        x = seed;
        int good = 1;
        for (size_t i = 0; i < n; i++)
            good &= p[i] == next(&x);
        check(good, "memory");
        seed = x;
        free(p);
    }
    return NULL;
}

static void *file(void *arg)
{
    static char out[64][1 << 20], in[64][1 << 20];
    unsigned me = (uintptr_t)arg % 64;
    char name[64];
    uint64_t x = me + 99;
    for (; going(); file_rounds++) {
        snprintf(name, sizeof(name), "/var/tmp/stress.%u.%lu", me, (unsigned long)(next(&x) % 8));
        for (size_t i = 0; i < sizeof(out[0]); i += 8) {
            uint64_t v = next(&x);
            memcpy(out[me] + i, &v, 8);
        }
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        check(write(fd, out[me], sizeof(out[0])) == (ssize_t)sizeof(out[0]), "write");
        check(fsync(fd) == 0, "fsync");
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        check(pread(fd, in[me], sizeof(in[0]), 0) == (ssize_t)sizeof(in[0]), "read");
        check(memcmp(in[me], out[me], sizeof(in[0])) == 0, "file");
        close(fd);
        if (x & 1)
            unlink(name);
    }
    return NULL;
}

static void *twice(void *arg)
{
    return (void *)((uintptr_t)arg * 2);
}

static void *spawn(void *arg)
{
    for (uintptr_t i = 1; going(); i++, threads++) {
        pthread_t t;
        void *r;
        check(pthread_create(&t, NULL, twice, (void *)i) == 0, "pthread_create");
        pthread_join(t, &r);
        check((uintptr_t)r == i * 2, "a thread's result");
    }
    return NULL;
}

struct pair {
    pthread_mutex_t lock;
    pthread_cond_t turn;
    unsigned long token;
};

// Both sides of a pair: this one's turn is when the token's parity is its own.
static void *pass(void *arg)
{
    struct pair *p = (struct pair *)((uintptr_t)arg & ~1ul);
    unsigned long side = (uintptr_t)arg & 1;
    pthread_mutex_lock(&p->lock);
    while (going()) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec += 1;
        while ((p->token & 1) != side && going())
            pthread_cond_timedwait(&p->turn, &p->lock, &soon);
        if ((p->token & 1) == side) {
            p->token++;
            tokens++;
            pthread_cond_signal(&p->turn);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int main(int argc, char **argv)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN), n = 0;
    pthread_t t[5 * 64];
    struct pair *pairs = calloc(64, sizeof(*pairs));
    if (cpus > 64)
        cpus = 64;
    end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 60);
    for (long i = 0; i < cpus; i++) {
        pthread_mutex_init(&pairs[i].lock, NULL);
        pthread_cond_init(&pairs[i].turn, NULL);
        pthread_create(&t[n++], NULL, memory, (void *)i);
        pthread_create(&t[n++], NULL, file, (void *)i);
        pthread_create(&t[n++], NULL, spawn, NULL);
        pthread_create(&t[n++], NULL, pass, &pairs[i]);
        pthread_create(&t[n++], NULL, pass, (char *)&pairs[i] + 1);
    }
    while (n)
        pthread_join(t[--n], NULL);
    printf("cpus %ld memory %lu files %lu threads %lu tokens %lu faults %lu\n", cpus, memory_rounds,
           file_rounds, threads, tokens, faults);
    return faults || !memory_rounds || !file_rounds || !threads || !tokens;
}
