// See state.h.
#include "state.h"

#include <signal.h>

#include "base/bits.h"

static const struct isa_reg *find(const struct isa *isa, int number)
{
    for (unsigned n = 0; n < isa->n_regs; n++)
        if (isa->regs[n].gdb == number)
            return &isa->regs[n];
    BUG_ON(true); // the guest's table names a register there is not
    return NULL;
}

int state_open(struct state_map *m, const struct diff_guest *g, struct env *e, const char *model,
               struct space *memory, struct err *err)
{
    *m = (struct state_map){.guest = g, .env = e};
    for (const struct state_part *p = g->parts; p->name; p++)
        for (unsigned k = 0; k < p->count; k++) {
            const struct isa_reg *r = find(g->isa, p->number + (int)k);
            uint16_t at = (uint16_t)(p->at + k * ((r->bits + 63u) / 64));
            m->part[m->n].reg = r;
            m->part[m->n].at = at;
            m->part[m->n++].mask = p->mask ? p->mask : ~0ull;
        }
    if (opts_parse(&m->features, model, "model", err))
        return -1;
    struct isa_config config = {.model = opts_get(&m->features, "model"),
                                .user_mode = true,
                                .features = &m->features,
                                .memory = memory};
    return g->isa->init(e, &config, err);
}

void state_close(struct state_map *m)
{
    m->guest->isa->exit(m->env);
    opts_free(&m->features);
}

void state_load(const struct state_map *m, const struct diff_state *s)
{
    for (unsigned n = 0; n < m->n; n++)
        m->part[n].reg->set(m->env, m->part[n].reg, &s->r[m->part[n].at]);
    m->guest->isa->set_pc(m->env, s->pc);
    m->env->monitor.addr = MONITOR_NONE;
    m->env->fault = (struct env_fault){0};
}

void state_store(const struct state_map *m, enum env_leave why, struct diff_state *s)
{
    *s = (struct diff_state){.pc = m->guest->isa->get_pc(m->env)};
    for (unsigned n = 0; n < m->n; n++) {
        m->part[n].reg->get(m->env, m->part[n].reg, &s->r[m->part[n].at]);
        s->r[m->part[n].at] &= m->part[n].mask;
    }
    s->signal = why == LEAVE_SIGNAL ? m->guest->signal(m->env) : 0;
}

void region_build(struct ir_build *b, struct ir_region *r, const struct ir_switches *sw,
                  const struct state_map *m, uint64_t pc, uint64_t mode, const uint8_t *code,
                  unsigned avail, unsigned max_insns)
{
    const struct isa *isa = m->guest->isa;
    ir_region_reset(r, isa->guest, pc, mode);
    ir_build_begin(b, r, sw);
    pc = r->pc;
    uint64_t start = pc, end = pc;
    for (unsigned n = 0; n < max_insns && pc - start < avail; n++) {
        struct lift l = {.b = b, .env = m->env, .pc = pc, .mode = mode};
        l.code = code + (pc - start);
        l.avail = avail - (unsigned)(pc - start);
        ir_build_insn(b, pc);
        isa->lift(&l);
        end = MAX(end, pc + l.length);
        if (b->ended || !l.length)
            break;
        pc = b->follow ? b->follow_pc : pc + l.length;
    }
    ir_build_end(b, pc);
    r->n_bytes = (uint32_t)(end - start);
}
