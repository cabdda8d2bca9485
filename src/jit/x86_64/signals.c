// Faults in translated code. When the stack of guest calls runs into its guard page, its older
// part is dropped: those frames come back through the look-up. In user mode a guest access to
// memory that is not there is found in the side table and becomes the guest's fault.
#include "jit/access.h"
#include "jit/x86_64/host.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { SIGNAL_STACK = 64 * 1024, GENERAL_PROTECTION = 13 };

static struct sigaction previous_segv, previous_bus;
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;

static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

static bool in_cache(const struct jit *j, uintptr_t pc)
{
    return pc - (uintptr_t)j->rx < j->cache_size;
}

static void user_fault(struct jit_vcpu *v, int sig, uintptr_t at, ucontext_t *uc)
{
    struct env *e = jit_env(v);
    enum env_access access = uc->uc_mcontext.gregs[REG_ERR] & 2 ? ENV_WRITE : ENV_READ;
    e->isa->bus_fault(e, at - (uintptr_t)v->jit->c.user_base, access,
                      sig == SIGBUS ? MEM_ERROR : MEM_UNMAPPED, &e->fault);
}

// Keep the newest quarter of the stack of guest calls, at its base.
static uintptr_t recentre(struct jit_vcpu *v, uintptr_t sp)
{
    size_t keep = JIT_STACK_SIZE / 4;
    uintptr_t to = (uintptr_t)v->jit_base - keep;
    memmove((void *)to, (const void *)sp, keep);
    return to;
}

static void handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *g = uc->uc_mcontext.gregs;
    struct jit_vcpu *v = jit_current;
    uintptr_t at = (uintptr_t)info->si_addr;
    if (v && in_cache(v->jit, (uintptr_t)g[REG_RIP])) {
        if (at - (uintptr_t)v->stack_map < PAGE_SIZE) {
            g[REG_RSP] = (greg_t)recentre(v, (uintptr_t)g[REG_RSP]);
            return;
        }
        if (v->jit->c.user_mode) {
            for (unsigned k = 0; k < 16; k++)
                v->regs.gpr[k] = (uint64_t)g[greg_of[k]];
            for (unsigned k = 0; k < 16; k++)
                memcpy(&v->regs.xmm[k], &uc->uc_mcontext.fpregs->_xmm[k], 16);
            if (g[REG_TRAPNO] == GENERAL_PROTECTION) // an address the host has none like
                v->address_lost = true;
            else
                user_fault(v, sig, at, uc);
            v->slow_ra = (uint64_t)g[REG_RIP];
            g[REG_RIP] = (greg_t)(uintptr_t)v->jit->thunk.fault;
            return;
        }
    }
    if (v && v->probe) {
        user_fault(v, sig, at, uc);
        sigjmp_buf *to = v->probe;
        v->probe = NULL;
        siglongjmp(*to, 1);
    }
    sigaction(sig, sig == SIGSEGV ? &previous_segv : &previous_bus, NULL);
}

static void install(int sig, struct sigaction *previous)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, old;
    sa.sa_sigaction = handler;
    sigaction(sig, NULL, &old);
    if (old.sa_flags & SA_SIGINFO && old.sa_sigaction == handler)
        return;
    *previous = old;
    sigaction(sig, &sa, NULL);
}

// By each machine's threads, since somebody may have taken the signals over meanwhile, who comes
// after us. User mode's first thread does it: then they are the program's, and pass by its room.
static void take_signals(struct jit *j)
{
    mutex_lock(&install_lock);
    if (!j->c.user_mode || !j->has_signals) {
        install(SIGSEGV, &previous_segv);
        install(SIGBUS, &previous_bus);
    }
    j->has_signals = true;
    mutex_unlock(&install_lock);
}

void host_thread_enter(struct jit_vcpu *v)
{
    take_signals(v->jit);
    v->sigstack =
        mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BUG_ON(v->sigstack == MAP_FAILED);
    stack_t s = {.ss_sp = v->sigstack, .ss_size = SIGNAL_STACK};
    BUG_ON(sigaltstack(&s, NULL));
}

void host_thread_leave(struct jit_vcpu *v)
{
    stack_t s = {.ss_flags = SS_DISABLE};
    sigaltstack(&s, NULL);
    munmap(v->sigstack, SIGNAL_STACK);
    v->sigstack = NULL;
}
