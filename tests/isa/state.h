// A test case's state in and out of a CPU, and regions made of its code: what every way of running
// a case shares.
#pragma once

#include "case.h"
#include "isa/arm/arm.h"

void state_load(struct arm_cpu *c, const struct diff_state *s);
void state_store(struct arm_cpu *c, struct diff_state *s);
// The signal a program would get after leaving with `why`.
uint32_t state_signal(const struct arm_cpu *c, enum env_leave why);
// One region at pc out of `avail` bytes, through forward jumps as the translator does.
void region_build(struct ir_build *b, struct ir_region *r, const struct ir_switches *sw,
                  struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code, unsigned avail,
                  unsigned max_insns);
