// Harts that lack what most have, case by case: without compressed instructions (addresses of code
// are multiples of four), double precision or cache management, and, in a second run, without a
// supervisor. VIRTUAL as in instructions.c, where there is a supervisor.
#include "levels.h"

#define OP(name, text)                                                                             \
    static u64 name(u64 a)                                                                         \
    {                                                                                              \
        register u64 a0 __asm__("a0") = a;                                                         \
        __asm__ volatile(text : "+r"(a0)::"ra", "t0", "memory");                                   \
        return a0;                                                                                 \
    }
OP(jump, "jalr ra, 0(a0)")
OP(jump_near, "la t0, 1f + 2\n.word 0x0060006f\n1: nop\nnop") // j .+6
OP(fmv_single, "fmv.w.x ft0, a0")
OP(fli_single, ".word 0xf0178053")
OP(fli_double, ".word 0xf2178053")
OP(fround_double, ".word 0x42408053")
OP(fminm_double, ".word 0x2a20a053")
OP(fleq_double, ".word 0xa220c553")
OP(fcvtmod_double, ".word 0xc2809553")
OP(fcvt_double_half, ".word 0x42208053")
OP(fcvt_half_double, ".word 0x44108053")
OP(fcvt_single_half, ".word 0x40208053")
OP(fadd_double, ".word 0x02208053")
OP(cbo_flush, ".word 0x0025200f")
OP(cbo_zero, ".word 0x0045200f")
OP(half_word, ".half 0x0001\n.half 0x0001")
OP(wait, "wfi")

static void code_addresses(u64 level)
{
    WRITE(mepc, 0x80000006);
    expect(READ(mepc) == 0x80000004);
    expect_cause(jump, (u64)data + 2, level, 0);
    expect(seen.tval == (u64)data + 2 && *(volatile unsigned *)seen.epc == 0x000500e7);
    expect_cause(jump_near, 0, level, 0);
    expect(seen.tval == seen.epc + 6);
    expect_cause(half_word, 0, level, ILLEGAL);
}

static void no_doubles(u64 level)
{
    static u64 (*const doubles[])(u64) = {fli_double,  fround_double,   fminm_double,
                                          fleq_double, fcvtmod_double,  fcvt_double_half,
                                          fadd_double, fcvt_half_double};
    SET(mstatus, 1 << 13);
    for (unsigned n = 0; n < sizeof doubles / sizeof *doubles; n++)
        expect_cause(doubles[n], 0, level, ILLEGAL);
    expect_cause(fmv_single, 0, level, level == M ? 11 : ECALL_S);
    expect_cause(fli_single, 0, level, level == M ? 11 : ECALL_S);
    expect_cause(fcvt_single_half, 0, level, level == M ? 11 : ECALL_S);
}

static void no_cache_management(u64 level)
{
    WRITE(menvcfg, CBIE | CBCFE | CBZE);
    expect((READ(menvcfg) & (CBIE | CBCFE | CBZE)) == CBZE);
    expect_cause(cbo_flush, (u64)data, level, ILLEGAL);
    expect_cause(cbo_zero, (u64)data, level, level == M ? 11 : ECALL_S);
}

static void supervised(void)
{
    fill(root, 0);
    fill(user_root, UP);
    WRITE(satp, VIRTUAL ? atp(root) : 0);
    FENCE();
    WRITE(sepc, 6);
    expect(READ(sepc) == 4);
    WRITE(0x241, 6); // vsepc
    expect(READ(0x241) == 4);
    code_addresses(S);
    no_doubles(S);
    no_cache_management(S);
    as_guest();
    expect_guest(jump, (u64)data + 2, 0);
    expect(WIDE ? READ(mstatus) >> (WIDE ? 38 : 0) & 1 : READ(0x310) >> 6 & 1); // GVA
}

static void unsupervised(void)
{
    code_addresses(M);
    no_doubles(M);
    no_cache_management(M);
    SET(mstatus, TW | TVM);
    expect((READ(mstatus) & (TW | TVM)) == TW);
    expect_cause(wait, 0, U, ILLEGAL);
    CLEAR(mstatus, TW);
}

int main(void)
{
    WRITE(pmpaddr1, ~(u64)0);
    WRITE(pmpcfg0, 0x1f00ul);
    if (READ(misa) & 1 << ('s' - 'a'))
        supervised();
    else
        unsupervised();
    return 0;
}
