// A test case's state in and out of a CPU, and regions made of its code: what every way of running
// a case shares.
#pragma once

#include "guest.h"

enum { STATE_REGS = 100 };

// A CPU under test: its registers and where the state has them.
struct state_map {
    const struct diff_guest *guest;
    struct env *env;
    struct opts features;
    unsigned n;
    struct {
        const struct isa_reg *reg;
        uint16_t at;
        uint64_t mask;
    } part[STATE_REGS];
};

// Makes `e` a user-level CPU of that model ("max,vlen=256"). It is to be reset after this.
int state_open(struct state_map *m, const struct diff_guest *g, struct env *e, const char *model,
               struct space *memory, struct err *err);
void state_close(struct state_map *m);
void state_load(const struct state_map *m, const struct diff_state *s);
// ... with the signal a program would get after leaving with `why`.
void state_store(const struct state_map *m, enum env_leave why, struct diff_state *s);

// One region at pc out of `avail` bytes, through forward jumps as the translator does.
void region_build(struct ir_build *b, struct ir_region *r, const struct ir_switches *sw,
                  const struct state_map *m, uint64_t pc, uint64_t mode, const uint8_t *code,
                  unsigned avail, unsigned max_insns);
