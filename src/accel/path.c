// Forms regions for the JIT (path.h). Instructions are lifted one after the other into one region,
// which ends where the path would leave the page, come back on itself or grow beyond its limits.
#include "accel/path.h"
#include "base/bits.h"
#include "base/log.h"
#include "isa/isa.h"
#include "jit/jit.h"
#include <stdatomic.h>

enum { REGION_MAX = 200, CALLS_MAX = 1, CALLEE_MAX = 32, PAGE = 4096, INSN_MAX = 32 };

struct path {
    const struct accel *accel;
    const struct dbt_user *user;
    struct env *env;
    struct ir_build *b;
    const struct path_start *at;
    uint64_t base;            // what a region's addresses lack to the guest's
    uint64_t start, page_end; // addresses as the region says them, from here on
    uint64_t pc;
    uint64_t low, end; // of all instructions taken
    unsigned n, limit; // instructions
    uint8_t crossing[INSN_MAX];
};

// Called before an instruction the debugger single-steps: translated code then leaves at its end.
static void help_stepping(struct env *e)
{
    atomic_fetch_or(&e->interrupt, INTR_STEP);
}
static const struct ir_helper stepping = {
    .name = "stepping", .fn = (void *)help_stepping, .flags = HELPER_READ, .ret = IR_VOID};

static bool breakpoint_at(const struct accel *a, uint64_t pc)
{
    unsigned lo = 0, hi = a->n_breakpoints;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (a->breakpoints[mid] == pc)
            return true;
        if (a->breakpoints[mid] < pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

static void log_insn(const struct isa *isa, const struct lift *l, uint64_t pc)
{
    char text[128];
    unsigned n = isa->disas(l->code, l->avail, pc, text, sizeof text);
    log_debug("0x%016llx:  %08x  %s", (unsigned long long)pc,
              n >= 4 ? (unsigned)ld_le32(l->code) : 0, n ? text : "?");
}

// Bytes of an instruction that may run into the next page; `avail` stays what this page has where
// the next cannot be executed, and e->fault tells why.
static void fetch_crossing(struct path *p, struct lift *l)
{
    const struct dbt_user *u = p->user;
    unsigned max = p->accel->isa->max_insn_bytes;
    uint64_t next = p->base + p->page_end;
    BUG_ON(max > sizeof p->crossing);
    if (l->avail >= max)
        return;
    if (u->may_execute && !u->may_execute(u->opaque, next)) {
        p->env->fault = (struct env_fault){.va = next, .access = ENV_EXEC};
        return;
    }
    l->avail = jit_fetch(p->env, p->base + p->pc, p->crossing, max);
    l->code = p->crossing;
}

// One instruction. True: the path goes on at p->pc.
static bool step(struct path *p, bool *unreadable)
{
    const struct isa *isa = p->accel->isa;
    struct ir_build *b = p->b;
    struct lift l = {.b = b,
                     .env = p->env,
                     .pc = p->pc,
                     .mode = p->at->mode,
                     .parallel = p->at->parallel,
                     .code = p->at->code + (p->pc - p->start),
                     .avail = (unsigned)(p->page_end - p->pc)};
    ir_build_insn(b, p->pc);
    if (p->accel->n_breakpoints && breakpoint_at(p->accel, p->base + p->pc)) {
        ir_leave(b, LEAVE_DEBUG, p->pc);
        p->end = MAX(p->end, p->pc + 1);
        return false;
    }
    fetch_crossing(p, &l);
    if (p->at->mode & IR_MODE_SINGLE)
        ir_call0(b, &stepping);
    isa->lift(&l);
    if (!l.length) { // only part of it can be fetched
        *unreadable = !p->n;
        if (p->n)
            ir_build_end(b, p->pc);
        return false;
    }
    if (log_on(LOG_IN_ASM))
        log_insn(isa, &l, p->base + p->pc);
    p->n++;
    p->end = MAX(p->end, p->pc + l.length);
    if (b->ended)
        return false;
    if (!b->follow) {
        p->pc += l.length;
        return true;
    }
    // Through a forward jump, as long as it stays in the page, or a call to anywhere in it.
    if ((b->follow_pc <= p->pc && !b->follow_call) || b->follow_pc >= p->page_end ||
        p->n >= p->limit) {
        ir_build_end(b, b->follow_pc);
        return false;
    }
    if (b->follow_call)
        p->limit = MIN(p->limit, p->n + CALLEE_MAX);
    p->pc = b->follow_pc;
    p->low = MIN(p->low, p->pc);
    return true;
}

bool path_follow(const struct accel *a, const struct dbt_user *user, struct env *e,
                 struct ir_build *b, const struct path_start *at)
{
    struct ir_region *r = b->r;
    struct path p = {.accel = a, .user = user, .env = e, .b = b, .at = at};
    bool unreadable = false;
    p.base = at->pc - r->pc;
    p.start = p.pc = p.low = p.end = r->pc;
    p.page_end = p.start + at->avail;
    p.limit = at->mode & IR_MODE_SINGLE ? 1 : MIN(at->max_insns, (unsigned)REGION_MAX);
    if (p.limit > 1) {
        b->calls_lo = p.page_end - PAGE;
        b->calls_hi = p.page_end;
        b->calls_left = CALLS_MAX;
    }
    if (log_on(LOG_IN_ASM))
        log_debug("IN: mode 0x%llx", (unsigned long long)at->mode);
    while (step(&p, &unreadable)) {
        if (p.n < p.limit && p.pc < p.page_end)
            continue;
        ir_build_end(b, p.pc);
        break;
    }
    r->n_bytes = (uint32_t)(p.end - p.start);
    r->n_before = (uint32_t)(p.start - p.low);
    return !unreadable;
}
