// What 64-bit harts have of the extensions that are no instructions and no registers: promises
// about memory, hints, translation modes, pointer masking below machine level, 32-bit user level.
// VIRTUAL as in instructions.c.
#include "levels.h"

enum { SV39 = 8, SV48 = 9, SV57 = 10, PMM_7 = 2, PMM_16 = 3, MISALIGNED_FETCH = 0 };
#define PMM(n) ((u64)(n) << 32)

#define OP(name, text)                                                                             \
    __attribute__((aligned(4))) static u64 name(u64 a)                                             \
    {                                                                                              \
        register u64 a0 __asm__("a0") = a;                                                         \
        __asm__ volatile(text : "+r"(a0)::"t0", "t1", "memory");                                   \
        return a0;                                                                                 \
    }
OP(load, "ld a0, 0(a0)")
OP(load_byte, "lbu a0, 0(a0)")
OP(store, "sd zero, 0(a0)")
OP(all_hints,
   ".word 0x0100000f\n.word 0x00006013 | 10 << 15\n.word 0x00106013 | 10 << 15\n"
   ".word 0x00306013 | 10 << 15\nadd x0, x0, x2\nadd x0, x0, x3\nadd x0, x0, x4\nadd x0, x0, x5")
OP(straddling, "addi a0, a0, 2047\nld a0, 2046(a0)")
OP(reserve, "1: lr.d t0, (a0)\naddi t0, t0, 1\nsc.d t1, t0, (a0)\nbnez t1, 1b\nld a0, 0(a0)")
OP(elsewhere, "lr.d t0, (a0)\naddi t1, a0, 128\nsc.d a0, t0, (t1)")
OP(add_atomic, "li t0, 5\namoadd.d a0, t0, (a0)")
OP(narrow_shift, "li a0, -1\nsrli a0, a0, 4")
// c.jal over an assignment where XLEN is 32, c.addiw a6, 0 where it is 64.
OP(narrow_jump, ".option push\n.option norvc\nmv t0, ra\n.half 0x2801\nli a0, 9\nnop\nnop\n"
                ".half 0x0001\nmv ra, t0\n.option pop")
OP(narrow_ld, ".word 0x00053503")
OP(narrow_addiw, ".word 0x0005051b")
OP(narrow_load, "lw a0, 0(a0)")
OP(high_bits, "lui a0, 0x80000")

static void memory_promises(void)
{
    volatile unsigned char *bytes = (volatile unsigned char *)data;
    for (unsigned n = 0; n < 2 * PAGE; n++)
        bytes[n] = (unsigned char)(n * 7);
    u64 want = 0;
    for (unsigned n = 0; n < 8; n++)
        want |= (u64)(unsigned char)((4093 + n) * 7) << 8 * n;
    expect_cause(straddling, (u64)data[0], S, ECALL_S);
    expect(result == want);
    data[0][0] = 41;
    expect_cause(reserve, (u64)data[0], S, ECALL_S);
    expect(result == 42);
    expect_cause(elsewhere, (u64)data[0], S, ECALL_S);
    expect(result == 1); // beyond 64 bytes there is no reservation
    expect_cause(add_atomic, (u64)data[0], S, ECALL_S);
    expect(result == 42 && data[0][0] == 47);
}

// Prefetches, non-temporal locality and pauses do nothing that can be seen, wherever they point.
static void hints(void)
{
    expect_cause(all_hints, (u64)data[0], S, ECALL_S);
    expect(result == (u64)data[0]);
    expect_cause(all_hints, ~(u64)0x3f, S, ECALL_S);
    expect_user(all_hints, ~(u64)0x3f, ECALL_U);
}

// The window at the same place of every mode, at the end of 3, 4 or 5 tables; then as second stage.
static void translation_modes(void)
{
    static u64 upper[2][ENTRIES] __attribute__((aligned(PAGE)));
    static u64 wide[4 * ENTRIES] __attribute__((aligned(4 * PAGE)));
    u64 saved = READ(satp);
    for (u64 mode = SV39; mode <= SV57; mode++) {
        const u64 *top = root;
        for (u64 level = SV39; level < mode; level++) {
            upper[level - SV39][0] = PTE(top, V);
            top = upper[level - SV39];
        }
        map(0, (u64)data[0], V | R | A | D);
        data[0][1] = mode;
        WRITE(satp, mode << 60 | (u64)top >> 12);
        expect(READ(satp) >> 60 == mode);
        FENCE();
        expect_cause(load, WINDOW + 8, S, ECALL_S);
        expect(result == mode);
        const unsigned bits = 39 + 9 * (unsigned)(mode - SV39);
        expect_cause(load, (u64)1 << (bits - 1), S, LOAD_PAGE); // not canonical
        expect(seen.tval == (u64)1 << (bits - 1));
        expect_cause(load, ((u64)1 << (bits - 1)) - PAGE, S, LOAD_PAGE); // not mapped
        WRITE(satp, saved);
        // As second stage, with two bits more at the top.
        for (unsigned n = 0; n < 4 * ENTRIES; n++)
            wide[n] = 0;
        guest[2] = PTE(0x80000000, RWXAD | UP);
        if (mode == SV39)
            wide[2] = guest[2];
        else
            wide[0] = PTE(mode == SV48 ? guest : upper[1], V);
        upper[1][0] = mode == SV57 ? PTE(guest, V) : upper[1][0];
        if (mode == SV57) { // wide -> upper[1] -> a table for gigabytes
            upper[0][0] = PTE(guest, V);
            upper[1][0] = PTE(guest, V);
        }
        WRITE(0x280, 0);
        WRITE(0x680, mode << 60 | (u64)wide >> 12);
        expect(READ(0x680) >> 60 == mode);
        __asm__ volatile(".word 0x62000073" ::: "memory");
        expect_guest(load, (u64)&data[0][1], ECALL_VS);
        expect(result == mode);
        expect_guest(load, WINDOW, LOAD_GUEST);
        expect(READ(0x34b) == WINDOW >> 2);
        WRITE(0x680, 0);
        __asm__ volatile(".word 0x62000073" ::: "memory");
    }
    WRITE(satp, (u64)11 << 60); // no such mode: nothing is written
    expect(READ(satp) == saved);
    WRITE(satp, saved);
    FENCE();
}

// A tagged address at each level; the tag's last bit lies below what PMLEN=7 leaves out.
static void pointer_masking_below(void)
{
    const u64 plain = (u64)&data[0][2], tag7 = (u64)0x55 << 57, tag16 = (u64)0x5555 << 48;
    const u64 bad = VIRTUAL ? LOAD_PAGE : LOAD_ACCESS;
    data[0][2] = 99;
    WRITE(menvcfg, 0);
    expect_cause(load, plain | tag7, S, bad);
    WRITE(menvcfg, PMM(PMM_7)); // Smnpm: the supervisor's
    expect_cause(load, plain | tag7, S, ECALL_S);
    expect(result == 99);
    expect_cause(load, plain | tag16, S, bad);
    WRITE(menvcfg, PMM(PMM_16));
    expect_cause(load, plain | tag16, S, ECALL_S);
    expect_user(load, plain | tag7, bad); // a user's is senvcfg's
    WRITE(menvcfg, 0);
    WRITE(senvcfg, PMM(PMM_7)); // Ssnpm
    expect_user(load, plain | tag7, ECALL_U);
    expect(result == 99);
    expect_user(store, plain | tag7, ECALL_U);
    expect(data[0][2] == 0);
    expect_user(load, plain | tag16, bad);
    WRITE(senvcfg, PMM(PMM_16));
    expect_user(load, plain | tag16, ECALL_U);
    expect_user(straddling, (plain - 4093) | tag16, ECALL_U);
    WRITE(senvcfg, 0);
    // MXR switches it off where there is translation.
    WRITE(menvcfg, PMM(PMM_7));
    SET(sstatus, 1 << 19);
    if (VIRTUAL)
        expect_cause(load, plain | tag7, S, LOAD_PAGE);
    CLEAR(sstatus, 1 << 19);
    WRITE(menvcfg, 0);
}

static u64 on_behalf(u64 a) // hlv.d a0, (a0)
{
    register u64 a0 __asm__("a0") = a;
    __asm__ volatile(".word 0x6c054573" : "+r"(a0)::"memory");
    return a0;
}

static void pointer_masking_of_guests(void)
{
    const u64 plain = (u64)&data[0][2], tag7 = (u64)0x55 << 57;
    data[0][2] = 77;
    as_guest();
    expect_guest(load, plain | tag7, LOAD_PAGE);
    WRITE(henvcfg, PMM(PMM_7)); // VS
    expect_guest(load, plain | tag7, ECALL_VS);
    expect(result == 77);
    expect_cause(on_behalf, plain | tag7, S, ECALL_S); // as the guest's supervisor
    expect(result == 77);
    WRITE(henvcfg, 0);
    expect_cause(on_behalf, plain | tag7, S, LOAD_PAGE);
    SET(hstatus, 1 << 9); // HU
    WRITE(0x280, atp(user_root));
    __asm__ volatile(".word 0x22000073" ::: "memory");
    CLEAR(hstatus, SPVP);
    expect_user(on_behalf, plain | tag7, LOAD_PAGE);
    SET(hstatus, (u64)PMM_7 << 48); // HUPMM
    expect_user(on_behalf, plain | tag7, ECALL_U);
    expect(result == 77);
    WRITE(hstatus, 0);
    WRITE(0x280, 0);
    WRITE(0x680, 0);
    __asm__ volatile(".word 0x62000073" ::: "memory");
}

// sstatus.UXL: user level with 32-bit registers and addresses.
static void narrow_user(void)
{
    data[0][3] = 0x12345678;
    SET(mstatus, (u64)3 << 32);
    expect((READ(mstatus) >> 32 & 3) == 2); // there is no third
    expect_user(high_bits, 0, ECALL_U);
    expect(result == ~(u64)0x7fffffff);
    const u64 status = READ(mstatus) & ~((u64)3 << 32);
    WRITE(mstatus, status | (u64)1 << 32);
    expect((READ(mstatus) >> 32 & 3) == 1);
    expect_user(narrow_shift, 0, ECALL_U);
    expect(result == 0x0fffffff);
    expect_user(narrow_ld, (u64)data[0], ILLEGAL);
    expect_user(narrow_addiw, 0, ILLEGAL);
    expect_user(narrow_load, (u64)&data[0][3] | (u64)0xabc << 32, ECALL_U);
    expect(result == 0x12345678);
    expect_user(narrow_jump, 5, ECALL_U);
    expect(result == 5); // it jumped instead of adding
    WRITE(mstatus, status | (u64)2 << 32);
    expect_user(narrow_jump, 5, ECALL_U);
    expect(result == 9);
}

// What stval says, and where stvec leads.
static void trap_values(void)
{
    static u64 (*const loads[])(u64) = {load, load_byte};
    for (unsigned n = 0; n < 2; n++) {
        expect_cause(loads[n], 0x9123456789abcdef, S, VIRTUAL ? LOAD_PAGE : LOAD_ACCESS);
        expect(seen.tval == 0x9123456789abcdef);
    }
    WRITE(stvec, 0x80001234);
    expect(READ(stvec) == 0x80001234);
    WRITE(vstvec, 0x80001238);
    expect(READ(vstvec) == 0x80001238);
    WRITE(medeleg, 1 << LOAD_PAGE | 1 << LOAD_ACCESS);
    WRITE(stvec, store); // which traps, to machine level
    expect_cause(load, 0x9123456789abcdef, S, VIRTUAL ? STORE_PAGE : STORE_ACCESS);
    expect(READ(stval) == 0x9123456789abcdef &&
           READ(scause) == (VIRTUAL ? LOAD_PAGE : LOAD_ACCESS));
    WRITE(medeleg, 0);
}

// Counters that are, and those that are not, can be opened to lower levels.
static void counter_enables(void)
{
    WRITE(scounteren, ~(u64)0);
    WRITE(hcounteren, ~(u64)0);
    for (unsigned n = 3; n < 19; n++)
        expect(READ(scounteren) >> n & 1 && READ(hcounteren) >> n & 1);
}

int main(void)
{
    WRITE(pmpaddr0, ~(u64)0 >> 8); // 56-bit physical addresses, and no more
    WRITE(pmpcfg0, 0x0f);          // TOR
    fill(root, 0);
    fill(user_root, UP);
    WRITE(satp, VIRTUAL ? atp(root) : 0);
    FENCE();
    memory_promises();
    hints();
    translation_modes();
    pointer_masking_below();
    pointer_masking_of_guests();
    narrow_user();
    trap_values();
    counter_enables();
    return 0;
}
