// What the bare-metal tests share: one line of output per check, exceptions as data.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct record {
    uint64_t vector, esr, elr, spsr, far, x0, x1;
};
extern struct record record; // of the last synchronous exception
extern char stacks[];

typedef void try_fn(unsigned long a, unsigned long b);
unsigned long try(try_fn *fn, unsigned long a, unsigned long b);
unsigned long enter_el0(unsigned long pc, unsigned long spsr, unsigned long x0, unsigned long x1);
void secondary(void);

void text(const char *s);
// "name: v v v …" in hexadecimal.
void line(const char *name, unsigned n, const uint64_t *v);
#define LINE(name, ...)                                                                            \
    line(name, sizeof((uint64_t[]){__VA_ARGS__}) / 8, (const uint64_t[]){__VA_ARGS__})
// Run and report an exception: vector, ESR, ELR relative to `base`, SPSR, FAR.
void report(const char *name, unsigned long taken, uint64_t base);

#define READ(reg)                                                                                  \
    ({                                                                                             \
        uint64_t v_;                                                                               \
        __asm__ volatile("mrs %0, " #reg : "=r"(v_)::"memory");                                    \
        v_;                                                                                        \
    })
#define WRITE(reg, v) __asm__ volatile("msr " #reg ", %0\n isb" ::"r"((uint64_t)(v)) : "memory")
#define BARRIER()     __asm__ volatile("dsb sy\n isb" ::: "memory")

// Page tables (paging.c): 39-bit addresses, any granule; pages only.
enum {
    PAGE_RW = 0,
    PAGE_USER = 1 << 6,
    PAGE_RO = 1 << 7,
    PAGE_NG = 1 << 11,
    PAGE_AF = 1 << 10,
    PAGE_DEVICE = 1 << 2,
};
#define PAGE_PXN (1ull << 53)
#define PAGE_UXN (1ull << 54)
void paging_init(unsigned granule_bits);
void paging_map(uint64_t va, uint64_t pa, uint64_t attributes); // one page
void paging_unmap(uint64_t va);
void paging_on(uint64_t extra_tcr);
void paging_off(void);
uint64_t paging_root(void);

void test_exceptions(void);
void test_paging(unsigned granule_bits);
void test_debug(void);
void test_interrupts(void);
void test_code(void);
void test_landings(void);
void test_monitor(void);
void test_cpus(void);
