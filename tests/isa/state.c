// See state.h.
#include "state.h"

#include <signal.h>

#include "base/bits.h"

static void reg_access(struct arm_cpu *c, const char *name, void *value, bool set)
{
    for (unsigned n = 0; n < isa_aarch64.n_regs; n++) {
        const struct isa_reg *r = &isa_aarch64.regs[n];
        if (strcmp(r->name, name))
            continue;
        if (set)
            r->set(&c->env, r, value);
        else
            r->get(&c->env, r, value);
    }
}

void state_load(struct arm_cpu *c, const struct diff_state *s)
{
    uint32_t fpcr = s->fpcr, fpsr = s->fpsr;
    memcpy(c->x, s->x, sizeof c->x);
    memcpy(c->v, s->v, sizeof c->v);
    c->sp = s->sp;
    c->pc = s->pc;
    c->nzcv = flags_pack(bit(s->nzcv, 31), bit(s->nzcv, 30), bit(s->nzcv, 29), bit(s->nzcv, 28));
    reg_access(c, "fpcr", &fpcr, true);
    reg_access(c, "fpsr", &fpsr, true);
    c->env.monitor.addr = MONITOR_NONE;
    c->env.fault = (struct env_fault){0};
}

void state_store(struct arm_cpu *c, struct diff_state *s)
{
    *s = (struct diff_state){.sp = c->sp, .pc = c->pc};
    memcpy(s->x, c->x, sizeof s->x);
    memcpy(s->v, c->v, sizeof s->v);
    s->nzcv = (uint64_t)(c->nzcv >> PACK_N & 1) << 31 | (uint64_t)(c->nzcv >> PACK_Z & 1) << 30 |
              (uint64_t)(c->nzcv >> PACK_C & 1) << 29 | (uint64_t)(c->nzcv >> PACK_V & 1) << 28;
    reg_access(c, "fpsr", &s->fpsr, false);
    reg_access(c, "fpcr", &s->fpcr, false);
}

uint32_t state_signal(const struct arm_cpu *c, enum env_leave why)
{
    if (why != LEAVE_SIGNAL || c->env.fault.kind != ARM_FAULT_EXCEPTION)
        return SIGSEGV;
    return bits(c->env.fault.info[0], 31, 26) == EC_BRK ? SIGTRAP : SIGILL;
}

void region_build(struct ir_build *b, struct ir_region *r, const struct ir_switches *sw,
                  struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code, unsigned avail,
                  unsigned max_insns)
{
    ir_region_reset(r, &arm_guest, pc, mode);
    ir_build_begin(b, r, sw);
    pc = r->pc;
    uint64_t start = pc, end = pc;
    for (unsigned n = 0; n < max_insns && pc - start < avail; n++) {
        struct lift l = {.b = b, .env = e, .pc = pc, .mode = mode, .parallel = true};
        l.code = code + (pc - start);
        l.avail = avail - (unsigned)(pc - start);
        ir_build_insn(b, pc);
        isa_aarch64.lift(&l);
        end = MAX(end, pc + l.length);
        if (b->ended)
            break;
        pc = b->follow ? b->follow_pc : pc + l.length;
    }
    ir_build_end(b, pc);
    r->n_bytes = (uint32_t)(end - start);
}
