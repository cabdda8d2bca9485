// SIMD&FP operands of A64 assembly (DDI 0487, C1.2.4), as GNU tools write them.
#include "isa/arm/a64/print.h"
#include "isa/arm/simd/simd.h"

#include <math.h>
#include <stdio.h>

static const char letters[] = "bhsdq";

static unsigned clamp_size(unsigned size)
{
    return size > 4 ? 4 : size;
}

void a64_print_fp(struct disas_out *o, unsigned ftype, unsigned n)
{
    a64_print_vreg(o, a64_fp_size(ftype), n);
}

void a64_print_vec(struct disas_out *o, unsigned size, unsigned q, unsigned n)
{
    size = clamp_size(size);
    disas_printf(o, "v%u.%u%c", n & 31, (q ? 16u : 8u) >> size, letters[size]);
}

// The half-width source of FMLAL: lanes of 16 bits, half as many.
void a64_print_vec_half(struct disas_out *o, unsigned q, unsigned n)
{
    disas_printf(o, "v%u.%uh", n & 31, q ? 4 : 2);
}

void a64_print_vec_pair(struct disas_out *o, unsigned size, unsigned n)
{
    disas_printf(o, "v%u.2%c", n & 31, letters[clamp_size(size)]);
}

void a64_print_lane(struct disas_out *o, unsigned size, unsigned n, unsigned lane)
{
    disas_printf(o, "v%u.%c[%u]", n & 31, letters[clamp_size(size)], lane);
}

void a64_print_lane_group(struct disas_out *o, unsigned count, unsigned n, unsigned lane)
{
    disas_printf(o, "v%u.%u%c[%u]", n & 31, count, count == 4 ? 'b' : 'h', lane);
}

// ---- copies: the lowest set bit of imm5 is the size ----

static unsigned imm5_size(unsigned imm5)
{
    return (unsigned)__builtin_ctz(imm5 | 16);
}

void a64_print_lane5(struct disas_out *o, unsigned imm5, unsigned n)
{
    unsigned size = imm5_size(imm5);
    a64_print_lane(o, size, n, imm5 >> (size + 1));
}

void a64_print_lane54(struct disas_out *o, unsigned imm5, unsigned imm4, unsigned n)
{
    unsigned size = imm5_size(imm5);
    a64_print_lane(o, size, n, imm4 >> size);
}

void a64_print_vec5(struct disas_out *o, unsigned imm5, unsigned q, unsigned n)
{
    a64_print_vec(o, imm5_size(imm5), q, n);
}

void a64_print_scalar5(struct disas_out *o, unsigned imm5, unsigned n)
{
    a64_print_vreg(o, imm5_size(imm5), n);
}

// ---- shifts: the highest set bit of immh is the size ----

static unsigned immh_size(unsigned immh)
{
    return log2_floor(immh | 1);
}

void a64_print_vec_shift(struct disas_out *o, unsigned immh, unsigned q, unsigned n)
{
    a64_print_vec(o, immh_size(immh), q, n);
}

void a64_print_scalar_shift(struct disas_out *o, unsigned immh, unsigned n)
{
    a64_print_vreg(o, immh_size(immh), n);
}

void a64_print_shift_right(struct disas_out *o, unsigned immh, unsigned immb)
{
    a64_print_dec(o, (int)((16u << immh_size(immh)) - (immh << 3 | immb)));
}

void a64_print_shift_left(struct disas_out *o, unsigned immh, unsigned immb)
{
    a64_print_dec(o, (int)((immh << 3 | immb) - (8u << immh_size(immh))));
}

// The table of TBL: up to four consecutive registers.
void a64_print_list16(struct disas_out *o, unsigned first, unsigned more)
{
    a64_print_list(o, more + 1, 1, 0, first);
}

// ---- immediates and suffixes ----

void a64_print_fpimm(struct disas_out *o, unsigned imm8)
{
    double v = ldexp(16 + (imm8 & 15), (int)((imm8 >> 4 & 7) ^ 4) - 7);
    disas_printf(o, "#%.18e", imm8 & 128 ? -v : v);
}

void a64_print_modimm(struct disas_out *o, unsigned abc, unsigned defgh, unsigned cmode,
                      unsigned op)
{
    unsigned imm8 = abc << 5 | defgh;
    uint64_t v = imm8;
    if (cmode == 14 && op) {
        v = 0;
        for (unsigned k = 0; k < 8; k++)
            v |= imm8 >> k & 1 ? 0xffull << 8 * k : 0;
    }
    a64_print_hex64(o, v);
}

void a64_print_modshift(struct disas_out *o, unsigned cmode)
{
    unsigned shift = cmode < 8 ? 8 * (cmode >> 1) : 8 * (cmode >> 1 & 1);
    if (cmode >= 12)
        disas_printf(o, ", msl #%u", cmode & 1 ? 16 : 8);
    else if (shift)
        disas_printf(o, ", lsl #%u", shift);
}

void a64_print_two(struct disas_out *o, unsigned q)
{
    if (q)
        disas_puts(o, "2");
}

void a64_print_bt(struct disas_out *o, unsigned q)
{
    disas_puts(o, q ? "t" : "b");
}
