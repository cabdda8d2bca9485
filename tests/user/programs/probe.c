// Says what a program sees of how it was started, and dies in the ways it is told to.
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void list(const char *folder)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            printf("%s\n", e->d_name);
}

static void show_file(const char *path)
{
    char text[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    for (ssize_t i = 0; i < n; i++)
        putchar(text[i] ? text[i] : '|');
    printf("%s", n < 0 ? "unreadable\n" : "");
    close(fd);
}

static int overflow(int n)
{
    volatile char frame[4096];
    frame[0] = (char)n;
    return n ? overflow(n + 1) + frame[0] : 0;
}

// How much of the stack can be touched, in KiB, until it ends.
static void depth(void)
{
    struct rlimit l;
    getrlimit(RLIMIT_STACK, &l);
    printf("%lu\n", (unsigned long)l.rlim_cur / 1024);
}

// A mutex whose owner was killed is handed over.
static void robust(void)
{
    pthread_mutexattr_t a;
    pthread_mutex_t *m =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(m, &a);
    pid_t pid = fork();
    if (!pid) {
        pthread_mutex_lock(m);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    printf("%s\n", pthread_mutex_lock(m) == EOWNERDEAD ? "owner died" : "lost");
}

// Code written over itself, with the cache maintenance the architecture asks for.
static void rewritten(void)
{
    uint32_t *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int sum = 0;
    for (int i = 0; i < 50; i++) {
#if defined(__aarch64__)
        code[0] = 0x52800000u | (uint32_t)i << 5; // mov w0, #i
        code[1] = 0xd65f03c0u;                    // ret
#else
        code[0] = 0x00000513u | (uint32_t)i << 20; // li a0, i
        code[1] = 0x00008067u;                     // ret
#endif
        __builtin___clear_cache((char *)code, (char *)(code + 2));
        sum += ((int (*)(void))code)();
    }
    printf("%d\n", sum);
}

static const int sealed[2000] = {5};

static void die(const char *how)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (!strcmp(how, "read"))
        (void)*(volatile int *)0x1234560;
    else if (!strcmp(how, "write"))
        *(volatile int *)(uintptr_t)&sealed = 1;
    else if (!strcmp(how, "jump"))
        ((void (*)(void))0x4440)();
    else if (!strcmp(how, "illegal"))
        __asm__ volatile(".word 0");
    else if (!strcmp(how, "overflow"))
        overflow(1);
    else if (!strcmp(how, "abort"))
        abort();
    else if (!strcmp(how, "term"))
        raise(SIGTERM);
    else if (!strcmp(how, "rt"))
        raise(SIGRTMIN + 3);
    else if (!strcmp(how, "bus")) {
        FILE *f = tmpfile();
        volatile char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(f), 0);
        (void)p[0];
    }
}

int main(int argc, char **argv)
{
    struct utsname u;
    char link[4096] = "";
    const char *what = argc > 1 ? argv[1] : "";
    uname(&u);
    if (!strcmp(what, "argv"))
        for (int i = 0; i < argc; i++)
            printf("%s\n", argv[i]);
    else if (!strcmp(what, "env"))
        printf("%s\n", argc > 2 && getenv(argv[2]) ? getenv(argv[2]) : "unset");
    else if (!strcmp(what, "uname"))
        printf("%s %s\n", u.machine, u.release);
    else if (!strcmp(what, "page"))
        printf("%ld %lu\n", sysconf(_SC_PAGESIZE),
               (unsigned long)mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) %
                   (unsigned long)sysconf(_SC_PAGESIZE));
    else if (!strcmp(what, "stack"))
        depth();
    else if (!strcmp(what, "address"))
        printf("%d\n", (uintptr_t)&u < strtoull(argv[2], NULL, 0));
    else if (!strcmp(what, "hwcap"))
        printf("%lx\n", getauxval(AT_HWCAP));
    else if (!strcmp(what, "file"))
        show_file(argv[2]);
    else if (!strcmp(what, "list"))
        list(argv[2]);
    else if (!strcmp(what, "rooted")) {
        if (chroot(argv[2]) || chdir("/"))
            perror(argv[2]);
        list(argv[3]);
    } else if (!strcmp(what, "exe"))
        printf("%.*s\n", (int)readlink("/proc/self/exe", link, sizeof link), link);
    else if (!strcmp(what, "auxv")) {
        Elf64_auxv_t v;
        FILE *f = fopen("/proc/self/auxv", "r");
        int ok = 0;
        while (fread(&v, sizeof v, 1, f) == 1 && v.a_type)
            ok += v.a_type == AT_ENTRY && v.a_un.a_val == getauxval(AT_ENTRY);
        printf("%d\n", ok);
    } else if (!strcmp(what, "exec"))
        execvp(argv[2], argv + 2), perror(argv[2]);
    else if (!strcmp(what, "robust"))
        robust();
    else if (!strcmp(what, "rseq"))
        printf("%d\n", syscall(SYS_rseq, 0, 0, 0, 0) < 0 && (errno == ENOSYS || errno == EINVAL));
    else if (!strcmp(what, "rewritten"))
        rewritten();
    else if (!strcmp(what, "status"))
        return atoi(argv[2]);
    else
        die(what);
    return 0;
}
