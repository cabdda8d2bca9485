// The differential test of the A64 translation: random sequences, executed by us and by an
// independent emulator (or an Arm machine) through tests/isa/runner, must end in the same
// registers, flags and memory. A difference is reduced to the units that matter and printed.
//
// diff --reference CMD --runner FILE [--seed N] [--cases N] [--units N] [--only TEXT] [--coverage]
// [--ir]
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "flat.h"
#include "generate.h"
#include "jitted.h"
#include "isa/arm/arm.h"
#include "isa/arm/a64_decode.h"

static struct options {
    const char *reference, *runner, *only;
    uint64_t seed;
    unsigned cases, units, most_reports, ways;
    bool ir, coverage;
} opt = {.seed = 1, .cases = 2000, .units = 6, .most_reports = 5, .ways = 15};

// A batch as the reference sees it.
struct batch {
    unsigned n;
    struct diff_state start[MAX_CASES], result[MAX_CASES];
    uint32_t code[MAX_CASES][CODE_STRIDE / 4];
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
        execlp(opt.reference, opt.reference, "-cpu", "max,sve=off,sme=off", opt.runner, in, out,
               NULL);
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
    sequence_place(s, b->start[n].pc, drop, b->code[n]);
}

// ---- comparing ----

struct outcome {
    struct diff_state state;
    uint8_t window[WINDOW_SIZE];
};

// Every way we have to run a case.
struct ours {
    struct flat *flat;
    struct jitted *jitted[2];
};
static const char *const ways[] = {"IR interpreter", "IR interpreter, builder switches off",
                                   "host code, user mode", "host code, soft MMU"};

static void load_ours(struct ours *w, const struct batch *b)
{
    for (unsigned n = 0; n < 2; n++)
        jitted_load(w->jitted[n], (const uint8_t *)b->code, (size_t)b->n * CODE_STRIDE);
}

static void run_ours(struct ours *w, const struct batch *b, unsigned n, unsigned way,
                     struct outcome *o)
{
    memcpy(o->window, b->window, WINDOW_SIZE);
    if (way < 2)
        flat_run(w->flat, way == 1, &b->start[n], (const uint8_t *)b->code,
                 (size_t)b->n * CODE_STRIDE, o->window, &o->state);
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
    for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
        if (!(opt.ways >> way & 1))
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

static void show_differences(const struct batch *b, unsigned n, const struct outcome *o)
{
    const struct diff_state *s = &b->start[n], *ours = &o->state, *theirs = &b->result[n];
    char name[16];
    for (unsigned k = 0; k < 31; k++) {
        snprintf(name, sizeof name, "x%u", k);
        show(name, s->x[k], ours->x[k], theirs->x[k]);
    }
    show("sp", s->sp, ours->sp, theirs->sp);
    show("pc", s->pc, ours->pc, theirs->pc);
    show("nzcv", s->nzcv, ours->nzcv, theirs->nzcv);
    show("fpsr", s->fpsr, ours->fpsr, theirs->fpsr);
    show("fpcr", s->fpcr, ours->fpcr, theirs->fpcr);
    show("signal", 0, ours->signal, theirs->signal);
    for (unsigned k = 0; k < 64; k++) {
        snprintf(name, sizeof name, "v%u.%s", k / 2, k & 1 ? "hi" : "lo");
        show(name, s->v[k / 2][k & 1], ours->v[k / 2][k & 1], theirs->v[k / 2][k & 1]);
    }
    for (unsigned k = 0; k < WINDOW_SIZE; k += 8) {
        snprintf(name, sizeof name, "+%u", k);
        show(name, ld_le64(b->window + k), ld_le64(o->window + k),
             ld_le64(b->result_window[n] + k));
    }
}

static void show_code(const struct batch *b, unsigned n)
{
    for (unsigned k = 0; k < CODE_STRIDE / 4; k++) {
        char text[128];
        uint32_t w = b->code[n][k];
        uint8_t bytes[4];
        st_le32(bytes, w);
        arm_disas(bytes, 4, b->start[n].pc + 4 * k, text, sizeof text);
        if (w != 0xd503201f)
            printf("    %08llx  %08x  %s\n", (unsigned long long)(b->start[n].pc + 4 * k), w, text);
        if (w == 0xd4200000)
            break;
    }
    for (unsigned k = 0; k < 31; k++)
        printf("%s  x%-2u %016llx%s", k % 4 ? "" : "  ", k, (unsigned long long)b->start[n].x[k],
               k % 4 == 3 || k == 30 ? "\n" : "");
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
    printf("difference: --seed %llu --cases 1, %s\n", (unsigned long long)seed,
           way < 0 ? "gone when run alone" : ways[way]);
    show_code(b, 0);
    show_differences(b, 0, o);
    if (opt.ir)
        flat_print_ir(w->flat, &b->start[0], (const uint8_t *)b->code, CODE_STRIDE);
    free(b);
    free(o);
}

// ---- what was covered ----

// Per group of the decode table: instructions it has, and how many of them were executed.
static void show_coverage(const unsigned *executed)
{
    const char *group = NULL;
    unsigned all = 0, drawn = 0, total = 0, total_drawn = 0;
    for (unsigned id = 1; id <= A64_IDS; id++) {
        const char *here = id < A64_IDS ? a64_info[id].group : "";
        if (group && strcmp(group, here)) {
            printf("  %-45s %4u of %4u\n", group, drawn, all);
            total += all;
            total_drawn += drawn;
            all = drawn = 0;
        }
        group = here;
        all++;
        drawn += id < A64_IDS && executed[id];
    }
    printf("  %-45s %4u of %4u\n", "all", total_drawn, total);
}

// ---- the run ----

static unsigned run_batch(struct ours *w, const struct pool *p, uint64_t seed, unsigned n,
                          struct batch *b, struct sequence *sequences, unsigned *reported,
                          unsigned *executed)
{
    unsigned bad = 0;
    struct outcome *o = xalloc(sizeof *o);
    struct rng window = {0};
    generate_window(b->window, &window);
    b->n = n;
    for (unsigned k = 0; k < n; k++) {
        struct rng r = {(seed + k) * 0x2545f4914f6cdd1d};
        generate(&sequences[k], p, &r, opt.units);
        place(b, k, &sequences[k], 0);
        for (unsigned u = 0; u < sequences[k].n; u++)
            executed[sequences[k].units[u].id]++;
    }
    run_reference(b);
    load_ours(w, b);
    for (unsigned k = 0; k < n; k++) {
        if (differs(w, b, k, o) < 0)
            continue;
        bad++;
        if ((*reported)++ < opt.most_reports)
            report(w, &sequences[k], seed + k, b->window);
        load_ours(w, b); // a report ran other code
    }
    free(o);
    return bad;
}

static void parse(int argc, char **argv)
{
    for (int n = 1; n < argc; n++) {
        const char *a = argv[n], *v = n + 1 < argc ? argv[n + 1] : "";
        if (!strcmp(a, "--ir") || !strcmp(a, "--coverage")) {
            *(a[2] == 'i' ? &opt.ir : &opt.coverage) = true;
            continue;
        }
        n++;
        if (!strcmp(a, "--reference"))
            opt.reference = v;
        else if (!strcmp(a, "--runner"))
            opt.runner = v;
        else if (!strcmp(a, "--only"))
            opt.only = v;
        else if (!strcmp(a, "--seed"))
            opt.seed = strtoull(v, NULL, 0);
        else if (!strcmp(a, "--cases"))
            opt.cases = (unsigned)strtoul(v, NULL, 0);
        else if (!strcmp(a, "--units"))
            opt.units = (unsigned)strtoul(v, NULL, 0);
        else if (!strcmp(a, "--ways"))
            opt.ways = (unsigned)strtoul(v, NULL, 0);
        else if (!strcmp(a, "--reports"))
            opt.most_reports = (unsigned)strtoul(v, NULL, 0);
        else
            die(a);
    }
    if (!opt.reference || !opt.runner || opt.units < 1 || opt.units > MAX_UNITS) {
        fprintf(stderr,
                "usage: diff --reference CMD --runner FILE [--seed N] [--cases N] "
                "[--units 1..16] [--only TEXT] [--reports N] [--ways BITS] [--coverage] [--ir]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct err e;
    static struct pool pool;
    static unsigned executed[A64_IDS];
    parse(argc, argv);
    pool_fill(&pool, opt.only);
    struct ours w = {.flat = flat_new(&e)};
    bool ready =
        w.flat && (w.jitted[0] = jitted_new(false, &e)) && (w.jitted[1] = jitted_new(true, &e));
    if (!ready || !pool.n) {
        fprintf(stderr, "diff: %s\n", ready ? "--only matches no instruction" : e.msg);
        return 2;
    }
    struct batch *b = xalloc(sizeof *b);
    struct sequence *sequences = xcalloc(MAX_CASES, sizeof *sequences);
    unsigned bad = 0, reported = 0;
    for (unsigned done = 0; done < opt.cases; done += MAX_CASES)
        bad += run_batch(&w, &pool, opt.seed + done, MIN(opt.cases - done, (unsigned)MAX_CASES), b,
                         sequences, &reported, executed);
    printf("%u instructions to draw from, %u cases of %u, %u different\n", pool.n, opt.cases,
           opt.units, bad);
    if (opt.coverage)
        show_coverage(executed);
    free(sequences);
    free(b);
    flat_free(w.flat);
    for (unsigned n = 0; n < 2; n++)
        jitted_free(w.jitted[n]);
    return bad != 0;
}
