// Runs the cases of a differential test on a Linux of the guest's kind: runner INPUT OUTPUT. Each
// case is entered by returning from a signal handler with its state, and ends in the next signal.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "context.h"

static const struct diff_header *header;
static const struct diff_state *in;
static const char *first_window;
static char *out;
static uint32_t running = UINT32_MAX;
enum { RESULT = sizeof(struct diff_state) + WINDOW_SIZE };

static void on_signal(int number, siginfo_t *info, void *context)
{
    if (running != UINT32_MAX) {
        struct diff_state *s = (void *)(out + (size_t)running * RESULT);
        context_store(context, s);
        s->signal = (uint32_t)number;
        memcpy(s + 1, (void *)WINDOW_VA, WINDOW_SIZE);
    }
    if (++running == header->cases)
        _exit(0);
    context_load(context, &in[running]);
    memcpy((void *)WINDOW_VA, first_window, WINDOW_SIZE);
}

static void *map_file(const char *name, size_t size, int flags)
{
    int fd = open(name, flags, 0600);
    struct stat st;
    if (fd < 0 || (size && ftruncate(fd, (off_t)size)) || fstat(fd, &st))
        exit(2);
    void *p =
        mmap(NULL, (size_t)st.st_size, PROT_READ | (size ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        exit(2);
    close(fd);
    return p;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    header = map_file(argv[1], 0, O_RDONLY);
    in = (const void *)(header + 1);
    out = map_file(argv[2], (size_t)header->cases * RESULT, O_RDWR | O_CREAT | O_TRUNC);
    const char *code = (const char *)(in + header->cases);
    size_t code_size = (size_t)header->cases * CODE_STRIDE;
    first_window = code + code_size;
    void *p = mmap((void *)WINDOW_VA, WINDOW_SIZE + code_size, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (p != (void *)WINDOW_VA)
        return 2;
    memcpy((void *)CODE_VA, code, code_size);
    __builtin___clear_cache((char *)CODE_VA, (char *)CODE_VA + code_size);
    static char stack[1 << 16];
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alt, NULL);
    struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    const int signals[] = {SIGTRAP, SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGSYS};
    for (unsigned n = 0; n < sizeof signals / sizeof *signals; n++)
        sigaction(signals[n], &a, NULL);
    raise(SIGTRAP);
    return 3;
}
