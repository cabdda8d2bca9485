// The first stack of a program: strings, auxiliary vector, environment, arguments. System V ABI
// (AArch64, RISC-V), "Process Initialization"; Linux, include/uapi/linux/auxvec.h.
#include "user/user.h"

#include "base/err.h"

#include <elf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum { GAP = 1024 * 1024 };

struct stack {
    struct user *u;
    uint64_t sp, low;
};

static uint64_t push(struct stack *s, const void *p, size_t n)
{
    if (s->sp - s->low < n + 65536)
        return 0;
    s->sp -= n;
    memcpy(mm_host(&s->u->mm, s->sp), p, n);
    return s->sp;
}

static uint64_t push_words(struct stack *s, const uint64_t *v, size_t n)
{
    size_t size = s->u->abi->data.long_size;
    uint8_t *bytes = xcalloc(n, size);
    words_pack(s->u, bytes, v, n);
    uint64_t at = push(s, bytes, n * size);
    free(bytes);
    return at;
}

static unsigned count(char **v)
{
    unsigned n = 0;
    while (v[n])
        n++;
    return n;
}

// Last string first, so that they lie in order. False: they do not fit.
static bool push_strings(struct stack *s, char **v, unsigned n, uint64_t *at)
{
    for (unsigned i = n; i-- > 0;)
        if (!(at[i] = push(s, v[i], strlen(v[i]) + 1)))
            return false;
    return true;
}

struct aux {
    uint64_t v[48];
    unsigned n;
};

static void aux(struct aux *a, uint64_t type, uint64_t val)
{
    a->v[a->n++] = type;
    a->v[a->n++] = val;
}

static void fill_aux(struct stack *s, const struct image *im, struct env *cpu, struct aux *a)
{
    struct user *u = s->u;
    uint64_t random[12], hwcap = 0, hwcap2 = 0;
    if (getrandom(random, sizeof random, 0) < 0)
        memset(random, 0x5a, sizeof random);
    if (u->abi->randomize)
        u->abi->randomize(cpu, random + 2);
    u->abi->hwcap(cpu, &hwcap, &hwcap2);
    uint64_t random_at = push(s, random, 16);
    uint64_t platform = push(s, u->abi->platform, strlen(u->abi->platform) + 1);
    uint64_t name = push(s, u->exe, strlen(u->exe) + 1);
    aux(a, AT_MINSIGSTKSZ, u->abi->min_sigstack);
    aux(a, AT_HWCAP, hwcap);
    aux(a, AT_PAGESZ, u->mm.page_size);
    aux(a, AT_CLKTCK, (uint64_t)sysconf(_SC_CLK_TCK));
    aux(a, AT_PHDR, im->phdr);
    aux(a, AT_PHENT, u->isa->elf64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr));
    aux(a, AT_PHNUM, im->phnum);
    aux(a, AT_BASE, im->interp_base);
    aux(a, AT_FLAGS, 0);
    aux(a, AT_ENTRY, im->start);
    aux(a, AT_UID, getuid());
    aux(a, AT_EUID, geteuid());
    aux(a, AT_GID, getgid());
    aux(a, AT_EGID, getegid());
    aux(a, AT_SECURE, 0);
    aux(a, AT_RANDOM, random_at);
    aux(a, AT_HWCAP2, hwcap2);
    aux(a, AT_EXECFN, name);
    aux(a, AT_PLATFORM, platform);
    aux(a, AT_NULL, 0);
}

// The instructions a signal handler returns to, on a page of their own.
static int map_sigreturn(struct user *u, struct err *e)
{
    uint64_t at = mm_find_free(&u->mm, u->mm.page_size, 0);
    int64_t r = mm_map(&u->mm, at, u->mm.page_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (r < 0)
        return err_errno(e, (int)-r, "no room for the signal return code");
    memcpy(mm_host(&u->mm, at), u->abi->sigreturn_code, u->abi->sigreturn_size);
    u->sigreturn_code = at;
    r = mm_protect(&u->mm, at, u->mm.page_size, PROT_READ | PROT_EXEC);
    return r < 0 ? err_errno(e, (int)-r, "signal return code") : 0;
}

int stack_map(struct user *u, struct err *e)
{
    uint64_t size = (u->opt.stack_size + u->mm.page_size - 1) & ~(u->mm.page_size - 1);
    u->stack_high = u->mm.size - 16 * u->mm.page_size;
    u->stack_low = u->stack_high - size;
    int64_t r = mm_map(&u->mm, u->stack_low, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (r < 0)
        return err_errno(e, (int)-r, "no room for a stack of %llu KiB",
                         (unsigned long long)(size / KiB));
    u->mm.top = u->stack_low - GAP;
    return map_sigreturn(u, e);
}

uint64_t stack_build(struct user *u, const struct image *im, char **argv, char **env,
                     struct env *cpu, struct err *e)
{
    struct stack s = {u, u->stack_high - 16, u->stack_low};
    unsigned argc = count(argv), envc = count(env);
    uint64_t *arg_at = xcalloc(argc + 1, 8), *env_at = xcalloc(envc + 1, 8);
    struct aux a = {0};
    bool ok = false;
    u->env_end = s.sp;
    if (push_strings(&s, env, envc, env_at)) {
        u->env_start = u->arg_end = s.sp;
        ok = push_strings(&s, argv, argc, arg_at);
        u->arg_start = s.sp;
    }
    if (ok) {
        fill_aux(&s, im, cpu, &a);
        uint64_t words = 1 + argc + 1 + envc + 1 + a.n, argc64 = argc;
        uint64_t size = u->abi->data.long_size;
        s.sp = ((s.sp - words * size) & ~15ull) + words * size; // sp is to be a multiple of 16
        ok = push_words(&s, a.v, a.n) && push_words(&s, env_at, envc + 1) &&
             push_words(&s, arg_at, argc + 1) && push_words(&s, &argc64, 1);
        u->auxv = s.sp + (words - a.n) * size;
        u->auxv_size = a.n * size;
    }
    free(arg_at);
    free(env_at);
    if (!ok)
        err_set(e, "the arguments do not fit on the stack: Argument list too long");
    return ok ? s.sp : 0;
}
