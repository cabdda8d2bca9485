// Choosing an accelerator: the first of the operator's list that can be opened.
#include "accel/accel.h"
#include "base/log.h"
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

struct accel *accel_open(struct opts *list, unsigned n, const struct isa *isa, unsigned max_vcpus,
                         struct space *memory, struct err *e)
{
    struct opts none = {0};
    if (!n) {
        opts_set(&none, "accel", isa->lift ? "dbt" : "kvm");
        list = &none;
        n = 1;
    }
    struct accel *a = xalloc(sizeof *a);
    for (unsigned i = 0; i < n; i++) {
        const char *name = opts_get(&list[i], "accel");
        const struct accel_ops *ops = find(name ? name : "", e);
        *a = (struct accel){.ops = ops, .isa = isa, .max_vcpus = max_vcpus, .memory = memory};
        if (ops && !ops->open(a, &list[i], e)) {
            opts_free(&none);
            return a;
        }
        if (i + 1 < n)
            log_warn("%s; trying %s", e->msg, opts_get(&list[i + 1], "accel"));
    }
    opts_free(&none);
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
