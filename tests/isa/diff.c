// The differential test of translation: random sequences, executed by us and by an independent
// emulator (or a machine of that kind) through tests/isa/runner, must end in the same registers,
// flags and memory. A difference is reduced to the units that matter and printed.
//
// diff ISA --reference CMD --runner FILE [--cpu MODEL] [--model MODEL] [--seed N] [--cases N]
// [--units N] [--only TEXT] [--without NAME,NAME] [--reserved] [--switches] [--coverage] [--ir]:
// --switches adds host code with each property of -accel dbt the other way; --cpu is the
// reference's -cpu, --model ours; what our model lacks is not drawn.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "flat.h"
#include "generate.h"
#include "jitted.h"

static struct options {
    const struct diff_guest *guest;
    const char *reference, *runner, *cpu, *model, *only, *without;
    uint64_t seed;
    unsigned cases, units, most_reports, ways;
    bool ir, coverage, reserved, switches;
} opt = {.seed = 1, .cases = 2000, .units = 6, .most_reports = 5, .ways = 15};

// A batch as the reference sees it.
struct batch {
    unsigned n;
    struct diff_state start[MAX_CASES], result[MAX_CASES];
    uint8_t code[MAX_CASES][CODE_STRIDE];
    uint8_t window[WINDOW_SIZE], result_window[MAX_CASES][WINDOW_SIZE];
};

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(2);
}

static void run_reference(struct batch *b)
{
    char in[64], out[64];
    snprintf(in, sizeof in, "/tmp/isa-diff-%d.in", getpid());
    snprintf(out, sizeof out, "/tmp/isa-diff-%d.out", getpid());
    FILE *f = fopen(in, "wb");
    struct diff_header h = {.cases = b->n};
    if (!f || fwrite(&h, sizeof h, 1, f) != 1 ||
        fwrite(b->start, sizeof *b->start, b->n, f) != b->n ||
        fwrite(b->code, CODE_STRIDE, b->n, f) != b->n ||
        fwrite(b->window, WINDOW_SIZE, 1, f) != 1 || fclose(f))
        die(in);
    pid_t pid = fork();
    if (!pid) {
        execlp(opt.reference, opt.reference, "-cpu", opt.cpu, opt.runner, in, out, NULL);
        die(opt.reference);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status) {
        fprintf(stderr, "diff: the reference ended with status %#x\n", (unsigned)status);
        exit(2);
    }
    f = fopen(out, "rb");
    for (unsigned n = 0; f && n < b->n; n++)
        if (fread(&b->result[n], sizeof *b->result, 1, f) != 1 ||
            fread(b->result_window[n], WINDOW_SIZE, 1, f) != 1)
            die(out);
    if (!f)
        die(out);
    fclose(f);
    unlink(in);
    unlink(out);
}

static void place(struct batch *b, unsigned n, const struct sequence *s, uint32_t drop)
{
    b->start[n] = s->start;
    b->start[n].pc = CODE_VA + (uint64_t)n * CODE_STRIDE;
    sequence_place(s, opt.guest, b->start[n].pc, drop, b->code[n]);
}

// ---- comparing ----

struct outcome {
    struct diff_state state;
    uint8_t window[WINDOW_SIZE];
};

// Every way we have to run a case: two of the interpreter, and host code in user mode and behind
// the soft MMU, as it is by default and with each switch the other way.
enum { MAX_WAYS = 96 };
struct ours {
    struct flat *flat;
    struct jitted *jitted[MAX_WAYS];
    const char *name[MAX_WAYS]; // of the switch
    unsigned n;
};

static void print_way(const struct ours *w, unsigned way)
{
    if (way < 2)
        printf("IR interpreter%s\n", way ? ", builder switches off" : "");
    else
        printf("host code, %s%s%s\n", way & 1 ? "soft MMU" : "user mode",
               w->name[way - 2] ? ", other way: " : "", w->name[way - 2] ? w->name[way - 2] : "");
}

static bool ours_open(struct ours *w, struct err *e)
{
    w->flat = flat_new(opt.guest, opt.model, e);
    bool ok = w->flat;
    for (unsigned k = 0; ok && w->n + 2 <= MAX_WAYS; k++) {
        const char *other = k ? jitted_switches[k - 1] : NULL;
        if (k && (!opt.switches || !other))
            break;
        for (unsigned system = 0; ok && system < 2; system++) {
            w->name[w->n] = other;
            w->jitted[w->n] = jitted_new(opt.guest, opt.model, system, false, other, e);
            ok = w->jitted[w->n];
            w->n += ok;
        }
    }
    return ok;
}

// False: verify mode has found a difference.
static bool ours_close(struct ours *w)
{
    uint64_t differences = 0;
    flat_free(w->flat);
    for (unsigned n = 0; n < w->n; n++) {
        differences += jitted_differences(w->jitted[n]);
        jitted_free(w->jitted[n]);
    }
    return !differences;
}

static void load_ours(struct ours *w, const struct batch *b)
{
    for (unsigned n = 0; n < w->n; n++)
        jitted_load(w->jitted[n], b->code[0], (size_t)b->n * CODE_STRIDE);
}

static void run_ours(struct ours *w, const struct batch *b, unsigned n, unsigned way,
                     struct outcome *o)
{
    memcpy(o->window, b->window, WINDOW_SIZE);
    if (way < 2)
        flat_run(w->flat, way == 1, &b->start[n], b->code[0], (size_t)b->n * CODE_STRIDE, o->window,
                 &o->state);
    else
        jitted_run(w->jitted[way - 2], &b->start[n], o->window, &o->state);
}

static bool same(const struct batch *b, unsigned n, const struct outcome *o)
{
    return !memcmp(&b->result[n], &o->state, sizeof o->state) &&
           !memcmp(b->result_window[n], o->window, WINDOW_SIZE);
}

// The way in which a case differs, or -1.
static int differs(struct ours *w, const struct batch *b, unsigned n, struct outcome *o)
{
    for (unsigned way = 0; way < w->n + 2; way++) {
        if (way < 4 && !(opt.ways >> way & 1))
            continue;
        run_ours(w, b, n, way, o);
        if (!same(b, n, o))
            return (int)way;
    }
    return -1;
}

static void show(const char *name, uint64_t start, uint64_t ours, uint64_t theirs)
{
    if (ours != theirs)
        printf("    %-6s ours %016llx  theirs %016llx  (before %016llx)\n", name,
               (unsigned long long)ours, (unsigned long long)theirs, (unsigned long long)start);
}

static void show_part(const struct state_part *p, const struct isa *isa, const struct batch *b,
                      unsigned n, const struct outcome *o)
{
    unsigned words = 1;
    for (unsigned k = 0; k < isa->n_regs; k++)
        if (isa->regs[k].gdb == p->number)
            words = (isa->regs[k].bits + 63u) / 64;
    for (unsigned k = 0; k < p->count * words; k++) {
        char name[24];
        unsigned at = p->at + k;
        snprintf(name, sizeof name,
                 p->count == 1 ? "%s"
                 : words == 1  ? "%s%u"
                               : "%s%u.%s",
                 p->name, k / words, k % words ? "hi" : "lo");
        show(name, b->start[n].r[at], o->state.r[at], b->result[n].r[at]);
    }
}

static void show_differences(const struct batch *b, unsigned n, const struct outcome *o)
{
    char name[16];
    show("pc", b->start[n].pc, o->state.pc, b->result[n].pc);
    show("signal", 0, o->state.signal, b->result[n].signal);
    for (const struct state_part *p = opt.guest->parts; p->name; p++)
        show_part(p, opt.guest->isa, b, n, o);
    for (unsigned k = 0; k < WINDOW_SIZE; k += 8) {
        snprintf(name, sizeof name, "+%u", k);
        show(name, ld_le64(b->window + k), ld_le64(o->window + k),
             ld_le64(b->result_window[n] + k));
    }
}

static void show_code(const struct batch *b, unsigned n)
{
    const struct diff_guest *g = opt.guest;
    const struct diff_state *s = &b->start[n];
    for (unsigned at = 0, used; at + 4 <= CODE_STRIDE; at += used) {
        char text[128] = "?";
        uint32_t w = ld_le32(b->code[n] + at);
        used = g->isa->disas(b->code[n] + at, 4, s->pc + at, text, sizeof text);
        if (!used)
            break;
        if ((w & mask_low(8 * g->nop_bytes)) != g->nop)
            printf("    %08llx  %0*x  %s\n", (unsigned long long)(s->pc + at), (int)(2 * used),
                   w & (uint32_t)mask_low(8 * used), text);
        if (w == g->end)
            break;
    }
    const struct state_part *x = g->parts; // the general registers come first
    for (unsigned k = 0; k < x->count; k++)
        printf("%s  %s%-2u %016llx%s", k % 4 ? "" : "  ", x->name, k,
               (unsigned long long)s->r[x->at + k], k % 4 == 3 || k == x->count - 1u ? "\n" : "");
}

// Drop units as long as a difference remains, one round per reference run.
static uint32_t reduce(struct ours *w, const struct sequence *s, struct batch *b)
{
    uint32_t drop = 0;
    struct outcome *o = xalloc(sizeof *o);
    for (bool again = true; again;) {
        again = false;
        b->n = s->n;
        for (unsigned n = 0; n < s->n; n++)
            place(b, n, s, drop | 1u << n);
        run_reference(b);
        load_ours(w, b);
        for (unsigned n = 0; n < s->n && !again; n++) {
            if (!(drop >> n & 1) && differs(w, b, n, o) >= 0) {
                drop |= 1u << n;
                again = true;
            }
        }
    }
    free(o);
    return drop;
}

static void report(struct ours *w, const struct sequence *s, uint64_t seed, const uint8_t *window)
{
    struct batch *b = xalloc(sizeof *b);
    struct outcome *o = xalloc(sizeof *o);
    memcpy(b->window, window, WINDOW_SIZE);
    uint32_t drop = reduce(w, s, b);
    b->n = 1;
    place(b, 0, s, drop);
    run_reference(b);
    load_ours(w, b);
    int way = differs(w, b, 0, o);
    printf("difference: --seed %llu --cases 1, ", (unsigned long long)seed);
    if (way < 0)
        printf("gone when run alone\n");
    else
        print_way(w, (unsigned)way);
    show_code(b, 0);
    show_differences(b, 0, o);
    if (opt.ir)
        flat_print_ir(w->flat, &b->start[0], b->code[0], CODE_STRIDE);
    free(b);
    free(o);
}

// ---- what was covered ----

// Per group of the decode table: instructions it has, and how many of them were executed.
static void show_coverage(const unsigned *executed)
{
    const struct diff_guest *g = opt.guest;
    const char *group = NULL;
    unsigned all = 0, drawn = 0, total = 0, total_drawn = 0;
    for (unsigned id = 1; id <= g->ids; id++) {
        const char *here = id < g->ids ? g->info[id].group : "";
        if (group && strcmp(group, here)) {
            printf("  %-45s %4u of %4u\n", group, drawn, all);
            total += all;
            total_drawn += drawn;
            all = drawn = 0;
        }
        group = here;
        all++;
        drawn += id < g->ids && executed[id];
    }
    printf("  %-45s %4u of %4u\n", "all", total_drawn, total);
}

// ---- the run ----

struct tally {
    unsigned finished, bad; // cases that ended at their breakpoint, that differed
    unsigned *executed;     // by instruction
};

static void run_batch(struct ours *w, const struct pool *p, uint64_t seed, unsigned n,
                      struct batch *b, struct sequence *sequences, struct tally *t)
{
    struct outcome *o = xalloc(sizeof *o);
    struct rng window = {0};
    generate_window(b->window, &window);
    b->n = n;
    for (unsigned k = 0; k < n; k++) {
        struct rng r = {(seed + k) * 0x2545f4914f6cdd1d};
        generate(&sequences[k], opt.guest, flat_env(w->flat), p, &r, opt.units);
        place(b, k, &sequences[k], 0);
        for (unsigned u = 0; u < sequences[k].n; u++)
            t->executed[sequences[k].units[u].id]++;
    }
    run_reference(b);
    load_ours(w, b);
    for (unsigned k = 0; k < n; k++) {
        t->finished += b->result[k].signal == SIGTRAP;
        if (differs(w, b, k, o) < 0)
            continue;
        if (t->bad++ < opt.most_reports)
            report(w, &sequences[k], seed + k, b->window);
        load_ours(w, b); // a report ran other code
    }
    free(o);
}

static const struct {
    const char *name;
    const char **text;
    unsigned *number;
} options[] = {
    {"--reference", &opt.reference, NULL},
    {"--runner", &opt.runner, NULL},
    {"--cpu", &opt.cpu, NULL},
    {"--model", &opt.model, NULL},
    {"--only", &opt.only, NULL},
    {"--without", &opt.without, NULL},
    {"--cases", NULL, &opt.cases},
    {"--units", NULL, &opt.units},
    {"--ways", NULL, &opt.ways},
    {"--reports", NULL, &opt.most_reports},
};

static bool set_option(const char *name, const char *value)
{
    for (unsigned n = 0; n < ARRAY_SIZE(options); n++) {
        if (strcmp(options[n].name, name))
            continue;
        if (options[n].text)
            *options[n].text = value;
        else
            *options[n].number = (unsigned)strtoul(value, NULL, 0);
        return true;
    }
    if (!strcmp(name, "--seed"))
        opt.seed = strtoull(value, NULL, 0);
    return !strcmp(name, "--seed");
}

static void parse(int argc, char **argv)
{
    bool good = argc > 1 && (opt.guest = diff_guest_find(argv[1]));
    for (int n = 2; good && n < argc; n++) {
        if (!strcmp(argv[n], "--ir"))
            opt.ir = true;
        else if (!strcmp(argv[n], "--coverage"))
            opt.coverage = true;
        else if (!strcmp(argv[n], "--switches"))
            opt.switches = true;
        else if (!strcmp(argv[n], "--reserved"))
            opt.reserved = true;
        else if (n + 1 == argc || !set_option(argv[n], argv[n + 1]))
            good = false;
        else
            n++;
    }
    if (!good || !opt.reference || !opt.runner || opt.units < 1 || opt.units > MAX_UNITS) {
        fprintf(stderr,
                "usage: diff aarch64|riscv32|riscv64 --reference CMD --runner FILE [--cpu MODEL] "
                "[--model MODEL] [--seed N] [--cases N] [--units 1..16] [--only TEXT] "
                "[--without NAME,...] [--reserved] [--switches] [--reports N] [--ways "
                "BITS] [--coverage] [--ir]\n");
        exit(2);
    }
    if (!opt.cpu)
        opt.cpu = opt.guest->reference_cpu;
    if (!opt.model)
        opt.model = opt.guest->model;
}

int main(int argc, char **argv)
{
    struct err e;
    static struct pool pool;
    parse(argc, argv);
    pool.reserved = opt.reserved;
    struct ours w = {0};
    bool ready = ours_open(&w, &e);
    if (ready)
        pool_fill(&pool, opt.guest, flat_env(w.flat), opt.only, opt.without);
    if (!ready || !pool.n) {
        fprintf(stderr, "diff: %s\n", ready ? "--only matches no instruction" : e.msg);
        return 2;
    }
    struct batch *b = xalloc(sizeof *b);
    struct sequence *sequences = xcalloc(MAX_CASES, sizeof *sequences);
    struct tally t = {.executed = xcalloc(opt.guest->ids, sizeof *t.executed)};
    for (unsigned done = 0; done < opt.cases; done += MAX_CASES)
        run_batch(&w, &pool, opt.seed + done, MIN(opt.cases - done, (unsigned)MAX_CASES), b,
                  sequences, &t);
    printf(
        "%u instructions to draw from, %u cases of %u in %u ways, %u to their end, %u different\n",
        pool.n, opt.cases, opt.units, w.n + 2, t.finished, t.bad);
    if (opt.coverage)
        show_coverage(t.executed);
    free(t.executed);
    free(sequences);
    free(b);
    return !ours_close(&w) || t.bad || t.finished < opt.cases / 2;
}
