// One instruction in all its forms: a machine is made with it as the last code of a page, so that
// its region holds nothing else, and the translator is asked for that region.
#include "control/front/insn.h"
#include "base/log.h"
#include "control/cli/system.h"
#include "control/front/front.h"
#include "control/vm.h"
#include "jit/jit.h"
#include "memory/dma.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CODE_MAX = 16, PAGE = 4096 };

struct question {
    const char *text, *cpu, *arch;
    uint8_t code[CODE_MAX];
    unsigned len;
    struct buf out;
    struct err err;
    bool failed;
};

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *d = c ? strchr(digits, c | 0x20) : NULL;
    return d ? (int)(d - digits) : -1;
}

// "8b020020" as one number, the way disassemblers print it, or "20 00 02 8b" as bytes in order.
static bool read_hex(struct question *q)
{
    const char *p = q->text + (strncmp(q->text, "0x", 2) ? 0 : 2);
    bool bytes = strchr(p, ' ') != NULL;
    unsigned n = 0;
    for (; *p; p++) {
        if (*p == ' ')
            continue;
        int high = hex_digit(p[0]), low = hex_digit(p[1]);
        if (high < 0 || low < 0 || n == CODE_MAX)
            return false;
        q->code[n++] = (uint8_t)(high << 4 | low);
        p++;
    }
    for (unsigned i = 0; !bytes && i < n / 2; i++) {
        uint8_t t = q->code[i];
        q->code[i] = q->code[n - 1 - i];
        q->code[n - 1 - i] = t;
    }
    q->len = n;
    return n > 0;
}

// ---- assembler text, through binutils where it is installed ----

static int run_tool(char *const *argv)
{
    pid_t pid = fork();
    if (!pid) {
        int null = open("/dev/null", O_WRONLY); // what is wrong is said by us, in one line
        dup2(null, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    int status = -1;
    return pid < 0 || waitpid(pid, &status, 0) < 0 ? -1 : WEXITSTATUS(status);
}

static int assemble(struct question *q, struct err *e)
{
    char folder[] = "/tmp/myna-insn-XXXXXX", source[64], object[64], binary[64], as[64], copy[64];
    bool arm = !strcmp(q->arch, "aarch64");
    if (!mkdtemp(folder))
        return err_set(e, "no temporary folder for the assembler");
    snprintf(source, sizeof source, "%s/a.s", folder);
    snprintf(object, sizeof object, "%s/a.o", folder);
    snprintf(binary, sizeof binary, "%s/a.bin", folder);
    snprintf(as, sizeof as, "%s-linux-gnu-as", q->arch);
    snprintf(copy, sizeof copy, "%s-linux-gnu-objcopy", q->arch);
    FILE *f = fopen(source, "w");
    if (f) {
        fprintf(f, "%s\n", q->text);
        fclose(f);
    }
    int r = run_tool((char *[]){as, arm ? "-march=armv8.6-a+crypto+sha3+sm4" : "-march=rv64gc",
                                "-o", object, source, NULL});
    if (!r)
        r = run_tool((char *[]){copy, "-O", "binary", "-j", ".text", object, binary, NULL});
    f = r ? NULL : fopen(binary, "r");
    if (f) {
        q->len = (unsigned)fread(q->code, 1, sizeof q->code, f);
        fclose(f);
    }
    unlink(source), unlink(object), unlink(binary), rmdir(folder);
    if (r == 127)
        return err_set(e,
                       "'%s' is not hexadecimal, and there is no %s to assemble it; install "
                       "binutils-%s-linux-gnu",
                       q->text, as, q->arch);
    return r || !q->len ? err_set(e, "'%s' is neither hexadecimal nor an instruction of %s",
                                  q->text, q->arch)
                        : 0;
}

// ---- through the translator ----

static void translate(struct vcpu *v, void *opaque)
{
    struct question *q = opaque;
    const struct isa *isa = v->isa;
    char text[128];
    uint64_t pc = isa->get_pc(v->env);
    unsigned level = 3; // RISC-V's machine mode, whose accesses nothing forbids
    for (unsigned i = 0; i < isa->n_regs; i++)
        if (!strcmp(isa->regs[i].name, "cpacr_el1")) { // Arm: a kernel, floating point not trapped
            isa->regs[i].set(v->env, &isa->regs[i], &(uint64_t){3ull << 20});
            level = 1;
        }
    isa->start(v->env, pc, 0, level);
    unsigned used = isa->disas(q->code, q->len, pc, text, sizeof text);
    buf_printf(&q->out, "guest code, %s:\n  %" PRIx64 ": ", isa->name, pc);
    for (unsigned i = q->len; i-- > 0;)
        buf_printf(&q->out, "%02x", q->code[i]);
    buf_printf(&q->out, "  %s\n", used ? text : "(undefined)");
    jit_explain(v->env, pc, &q->out);
}

static void place_and_translate(struct vm *vm, void *opaque)
{
    struct question *q = opaque;
    struct machine *m = vm->machine;
    struct vcpu *v = m->vcpus->v[0];
    gpa_t at = m->ram_base + 2 * PAGE - q->len;
    if (dma_write(m->memory, at, q->code, q->len)) {
        q->failed = true;
        err_set(&q->err, "the instruction does not fit");
        return;
    }
    m->isa->set_pc(v->env, at);
    vcpu_call(v, translate, q);
}

static int read_question(struct question *q, int argc, char **argv, struct err *e)
{
    const struct {
        const char *name;
        const char **to;
    } options[] = {{"--arch", &q->arch}, {"--cpu", &q->cpu}, {"--insn", &q->text}};
    const char *names[] = {"--arch", "--cpu", "--insn", "run", "system", NULL};
    for (int i = 0; i < argc; i += 2) {
        size_t k = 0;
        while (k < ARRAY_SIZE(options) && strcmp(argv[i], options[k].name))
            k++;
        if (k == ARRAY_SIZE(options)) {
            err_set(e, "explain: unknown word '%s'", argv[i]);
            return err_did_you_mean(e, argv[i], names);
        }
        if (i + 1 == argc)
            return err_set(e, "explain: %s needs a value", argv[i]);
        *options[k].to = argv[i + 1];
    }
    return q->text ? 0 : err_set(e, "explain: give --insn CODE");
}

int insn_main(int argc, char **argv)
{
    struct question q = {.arch = "aarch64", .cpu = NULL};
    struct err e = {0};
    char program[64];
    int r = read_question(&q, argc, argv, &e);
    if (!r && !read_hex(&q))
        r = assemble(&q, &e);
    snprintf(program, sizeof program, "qemu-system-%.40s", q.arch);
    char *words[] = {program,    "-machine", "virt",   "-nodefaults",
                     "-display", "none",     "-accel", "dbt",
                     "-m",       "64M",      "-cpu",   q.cpu ? (char *)q.cpu : "max",
                     NULL};
    if (!r)
        r = system_look(ARRAY_SIZE(words) - 1, words, place_and_translate, &q, &e);
    log_set_name("myna");
    if (!r && q.failed)
        r = -1, e = q.err;
    if (r)
        log_error("%s", e.msg);
    else
        fwrite(q.out.data, 1, q.out.len, stdout);
    buf_free(&q.out);
    return r ? 1 : 0;
}
