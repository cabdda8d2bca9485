// Bits of system registers that several files of this folder test, and functions only they share.
#pragma once

#include "isa/arm/arm.h"
#include <stdatomic.h>

// SCTLR_ELx
#define SCTLR_M     (1ull << 0)
#define SCTLR_A     (1ull << 1)
#define SCTLR_C     (1ull << 2)
#define SCTLR_SA    (1ull << 3)
#define SCTLR_SA0   (1ull << 4)
#define SCTLR_UMA   (1ull << 9)
#define SCTLR_DZE   (1ull << 14)
#define SCTLR_UCT   (1ull << 15)
#define SCTLR_NTWI  (1ull << 16)
#define SCTLR_NTWE  (1ull << 18)
#define SCTLR_WXN   (1ull << 19)
#define SCTLR_SPAN  (1ull << 23)
#define SCTLR_E0E   (1ull << 24)
#define SCTLR_EE    (1ull << 25)
#define SCTLR_UCI   (1ull << 26)
#define SCTLR_DSSBS (1ull << 44)

// HCR_EL2
#define HCR_VM    (1ull << 0)
#define HCR_PTW   (1ull << 2)
#define HCR_FMO   (1ull << 3)
#define HCR_IMO   (1ull << 4)
#define HCR_AMO   (1ull << 5)
#define HCR_VF    (1ull << 6)
#define HCR_VI    (1ull << 7)
#define HCR_VSE   (1ull << 8)
#define HCR_DC    (1ull << 12)
#define HCR_TWI   (1ull << 13)
#define HCR_TWE   (1ull << 14)
#define HCR_TID0  (1ull << 15)
#define HCR_TID1  (1ull << 16)
#define HCR_TID2  (1ull << 17)
#define HCR_TID3  (1ull << 18)
#define HCR_TSC   (1ull << 19)
#define HCR_TIDCP (1ull << 20)
#define HCR_TACR  (1ull << 21)
#define HCR_TSW   (1ull << 22)
#define HCR_TPCP  (1ull << 23)
#define HCR_TPU   (1ull << 24)
#define HCR_TTLB  (1ull << 25)
#define HCR_TVM   (1ull << 26)
#define HCR_TGE   (1ull << 27)
#define HCR_TDZ   (1ull << 28)
#define HCR_HCD   (1ull << 29)
#define HCR_TRVM  (1ull << 30)
#define HCR_RW    (1ull << 31)
#define HCR_E2H   (1ull << 34)

// SCR_EL3
#define SCR_NS  (1ull << 0)
#define SCR_IRQ (1ull << 1)
#define SCR_FIQ (1ull << 2)
#define SCR_EA  (1ull << 3)
#define SCR_SMD (1ull << 7)
#define SCR_HCE (1ull << 8)
#define SCR_TWI (1ull << 12)
#define SCR_TWE (1ull << 13)

#define MDSCR_KDE  (1ull << 13)
#define MDSCR_MDE  (1ull << 15)
#define MDCR_TDE   (1ull << 8)
#define MDCR_TRAPS 0xf60ull // all but HPMN and HPME

#define FPCR_FZ16 (1u << 19)
#define FPCR_FZ   (1u << 24)
#define FPCR_DN   (1u << 25)
#define FPCR_AHP  (1u << 26)

bool arm_nonsecure(const struct arm_cpu *c);   // the current state, by SCR_EL3.NS and level
bool arm_el2_enabled(const struct arm_cpu *c); // EL2 is there and the current state has it
uint64_t arm_hcr(
    const struct arm_cpu *c); // HCR_EL2 as it takes effect now: 0 when EL2 is absent or disabled
unsigned arm_regime_el(const struct arm_cpu *c); // whose SCTLR, TCR … govern the current level
unsigned
arm_fp_trap_level(const struct arm_cpu *c); // EL that an FP/SIMD instruction traps to; 0: none
unsigned arm_debug_target(
    const struct arm_cpu *c); // EL that takes breakpoint, watchpoint and step exceptions
// Registers with effects: the bank of SP; rounding, flushing and flags as the translator keeps
// them.
void arm_set_spsel(struct arm_cpu *c, unsigned spsel);
void arm_set_fpcr(struct arm_cpu *c, uint64_t v);
uint64_t arm_get_fpsr(struct arm_cpu *c);
void arm_set_fpsr(struct arm_cpu *c, uint64_t v);

// struct env_isa_ops and struct isa (ir/env.h, isa/isa.h) for this CPU.
uint64_t arm_mode(struct env *e);
bool arm_take_interrupt(struct env *e);
bool arm_has_work(struct env *e);
struct irq arm_line(struct env *e, unsigned n);
