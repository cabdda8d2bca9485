// What RISC-V boards have in common around their harts: creation, CLINT or ACLINT, and the device
// tree's words for them.
#pragma once

#include "board/boot/fdt_out.h"
#include "board/riscv/boot.h"

// `sysregs`: each hart's system-register space, or NULL.
int riscv_add_harts(struct machine *m, struct space **sysregs, struct err *e) MUST_CHECK;
// Machine software interrupts, timer and supervisor software interrupts, each at its address or,
// where that is 0, not at all. The first two side by side are a CLINT.
int riscv_add_aclint(struct machine *m, gpa_t mswi, gpa_t mtimer, gpa_t sswi,
                     struct err *e) MUST_CHECK;
void riscv_start_harts(struct machine *m, gpa_t entry); // all at once, at machine level

void riscv_fdt_chosen(const struct riscv_boot *b, const char *console,
                      struct fdt_out *o); // and the memory
void riscv_fdt_cpus(struct machine *m, struct fdt_out *o);
void riscv_fdt_clint(const struct machine *m, gpa_t base, struct fdt_out *o);
// The harts' inputs a controller drives: for each hart `a`, and `b` unless it is 0.
void riscv_fdt_targets(const struct machine *m, unsigned a, unsigned b, struct fdt_out *o);
