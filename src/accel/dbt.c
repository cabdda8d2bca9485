// Dynamic binary translation as an accelerator: the JIT with regions of guest code (path.c) to
// translate, its options, and what user mode needs of it.
#include "accel/dbt.h"
#include "accel/path.h"
#include "base/buf.h"
#include "base/log.h"
#include "isa/isa.h"
#include "jit/jit.h"
#include <stdatomic.h>
#include <stdlib.h>

struct dbt {
    struct accel *accel;
    struct jit *jit;
    struct ir_switches switches;
    struct ir_build *builds; // one per vCPU: translation runs on the vCPU's thread
    struct dbt_user user;    // all NULL in a machine
    unsigned n_cpus;         // made so far
    bool parallel;           // several CPUs look at one memory
};

// The fetch in e->fault is refused: user mode raises a signal when the run comes back, a machine's
// CPU takes its exception.
static bool refuse_fetch(struct dbt *d, struct env *e)
{
    if (!d->user.refused) {
        e->isa->take_fault(e, &e->fault);
    } else {
        d->user.refused(d->user.opaque, e);
        atomic_fetch_or(&e->interrupt, INTR_WORK);
    }
    return false;
}

static bool translate(void *opaque, struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code,
                      unsigned avail, unsigned max_insns, struct ir_region *r)
{
    struct dbt *d = opaque;
    struct ir_build *b = &d->builds[e->cpu_index];
    const struct path_start at = {pc, mode, code, avail, max_insns, d->parallel};
    if (d->user.may_execute && !d->user.may_execute(d->user.opaque, pc)) {
        e->fault = (struct env_fault){.va = pc, .access = ENV_EXEC};
        return refuse_fetch(d, e);
    }
    ir_region_reset(r, d->accel->isa->guest, pc, mode);
    ir_build_begin(b, r, &d->switches);
    return path_follow(d->accel, &d->user, e, b, &at) || refuse_fetch(d, e);
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
                   opts_check_unused(o, NULL, known, e)
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
                                        "regions others disturbed",
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
