// SYS instructions: cache maintenance, TLB maintenance, address translation, DC ZVA. DDI 0487, C5.3
// to C5.5. Caches are not modelled: maintenance checks its permissions and its address, and
// translated code follows stores by itself.
#include "base/log.h"
#include "isa/arm/system/sysreg.h"

// Cache operations by virtual address check that the address could be read, as the architecture
// does for EL0.
static bool touch(struct arm_cpu *c, uint64_t va)
{
    struct env_xlat x;
    struct env_fault f;
    if (c->env.isa->translate(&c->env, va, ENV_READ, 0, &x, &f) == 0)
        return true;
    f.size = 0;
    f.access = ENV_WRITE; // maintenance reports WnR set; CM is in the kind
    f.kind |= 1 << 9;
    c->env.isa->take_fault(&c->env, &f);
    return false;
}

static bool el0_allowed(struct arm_cpu *c, uint64_t sctlr_bit, uint32_t key, unsigned rt)
{
    if (c->el || (c->sctlr[arm_regime_el(c)] & sctlr_bit))
        return true;
    arm_sysreg_trap(c, arm_sync_target(c), false, key, rt);
    return false;
}

static bool el2_allowed(struct arm_cpu *c, uint64_t hcr_bit, uint32_t key, unsigned rt)
{
    if (c->el >= 2 || !(arm_hcr(c) & hcr_bit))
        return true;
    arm_sysreg_trap(c, 2, false, key, rt);
    return false;
}

static bool cache_operation(struct arm_cpu *c, uint32_t key, unsigned rt, uint64_t v)
{
    unsigned op1 = bits(key, 13, 11), crm = bits(key, 6, 3), op2 = key & 7;
    if (op1 == 3 && crm == 4 && op2 == 1) { // DC ZVA
        if (!el0_allowed(c, SCTLR_DZE, key, rt) || !el2_allowed(c, HCR_TDZ, key, rt))
            return false;
        unsigned size = 4u << (c->dczid & 15);
        if (v & (size - 1)) // a fault names the address as given
            c->env.exec->store(&c->env, v, 0, MO_8);
        c->env.exec->zero(&c->env, v & ~(uint64_t)(size - 1), size, 0);
        return true;
    }
    if (op1 == 3) { // IVAU, CVAC, CVAU, CVAP, CVADP, CIVAC: by address, usable at EL0
        bool known = (crm == 5 && op2 == 1) ||
                     ((crm == 10 || crm == 11 || crm == 14) && op2 == 1) ||
                     (crm == 12 && op2 == 1 && arm_has(c, ARM_FEAT_DPB)) ||
                     (crm == 13 && op2 == 1 && arm_has(c, ARM_FEAT_DPB2));
        if (!known) {
            arm_sysreg_undefined(c);
            return false;
        }
        if (!el0_allowed(c, SCTLR_UCI, key, rt) ||
            !el2_allowed(c, crm == 5 || crm == 11 ? HCR_TPU : HCR_TPCP, key, rt))
            return false;
        if (c->config.user_mode) { // the only sign that code was written
            if (crm == 5)
                c->env.exec->code_flush(&c->env, v & ~63ull, 64);
            return true;
        }
        return c->el ? true : touch(c, v);
    }
    bool known = op1 == 0 && ((crm == 1 && op2 == 0) || (crm == 5 && op2 == 0) ||
                              (crm == 6 && (op2 == 1 || op2 == 2)) || (crm == 10 && op2 == 2) ||
                              (crm == 14 && op2 == 2));
    if (!known || c->el == 0) {
        arm_sysreg_undefined(c);
        return false;
    }
    if (op2 == 2 && !el2_allowed(c, HCR_TSW, key, rt))
        return false;
    return crm == 6 && op2 == 1 ? touch(c, v) : true;
}

static bool address_translation(struct arm_cpu *c, uint32_t key, uint64_t v)
{
    unsigned op1 = bits(key, 13, 11), crm = bits(key, 6, 3), op2 = key & 7;
    bool known = (op1 == 0 && crm == 8 && op2 < 4) ||
                 (op1 == 0 && crm == 9 && op2 < 2 && arm_has(c, ARM_FEAT_PAN2)) ||
                 (op1 == 4 && crm == 8 && (op2 < 2 || op2 >= 4) && c->el >= 2) ||
                 (op1 == 6 && crm == 8 && op2 < 2 && c->el == 3);
    if (!known || c->el == 0) {
        arm_sysreg_undefined(c);
        return false;
    }
    arm_address_translate(c, key, v);
    return true;
}

static bool tlb_operation(struct arm_cpu *c, uint32_t key, unsigned rt, uint64_t v)
{
    unsigned op1 = bits(key, 13, 11), crm = bits(key, 6, 3);
    bool shape = crm == 3 || crm == 7 || (op1 == 4 && (crm == 0 || crm == 4));
    unsigned min = op1 == 0 ? 1 : op1 == 4 ? 2 : 3;
    if (!shape || (op1 != 0 && op1 != 4 && op1 != 6) || c->el < min) {
        arm_sysreg_undefined(c);
        return false;
    }
    if (!el2_allowed(c, HCR_TTLB, key, rt))
        return false;
    arm_tlbi(c, key, v);
    return true;
}

bool arm_sys_operation(struct arm_cpu *c, uint32_t key, unsigned rt, uint64_t v)
{
    switch (bits(key, 10, 7)) {
    case 7:
        if (bits(key, 6, 3) == 8 || bits(key, 6, 3) == 9)
            return address_translation(c, key, v);
        return cache_operation(c, key, rt, v);
    case 8:
        return tlb_operation(c, key, rt, v);
    case 11:
    case 15: // implementation defined
        if (c->el)
            return true;
        break;
    default:
        break;
    }
    arm_sysreg_undefined(c);
    return false;
}
