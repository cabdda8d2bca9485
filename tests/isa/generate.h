// Random A64 sequences that are sure to stay inside their memory window and never meet behaviour
// the architecture leaves open, so that two correct implementations must agree on every bit.
#pragma once

#include "case.h"
#include "base/base.h"

struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);
static inline unsigned rng_below(struct rng *r, unsigned n)
{
    return (unsigned)((rng_next(r) >> 32) * n >> 32);
}

// A sequence is made of units: an instruction with what prepares its addresses. Branches go to the
// start of a later unit.
enum { MAX_UNITS = 16, UNIT_WORDS = 8 };
struct unit {
    uint32_t words[UNIT_WORDS];
    unsigned n;
    unsigned id;      // enum a64_id of its subject
    unsigned branch;  // index of the word that is a branch + 1, 0: none
    unsigned target;  // unit it goes to
    unsigned literal; // word of the window a literal load reads + 1, 0: none
};
struct sequence {
    struct unit units[MAX_UNITS];
    unsigned n;
    struct diff_state start; // pc is filled when placed
};

// What to draw from: instructions whose name, class or group contains `only` (NULL: all).
struct pool {
    uint16_t ids[4096];
    unsigned n;
};
void pool_fill(struct pool *p, const char *only);

void generate(struct sequence *s, const struct pool *p, struct rng *r, unsigned units);
// The code of a sequence at its place; units whose bit is set in `drop` become no-operations.
void sequence_place(const struct sequence *s, uint64_t va, uint32_t drop, uint32_t *code);
void generate_window(uint8_t *window, struct rng *r);
