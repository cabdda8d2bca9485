// A mutator for byte strings: flips, overwrites, inserts, removes, doubles and joins pieces, with
// numbers and bytes that parsers find hard. The same seed and case number give the same bytes.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/clock.h"

#define MUTATE_MAX 8192

struct seed {
    const char *data;
    size_t len;
};
#define SEED(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static uint64_t mutate_state;

static inline uint32_t mutate_rand(uint32_t below)
{
    mutate_state ^= mutate_state << 13;
    mutate_state ^= mutate_state >> 7;
    mutate_state ^= mutate_state << 17;
    return below ? (uint32_t)(mutate_state >> 32) % below : 0;
}

static inline void mutate_insert(uint8_t *b, size_t *len, size_t at, const void *p, size_t n)
{
    n = MIN(n, MUTATE_MAX - *len);
    memmove(b + at + n, b + at, *len - at);
    memcpy(b + at, p, n);
    *len += n;
}

static inline void mutate_once(uint8_t *b, size_t *len, const struct seed *seeds, unsigned n_seeds)
{
    static const char *const hard[] = {"0",
                                       "-1",
                                       "4294967295",
                                       "4294967296",
                                       "ffffffffffffffff",
                                       "99999999999999999999",
                                       ",",
                                       ",,",
                                       "=",
                                       ":",
                                       "-",
                                       "/",
                                       "%s",
                                       "\377",
                                       "\377\372",
                                       "\n",
                                       "#",
                                       "$",
                                       "}",
                                       "\xff\xff\xff\xff"};
    size_t at = mutate_rand((uint32_t)*len + 1), n = mutate_rand(16) + 1;
    const char *h = hard[mutate_rand(ARRAY_SIZE(hard))];
    const struct seed *s = &seeds[mutate_rand(n_seeds)];
    switch (mutate_rand(7)) {
    case 0:
        if (at < *len)
            b[at] ^= (uint8_t)(1u << mutate_rand(8));
        break;
    case 1:
        if (at < *len)
            b[at] = (uint8_t)mutate_rand(256);
        break;
    case 2:
        mutate_insert(b, len, at, h, strlen(h));
        break;
    case 3:
        n = MIN(n, *len - at);
        memmove(b + at, b + at + n, *len - at - n);
        *len -= n;
        break;
    case 4: {
        uint8_t piece[16];
        n = MIN(n, *len - at);
        memcpy(piece, b + at, n);
        for (unsigned i = mutate_rand(20); i; i--)
            mutate_insert(b, len, at, piece, n);
        break;
    }
    case 5: {
        size_t from = mutate_rand((uint32_t)s->len + 1);
        mutate_insert(b, len, at, s->data + from, s->len - from);
        break;
    }
    case 6:
        *len = at;
        break;
    }
}

static inline size_t mutate(uint8_t *b, const struct seed *seeds, unsigned n_seeds)
{
    const struct seed *s = &seeds[mutate_rand(n_seeds)];
    size_t len = s->len;
    memcpy(b, s->data, len);
    for (unsigned i = mutate_rand(6); i; i--)
        mutate_once(b, &len, seeds, n_seeds);
    return len;
}

struct fuzz_target {
    const char *name;
    const struct seed *seeds;
    unsigned n_seeds;
    void (*run)(const uint8_t *p, size_t n);
};

// The main function of a fuzzing program: TARGET COUNT [SEED [FIRST]].
static inline int fuzz_main(int argc, char **argv, const struct fuzz_target *targets, unsigned n)
{
    const struct fuzz_target *t = NULL;
    for (unsigned i = 0; argc > 2 && i < n; i++)
        if (!strcmp(argv[1], targets[i].name))
            t = &targets[i];
    if (!t) {
        fprintf(stderr, "usage: %s TARGET COUNT [SEED [FIRST]]\n", argv[0]);
        return 2;
    }
    unsigned long count = strtoul(argv[2], NULL, 0),
                  seed = argc > 3 ? strtoul(argv[3], NULL, 0) : 1;
    static uint8_t bytes[MUTATE_MAX];
    for (unsigned long i = argc > 4 ? strtoul(argv[4], NULL, 0) : 0; i < count; i++) {
        mutate_state = (seed << 32) + i * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
        size_t len = mutate(bytes, t->seeds, t->n_seeds);
        int64_t start = host_monotonic_ns();
        fprintf(stderr, "%s", i % 10000 ? "" : ".");
        t->run(bytes, len);
        if (host_monotonic_ns() - start > 10000000000ll) {
            fprintf(stderr, "case %lu took over 10 s\n", i);
            return 1;
        }
    }
    fprintf(stderr, "\n%s: %lu cases\n", t->name, count);
    return 0;
}
