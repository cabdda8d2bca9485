// One region into host code: analysis, then one pass that allocates and emits, then the stubs.
#include "jit/x86_64/cg.h"
#include "jit/x86_64/host.h"

#include <cpuid.h>
#include <stdlib.h>

const struct rule cg_rules[IR_OPS] = {
#define R(op, fn, needs, keeps, arg) [IR_##op] = {lower_##fn, needs, keeps, arg},
#include "jit/x86_64/rules.def"
#undef R
};

enum { MAX_INSN_BYTES = 4096 }; // one operation emits less than this

static unsigned have(const struct host_features *f)
{
    return (f->lzcnt ? NEED_LZCNT : 0) | (f->bmi1 ? NEED_BMI1 : 0) | (f->bmi2 ? NEED_BMI2 : 0) |
           (f->avx ? NEED_AVX : 0) | (f->avx2 ? NEED_AVX2 : 0) | (f->fma ? NEED_FMA : 0) |
           (f->aes ? NEED_AES : 0) | (f->pclmul ? NEED_PCLMUL : 0) | (f->sha ? NEED_SHA : 0);
}

static void detect(struct host_features *f)
{
    f->avx = __builtin_cpu_supports("avx");
    f->avx2 = __builtin_cpu_supports("avx2");
    f->bmi1 = __builtin_cpu_supports("bmi");
    f->bmi2 = __builtin_cpu_supports("bmi2");
    f->fma = __builtin_cpu_supports("fma");
    f->aes = __builtin_cpu_supports("aes");
    f->pclmul = __builtin_cpu_supports("pclmul");
    f->avx512 = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    unsigned a, b, c, d;
    f->f16c = f->avx && __get_cpuid(1, &a, &b, &c, &d) && c & 1u << 29;
    f->sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & 1u << 29;
    f->lzcnt = __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1u << 5;
}

// Switched off: these are evaluated out of line.
static bool kept_out(const struct jit_config *s, unsigned op)
{
    bool vector = op >= IR_vzext && op <= IR_vfcvtn,
         crypto = (op >= IR_aese && op <= IR_sha256m2) || op == IR_vpmull || op == IR_crc32;
    bool box = op == IR_fbox || op == IR_funbox;
    return (box && s->no_boxes) || (vector && s->no_inline_vectors) ||
           (crypto && s->no_inline_crypto);
}

struct cg *cg_new(struct jit *j)
{
    struct cg *c = xalloc(sizeof *c);
    c->j = j;
    c->as.biased = R_ENV;
    c->as.bias = j->c.no_state_bias ? 0 : STATE_BIAS;
    if (!j->c.baseline)
        detect(&c->f);
    c->f.f16c &= !j->c.no_half;
    unsigned features = have(&c->f);
    for (unsigned op = 0; op < IR_OPS; op++)
        c->inlined[op] =
            cg_rules[op].lower && !(cg_rules[op].needs & ~features) && !kept_out(&j->c, op);
    c->lazy = LAZY_COND | (j->lazy_flags ? LAZY_FLAGS : 0);
    c->eager =
        (j->c.no_lazy_conditions ? BIT(IR_BOOL) : 0) | (j->c.no_lazy_flags ? BIT(IR_FLAGS) : 0);
    c->guards = !j->c.user_mode;
    c->gprs = (CALLER_SAVED | CALLEE_SAVED) & ~BIT(j->c.user_mode ? R_BASE : R_KEY);
    return c;
}

void cg_free(struct cg *c)
{
    if (!c)
        return;
    free(c->v);
    free(c->root);
    free(c->nu);
    free(c->args_nu);
    free(c->calls);
    vec_free(&c->spills);
    vec_free(&c->deaths);
    vec_free(&c->stubs);
    vec_free(&c->locs);
    vec_free(&c->sites.data);
    vec_free(&c->sites.flags);
    free(c);
}

static void begin(struct cg *c, const struct ir_region *r, struct block *b)
{
    size_t n = r->insns.len;
    if (n > c->cap) {
        c->cap = n + n / 2;
        c->v = xrealloc(c->v, c->cap * sizeof *c->v);
        c->root = xrealloc(c->root, c->cap * sizeof *c->root);
        c->nu = xrealloc(c->nu, c->cap * sizeof *c->nu);
    }
    if (r->args.len > c->args_cap) {
        c->args_cap = r->args.len * 2;
        c->args_nu = xrealloc(c->args_nu, c->args_cap * sizeof *c->args_nu);
    }
    memset(c->nu, 0, n * sizeof *c->nu);
    memset(c->owner, 0, sizeof c->owner);
    c->owned = 0;
    c->r = r;
    c->in = r->insns.data;
    c->b = b;
    c->movable = r->mode & IR_MODE_MOVABLE;
    c->failed = false;
    c->eflags = IR_NONE;
    c->loop.at = ir_loop_of(r);
    c->loop.end = c->loop.at ? (ir_ref)n - 1 : IR_NONE;
    c->locked = c->dying = 0;
    c->spills.len = c->stubs.len = c->locs.len = 0;
    c->n_links = 0;
    sites_begin(&c->sites, r);
}

// What each operand's next use is once this operation has used it; operands stay where they are.
static void advance(struct cg *c, ir_ref i)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (in->op == IR_call) {
        for (uint32_t k = in->b; k-- > 0;) {
            struct val *v = cg_val(c, c->r->args.data[in->a + k]);
            v->next = c->args_nu[in->a + k];
            if (v->reg != NO_REG)
                c->locked |= BIT(v->reg);
        }
        return;
    }
    int32_t disp;
    bool plain = in->op == IR_load || in->op == IR_store;
    const ir_ref ops[3] = {plain ? cg_address(c, i, &disp) : in->a, in->b, in->c};
    for (unsigned k = 3; k-- > 0;)
        if (ops[k] && !cg_is_target(c, in, k)) {
            struct val *v = cg_val(c, ops[k]);
            v->next = c->nu[i][k];
            if (v->reg != NO_REG)
                c->locked |= BIT(v->reg);
        }
}

static void lower(struct cg *c, ir_ref i)
{
    const struct rule *rule = &cg_rules[cg_insn(c, i)->op];
    c->pos = i;
    cg_release_dead(c, c->dying);
    c->locked = 0;
    c->as.open = 0;
    while (c->n_calls && c->calls[c->n_calls - 1] <= i)
        c->n_calls--;
    c->next_call = c->n_calls ? c->calls[c->n_calls - 1] : 0;
    advance(c, i);
    c->dying = c->locked;
    if (cg_has_rule(c, cg_insn(c, i)->op))
        rule->lower(c, i);
    else
        cg_eval(c, i);
    if (!rule->keeps_eflags || c->j->c.no_host_flags)
        c->eflags = IR_NONE;
}

static bool reads(const struct cg *c, ir_ref i, unsigned slot)
{
    return c->in[i].op == IR_get && c->in[i].aux == slot;
}

// Resident slots are read where they are, most often by the region's first nodes. Their memory is
// no home: it is behind.
static void settle_residents(struct cg *c)
{
    for (unsigned k = 0; k < c->r->n_resident; k++) {
        unsigned slot = c->r->guest->resident[k];
        ir_ref i = 1 + k;
        if (!reads(c, i, slot))
            for (i = 1; i < c->r->insns.len && !reads(c, i, slot);)
                i++;
        if (i < c->r->insns.len)
            cg_settle(c, i, cg_resident_reg(c->j, k));
    }
}

static bool compile(struct jit *j, const struct ir_region *r, struct block *b)
{
    struct cg *c = j->cg;
    begin(c, r, b);
    c->as.p = c->start = jit_rw(j, j->next);
    c->as.rx_delta = (intptr_t)(j->rx - j->rw);
    c->limit = jit_rw(j, j->arena[j->cur_arena].end) - MAX_INSN_BYTES;
    unsigned slots = j->arena[j->cur_arena].n_slots;
    cg_analyse(c);
    b->links = jit_meta_take(j, c->n_links * sizeof *b->links);
    c->failed = !b->links;
    c->n_links = 0;
    settle_residents(c);
    for (ir_ref i = 1; i < r->insns.len && !c->failed; i++) {
        if (!(c->v[i].flags & V_USED) || cg_lazy(c, i))
            continue;
        if (c->as.p > c->limit)
            c->failed = true;
        else
            lower(c, i);
    }
    if (!c->failed)
        cg_emit_stubs(c);
    b->sites_size = c->sites.data.len;
    b->sites = jit_meta_take(j, b->sites_size);
    if (c->failed || !b->sites) {
        __atomic_store_n(&j->arena[j->cur_arena].n_slots, slots, __ATOMIC_RELAXED);
        return false;
    }
    if (b->sites_size)
        memcpy(b->sites, c->sites.data.data, b->sites_size);
    b->n_links = c->n_links;
    b->code = j->next;
    b->code_size = (uint32_t)(c->as.p - c->start);
    return true;
}

static const struct jit_host x86_64 = {
    .name = "x86_64",
    .init = host_init,
    .exit = host_exit,
    .compile = compile,
    .patch = host_patch,
    .patch_guard = host_patch_guard,
    .enter = host_enter,
    .unwind = host_unwind,
    .thread_enter = host_thread_enter,
    .thread_leave = host_thread_leave,
};

const struct jit_host *jit_host_native(void)
{
    return &x86_64;
}
