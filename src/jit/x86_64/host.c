// Fixed code at the start of the cache: entering and leaving translated code, the slow-access
// call, look-up of computed targets. Translated code runs on its own stack, which holds nothing
// but return addresses of guest calls; C code runs on the thread's stack.
#include "jit/x86_64/host.h"

#include "jit/access.h"

static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};

static void save_mxcsr(struct as *a)
{
    x_op(a, X_0F | 0xae, 3, rm_env(VOFF(mxcsr)));
}

static void load_mxcsr(struct as *a, int32_t image)
{
    x_op(a, X_0F | 0xae, 2, rm_env(image));
}

static void emit_leave_c_frame(struct as *a)
{
    load_mxcsr(a, VOFF(mxcsr_c));
    x_mov(a, X_W, RSP, rm_env(VOFF(c_sp)));
    x_alui(a, X_W, ALU_ADD, rm_reg(RSP), 8);
    for (unsigned k = ARRAY_SIZE(saved); k-- > 0;)
        x_pop(a, saved[k]);
    x_ret(a);
}

static struct rm resident_slot(const struct jit *j, unsigned k)
{
    return rm_env(j->c.guest->slots[j->c.guest->resident[k]].offset);
}

static void emit_enter(struct jit *j, struct as *a)
{
    j->thunk.enter = as_here(a);
    for (unsigned k = 0; k < ARRAY_SIZE(saved); k++)
        x_push(a, saved[k]);
    x_alui(a, X_W, ALU_SUB, rm_reg(RSP), 8);
    x_lea(a, X_W, R_ENV, rm_mem(RDI, a->bias));
    x_store(a, X_W, rm_env(VOFF(c_sp)), RSP);
    x_mov(a, X_W, RSP, rm_env(VOFF(jit_sp)));
    if (j->c.user_mode)
        x_mov(a, X_W, R_BASE, rm_env(VOFF(user_base)));
    else
        x_mov(a, X_W, R_KEY, rm_env(VOFF(key)));
    load_mxcsr(a, VOFF(mxcsr));
    for (unsigned k = 0; k < j->region.n_resident; k++)
        x_mov(a, X_W, cg_resident_reg(j, k), resident_slot(j, k));
    x_op(a, 0xff, 4, rm_reg(RSI));
}

static void emit_exits(struct jit *j, struct as *a)
{
    const uint8_t *out = as_here(a);
    for (unsigned k = 0; k < j->region.n_resident; k++)
        x_store(a, X_W, resident_slot(j, k), cg_resident_reg(j, k));
    const uint8_t *out_stored = as_here(a); // every slot has been stored
    x_store(a, X_W, rm_env(VOFF(jit_sp)), RSP);
    save_mxcsr(a);
    const uint8_t *out_saved = as_here(a);
    emit_leave_c_frame(a);

    j->thunk.exit_link = as_here(a); // rax: offset of the link
    x_movi(a, RDX, (uintptr_t)j->meta);
    x_alu_rr(a, X_W, ALU_ADD, RDX, RAX);
    x_movi(a, RAX, RUN_LINK);
    x_jmp_to(a, out);

    j->thunk.exit_lookup = as_here(a);
    x_mov_rr(a, X_W, RDX, RAX);
    x_movi(a, RAX, RUN_LOOKUP);
    x_jmp_to(a, out);

    j->thunk.exit_interrupt = as_here(a);
    x_store(a, X_W, rm_env(j->c.guest->slots[j->c.guest->pc].offset), RAX);
    x_movi(a, RDX, LEAVE_INTERRUPT);
    x_movi(a, RAX, RUN_LEAVE);
    x_jmp_to(a, out);

    j->thunk.exit_mode = as_here(a); // rax: pc
    x_store(a, X_W, rm_env(j->c.guest->slots[j->c.guest->pc].offset), RAX);
    x_movi(a, RDX, LEAVE_AGAIN);
    x_movi(a, RAX, RUN_LEAVE);
    x_jmp_to(a, out);

    j->thunk.leave = as_here(a);
    x_mov_rr(a, 0, RDX, RAX);
    x_movi(a, RAX, RUN_LEAVE);
    x_jmp_to(a, out_stored);

    j->thunk.unwind = as_here(a); // C: (env, why)
    x_lea(a, X_W, R_ENV, rm_mem(RDI, a->bias));
    x_mov_rr(a, 0, RDX, RSI);
    x_movi(a, RAX, RUN_LEAVE);
    x_jmp_to(a, out_saved);
}

static void emit_lookups(struct jit *j, struct cg *c)
{
    struct as *a = &c->as;
    j->thunk.ret_miss = as_here(a);
    x_mov(a, X_W, RSP, rm_env(VOFF(jit_base)));
    x_alui(a, 0, ALU_CMP, rm_env((int32_t)offsetof(struct env, interrupt)), 0);
    x_jcc_to(a, CC_NE, j->thunk.exit_interrupt);
    j->thunk.lookup = as_here(a);
    cg_emit_lookup_thunk(c, j->thunk.exit_lookup, false);

    const uint8_t *miss = as_here(a);
    x_mov_rr(a, X_W, RAX, RSI);
    x_jmp_to(a, j->thunk.exit_link);
    j->thunk.guard_miss = as_here(a); // rax: pc, rsi: offset of the link
    cg_emit_lookup_thunk(c, miss, true);
}

static struct rm saved_gpr(int r)
{
    return rm_env(VOFF(regs.gpr) + 8 * r);
}

static void emit_save(struct as *a)
{
    for (int r = 0; r < 16; r++)
        if (r != RSP && r != R_ENV)
            x_store(a, X_W, saved_gpr(r), r);
    for (int r = 0; r < 16; r++)
        x_op(a, X_0F | 0x29, r, rm_env(VOFF(regs.xmm) + 16 * r));
}

// Called with `args` words pushed before, which leave the stack: fn(env, word, word) works on
// v->regs.
static const uint8_t *emit_out_of_line(struct as *a, const void *fn, unsigned args)
{
    const uint8_t *start = as_here(a);
    emit_save(a);
    save_mxcsr(a);
    load_mxcsr(a, VOFF(mxcsr_c));
    x_op(a, 0x8f, 0, rm_env(VOFF(slow_ra))); // pop
    x_pop(a, RSI);
    if (args > 1)
        x_pop(a, RDX);
    x_store(a, X_W, rm_env(VOFF(jit_sp)), RSP);
    x_mov(a, X_W, RSP, rm_env(VOFF(c_sp)));
    x_lea(a, X_W, RDI, rm_env(0));
    x_call_c(a, fn);
    x_mov(a, X_W, RSP, rm_env(VOFF(jit_sp)));
    load_mxcsr(a, VOFF(mxcsr));
    x_op(a, 0xff, 6, rm_env(VOFF(slow_ra))); // push
    for (int r = 0; r < 16; r++)
        x_op(a, X_0F | 0x28, r, rm_env(VOFF(regs.xmm) + 16 * r));
    for (int r = 0; r < 16; r++)
        if (r != RSP && r != R_ENV)
            x_mov(a, X_W, r, saved_gpr(r));
    x_ret(a);
    return start;
}

static void emit_slow(struct jit *j, struct as *a)
{
    j->thunk.slow = emit_out_of_line(a, (const void *)(uintptr_t)jit_slow_access, 1);
    j->thunk.fp_slow = emit_out_of_line(a, (const void *)(uintptr_t)jit_fp_slow, 2);

    j->thunk.fault = as_here(a); // from the signal handler, registers already saved
    x_store(a, X_W, rm_env(VOFF(jit_sp)), RSP);
    save_mxcsr(a);
    load_mxcsr(a, VOFF(mxcsr_c));
    x_mov(a, X_W, RSP, rm_env(VOFF(c_sp)));
    x_lea(a, X_W, RDI, rm_env(0));
    x_call_c(a, (const void *)(uintptr_t)jit_user_fault);
}

void host_init(struct jit *j)
{
    struct cg *c = j->cg = cg_new(j);
    c->as.p = j->rw;
    c->as.rx_delta = (intptr_t)(j->rx - j->rw);
    emit_enter(j, &c->as);
    emit_exits(j, &c->as);
    emit_lookups(j, c);
    emit_slow(j, &c->as);
    if (!j->c.user_mode)
        cg_emit_span_checks(c);
    j->thunk_end = (uint32_t)(c->as.p - j->rw);
}

void host_exit(struct jit *j)
{
    cg_free(j->cg);
}

// An aligned 32-bit displacement: other threads see the old target or the new one.
void host_patch(struct jit *j, struct link *l, uint32_t target)
{
    int32_t d = (int32_t)target - (int32_t)(l->jump + 4 - j->rw);
    __atomic_store_n((int32_t *)l->jump, d, __ATOMIC_RELEASE);
}

void host_patch_guard(struct link *l, uint32_t id)
{
    __atomic_store_n((uint32_t *)l->guard, id, __ATOMIC_RELEASE);
}

#if THREAD_SANITIZER
// It keeps a stack of calls of its own, which sees a longjmp but not our way out of helpers.
static _Thread_local jmp_buf entered;
#endif

struct run_result host_enter(struct jit *j, struct env *e, uint32_t code)
{
    struct run_result (*enter)(struct env *, const void *) =
        (struct run_result(*)(struct env *, const void *))(uintptr_t)j->thunk.enter;
#if THREAD_SANITIZER
    int why = setjmp(entered);
    if (why) {
        __builtin_ia32_ldmxcsr(jit_vcpu_of(e)->mxcsr_c);
        return (struct run_result){RUN_LEAVE, (unsigned)why - 1};
    }
#endif
    return enter(e, j->rx + code);
}

void host_unwind(struct jit_vcpu *v, enum env_leave why)
{
#if THREAD_SANITIZER
    longjmp(entered, (int)why + 1);
#endif
    void (*unwind)(struct env *, unsigned) =
        (void (*)(struct env *, unsigned))(uintptr_t)v->jit->thunk.unwind;
    unwind(jit_env(v), why);
    __builtin_unreachable();
}
