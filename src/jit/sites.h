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
// Where the value of a slot is, in a word: many are recorded for each access, and compared with
// those of the access before.
struct loc {
    uint16_t slot;
    uint8_t kind;   // enum loc_kind
    uint8_t listed; // 1: the word is never 0
    uint32_t v;     // register, node of a constant, spill index, offset, index of loc_flags
};
struct loc_flags {
    uint8_t op;      // IR_subf, IR_addf, IR_testf
    bool wide;       // 64-bit operands
    uint8_t kind[2]; // of the operands, as in struct loc
    uint32_t v[2];
};

// The side table of a block while it is made. For each site in the order of writing: the code
// offset and the guest pc, both from the site before; then the slots whose place has changed since.
struct sites_buf {
    VEC(uint8_t) data;
    VEC(struct loc_flags) flags;
    const struct ir_region *r;
    uint32_t last_off;
    uint64_t last_pc;
    uint64_t now[IR_MAX_SLOTS]; // struct loc at the last site, 0: the slot is as in memory
    uint16_t listed[IR_MAX_SLOTS];
    unsigned n_listed;
};
void sites_begin(struct sites_buf *s, const struct ir_region *r); // empties s, keeps its memory
// One more site, further on in the code than the last; l has n places of slots, none twice, and
// gets another order.
void sites_add(struct sites_buf *s, uint32_t code_off, uint64_t pc, struct loc *l, unsigned n);
// The index of an entry of s->flags that equals f.
uint32_t sites_flags(struct sites_buf *s, struct loc_flags f);
