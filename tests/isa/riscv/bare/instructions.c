// Instructions that no random sequence can have, case by case: breakpoints, waiting, cache blocks,
// fences of translations, accesses on behalf of a virtual machine. For 64 and 32 bits; VIRTUAL=1
// runs what is tried below machine level under Sv39 (Sv32), VIRTUAL=0 without translation.
#include "levels.h"

#define OP(name, text)                                                                             \
    static u64 name(u64 a)                                                                         \
    {                                                                                              \
        register u64 a0 __asm__("a0") = a;                                                         \
        __asm__ volatile(text : "+r"(a0)::"memory");                                               \
        return a0;                                                                                 \
    }
// Arguments lie in a0, results too; what an older assembler does not know is given as a number.
OP(ebreak, ".option push\n.option norvc\nebreak\n.option pop")
OP(c_ebreak, "c.ebreak")
OP(ecall, "ecall")
OP(wfi, "wfi")
OP(wrs_nto, "lr.w t0, (a0)\n.word 0x00d00073")
OP(wrs_sto, "lr.w t0, (a0)\n.word 0x01d00073")
OP(unpaired_sc, "sc.w a0, a0, (a0)")
OP(cbo_inval, ".word 0x0005200f")
OP(cbo_clean, ".word 0x0015200f")
OP(cbo_flush, ".word 0x0025200f")
OP(cbo_zero, ".word 0x0045200f")
OP(sfence_vma, "sfence.vma")
OP(sinval_vma, ".word 0x16000073")
OP(sfence_w_inval, ".word 0x18000073")
OP(sfence_inval_ir, ".word 0x18100073")
OP(hfence_vvma, ".word 0x22000073")
OP(hfence_gvma, ".word 0x62000073")
OP(hinval_vvma, ".word 0x26000073")
OP(hinval_gvma, ".word 0x66000073")
OP(hlv_b, ".word 0x60054573")
OP(hlv_bu, ".word 0x60154573")
OP(hlv_h, ".word 0x64054573")
OP(hlv_hu, ".word 0x64154573")
OP(hlvx_hu, ".word 0x64354573")
OP(hlv_w, ".word 0x68054573")
OP(hlvx_wu, ".word 0x68354573")
#if __riscv_xlen == 64
OP(hlv_wu, ".word 0x68154573")
OP(hlv_d, ".word 0x6c054573")
#endif
#define STORE_OP(name, number) OP(name, "li t0, -2\n.word " number)
STORE_OP(hsv_b, "0x62554073")
STORE_OP(hsv_h, "0x66554073")
STORE_OP(hsv_w, "0x6a554073")
#if __riscv_xlen == 64
STORE_OP(hsv_d, "0x6e554073")
#endif
OP(sret, "la t0, 1f\ncsrw sepc, t0\nli t0, 0x100\ncsrs sstatus, t0\nsret\nli a0, 0\n1:")
OP(illegal_index, ".word 0x0605f007") // vluxei64.v v0, (a1), v0

static u64 load(u64 a)
{
    return *(volatile u64 *)a;
}

static void breakpoints(void)
{
    for (u64 level = S; level <= M; level += 2) {
        expect_cause(ebreak, 0, level, BREAKPOINT);
        expect(*(volatile unsigned short *)seen.epc == 0x0073);
        expect_cause(c_ebreak, 0, level, BREAKPOINT);
        expect(*(volatile unsigned short *)seen.epc == 0x9002);
    }
    expect_user(ebreak, 0, BREAKPOINT);
    expect_cause(ecall, 0, M, 11);
    expect_cause(ecall, 0, S, ECALL_S);
    expect_user(ecall, 0, ECALL_U);
    expect_cause(sret, 7, S, ECALL_S);
    expect(result == 7);
}

// Both may end at any time, and do so here.
static void waiting(void)
{
    expect_cause(wrs_nto, (u64)data, S, ECALL_S);
    expect_cause(wrs_sto, (u64)data, S, ECALL_S);
    expect_user(wrs_nto, (u64)data, ECALL_U);
    expect_user(wrs_sto, (u64)data, ECALL_U);
    SET(mstatus, TW);
    expect_cause(wfi, 0, S, ILLEGAL);
    CLEAR(mstatus, TW);
}

static void cache_blocks(void)
{
    static u64 (*const manage[])(u64) = {cbo_inval, cbo_clean, cbo_flush};
    volatile u64 *block = data[0] + 64 / sizeof(u64);
    WRITE(menvcfg, 0);
    WRITE(senvcfg, 0);
    for (unsigned n = 0; n < 3; n++) {
        expect_cause(manage[n], (u64)block, S, ILLEGAL);
        SET(menvcfg, CBIE | CBCFE);
        expect_cause(manage[n], (u64)block, S, ECALL_S);
        expect_user(manage[n], (u64)block, ILLEGAL);
        SET(senvcfg, CBIE | CBCFE);
        expect_user(manage[n], (u64)block, ECALL_U);
        WRITE(senvcfg, 0);
        // Where no access is allowed, that is a store's exception.
        if (VIRTUAL) {
            map(3, (u64)data[0], 0);
            expect_cause(manage[n], WINDOW + 3 * PAGE, S, STORE_PAGE);
            map(3, (u64)data[0], V | R | A);
            expect_cause(manage[n], WINDOW + 3 * PAGE, S, ECALL_S);
        } else {
            WRITE(pmpaddr0, (u64)data[1] >> 2 | 0x1ff);
            WRITE(pmpcfg0, 0x1f18ul);
            FENCE();
            expect_cause(manage[n], (u64)data[1], S, STORE_ACCESS);
            WRITE(pmpcfg0, 0x1f00ul);
            FENCE();
        }
        CLEAR(menvcfg, CBIE | CBCFE);
    }
    expect_cause(cbo_zero, (u64)block, S, ILLEGAL);
    SET(menvcfg, CBZE);
    for (unsigned n = 0; n < 3 * 64 / sizeof(u64); n++)
        data[0][n] = n + 1;
    expect_cause(cbo_zero, (u64)block + 5, S, ECALL_S);
    for (unsigned n = 0; n < 3 * 64 / sizeof(u64); n++)
        expect(data[0][n] == (n / (64 / sizeof(u64)) == 1 ? 0 : n + 1));
    expect_user(cbo_zero, (u64)block, ILLEGAL);
    SET(senvcfg, CBZE);
    expect_user(cbo_zero, (u64)block, ECALL_U);
    WRITE(senvcfg, 0);
    WRITE(henvcfg, 0);
    SET(menvcfg, CBIE | CBCFE);
    expect_guest(cbo_zero, (u64)block, VIRTUAL_INSN);
    expect_guest(cbo_flush, (u64)block, VIRTUAL_INSN);
    SET(henvcfg, CBZE);
    expect_guest(cbo_zero, (u64)block, ECALL_VS);
    WRITE(henvcfg, 0);
}

// A conditional store that has no reservation fails, but first faults like any other store.
static void conditional_stores(void)
{
    expect_cause(unpaired_sc, (u64)data[0], S, ECALL_S);
    expect(result == 1);
    expect_cause(unpaired_sc, (u64)data[0] + 2, S, STORE_MISALIGNED);
    if (VIRTUAL) {
        map(3, (u64)data[0], 0);
        expect_cause(unpaired_sc, WINDOW + 3 * PAGE, S, STORE_PAGE);
        map(3, (u64)data[0], V | R | A | D);
        expect_cause(unpaired_sc, WINDOW + 3 * PAGE, S, STORE_PAGE);
        return;
    }
    WRITE(pmpaddr0, (u64)data[1] >> 2 | 0x1ff);
    WRITE(pmpcfg0, 0x1f19ul); // read-only
    FENCE();
    expect_cause(unpaired_sc, (u64)data[1], S, STORE_ACCESS);
    WRITE(pmpcfg0, 0x1f00ul);
    FENCE();
}

static void fences(void)
{
    u64 saved = READ(satp);
    WRITE(satp, atp(root));
    data[0][0] = 11;
    data[1][0] = 22;
    map(0, (u64)data[0], V | R | A | D);
    expect_cause(load, WINDOW, S, ECALL_S);
    expect(result == 11);
    leaves[0] = PTE(data[1], V | R | A | D);
    expect_cause(sfence_w_inval, 0, S, ECALL_S);
    expect_cause(sinval_vma, 0, S, ECALL_S);
    expect_cause(sfence_inval_ir, 0, S, ECALL_S);
    expect_cause(load, WINDOW, S, ECALL_S);
    expect(result == 22);
    WRITE(satp, saved);
    FENCE();
    SET(mstatus, TVM);
    expect_cause(sfence_vma, 0, S, ILLEGAL);
    expect_cause(sinval_vma, 0, S, ILLEGAL);
    expect_cause(sfence_w_inval, 0, S, ECALL_S);
    CLEAR(mstatus, TVM);
    expect_user(sinval_vma, 0, ILLEGAL);
    expect_user(sfence_w_inval, 0, ILLEGAL);
    expect_user(sfence_inval_ir, 0, ILLEGAL);
    expect_user(hfence_vvma, 0, ILLEGAL);
    expect_user(hinval_gvma, 0, ILLEGAL);
}

static void guest_fences(void)
{
    as_guest();
    data[0][0] = 33;
    data[1][0] = 44;
    leaves[0] = PTE(data[0], V | R | A | D);
    hfence_vvma(0);
    expect_guest(load, WINDOW, ECALL_VS);
    expect(result == 33);
    leaves[0] = PTE(data[1], V | R | A | D);
    sfence_w_inval(0);
    hinval_vvma(0);
    sfence_inval_ir(0);
    expect_guest(load, WINDOW, ECALL_VS);
    expect(result == 44);
    u64 *entry = &guest[WIDE ? 2 : 0x200], was = *entry;
    *entry = 0;
    sfence_w_inval(0);
    hinval_gvma(0);
    sfence_inval_ir(0);
    expect_guest(load, WINDOW, FETCH_GUEST); // the program itself
    *entry = was;
    hfence_gvma(0);
    expect_guest(sinval_vma, 0, ECALL_VS);
    SET(hstatus, VTVM);
    expect_guest(sinval_vma, 0, VIRTUAL_INSN);
    CLEAR(hstatus, VTVM);
    expect_guest(hfence_vvma, 0, VIRTUAL_INSN);
    expect_guest(hfence_gvma, 0, VIRTUAL_INSN);
    expect_guest(hinval_vvma, 0, VIRTUAL_INSN);
    expect_guest(hinval_gvma, 0, VIRTUAL_INSN);
}

static void guest_accesses(void)
{
    static const struct {
        u64 (*fn)(u64);
        u64 want;
    } loads[] = {
        {hlv_b, ~(u64)0x7f},
        {hlv_bu, 0x80},
        {hlv_h, ~(u64)0x7e7f},
        {hlv_hu, 0x8180},
        {hlvx_hu, 0x8180},
        {hlv_w, (u64)(long)(int)0x83828180},
        {hlvx_wu, 0x83828180u},
#if __riscv_xlen == 64
        {hlv_wu, 0x83828180u},
        {hlv_d, 0x8786858483828180},
#endif
    };
    static const struct {
        u64 (*fn)(u64);
        unsigned size;
    } stores[] = {
        {hsv_b, 1},
        {hsv_h, 2},
        {hsv_w, 4},
#if __riscv_xlen == 64
        {hsv_d, 8},
#endif
    };
    volatile unsigned char *bytes = (volatile unsigned char *)data[0];
    as_guest();
    leaves[0] = PTE(data[0], V | R | W | X | A | D);
    leaves[1] = PTE(data[0], V | R | W | A | D);
    leaves[2] = PTE(0x40000000, V | R | W | A | D); // no memory of the guest's
    leaves[3] = 0;
    hfence_vvma(0);
    for (unsigned n = 0; n < sizeof loads / sizeof *loads; n++) {
        u64 (*fn)(u64) = loads[n].fn;
        for (unsigned k = 0; k < 8; k++)
            bytes[k] = (unsigned char)(0x80 + k);
        expect(fn(WINDOW) == loads[n].want); // at machine level
        expect_cause(fn, WINDOW, S, ECALL_S);
        expect(result == loads[n].want);
        expect_cause(fn, WINDOW + PAGE, S, fn == hlvx_hu || fn == hlvx_wu ? LOAD_PAGE : ECALL_S);
        expect_cause(fn, WINDOW + 3 * PAGE, S, LOAD_PAGE);
        expect_cause(fn, WINDOW + 2 * PAGE, S,
                     fn == hlvx_hu || fn == hlvx_wu ? LOAD_PAGE : LOAD_GUEST);
        expect_guest(fn, WINDOW, VIRTUAL_INSN);
        expect_user(fn, WINDOW, ILLEGAL);
        SET(hstatus, HU);
        expect_user(fn, WINDOW, ECALL_U);
        CLEAR(hstatus, HU);
    }
    for (unsigned n = 0; n < sizeof stores / sizeof *stores; n++) {
        for (unsigned k = 0; k < 8; k++)
            bytes[k] = 0;
        expect_cause(stores[n].fn, WINDOW, S, ECALL_S);
        for (unsigned k = 0; k < 8; k++)
            expect(bytes[k] == (k >= stores[n].size ? 0 : k ? 0xff : 0xfe));
        expect_cause(stores[n].fn, WINDOW + 3 * PAGE, S, STORE_PAGE);
        expect_cause(stores[n].fn, WINDOW + 2 * PAGE, S, STORE_GUEST);
        expect_guest(stores[n].fn, WINDOW, VIRTUAL_INSN);
        expect_user(stores[n].fn, WINDOW, ILLEGAL);
    }
    WRITE(hstatus, 0);
    WRITE(0x280, 0);
    WRITE(0x680, 0);
    hfence_gvma(0);
}

// Doublewords are no indexes where registers are words.
static void wide_indexes(void)
{
    SET(mstatus, 1 << 9);
    if (!WIDE) {
        __asm__ volatile(".word 0x0d807057"); // vsetvli x0, x0, e64, m1
        expect_cause(illegal_index, 0, S, ILLEGAL);
    }
}

int main(void)
{
    open_memory();
    breakpoints();
    waiting();
    cache_blocks();
    conditional_stores();
    fences();
    guest_fences();
    guest_accesses();
    wide_indexes();
    return 0;
}
