// CPU models and -cpu properties. Every extension decoded here is on in both models; a property
// named after it switches it off.
#include "isa/riscv/riscv.h"

#include <stdio.h>

const struct isa_model rv_models[] = {
    {.name = "max", .desc = "RV64GC and every extension there is here"},
    {.name = "rv64", .desc = "RV64GC with Zba, Zbb, Zbc, Zbs and Zicond"},
    {.name = NULL},
};

static const struct {
    const char *name;
    uint32_t bit;
} features[] = {
#define FEATURE(name, property) {property, 1u << RV_FEAT_##name},
#include "isa/riscv/features.def"
#undef FEATURE
};

int rv_model_apply(struct rv_cpu *c, const char *name, struct opts *o, struct err *e)
{
    const char *known[ARRAY_SIZE(features) + 1] = {0};
    if (strcmp(name, "max") && strcmp(name, "rv64"))
        return err_set(e, "-cpu %s: no such model for riscv64 (-cpu help lists them)", name);
    for (unsigned n = 0; n < ARRAY_SIZE(features); n++) {
        bool on = true;
        known[n] = features[n].name;
        if (o && opts_get_bool(o, features[n].name, &on, e))
            return err_prefix(e, "-cpu %s", name);
        if (on)
            c->features |= features[n].bit;
    }
    if (rv_has(c, RV_FEAT_D) && !rv_has(c, RV_FEAT_F))
        return err_set(e, "-cpu %s: d needs f; set d=off too", name);
    char what[96];
    snprintf(what, sizeof what, "-cpu %s", name);
    return o ? opts_check_unused(o, what, known, e) : 0;
}
