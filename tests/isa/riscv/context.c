// See context.h. riscv64 Linux; vector registers are not part of the contexts that older kernels
// and emulators give, so sequences move those through memory.
#include "../context.h"
#include "state.h"

#include <string.h>
#include <ucontext.h>

void context_load(void *ucontext, const struct diff_state *s)
{
    mcontext_t *m = &((ucontext_t *)ucontext)->uc_mcontext;
    struct __riscv_mc_d_ext_state *fp = &m->__fpregs.__d;
    m->__gregs[0] = s->pc;
    memcpy(&m->__gregs[1], &s->r[STATE_X + 1], 31 * 8);
    memcpy(fp->__f, &s->r[STATE_F], sizeof fp->__f);
    fp->__fcsr = (uint32_t)s->r[STATE_FCSR];
}

void context_store(const void *ucontext, struct diff_state *s)
{
    const mcontext_t *m = &((const ucontext_t *)ucontext)->uc_mcontext;
    const struct __riscv_mc_d_ext_state *fp = &m->__fpregs.__d;
    s->pc = m->__gregs[0];
    memcpy(&s->r[STATE_X + 1], &m->__gregs[1], 31 * 8);
    memcpy(&s->r[STATE_F], fp->__f, sizeof fp->__f);
    s->r[STATE_FCSR] = fp->__fcsr;
}
