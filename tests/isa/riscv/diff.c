// The differential test of the RISC-V translation: random sequences, executed as host code and by
// an independent emulator through the runner, must end in the same registers, flags and memory.
//
// diff REFERENCE RUNNER [CASES [SEED [UNITS [ONLY [CPU [VLEN]]]]]]: CPU is the reference's model,
// by default rv64, which is taken to have RV64GC, Zba, Zbb, Zbc and Zbs alone; VLEN 0: no vectors
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "generate.h"
#include "isa/riscv/riscv.h"
#include "jit/jit.h"

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

// ---- the reference ----

static void run_reference(struct batch *b, const char *reference, const char *cpu,
                          const char *runner)
{
    char in[64], out[64];
    snprintf(in, sizeof in, "/tmp/riscv-diff-%d.in", getpid());
    snprintf(out, sizeof out, "/tmp/riscv-diff-%d.out", getpid());
    FILE *f = fopen(in, "wb");
    struct diff_header h = {.cases = b->n};
    if (!f || fwrite(&h, sizeof h, 1, f) != 1 ||
        fwrite(b->start, sizeof *b->start, b->n, f) != b->n ||
        fwrite(b->code, CODE_STRIDE, b->n, f) != b->n ||
        fwrite(b->window, WINDOW_SIZE, 1, f) != 1 || fclose(f))
        die(in);
    pid_t pid = fork();
    if (!pid) {
        execlp(reference, reference, "-cpu", cpu, runner, in, out, NULL);
        die(reference);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status) {
        fprintf(stderr, "diff: the reference ended with status %#x\n", (unsigned)status);
        exit(2);
    }
    f = fopen(out, "rb");
    if (!f)
        die(out);
    for (unsigned n = 0; n < b->n; n++)
        if (fread(&b->result[n], sizeof *b->result, 1, f) != 1 ||
            fread(b->result_window[n], WINDOW_SIZE, 1, f) != 1)
            die(out);
    fclose(f);
    unlink(in);
    unlink(out);
}

// ---- ours: user mode, where guest memory is host memory, or behind the soft MMU ----

enum { USER_SIZE = 1 << 30, RAM_SIZE = 4 << 20 };

struct ours {
    struct jit *jit;
    struct rv_cpu *cpu;
    struct ir_build build;
    uint8_t *user; // guest address 0; NULL behind the soft MMU
    struct ram *ram;
    struct space *space;
};

static bool translate(void *opaque, struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code,
                      unsigned avail, unsigned max_insns, struct ir_region *r)
{
    struct ours *w = opaque;
    struct err bad;
    ir_region_reset(r, &rv_guest, pc, mode);
    struct ir_switches sw = ir_switches_all;
    sw.spans = !w->user;
    ir_build_begin(&w->build, r, &sw);
    pc = r->pc;
    uint64_t start = pc, end = pc;
    for (unsigned n = 0; n < MIN(max_insns, 64u) && pc - start < avail; n++) {
        struct lift l = {.b = &w->build, .env = e, .pc = pc, .mode = mode};
        l.code = code + (pc - start);
        l.avail = avail - (unsigned)(pc - start);
        ir_build_insn(&w->build, pc);
        isa_riscv64.lift(&l);
        end = MAX(end, pc + l.length);
        if (w->build.ended || !l.length)
            break;
        pc = w->build.follow ? w->build.follow_pc : pc + l.length;
    }
    ir_build_end(&w->build, pc);
    r->n_bytes = (uint32_t)(end - start);
    if (ir_verify(r, &bad))
        fprintf(stderr, "malformed region: %s\n", bad.msg);
    return true;
}

static void ours_new(struct ours *w, bool system, const char *cpu)
{
    struct err e;
    struct jit_config c = {.guest = &rv_guest,
                           .cpu_size = sizeof(struct rv_cpu),
                           .max_vcpus = 1,
                           .user_mode = !system,
                           .translate = translate,
                           .opaque = w};
    struct opts features = {0};
    struct isa_config config = {.model = "max", .user_mode = true, .features = &features};
    if (opts_parse(&features, cpu, "model", &e) || !opts_get(&features, "model"))
        die(cpu);
    if (system) {
        w->space = space_new("memory", UINT64_MAX);
        w->ram = ram_new("ram", RAM_SIZE, false, &e);
        space_map_ram(w->space, "ram", WINDOW_VA, w->ram, 0, RAM_SIZE, false, 0);
        config.memory = w->space;
    } else {
        w->user =
            mmap(NULL, USER_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (w->user == MAP_FAILED ||
            mprotect(w->user + WINDOW_VA, RAM_SIZE, PROT_READ | PROT_WRITE))
            die("guest memory");
        c.user_base = w->user;
    }
    w->jit = jit_new(&c, &e);
    struct env *env = w->jit ? jit_vcpu_new(w->jit, 0, &e) : NULL;
    if (!env || isa_riscv64.init(env, &config, &e)) {
        fprintf(stderr, "diff: %s\n", e.msg);
        exit(2);
    }
    w->cpu = rv_cpu(env);
    jit_thread_enter(env);
    isa_riscv64.reset(env);
}

static void ours_free(struct ours *w)
{
    jit_thread_leave(&w->cpu->env);
    isa_riscv64.exit(&w->cpu->env);
    jit_vcpu_free(&w->cpu->env);
    jit_free(w->jit);
    if (w->user) {
        munmap(w->user, USER_SIZE);
    } else {
        space_free(w->space);
        ram_free(w->ram);
    }
}

static void put(struct ours *w, uint64_t va, const void *from, size_t n)
{
    if (w->user)
        memcpy(w->user + va, from, n);
    else
        ram_write(w->ram, va - WINDOW_VA, from, n);
}

static uint32_t signal_of(const struct rv_cpu *c)
{
    if (!(c->env.fault.kind & RV_FAULT_EXCEPTION))
        return SIGSEGV;
    return c->env.fault.info[0] == RV_CAUSE_BREAKPOINT ? SIGTRAP : SIGILL;
}

static void run_ours(struct ours *w, const struct batch *b, unsigned n, struct diff_state *out,
                     uint8_t *window)
{
    struct rv_cpu *c = w->cpu;
    const struct diff_state *s = &b->start[n];
    enum env_leave why = LEAVE_AGAIN;
    uint64_t fcsr = 0;
    put(w, WINDOW_VA, b->window, WINDOW_SIZE);
    memcpy(c->x, s->x, sizeof c->x);
    memcpy(c->f, s->f, sizeof c->f);
    c->pc = s->pc;
    rv_csr_write(c, RV_CSR_FCSR, s->fcsr);
    c->env.monitor.addr = MONITOR_NONE;
    c->env.fault = (struct env_fault){0};
    for (unsigned k = 0; k < 100 && why != LEAVE_SIGNAL && why != LEAVE_SYSCALL; k++)
        why = jit_run(&c->env);
    rv_csr_read(c, RV_CSR_FCSR, &fcsr);
    *out = (struct diff_state){.pc = c->pc, .fcsr = (uint32_t)fcsr};
    memcpy(out->x, c->x, sizeof c->x);
    memcpy(out->f, c->f, sizeof c->f);
    out->signal = why == LEAVE_SIGNAL ? signal_of(c) : 0;
    if (w->user)
        memcpy(window, w->user + WINDOW_VA, WINDOW_SIZE);
    else
        ram_read(w->ram, 0, window, WINDOW_SIZE);
}

// ---- comparing ----

static void show(const char *name, unsigned n, uint64_t start, uint64_t ours, uint64_t theirs)
{
    if (ours != theirs)
        printf("    %s%-4u ours %016llx  theirs %016llx  (before %016llx)\n", name, n,
               (unsigned long long)ours, (unsigned long long)theirs, (unsigned long long)start);
}

static void report(const struct batch *b, unsigned n, uint64_t seed, const char *way,
                   const struct diff_state *o, const uint8_t *window)
{
    const struct diff_state *s = &b->start[n], *t = &b->result[n];
    char text[128];
    printf("difference: seed %llu, %s\n", (unsigned long long)seed, way);
    for (unsigned at = 0, used = 1; used && at < CODE_STRIDE - 4; at += used) {
        used = rv_disas_insn(b->code[n] + at, 4, s->pc + at, text, sizeof text);
        printf("    %08llx  %s\n", (unsigned long long)(s->pc + at), text);
        if (!strcmp(text, "ebreak"))
            break;
    }
    show("pc", 0, s->pc, o->pc, t->pc);
    show("fcsr", 0, s->fcsr, o->fcsr, t->fcsr);
    show("signal", 0, 0, o->signal, t->signal);
    for (unsigned k = 0; k < 32; k++)
        show("x", k, s->x[k], o->x[k], t->x[k]);
    for (unsigned k = 0; k < 32; k++)
        show("f", k, s->f[k], o->f[k], t->f[k]);
    for (unsigned k = 0; k < WINDOW_SIZE; k += 8)
        show("+", k, ld_le64(b->window + k), ld_le64(window + k), ld_le64(b->result_window[n] + k));
}

int main(int argc, char **argv)
{
    static struct batch b;
    static struct ours ways[2];
    static const char *const names[] = {"host code, user mode", "host code, soft MMU"};
    uint8_t window[WINDOW_SIZE];
    struct diff_state state;
    if (argc < 3) {
        fprintf(stderr,
                "usage: diff REFERENCE RUNNER [CASES [SEED [UNITS [ONLY [CPU [VLEN]]]]]]\n");
        return 2;
    }
    unsigned cases = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 4096;
    uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
    unsigned units = argc > 5 ? MIN((unsigned)strtoul(argv[5], NULL, 0), 20u) : 8;
    const char *only = argc > 6 && *argv[6] ? argv[6] : NULL, *cpu = argc > 7 ? argv[7] : "rv64";
    unsigned vlen = argc > 8 ? (unsigned)strtoul(argv[8], NULL, 0) : 0;
    unsigned bad = 0, finished = 0;
    char ours[64], theirs[64];
    snprintf(ours, sizeof ours, vlen ? "max,vlen=%u" : "max", vlen);
    snprintf(theirs, sizeof theirs, vlen ? "%s,vlen=%u" : "%s", cpu, vlen);
    for (unsigned k = 0; k < ARRAY_SIZE(ways); k++)
        ours_new(&ways[k], k, ours);
    for (unsigned done = 0; done < cases; done += b.n) {
        b.n = MIN(cases - done, (unsigned)MAX_CASES);
        generate_window(&(struct rng){seed}, b.window);
        for (unsigned n = 0; n < b.n; n++) {
            struct rng r = {(seed + done + n) * 0x2545f4914f6cdd1d};
            generate(&r, only, units, vlen, strcmp(cpu, "rv64"), &b.start[n], b.code[n]);
            b.start[n].pc = CODE_VA + (uint64_t)n * CODE_STRIDE;
        }
        run_reference(&b, argv[1], theirs, argv[2]);
        for (unsigned k = 0; k < ARRAY_SIZE(ways); k++) {
            jit_flush_all(ways[k].jit);
            put(&ways[k], CODE_VA, b.code, (size_t)b.n * CODE_STRIDE);
        }
        for (unsigned n = 0; n < b.n; n++) {
            bool differs = false;
            finished += b.result[n].signal == SIGTRAP;
            for (unsigned k = 0; k < ARRAY_SIZE(ways) && !differs; k++) {
                run_ours(&ways[k], &b, n, &state, window);
                differs = memcmp(&state, &b.result[n], sizeof state) ||
                          memcmp(window, b.result_window[n], WINDOW_SIZE);
                if (differs && bad++ < 5)
                    report(&b, n, seed + done + n, names[k], &state, window);
            }
        }
    }
    printf("%u cases of %u, %u to their end, %u different\n", cases, units, finished, bad);
    for (unsigned k = 0; k < ARRAY_SIZE(ways); k++)
        ours_free(&ways[k]);
    return bad || finished < cases / 2;
}
