// See flat.h.
#include "flat.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/buf.h"
#include "isa/arm/arm.h"

struct flat {
    struct arm_cpu *cpu;
    struct ir_build build;
    struct ir_region region;
    const uint8_t *code;
    size_t code_size;
    uint8_t *window;
    struct ir_switches switches;
    jmp_buf leave;
};

static struct flat *flat_of(struct env *e)
{
    return e->vcpu;
}

// ---- the executor's side of the contract ----

static __attribute__((noreturn)) void exec_leave(struct env *e, enum env_leave why)
{
    longjmp(flat_of(e)->leave, 1 + (int)why);
}

// Host address of a guest access, or leave with a fault recorded.
static uint8_t *at(struct env *e, gva_t va, unsigned mo, enum env_access access)
{
    struct flat *f = flat_of(e);
    unsigned size = MO_SIZE_BYTES(mo), align = 1u << ((mo & MO_ALIGN) >> MO_ALIGN_SHIFT);
    if ((va & (align - 1)) == 0 && va >= WINDOW_VA && va - WINDOW_VA <= WINDOW_SIZE - size)
        return f->window + (va - WINDOW_VA);
    e->fault = (struct env_fault){.va = va, .access = access};
    e->fault.kind = va & (align - 1) ? SIGBUS : SIGSEGV;
    exec_leave(e, LEAVE_SIGNAL);
}

static void reverse(void *p, unsigned n)
{
    uint8_t *b = p;
    for (unsigned k = 0; k < n / 2; k++) {
        uint8_t t = b[k];
        b[k] = b[n - 1 - k];
        b[n - 1 - k] = t;
    }
}

static v128 exec_load128(struct env *e, gva_t va, unsigned mo)
{
    v128 v = {0};
    memcpy(&v, at(e, va, mo, ENV_READ), MO_SIZE_BYTES(mo));
    if (mo & MO_BE)
        reverse(&v, MO_SIZE_BYTES(mo));
    return v;
}

static void exec_store128(struct env *e, gva_t va, v128 v, unsigned mo)
{
    if (mo & MO_BE)
        reverse(&v, MO_SIZE_BYTES(mo));
    memcpy(at(e, va, mo, ENV_WRITE), &v, MO_SIZE_BYTES(mo));
}

static uint64_t exec_load(struct env *e, gva_t va, unsigned mo)
{
    v128 v = exec_load128(e, va, mo);
    uint64_t x;
    memcpy(&x, &v, 8);
    return mo & MO_SIGN ? (uint64_t)sign_extend(x, 8 * MO_SIZE_BYTES(mo)) : x;
}

static void exec_store(struct env *e, gva_t va, uint64_t x, unsigned mo)
{
    v128 v = {0};
    memcpy(&v, &x, 8);
    exec_store128(e, va, v, mo);
}

static void exec_zero(struct env *e, gva_t va, unsigned size, unsigned mo)
{
    for (unsigned n = 0; n < size; n += 8)
        exec_store(e, va + n, 0, MO_64);
}

static void exec_nothing(struct env *e) {}
static void exec_set_context(struct env *e, unsigned mmu, uint64_t ctx) {}
static void exec_flush(struct env *e, const struct env_flush *f, bool broadcast) {}

static const struct env_exec_ops exec_ops = {
    .leave = exec_leave,
    .load = exec_load,
    .store = exec_store,
    .load128 = exec_load128,
    .store128 = exec_store128,
    .zero = exec_zero,
    .set_context = exec_set_context,
    .flush = exec_flush,
    .sync = exec_nothing,
    .fp_sync = exec_nothing,
    .fp_changed = exec_nothing,
};

// ---- life ----

struct flat *flat_new(struct err *e)
{
    struct flat *f = xalloc(sizeof *f);
    f->cpu = xalloc(sizeof *f->cpu);
    f->switches = ir_switches_all;
    f->cpu->env.exec = &exec_ops;
    f->cpu->env.vcpu = f;
    struct isa_config config = {.model = "max", .user_mode = true};
    if (isa_aarch64.init(&f->cpu->env, &config, e)) {
        flat_free(f);
        return NULL;
    }
    isa_aarch64.reset(&f->cpu->env);
    isa_aarch64.start(&f->cpu->env, 0, 0, 0);
    return f;
}

void flat_free(struct flat *f)
{
    ir_region_free(&f->region);
    free(f->cpu);
    free(f);
}

// ---- registers by the names the CPU gives them ----

static void reg_access(struct flat *f, const char *name, void *value, bool set)
{
    for (unsigned n = 0; n < isa_aarch64.n_regs; n++) {
        const struct isa_reg *r = &isa_aarch64.regs[n];
        if (strcmp(r->name, name))
            continue;
        if (set)
            r->set(&f->cpu->env, r, value);
        else
            r->get(&f->cpu->env, r, value);
    }
}

static void load_state(struct flat *f, const struct diff_state *s)
{
    struct arm_cpu *c = f->cpu;
    uint32_t fpcr = s->fpcr, fpsr = s->fpsr;
    memcpy(c->x, s->x, sizeof c->x);
    memcpy(c->v, s->v, sizeof c->v);
    c->sp = s->sp;
    c->pc = s->pc;
    c->nzcv = flags_pack(bit(s->nzcv, 31), bit(s->nzcv, 30), bit(s->nzcv, 29), bit(s->nzcv, 28));
    reg_access(f, "fpcr", &fpcr, true);
    reg_access(f, "fpsr", &fpsr, true);
    c->env.monitor.addr = MONITOR_NONE;
    c->env.fault = (struct env_fault){0};
}

static void store_state(struct flat *f, struct diff_state *s)
{
    const struct arm_cpu *c = f->cpu;
    *s = (struct diff_state){.sp = c->sp, .pc = c->pc};
    memcpy(s->x, c->x, sizeof s->x);
    memcpy(s->v, c->v, sizeof s->v);
    s->nzcv = (uint64_t)(c->nzcv >> PACK_N & 1) << 31 | (uint64_t)(c->nzcv >> PACK_Z & 1) << 30 |
              (uint64_t)(c->nzcv >> PACK_C & 1) << 29 | (uint64_t)(c->nzcv >> PACK_V & 1) << 28;
    reg_access(f, "fpsr", &s->fpsr, false);
    reg_access(f, "fpcr", &s->fpcr, false);
}

// ---- running ----

// One region at the pc, through forward jumps as the translator does; its guest instructions.
static unsigned build(struct flat *f)
{
    struct env *e = &f->cpu->env;
    uint64_t pc = f->cpu->pc, mode = e->isa->mode(e);
    ir_region_reset(&f->region, &arm_guest, pc, mode);
    ir_build_begin(&f->build, &f->region, &f->switches);
    for (unsigned n = 0; n < 64; n++) {
        struct lift l = {.b = &f->build, .env = e, .pc = pc, .mode = mode};
        if (pc - CODE_VA >= f->code_size)
            break;
        l.code = f->code + (pc - CODE_VA);
        l.avail = (unsigned)(f->code_size - (pc - CODE_VA));
        ir_build_insn(&f->build, pc);
        isa_aarch64.lift(&l);
        if (f->build.ended)
            return f->region.n_guest_insns;
        pc = f->build.follow ? f->build.follow_pc : pc + l.length;
    }
    ir_build_end(&f->build, pc);
    return f->region.n_guest_insns;
}

size_t flat_build_all(struct flat *f, const uint8_t *code, size_t code_size, size_t *nodes)
{
    size_t regions = 0;
    f->code = code;
    *nodes = 0;
    for (size_t at = 0; at < code_size; regions++) {
        f->cpu->pc = CODE_VA + at;
        f->code_size = code_size;
        at += 4 * build(f);
        *nodes += f->region.insns.len - 1;
    }
    return regions;
}

static uint32_t signal_of(struct flat *f)
{
    uint64_t at_pc = f->cpu->pc - CODE_VA;
    if (f->cpu->env.fault.kind)
        return f->cpu->env.fault.kind;
    bool brk = at_pc + 4 <= f->code_size && (ld_le32(f->code + at_pc) & 0xffe0001f) == 0xd4200000;
    return brk ? SIGTRAP : SIGILL;
}

void flat_run(struct flat *f, bool plain, const struct diff_state *start, const uint8_t *code,
              size_t code_size, uint8_t *window, struct diff_state *out)
{
    volatile unsigned regions = 0;
    struct err bad;
    f->code = code;
    f->code_size = code_size;
    f->window = window;
    f->switches = plain ? (struct ir_switches){0} : ir_switches_all;
    load_state(f, start);
    enum env_leave why = (enum env_leave)(setjmp(f->leave) - 1);
    while (why != LEAVE_SIGNAL && why != LEAVE_SYSCALL && regions++ < 1000 &&
           f->cpu->pc - CODE_VA < code_size) {
        build(f);
        if (ir_verify(&f->region, &bad)) {
            fprintf(stderr, "malformed region: %s\n", bad.msg);
            break;
        }
        struct ir_outcome o = ir_interp(&f->region, &f->cpu->env);
        why = o.kind == OUT_LEAVE ? o.why : LEAVE_AGAIN;
    }
    store_state(f, out);
    out->signal = why == LEAVE_SIGNAL ? signal_of(f) : SIGSEGV;
}

void flat_print_ir(struct flat *f, const struct diff_state *start, const uint8_t *code,
                   size_t code_size)
{
    struct buf text = {0};
    f->code = code;
    f->code_size = code_size;
    load_state(f, start);
    build(f);
    ir_print(&f->region, &text);
    puts(buf_str(&text));
    buf_free(&text);
}
