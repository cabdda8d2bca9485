// Page tables for 64 and 32 bits, and functions tried at user level or in a virtual machine,
// physical (VIRTUAL=0) or translated.
#pragma once

#include "bare.h"

enum { PAGE = 4096, ENTRIES = PAGE / sizeof(u64), WIDE = sizeof(u64) == 8 };
enum { BREAKPOINT = 3, STORE_MISALIGNED = 6, FETCH_GUEST = 20, STORE_GUEST = 23 };
enum { V = 1, R = 2, W = 4, X = 8, UP = 16, A = 64, D = 128 };
#define PTE(pa, flags) ((u64)(pa) >> 12 << 10 | (flags))
#define RWXAD          (V | R | W | X | A | D)
#define WINDOW         0x40000000ul // what `leaves` maps
enum { CBIE = 3 << 4, CBCFE = 1 << 6, CBZE = 1 << 7, HU = 1 << 9, SPVP = 1 << 8, VTVM = 1 << 20 };
enum { TVM = 1 << 20, TW = 1 << 21 };

static u64 root[ENTRIES] __attribute__((aligned(PAGE)));
static u64 user_root[ENTRIES] __attribute__((aligned(PAGE)));
static u64 middle[ENTRIES] __attribute__((aligned(PAGE)));
static u64 leaves[ENTRIES] __attribute__((aligned(PAGE)));
static u64 guest[4 * ENTRIES] __attribute__((aligned(4 * PAGE)));
static volatile u64 data[2][ENTRIES] __attribute__((aligned(PAGE)));

// A gigabyte (4 MiB) at 0x80000000 as it is, and the window.
__attribute__((unused)) static void fill(u64 *table, u64 flags)
{
    if (WIDE) {
        table[2] = PTE(0x80000000, RWXAD | flags);
        table[1] = PTE(middle, V);
        middle[0] = PTE(leaves, V);
    } else {
        table[0x200] = PTE(0x80000000, RWXAD | flags);
        table[0x100] = PTE(leaves, V);
    }
}
static u64 atp(const u64 *table)
{
    return (WIDE ? (u64)8 << (WIDE ? 60 : 0) : (u64)1 << 31) | (u64)table >> 12;
}
// Every level may use all of memory, and the first tables are there, in use in the virtual variant.
__attribute__((unused)) static void open_memory(void)
{
    WRITE(pmpaddr1, ~(u64)0);
    WRITE(pmpcfg0, 0x1f00ul);
    fill(root, 0);
    fill(user_root, UP);
    WRITE(satp, VIRTUAL ? atp(root) : 0);
    FENCE();
}
__attribute__((unused)) static void map(unsigned n, u64 pa, u64 flags)
{
    leaves[n] = PTE(pa, flags);
    FENCE();
}

// A function tried at user level, where every page of the program is the user's.
__attribute__((unused)) static void expect_user(u64 (*fn)(u64), u64 argument, u64 cause)
{
    u64 saved = READ(satp);
    if (VIRTUAL)
        WRITE(satp, atp(user_root));
    FENCE();
    expect_cause(fn, argument, U, cause);
    WRITE(satp, saved);
    FENCE();
}
__attribute__((unused)) static void expect_guest(u64 (*fn)(u64), u64 argument, u64 cause)
{
    seen.cause = ~(u64)0;
    try(fn, argument, S, 1);
    expect(seen.cause == cause);
}

// A guest whose second stage is as it is, and whose first has the window.
__attribute__((unused)) static void as_guest(void)
{
    if (WIDE)
        guest[2] = PTE(0x80000000, RWXAD | UP);
    else
        guest[0x200] = PTE(0x80000000, RWXAD | UP);
    WRITE(0x680, atp(guest)); // hgatp
    WRITE(0x280, atp(root));  // vsatp
    WRITE(hstatus, SPVP);
    __asm__ volatile(".word 0x62000073" ::: "memory"); // hfence.gvma
    __asm__ volatile(".word 0x22000073" ::: "memory"); // hfence.vvma
}
