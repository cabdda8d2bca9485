// See flat.h.
#include "flat.h"
#include "state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/buf.h"

struct flat {
    struct env *env;
    struct state_map map;
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

static int exec_peek(struct env *e, gva_t va, void *dst, size_t n)
{
    if (va < WINDOW_VA || va - WINDOW_VA > WINDOW_SIZE - n)
        return -1;
    memcpy(dst, flat_of(e)->window + (va - WINDOW_VA), n);
    return 0;
}

static int exec_poke(struct env *e, gva_t va, const void *src, size_t n)
{
    if (va < WINDOW_VA || va - WINDOW_VA > WINDOW_SIZE - n)
        return -1;
    memcpy(flat_of(e)->window + (va - WINDOW_VA), src, n);
    return 0;
}

static void exec_nothing(struct env *e) {}
static void exec_set_context(struct env *e, unsigned mmu, uint64_t ctx) {}
static void exec_flush(struct env *e, const struct env_flush *f, bool broadcast) {}
static void exec_code_flush(struct env *e, gva_t va, uint64_t len) {}

static const struct env_exec_ops exec_ops = {
    .leave = exec_leave,
    .load = exec_load,
    .store = exec_store,
    .load128 = exec_load128,
    .store128 = exec_store128,
    .zero = exec_zero,
    .peek = exec_peek,
    .poke = exec_poke,
    .set_context = exec_set_context,
    .flush = exec_flush,
    .code_flush = exec_code_flush,
    .sync = exec_nothing,
    .fp_sync = exec_nothing,
    .fp_changed = exec_nothing,
};

// ---- life ----

struct flat *flat_new(const struct diff_guest *g, const char *model, struct err *e)
{
    struct flat *f = xalloc(sizeof *f);
    f->env = xalloc(g->isa->cpu_size);
    f->switches = ir_switches_all;
    f->env->exec = &exec_ops;
    f->env->vcpu = f;
    if (state_open(&f->map, g, f->env, model, NULL, e))
        return NULL;
    g->isa->reset(f->env);
    g->isa->start(f->env, 0, 0, 0);
    return f;
}

void flat_free(struct flat *f)
{
    state_close(&f->map);
    ir_region_free(&f->region);
    free(f->env);
    free(f);
}

struct env *flat_env(struct flat *f)
{
    return f->env;
}

// ---- running ----

static uint64_t pc_of(const struct flat *f)
{
    return f->map.guest->isa->get_pc(f->env);
}

// The region at the pc.
static void build(struct flat *f)
{
    uint64_t at = pc_of(f) - CODE_VA;
    region_build(&f->build, &f->region, &f->switches, &f->map, pc_of(f), f->env->isa->mode(f->env),
                 f->code + at, (unsigned)(f->code_size - at), 64);
}

size_t flat_build_all(struct flat *f, const uint8_t *code, size_t code_size, size_t *nodes)
{
    size_t regions = 0;
    f->code = code;
    *nodes = 0;
    for (size_t at = 0; at < code_size; regions++) {
        f->map.guest->isa->set_pc(f->env, CODE_VA + at);
        f->code_size = code_size;
        build(f);
        at += f->region.n_bytes;
        *nodes += f->region.insns.len - 1;
    }
    return regions;
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
    state_load(&f->map, start);
    enum env_leave why = (enum env_leave)(setjmp(f->leave) - 1);
    while (why != LEAVE_SIGNAL && why != LEAVE_SYSCALL && regions++ < 1000 &&
           pc_of(f) - CODE_VA < code_size) {
        build(f);
        if (ir_verify(&f->region, &bad)) {
            fprintf(stderr, "malformed region: %s\n", bad.msg);
            break;
        }
        struct ir_outcome o = ir_interp(&f->region, f->env);
        why = o.kind == OUT_LEAVE ? o.why : LEAVE_AGAIN;
    }
    state_store(&f->map, why, out);
}

void flat_print_ir(struct flat *f, const struct diff_state *start, const uint8_t *code,
                   size_t code_size)
{
    struct buf text = {0};
    f->code = code;
    f->code_size = code_size;
    state_load(&f->map, start);
    build(f);
    ir_print(&f->region, &text);
    puts(buf_str(&text));
    buf_free(&text);
}
