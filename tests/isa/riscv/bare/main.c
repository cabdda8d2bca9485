// Privileged RISC-V, case by case: each mechanism is provoked and what the trap says is compared
// with the manual (volume II, 20240411). VIRTUAL=1 runs what is tried below machine level under
// Sv39 translation, VIRTUAL=0 without. PEER=1 is for the emulator it is compared with.
#include "bare.h"

static u64 root[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));
static u64 leaves[512] __attribute__((aligned(4096)));
static u64 second[2048] __attribute__((aligned(16384)));
static volatile u64 page[2][512] __attribute__((aligned(65536)));

enum { V = 1, R = 2, W = 4, X = 8, UP = 16, A = 64, D = 128 };
#define PTE(pa, flags) ((u64)(pa) >> 12 << 10 | (flags))
#define WINDOW         0x40000000ul // leaves[]
#define RWXAD          (V | R | W | X | A | D)

static void map(unsigned n, u64 pa, u64 flags)
{
    leaves[n] = PTE(pa, flags);
    FENCE();
}

static u64 load(u64 a)
{
    return *(volatile u64 *)a;
}
static u64 store(u64 a)
{
    return *(volatile u64 *)a = 0x5a5a, 0;
}
static u64 load_user(u64 a)
{
    SET(sstatus, 1ul << 18);
    u64 v = *(volatile u64 *)a;
    CLEAR(sstatus, 1ul << 18);
    return v;
}
static u64 load_mxr(u64 a)
{
    SET(sstatus, 1ul << 19);
    u64 v = *(volatile u64 *)a;
    CLEAR(sstatus, 1ul << 19);
    return v;
}
static u64 jump(u64 a)
{
    return ((u64(*)(void))a)();
}
static u64 nothing(u64 a)
{
    return a + 1;
}
static u64 fp_move(u64 a)
{
    __asm__ volatile("fmv.d.x ft0, %0" ::"r"(a));
    return READ(sstatus) >> 13 & 3;
}
CSR_READER(read_mstatus, mstatus)
CSR_READER(read_satp, satp)
CSR_READER(read_cycle, cycle)
CSR_READER(read_stimecmp, 0x14d)
CSR_READER(read_hstatus, 0x600)
INSN(do_sret, "sret")
INSN(do_mret, "mret")
INSN(do_wfi, "wfi")
INSN(do_sfence, "sfence.vma")
INSN(do_ecall, "ecall")
INSN(write_time, "csrw time, %0")

static u64 below_satp;

static void traps_and_levels(void)
{
    expect((READ(misa) & (1 << 8 | 1 << 12 | 1 | 1 << 5 | 1 << 3 | 1 << 2 | 1 << 18 | 1 << 20)) ==
           (1 << 8 | 1 << 12 | 1 | 1 << 5 | 1 << 3 | 1 << 2 | 1 << 18 | 1 << 20));
    expect_cause(nothing, 41, S, ECALL_S);
    expect(result == 42);
    if (VIRTUAL) // no page is a user's
        expect_cause(do_ecall, 0, U, FETCH_PAGE);
    else
        expect_cause(do_ecall, 0, U, ECALL_U);
    expect_cause(read_mstatus, 0, S, ILLEGAL);
    expect(seen.tval == 0x30002573 || (seen.tval & 0xfffff07f) == 0x30002073);
    expect_cause(write_time, 0, M, ILLEGAL);
    expect_cause(do_mret, 0, S, ILLEGAL);
    expect_cause(do_sret, 0, U, VIRTUAL ? FETCH_PAGE : ILLEGAL);
    SET(mstatus, 1 << 20 | 1 << 21 | 1 << 22); // TVM, TW, TSR
    expect_cause(read_satp, 0, S, ILLEGAL);
    expect_cause(do_sfence, 0, S, ILLEGAL);
    expect_cause(do_wfi, 0, S, ILLEGAL);
    expect_cause(do_sret, 0, S, ILLEGAL);
    CLEAR(mstatus, 1 << 20 | 1 << 21 | 1 << 22);
    expect_cause(read_satp, 0, S, ECALL_S);
    expect(result == below_satp);
    expect_cause(do_sfence, 0, S, ECALL_S);
}

static void floating_point_state(void)
{
    CLEAR(mstatus, 3 << 13);
    expect_cause(fp_move, 0, S, ILLEGAL);
    SET(mstatus, 1 << 13);
    expect_cause(fp_move, 0, S, ECALL_S);
    expect(result == 3);
}

static void counters(void)
{
    WRITE(mcounteren, 0);
    expect_cause(read_cycle, 0, S, ILLEGAL);
    WRITE(mcounteren, 7);
    expect_cause(read_cycle, 0, S, ECALL_S);
    WRITE(mcountinhibit, 1);
    WRITE(mcycle, 1234);
    expect(READ(mcycle) == 1234);
    WRITE(mcountinhibit, 0);
    expect(READ(mcycle) >= 1234);
}

// minstret counts instructions; a hardware counter, too, and tells of its overflow (Sscofpmf).
static void counted_instructions(void)
{
    u64 a, b, c, d;
    if (PEER)
        return;
    __asm__ volatile("csrwi minstret, 0\n csrr %0, minstret\n nop\n csrr %1, minstret"
                     : "=r"(a), "=r"(b));
    expect(a == 0 && b == 2);
    WRITE(mhpmevent3, 2);
    __asm__ volatile("csrwi mhpmcounter3, 0\n csrr %0, mhpmcounter3\n nop\n csrr %1, mhpmcounter3"
                     : "=r"(c), "=r"(d));
    if (d - c == 0) // there is none
        return;
    expect(d - c == 2);
    WRITE(mhpmevent3, 0);
    if (!(READ(misa) & 1 << 21)) // the model with vectors has Sscofpmf
        return;
    WRITE(mhpmevent3, 2);
    WRITE(mhpmcounter3, -1000ul);
    seen.cause = 0;
    WRITE(mie, 1 << 13);
    SET(mstatus, 1 << 3);
    for (u64 n = 0; n < 1ul << 34 && !seen.cause; n++)
        ;
    CLEAR(mstatus, 1 << 3);
    expect(seen.cause == (1ul << 63 | 13));
    expect(READ(0xda0) == 1 << 3 && READ(mhpmevent3) >> 63);
    WRITE(mhpmevent3, 0);
    CLEAR(mip, 1 << 13);
    expect(!(READ(mip) & 1 << 13));
}

// Ties away from zero from the next instruction on.
static void rounding(void)
{
    u64 away, even;
    SET(mstatus, 3 << 13);
    u64 one = 0x3ff0000000000000, half_unit = 0x3ca0000000000000;
    __asm__ volatile("fmv.d.x fa0, %2\n fmv.d.x fa1, %3\n fsrmi 4\n fadd.d fa2, fa0, fa1\n"
                     "fsrmi 0\n fadd.d fa3, fa0, fa1\n fmv.x.d %0, fa2\n fmv.x.d %1, fa3"
                     : "=&r"(away), "=&r"(even)
                     : "r"(one), "r"(half_unit)
                     : "fa0", "fa1", "fa2", "fa3");
    expect(away == one + 1 && even == one);
}

// High bits of addresses that are ignored at machine level (Smmpm), which are not translated.
static void pointer_masking(void)
{
    u64 high = 0x7ful << 57;
    WRITE(0x747, 2ul << 32);
    const u64 there = READ(0x747);
    WRITE(0x747, 0);
    if (PEER || !there)
        return;
    page[0][3] = 77;
    expect_cause(load, (u64)&page[0][3] | high, M, LOAD_ACCESS);
    WRITE(0x747, 2ul << 32);
    u64 v = *(volatile u64 *)((u64)&page[0][3] | high);
    WRITE(0x747, 0);
    expect(v == 77);
}

static void interrupts(void)
{
    volatile u64 *mtimecmp = (u64 *)0x2004000, *mtime = (u64 *)0x200bff8;
    volatile unsigned *msip = (unsigned *)0x2000000;
    *mtimecmp = ~0ul;
    seen.cause = 0;
    WRITE(mie, 1 << 3);
    *msip = 1;
    while (!(READ(mip) & 1 << 3))
        ;
    SET(mstatus, 1 << 3);
    CLEAR(mstatus, 1 << 3);
    expect(seen.cause == (1ul << 63 | 3));
    *msip = 0;
    while (READ(mip) & 1 << 3)
        ;
    WRITE(mie, 1 << 7);
    *mtimecmp = *mtime + 1000;
    while (!(READ(mip) & 1 << 7))
        __asm__ volatile("wfi");
    SET(mstatus, 1 << 3);
    CLEAR(mstatus, 1 << 3);
    expect(seen.cause == (1ul << 63 | 7));
    *mtimecmp = ~0ul;
    while (READ(mip) & 1 << 7)
        ;
    expect(!(READ(mip) & 1 << 7));
    WRITE(mideleg, 0x222);
    expect((READ(mideleg) & 0xfff & ~0x444ul) == 0x222);
    WRITE(mip, 1 << 1);
    expect(READ(mip) & 1 << 1 && READ(sip) & 1 << 1);
    WRITE(mip, 0);
    WRITE(mideleg, 0);
    expect(!(READ(sip) & 1 << 1));
}

static void sstc(void)
{
    if (PEER) // whose board of this name has no time counter
        return;
    WRITE(0x30a, 0);
    expect_cause(read_stimecmp, 0, S, ILLEGAL);
    SET(0x30a, 1ul << 63);
    WRITE(mcounteren, 7);
    expect_cause(read_stimecmp, 0, S, ECALL_S);
    WRITE(0x14d, 0);
    expect(READ(mip) & 1 << 5);
    WRITE(0x14d, ~0ul);
    expect(!(READ(mip) & 1 << 5));
    u64 now = READ(time);
    WRITE(0x14d, now + 2000);
    while (!(READ(mip) & 1 << 5))
        ;
    expect(READ(time) >= now + 2000);
    WRITE(0x14d, ~0ul);
}

// Entry 0 shields page[1]; the last opens everything.
static void pmp(void)
{
    WRITE(pmpaddr0, (u64)page[1] >> 2 | 0x1ff);
    WRITE(pmpcfg0, 0x1f18ul); // NAPOT without permissions; entry 1: everything
    WRITE(pmpaddr1, ~0ul);
    FENCE();
    expect_cause(load, (u64)page[0], S, ECALL_S);
    expect_cause(load, (u64)page[1], S, LOAD_ACCESS);
    expect(seen.tval == (u64)page[1]);
    expect_cause(store, (u64)&page[1][1], S, STORE_ACCESS);
    expect_cause(jump, (u64)page[1], S, 1);
    page[1][0] = 99; // machine level is not bound by an entry that is not locked
    expect(page[1][0] == 99);
    // An access that an entry matches in part fails, whatever the entry allows.
    WRITE(pmpaddr0, ((u64)&page[1][8] >> 2) + 1); // NA4: the second half of a doubleword
    WRITE(pmpcfg0, 0x1f17ul);
    FENCE();
    expect_cause(load, (u64)&page[1][7], S, ECALL_S);
    expect_cause(load, (u64)&page[1][8], S, LOAD_ACCESS);
    expect_cause(store, (u64)&page[1][8], S, STORE_ACCESS);
    expect_cause(load, (u64)&page[1][9], S, ECALL_S);
    WRITE(pmpaddr0, (u64)page[1] >> 2 | 0x1ff);
    WRITE(pmpcfg0, 0x1f19ul); // readable
    FENCE();
    expect_cause(load, (u64)page[1], S, ECALL_S);
    expect(result == 99);
    expect_cause(store, (u64)page[1], S, STORE_ACCESS);
    WRITE(pmpcfg0, 0x1f00ul);
    FENCE();
}

static void translation(void)
{
    u64 saved = READ(satp);
    root[1] = PTE(middle, V);
    middle[0] = PTE(leaves, V);
    root[2] = PTE(0x80000000, RWXAD);
    WRITE(satp, 8ul << 60 | (u64)root >> 12);
    FENCE();
    page[0][0] = 0x1234;
    map(0, (u64)page[0], V | R | W | A | D);
    expect_cause(load, WINDOW, S, ECALL_S);
    expect(result == 0x1234);
    expect_cause(load, WINDOW + 0x1000, S, LOAD_PAGE);
    expect(seen.tval == WINDOW + 0x1000);
    expect_cause(store, WINDOW + 0x1000, S, STORE_PAGE);
    expect_cause(jump, WINDOW, S, FETCH_PAGE);
    expect_cause(load, 1ul << 40, S, LOAD_PAGE); // not canonical
    map(0, (u64)page[0], V | R | A | D);
    expect_cause(store, WINDOW, S, STORE_PAGE);
    map(0, (u64)page[0], V | R | W | UP | A | D);
    expect_cause(load, WINDOW, S, LOAD_PAGE);
    expect_cause(load_user, WINDOW, S, ECALL_S);
    expect(result == 0x1234);
    CLEAR(sstatus, 1ul << 18);
    page[0][1] = 0x00008067; // ret
    map(0, (u64)page[0], V | X | A);
    expect_cause(jump, WINDOW + 8, S, ECALL_S);
    expect_cause(load, WINDOW, S, LOAD_PAGE);
    expect_cause(load_mxr, WINDOW, S, ECALL_S);
    CLEAR(sstatus, 1ul << 19);
    map(0, (u64)page[0], V | W | A | D); // reserved
    expect_cause(load, WINDOW, S, LOAD_PAGE);
    map(0, (u64)page[0], 1ul << 54 | V | R | A);
    expect_cause(load, WINDOW, S, LOAD_PAGE);
    WRITE(satp, saved);
    FENCE();
}

static void access_and_dirty(void)
{
    u64 saved = READ(satp);
    WRITE(satp, 8ul << 60 | (u64)root >> 12);
    CLEAR(0x30a, 1ul << 61);
    map(0, (u64)page[0], V | R | W);
    expect_cause(load, WINDOW, S, LOAD_PAGE);
    map(0, (u64)page[0], V | R | W | A);
    expect_cause(load, WINDOW, S, ECALL_S);
    expect_cause(store, WINDOW, S, STORE_PAGE);
    SET(0x30a, 1ul << 61);
    if (READ(0x30a) >> 61 & 1) {
        map(0, (u64)page[0], V | R | W);
        expect_cause(load, WINDOW, S, ECALL_S);
        expect((leaves[0] & (A | D)) == A);
        expect_cause(store, WINDOW, S, ECALL_S);
        expect((leaves[0] & (A | D)) == (A | D));
        expect(page[0][0] == 0x5a5a);
    }
    WRITE(satp, saved);
    FENCE();
}

static void page_extensions(void)
{
    u64 saved = READ(satp);
    WRITE(satp, 8ul << 60 | (u64)root >> 12);
    page[1][5] = 77; // 64 KiB by one entry
    for (unsigned n = 0; n < 16; n++)
        leaves[n] = 1ul << 63 | PTE((u64)page[0] | 0x8000, V | R | A);
    FENCE();
    expect_cause(load, WINDOW + 0x1028, S, ECALL_S);
    expect(result == 77);
    CLEAR(0x30a, 1ul << 62);
    map(0, (u64)page[0], 1ul << 61 | V | R | A);
    expect_cause(load, WINDOW, S, LOAD_PAGE);
    SET(0x30a, 1ul << 62);
    FENCE();
    expect_cause(load, WINDOW, S, ECALL_S);
    map(0, (u64)page[0], 3ul << 61 | V | R | A);
    expect_cause(load, WINDOW, S, LOAD_PAGE);
    WRITE(satp, saved);
    FENCE();
}

static void try_virtual(u64 (*fn)(u64), u64 argument, u64 cause)
{
    seen.cause = ~0ul;
    try(fn, argument, S, 1);
    expect(seen.cause == cause);
}

static void hypervisor(void)
{
    if (!(READ(misa) & 1 << 7))
        return;
    for (unsigned n = 0; n < 2048; n++)
        second[n] = 0;
    second[2] = PTE(0x80000000, RWXAD | UP);
    WRITE(0x680, 0); // hgatp
    WRITE(0x280, 0); // vsatp
    try_virtual(do_ecall, 0, ECALL_VS);
    try_virtual(read_hstatus, 0, VIRTUAL_INSN);
    try_virtual(read_mstatus, 0, ILLEGAL);
    WRITE(0x680, 8ul << 60 | (u64)second >> 12);
    __asm__ volatile(".word 0x62000073" ::: "memory"); // hfence.gvma
    page[0][0] = 0x4321;
    try_virtual(load, (u64)page[0], ECALL_VS);
    expect(result == 0x4321);
    try_virtual(load, WINDOW, LOAD_GUEST);
    expect(seen.tval == WINDOW && READ(0x34b) == WINDOW >> 2);
    expect(READ(mstatus) >> 38 & 1); // GVA
    WRITE(0x280, 8ul << 60 | (u64)root >> 12);
    __asm__ volatile(".word 0x22000073" ::: "memory"); // hfence.vvma
    map(0, (u64)page[0], V | R | W | A | D);
    __asm__ volatile(".word 0x22000073" ::: "memory");
    try_virtual(load, WINDOW, ECALL_VS);
    expect(result == 0x4321);
    try_virtual(load, WINDOW + 0x20000, LOAD_PAGE);
    u64 v, at = WINDOW;
    SET(0x600, 1 << 8); // SPVP: as its supervisor
    __asm__ volatile("mv a1, %1; .word 0x6c05c573; mv %0, a0" : "=r"(v) : "r"(at) : "a0", "a1");
    expect(v == 0x4321); // hlv.d a0, (a1)
    WRITE(0x600, 0);
    WRITE(0x280, 0);
    WRITE(0x680, 0);
    __asm__ volatile(".word 0x62000073" ::: "memory");
}

int main(void)
{
    WRITE(pmpaddr1, ~0ul);
    WRITE(pmpcfg0, 0x1f00ul);
    root[0] = PTE(0, V | R | W | A | D);
    root[2] = PTE(0x80000000, RWXAD);
    below_satp = VIRTUAL ? 8ul << 60 | (u64)root >> 12 : 0;
    WRITE(satp, below_satp);
    FENCE();
    traps_and_levels();
    floating_point_state();
    counters();
    counted_instructions();
    rounding();
    pointer_masking();
    interrupts();
    sstc();
    pmp();
    translation();
    access_and_dirty();
    page_extensions();
    hypervisor();
    return 0;
}
