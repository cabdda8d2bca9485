// What generated decoders share (scripts/decode_gen.py): one table row per instruction, the nodes
// of the decision tables, and the little text buffer disassemblers print into.
#pragma once

#include "base/base.h"

struct decode_info {
    const char *name, *cls, *group; // as in the .decode file
    uint32_t mask, value;           // fixed bits
    uint32_t ones, zeros;           // ignored bits that should be 1, or 0
    uint8_t width;                  // in bits
    uint16_t format;                // private to the decoder
    bool conditional;               // has a `where`
    uint16_t feature;               // 1 + the ISA's feature it belongs to; 0: always there
    uint8_t variant;                // the only one that has it; 0: all do
};

struct decode_node {
    uint16_t base;
    uint8_t shift;
    uint16_t mask;
};

// Text is cut at the end of the buffer and always terminated.
struct disas_out {
    char *text;
    size_t size, used;
    uint64_t pc; // of the instruction
};
void disas_puts(struct disas_out *o, const char *s);
void disas_printf(struct disas_out *o, const char *fmt, ...) PRINTF(2, 3);
void disas_tab(struct disas_out *o); // from the mnemonic to the operands
