// Lifting of vector instructions: the two halves' interface.
#pragma once

#include "isa/riscv/rv/lift.h"
#include "isa/riscv/vec/vec.h"

// Emits a defined instruction as vector operations of the IR; false: nothing was emitted.
bool rv_lift_vec_inline(struct lift *l, const struct rv_insn *i);
