// What the RISC-V differential test hands to the reference program and gets back. Shared by the
// host and the cross-compiled runner, so only fixed-size types.
#pragma once

#include <stdint.h>

enum {
    WINDOW_VA = 0x20000000, // memory the cases may touch ...
    WINDOW_SIZE = 8192,
    CODE_VA = WINDOW_VA + WINDOW_SIZE, // ... and the code
    CODE_STRIDE = 768,                 // bytes of code a case has, the final EBREAK included
    VECTOR_VA = WINDOW_VA + 7168,      // vector registers come from here and go back
    MAX_CASES = 1024,
};

struct diff_state {
    uint64_t pc, x[32], f[32]; // x[0] is 0
    uint32_t fcsr;
    uint32_t signal; // out: 5 where the final EBREAK was reached
};

// The input file: the number of cases, states, code (CODE_STRIDE bytes each), one window for all
// cases. The output file: a state and a window for each case.
struct diff_header {
    uint64_t cases;
};
