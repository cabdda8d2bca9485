// Translation with each granule and each first level, from EL2 for a small EL1: pages and blocks,
// faults of every kind at every level, the contiguous hint, maintenance, both halves, stage 2 and
// both stages together, 52-bit addresses. DDI 0487, D8 "The AArch64 Virtual Memory System
// Architecture".
#include "bare.h"

struct outcome {
    uint64_t esr, far, hpfar, elr, esr1, far1, x0;
};
void descend(struct outcome *out, uint64_t pc, uint64_t x0, uint64_t x1);
extern char window[];
enum { LOAD, STORE, EXECUTE, AT, PAIR, TLBI_VA, TLBI_ALL };

// Memory beyond the program, so that addresses are the same whatever made it.
enum { DATA = 0x44000000, DATA_SIZE = 65536, POOL = 0x45000000, POOL_END = 0x46000000 };
static uint64_t used;
static bool lpa; // 52 bits of physical address

static uint64_t frame(unsigned n)
{
    return DATA + (uint64_t)n * DATA_SIZE;
}

enum { AF = 1 << 10, RO = 1 << 7, INNER = 3 << 8 };
#define CONTIGUOUS (1ull << 52)

// One stage: granule and input addresses in bits, the first level. Its tables may be several, side
// by side.
struct stage {
    unsigned bits, ia, first;
    uint64_t *root;
};

static unsigned shift_of(const struct stage *s, unsigned level)
{
    return s->bits + (3 - level) * (s->bits - 3);
}

static uint64_t *new_tables(uint64_t size)
{
    used = (used + size - 1) & -size;
    uint64_t *t = (uint64_t *)used;
    used += size;
    for (uint64_t k = 0; k < size / 8; k++)
        t[k] = 0;
    return t;
}

static void begin(struct stage *s, unsigned bits, unsigned ia, unsigned first)
{
    *s = (struct stage){.bits = bits, .ia = ia, .first = first};
    uint64_t size = 8ull << (ia - shift_of(s, first));
    s->root = new_tables(size < 1u << bits ? 1u << bits : size);
}

// The entry at a level, tables being made on the way.
static uint64_t *entry(struct stage *s, uint64_t in, unsigned level)
{
    uint64_t *t = s->root;
    in &= (1ull << s->ia) - 1;
    for (unsigned at = s->first;; at++) {
        uint64_t index = in >> shift_of(s, at);
        uint64_t *e = &t[at == s->first ? index : index & ((1u << (s->bits - 3)) - 1)];
        if (at == level)
            return e;
        if (!(*e & 1))
            *e = (uint64_t)new_tables(1u << s->bits) | 3;
        t = (uint64_t *)(*e & 0xfffffffff000 & -(1ull << s->bits));
    }
}

static uint64_t leaf(unsigned level, uint64_t pa)
{
    return (pa & 0xffffffffffff) | (pa >> 48) << 12 | (level == 3 ? 3 : 1) | AF | INNER;
}

static uint64_t leaf2(unsigned level, uint64_t pa)
{
    return leaf(level, pa) | 3 << 6 | 15 << 2;
}

// ---- what EL1 does, as a line ----

static struct outcome last;

// 0 and what was read; 1 with EL1's syndrome and address; 2 with EL2's and the intermediate
// address.
static void show(const char *name, uint64_t a, uint64_t b, uint64_t x0)
{
    unsigned class = last.esr >> 26 & 63;
    if (class == 0x16 && !(last.esr & 0xffff))
        LINE(name, a, b, 0, x0);
    else if (class == 0x16)
        LINE(name, a, b, 1, last.esr1, last.far1);
    else
        LINE(name, a, b, 2, last.esr, last.far, last.hpfar);
}

static void run(unsigned what, uint64_t va)
{
    descend(&last, what * 32, va, 0x77);
}

static void access(const char *name, const struct stage *s, unsigned level, unsigned what,
                   uint64_t va)
{
    run(what, va);
    show(name, s->bits << 8 | s->ia, level, what == STORE ? 0 : last.x0);
}

static void flush(void)
{
    __asm__ volatile("dsb sy\n tlbi alle1\n dsb sy\n isb" ::: "memory");
}

// ---- one stage, whichever it is ----

static bool block_allowed(const struct stage *s, unsigned level)
{
    return level >= 2 || (level == 1 && (s->bits == 12 || (s->bits == 16 && lpa)));
}

// An address that has entries of its own from this level on.
static uint64_t place(const struct stage *s, unsigned level)
{
    unsigned top = s->ia - shift_of(s, level);
    return 1ull << (shift_of(s, level) + (top > 1));
}

typedef uint64_t make_fn(unsigned level, uint64_t pa);

// At `high` of its addresses.
static void check_level(struct stage *s, unsigned level, make_fn *make, uint64_t high)
{
    uint64_t offset = DATA & ((1ull << shift_of(s, level)) - 1), va = place(s, level),
             block = DATA - offset;
    uint64_t *e = entry(s, va, level);
    va |= high;
    access("unmapped", s, level, LOAD, va + 0x18);
    access("unmapped store", s, level, STORE, va + 0x18);
    access("unmapped fetch", s, level, EXECUTE, va + 0x18);
    *e = make(level, block) & ~3ull;
    access("invalid", s, level, LOAD, va);
    if (!block_allowed(s, level) || level == 3) {
        *e = (make(level, block) & ~3ull) | 1;
        flush();
        access("no block", s, level, LOAD, va + offset);
    }
    if (!block_allowed(s, level))
        return;
    *e = make(level, block) & ~(uint64_t)AF;
    flush();
    access("access flag", s, level, LOAD, va + offset);
    *e = make(level, block);
    flush();
    access("mapped", s, level, LOAD, va + offset + 8);
    access("mapped store", s, level, STORE, va + offset + 16);
    access("mapped fetch", s, level, EXECUTE, va + offset + 32);
    *e = make == leaf2 ? make(level, block) & ~(2ull << 6) : make(level, block) | RO;
    flush();
    access("read-only", s, level, STORE, va + offset);
    *e = make(level, block) | (make == leaf2 ? 2ull : 3ull) << 53;
    flush();
    access("never executed", s, level, EXECUTE, va + offset + 32);
    *e = make(level, 1ull << 43);
    flush();
    access("beyond the size", s, level, LOAD, va + offset);
    *e = 0;
    flush();
    access("unmapped again", s, level, LOAD, va + offset);
}

// Sixteen, 32 or 128 neighbours that say so may be one entry of the TLB.
static void check_contiguous(struct stage *s, make_fn *make)
{
    unsigned n = s->bits == 12 ? 16 : s->bits == 14 ? 128 : 32;
    uint64_t size = 1ull << s->bits, va = n * size;
    for (unsigned k = 0; k < n; k++)
        *entry(s, va + k * size, 3) = make(3, DATA + k * size) | CONTIGUOUS;
    flush();
    *(volatile uint64_t *)(DATA + (n - 1) * size + 64) = 0xc0ffee;
    access("contiguous", s, n, LOAD, va + (n - 1) * size + 64);
    for (unsigned k = 0; k < n; k++)
        *entry(s, va + k * size, 3) = 0;
    flush();
    access("contiguous, unmapped", s, n, LOAD, va + 64);
}

static void fill_data(void)
{
    for (unsigned n = 0; n < 4; n++) {
        volatile uint64_t *d = (uint64_t *)frame(n);
        for (unsigned k = 0; k < DATA_SIZE / 8; k++)
            d[k] = (uint64_t)n << 32 | k;
        *(volatile uint32_t *)&d[4] = 0xd4000002; // hvc #0
    }
}

// ---- stage 1 ----

static const unsigned tg0_of[] = {[12] = 0, [14] = 2, [16] = 1},
                      tg1_of[] = {[12] = 2, [14] = 1, [16] = 3};

static void stage1_on(const struct stage *low, const struct stage *high, uint64_t ips)
{
    uint64_t tcr = (64 - low->ia) | tg0_of[low->bits] << 14 | INNER << 4 | 5 << 8 | ips << 32;
    if (high)
        tcr |= (64 - high->ia) << 16 | (uint64_t)tg1_of[high->bits] << 30 | 3ull << 28 | 5 << 24;
    else
        tcr |= 1 << 23;
    WRITE(mair_el1, 0xff);
    WRITE(tcr_el1, tcr);
    WRITE(ttbr0_el1, (uint64_t)low->root | ((uint64_t)low->root >> 48) << 2);
    WRITE(ttbr1_el1, high ? (uint64_t)high->root : 0);
    WRITE(vbar_el1, 0x800);
    WRITE(sctlr_el1, 0x30d00801);
    flush();
}

static void map_window(struct stage *s, make_fn *make)
{
    *entry(s, 0, 3) = make(3, (uint64_t)window);
}

static void check_stage1(unsigned bits, unsigned ia, unsigned first)
{
    struct stage s;
    begin(&s, bits, ia, first);
    map_window(&s, leaf);
    stage1_on(&s, 0, 1);
    fill_data();
    for (unsigned level = first; level <= 3; level++)
        check_level(&s, level, leaf, 0);
    check_contiguous(&s, leaf);
    access("outside", &s, 0, LOAD, 1ull << ia);
    access("other half", &s, 0, LOAD, -8ull);
    // A table beyond what addresses there are, and the first one: asked from here, EL1 would not
    // come back.
    if (first < 3) {
        *entry(&s, place(&s, first), first) = 1ull << 40 | 3;
        flush();
        access("table beyond", &s, first, LOAD, place(&s, first));
    }
    WRITE(ttbr0_el1, 1ull << 40);
    flush();
    __asm__ volatile("at s1e1r, %0\n isb" ::"r"(0ull));
    LINE("root beyond", bits << 8 | ia, READ(par_el1));
    WRITE(sctlr_el1, 0x30d00800);
}

// The upper half with another granule.
static void check_halves(unsigned low_bits, unsigned high_bits)
{
    struct stage low, high;
    begin(&low, low_bits, 39, low_bits == 16 ? 2 : 1);
    begin(&high, high_bits, 42, high_bits == 16 ? 2 : high_bits == 14 ? 1 : 0);
    map_window(&low, leaf);
    stage1_on(&low, &high, 1);
    fill_data();
    uint64_t top = -1ull << 42, size = 1ull << high_bits, va = top + 3 * size;
    check_level(&high, 3, leaf, top);
    *entry(&high, va, 3) = leaf(3, frame(0));
    *entry(&high, va + size, 3) = leaf(3, frame(1));
    flush();
    access("last of a page", &high, 3, LOAD, va + size - 8);
    access("pair across pages", &high, 3, PAIR, va + size - 8);
    // The whole page goes with any address in it, and nothing else has to.
    *entry(&high, va, 3) = leaf(3, frame(2));
    BARRIER();
    run(TLBI_VA, (va + size - 4096) >> 12 & 0xfffffffffff);
    access("page replaced, its start", &high, 3, LOAD, va + 8);
    access("page replaced, its end", &high, 3, LOAD, va + size - 8);
    *entry(&high, va, 3) = 0;
    BARRIER();
    run(TLBI_VA, va >> 12 & 0xfffffffffff);
    access("page gone, its end", &high, 3, LOAD, va + size - 8);
    WRITE(sctlr_el1, 0x30d00800);
}

// ---- stage 2 ----

static void stage2_on(const struct stage *s)
{
    unsigned sl0 = s->bits == 12 ? 2 - s->first : 3 - s->first;
    WRITE(vtcr_el2, (64 - s->ia) | sl0 << 6 | INNER << 4 | 5 << 8 | tg0_of[s->bits] << 14 |
                        1 << 16 | 1u << 31);
    WRITE(vttbr_el2, s->root);
    WRITE(hcr_el2, 1ull << 31 | 1);
    flush();
}

static void stage2_off(void)
{
    WRITE(hcr_el2, 1ull << 31);
    flush();
}

static void check_stage2(unsigned bits, unsigned ia, unsigned first)
{
    struct stage s;
    begin(&s, bits, ia, first);
    map_window(&s, leaf2);
    WRITE(sctlr_el1, 0x30d00800);
    WRITE(vbar_el1, 0x800);
    stage2_on(&s);
    fill_data();
    for (unsigned level = first; level <= 3; level++)
        check_level(&s, level, leaf2, 0);
    check_contiguous(&s, leaf2);
    access("outside", &s, 0, LOAD, 1ull << ia);
    // Which of them means what with FEAT_XNX depends on the level alone; without it, on bit 54.
    uint64_t page = 3ull << bits;
    for (uint64_t xn = 0; xn < 4; xn++) {
        *entry(&s, page, 3) = leaf2(3, DATA) | xn << 53;
        flush();
        access("execution", &s, (unsigned)xn, EXECUTE, page + 32);
    }
    // A first level that does not go with the size.
    WRITE(vtcr_el2, READ(vtcr_el2) ^ 3 << 6);
    flush();
    __asm__ volatile("at s12e1r, %0\n isb" ::"r"(page));
    LINE("inconsistent", bits << 8 | ia, first, READ(par_el1));
    stage2_off();
}

// ---- both ----

// What there is, page by page as it is, without one frame.
static void map_memory(struct stage *s2)
{
    uint64_t size = 1ull << s2->bits;
    for (uint64_t at = 0x40000000; at < 0x40400000; at += size)
        *entry(s2, at, 3) = leaf2(3, at);
    for (uint64_t at = DATA; at < POOL_END; at += size)
        if (at < frame(1) || at >= frame(2))
            *entry(s2, at, 3) = leaf2(3, at);
}

static void check_both(unsigned bits1, unsigned bits2)
{
    struct stage s1, s2;
    uint64_t size1 = 1ull << bits1, va = 5 * 65536;
    begin(&s2, bits2, 36, bits2 == 12 ? 1 : 2);
    begin(&s1, bits1, 39, bits1 == 16 ? 2 : 1);
    map_window(&s1, leaf);
    for (uint64_t k = 0; k < 2 * DATA_SIZE; k += size1)
        *entry(&s1, va + k, 3) = leaf(3, DATA + k);
    uint64_t block_size = 1ull << shift_of(&s1, 2), block = 2 * block_size,
             in_block = DATA & (block_size - 1);
    *entry(&s1, block, 2) = leaf(2, DATA - in_block);
    map_memory(&s2);
    stage1_on(&s1, 0, 1);
    stage2_on(&s2);
    fill_data();
    struct stage both = {.bits = bits1, .ia = bits2};
    access("both stages", &both, 3, LOAD, va + 0x8008);
    access("both stages, store", &both, 3, STORE, va + 0x8010);
    access("both stages, fetch", &both, 3, EXECUTE, va + 32);
    access("missing below", &both, 3, LOAD, va + DATA_SIZE + 0x28);
    access("missing below, fetch", &both, 3, EXECUTE, va + DATA_SIZE + 0x28);
    *entry(&s2, DATA + 0x8000, 3) &= ~(2ull << 6);
    flush();
    access("read-only below", &both, 3, STORE, va + 0x8000);
    access("read-only below, load", &both, 3, LOAD, va + 0x8000);
    // One block above, pages below: any address in it is enough.
    block += in_block + 2 * DATA_SIZE;
    access("block over pages", &both, 2, LOAD, block + 8);
    access("block over pages, next", &both, 2, LOAD, block + DATA_SIZE + 8);
    *entry(&s1, block, 2) = 0;
    BARRIER();
    run(TLBI_VA, block >> 12);
    access("block gone", &both, 2, LOAD, block + 8);
    access("block gone, next", &both, 2, LOAD, block + DATA_SIZE + 8);
    // The table that maps `va` is not there for stage 1's walk.
    uint64_t table = *entry(&s1, va, 2) & 0xffffffff0000 & -size1, was = *entry(&s2, table, 3);
    *entry(&s2, table, 3) = 0;
    flush();
    __asm__ volatile("at s1e1r, %0\n isb" ::"r"(va));
    LINE("table missing below", bits1, bits2, READ(par_el1));
    *entry(&s2, table, 3) = was;
    stage2_off();
    WRITE(sctlr_el1, 0x30d00800);
}

// ---- 52-bit addresses, with 64 KiB alone ----

static void check_52(void)
{
    struct stage s;
    if (!lpa || !(READ(id_aa64mmfr2_el1) >> 16 & 15))
        return;
    begin(&s, 16, 52, 1);
    map_window(&s, leaf);
    stage1_on(&s, 0, 6);
    fill_data();
    uint64_t at = 1ull << 51 | 1ull << 16, high = 5ull << 49;
    *entry(&s, at, 3) = leaf(3, frame(3));
    access("52 bits", &s, 3, LOAD, at + 8);
    *entry(&s, at, 3) = leaf(3, high);
    flush();
    run(AT, at + 0x1234);
    LINE("52 bits out", last.x0 & 0x000ffffffffff000);
    uint64_t big = 1ull << 42 | 1ull << 51; // 4 TiB at once
    *entry(&s, big, 1) = leaf(1, high);
    flush();
    run(AT, big + 0x12345678);
    LINE("block of 4 TiB", last.x0 & 0x000ffffffffff000);
    WRITE(tcr_el1, (READ(tcr_el1) & ~(7ull << 32)) | 5ull << 32);
    flush();
    access("beyond 48 bits", &s, 3, LOAD, at);
    access("outside", &s, 0, LOAD, 1ull << 52);
    WRITE(sctlr_el1, 0x30d00800);
}

static bool has(unsigned bits)
{
    uint64_t f = READ(id_aa64mmfr0_el1);
    return bits == 12 ? (f >> 28 & 15) != 15 : bits == 14 ? (f >> 20 & 15) : (f >> 24 & 15) != 15;
}

int main(void)
{
    lpa = (READ(id_aa64mmfr0_el1) & 15) >= 6;
    WRITE(hcr_el2, 1ull << 31);
    WRITE(cptr_el2, 0x33ff);
    static const unsigned char shapes[][3] = {
        // granule, bits, first level
        {12, 48, 0}, {12, 40, 0}, {12, 39, 1}, {12, 36, 1}, {12, 30, 2}, {12, 25, 2},
        {14, 48, 0}, {14, 47, 1}, {14, 37, 1}, {14, 36, 2}, {14, 26, 2}, {14, 25, 3},
        {16, 48, 1}, {16, 43, 1}, {16, 42, 2}, {16, 30, 2}, {16, 29, 3}, {16, 25, 3},
    };
    for (unsigned k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        used = POOL;
        if (has(shapes[k][0]))
            check_stage1(shapes[k][0], shapes[k][1], shapes[k][2]);
    }
    for (unsigned low = 12; low <= 16; low += 2)
        for (unsigned high = 12; high <= 16; high += 2) {
            used = POOL;
            if (has(low) && has(high))
                check_halves(low, high);
        }
    static const unsigned char shapes2[][3] = {
        {12, 40, 1},
        {12, 39, 1},
        {12, 34, 1},
        {12, 34, 2},
        {12, 31, 2}, // 40 of 1, 34 of 2: tables
                     // side by side
        {14, 40, 1},
        {14, 40, 2},
        {14, 36, 2},
        {14, 29, 3},
        {14, 37, 2},
        {16, 40, 2},
        {16, 33, 3},
        {16, 36, 2},
        {16, 29, 3},
    };
    for (unsigned k = 0; k < sizeof shapes2 / sizeof *shapes2; k++) {
        used = POOL;
        if (has(shapes2[k][0]))
            check_stage2(shapes2[k][0], shapes2[k][1], shapes2[k][2]);
    }
    for (unsigned one = 12; one <= 16; one += 2)
        for (unsigned two = 12; two <= 16; two += 2) {
            used = POOL;
            if (has(one) && has(two))
                check_both(one, two);
        }
    used = POOL;
    check_52();
    text("end\n");
    return 0;
}
