// The file that cases.c writes and program.c has linked in: a header, the memory window, the rows,
// the cases, each followed by its code. Words are little-endian.
#pragma once

#include <stdint.h>

enum {
    EVERY_SEQUENCES = 2,  // of each instruction ...
    EVERY_UNITS = 5,      // ... in each of which it is so often
    EVERY_REGISTERS = 65, // x0-x31, f0-f31, fcsr
};

struct every_header {
    uint32_t rows, cases;
};
struct every_row {
    char name[24];
    uint64_t expected;
};
struct every_case {
    uint32_t row, size; // of the code
    uint64_t registers[EVERY_REGISTERS];
};

static inline uint64_t every_digest(uint64_t digest, uint64_t word)
{
    digest = (digest ^ word) * 0x9e3779b97f4a7c15;
    return digest ^ digest >> 32;
}
