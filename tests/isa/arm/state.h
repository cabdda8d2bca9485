// Where the words of an A64 state are.
#pragma once

enum {
    STATE_X = 0,
    STATE_SP = 31,
    STATE_NZCV = 32, // bits 31..28
    STATE_FPSR = 33,
    STATE_FPCR = 34,
    STATE_V = 35, // two words each
};
