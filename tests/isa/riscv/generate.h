// Random RISC-V sequences that stay inside their memory window and only jump forward, so that two
// correct implementations must agree on every bit.
#pragma once

#include "base/base.h"
#include "case.h"

struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);

// Fills one case: `code` is CODE_STRIDE bytes, start->pc is set by the caller. Draws only from
// instructions whose name, class or group contains `only` (NULL: all).
// `vlen`: of the vector registers, which the sequence then begins with and ends with; 0: none.
// `newest`: draw from extensions that older references lack.
void generate(struct rng *r, const char *only, unsigned units, unsigned vlen, bool newest,
              struct diff_state *start, uint8_t *code);
void generate_window(struct rng *r, uint8_t *window);
