// Random sequences that are sure to stay inside their memory window and never meet behaviour the
// architecture leaves open, so that two correct implementations must agree on every bit. What is
// safe is the guest's knowledge (guest.h).
#pragma once

#include "guest.h"

struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);
static inline unsigned rng_below(struct rng *r, unsigned n)
{
    return (unsigned)((rng_next(r) >> 32) * n >> 32);
}
// Values that matter as often as arbitrary ones.
uint64_t rng_interesting(struct rng *r);
// A floating-point number of 16, 32 or 64 bits: special ones, exponents near the limits or near
// each other, fractions of few digits.
uint64_t rng_fp(struct rng *r, unsigned bits);
// As many of one width as fit into 64 bits, or any value.
uint64_t rng_packed_fp(struct rng *r);

// A sequence is made of units: an instruction with what prepares its operands.
enum { MAX_UNITS = 16, UNIT_BYTES = 80 };
struct unit {
    uint8_t code[UNIT_BYTES];
    unsigned size;
    unsigned id;       // of its subject
    unsigned pointing; // offset of the word that is given a displacement + 1, 0: none
    unsigned target;   // ... to the start of this unit, a later one
    unsigned literal;  // ... or, where not 0, to this byte of the window
};
void unit_add(struct unit *u, uint32_t word, unsigned bytes);

struct sequence {
    struct unit before, units[MAX_UNITS], after;
    unsigned n;
    bool reserved;           // as the pool says
    uint64_t config;         // the guest's: what the next unit finds set up
    struct diff_state start; // pc is filled when placed
};

// What to draw from: instructions whose name, class or group contains `only` (NULL: all), less
// those named in the comma-separated list `without` (NULL: none).
struct pool {
    uint16_t ids[4096];
    unsigned n;
    bool reserved; // now and then in a configuration that makes it illegal, where peers differ
};
void pool_fill(struct pool *p, const struct diff_guest *g, struct env *e, const char *only,
               const char *without);

void generate(struct sequence *s, const struct diff_guest *g, struct env *e, const struct pool *p,
              struct rng *r, unsigned units);
// The code of a sequence at its place, CODE_STRIDE bytes; units whose bit is set in `drop` become
// no-operations.
void sequence_place(const struct sequence *s, const struct diff_guest *g, uint64_t va,
                    uint32_t drop, uint8_t *code);
void generate_window(uint8_t *window, struct rng *r);
