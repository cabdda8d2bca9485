// State of a RISC-V hart (RISC-V Instruction Set Manual, volume I, 20240411) and what the files of
// this folder share: slots, mode bits, extensions, exceptions and control registers.
#pragma once

#include "base/bits.h"
#include "isa/isa.h"

// Guest slots: values the translator keeps in host registers.
enum rv_slot {
    RV_X0 = 0, // x0..x31; x0 is never written
    RV_PC = 32,
    RV_F0 = 33, // f0..f31, F64; narrower values are NaN-boxed
    RV_SLOTS = 65,
};

// env_isa_ops.mode.
enum {
    RV_MODE_RM_INVALID = 1 << 0, // fcsr.frm is reserved: dynamic rounding is illegal
};

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
};
// env_fault.kind is 1 + the cause; for exceptions that are not memory accesses this bit is set too.
#define RV_FAULT_EXCEPTION (1u << 31)

struct rv_cpu {
    struct env env;
    // slots
    uint64_t x[32], pc;
    uint64_t f[32];

    uint8_t frm;                                // fcsr.frm as written
    uint64_t features[(RV_FEATURES + 63) / 64]; // bit set of enum rv_feature
    bool debug_step;                            // the debugger steps this hart
    struct isa_config config;
};

static inline struct rv_cpu *rv_cpu(struct env *e)
{
    return (struct rv_cpu *)e;
}
static inline bool rv_has(const struct rv_cpu *c, enum rv_feature f)
{
    return c->features[f / 64] >> f % 64 & 1;
}

extern const struct ir_guest rv_guest;
extern const struct isa isa_riscv64;
extern const struct isa_model rv_models[];

// -cpu: the model and its properties (model.c).
int rv_model_apply(struct rv_cpu *c, const char *name, struct opts *features, struct err *e);
// "rv64imafdc_zicntr_...", as device trees and /proc/cpuinfo write it. Cut at the end of the
// buffer.
void rv_isa_string(const struct rv_cpu *c, char *out, size_t size);

// One instruction to IR, and to text (rv/lift.c).
void rv_lift(struct lift *l);
unsigned rv_disas_insn(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n);

// ---- control registers (csr.c) ----

enum rv_csr {
    RV_CSR_FFLAGS = 0x001,
    RV_CSR_FRM = 0x002,
    RV_CSR_FCSR = 0x003,
    RV_CSR_CYCLE = 0xc00,
    RV_CSR_TIME = 0xc01,
    RV_CSR_INSTRET = 0xc02,
};
const char *rv_csr_name(unsigned csr); // NULL: none that exists here
// False: no such register at this privilege, or it cannot be written.
bool rv_csr_read(struct rv_cpu *c, unsigned csr, uint64_t *v);
bool rv_csr_write(struct rv_cpu *c, unsigned csr, uint64_t v);

// ---- exceptions (exception.c) ----

// Raise a synchronous exception at the pc; state must be exact. Does not return.
_Noreturn void rv_raise(struct rv_cpu *c, enum rv_cause cause, uint64_t tval);
extern const struct env_isa_ops rv_ops;
