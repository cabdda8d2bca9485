// Disassembly of x86-64 code for people: the translator's output, and guests that run it. Capstone
// is loaded at the first use: linked, its relocations would cost every start more than a
// millisecond.
#pragma once

#include "base/base.h"

// One instruction as text, without address or newline: bytes consumed, 0 when there is none or the
// library is missing (then disas_x86_available() is false).
unsigned disas_x86(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n);
bool disas_x86_available(void);
