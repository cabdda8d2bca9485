// Choosing an accelerator: the first of the operator's list that can be opened.
#include "accel/accel.h"
#include "base/log.h"
#include "base/vec.h"
#include "isa/isa.h"
#include <stdlib.h>

#define ACCEL(s) extern const struct accel_ops s;
#include "accel/accels.def"
#undef ACCEL
const struct accel_ops *const accels[] = {
#define ACCEL(s) &s,
#include "accel/accels.def"
#undef ACCEL
    NULL,
};

static const struct accel_ops *find(const char *name, struct err *e)
{
    const char *names[ARRAY_SIZE(accels) * 2] = {0};
    unsigned n = 0;
    for (unsigned i = 0; accels[i]; i++) {
        if (!strcmp(accels[i]->name, name) || (accels[i]->alias && !strcmp(accels[i]->alias, name)))
            return accels[i];
        names[n++] = accels[i]->name;
        if (accels[i]->alias)
            names[n++] = accels[i]->alias;
    }
    static const char *const elsewhere[] = {"hvf", "whpx", "nvmm", "xen", "hax"};
    for (unsigned i = 0; i < ARRAY_SIZE(elsewhere); i++)
        if (!strcmp(elsewhere[i], name)) {
            err_set(e, "-accel %s: not available for this guest on this host", name);
            return NULL;
        }
    err_set(e, "-accel %s: no such accelerator", name);
    err_did_you_mean(e, name, names);
    return NULL;
}

// "kvm:tcg" is two entries with the same options.
struct preference {
    struct opts opts;
    const char *name;
};
struct preferences {
    struct preference *data;
    size_t len, cap;
};

static void prefer(struct preferences *p, const struct opts *o, const char *name, size_t n)
{
    struct preference one = {0};
    char text[32] = "";
    memcpy(text, name, MIN(n, sizeof text - 1));
    for (size_t i = 0; o && i < o->len; i++)
        opts_set(&one.opts, o->data[i].key, o->data[i].val);
    opts_set(&one.opts, "accel", text);
    one.name = opts_get(&one.opts, "accel");
    vec_push(p, one);
}

static void list_preferences(struct preferences *p, struct opts *list, unsigned n,
                             const struct isa *isa)
{
    for (unsigned i = 0; i < n; i++) {
        const char *name = opts_get(&list[i], "accel");
        for (const char *at = name ? name : ""; at;) {
            size_t k = strcspn(at, ":");
            prefer(p, &list[i], at, k);
            at = at[k] ? at + k + 1 : NULL;
        }
    }
    if (!n) {
        const char *name = isa->lift ? "dbt" : "kvm";
        prefer(p, NULL, name, strlen(name));
    }
}

struct accel *accel_open(struct opts *list, unsigned n, const struct isa *isa, unsigned max_vcpus,
                         struct space *memory, struct err *e)
{
    struct preferences p = {0};
    struct accel *a = xalloc(sizeof *a);
    bool open = false;
    list_preferences(&p, list, n, isa);
    for (size_t i = 0; i < p.len && !open; i++) {
        const struct accel_ops *ops = find(p.data[i].name, e);
        *a = (struct accel){.ops = ops, .isa = isa, .max_vcpus = max_vcpus, .memory = memory};
        open = ops && !ops->open(a, &p.data[i].opts, e);
        if (!open && i + 1 < p.len)
            log_warn("%s; trying %s", e->msg, p.data[i + 1].name);
    }
    for (size_t i = 0; i < p.len; i++)
        opts_free(&p.data[i].opts);
    vec_free(&p);
    if (open)
        return a;
    free(a);
    return NULL;
}

int accel_irqchip(struct accel *a, struct accel_irqchip *out, struct err *e)
{
    if (!a->ops->irqchip)
        return err_set(e, "-accel %s has no interrupt controllers of its own", a->ops->name);
    return a->ops->irqchip(a, out, e);
}

void accel_close(struct accel *a)
{
    if (!a)
        return;
    a->ops->close(a);
    free(a->breakpoints);
    free(a);
}

int accel_breakpoint(struct accel *a, uint64_t pc, bool insert)
{
    unsigned i = 0;
    while (i < a->n_breakpoints && a->breakpoints[i] < pc)
        i++;
    bool there = i < a->n_breakpoints && a->breakpoints[i] == pc;
    if (insert == there)
        return insert ? 0 : -1;
    if (insert) {
        a->breakpoints = xrealloc(a->breakpoints, (a->n_breakpoints + 1) * sizeof *a->breakpoints);
        memmove(a->breakpoints + i + 1, a->breakpoints + i,
                (a->n_breakpoints++ - i) * sizeof *a->breakpoints);
        a->breakpoints[i] = pc;
    } else {
        memmove(a->breakpoints + i, a->breakpoints + i + 1,
                (--a->n_breakpoints - i) * sizeof *a->breakpoints);
    }
    return 0;
}
