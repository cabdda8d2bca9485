// What one guest CPU adds to the differential test: where its registers lie in a state, which of
// its instructions may be drawn, and how a draw is made safe. One folder each; the table is
// guests[] in guest.c.
#pragma once

#include "case.h"
#include "isa/decode.h"
#include "isa/isa.h"

struct rng;
struct sequence;
struct unit;

// Registers of the ISA's table, numbered as gdb has them, in the state's words from `at` on.
struct state_part {
    const char *name;
    uint16_t number, count, at;
    uint64_t mask; // bits that are compared; 0: all
};

struct diff_guest {
    const struct isa *isa;
    const char *model, *reference_cpu; // where the command line names none
    const struct state_part *parts;    // ends with .name == NULL
    const struct decode_info *info;    // [1 .. ids - 1]
    unsigned ids;
    uint32_t end; // the breakpoint behind every sequence
    uint32_t nop; // what dropped code becomes
    unsigned nop_bytes;

    // Is an instruction of this CPU's, and does it do the same on every machine?
    bool (*drawn)(struct env *e, unsigned id);
    // Fills the start state and, where there is any, the code before and after all units.
    void (*begin)(struct env *e, struct sequence *s, struct rng *r);
    void (*end_with)(struct env *e, struct sequence *s); // NULL: nothing
    // An instruction with what makes it safe; false: draw again.
    bool (*unit)(struct env *e, struct sequence *s, struct unit *u, unsigned id, struct rng *r);
    // A branch or literal load with its displacement, in bytes. NULL: there are none.
    uint32_t (*point)(uint32_t word, int32_t distance);
    // The signal a program gets after leaving with LEAVE_SIGNAL.
    uint32_t (*signal)(const struct env *e);
    // Behind the soft MMU: make memory at `base` readable, writable and executable for user level;
    // page tables go to `table`. NULL: it is without any.
    void (*map)(struct env *e, struct ram *ram, uint64_t base, uint64_t table);
};

extern const struct diff_guest diff_arm, diff_riscv32, diff_riscv64;
// By the ISA's name, or NULL.
const struct diff_guest *diff_guest_find(const char *name);
