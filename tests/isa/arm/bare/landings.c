// Branch target identification: which computed branches may land on which instruction of a guarded
// page. Models without it take every landing.
#include "bare.h"

#define PAGE_GP (1ull << 50)
enum { GUARDED_VA = 0x4100000000 >> 2, OPEN_VA = GUARDED_VA + 4096 };

__asm__(".text\n.balign 4096\n.globl landings\nlandings:\n"
        "br x0\n nop\n"          // 0
        "blr x0\n nop\n"         // 8
        "mov x16, x0\n br x16\n" // 16
        "mov x30, x0\n ret\n"    // 24
        "nop\n svc #1\n"         // 32: no landing pad
        "hint #34\n svc #2\n"    // 40: BTI c
        "hint #36\n svc #3\n"    // 48: BTI j
        "hint #38\n svc #4\n"    // 56: BTI jc
        "hint #32\n svc #5\n"    // 64: BTI
        "hint #25\n svc #6\n"    // 72: PACIASP
        "brk #7\n nop\n"         // 80
        "b 1f\n 1: svc #8\n"     // 88: not the landing itself
        ".balign 4096\n");
extern char landings[];

static void from(const char *name, uint64_t at, uint64_t target_page)
{
    uint64_t esr[8], btype = 0;
    for (unsigned n = 0; n < 8; n++) {
        enter_el0(at, 0, target_page + 32 + 8 * n, 0);
        esr[n] = record.esr;
        btype |= (record.spsr >> 10 & 3) << 4 * n;
    }
    line(name, 8, esr);
    LINE("  BTYPE", btype);
}

void test_landings(void)
{
    static const char *const names[] = {"br", "blr", "br x16", "ret"};
    uint64_t code = PAGE_USER | PAGE_RO | PAGE_AF | PAGE_NG;
    paging_init(12);
    paging_map(GUARDED_VA, (uint64_t)landings, code | PAGE_GP);
    paging_map(OPEN_VA, (uint64_t)landings, code);
    paging_on(0);
    for (unsigned n = 0; n < 4; n++) {
        from(names[n], GUARDED_VA + 8 * n, GUARDED_VA);
        from("  from an open page", OPEN_VA + 8 * n, GUARDED_VA);
        from("  to an open page", GUARDED_VA + 8 * n, OPEN_VA);
    }
    WRITE(sctlr_el1, READ(sctlr_el1) | 1ull << 35);
    from("br with SCTLR.BT0", GUARDED_VA, GUARDED_VA);
    WRITE(sctlr_el1, READ(sctlr_el1) & ~(1ull << 35));
    // An exception return carries BTYPE, too.
    for (unsigned type = 0; type < 4; type++) {
        enter_el0(GUARDED_VA + 40, (uint64_t)type << 10, 0, 0);
        LINE("returned to BTI c", record.esr, record.spsr >> 10 & 3);
    }
    paging_off();
}
