// guest.h: copies that survive bad addresses, by the executor's own access functions.
#include "user/guest.h"

#include <errno.h>
#include <sys/mman.h>

bool guest_read(struct thread *t, uint64_t addr, void *dst, size_t n)
{
    addr = mm_untag(&t->u->mm, addr);
    return mm_inside(&t->u->mm, addr, n) && !t->env->exec->peek(t->env, addr, dst, n);
}

bool guest_write(struct thread *t, uint64_t addr, const void *src, size_t n)
{
    addr = mm_untag(&t->u->mm, addr);
    return mm_inside(&t->u->mm, addr, n) && !t->env->exec->poke(t->env, addr, src, n);
}

int64_t guest_string(struct thread *t, uint64_t addr, char *dst, size_t size)
{
    for (size_t got = 0; got < size;) {
        size_t n = MIN(4096 - ((addr + got) & 4095), size - got);
        if (!guest_read(t, addr + got, dst + got, n))
            return -EFAULT;
        if (memchr(dst + got, 0, n))
            return 0;
        got += n;
    }
    return -ENAMETOOLONG;
}

const struct isa_reg *guest_reg(const struct isa *isa, const char *name)
{
    for (unsigned i = 0; i < isa->n_regs; i++)
        if (!strcmp(isa->regs[i].name, name))
            return &isa->regs[i];
    BUG_ON("no such register");
    return NULL;
}

void guest_memory_fault(struct thread *t, const struct env_fault *f, bool misaligned,
                        struct guest_fault *out)
{
    static const int need[] = {
        [ENV_READ] = PROT_READ, [ENV_WRITE] = PROT_WRITE, [ENV_EXEC] = PROT_EXEC};
    struct mm_area a;
    out->addr = f->va >> 55 & 1 ? f->va : f->va & ~t->u->abi->tag_bits;
    out->sig = SIGSEGV;
    if (misaligned) {
        out->sig = SIGBUS;
        out->code = BUS_ADRALN;
    } else if (!mm_area_at(&t->u->mm, f->va, &a)) {
        out->code = SEGV_MAPERR;
    } else if (!(a.prot & need[f->access & 7])) {
        out->code = SEGV_ACCERR;
    } else { // mapped and permitted: the file behind it ends before
        out->sig = SIGBUS;
        out->code = BUS_ADRERR;
    }
}
