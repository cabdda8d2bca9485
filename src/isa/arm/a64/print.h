// Operands of A64 assembly: what the generated disassembler calls for each <operand> of a64.decode,
// with the fields that the picture names. Each appends its operand's text, as the manual writes it.
#pragma once

#include "isa/arm/a64_decode.h"
#include "isa/arm/a64/imm.h"

void a64_print_reg(struct disas_out *o, unsigned sf, unsigned n);   // x0, wzr
void a64_print_regsp(struct disas_out *o, unsigned sf, unsigned n); // x0, wsp
void a64_print_imm(struct disas_out *o, uint32_t v);                // #0x1f
void a64_print_dec(struct disas_out *o, int v);                     // #31
void a64_print_hex64(struct disas_out *o, uint64_t v);
void a64_print_bitmask(struct disas_out *o, unsigned sf, unsigned n, unsigned immr, unsigned imms);
void a64_print_lsl(struct disas_out *o, unsigned amount);
void a64_print_shift(struct disas_out *o, unsigned kind, unsigned amount);
void a64_print_extend(struct disas_out *o, unsigned sf, unsigned option, unsigned amount, bool s,
                      unsigned rd, unsigned rn);
void a64_print_cond(struct disas_out *o, unsigned cond);
void a64_print_label(struct disas_out *o, int32_t offset);
void a64_print_page(struct disas_out *o, int32_t pages);

void a64_print_suffix(struct disas_out *o, unsigned size);        // b, h or nothing
void a64_print_signed_suffix(struct disas_out *o, unsigned size); // b, h, w
void a64_print_letter(struct disas_out *o, unsigned size);        // b, h, w, x
void a64_print_order(struct disas_out *o, bool acquire, bool release);
void a64_print_offset(struct disas_out *o, uint32_t v);
void a64_print_soffset(struct disas_out *o, int v);
void a64_print_preoffset(struct disas_out *o, int v); // shown even when zero
void a64_print_index(struct disas_out *o, unsigned size, unsigned option, bool s, unsigned rm);
void a64_print_prfop(struct disas_out *o, unsigned op);

// Vector registers: by log2 of the bytes, lists with an arrangement, lists of lanes.
void a64_print_vreg(struct disas_out *o, unsigned scale, unsigned n); // b0, h0, s0, d0, q0
void a64_print_list(struct disas_out *o, unsigned count, unsigned q, unsigned size, unsigned n);
void a64_print_lanes(struct disas_out *o, unsigned count, unsigned size, unsigned n);
void a64_print_post(struct disas_out *o, unsigned rm, unsigned bytes);
void a64_print_ldst(struct disas_out *o, bool load);
void a64_print_number(struct disas_out *o, unsigned n);

void a64_print_ab(struct disas_out *o, unsigned b);
void a64_print_key(struct disas_out *o, unsigned key);
void a64_print_zero_key(struct disas_out *o, unsigned key);
void a64_print_bti(struct disas_out *o, unsigned targets);
void a64_print_barrier(struct disas_out *o, unsigned option);
void a64_print_nxs(struct disas_out *o, unsigned option);
void a64_print_sysreg(struct disas_out *o, unsigned op0, unsigned op1, unsigned crn, unsigned crm,
                      unsigned op2);
void a64_print_sys(struct disas_out *o, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
                   unsigned rt);
void a64_print_cr(struct disas_out *o, unsigned n);
void a64_print_pstate(struct disas_out *o, unsigned op1, unsigned op2);

// ---- SIMD and floating point (simd/print.c); size is log2 of the lane's bytes ----

void a64_print_fp(struct disas_out *o, unsigned ftype, unsigned n);
void a64_print_vec(struct disas_out *o, unsigned size, unsigned q, unsigned n); // v0.4s
void a64_print_vec_half(struct disas_out *o, unsigned q, unsigned n);
void a64_print_vec_pair(struct disas_out *o, unsigned size, unsigned n);
void a64_print_vec5(struct disas_out *o, unsigned imm5, unsigned q, unsigned n);
void a64_print_vec_shift(struct disas_out *o, unsigned immh, unsigned q, unsigned n);
void a64_print_scalar5(struct disas_out *o, unsigned imm5, unsigned n);
void a64_print_scalar_shift(struct disas_out *o, unsigned immh, unsigned n);
void a64_print_lane(struct disas_out *o, unsigned size, unsigned n, unsigned lane); // v0.s[1]
void a64_print_lane5(struct disas_out *o, unsigned imm5, unsigned n);
void a64_print_lane54(struct disas_out *o, unsigned imm5, unsigned imm4, unsigned n);
void a64_print_lane_group(struct disas_out *o, unsigned count, unsigned n, unsigned lane);
void a64_print_shift_right(struct disas_out *o, unsigned immh, unsigned immb);
void a64_print_shift_left(struct disas_out *o, unsigned immh, unsigned immb);
void a64_print_list16(struct disas_out *o, unsigned first, unsigned count);
void a64_print_fpimm(struct disas_out *o, unsigned imm8);
void a64_print_modimm(struct disas_out *o, unsigned abc, unsigned defgh, unsigned cmode,
                      unsigned op);
void a64_print_modshift(struct disas_out *o, unsigned cmode);
void a64_print_two(struct disas_out *o, unsigned q); // the 2 of upper-half forms
void a64_print_bt(struct disas_out *o, unsigned q);
