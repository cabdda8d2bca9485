// See context.h. AArch64 Linux.
#include "../context.h"
#include "state.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>

static const uint64_t nzcv_mask = 0xf0000000;

static struct fpsimd_context *fpsimd(const ucontext_t *u)
{
    struct _aarch64_ctx *c = (void *)u->uc_mcontext.__reserved;
    while (c->magic != FPSIMD_MAGIC)
        c = (void *)((char *)c + c->size);
    return (void *)c;
}

void context_load(void *ucontext, const struct diff_state *s)
{
    mcontext_t *m = &((ucontext_t *)ucontext)->uc_mcontext;
    struct fpsimd_context *f = fpsimd(ucontext);
    memcpy(m->regs, &s->r[STATE_X], sizeof m->regs);
    m->sp = s->r[STATE_SP];
    m->pc = s->pc;
    m->pstate = (m->pstate & ~nzcv_mask) | s->r[STATE_NZCV];
    f->fpsr = (uint32_t)s->r[STATE_FPSR];
    f->fpcr = (uint32_t)s->r[STATE_FPCR];
    memcpy(f->vregs, &s->r[STATE_V], sizeof f->vregs);
}

void context_store(const void *ucontext, struct diff_state *s)
{
    const mcontext_t *m = &((const ucontext_t *)ucontext)->uc_mcontext;
    const struct fpsimd_context *f = fpsimd(ucontext);
    memcpy(&s->r[STATE_X], m->regs, sizeof m->regs);
    s->r[STATE_SP] = m->sp;
    s->pc = m->pc;
    s->r[STATE_NZCV] = m->pstate & nzcv_mask;
    s->r[STATE_FPSR] = f->fpsr;
    s->r[STATE_FPCR] = f->fpcr;
    memcpy(&s->r[STATE_V], f->vregs, sizeof f->vregs);
}
