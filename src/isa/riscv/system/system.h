// Bits of the privileged registers (RISC-V Instruction Set Manual, volume II, 20240411), and what
// the files of this folder share.
#pragma once

#include "isa/riscv/csr.h"

// mstatus, sstatus, vsstatus
#define RV_SIE       (1ull << 1)
#define RV_MIE       (1ull << 3)
#define RV_SPIE      (1ull << 5)
#define RV_MPIE      (1ull << 7)
#define RV_SPP       (1ull << 8)
#define RV_VS        (3ull << 9)
#define RV_MPP       (3ull << 11)
#define RV_FS        (3ull << 13)
#define RV_MPRV      (1ull << 17)
#define RV_SUM       (1ull << 18)
#define RV_MXR       (1ull << 19)
#define RV_TVM       (1ull << 20)
#define RV_TW        (1ull << 21)
#define RV_TSR       (1ull << 22)
#define RV_UXL       (2ull << 32) // 64 bits
#define RV_UXL_FIELD (3ull << 32)
#define RV_SXL       (2ull << 34)
#define RV_GVA       (1ull << 38)
#define RV_MPV       (1ull << 39)
#define RV_STATUS_SD (1ull << 63)
#define RV_MPP_SHIFT 11

// hstatus
#define RV_HGVA  (1ull << 6)
#define RV_HSPV  (1ull << 7)
#define RV_HSPVP (1ull << 8)
#define RV_HHU   (1ull << 9)
#define RV_VGEIN (0x3full << 12)
#define RV_VTVM  (1ull << 20)
#define RV_VTW   (1ull << 21)
#define RV_VTSR  (1ull << 22)
#define RV_VSXL  (2ull << 32)

// menvcfg, henvcfg, senvcfg
#define RV_FIOM  (1ull << 0)
#define RV_CBIE  (3ull << 4)
#define RV_CBCFE (1ull << 6)
#define RV_CBZE  (1ull << 7)
#define RV_ADUE  (1ull << 61)
#define RV_PBMTE (1ull << 62)
#define RV_STCE  (1ull << 63)

// ... and mseccfg; hstatus has the one of guest accesses from user level
#define RV_PMM       (3ull << 32)
#define RV_PMM_SHIFT 32
#define RV_HUPMM     (3ull << 48)

// mstateen0 and its kin
#define RV_STATEEN_SE     (1ull << 63) // the next level's stateen registers
#define RV_STATEEN_ENVCFG (1ull << 62)
#define RV_STATEEN_CSRIND (1ull << 60)
#define RV_STATEEN_AIA    (1ull << 59)
#define RV_STATEEN_IMSIC  (1ull << 58)
#define RV_STATEEN_P1P13  (1ull << 56) // hedelegh

// hvictl
#define RV_HVICTL_VTI    (1ull << 30)
#define RV_HVICTL_DPR    (1ull << 9)
#define RV_HVICTL_IPRIOM (1ull << 8)

// Interrupts by the level they are for.
#define RV_INTS_S  (1ull << RV_INT_SSI | 1ull << RV_INT_STI | 1ull << RV_INT_SEI)
#define RV_INTS_M  (1ull << RV_INT_MSI | 1ull << RV_INT_MTI | 1ull << RV_INT_MEI)
#define RV_INTS_VS (1ull << RV_INT_VSSI | 1ull << RV_INT_VSTI | 1ull << RV_INT_VSEI)
#define RV_INTS_HS (RV_INTS_VS | 1ull << RV_INT_SGEI)

// satp, vsatp, hgatp
enum { RV_BARE = 0, RV_SV32 = 1, RV_SV39 = 8, RV_SV48 = 9, RV_SV57 = 10 };
#define RV_ATP_MODE(v) ((unsigned)((v) >> 60))
#define RV_ATP_PPN(v)  ((v)&mask_low(44))

// ---- trap.c ----

// Enter the handler of a synchronous exception at c->pc, or of interrupt number `cause`.
enum rv_aia_level { RV_AIA_M, RV_AIA_S, RV_AIA_VS };
struct rv_trap {
    unsigned cause;
    bool interrupt;
    uint8_t level; // of an interrupt: enum rv_aia_level
    bool gva;      // tval is an address of the virtual machine's
    uint64_t tval, gpa, tinst;
};
// Volume II, 3.1.6.1 and 3.1.8, and the hypervisor extension's rules: into the level that the
// delegation registers leave it to.
void rv_trap_enter(struct rv_cpu *c, const struct rv_trap *t);
void rv_mret(struct rv_cpu *c); // that it is allowed has been checked
void rv_sret(struct rv_cpu *c);
// After any change to what mode(), translation contexts or interrupt masks depend on.
void rv_state_changed(struct rv_cpu *c);
void rv_fp_dirty(struct rv_cpu *c);  // floating-point state was written
void rv_vec_dirty(struct rv_cpu *c); // ... vector state
uint64_t rv_mode(struct env *e);

// ---- csr_machine.c ----

uint64_t
rv_super_ints(const struct rv_cpu *c);        // interrupts of this hart that may be a supervisor's
bool rv_counts_insns(const struct rv_cpu *c); // minstret counts, and somebody looks
void rv_insn_undone(struct rv_cpu *c);        // the one begun has not retired

// ---- pmu.c ----

void rv_pmu_init(struct rv_cpu *c);
void rv_pmu_exit(struct rv_cpu *c);
void rv_pmu_catch_up(struct rv_cpu *c); // before the level changes
void rv_pmu_loaded(struct rv_cpu *c);   // the counters came from elsewhere
void rv_pmu_inhibit(struct rv_cpu *c, uint64_t mcountinhibit);

// ---- interrupt.c ----

uint64_t rv_pending(struct rv_cpu *c); // mip as it reads
// Software writes the bits of mip in `mask`.
void rv_set_pending(struct rv_cpu *c, uint64_t mask, uint64_t v);
void rv_update_interrupts(struct rv_cpu *c); // after masks or pending bits changed
bool rv_take_interrupt(struct env *e);
bool rv_has_work(struct env *e);
struct irq rv_line(struct env *e, unsigned n);              // enum rv_interrupt
void rv_kick(struct rv_cpu *c);                             // look at interrupts; any thread
void rv_line_set(struct rv_cpu *c, unsigned n, bool level); // any thread

// ---- aia.c ----

void rv_aia_init(struct rv_cpu *c);
// The interrupts that are pending, enabled and for a level: M or S.
uint64_t rv_level_interrupts(struct rv_cpu *c, enum rv_aia_level level);
// The one to take first, -1: none. For VS as vscause numbers it.
int rv_first_interrupt(struct rv_cpu *c, enum rv_aia_level level);
// Bits of sip and sie that are machine level's to give (mvien), and those pending so.
uint64_t rv_injectable(const struct rv_cpu *c);
uint64_t rv_injected(const struct rv_cpu *c);
// Does mstateen0 and, in a virtual machine, hstateen0 let the hart at what `bit` stands for?
enum rv_access rv_state_enabled(const struct rv_cpu *c, uint64_t bit);

// ---- timer.c ----

enum { RV_TIMER_S, RV_TIMER_VS };
void rv_timers_init(struct rv_cpu *c);
void rv_timers_exit(struct rv_cpu *c);
uint64_t rv_time(struct rv_cpu *c);                 // the `time` counter
void rv_timer_update(struct rv_cpu *c, unsigned n); // after a compare value or the offset changed

// ---- mmu.c, pmp.c ----

// mmu: as the hart runs; as its virtual machine would, and that with execute permission in place of
// read permission (HLVX).
enum { MMU_CURRENT, MMU_GUEST, MMU_GUEST_CODE };
int rv_translate(struct env *e, gva_t va, enum env_access access, unsigned mmu,
                 struct env_xlat *out, struct env_fault *f);
void rv_bus_fault(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                  struct env_fault *f);
void rv_align_fault(struct env *e, gva_t va, enum env_access access, unsigned mo,
                    struct env_fault *f);
void rv_take_fault(struct env *e, const struct env_fault *f);
void rv_mmu_set_contexts(struct rv_cpu *c);
// Is `mode` a translation mode this hart has (enum of satp.MODE)?
bool rv_atp_mode_valid(const struct rv_cpu *c, unsigned mode);
enum rv_fence { RV_FENCE_VMA, RV_FENCE_VVMA, RV_FENCE_GVMA };
// `va` and `id` as the instruction gives them; the flags say whether they were given at all.
void rv_fence(struct rv_cpu *c, enum rv_fence kind, bool by_va, uint64_t va, bool by_id,
              uint64_t id);

// Permissions (ENV_*) of `size` bytes in a page at a privilege level, and in *span how far around
// them they are the same: 4096 when for the whole page.
unsigned rv_pmp_perms(const struct rv_cpu *c, gpa_t pa, unsigned size, unsigned priv,
                      uint64_t *span);
void rv_pmp_changed(struct rv_cpu *c);
void rv_flush_all(struct rv_cpu *c);                      // every translation of this hart
uint64_t rv_uxl_mask(const struct rv_cpu *c, uint64_t v); // what of UXL may become as in v
uint64_t rv_status_mask(const struct rv_cpu *c); // bits of sstatus that software may change
// Bits of an envcfg register for cache blocks that may become as in v: CBIE has a reserved value.
uint64_t rv_cache_mask(const struct rv_cpu *c, uint64_t v);
extern const struct env_isa_ops rv_ops;
