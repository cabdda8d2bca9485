// What translation costs before host code is made: nanoseconds per guest instruction for decoding,
// and for decoding, lifting and building IR, over raw A64 code: cost FILE OFFSET LENGTH.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bits.h"
#include "../flat.h"
#include "isa/arm/a64_decode.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); // other load aside
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    enum { ROUNDS = 10 };
    struct err e;
    struct flat *f = flat_new(&diff_arm, "max", &e);
    if (argc != 4 || !f) {
        fprintf(stderr, "usage: cost FILE OFFSET LENGTH\n");
        return 1;
    }
    FILE *file = fopen(argv[1], "rb");
    size_t n = strtoull(argv[3], NULL, 0) & ~3ull, regions = 0, nodes = 0;
    uint8_t *code = xalloc(n);
    if (!file || fseek(file, strtol(argv[2], NULL, 0), SEEK_SET) || fread(code, 1, n, file) != n) {
        fprintf(stderr, "cost: %s: cannot read %zu bytes\n", argv[1], n);
        return 1;
    }
    fclose(file);
    unsigned long sum = 0;
    double t = now();
    for (unsigned r = 0; r < ROUNDS; r++)
        for (size_t at = 0; at < n; at += 4) {
            struct a64_insn i;
            sum += a64_decode32(ld_le32(code + at), &i);
        }
    double decode = (now() - t) / ROUNDS / (double)(n / 4);
    t = now();
    for (unsigned r = 0; r < ROUNDS; r++)
        regions = flat_build_all(f, code, n, &nodes);
    double all = (now() - t) / ROUNDS / (double)(n / 4);
    printf("decode %.1f ns, decode + lift + build %.1f ns per instruction; "
           "%.1f instructions per region, %.2f nodes per instruction (%lu)\n",
           decode, all, (double)(n / 4) / (double)regions, (double)nodes / (double)(n / 4), sum);
    free(code);
    flat_free(f);
    return 0;
}
