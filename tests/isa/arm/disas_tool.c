// Disassembles raw A64 code from a file, for comparison with another disassembler:
// disas_tool FILE OFFSET LENGTH ADDRESS prints "address word text" lines. With "bench" as a fifth
// argument it times the decoder over the range instead.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "isa/arm/a64_decode.h"
#include "base/bits.h"

static void bench(const uint8_t *code, size_t n)
{
    struct a64_insn i;
    struct timespec t[2];
    unsigned long sum = 0, rounds = 20;
    clock_gettime(CLOCK_MONOTONIC, &t[0]);
    for (unsigned long r = 0; r < rounds; r++)
        for (size_t at = 0; at + 4 <= n; at += 4)
            sum += a64_decode32(ld_le32(code + at), &i) + i.id;
    clock_gettime(CLOCK_MONOTONIC, &t[1]);
    double ns = (double)(t[1].tv_sec - t[0].tv_sec) * 1e9 + (double)(t[1].tv_nsec - t[0].tv_nsec);
    printf("%.2f ns per decode (%lu)\n", ns / (double)(rounds * (n / 4)), sum);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: disas_tool FILE OFFSET LENGTH ADDRESS [bench]\n");
        return 1;
    }
    FILE *f = fopen(argv[1], "rb");
    size_t n = strtoull(argv[3], NULL, 0);
    uint64_t pc = strtoull(argv[4], NULL, 0);
    uint8_t *code = xalloc(n);
    if (!f || fseek(f, strtol(argv[2], NULL, 0), SEEK_SET) || fread(code, 1, n, f) != n) {
        fprintf(stderr, "disas_tool: %s: cannot read %zu bytes\n", argv[1], n);
        return 1;
    }
    fclose(f);
    if (argc > 5) {
        bench(code, n);
        return 0;
    }
    for (size_t at = 0; at + 4 <= n; at += 4) {
        char text[160] = ".undefined";
        struct disas_out out = {.text = text, .size = sizeof text, .pc = pc + at};
        struct a64_insn i;
        uint32_t w = ld_le32(code + at);
        if (a64_decode32(w, &i))
            a64_disas(&out, &i);
        printf("%llx %08x %s\n", (unsigned long long)(pc + at), w, text);
    }
    return 0;
}
