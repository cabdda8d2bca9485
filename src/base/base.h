// What every file may assume: fixed-width integers, a few macros, and the one way to stop on our
// own bugs.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define BASE_JOIN_(a, b)                a##b
#define BASE_JOIN(a, b)                 BASE_JOIN_(a, b)
#define BASE_PICK(a, op, b)                                                                        \
    BASE_PICK_(a, op, b, BASE_JOIN(a_, __COUNTER__), BASE_JOIN(b_, __COUNTER__))
#define BASE_PICK_(a, op, b, x, y)                                                                 \
    ({                                                                                             \
        __auto_type x = (a);                                                                       \
        __auto_type y = (b);                                                                       \
        x op y ? x : y;                                                                            \
    })
// Each argument is evaluated once; they nest.
#define MIN(a, b) BASE_PICK(a, <, b)
#define MAX(a, b) BASE_PICK(a, >, b)

#define KiB ((uint64_t)1 << 10)
#define MiB ((uint64_t)1 << 20)
#define GiB ((uint64_t)1 << 30)

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED            __attribute__((unused))

// Built for the thread sanitizer, which wants to know about jumps out of frames and signal
// handlers.
#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#define THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define THREAD_SANITIZER 0
#endif

// A function that the thread sanitizer must leave as it is, for the reason given beside it.
#if THREAD_SANITIZER && defined(__clang__)
#define UNSANITIZED __attribute__((disable_sanitizer_instrumentation, noinline))
#else
#define UNSANITIZED
#endif

// Stops the process with file, line and condition. For our own bugs only: never on a value that
// came from a guest, an image, the wire or a state stream (SECURITY.md, R8).
#define BUG_ON(cond)                                                                               \
    do {                                                                                           \
        if (unlikely(cond))                                                                        \
            bug(__FILE__, __LINE__, #cond);                                                        \
    } while (0)
_Noreturn void bug(const char *file, int line, const char *what);

// The end when the host has no memory for `bytes` of our own: one line, exit status 1.
_Noreturn void host_out_of_memory(size_t bytes);

// Allocation that cannot fail for the caller: sizes are ours, not a guest's. Zeroed. Stops with one
// line when the host is out of memory.
void *xalloc(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((alloc_size(2), returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) PRINTF(1, 2) __attribute__((malloc, returns_nonnull));
