// What the programs about the Advanced Interrupt Architecture share: the pages of interrupt files
// on the virt board, registers behind windows, results of a lower level, and the levels'
// translation: a page of the window (levels.h) is a page of interrupt files, for the supervisor its
// own, for a guest its own through two stages. Physical (VIRTUAL=0), the addresses are the pages'.
#pragma once

#include "levels.h"

enum { EIDELIVERY = 0x70, EITHRESHOLD = 0x72, EIP0 = 0x80, EIE0 = 0xc0 };
enum { SSI = 1, MSI = 3, STI = 5, SEI = 9, MEI = 11 };
enum { MACHINE_PAGE = 0x24000000, SUPER_PAGE = 0x28000000, GUEST_PAGE = 0x28001000 };
enum { SUPER_LEAF = 5, GUEST_LEAF = 6, FORBIDDEN_LEAF = 7 };
#define BIT(n) (1ul << (n))

static volatile unsigned *const machine_page = (volatile unsigned *)MACHINE_PAGE;
static volatile unsigned *const super_page = (volatile unsigned *)SUPER_PAGE;
static volatile unsigned *const guest_page = (volatile unsigned *)GUEST_PAGE;

#define INDIRECT(name, select, reg)                                                                \
    static u64 name##_get(u64 n)                                                                   \
    {                                                                                              \
        WRITE(select, n);                                                                          \
        return READ(reg);                                                                          \
    }                                                                                              \
    static void name##_set(u64 n, u64 v)                                                           \
    {                                                                                              \
        WRITE(select, n);                                                                          \
        WRITE(reg, v);                                                                             \
    }
INDIRECT(m, 0x350, 0x351)
INDIRECT(s, 0x150, 0x151)
INDIRECT(vs, 0x250, 0x251)
CSR_READER(stopi, 0xdb0)
CSR_READER(stopei, 0x15c)
INSN(pause_here, "nop")
INSN(message_31, "li t0, 31\nsw t0, 0(%0)")

static u64 top(u64 id)
{
    return id << 16 | id;
}
static void expect_result(u64 (*fn)(u64), u64 argument, u64 level, u64 virtual, u64 want)
{
    seen.cause = ~(u64)0;
    try(fn, argument, level, virtual);
    expect(seen.cause == (virtual ? ECALL_VS : ECALL_S) && result == want);
}
static void expect_virtual(u64 (*fn)(u64), u64 argument)
{
    expect_guest(fn, argument, VIRTUAL_INSN);
}

// Before anything is tried below machine level.
static void levels(void)
{
    WRITE(pmpaddr0, ~(u64)0);
    WRITE(pmpcfg0, 0x1f);
    if (!VIRTUAL)
        return;
    fill(root, 0);
    map(SUPER_LEAF, SUPER_PAGE, RWXAD);
    map(GUEST_LEAF, SUPER_PAGE, RWXAD); // what a guest takes for its supervisor's page
    map(FORBIDDEN_LEAF, SUPER_PAGE, V | R | A | D);
    WRITE(satp, atp(root));
    as_guest();
}

// The second stage gives a guest the page of its own file where it expects the supervisor's. A
// guest page of 4 KiB inside a gigabyte (4 MiB).
static void give_guest_its_file(void)
{
    static u64 tables[WIDE ? 2 : 1][ENTRIES] __attribute__((aligned(PAGE)));
    if (WIDE) {
        guest[0] = PTE(tables[0], V);
        tables[0][SUPER_PAGE >> 21 & 511] = PTE(tables[WIDE], V);
        tables[WIDE][SUPER_PAGE >> 12 & 511] = PTE(GUEST_PAGE, RWXAD | UP);
    } else {
        guest[SUPER_PAGE >> 22] = PTE(tables[0], V);
        tables[0][SUPER_PAGE >> 12 & 1023] = PTE(GUEST_PAGE, RWXAD | UP);
    }
    __asm__ volatile(".word 0x62000073" ::: "memory"); // hfence.gvma
}

// Messages that the supervisor and a guest send to themselves. Their files deliver 31.
static void own_messages(void)
{
    u64 mie = READ(mie), hstatus = READ(hstatus),
        at = VIRTUAL ? WINDOW + SUPER_LEAF * PAGE : SUPER_PAGE;
    WRITE(mie, 0);
    WRITE(0x600, 1 << 12); // hstatus: the first guest's file
    u64 enabled[2] = {s_get(EIE0), vs_get(EIE0)};
    s_set(EIP0, 0);
    vs_set(EIP0, 0);
    s_set(EIE0, BIT(31));
    vs_set(EIE0, BIT(31));
    expect_cause(message_31, at, S, ECALL_S);
    expect(s_get(EIP0) == BIT(31) && vs_get(EIP0) == 0);
    expect_result(stopei, 0, S, 0, top(31));
    s_set(EIP0, 0);
    if (VIRTUAL) {
        expect_cause(message_31, WINDOW + FORBIDDEN_LEAF * PAGE, S, STORE_PAGE);
        expect_cause(message_31, SUPER_PAGE, S, STORE_PAGE); // not mapped there
        expect_guest(message_31, WINDOW + GUEST_LEAF * PAGE, STORE_GUEST);
        give_guest_its_file();
        at = WINDOW + GUEST_LEAF * PAGE;
    } else {
        at = GUEST_PAGE;
    }
    expect_guest(message_31, at, ECALL_VS);
    expect(s_get(EIP0) == 0 && vs_get(EIP0) == BIT(31));
    expect_result(stopei, 0, S, 1, top(31));
    vs_set(EIP0, 0);
    s_set(EIE0, enabled[0]);
    vs_set(EIE0, enabled[1]);
    WRITE(hstatus, hstatus);
    WRITE(mie, mie);
}
