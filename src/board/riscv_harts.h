// What RISC-V boards have in common around their harts: creation, CLINT or ACLINT, and the device
// tree's words for them.
#pragma once

#include "board/boot/fdt_out.h"
#include "board/boot/riscv.h"

int riscv_add_harts(struct machine *m, struct err *e) MUST_CHECK;
// A CLINT at `base`; where `sswi` is not 0, supervisor software interrupts there.
int riscv_add_aclint(struct machine *m, gpa_t base, gpa_t sswi, struct err *e) MUST_CHECK;
void riscv_start_harts(struct machine *m, gpa_t entry); // all at once, at machine level

void riscv_fdt_chosen(const struct riscv_boot *b, const char *console,
                      struct fdt_out *o); // and the memory
void riscv_fdt_cpus(struct machine *m, struct fdt_out *o);
void riscv_fdt_clint(const struct machine *m, gpa_t base, struct fdt_out *o);
// The harts' inputs a controller drives: for each hart `a`, and `b` unless it is 0.
void riscv_fdt_targets(const struct machine *m, unsigned a, unsigned b, struct fdt_out *o);
