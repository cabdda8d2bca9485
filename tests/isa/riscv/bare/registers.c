// Every control register number, all 4096: which exist, who may read them, what of them can be
// written. registers-rv64.def and registers-rv32.def say what is right; what they do not name must
// be illegal everywhere. With PRINT the program writes such a table to the console instead. VIRTUAL
// as in instructions.c. The levels below machine level are given all that enables can give.
#include "bare.h"

enum { PAGE = 4096, ENTRIES = PAGE / sizeof(u64), WIDE = sizeof(u64) == 8, LEVELS = 5 };
enum {
    FORBIDDEN = 1,
    VIRTUAL_ONLY = 2,
    OTHER = 3,
    KEPT = 0x3a0,
    KEPT_END = 0x3f0,
    MSECCFG = 0x747
};
#define RWXADV         0xcful
#define PTE(pa, flags) ((u64)(pa) >> 12 << 10 | (flags))

// Of a register: for each level (M, HS, U, VS, VU) a digit, 0: can be read, 1: illegal instruction,
// 2: virtual instruction; 1 where writing is illegal; what it reads after all ones were written,
// and after zeros.
struct row {
    unsigned number, access, no_write;
    u64 ones, zeros;
};
static const struct row rows[] = {
#define REGISTER(number, name, access, no_write, ones, zeros)                                      \
    {number, 0x##access, no_write, ones, zeros},
#ifndef PRINT
#include TABLE
#endif
#undef REGISTER
    {4096, 0, 0, 0, 0},
};

static u64 root[ENTRIES] __attribute__((aligned(PAGE)));
static u64 user_root[ENTRIES] __attribute__((aligned(PAGE)));
static unsigned stub[8] __attribute__((aligned(64)));

static u64 atp(const u64 *table)
{
    return VIRTUAL ? (WIDE ? (u64)8 << (WIDE ? 60 : 0) : (u64)1 << 31) | (u64)table >> 12 : 0;
}

// Runs csrr a0 behind what stands in the stub already; the cause of its end.
static u64 run(unsigned at, unsigned number, const unsigned *then, unsigned n, u64 level,
               u64 virtual)
{
    stub[at++] = number << 20 | 2 << 12 | 10 << 7 | 0x73;
    for (unsigned k = 0; k < n; k++)
        stub[at++] = then[k];
    stub[at] = 0x00008067; // ret
    __asm__ volatile("fence.i" ::: "memory");
    const u64 stage = level == M ? 0 : atp(level == U ? user_root : root);
    WRITE(0x280, virtual ? stage : 0);
    WRITE(satp, stage);
    FENCE();
    seen.cause = ~(u64)0;
    try((u64(*)(u64))(u64)stub, 0, level, virtual);
    return seen.cause;
}

static unsigned access_of(unsigned number, u64 level, u64 virtual)
{
    u64 cause = run(0, number, 0, 0, level, virtual);
    return cause == ILLEGAL                  ? FORBIDDEN
           : cause == VIRTUAL_INSN           ? VIRTUAL_ONLY
           : cause >= ECALL_U && cause <= 11 ? 0
                                             : OTHER;
}

// What the register reads after `value` (0 or all ones) was written; nothing but it changes.
static u64 written(unsigned number, unsigned value, unsigned *refused)
{
    const unsigned restore[] = {number << 20 | 5 << 15 | 1 << 12 | 0x73}; // csrw number, t0
    stub[0] = number << 20 | 2 << 12 | 5 << 7 | 0x73;                     // csrr t0, number
    stub[1] = (value & 0xfff) << 20 | 6 << 7 | 0x13;                      // li t1, value
    stub[2] = number << 20 | 6 << 15 | 1 << 12 | 0x73;                    // csrw number, t1
    *refused = run(3, number, restore, 1, M, 0) == ILLEGAL;
    return *refused ? 0 : result;
}

// Registers that count by themselves, and those whose bits stay once they are set.
static int is_counter(unsigned n)
{
    return ((n & 0xf60) == 0xb00 || (n & 0xf60) == 0xc00) && n < 0xca0;
}

static struct row look(unsigned number)
{
    struct row r = {.number = number};
    for (unsigned level = 0; level < LEVELS; level++) {
        static const unsigned char priv[LEVELS] = {M, S, U, S, U};
        r.access = r.access << 4 | access_of(number, priv[level], level > 2);
    }
    if (r.access >> 16)
        return r;
    if ((number >= KEPT && number < KEPT_END) || number == MSECCFG)
        return r;
    r.ones = written(number, 0xfff, &r.no_write);
    r.zeros = written(number, 0, &r.no_write);
    if (r.no_write)
        r.ones = r.zeros = 0;
    if (is_counter(number) || number == 0xc20)
        r.ones = r.zeros = 0;
    return r;
}

#ifdef PRINT
extern volatile unsigned tohost[2];
static void put(char c)
{
    tohost[0] = (unsigned char)c;
    tohost[1] = 0x01010000;
    for (unsigned n = 0; n < 100000 && tohost[1]; n++)
        ;
}
static void hex(u64 v, unsigned digits)
{
    while (digits--)
        put("0123456789abcdef"[v >> 4 * digits & 15]);
}
static void text(const char *s)
{
    while (*s)
        put(*s++);
}
static void judge(const struct row *r, const struct row **want)
{
    if (r->access == 0x11111)
        return;
    text("REGISTER(0x");
    hex(r->number, 3);
    text(", , ");
    hex(r->access, 5);
    text(r->no_write ? ", 1, 0x" : ", 0, 0x");
    hex(r->ones, 2 * sizeof(u64));
    text(", 0x");
    hex(r->zeros, 2 * sizeof(u64));
    text(")\n");
}
#else
static void judge(const struct row *r, const struct row **want)
{
    const struct row none = {r->number, 0x11111, 0, 0, 0};
    const struct row *w = (*want)->number == r->number ? (*want)++ : &none;
    if (r->access != w->access || r->no_write != w->no_write || r->ones != w->ones ||
        r->zeros != w->zeros)
        finish(w == &none ? 255 : 1 + (u64)(w - rows) % 254);
}
#endif

int main(void)
{
    const struct row *want = rows;
    WRITE(pmpaddr0, ~(u64)0);
    WRITE(pmpcfg0, 0x1f);
    root[WIDE ? 2 : 0x200] = PTE(0x80000000, RWXADV);
    user_root[WIDE ? 2 : 0x200] = PTE(0x80000000, RWXADV | 16);
    SET(mstatus, 3 << 13 | 3 << 9); // FS, VS
    SET(vsstatus, 3 << 13 | 3 << 9);
    SET(mcounteren, ~(u64)0);
    SET(scounteren, ~(u64)0);
    SET(hcounteren, ~(u64)0);
    SET(0x30c, ~(u64)0); // mstateen0, hstateen0, sstateen0
    SET(0x60c, ~(u64)0);
    SET(0x10c, ~(u64)0);
    SET(menvcfg, ~(u64)0);
    SET(henvcfg, ~(u64)0);
#if __riscv_xlen == 32
    SET(0x31c, ~(u64)0);
    SET(0x61c, ~(u64)0);
    SET(0x31a, ~(u64)0);
    SET(0x61a, ~(u64)0);
#endif
    for (unsigned number = 0; number < 4096; number++) {
        const struct row r = look(number);
        judge(&r, &want);
    }
    return want->number != 4096;
}
