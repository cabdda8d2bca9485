// Translation tables for the tests, and checks of translation, permissions, faults and maintenance.
#include "bare.h"

enum { POOL = 1 << 20, VA_BITS = 39, TEST_VA = 0x1000000000 >> 2 };
static char pool[POOL] __attribute__((aligned(65536)));
static char frames[4][65536] __attribute__((aligned(65536)));
static unsigned bits, used;
static uint64_t *root;

static uint64_t *new_table(void)
{
    uint64_t *t = (uint64_t *)(pool + used);
    used += 1u << bits;
    for (unsigned k = 0; k < 1u << (bits - 3); k++)
        t[k] = 0;
    return t;
}

static unsigned shift_of(unsigned level)
{
    return bits + (3 - level) * (bits - 3);
}

static unsigned first_level(void)
{
    unsigned level = 3;
    while (level && shift_of(level - 1) < VA_BITS)
        level--;
    return level;
}

static uint64_t *entry(uint64_t va, bool create)
{
    uint64_t *t = root, mask = (1ull << (bits - 3)) - 1;
    for (unsigned level = first_level();; level++) {
        uint64_t *e = &t[va >> shift_of(level) & mask];
        if (level == 3)
            return e;
        if (!(*e & 1)) {
            if (!create)
                return 0;
            *e = (uint64_t)new_table() | 3;
        }
        t = (uint64_t *)(*e & 0xfffffffff000 & ~((1ull << bits) - 1));
    }
}

void paging_map(uint64_t va, uint64_t pa, uint64_t attributes)
{
    *entry(va, true) = pa | attributes | 3 | 3 << 8;
}

void paging_unmap(uint64_t va)
{
    uint64_t *e = entry(va, false);
    if (e)
        *e = 0;
}

uint64_t paging_root(void)
{
    return (uint64_t)root;
}

void paging_init(unsigned granule_bits)
{
    bits = granule_bits;
    used = 0;
    root = new_table();
    for (uint64_t a = 0x40000000; a < 0x40600000; a += 1u << bits)
        paging_map(a, a, PAGE_AF);
    uint64_t devices[] = {0x08000000, 0x08010000, 0x09000000};
    for (unsigned k = 0; k < 3; k++)
        paging_map(devices[k], devices[k], PAGE_AF | PAGE_DEVICE | PAGE_UXN | PAGE_PXN);
}

void paging_on(uint64_t extra_tcr)
{
    uint64_t tg = bits == 12 ? 0 : bits == 14 ? 2 : 1;
    WRITE(mair_el1, 0x00ff); // 0: normal write-back; 1: device
    WRITE(tcr_el1, (64 - VA_BITS) | tg << 14 | 3 << 12 | 1 << 8 | 1 << 10 | 1 << 23 | 1ull << 32 |
                       extra_tcr);
    WRITE(ttbr0_el1, root);
    __asm__ volatile("dsb sy\n tlbi vmalle1\n dsb sy\n isb");
    WRITE(sctlr_el1, READ(sctlr_el1) | 1 | 1 << 2 | 1 << 12);
}

void paging_off(void)
{
    WRITE(sctlr_el1, READ(sctlr_el1) & ~1ull);
    __asm__ volatile("tlbi vmalle1\n dsb sy\n isb");
}

static void flush_all(void)
{
    __asm__ volatile("dsb sy\n tlbi vmalle1\n dsb sy\n isb" ::: "memory");
}

static void flush(uint64_t va)
{
    __asm__ volatile("dsb sy\n tlbi vae1, %0\n dsb sy\n isb" ::"r"(va >> 12) : "memory");
}

// ---- probes: the address of the access is known, so that ELR can be shown ----

#define PROBE(name, code)                                                                          \
    static void name(unsigned long a, unsigned long b)                                             \
    {                                                                                              \
        register unsigned long x0 __asm__("x0") = a;                                               \
        register unsigned long x1 __asm__("x1") = b;                                               \
        __asm__ volatile(".globl at_" #name "\nat_" #name ": " code                                \
                         : "+r"(x0), "+r"(x1)::"memory", "x2", "x3");                              \
    }                                                                                              \
    extern char at_##name[];
PROBE(load8, "ldrb w2, [x0]")
PROBE(load32s, "ldrsw x3, [x0]")
PROBE(load64, "ldr x2, [x0]")
PROBE(load_pair, "ldp x2, x3, [x0]")
PROBE(store16, "strh w1, [x0]")
PROBE(store64, "str x1, [x0]")
PROBE(store_pre, "str x1, [x0, #8]!")
PROBE(user_load, "ldtr x2, [x0]")
PROBE(user_store, "sttrb w1, [x0]")
PROBE(link_load, "ldxr x2, [x0]")
PROBE(add_to, "ldaxr x2, [x0]\n stlxr w3, x1, [x0]")
PROBE(zero, "dc zva, x0")
PROBE(call, "blr x0")
#define TRY(what, name, a) report(what, try(name, (unsigned long)(a), 0x5555), (uint64_t)at_##name)

static void translate(const char *name, uint64_t va)
{
    uint64_t read, write, user;
    __asm__ volatile("at s1e1r, %0\n isb" ::"r"(va));
    read = READ(par_el1);
    __asm__ volatile("at s1e1w, %0\n isb" ::"r"(va));
    write = READ(par_el1);
    __asm__ volatile("at s1e0r, %0\n isb" ::"r"(va));
    user = READ(par_el1);
    // Physical addresses depend on where the program lies: shown relative to the frame.
    uint64_t base = (uint64_t)frames[0], mask = 0xfffffffff000;
    LINE(name, read & 1 ? read : (read & ~mask) | ((read & mask) - base),
         write & 1 ? write : (write & ~mask) | ((write & mask) - base),
         user & 1 ? user : (user & ~mask) | ((user & mask) - base));
}

static uint64_t page(unsigned n)
{
    return TEST_VA + ((uint64_t)n << bits);
}

static void permissions(void)
{
    paging_map(page(0), (uint64_t)frames[0], PAGE_AF | PAGE_PXN | PAGE_UXN);
    paging_map(page(1), (uint64_t)frames[1], PAGE_AF | PAGE_RO);
    paging_map(page(2), (uint64_t)frames[2], PAGE_AF | PAGE_USER);
    paging_map(page(3), (uint64_t)frames[3], 0);
    flush_all();
    TRY("unmapped top", load64, 0x7000000000);
    TRY("unmapped near", store16, page(8));
    TRY("beyond", load64, 1ull << 40);
    TRY("upper half", load8, 0xffffff8000000000);
    TRY("load", load64, page(0));
    TRY("store", store64, page(0));
    TRY("store read-only", store64, page(1) + 24);
    TRY("store pre read-only", store_pre, page(1));
    TRY("pair across", load_pair, page(3) - 8);
    TRY("access flag", load32s, page(3) + 4);
    TRY("user load of kernel page", user_load, page(0));
    TRY("user store of kernel page", user_store, page(0) + 1);
    TRY("user load of user page", user_load, page(2));
    TRY("exclusive read-only", add_to, page(1));
    TRY("exclusive unmapped", link_load, page(9));
    TRY("exclusive unaligned", link_load, page(0) + 4);
    TRY("zero read-only", zero, page(1));
    TRY("zero unmapped", zero, page(9) + 7);
    report("execute never", try(call, page(0), 0), page(0));
    report("execute unmapped", try(call, page(9), 0), page(9));
    report("execute user-writable", try(call, page(2), 0), page(2));
    translate("at kernel", page(0));
    translate("at read-only", page(1));
    translate("at user", page(2));
    translate("at access flag", page(3));
    translate("at unmapped", page(8));
}

static void alignment(void)
{
    WRITE(sctlr_el1, READ(sctlr_el1) | 2);
    TRY("aligned only", load64, page(0) + 4);
    TRY("aligned only bytes", load8, page(0) + 3);
    TRY("aligned only store", store16, page(0) + 1);
    WRITE(sctlr_el1, READ(sctlr_el1) & ~2ull);
    TRY("unaligned allowed", load64, page(0) + 4);
}

static void from_el0(void)
{
    // mov x2, x1; ldr x0, [x0]; svc #1 / str x1, [x0]; svc #2
    volatile uint32_t *code = (volatile uint32_t *)frames[2];
    code[0] = 0xf9400000;
    code[1] = 0xd4000021;
    code[2] = 0xf9000001;
    code[3] = 0xd4000041;
    __asm__ volatile("dsb sy\n ic iallu\n dsb sy\n isb");
    paging_map(page(4), (uint64_t)frames[2], PAGE_AF | PAGE_USER | PAGE_RO);
    paging_map(page(5), (uint64_t)frames[2], PAGE_AF | PAGE_USER | PAGE_RO | PAGE_UXN);
    flush_all();
    report("el0 load", enter_el0(page(4), 0, page(2), 1), page(4));
    report("el0 load kernel", enter_el0(page(4), 0, page(0), 1), page(4));
    report("el0 store read-only", enter_el0(page(4) + 8, 0, page(4) + 64, 1), page(4));
    report("el0 store", enter_el0(page(4) + 8, 0, page(2) + 64, 1), page(4));
    report("el0 execute never", enter_el0(page(5), 0, 0, 0), page(5));
    report("el0 execute kernel", enter_el0(page(0), 0, 0, 0), page(0));
    report("el0 execute unmapped", enter_el0(page(9), 0, 0, 0), page(9));
}

static uint64_t peek(uint64_t va)
{
    return *(volatile uint64_t *)va;
}

static void maintenance(void)
{
    *(volatile uint64_t *)frames[0] = 0xa;
    *(volatile uint64_t *)frames[1] = 0xb;
    paging_map(page(6), (uint64_t)frames[0], PAGE_AF);
    flush_all();
    uint64_t before = peek(page(6));
    paging_map(page(6), (uint64_t)frames[1], PAGE_AF);
    flush(page(6));
    LINE("remapped", before, peek(page(6)));
    paging_unmap(page(6));
    flush(page(6));
    TRY("unmapped again", load64, page(6));

    // Two address spaces that differ in one page marked non-global.
    paging_map(page(6), (uint64_t)frames[0], PAGE_AF | PAGE_NG);
    WRITE(ttbr0_el1, paging_root() | 1ull << 48);
    flush_all();
    uint64_t one = peek(page(6));
    WRITE(ttbr0_el1, paging_root() | 2ull << 48);
    paging_map(page(6), (uint64_t)frames[1], PAGE_AF | PAGE_NG);
    BARRIER();
    uint64_t two = peek(page(6));
    __asm__ volatile("tlbi aside1, %0\n dsb sy\n isb" ::"r"(1ull << 48));
    WRITE(ttbr0_el1, paging_root() | 1ull << 48);
    LINE("address spaces", one, two, peek(page(6)));
    WRITE(ttbr0_el1, paging_root());
}

static void tags(void)
{
    paging_off();
    paging_on(1ull << 37);
    TRY("tagged load", load64, page(0) | 0xabull << 56);
    TRY("tagged unmapped", load64, page(9) | 0xabull << 56);
    paging_off();
    paging_on(0);
    TRY("tag without TBI", load64, page(0) | 0xabull << 56);
}

static bool has_granule(void)
{
    uint64_t f = READ(id_aa64mmfr0_el1);
    return bits == 12 ? (f >> 28 & 15) != 15 : bits == 14 ? (f >> 20 & 15) : (f >> 24 & 15) != 15;
}

void test_paging(unsigned granule_bits)
{
    bits = granule_bits;
    if (!has_granule())
        return;
    LINE("granule", granule_bits);
    for (unsigned k = 0; k < sizeof frames / 8; k++)
        ((volatile uint64_t *)frames)[k] = 0;
    paging_init(granule_bits);
    paging_on(0);
    permissions();
    alignment();
    from_el0();
    maintenance();
    tags();
    paging_off();
}
