// CPU models and -cpu properties. Identification registers say what works here: a feature is
// decoded only when its field says so (features.def), so a model is one line of register values.
#include "isa/arm/arm_bits.h"
#include <stdio.h>

// "max": the implementation-defined pointer authentication, LRCPC2, SB, FRINTTS, JSCVT, FCMA, DPB2
// and so on; see features.def for the fields.
#define MAX_PFR1 0x21ull
#define MAX_ISAR0                                                                                  \
    (2ull << 4 | 1ull << 8 | 2ull << 12 | 1ull << 16 | 2ull << 20 | 1ull << 28 | 1ull << 32 |      \
     1ull << 44 | 1ull << 48 | 2ull << 52 | 1ull << 60)
#define MAX_ISAR1                                                                                  \
    (2ull << 0 | 1ull << 8 | 1ull << 12 | 1ull << 16 | 2ull << 20 | 1ull << 28 | 1ull << 32 |      \
     1ull << 36 | 1ull << 44 | 1ull << 52)

struct model {
    const char *name, *desc;
    uint64_t midr;
    uint8_t pa_bits;
    uint64_t pfr1, isar0, isar1, mmfr0, mmfr1, mmfr2, ctr;
};

static const struct model models[] = {
#define MODEL(...) {__VA_ARGS__},
#include "isa/arm/models.def"
#undef MODEL
};

const struct isa_model arm_models[] = {
#define MODEL(n, d, ...) {.name = n, .desc = d},
#include "isa/arm/models.def"
#undef MODEL
    {.name = NULL},
};

static uint64_t pa_range(unsigned bits)
{
    switch (bits) {
    case 32:
        return 0;
    case 36:
        return 1;
    case 40:
        return 2;
    case 42:
        return 3;
    case 44:
        return 4;
    case 48:
        return 5;
    default:
        return 6;
    }
}

static void set_features(struct arm_cpu *c)
{
    c->features = 0;
#define FEATURE(name, reg, low, least)                                                             \
    if (bits(c->reg, low + 3, low) >= least)                                                       \
        c->features |= 1ull << ARM_FEAT_##name;
#include "isa/arm/features.def"
#undef FEATURE
    if (bits(c->id_aa64isar[1], 31, 28)) // the implementation-defined form of the same instruction
        c->features |= 1ull << ARM_FEAT_PACGA;
}

// -cpu properties, as QEMU names them.
static int apply_properties(struct arm_cpu *c, const char *model, struct opts *o, struct err *e)
{
    static const char *const known[] = {
        "aarch64", "pauth", "pauth-impdef", "pauth-qarma5",      "pmu",
        "sve",     "sme",   "lpa2",         "start-powered-off", NULL};
    const bool has_pauth = bits(c->id_aa64isar[1], 11, 8);
    bool pauth = has_pauth, impdef = false, qarma5 = false, aarch64 = true, pmu = true;
    if (!o)
        return 0;
    if (opts_get_bool(o, "pauth", &pauth, e) || opts_get_bool(o, "pauth-impdef", &impdef, e) ||
        opts_get_bool(o, "pauth-qarma5", &qarma5, e) || opts_get_bool(o, "aarch64", &aarch64, e) ||
        opts_get_bool(o, "pmu", &pmu, e))
        return err_prefix(e, "-cpu %s", model);
    if (!aarch64)
        return err_set(e, "-cpu %s: aarch64=off is not supported: AArch32 is not implemented",
                       model);
    if (!pmu)
        c->id_aa64dfr[0] &= ~0xf00ull;
    static const char *const absent[] = {"sve", "sme", "lpa2", "start-powered-off"};
    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        bool on = false;
        if (opts_get_bool(o, absent[i], &on, e))
            return err_prefix(e, "-cpu %s", model);
        if (on)
            return err_set(e, "-cpu %s: %s is not implemented; leave it out or set %s=off", model,
                           absent[i], absent[i]);
    }
    const uint64_t algorithms = 0xffull << 4 | 0xffull << 24;
    if (!has_pauth && (impdef || qarma5 || pauth))
        return err_set(e, "-cpu %s: this model has no pointer authentication; use -cpu max", model);
    if (impdef && qarma5)
        return err_set(e, "-cpu %s: give one of pauth-impdef and pauth-qarma5", model);
    // The implementation-defined algorithm is the default: it costs a tenth of QARMA5.
    if (!pauth)
        c->id_aa64isar[1] &= ~algorithms;
    else if (qarma5)
        c->id_aa64isar[1] = (c->id_aa64isar[1] & ~algorithms) | 1ull << 4 | 1ull << 24;
    char what[96];
    snprintf(what, sizeof what, "-cpu %s", model);
    return opts_check_unused(o, what, known, e);
}

int arm_model_apply(struct arm_cpu *c, const char *name, struct opts *features, struct err *e)
{
    const struct model *m = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        if (!strcmp(models[i].name, name))
            m = &models[i];
    if (!m) {
        const char *names[ARRAY_SIZE(models) + 1] = {0};
        for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
            names[i] = models[i].name;
        err_set(e, "-cpu %s: no such model for aarch64 (-cpu help lists them)", name);
        return err_did_you_mean(e, name, names);
    }
    bool half = !strcmp(name, "max") || m->mmfr2;
    c->midr = m->midr;
    c->pa_bits = m->pa_bits;
    c->ctr = m->ctr;
    c->id_aa64pfr[0] =
        0x11 | (uint64_t)c->has_el2 << 8 | (uint64_t)c->has_el3 << 12 | (half ? 0x110000 : 0);
    if (!strcmp(name, "max"))
        c->id_aa64pfr[0] |= 1ull << 48; // DIT
    c->id_aa64pfr[1] = m->pfr1;
    c->id_aa64dfr[0] = 0x10305106; // 6 breakpoints, 4 watchpoints, PMUv3
    c->id_aa64isar[0] = m->isar0;
    c->id_aa64isar[1] = m->isar1;
    c->id_aa64mmfr[0] = m->mmfr0 | pa_range(m->pa_bits);
    c->id_aa64mmfr[1] = m->mmfr1;
    c->id_aa64mmfr[2] = m->mmfr2;
    c->clidr = 0x0a200023;
    c->ccsidr[0] = 0x701fe00a; // 32 KiB L1 data
    c->ccsidr[1] = 0x201fe012; // 48 KiB L1 instruction
    c->ccsidr[2] = 0x70ffe07a; // 2 MiB L2
    c->dczid = 4;              // 64-byte blocks
    if (apply_properties(c, name, features, e))
        return -1;
    set_features(c);
    return 0;
}
