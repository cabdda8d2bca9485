// State of an AArch64 CPU (Arm Architecture Reference Manual, DDI 0487) and what the files of this
// folder share: slots, mode bits, features, exception and system-register entry points.
#pragma once

#include "base/bits.h"
#include "isa/isa.h"

// Guest slots: values the translator keeps in host registers.
enum arm_slot {
    ARM_X0 = 0,  // X0..X30
    ARM_SP = 31, // the current stack pointer, whichever is banked in
    ARM_PC = 32,
    ARM_NZCV = 33,
    ARM_BTYPE = 34,  // PSTATE.BTYPE, I32
    ARM_SP_EL0 = 35, // the EL0 bank while it is not the current stack pointer
    ARM_TPIDR_EL0 = 36,
    ARM_TPIDRRO_EL0 = 37,
    ARM_TPIDR_EL1 = 38,
    ARM_QC = 39,    // V128: any bit set means FPSR.QC
    ARM_V0 = 40,    // V0..V31
    ARM_INSNS = 72, // instructions begun in regions of ARM_MODE_COUNT
    ARM_SLOTS = 73,
};

// env_isa_ops.mode: everything besides pc that the meaning of code depends on.
enum {
    ARM_MODE_EL = 3,            // current exception level
    ARM_MODE_FP_TRAP = 1 << 2,  // FP/SIMD instructions trap
    ARM_MODE_DN = 1 << 3,       // FPCR.DN
    ARM_MODE_BE = 1 << 4,       // data is big-endian
    ARM_MODE_ALIGN = 1 << 5,    // SCTLR.A: all data accesses check alignment
    ARM_MODE_SP_ALIGN = 1 << 6, // SCTLR.SA / SA0: accesses through SP check it
    ARM_MODE_GUARDED = 1 << 7,  // guarded pages are in use: landings of computed branches matter
    ARM_MODE_LANDING = 1 << 8,  // one landed where it should not, unless the page is not guarded
    ARM_MODE_SS = 1 << 9,       // PSTATE.SS
    ARM_MODE_STEP_ACTIVE = 1 << 10, // software step is active (IR_MODE_SINGLE is set too)
    ARM_MODE_IL = 1 << 11,          // PSTATE.IL: every instruction is illegal
    ARM_MODE_E2H = 1 << 12,         // HCR_EL2.E2H: EL1 register names at EL2 mean EL2's
    ARM_MODE_PAUTH_SHIFT = 13,      // SCTLR.EnIA, EnIB, EnDA, EnDB in 4 bits
    ARM_MODE_PAUTH = 15 << ARM_MODE_PAUTH_SHIFT,
    ARM_MODE_HW_BREAK =
        1 << 17, // some hardware breakpoint is enabled: regions consult arm_lift_breakpoint
    ARM_MODE_BT = 1 << 18, // SCTLR.BT: how PACIASP acts as a landing pad
    ARM_MODE_FZ16 = 1 << 19,
    ARM_MODE_COUNT = 1 << 21,   // instructions are counted
    ARM_MODE_SP_BAD = 1 << 22,  // with SP_ALIGN: SP is no multiple of 16
    ARM_MODE_TRAPS = 1 << 20,   // EL2 or EL3 traps some system registers of this level
    ARM_MODE_SP_ZERO = 1 << 23, // SP is SP_EL0 though this is a higher level
};

// Features: one line each in features.def (name, ID register field that advertises it).
enum arm_feature {
#define FEATURE(name, ...) ARM_FEAT_##name,
#include "isa/arm/features.def"
#undef FEATURE
    ARM_FEATURES,
};
_Static_assert(ARM_FEATURES <= 64, "features fit one word");

enum arm_out {
    ARM_OUT_TIMER_PHYS,
    ARM_OUT_TIMER_VIRT,
    ARM_OUT_TIMER_HYP,
    ARM_OUT_TIMER_SEC,
    ARM_OUT_TIMER_HYPVIRT,
    ARM_OUT_PMU,
    ARM_OUT_WORLD, // with EL3 only, on every change: level 0 non-secure, 1 secure EL0 and EL1,
                   // 2 EL3; the GIC chooses between IRQ and FIQ by it
};
enum arm_line { ARM_LINE_IRQ, ARM_LINE_FIQ, ARM_LINE_VIRQ, ARM_LINE_VFIQ, ARM_LINES };
enum arm_timer {
    ARM_TIMER_PHYS,
    ARM_TIMER_VIRT,
    ARM_TIMER_HYP,
    ARM_TIMER_SEC,
    ARM_TIMER_HYPVIRT,
    ARM_TIMERS
};

enum { ARM_PMU_COUNTERS = 6 };
struct arm_pmu {
    uint64_t cr, enabled, overflowed, interrupts; // sets of counters: bit n, and 31 for cycles
    uint64_t cycles, cycle_filter, count[ARM_PMU_COUNTERS], type[ARM_PMU_COUNTERS];
    uint64_t seen_cycles, seen_insns; // up to where the counters are
    unsigned el;                      // level since then
    bool want_insns;                  // some counter counts instructions
    struct loop_timer timer;          // next overflow
};

struct arm_cpu {
    struct env env;
    // slots
    uint64_t x[31];
    uint64_t sp, pc;
    uint32_t nzcv; // packed (ir/env.h)
    uint32_t btype;
    uint64_t sp_el0, tpidr_el0, tpidrro_el0, tpidr_el1;
    v128 qc;
    v128 v[32];
    uint64_t insns;

    // PSTATE beside NZCV and BTYPE
    bool daif_d, daif_a, daif_i, daif_f; // MRS DAIF reads the four as a word
    uint8_t el, spsel;
    bool stepped; // an instruction completed under software step since the last exception or return
    bool pan, uao, dit, ssbs, il, ss;
    uint32_t fpcr;

    // Banked by exception level; index 0 unused unless stated.
    uint64_t sp_el[4]; // [1..3]; SP_EL0 has its slot
    uint64_t elr[4], spsr[4], vbar[4], esr[4], far[4], sctlr[4], tcr[4], ttbr0[4], ttbr1[4],
        mair[4], amair[4], afsr0[4], afsr1[4], actlr[4], contextidr[4];
    uint64_t tpidr_el2, tpidr_el3, rvbar, rmr;
    uint64_t cpacr_el1, cptr_el2, cptr_el3, hcr_el2, hcrx_el2, hstr_el2, mdcr_el2, mdcr_el3,
        vttbr_el2, vtcr_el2, hpfar_el2, vpidr_el2, vmpidr_el2, scr_el3, hacr_el2, sder32_el3,
        vdisr_el2, vsesr_el2, disr_el1;
    uint64_t par_el1, csselr_el1, mdscr_el1, osdlr_el1, oslsr_el1, mdccint_el1, osdtrrx_el1,
        osdtrtx_el1, oseccr_el1, dbgclaim_el1;
    uint64_t dbgbvr[16], dbgbcr[16], dbgwvr[16], dbgwcr[16];
    uint64_t cntkctl_el1, cnthctl_el2, cntvoff_el2, cntfrq;
    uint64_t scxtnum_el0, scxtnum_el1, scxtnum_el2, scxtnum_el3;
    uint64_t keys[5][2]; // PAuth: APIA, APIB, APDA, APDB, APGA; low and high halves
    uint64_t pmselr, pmuserenr;
    struct arm_pmu pmu;

    struct arm_timer_state {
        uint64_t cval, ctl; // ctl: ENABLE, IMASK
        struct loop_timer timer;
        struct arm_cpu *cpu;
        bool level;
    } timers[ARM_TIMERS];

    // identity
    uint64_t features; // bit set of enum arm_feature
    uint64_t midr, mpidr, ctr, revidr, dczid, clidr, ccsidr[7];
    uint64_t id_aa64pfr[2], id_aa64dfr[2], id_aa64isar[3], id_aa64mmfr[3], id_aa64zfr0,
        id_aa64afr[2];
    uint8_t pa_bits;
    bool has_el2, has_el3;
    bool guarded;    // a guarded page was fetched from
    bool tagged;     // user mode: an address with a tag was met
    uint8_t world;   // last level of ARM_OUT_WORLD; 0xff: none yet
    bool debug_step; // the debugger steps this CPU
    bool power_off;
    _Atomic uint32_t lines; // levels of enum arm_line
    bool event;             // event register of WFE/SEV
    uint64_t mode_cache;
    uint32_t saved_nzcv; // in PSTATE's bits, while the CPU is saved or loaded
    struct isa_config config;
};

static inline struct arm_cpu *arm_cpu(struct env *e)
{
    return (struct arm_cpu *)e;
}
static inline bool arm_has(const struct arm_cpu *c, enum arm_feature f)
{
    return c->features >> f & 1;
}

extern const struct ir_guest arm_guest;
extern const struct isa isa_aarch64;

// One instruction to IR, and to text (lift.c).
void arm_lift(struct lift *l);
unsigned arm_disas(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n);

// ---- exceptions (exception.c) ----

enum arm_ec { // ESR_ELx.EC
    EC_UNKNOWN = 0x00,
    EC_WFX = 0x01,
    EC_FP = 0x07,
    EC_PAUTH = 0x09,
    EC_BTI = 0x0d,
    EC_ILLEGAL = 0x0e,
    EC_SVC = 0x15,
    EC_HVC = 0x16,
    EC_SMC = 0x17,
    EC_SYSREG = 0x18,
    EC_FPAC = 0x1c,
    EC_IABORT_LOWER = 0x20,
    EC_IABORT = 0x21,
    EC_PC_ALIGN = 0x22,
    EC_DABORT_LOWER = 0x24,
    EC_DABORT = 0x25,
    EC_SP_ALIGN = 0x26,
    EC_FP_TRAP = 0x2c,
    EC_SERROR = 0x2f,
    EC_BREAK_LOWER = 0x30,
    EC_BREAK = 0x31,
    EC_STEP_LOWER = 0x32,
    EC_STEP = 0x33,
    EC_WATCH_LOWER = 0x34,
    EC_WATCH = 0x35,
    EC_BRK = 0x3c,
};
#define ESR_MAKE(ec, iss) ((uint64_t)(ec) << 26 | 1ull << 25 | (iss))

// env_fault.kind in user mode, for what is not a memory access: info[0] is the syndrome.
#define ARM_FAULT_EXCEPTION (1u << 31)

// Take a synchronous exception to `target_el` (1..3; raised to the current EL if lower) with pc the
// preferred return address; sets ESR and, when `far` is not NULL, FAR. State must be exact. Does
// not leave translated code. In user mode it does not return: it leaves with LEAVE_SIGNAL.
void arm_take_exception(struct arm_cpu *c, unsigned target_el, uint64_t esr, const uint64_t *far,
                        uint64_t return_pc);
unsigned arm_sync_target(
    const struct arm_cpu *c); // EL that takes undefined instructions, SVC and the like from here
void arm_exception_return(struct arm_cpu *c, uint64_t new_pc);
uint64_t arm_pstate(const struct arm_cpu *c);          // in SPSR format
void arm_set_pstate(struct arm_cpu *c, uint64_t spsr); // EL, SP bank and all fields
void arm_state_changed(struct arm_cpu *c);     // after any change to what mode(), MMU contexts or
                                               // interrupt masks depend on
void arm_update_interrupts(struct arm_cpu *c); // recompute whether a line is deliverable
void arm_kick(struct arm_cpu *c);              // any thread: look at interrupts, out of any loop
// Where the value of the system register with this ARM_SYSREG() lies, for accelerators that move it
// as it is; NULL: it is made up of others, or we have none such.
uint64_t *arm_sysreg_storage(struct arm_cpu *c, uint32_t key);

// ---- lifting (lift_system.c; called by the decoder's handlers) ----

void arm_lift_undefined(struct lift *l); // ends the region with that exception
// MRS, MSR (register), SYS, SYSL: `key` is ARM_SYSREG(op0, op1, crn, crm, op2).
void arm_lift_sysreg(struct lift *l, bool read, uint32_t key, unsigned rt);
void arm_lift_msr_imm(struct lift *l, unsigned op1, unsigned op2, unsigned crm);
enum arm_trap { TRAP_SVC, TRAP_HVC, TRAP_SMC, TRAP_BRK, TRAP_HLT };
void arm_lift_trap(struct lift *l, enum arm_trap kind, unsigned imm16);
void arm_lift_eret(struct lift *l, ir_ref new_pc); // ERET (ELR) and the authenticated forms, which
                                                   // pass the checked address; IR_NONE: ELR
void arm_lift_wait(struct lift *l, bool event);    // WFI, WFE
void arm_lift_sev(struct lift *l, bool local);
void arm_lift_yield(struct lift *l);
// True when FP/SIMD is accessible; otherwise emits the trap and ends the region: the handler
// returns.
bool arm_lift_fp_check(struct lift *l);
// Branch target identification (landing.c). Before the first instruction of a region; true: it is
// not to be executed. And before a computed branch through Xn.
struct a64_insn;
bool arm_lift_landing(struct lift *l, const struct a64_insn *i);
void arm_lift_computed_branch(struct lift *l, bool call, unsigned rn);
bool arm_landing_pending(const struct arm_cpu *c);
// Emits an exception with this syndrome at the instruction, to the EL that takes undefined
// instructions, and ends the region.
void arm_lift_exception(struct lift *l, uint64_t esr);

#define ARM_SYSREG(op0, op1, crn, crm, op2)                                                        \
    ((uint32_t)((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2)))

// ---- memory management (mmu.c) ----

// struct env_isa_ops: stage 1 and 2 for one address, and the exceptions that come of what fails.
int arm_translate(struct env *e, gva_t va, enum env_access access, unsigned mmu,
                  struct env_xlat *out, struct env_fault *f);
void arm_mmu_set_contexts(struct arm_cpu *c); // tell the executor which contexts are current
void arm_tlbi(struct arm_cpu *c, uint32_t key, uint64_t arg); // the TLBI with this ARM_SYSREG()
void arm_address_translate(struct arm_cpu *c, uint32_t key,
                           uint64_t va);            // AT instructions: sets PAR_EL1
bool arm_page_guarded(struct arm_cpu *c, gva_t va); // as the current level sees it
void arm_fault_take(struct env *e, const struct env_fault *f);
void arm_bus_fault(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                   struct env_fault *f);
void arm_align_fault(struct env *e, gva_t va, enum env_access access, unsigned mo,
                     struct env_fault *f);
int arm_watch(struct env *e, gva_t va, unsigned size, enum env_access access, struct env_fault *f);

// ---- timers (timer.c, pmu.c) and power (psci.c) ----

void arm_timers_init(struct arm_cpu *c);
void arm_timers_exit(struct arm_cpu *c);
uint64_t arm_timer_count(struct arm_cpu *c,
                         enum arm_timer t);                 // the counter this timer compares with
uint64_t arm_counter(struct arm_cpu *c);                    // physical count
void arm_timer_update(struct arm_cpu *c, enum arm_timer t); // after CVAL, CTL or an offset changed

void arm_pmu_init(struct arm_cpu *c);
void arm_pmu_exit(struct arm_cpu *c);
void arm_pmu_reset(struct arm_cpu *c);
void arm_pmu_saving(struct arm_cpu *c); // counts are brought into the state that is saved
void arm_pmu_loaded(struct arm_cpu *c); // and go on from it
bool arm_pmu_present(const struct arm_cpu *c);
void arm_pmu_level_changed(struct arm_cpu *c); // c->el is another than c->pmu.el

// Firmware call with the function id in w0 (PSCI, SMCCC). True when it was one of ours; results are
// in x0..x3.
bool arm_psci_call(struct arm_cpu *c);

// ---- model (model.c) ----

// ID registers and features of a model, then the operator's changes to it (-cpu MODEL,FEATURE=…).
int arm_model_apply(struct arm_cpu *c, const char *model, struct opts *features, struct err *e);
extern const struct isa_model arm_models[];

// ---- pointer authentication (pauth.c) ----
enum arm_pac_key { PAC_IA, PAC_IB, PAC_DA, PAC_DB, PAC_GA };
// Helpers of translated code: PACxx, AUTxx, XPACx, PACGA. A pointer that fails comes back as one
// that faults, or leaves with an exception where FEAT_FPAC says so.
uint64_t arm_pac_add(struct env *e, uint64_t ptr, uint64_t modifier, uint32_t key);
uint64_t arm_pac_auth(struct env *e, uint64_t ptr, uint64_t modifier, uint32_t key);
uint64_t arm_pac_strip(struct env *e, uint64_t ptr, uint32_t instruction);
uint64_t arm_pac_generic(struct env *e, uint64_t value, uint64_t modifier);
// Effective TBI and address size for a pointer in the current regime: bit 55 selects the half.
// `bits` is the number of address bits in use (VA size).
void arm_address_format(const struct arm_cpu *c, uint64_t ptr, bool instruction, bool *tbi,
                        unsigned *bits);
