// Where rules meet, case by case: accesses across pages of which the second faults, tables that the
// second stage lacks, guest accesses against protection, fields that hold no reserved value, and
// vectors that begin in the middle. For 64 and 32 bits; VIRTUAL as in instructions.c.
#include "levels.h"

enum { SUM = 1 << 18, STIP = 1 << 5, VSTIP = 1 << 6, VS_INITIAL = 1 << 9, NO_MEMORY = 0xb0000000 };
enum { READS = 1, WRITES = 2, RUNS = 4, OFF = 0 };

#define OP(name, text)                                                                             \
    static u64 name(u64 a)                                                                         \
    {                                                                                              \
        register u64 a0 __asm__("a0") = a;                                                         \
        __asm__ volatile(".option push\n.option arch,+v\n" text "\n.option pop"                    \
                         : "+r"(a0)::"t0", "t1", "memory");                                        \
        return a0;                                                                                 \
    }
OP(load, "lw a0, 0(a0)")
OP(store, "li t0, -1\nsw t0, 0(a0)")
OP(cbo_flush, ".word 0x0025200f")
OP(cbo_zero, ".word 0x0045200f")
OP(hlv_w, ".word 0x68054573")
OP(hlvx_wu, ".word 0x68354573")
OP(hsv_w, ".word 0x6a054073")
OP(hfence_gvma, ".word 0x62000073")
OP(hfence_vvma, ".word 0x22000073")

static u64 second_middle[ENTRIES] __attribute__((aligned(PAGE)));
static u64 second_leaves[ENTRIES] __attribute__((aligned(PAGE)));

static int gva(void)
{
    return WIDE ? READ(mstatus) >> (WIDE ? 38 : 0) & 1 : READ(0x310) >> 6 & 1;
}

// ---- across pages ----

static void two_pages(void)
{
    if (!VIRTUAL)
        return;
    const u64 at = WINDOW + PAGE - 2;
    map(0, (u64)data[0], V | R | W | A | D);
    map(1, (u64)data[1], 0);
    expect_cause(load, at, S, LOAD_PAGE);
    expect(seen.tval == WINDOW + PAGE);
    expect_cause(store, at, S, STORE_PAGE);
    expect(seen.tval == WINDOW + PAGE);
    map(0, (u64)data[0], V | R | A | D);
    map(1, (u64)data[1], V | R | W | A | D);
    expect_cause(load, at, S, ECALL_S);
    data[1][0] = 0;
    expect_cause(store, at, S, STORE_PAGE);
    expect(seen.tval == at && data[1][0] == 0);
}

// The window as the second stage's alone.
static void second_stage_window(void)
{
    guest[WIDE ? 1 : 0x100] = PTE(WIDE ? second_middle : second_leaves, V);
    second_middle[0] = PTE(second_leaves, V);
    second_leaves[0] = PTE(data[0], RWXAD | UP);
    second_leaves[1] = 0;
    hfence_gvma(0);
}

static void two_guest_pages(void)
{
    as_guest();
    WRITE(0x280, 0);
    second_stage_window();
    const u64 at = WINDOW + PAGE - 2;
    expect_guest(load, at, LOAD_GUEST);
    expect(seen.tval == WINDOW + PAGE && READ(0x34b) == (WINDOW + PAGE) >> 2);
    expect(READ(0x34a) == 0 && gva());
    expect_guest(store, at, STORE_GUEST);
    expect(seen.tval == WINDOW + PAGE && READ(0x34b) == (WINDOW + PAGE) >> 2);
    second_leaves[0] = 0;
    hfence_gvma(0);
    expect_guest(load, at, LOAD_GUEST);
    expect(seen.tval == at && READ(0x34b) == at >> 2);
}

// ---- tables of the first stage that the second does not give ----

static void implicit_accesses(void)
{
    const u64 reads = WIDE ? 0x3000 : 0x2000;
    as_guest();
    second_stage_window();
    second_leaves[0] = 0;
    root[WIDE ? 1 : 0x100] = PTE(WINDOW, V);
    hfence_gvma(0);
    hfence_vvma(0);
    expect_guest(load, WINDOW + PAGE, LOAD_GUEST);
    expect(seen.tval == WINDOW + PAGE && gva());
    expect(READ(0x34b) == (WINDOW + (WIDE ? 0 : sizeof(u64))) >> 2 && READ(0x34a) == reads);
    WRITE(0x280, atp((u64 *)WINDOW));
    hfence_vvma(0);
    expect_guest(load, 0, FETCH_GUEST);
    expect(READ(0x34a) == reads);
    // Their accessed bits would be written to a page that may only be read.
    SET(menvcfg, 0);
    if (WIDE) {
        SET(menvcfg, (u64)1 << (WIDE ? 61 : 0));
        SET(0x60a, (u64)1 << (WIDE ? 61 : 0));
    } else {
        SET(0x31a, 1 << 29);
        SET(0x61a, 1 << 29);
    }
    WRITE(0x280, atp(root));
    if (WIDE) {
        root[1] = PTE(middle, V);
        middle[0] = PTE(WINDOW, V);
    }
    second_leaves[0] = PTE(leaves, V | R | UP | A | D);
    leaves[0] = PTE(data[0], V | R | W);
    hfence_gvma(0);
    hfence_vvma(0);
    expect_guest(load, WINDOW, LOAD_GUEST);
    expect(seen.tval == WINDOW && READ(0x34b) == WINDOW >> 2 && READ(0x34a) == (reads | 0x20));
    expect(!(leaves[0] & A));
    second_leaves[0] = PTE(leaves, V | R | W | UP | A | D);
    hfence_gvma(0);
    expect_guest(load, WINDOW, ECALL_VS);
    expect(leaves[0] & A);
    fill(root, 0);
    if (WIDE)
        WRITE(0x60a, 0);
    else
        WRITE(0x61a, 0);
}

// ---- accesses for a guest ----

static void protect(u64 permissions)
{
    WRITE(pmpaddr0, (u64)data[1] >> 2 | 0x1ff);
    WRITE(pmpcfg0, 0x1f18ul | permissions);
    hfence_gvma(0);
    FENCE();
}

static void guest_accesses(void)
{
    as_guest();
    if (!WIDE)
        guest[NO_MEMORY >> 22] = PTE(NO_MEMORY, RWXAD | UP);
    data[0][0] = 5;
    leaves[0] = PTE(data[0], V | X | UP | A | D);
    leaves[1] = PTE(NO_MEMORY, RWXAD);
    leaves[2] = PTE(data[1], V | R | X | A | D);
    leaves[3] = 0;
    hfence_vvma(0);
    // A user's page, which its supervisor reads with SUM as it would data.
    WRITE(0x200, 0);
    expect_cause(hlvx_wu, WINDOW, S, LOAD_PAGE);
    WRITE(0x200, SUM);
    expect_cause(hlvx_wu, WINDOW, S, ECALL_S);
    expect(result == 5);
    WRITE(0x200, 0);
    // Protection of memory asks for read permission, whatever the pages say.
    protect(READS);
    expect_cause(hlvx_wu, WINDOW + 2 * PAGE, S, ECALL_S);
    expect_cause(hlv_w, WINDOW + 2 * PAGE, S, ECALL_S);
    protect(RUNS);
    expect_cause(hlvx_wu, WINDOW + 2 * PAGE, S, LOAD_ACCESS);
    expect(gva());
    expect_cause(hlv_w, WINDOW + 2 * PAGE, S, LOAD_ACCESS);
    expect(gva());
    WRITE(pmpcfg0, 0x1f00ul);
    FENCE();
    // Where nothing answers, and at the second half of what lies in two pages.
    expect_cause(hlv_w, WINDOW + PAGE, S, LOAD_ACCESS);
    expect(gva() && seen.tval == WINDOW + PAGE);
    expect_cause(hlvx_wu, WINDOW + PAGE, S, LOAD_ACCESS);
    expect(gva() && seen.tval == WINDOW + PAGE);
    expect_cause(hsv_w, WINDOW + PAGE, S, STORE_ACCESS);
    expect(gva());
    expect_cause(hlvx_wu, WINDOW + 3 * PAGE - 2, S, LOAD_PAGE);
    expect(seen.tval == WINDOW + 3 * PAGE);
    WRITE(0x280, 0);
    WRITE(0x680, 0);
    hfence_gvma(0);
    expect_cause(load, NO_MEMORY, M, LOAD_ACCESS);
    expect(!gva());
}

// ---- fields ----

static void fields(void)
{
    WRITE(pmpcfg2, 0x1a); // write-only is reserved; the rest is as written
    expect((READ(pmpcfg2) & 0xff) == 0x18);
    WRITE(pmpcfg2, 0);
    WRITE(menvcfg, 1 << 4);
    WRITE(menvcfg, 2 << 4 | CBCFE);
    expect((READ(menvcfg) & CBIE) != 2 << 4 && READ(menvcfg) & CBCFE);
#if __riscv_xlen == 64
    WRITE(0x680, 5ul << 60 | 3ul << 44 | 0x1000); // no such mode: the other fields are written
    expect(READ(0x680) == (3ul << 44 | 0x1000));
    WRITE(0x680, 0);
    WRITE(satp, 5ul << 60 | 3ul << 44 | 0x1000); // here nothing is
    expect(READ(satp) == (VIRTUAL ? atp(root) : 0));
#endif
}

// The address of a cache block's fault is the one that was given.
static void cache_block_faults(void)
{
    if (!VIRTUAL)
        return;
    WRITE(menvcfg, CBIE | CBCFE | CBZE);
    map(3, (u64)data[0], V | R | A | D);
    expect_cause(cbo_zero, WINDOW + 3 * PAGE + 67, S, STORE_PAGE);
    expect(seen.tval == WINDOW + 3 * PAGE + 67);
    map(3, (u64)data[0], 0);
    expect_cause(cbo_flush, WINDOW + 3 * PAGE + 67, S, STORE_PAGE);
    expect(seen.tval == WINDOW + 3 * PAGE + 67);
}

// ---- comparators ----

static void write_comparators(u64 supervisor, u64 guest_level)
{
    WRITE(0x14d, supervisor);
    WRITE(0x24d, guest_level);
    if (!WIDE) {
        WRITE(0x15d, supervisor);
        WRITE(0x25d, guest_level);
    }
}

static void comparators(void)
{
    const unsigned menv = WIDE, bit = WIDE ? 63 : 31;
    write_comparators(~(u64)0, ~(u64)0);
    SET(mip, STIP); // software's, as long as the comparator is not in use
    expect(READ(mip) & STIP);
    if (menv) {
        SET(menvcfg, (u64)1 << bit);
        SET(0x60a, (u64)1 << bit);
    } else {
        SET(0x31a, (u64)1 << bit);
        SET(0x61a, (u64)1 << bit);
    }
    write_comparators(~(u64)0, ~(u64)0);
    expect(!(READ(mip) & (STIP | VSTIP)));
    write_comparators(0, ~(u64)0);
    expect((READ(mip) & (STIP | VSTIP)) == STIP);
    write_comparators(~(u64)0, 0);
    expect((READ(mip) & (STIP | VSTIP)) == VSTIP && READ(0x644) & VSTIP);
    if (WIDE) // the guest's time is behind
        WRITE(0x605, -READ(time));
    else
        WRITE(0x615, -READ(0xc81));
    write_comparators(~(u64)0, (u64)1 << (WIDE ? 40 : 20));
    expect(!(READ(mip) & VSTIP));
    SET(0x645, VSTIP); // hvip is added
    expect(READ(mip) & VSTIP);
    CLEAR(0x645, VSTIP);
    write_comparators(~(u64)0, 0);
    expect(READ(mip) & VSTIP);
    if (menv)
        CLEAR(0x60a, (u64)1 << bit);
    else
        CLEAR(0x61a, (u64)1 << bit);
    expect(!(READ(mip) & VSTIP));
    if (menv)
        CLEAR(menvcfg, (u64)1 << bit);
    else
        CLEAR(0x31a, (u64)1 << bit);
    CLEAR(mip, STIP);
    WRITE(0x605, 0);
}

// ---- vectors ----

OP(load_words, "li t0, 4\nvsetvli x0, t0, e32, m1, tu, mu\nvle32.v v8, (a0)")
OP(load_pairs, "li t0, 4\nvsetvli x0, t0, e32, m1, tu, mu\nvlseg2e32.v v8, (a0)")
OP(load_strided, "li t0, 4\nvsetvli x0, t0, e32, m1, tu, mu\nli t1, 4\nvlse32.v v8, (a0), t1")
OP(load_some, "li t0, 4\nvsetvli x0, t0, e32, m1, tu, mu\nvmset.m v0\nvle32.v v8, (a0), v0.t")
OP(load_first, "li t0, 4\nvsetvli x0, t0, e32, m1, tu, mu\nvle32ff.v v8, (a0)\ncsrr a0, vl")
OP(store_words, "li t0, 4\nvsetvli x0, t0, e32, m1, tu, mu\nvid.v v8\nvse32.v v8, (a0)")
OP(goes_on_loading, "vle32.v v8, (a0)")
OP(goes_on_pairs, "vlseg2e32.v v8, (a0)")
OP(goes_on_strided, "li t1, 4\nvlse32.v v8, (a0), t1")
OP(goes_on_some, "vle32.v v8, (a0), v0.t")
OP(goes_on_storing, "vse32.v v8, (a0)")
OP(keep_words, "vse32.v v8, (a0)")

static volatile unsigned kept[8] __attribute__((aligned(16)));

// A fault in the second page: the elements before vstart are done, and the instruction goes on.
static void vector_fault(u64 (*begin)(u64), u64 (*again)(u64), int loads)
{
    const u64 at = WINDOW + PAGE - 8;
    volatile unsigned *memory = (volatile unsigned *)((u64)data[0] + PAGE - 8);
    for (unsigned n = 0; n < 4; n++) {
        memory[n] = n + 100;
        kept[n] = 0;
    }
    map(0, (u64)data[0], V | R | W | A | D);
    map(1, (u64)data[1], 0);
    WRITE(vstart, 0);
    expect_cause(begin, at, S, loads ? LOAD_PAGE : STORE_PAGE);
    expect(seen.tval == WINDOW + PAGE);
    const u64 start = READ(vstart);
    expect(start <= 2);
    for (unsigned n = 0; n < start && !loads; n++)
        expect(memory[n] == n);
    expect(memory[2] == 102);
    map(1, (u64)data[1], V | R | W | A | D);
    expect_cause(again, at, S, ECALL_S);
    expect(READ(vstart) == 0);
    keep_words((u64)kept);
    for (unsigned n = 0; n < 4; n++) {
        unsigned want = !loads ? n : begin == load_pairs ? 100 + 2 * n : 100 + n;
        expect((begin == load_pairs && n > 1) || (loads ? kept[n] : memory[n]) == want);
    }
}

OP(load_seven, "li t0, 7\nvsetvli x0, t0, e32, m2, tu, mu\nvle32.v v8, (a0)")
OP(store_seven, "li t0, 7\nvsetvli x0, t0, e32, m2, tu, mu\nvid.v v8\nvse32.v v8, (a0)")

// A word in the middle that may not be touched.
static void protected_word(void)
{
    volatile unsigned *words = (volatile unsigned *)data[1];
    WRITE(pmpaddr0, (u64)&words[4] >> 2);
    WRITE(pmpcfg0, 0x1f10ul);
    FENCE();
    expect_cause(load_seven, (u64)words, S, LOAD_ACCESS);
    expect(seen.tval == (u64)&words[4] && READ(vstart) <= 4);
    WRITE(vstart, 0);
    for (unsigned n = 0; n < 7; n++)
        words[n] = 100;
    expect_cause(store_seven, (u64)words, S, STORE_ACCESS);
    expect(seen.tval == (u64)&words[4] && READ(vstart) <= 4);
    WRITE(vstart, 0);
    expect(words[4] == 100 && words[5] == 100 && words[6] == 100);
    WRITE(pmpcfg0, 0x1f00ul);
    FENCE();
    expect_cause(store_seven, (u64)words, S, ECALL_S);
    expect(words[0] == 0 && words[4] == 4 && words[6] == 6);
}

static void vector_faults(void)
{
    SET(mstatus, VS_INITIAL);
    protected_word();
    if (!VIRTUAL)
        return;
    vector_fault(load_words, goes_on_loading, 1);
    vector_fault(load_pairs, goes_on_pairs, 1);
    vector_fault(load_strided, goes_on_strided, 1);
    vector_fault(load_some, goes_on_some, 1);
    vector_fault(store_words, goes_on_storing, 0);
    map(1, (u64)data[1], 0);
    expect_cause(load_first, WINDOW + PAGE - 8, S, ECALL_S);
    expect(result == 2);
    expect_cause(load_first, WINDOW + PAGE, S, LOAD_PAGE);
    expect(READ(vl) == 4);
}

#define FROM_ONE(name, insn)                                                                       \
    OP(name, "li t0, 4\nvsetvli x0, t0, e8, m1, tu, mu\ncsrwi vstart, 1\n" insn)
FROM_ONE(add_from_one, "vadd.vi v8, v8, 1\ncsrr a0, vstart")
FROM_ONE(sum_from_one, "vredsum.vs v8, v9, v10")
FROM_ONE(count_from_one, "vcpop.m a0, v9")
FROM_ONE(first_from_one, "vfirst.m a0, v9")
FROM_ONE(before_from_one, "vmsbf.m v8, v9")
FROM_ONE(upto_from_one, "vmsif.m v8, v9")
FROM_ONE(only_from_one, "vmsof.m v8, v9")
FROM_ONE(iota_from_one, "viota.m v8, v9")
FROM_ONE(compress_from_one, "vcompress.vm v8, v9, v10")
FROM_ONE(past_the_end, "li t0, 5\ncsrw vstart, t0\nvadd.vi v8, v8, 1\ncsrr a0, vstart")
OP(clear_bytes, "li t0, 4\nvsetvli x0, t0, e8, m1, tu, mu\nvmv.v.i v8, 0")
OP(first_bytes, "li t0, 1\nvsetvli x0, t0, e32, m1, tu, mu\nvmv.x.s a0, v8")
OP(no_type_add, "li t0, 0x18\nvsetvl x0, x0, t0\nli t0, 0x20\nvsetvl x0, x0, t0\nvadd.vi v8, v8, 1")
OP(no_type_store, "li t0, 0x20\nvsetvl x0, x0, t0\nvs1r.v v8, (a0)\nvl1re8.v v8, (a0)")
OP(no_type_move, "li t0, 0x20\nvsetvl x0, x0, t0\nvmv1r.v v8, v9")
OP(overlaps, "li t0, 4\nvsetvli x0, t0, e8, m1, tu, mu\nvwadd.vv v8, v8, v10")
OP(highest_part, "li t0, 4\nvsetvli x0, t0, e8, m1, tu, mu\nvwadd.vv v8, v9, v10")
OP(own_mask, "li t0, 4\nvsetvli x0, t0, e8, m1, tu, mu\nvadd.vv v0, v8, v9, v0.t")
OP(odd_group, "li t0, 4\nvsetvli x0, t0, e8, m2, tu, mu\nvadd.vv v3, v4, v6")
OP(too_wide, "li t0, 1\nvsetvli x0, t0, e64, m1, tu, mu\nvwadd.vv v8, v10, v11")
OP(many_fields, "li t0, 1\nvsetvli x0, t0, e8, m4, tu, mu\nvlseg3e8.v v8, (a0)")
OP(beyond_last, "li t0, 1\nvsetvli x0, t0, e8, m1, tu, mu\nvlseg4e8.v v30, (a0)")

static void beginning_later(void)
{
    static u64 (*const whole[])(u64) = {sum_from_one,  count_from_one,   first_from_one,
                                        upto_from_one, only_from_one,    before_from_one,
                                        iota_from_one, compress_from_one};
    clear_bytes(0);
    expect(add_from_one(0) == 0);
    expect(first_bytes(0) == 0x01010100);
    expect(past_the_end(0) == 0);
    expect(first_bytes(0) == 0x01010100);
    for (unsigned n = 0; n < sizeof whole / sizeof *whole; n++) {
        expect_cause(whole[n], 0, S, ILLEGAL);
        expect(READ(vstart) == 1);
        WRITE(vstart, 0);
    }
}

// Every vtype: what is reserved sets vill and vl to zero, else VLMAX follows from SEW and LMUL.
static void types(void)
{
    const u64 vlenb = READ(0xc22);
    for (u64 type = 0; type < 512; type++) {
        unsigned sew = type >> 3 & 7, lmul = type & 7;
        unsigned eighths = lmul < 4 ? 8 << lmul : 1 << (lmul > 4 ? lmul - 5 : 0);
        int defined =
            type < 256 && sew < 4 && lmul != 4 && (lmul < 4 || (8u << sew) * 8 <= 64 * eighths);
        u64 vl;
        __asm__ volatile(".option push\n.option arch,+v\nvsetvl %0, x0, %1\n.option pop"
                         : "=r"(vl)
                         : "r"(type));
        expect(defined ? READ(vtype) == type : READ(vtype) == (u64)1 << (8 * sizeof(u64) - 1));
        expect(vl == (defined ? (vlenb * eighths / 8) >> sew : 0) && READ(vl) == vl);
    }
}

static void reserved_vectors(void)
{
    static u64 (*const refused[])(u64) = {no_type_add, no_type_move, overlaps,    own_mask,
                                          odd_group,   too_wide,     many_fields, beyond_last};
    for (unsigned n = 0; n < sizeof refused / sizeof *refused; n++)
        expect_cause(refused[n], (u64)data[0], S, ILLEGAL);
    expect_cause(no_type_store, (u64)data[0], S, ECALL_S);
    expect_cause(highest_part, 0, S, ECALL_S);
}

int main(void)
{
    open_memory();
    fields();
    two_pages();
    cache_block_faults();
    comparators();
    vector_faults();
    beginning_later();
    types();
    reserved_vectors();
    two_guest_pages();
    implicit_accesses();
    guest_accesses();
    return 0;
}
