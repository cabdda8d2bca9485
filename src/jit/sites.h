// Where values live at a point of translated code: what side exits store, and what the side table
// records for accesses that may fault.
#pragma once

#include "jit/state.h"

enum loc_kind {
    LOC_GPR,
    LOC_XMM,
    LOC_CONST,
    LOC_SPILL,
    LOC_SLOT,  // bytes at an offset from env
    LOC_FLAGS, // recomputed from two operands
};
struct loc {
    uint8_t kind;
    uint8_t op; // LOC_FLAGS: IR_subf, IR_addf, IR_testf
    bool wide;  // LOC_FLAGS: 64-bit operands
    uint8_t op_kind[2];
    uint64_t v; // register, constant, spill index, offset
    uint64_t op_v[2];
    ir_ref ref; // the value
    uint8_t type;
};
struct loc_entry {
    uint16_t slot;
    struct loc loc;
};

// The side table of a block: for each site in address order, the code offset, the guest pc, and the
// slots that differ from memory. Numbers are LEB128, offsets relative to the site before.
struct sites_buf {
    VEC(uint8_t) data;
    uint32_t last_off;
    uint64_t pc;
};
void sites_begin(struct sites_buf *s, uint64_t block_pc);
void sites_add(struct sites_buf *s, uint32_t code_off, uint64_t pc, const struct loc_entry *e,
               unsigned n);
