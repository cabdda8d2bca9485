// What the differential test hands to the reference program and gets back: a user-level state, a
// code address, and the memory window that loads and stores are kept inside. Shared by the host and
// the cross-compiled runner, so only fixed-size types.
#pragma once

#include <stdint.h>

#define WINDOW_VA 0x82000000u               // memory the cases may touch ...
#define CODE_VA   (WINDOW_VA + WINDOW_SIZE) // ... and the code, near enough for literal loads
enum {
    WINDOW_SIZE = 8192,
    CODE_STRIDE = 768, // bytes of code a case has, the final breakpoint included
    MAX_CASES = 1024,
    STATE_WORDS = 100,
};

struct diff_state {
    uint64_t pc;
    uint32_t signal; // out: 5 where the final breakpoint was reached
    uint32_t reserved;
    uint64_t r[STATE_WORDS]; // registers, where the guest's state.h puts them; the rest is 0
};

// The input file: a header, states, code (CODE_STRIDE bytes each), one window for all cases. The
// output file: a state and a window for each case.
struct diff_header {
    uint32_t cases, reserved;
};
