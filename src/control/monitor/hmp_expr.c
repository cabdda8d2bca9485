// Expressions of HMP's print, x and xp: numbers, the first CPU's registers ($pc), + - * / % & | ^,
// << >>, unary - and ~, parentheses. 64-bit unsigned, as addresses are.
#include "control/monitor/internal.h"
#include "base/bits.h"
#include <stdlib.h>

enum { DEPTH_MAX = 64 };

struct expr {
    struct vm *vm;
    const char *p;
    const char *wrong; // what cannot be understood, or NULL
    unsigned depth;
};

static uint64_t sum(struct expr *x);

static void skip(struct expr *x)
{
    x->p += strspn(x->p, " ");
}

static uint64_t fail(struct expr *x, const char *at)
{
    if (!x->wrong)
        x->wrong = at;
    return 0;
}

struct reading {
    const struct isa_reg *reg;
    uint64_t value;
};

static void read_register(struct vcpu *v, void *arg)
{
    struct reading *r = arg;
    uint8_t raw[16] = {0};
    r->reg->get(v->env, r->reg, raw);
    r->value = ld_le64(raw);
}

static uint64_t reg(struct expr *x)
{
    const char *name = x->p;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    const struct vcpus *vs = x->vm->machine->vcpus;
    x->p += n;
    for (unsigned i = 0; vs->n && i < vs->isa->n_regs; i++) {
        struct reading r = {.reg = &vs->isa->regs[i]};
        if (strlen(r.reg->name) != n || strncmp(r.reg->name, name, n))
            continue;
        vcpu_call(vs->v[0], read_register, &r);
        return r.value;
    }
    return fail(x, name);
}

static uint64_t atom(struct expr *x)
{
    skip(x);
    if (++x->depth > DEPTH_MAX)
        return fail(x, x->p);
    uint64_t v;
    const char *from = x->p;
    if (*from == '-' || *from == '~') {
        x->p++;
        v = atom(x);
        v = *from == '-' ? -v : ~v;
    } else if (*from == '(') {
        x->p++;
        v = sum(x);
        skip(x);
        if (*x->p != ')')
            return fail(x, x->p);
        x->p++;
    } else if (*from == '$') {
        x->p++;
        v = reg(x);
    } else {
        char *end;
        v = strtoull(from, &end, 0);
        if (end == from)
            return fail(x, from);
        x->p = end;
    }
    x->depth--;
    return v;
}

static uint64_t product(struct expr *x)
{
    uint64_t v = atom(x);
    for (;;) {
        skip(x);
        char op = *x->p;
        if (x->wrong || (op != '*' && op != '/' && op != '%'))
            return v;
        const char *at = x->p++;
        uint64_t w = atom(x);
        if (op != '*' && !w)
            return fail(x, at);
        v = op == '*' ? v * w : op == '/' ? v / w : v % w;
    }
}

static uint64_t plus(struct expr *x)
{
    uint64_t v = product(x);
    for (;;) {
        skip(x);
        char op = *x->p;
        if (x->wrong || (op != '+' && op != '-'))
            return v;
        x->p++;
        v += op == '+' ? product(x) : -product(x);
    }
}

// Shifts and bit operations, all of one rank, from left to right.
static uint64_t sum(struct expr *x)
{
    uint64_t v = plus(x);
    for (;;) {
        skip(x);
        char op = *x->p;
        bool shift = (op == '<' || op == '>') && x->p[1] == op;
        if (x->wrong || (!shift && op != '&' && op != '|' && op != '^'))
            return v;
        x->p += 1 + shift;
        uint64_t w = plus(x);
        if (shift)
            v = w > 63 ? 0 : op == '<' ? v << w : v >> w;
        else
            v = op == '&' ? v & w : op == '|' ? v | w : v ^ w;
    }
}

int hmp_eval(struct vm *vm, const char *text, uint64_t *v, struct buf *out)
{
    struct expr x = {.vm = vm, .p = text};
    *v = sum(&x);
    skip(&x);
    if (!x.wrong && *x.p)
        x.wrong = x.p;
    if (!x.wrong)
        return 0;
    buf_printf(out, *x.wrong ? "cannot understand '%s'\n" : "an expression is missing%s\n",
               x.wrong);
    return -1;
}
