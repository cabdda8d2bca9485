// Operands of RISC-V assembly: what the generated disassembler calls for each <operand> of
// rv.decode.
#pragma once

#include "isa/riscv/rv_decode.h"

void rv_print_reg(struct disas_out *o, unsigned n);  // a0
void rv_print_freg(struct disas_out *o, unsigned n); // fa0
void rv_print_label(struct disas_out *o, int32_t offset);
void rv_print_upper(struct disas_out *o, int32_t imm); // 0x12345
void rv_print_csr(struct disas_out *o, unsigned csr);
void rv_print_order(struct disas_out *o, bool aq, bool rl);
void rv_print_vreg(struct disas_out *o, unsigned n);     // v0
void rv_print_vmask(struct disas_out *o, bool unmasked); // ,v0.t
void rv_print_vsegments(struct disas_out *o, unsigned nf);
void rv_print_vtype(struct disas_out *o, unsigned vtype); // e32,m1,ta,ma
void rv_print_fli(struct disas_out *o, unsigned n);       // fli's table entry
void rv_print_rounding(struct disas_out *o, unsigned rm); // nothing when dynamic
void rv_print_fence(struct disas_out *o, unsigned set);   // iorw
