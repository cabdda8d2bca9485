// Where the words of a RISC-V state are.
#pragma once

enum {
    STATE_X = 0, // x0 is 0
    STATE_F = 32,
    STATE_FCSR = 64,
};
