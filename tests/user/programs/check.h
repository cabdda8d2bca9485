// The guest programs' one check: a line and exit status 1 for each difference.
#pragma once

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static int failures;
#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c)) {                                                                                \
            printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #c, errno);                       \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static inline void on_signal(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction a = {.sa_flags = SA_SIGINFO | flags};
    a.sa_sigaction = fn;
    CHECK(!sigaction(sig, &a, NULL));
}
