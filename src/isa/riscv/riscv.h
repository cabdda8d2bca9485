// State of a RISC-V hart (RISC-V Instruction Set Manual, volumes I and II, 20240411) and what the
// files of this folder share: slots, mode bits, extensions, exceptions and control registers.
#pragma once

#include "base/bits.h"
#include "isa/isa.h"

// Guest slots: values the translator keeps in host registers.
enum rv_slot {
    RV_X0 = 0, // x0..x31; x0 is never written
    RV_PC = 32,
    RV_F0 = 33, // f0..f31, F64; narrower values are NaN-boxed
    RV_V0 = 65, // the vector registers in pieces of 16 bytes, as far as VLEN 256 has them
    RV_V_SLOTS = 64,
    RV_INSNS = RV_V0 + RV_V_SLOTS, // instructions begun in regions of RV_MODE_COUNT
    RV_SLOTS,
};
enum { RV_VLENB_MIN = 16, RV_VLENB_MAX = 128 };

enum rv_priv { RV_U = 0, RV_S = 1, RV_M = 3 };

// env_isa_ops.mode: everything besides pc that the meaning of code depends on. Bits 16 and up are
// the vector unit's.
enum {
    RV_MODE_RM_INVALID = 1 << 0, // fcsr.frm is reserved: dynamic rounding is illegal
    RV_MODE_PRIV_SHIFT = 1,      // enum rv_priv
    RV_MODE_PRIV = 3 << RV_MODE_PRIV_SHIFT,
    RV_MODE_VIRT = 1 << 3,     // V=1: in a virtual machine
    RV_MODE_FS_OFF = 1 << 4,   // floating-point instructions are illegal
    RV_MODE_FS_CLEAN = 1 << 5, // on, but xstatus.FS does not say dirty yet
    RV_MODE_VS_OFF = 1 << 6,   // vector instructions are illegal
    RV_MODE_VS_CLEAN = 1 << 7,
    RV_MODE_RM_AWAY = 1 << 8, // frm rounds ties away from zero, which few hosts can
    RV_MODE_COUNT = 1 << 9,   // instructions are counted
    RV_MODE_32 = 1 << 10,     // XLEN is 32
    RV_MODE_PMM_SHIFT = 11,   // pointer masking of data accesses: enum rv_pmm ...
    RV_MODE_PMM = 3 << RV_MODE_PMM_SHIFT,
    RV_MODE_PMM_ZERO = 1 << 13, // ... where addresses are not translated
    // vtype and vl (bit numbers): SEW and LMUL as encoded, 1 + log2 of vl's bytes where they are a
    // power of two, vstart != 0; how fixed point rounds (vxrm).
    RV_MODE_VSEW = 16,
    RV_MODE_VLMUL = 18,
    RV_MODE_VILL = 21,
    RV_MODE_VBYTES = 22,
    RV_MODE_VSTART = 26,
    RV_MODE_VXRM = 27,
    RV_MODE_VECTOR = 0x7ff << 16,
};

// A field PMM: how many high bits of an address are ignored.
enum rv_pmm { RV_PMM_NONE = 0, RV_PMM_7 = 2, RV_PMM_16 = 3 };
static inline unsigned rv_pmm_bits(enum rv_pmm pmm)
{
    return pmm == RV_PMM_7 ? 7 : pmm == RV_PMM_16 ? 16 : 0;
}

// Parts of the architecture, each with its -cpu property: a line of features.def.
enum rv_feature {
#define FEATURE(name, ...) RV_FEAT_##name,
#include "isa/riscv/features.def"
#undef FEATURE
    RV_FEATURES,
};

// Exception codes (mcause, volume II).
enum rv_cause {
    RV_CAUSE_FETCH_MISALIGNED = 0,
    RV_CAUSE_FETCH_ACCESS = 1,
    RV_CAUSE_ILLEGAL = 2,
    RV_CAUSE_BREAKPOINT = 3,
    RV_CAUSE_LOAD_MISALIGNED = 4,
    RV_CAUSE_LOAD_ACCESS = 5,
    RV_CAUSE_STORE_MISALIGNED = 6,
    RV_CAUSE_STORE_ACCESS = 7,
    RV_CAUSE_ECALL_U = 8,
    RV_CAUSE_ECALL_S = 9, // HS with H
    RV_CAUSE_ECALL_VS = 10,
    RV_CAUSE_ECALL_M = 11,
    RV_CAUSE_FETCH_PAGE = 12,
    RV_CAUSE_LOAD_PAGE = 13,
    RV_CAUSE_STORE_PAGE = 15,
    RV_CAUSE_FETCH_GUEST_PAGE = 20,
    RV_CAUSE_LOAD_GUEST_PAGE = 21,
    RV_CAUSE_VIRTUAL = 22, // virtual instruction
    RV_CAUSE_STORE_GUEST_PAGE = 23,
};
// env_fault.kind is 1 + the cause, with bits above; info is the cause, and the address that faulted
// (with a guest page fault: the guest-physical one).
enum {
    RV_FAULT_GVA = 1 << 8,             // the address is a virtual machine's
    RV_FAULT_IMPLICIT = 1 << 9,        // on the way through its page tables: a read ...
    RV_FAULT_IMPLICIT_WRITE = 1 << 10, // ... or a write
};
#define RV_FAULT_EXCEPTION (1u << 31) // not a memory access

// Interrupt numbers: bits of mip, and the hart's input lines.
enum rv_interrupt {
    RV_INT_SSI = 1,
    RV_INT_VSSI = 2,
    RV_INT_MSI = 3,
    RV_INT_STI = 5,
    RV_INT_VSTI = 6,
    RV_INT_MTI = 7,
    RV_INT_SEI = 9,
    RV_INT_VSEI = 10,
    RV_INT_MEI = 11,
    RV_INT_SGEI = 12,
    RV_INT_LCOFI = 13, // a performance counter has overflowed
    RV_LINES = 16,
    RV_LINE_GUEST = 16, // guest external interrupt 1 is this line + 1
    RV_GUESTS = 7,      // GEILEN, unless an IMSIC has fewer guest files
};

enum { RV_HPM_COUNTERS = 16, RV_PMP_ENTRIES = 16, RV_TIMEBASE_HZ = 10000000, RV_CACHE_BLOCK = 64 };

// Interrupt files in the system-register space (system/aia.c), as device/irqchip/riscv/imsic.h maps
// them.
enum { RV_IMSIC_STRIDE = 0x2000 };

// One stage of a privilege level's trap handling and translation: the supervisor's registers, which
// a virtual machine has a second set of.
struct rv_super {
    uint64_t tvec, scratch, epc, cause, tval, atp, timecmp, iselect;
};

struct rv_cpu {
    struct env env;
    // slots
    uint64_t x[32], pc, insns;
    uint64_t f[32];
    uint8_t v[32 * RV_VLENB_MAX] __attribute__((aligned(16))); // register n at n * vlenb

    uint64_t vl, vtype, vstart;
    uint8_t vxrm;
    bool vxsat;
    uint16_t vlenb;
    uint32_t frm;                               // fcsr.frm as written
    uint64_t features[(RV_FEATURES + 63) / 64]; // bit set of enum rv_feature
    bool debug_step;                            // the debugger steps this hart
    bool rv32;                                  // XLEN is 32 at machine level, and so everywhere
    uint8_t imsic_files, guests;                // interrupt files there are; GEILEN
    struct {                                    // filled for saving
        uint32_t fcsr;
        uint16_t vlenb;
        uint64_t features[(RV_FEATURES + 63) / 64];
    } saved;
    struct {                   // the CSR instruction under way
        uint64_t old, touched; // what it read; the bits it may change
        bool has_old;
    } csr_access;
    struct isa_config config;

    // From here to `timers` everything is cleared by a reset.
    uint8_t priv; // enum rv_priv
    bool virt;
    bool narrow; // XLEN is 32 at this level: x registers are sign-extended, addresses have 32 bits
    uint64_t mstatus, mtvec, mscratch, mepc, mcause, mtval, mtval2, mtinst;
    uint64_t mie, mip; // mip: the bits software writes; lines and timers are added when read
    uint64_t medeleg, mideleg, mcounteren, mcountinhibit, menvcfg;
    struct rv_super s, vs;
    uint64_t scounteren, senvcfg, mseccfg;
    uint64_t vsstatus, hstatus, hedeleg, hideleg, hcounteren, henvcfg, htimedelta, htval, htinst,
        hgatp, hgeie;
    uint64_t mstateen[4], hstateen[4], sstateen[4];
    struct { // Smaia, Ssaia (system/aia.c)
        uint64_t miselect, mvien, mvip, hvictl, hviprio1;
        uint64_t sie;         // bits of sie that mvien adds
        uint64_t iprio[2][2]; // of machine and supervisor level: a byte for each interrupt
    } aia;
    uint64_t mcycle_base;   // added to the clock; the value while inhibited
    uint64_t minstret_base; // added to insns once they are counted, to the clock before
    bool insns_wanted;      // somebody has looked at instret
    struct {                // system/pmu.c
        uint64_t event[RV_HPM_COUNTERS], count[RV_HPM_COUNTERS];
        uint64_t seen_cycles, seen_insns; // up to where they have been counted ...
        uint8_t priv;                     // ... and at which level since
        bool virt, active, wants_insns;
    } pmu;
    uint64_t pmpaddr[RV_PMP_ENTRIES];
    uint8_t pmpcfg[RV_PMP_ENTRIES];
    struct {
        uint64_t first, last; // bytes; first > last: off
    } pmp_range[RV_PMP_ENTRIES];
    struct {
        gpa_t pa;
        unsigned priv;
    } judged;       // by the last translation: what rv_watch looks at whole
    bool for_guest; // a load or store for the virtual machine (HLV, HSV) is under way

    struct rv_timer {
        struct loop_timer timer;
        struct rv_cpu *cpu;
    } timers[2]; // stimecmp, vstimecmp
    struct loop_timer pmu_timer;
    _Atomic uint64_t lines; // levels by enum rv_interrupt; STI and VSTI are the timers'
    uint64_t mode_cache;
};

static inline struct rv_cpu *rv_cpu(struct env *e)
{
    return (struct rv_cpu *)e;
}
// The address of a data access, as the hart runs, out of a computed one.
static inline uint64_t rv_address_of(const struct rv_cpu *c, uint64_t va)
{
    unsigned n = rv_pmm_bits((c->mode_cache & RV_MODE_PMM) >> RV_MODE_PMM_SHIFT);
    if (c->narrow)
        return (uint32_t)va;
    return c->mode_cache & RV_MODE_PMM_ZERO ? va << n >> n : (uint64_t)((int64_t)(va << n) >> n);
}
static inline bool rv_has(const struct rv_cpu *c, enum rv_feature f)
{
    return c->features[f / 64] >> f % 64 & 1;
}

extern const struct ir_guest rv_guest;
extern const struct isa isa_riscv32, isa_riscv64;
extern const struct isa_model rv_models[], rv32_models[];

// -cpu: the model and its properties (model.c).
int rv_model_apply(struct rv_cpu *c, const char *name, struct opts *features, struct err *e);
// An extension that the machine around the hart brings with it.
void rv_model_add(struct rv_cpu *c, enum rv_feature f);
// "rv64imafdc_zicntr_...", as device trees and /proc/cpuinfo write it. Cut at the end of the
// buffer.
void rv_isa_string(const struct rv_cpu *c, char *out, size_t size);
// The names alone, each with its terminating zero, as "riscv,isa-extensions" lists them; how many
// bytes they take.
size_t rv_isa_extensions(const struct rv_cpu *c, char *out, size_t size);

// One instruction to IR, and to text (rv/lift.c).
void rv_lift(struct lift *l);
unsigned rv_disas_insn(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n);
unsigned rv32_disas_insn(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n);

// ---- control registers (csr.c; the table is csrs.def) ----

enum rv_csr_number {
    RV_CSR_FFLAGS = 0x001,
    RV_CSR_FRM = 0x002,
    RV_CSR_FCSR = 0x003,
    RV_CSR_SSTATUS = 0x100,
    RV_CSR_SCAUSE = 0x142,
    RV_CSR_SATP = 0x180,
    RV_CSR_VSSTATUS = 0x200,
    RV_CSR_VSCAUSE = 0x242,
    RV_CSR_VSATP = 0x280,
    RV_CSR_MSTATUS = 0x300,
    RV_CSR_MCAUSE = 0x342,
    RV_CSR_HGATP = 0x680,
    RV_CSR_MIP = 0x344,
    RV_CSR_MIREG = 0x351,
    RV_CSR_MTOPEI = 0x35c,
    RV_CSR_VSIREG = 0x251,
    RV_CSR_VSTOPEI = 0x25c,
    RV_CSR_VSTART = 0x008,
    RV_CSR_VXSAT = 0x009,
    RV_CSR_VXRM = 0x00a,
    RV_CSR_VCSR = 0x00f,
    RV_CSR_VL = 0xc20,
    RV_CSR_VTYPE = 0xc21,
    RV_CSR_VLENB = 0xc22,
};
const char *rv_csr_name(unsigned csr); // NULL: there is none of that number
// Without any check of privilege: for debuggers, signal frames and tests. False: this hart has no
// such register, or it cannot be written.
bool rv_csr_read(struct rv_cpu *c, unsigned csr, uint64_t *v);
bool rv_csr_write(struct rv_cpu *c, unsigned csr, uint64_t v);

// ---- vectors (vec/config.c) ----

uint64_t rv_vmode(const struct rv_cpu *c);                 // the mode bits of the current state
bool rv_vtype_ok(const struct rv_cpu *c, uint64_t vtype);  // one that does not set vill
uint64_t rv_vlmax(const struct rv_cpu *c, uint64_t vtype); // of one that is

// ---- exceptions (system/trap.c) ----

// Raise a synchronous exception at the pc; state must be exact. Does not return: a user-mode hart
// leaves with LEAVE_SIGNAL, a machine's is in its handler.
_Noreturn void rv_raise(struct rv_cpu *c, enum rv_cause cause, uint64_t tval);
