// The state of an AArch64 vCPU between the kernel and `struct arm_cpu`: core registers by their
// place in the kernel's structure, vectors, and every system register that the kernel lists. Where
// one is kept in the CPU's state, its table of system registers says (arm_sysreg_storage); what it
// does not know is kept here, so that nothing the kernel names is lost. Writing moves only what
// changed. Not yet: SVE. None of this has run so far.
#include "accel/kvm/arm64.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int kvm_arm_one_reg(struct kvm_vcpu *v, bool set, uint64_t id, void *value)
{
    struct kvm_one_reg r = {.id = id, .addr = (uintptr_t)value};
    return kvm_ioctl(v->fd, set ? KVM_SET_ONE_REG : KVM_GET_ONE_REG, &r);
}

#define CORE(size, member)                                                                         \
    (KVM_REG_ARM64 | KVM_REG_SIZE_##size | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(member))

// ---- core registers ----

enum { SP_EL0 = 31, PC, PSTATE, SP_EL1, ELR_EL1, SPSR_EL1 };
_Static_assert(SPSR_EL1 + 1 == KVM_ARM_CORE, "one place each");

static uint64_t core_id(unsigned i)
{
    switch (i) {
    case SP_EL0:
        return CORE(U64, regs.sp);
    case PC:
        return CORE(U64, regs.pc);
    case PSTATE:
        return CORE(U64, regs.pstate);
    case SP_EL1:
        return CORE(U64, sp_el1);
    case ELR_EL1:
        return CORE(U64, elr_el1);
    case SPSR_EL1:
        return CORE(U64, spsr[0]);
    default:
        return CORE(U64, regs.regs[0]) + 2 * i;
    }
}

// The stack pointer of a level lies in its bank, unless it is the current one.
static uint64_t *stack_pointer(struct arm_cpu *c, unsigned el)
{
    if (el == (c->spsel ? c->el : 0u))
        return &c->sp;
    return el ? &c->sp_el[el] : &c->sp_el0;
}

static void core_to_cpu(struct arm_cpu *c, const uint64_t *core)
{
    memcpy(c->x, core, sizeof c->x);
    arm_set_pstate(c, core[PSTATE]);
    *stack_pointer(c, 0) = core[SP_EL0];
    *stack_pointer(c, 1) = core[SP_EL1];
    c->pc = core[PC];
    c->elr[1] = core[ELR_EL1];
    c->spsr[1] = core[SPSR_EL1];
}

static void core_of_cpu(struct arm_cpu *c, uint64_t *core)
{
    memcpy(core, c->x, sizeof c->x);
    core[PSTATE] = arm_pstate(c);
    core[SP_EL0] = *stack_pointer(c, 0);
    core[SP_EL1] = *stack_pointer(c, 1);
    core[PC] = c->pc;
    core[ELR_EL1] = c->elr[1];
    core[SPSR_EL1] = c->spsr[1];
}

// ---- system registers ----

// The virtual counter's offset and comparator have each other's numbers there, for history's sake.
static uint32_t key_of(uint64_t id)
{
    if (id == KVM_REG_ARM_TIMER_CVAL)
        return (uint32_t)KVM_REG_ARM_TIMER_CNT & 0xffff;
    return id == KVM_REG_ARM_TIMER_CNT ? (uint32_t)KVM_REG_ARM_TIMER_CVAL & 0xffff
                                       : (uint32_t)id & 0xffff;
}

static uint64_t *timer_field(struct arm_cpu *c, uint64_t id)
{
    return id == KVM_REG_ARM_TIMER_CTL     ? &c->timers[ARM_TIMER_VIRT].ctl
           : id == KVM_REG_ARM_TIMER_CVAL  ? &c->timers[ARM_TIMER_VIRT].cval
           : id == KVM_REG_ARM_PTIMER_CTL  ? &c->timers[ARM_TIMER_PHYS].ctl
           : id == KVM_REG_ARM_PTIMER_CVAL ? &c->timers[ARM_TIMER_PHYS].cval
                                           : NULL;
}

static bool is_sysreg(uint64_t id)
{
    return (id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SYSREG &&
           (id & KVM_REG_SIZE_MASK) == KVM_REG_SIZE_U64;
}

static uint64_t *value_of(struct kvm_arm_reg *r)
{
    return r->in_cpu ? r->in_cpu : &r->own;
}

int kvm_arm_regs_open(struct kvm_vcpu *v, struct err *e)
{
    struct kvm_reg_list none = {0};
    struct arm_cpu *c = arm_cpu(kvm_env(v));
    kvm_ioctl(v->fd, KVM_GET_REG_LIST, &none); // says how many there are, and that it is too short
    struct kvm_reg_list *list = xalloc(sizeof *list + (size_t)none.n * sizeof list->reg[0]);
    list->n = none.n;
    if (kvm_ioctl(v->fd, KVM_GET_REG_LIST, list)) {
        int error = errno;
        free(list);
        return err_errno(e, error, "KVM_GET_REG_LIST");
    }
    for (uint64_t i = 0; i < list->n; i++) {
        uint64_t id = list->reg[i];
        if (!is_sysreg(id))
            continue;
        uint64_t *timer = timer_field(c, id);
        vec_push(&kvm_arm_vcpu(v)->regs,
                 (struct kvm_arm_reg){.id = id,
                                      .in_cpu = timer ? timer : arm_sysreg_storage(c, key_of(id))});
    }
    free(list);
    return 0;
}

// ---- all ----

#define VECTOR_STEP                                                                                \
    (KVM_REG_ARM_CORE_REG(fp_regs.vregs[1]) - KVM_REG_ARM_CORE_REG(fp_regs.vregs[0]))

static int pull_vectors(struct kvm_vcpu *v, struct arm_cpu *c)
{
    struct kvm_arm_vcpu *a = kvm_arm_vcpu(v);
    for (unsigned i = 0; i < 32; i++)
        if (kvm_arm_one_reg(v, false, CORE(U128, fp_regs.vregs[0]) + VECTOR_STEP * i, &c->v[i]))
            return -1;
    memcpy(a->vectors, c->v, sizeof a->vectors);
    if (kvm_arm_one_reg(v, false, CORE(U32, fp_regs.fpsr), &a->fpsr) ||
        kvm_arm_one_reg(v, false, CORE(U32, fp_regs.fpcr), &a->fpcr))
        return -1;
    c->fpcr = a->fpcr;
    return 0;
}

void kvm_arch_pull(struct kvm_vcpu *v)
{
    struct kvm_arm_vcpu *a = kvm_arm_vcpu(v);
    struct arm_cpu *c = arm_cpu(kvm_env(v));
    int failed = 0;
    for (unsigned i = 0; i < KVM_ARM_CORE; i++)
        failed |= kvm_arm_one_reg(v, false, core_id(i), &a->core[i]);
    core_to_cpu(c, a->core);
    failed |= pull_vectors(v, c);
    for (size_t i = 0; i < a->regs.len; i++) {
        struct kvm_arm_reg *r = &a->regs.data[i];
        failed |= kvm_arm_one_reg(v, false, r->id, &r->pulled);
        *value_of(r) = r->pulled;
    }
    arm_state_changed(c);
    a->valid = true;
    if (failed)
        log_warn("-accel kvm: some of a vCPU's registers cannot be read: %s", strerror(errno));
}

static int push_vectors(struct kvm_vcpu *v, struct arm_cpu *c)
{
    struct kvm_arm_vcpu *a = kvm_arm_vcpu(v);
    for (unsigned i = 0; i < 32; i++)
        if (memcmp(&a->vectors[i], &c->v[i], sizeof c->v[i]) &&
            kvm_arm_one_reg(v, true, CORE(U128, fp_regs.vregs[0]) + VECTOR_STEP * i, &c->v[i]))
            return -1;
    memcpy(a->vectors, c->v, sizeof a->vectors);
    if (a->fpcr != c->fpcr && kvm_arm_one_reg(v, true, CORE(U32, fp_regs.fpcr), &c->fpcr))
        return -1;
    a->fpcr = c->fpcr;
    return 0;
}

// Identification registers that a kernel does not let us change stay as it has them.
int kvm_arch_push(struct kvm_vcpu *v, struct err *e)
{
    struct kvm_arm_vcpu *a = kvm_arm_vcpu(v);
    struct arm_cpu *c = arm_cpu(kvm_env(v));
    uint64_t core[KVM_ARM_CORE];
    core_of_cpu(c, core);
    for (unsigned i = 0; i < KVM_ARM_CORE; i++)
        if ((!a->valid || core[i] != a->core[i]) && kvm_arm_one_reg(v, true, core_id(i), &core[i]))
            return err_errno(e, errno, "the kernel does not take a vCPU's registers");
    memcpy(a->core, core, sizeof core);
    if (push_vectors(v, c))
        return err_errno(e, errno, "the kernel does not take a vCPU's vector registers");
    for (size_t i = 0; i < a->regs.len; i++) {
        struct kvm_arm_reg *r = &a->regs.data[i];
        uint64_t value = *value_of(r);
        if (value != r->pulled && kvm_arm_one_reg(v, true, r->id, &value))
            log_debug("the kernel does not take register 0x%" PRIx64 ": %s", r->id,
                      strerror(errno));
        r->pulled = value;
    }
    a->valid = true;
    return 0;
}

void kvm_arch_describe(struct kvm_vcpu *v, struct buf *out)
{
    static const char *const names[] = {
        [PC] = "pc",         [PSTATE] = "pstate",   [SP_EL0] = "sp_el0",
        [SP_EL1] = "sp_el1", [ELR_EL1] = "elr_el1", [SPSR_EL1] = "spsr_el1"};
    for (unsigned i = 0; i < KVM_ARM_CORE; i++) {
        uint64_t value = 0;
        kvm_arm_one_reg(v, false, core_id(i), &value);
        if (i < SP_EL0)
            buf_printf(out, "x%u %" PRIx64 " ", i, value);
        else
            buf_printf(out, "%s %" PRIx64 "%s", names[i], value, i + 1 < KVM_ARM_CORE ? " " : "");
    }
}
