// Dynamic binary translation: forms regions out of guest instructions for the JIT. A region follows
// the path that code takes when no conditional branch is taken, through forward jumps, within one
// page of guest code.
#include "accel/dbt.h"
#include "base/bits.h"
#include "base/buf.h"
#include "base/log.h"
#include "isa/isa.h"
#include "jit/jit.h"
#include <stdatomic.h>
#include <stdlib.h>

enum { REGION_MAX = 200, CALLS_MAX = 1, CALLEE_MAX = 32, PAGE = 4096 };

struct dbt {
    struct accel *accel;
    struct jit *jit;
    struct ir_switches switches;
    struct ir_build *builds; // one per vCPU: translation runs on the vCPU's thread
    struct dbt_user user;    // user mode: may_execute is set
    unsigned n_cpus;         // made so far
    bool parallel;           // several CPUs look at one memory
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

static void log_insn(const struct isa *isa, const uint8_t *code, unsigned avail, uint64_t pc)
{
    char text[128];
    unsigned n = isa->disas(code, avail, pc, text, sizeof text);
    log_debug("0x%016llx:  %08x  %s", (unsigned long long)pc, n >= 4 ? (unsigned)ld_le32(code) : 0,
              n ? text : "?");
}

static bool translate(void *opaque, struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code,
                      unsigned avail, unsigned max_insns, struct ir_region *r)
{
    struct dbt *d = opaque;
    const struct isa *isa = d->accel->isa;
    struct ir_build *b = &d->builds[e->cpu_index];
    unsigned limit = mode & IR_MODE_SINGLE ? 1 : MIN(max_insns, (unsigned)REGION_MAX);
    uint8_t crossing[32];

    if (d->user.may_execute && !d->user.may_execute(d->user.opaque, e, pc)) {
        atomic_fetch_or(&e->interrupt, INTR_WORK);
        return false;
    }
    ir_region_reset(r, isa->guest, pc, mode);
    ir_build_begin(b, r, &d->switches);
    uint64_t base = pc - r->pc, start = r->pc, page_end = start + avail, end = start, low = start;
    if (limit > 1) {
        b->calls_lo = page_end - PAGE;
        b->calls_hi = page_end;
        b->calls_left = CALLS_MAX;
    }
    pc = start; // from here on as the region says it
    if (log_on(LOG_IN_ASM))
        log_debug("IN: mode 0x%llx", (unsigned long long)mode);
    for (unsigned n = 0;; n++) {
        struct lift l = {.b = b,
                         .env = e,
                         .pc = pc,
                         .mode = mode,
                         .parallel = d->parallel,
                         .code = code + (pc - start),
                         .avail = (unsigned)(page_end - pc)};
        if (n == limit || pc >= page_end) {
            ir_build_end(b, pc);
            break;
        }
        ir_build_insn(b, pc);
        if (d->accel->n_breakpoints && breakpoint_at(d->accel, base + pc)) {
            ir_leave(b, LEAVE_DEBUG, pc);
            end = MAX(end, pc + 1);
            break;
        }
        if (l.avail < isa->max_insn_bytes) { // may run into the next page
            BUG_ON(isa->max_insn_bytes > sizeof crossing);
            l.avail = jit_fetch(e, base + pc, crossing, isa->max_insn_bytes);
            l.code = crossing;
        }
        if (mode & IR_MODE_SINGLE)
            ir_call0(b, &stepping);
        isa->lift(&l);
        if (!l.length) { // only part of it is readable
            if (n) {
                ir_build_end(b, pc);
                break;
            }
            if (d->user.may_execute) // the rest of it lies on a page that is not there
                d->user.may_execute(d->user.opaque, e, ((base + pc) | (PAGE - 1)) + 1);
            else
                e->isa->take_fault(e, &e->fault);
            return false;
        }
        if (log_on(LOG_IN_ASM))
            log_insn(isa, l.code, l.avail, base + pc);
        end = MAX(end, pc + l.length);
        if (!b->ended && !b->follow) {
            pc += l.length;
            continue;
        }
        if (b->ended)
            break;
        // Through a forward jump, as long as it stays in the page, or a call to anywhere in it.
        if ((b->follow_pc <= pc && !b->follow_call) || b->follow_pc >= page_end || n + 1 >= limit) {
            ir_build_end(b, b->follow_pc);
            break;
        }
        if (b->follow_call)
            limit = MIN(limit, n + 1 + CALLEE_MAX);
        pc = b->follow_pc;
        low = MIN(low, pc);
    }
    r->n_bytes = (uint32_t)(end - start);
    r->n_before = (uint32_t)(start - low);
    return true;
}

#define JIT_OFF(field) NULL, &c->field
#define JIT_ON(field)  &c->field, NULL
#define BUILD(field)   &d->switches.field, NULL
#define NOTHING(field) NULL, NULL

static int parse_switches(struct dbt *d, struct jit_config *c, struct opts *o, struct err *e)
{
    const struct {
        const char *key;
        bool *on, *off;
    } switches[] = {
#define OPTION(key, where, field, initial, text) {key, where(field)},
#include "accel/dbt_options.def"
#undef OPTION
    };
    for (unsigned i = 0; i < ARRAY_SIZE(switches); i++) {
        bool on = switches[i].on ? *switches[i].on : true;
        if (opts_get_bool(o, switches[i].key, &on, e))
            return -1;
        if (switches[i].on)
            *switches[i].on = on;
        else if (switches[i].off)
            *switches[i].off = !on;
    }
    return 0;
}

static int parse(struct dbt *d, struct jit_config *c, struct opts *o, struct err *e)
{
    static const char *const known[] = {"accel",
#define OPTION(key, where, field, initial, text) key,
#include "accel/dbt_options.def"
#undef OPTION
                                        "tb-size", "thread", NULL};
    if (parse_switches(d, c, o, e))
        return -1;
    const char *thread = opts_get(o, "thread");
    if (thread && strcmp(thread, "multi") && strcmp(thread, "single"))
        return err_set(e, "thread=%s: give multi or single", thread);
    if (thread && !strcmp(thread, "single"))
        log_warn("-accel thread=single: vCPUs run on one host thread each regardless");
    opts_get(o, "accel");
    return opts_get_size(o, "tb-size", &c->cache_size, MiB, e) ||
                   opts_check_unused(o, "-accel dbt", known, e)
               ? -1
               : 0;
}

static void dbt_print_help(struct buf *out)
{
    static const char *const lines[][3] = {
#define OPTION(key, where, field, initial, text) {key, initial, text},
#include "accel/dbt_options.def"
#undef OPTION
    };
    buf_printf(out, "dbt options:\n");
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        buf_printf(out, "  %s=on|off%*s - %s (default: %s)\n", lines[i][0],
                   (int)(20 - strlen(lines[i][0])), "", lines[i][2], lines[i][1]);
    buf_printf(out, "  tb-size=size                - translated code kept (MiB)\n"
                    "  thread=multi                - one host thread for each vCPU\n");
}

static int open_with(struct accel *a, const struct dbt_user *u, struct opts *o, struct err *e)
{
    if (!a->isa->lift)
        return err_set(e,
                       "-accel %s: %s guests are not translated yet; use -accel kvm on a host of "
                       "that architecture",
                       opts_get(o, "accel") ?: "dbt", a->isa->name);
    struct dbt *d = xalloc(sizeof *d);
    d->accel = a;
    d->switches = ir_switches_all;
    d->parallel = !u && a->max_vcpus > 1;
    d->switches.spans = !u; // user mode checks nothing
    struct jit_config c = {.guest = a->isa->guest,
                           .cpu_size = a->isa->cpu_size,
                           .max_vcpus = a->max_vcpus,
                           .translate = translate,
                           .opaque = d};
    if (u) {
        d->user = *u;
        c.user_mode = true;
        c.user_base = u->base;
    }
    if (parse(d, &c, o, e) || !(d->jit = jit_new(&c, e))) {
        free(d);
        return err_prefix(e, "-accel dbt");
    }
    d->builds = xcalloc(a->max_vcpus, sizeof *d->builds);
    a->priv = d;
    return 0;
}

static int dbt_open(struct accel *a, struct opts *o, struct err *e)
{
    return open_with(a, NULL, o, e);
}

struct accel *dbt_open_user(const struct isa *isa, unsigned max_threads, const struct dbt_user *u,
                            struct opts *o, struct err *e)
{
    struct accel *a = xalloc(sizeof *a);
    *a = (struct accel){.ops = &accel_dbt, .isa = isa, .max_vcpus = max_threads};
    if (open_with(a, u, o, e)) {
        free(a);
        return NULL;
    }
    return a;
}

int dbt_fork_prepare(struct accel *a, struct err *e)
{
    struct dbt *d = a->priv;
    return jit_fork_prepare(d->jit, e);
}

void dbt_fork_parent(struct accel *a)
{
    struct dbt *d = a->priv;
    jit_fork_parent(d->jit);
}

void dbt_fork_child(struct accel *a, struct env *self)
{
    struct dbt *d = a->priv;
    jit_fork_child(d->jit, self);
}

static void dbt_close(struct accel *a)
{
    struct dbt *d = a->priv;
    jit_free(d->jit);
    free(d->builds);
    free(d);
}

static struct env *dbt_cpu_new(struct accel *a, const struct isa_config *c, struct err *e)
{
    struct dbt *d = a->priv;
    if (++d->n_cpus == 2 && !d->parallel) { // a second thread: the caller is the only other one
        d->parallel = true;
        jit_flush_all(d->jit);
    }
    struct env *env = jit_vcpu_new(d->jit, c->index, e);
    if (!env)
        return NULL;
    if (a->isa->init(env, c, e)) {
        jit_vcpu_free(env);
        return NULL;
    }
    return env;
}

static void dbt_cpu_free(struct accel *a, struct env *e)
{
    if (a->isa->exit)
        a->isa->exit(e);
    jit_vcpu_free(e);
}

static void dbt_thread_enter(struct accel *a, struct env *e)
{
    jit_thread_enter(e);
}

static void dbt_thread_leave(struct accel *a, struct env *e)
{
    jit_thread_leave(e);
}

static enum env_leave dbt_run(struct accel *a, struct env *e)
{
    return jit_run(e);
}

static void dbt_notice(struct accel *a, enum accel_notice what)
{
    struct dbt *d = a->priv;
    if (what == ACCEL_MEMORY) {
        jit_memory_changed(d->jit);
    } else if (what == ACCEL_CODE) {
        jit_pin(d->jit, a->n_breakpoints != 0);
        jit_flush_all(d->jit);
    }
}

static void dbt_print(struct accel *a, struct buf *out)
{
    static const char *const names[] = {"blocks in memory",
                                        "bytes of code cache",
                                        "bytes of it in use",
                                        "bytes kept beside it",
                                        "regions translated",
                                        "guest instructions in them",
                                        "bytes of host code",
                                        "regions evicted",
                                        "regions invalidated",
                                        "TLB entries filled",
                                        "TLB entries retagged",
                                        "slow loads",
                                        "slow stores",
                                        "look-ups in the hash table",
                                        "look-ups that missed",
                                        "nanoseconds translating",
                                        "floating-point traps",
                                        "regions verified",
                                        "regions run unverified",
                                        "differences found"};
    struct jit_stats s;
    jit_get_stats(((struct dbt *)a->priv)->jit, &s);
    const uint64_t *v = (const uint64_t *)&s;
    _Static_assert(sizeof s == sizeof names / sizeof *names * sizeof *v, "a name for each number");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        buf_printf(out, "%-27s %llu\n", names[i], (unsigned long long)v[i]);
}

const struct accel_ops accel_dbt = {
    .name = "dbt",
    .alias = "tcg",
    .desc = "dynamic binary translation",
    .print_help = dbt_print_help,
    .open = dbt_open,
    .close = dbt_close,
    .cpu_new = dbt_cpu_new,
    .cpu_free = dbt_cpu_free,
    .thread_enter = dbt_thread_enter,
    .thread_leave = dbt_thread_leave,
    .run = dbt_run,
    .notice = dbt_notice,
    .print = dbt_print,
    .watches = true,
};
