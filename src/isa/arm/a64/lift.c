// One A64 instruction to IR or to text: what stands before its execution (alignment of the pc,
// illegal state, breakpoints, software step), decoding, and instructions the CPU model lacks.
#include "isa/arm/a64/lift.h"
#include "isa/arm/arm_bits.h"

#include <stdio.h>

// ---- debug events before an instruction (DDI 0487, D2) ----

// Does the level filter of a breakpoint (PMC, HMC) include `el`? The security filter (SSC) is not
// looked at.
static bool level_matches(uint64_t bcr, unsigned el)
{
    unsigned pmc = bits(bcr, 2, 1);
    bool higher = bit(bcr, 13);
    if (el == 0)
        return pmc & 2;
    if (el == 1)
        return pmc & 1;
    return higher && (el == 2 || pmc == 1);
}

// Address breakpoints only: context breakpoints, linked or not, never match.
static bool breakpoint_hit(const struct lift *l)
{
    const struct arm_cpu *c = arm_cpu(l->env);
    for (unsigned n = 0; n < ARRAY_SIZE(c->dbgbcr); n++) {
        uint64_t bcr = c->dbgbcr[n];
        if ((bcr & 1) && bits(bcr, 23, 20) == 0 && level_matches(bcr, a64_el(l)) &&
            ((c->dbgbvr[n] ^ l->pc) & mask_low(49) & ~3ull) == 0)
            return true;
    }
    return false;
}

static void step_done(struct env *e)
{
    arm_cpu(e)->ss = false;
    arm_cpu(e)->stepped = true;
    arm_state_changed(arm_cpu(e));
}
static const struct ir_helper helper_step_done = {"step_done", (void *)step_done, HELPER_STATE,
                                                  IR_VOID};

// ISV says that the step was of an instruction just executed; EX, that it was a load-exclusive, is
// left clear.
static void step_exception(struct env *e)
{
    struct arm_cpu *c = arm_cpu(e);
    unsigned target = MAX(arm_debug_target(c), (unsigned)c->el);
    unsigned ec = target > c->el ? EC_STEP_LOWER : EC_STEP;
    arm_take_exception(c, target, ESR_MAKE(ec, (c->stepped ? 1 << 24 : 0) | 0x22), NULL, c->pc);
    e->exec->leave(e, LEAVE_AGAIN);
}
static const struct ir_helper helper_step_exception = {"step_exception", (void *)step_exception,
                                                       HELPER_STATE, IR_VOID};

static void lift_step_exception(struct lift *l)
{
    ir_call0(l->b, &helper_step_exception);
    ir_leave(l->b, LEAVE_AGAIN, l->pc);
}

// True when the instruction is not to be executed.
static bool event_before(struct lift *l)
{
    if (l->pc & 3)
        arm_lift_exception(l, ESR_MAKE(EC_PC_ALIGN, 0));
    else if ((l->mode & ARM_MODE_STEP_ACTIVE) && !(l->mode & ARM_MODE_SS))
        lift_step_exception(l);
    else if ((l->mode & ARM_MODE_HW_BREAK) && breakpoint_hit(l))
        arm_lift_exception(l, ESR_MAKE(EC_BREAK, 0x22));
    else if (l->mode & ARM_MODE_IL)
        arm_lift_exception(l, ESR_MAKE(EC_ILLEGAL, 0));
    else
        return false;
    return true;
}

static void lift_decoded(struct lift *l, const struct a64_insn *i)
{
    const struct decode_info *info = &a64_info[i->id];
    if (!i->id || (info->feature && !a64_has(l, (enum arm_feature)(info->feature - 1))))
        arm_lift_undefined(l);
    else
        a64_lifts[i->id](l, i);
}

void arm_lift(struct lift *l)
{
    struct a64_insn i;
    if (l->avail < 4) {
        l->length = 0;
        return;
    }
    l->length = 4;
    if (event_before(l))
        return;
    if (l->mode & ARM_MODE_COUNT)
        ir_put(l->b, ARM_INSNS, ir_addi(l->b, ir_get(l->b, ARM_INSNS), 1));
    a64_decode32(ld_le32(l->code), &i);
    if (arm_lift_landing(l, &i))
        return;
    if (!(l->mode & ARM_MODE_STEP_ACTIVE)) {
        lift_decoded(l, &i);
        return;
    }
    // The step is over once the instruction has completed: a load or store may still fault and be
    // stepped again; the others may end the region themselves.
    bool access = i.id && strcmp(a64_info[i.id].group, "Loads and stores") == 0;
    if (!access)
        ir_call0(l->b, &helper_step_done);
    lift_decoded(l, &i);
    if (access)
        ir_call0(l->b, &helper_step_done);
}

unsigned arm_disas(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n)
{
    struct disas_out o = {.text = out, .size = n, .pc = pc};
    struct a64_insn i;
    if (avail < 4)
        return 0;
    uint32_t w = ld_le32(code);
    if (a64_decode32(w, &i))
        a64_disas(&o, &i);
    else
        disas_printf(&o, ".inst   0x%08x", w);
    return 4;
}
