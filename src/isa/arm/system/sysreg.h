// The system-register table, as sysreg.c builds it from sysregs.def; sysreg_access.c obeys it and
// lift_system.c reads it.
#pragma once

#include "isa/arm/arm_bits.h"

// KEY_name of each row.
#define REG(name, o0, o1, n, m, o2, ...) KEY_##name = ARM_SYSREG(o0, o1, n, m, o2),
enum {
#include "isa/arm/system/sysregs.def"
};
#undef REG

enum arm_sysreg_kind { SR_PLAIN, SR_STATE, SR_SLOT, SR_CONST, SR_CALL, SR_EL12 };
struct arm_sysreg {
    uint32_t key;
    const char *name;
    uint8_t read_el, write_el; // lowest level that may; 4: none
    uint8_t kind;
    uint16_t offset; // PLAIN, STATE: from struct arm_cpu; SLOT: the slot
    uint64_t mask;   // writable bits
    uint64_t (*get)(struct arm_cpu *c);
    void (*set)(struct arm_cpu *c, uint64_t v);
    uint32_t alias; // EL12
};

// The register that `key` names at this level (E2H redirection and debug arrays resolved); NULL
// when the CPU has none.
const struct arm_sysreg *arm_sysreg_find(uint32_t key, unsigned el, bool e2h);
// Read or write as an instruction does, checks and traps included. False: an exception was taken
// instead.
bool arm_sysreg_access(struct arm_cpu *c, bool read, uint32_t key, unsigned rt, uint64_t *v);
// op0 = 1: cache, TLB and address translation operations. False: an exception was taken.
bool arm_sys_operation(struct arm_cpu *c, uint32_t key, unsigned rt, uint64_t v);
void arm_set_daif(struct arm_cpu *c, uint64_t v);
void arm_sysreg_undefined(struct arm_cpu *c);
// Trap to `el` with the syndrome of a trapped MSR, MRS or SYS.
void arm_sysreg_trap(struct arm_cpu *c, unsigned el, bool read, uint32_t key, unsigned rt);
