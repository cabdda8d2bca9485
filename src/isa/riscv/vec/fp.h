// Element functions of floating point (fp.c): one declaration per function that fp_ops.def names.
#pragma once

#include "isa/riscv/vec/vec.h"

#define FP(name, suffix, source, shape, f, flags) rv_velem rv_vf_##f;
#include "isa/riscv/vec/fp_ops.def"
#undef FP

// f[n] as a number of SEW: NaN where it is not boxed.
uint64_t rv_vf_scalar(const struct rv_vec *v, unsigned n);
