// CPU models and -cpu properties: which extensions a hart has, and the string that says so. A
// profile (RISC-V Profiles, RVA22 and RVA23) is a model of what it demands and no more; any
// extension can be switched on top.
#include "isa/riscv/riscv.h"

#include <stdio.h>

enum {
    RV64 = 1,
    RVA22 = 2,
    RVA23 = 4,
    RV32 = 8,
    RV32GC = 16,
    RV32IMAC = 32,
    MAX = 64,
    UNNAMED = 128,
    PART = 2048,
    ONLY64 = 256,
    ONLY32 = 512,
    NOT_MAX = 1024,
};

const struct isa_model rv_models[] = {
    {.name = "max", .desc = "every extension there is here"},
    {.name = "rv64", .desc = "RV64GC with what is common today; no vectors"},
    {.name = "rva22s64", .desc = "what the profile RVA22S64 demands"},
    {.name = "rva22u64", .desc = "the same, for programs"},
    {.name = "rva23s64", .desc = "what the profile RVA23S64 demands"},
    {.name = "rva23u64", .desc = "the same, for programs"},
    {.name = NULL},
};
const struct isa_model rv32_models[] = {
    {.name = "max", .desc = "every extension there is here"},
    {.name = "rv32", .desc = "RV32GC with what is common today; no vectors"},
    {.name = "rv32gc", .desc = "general-purpose: supervisor, double precision"},
    {.name = "rv32imac", .desc = "a microcontroller: machine and user level, no floating point"},
    {.name = NULL},
};
static const struct {
    const char *name;
    uint8_t mask;
} masks[] = {{"rv32", RV32},      {"rv32gc", RV32GC},  {"rv32imac", RV32IMAC},
             {"max", MAX},        {"rv64", RV64},      {"rva22s64", RVA22},
             {"rva22u64", RVA22}, {"rva23s64", RVA23}, {"rva23u64", RVA23}};

static const struct {
    const char *name;
    uint16_t models;
} features[RV_FEATURES] = {
#define FEATURE(name, property, models) [RV_FEAT_##name] = {property, models | MAX},
#include "isa/riscv/features.def"
#undef FEATURE
};

static const struct {
    const char *name;
    uint8_t feature;
} groups[] = {
#define GROUP(name, feature) {name, RV_FEAT_##feature},
#include "isa/riscv/groups.def"
#undef GROUP
};

static const struct {
    uint8_t feature, needed;
} needs[] = {
#define NEEDS(feature, needed) {RV_FEAT_##feature, RV_FEAT_##needed},
#include "isa/riscv/needs.def"
#undef NEEDS
};

static void set(struct rv_cpu *c, unsigned f, bool on)
{
    if (on)
        c->features[f / 64] |= 1ull << f % 64;
    else
        c->features[f / 64] &= ~(1ull << f % 64);
}

void rv_model_add(struct rv_cpu *c, enum rv_feature f)
{
    set(c, f, true);
}

enum { ASKED_OFF = 1, ASKED_ON = 2 }; // 0: nothing was said

// What was asked for settles what it needs and what needs it, until nothing changes any more.
static int settle(struct rv_cpu *c, const char *model, uint8_t asked[RV_FEATURES], struct err *e)
{
    for (unsigned n = 0; n < ARRAY_SIZE(needs);) {
        unsigned f = needs[n].feature, needed = needs[n].needed;
        if (!rv_has(c, f) || rv_has(c, needed)) {
            n++;
            continue;
        }
        bool on = asked[f] == ASKED_ON;
        if (on && asked[needed] == ASKED_OFF)
            return err_set(e, "-cpu %s: %s needs %s; set %s=off too", model, features[f].name,
                           features[needed].name, features[f].name);
        set(c, on ? needed : f, on);
        asked[on ? needed : f] = on ? ASKED_ON : ASKED_OFF;
        n = 0;
    }
    return 0;
}

// A group's extensions are switched as if each had been, but for those that were.
static int apply_groups(struct rv_cpu *c, const char *model, struct opts *o,
                        uint8_t asked[RV_FEATURES], struct err *e)
{
    for (unsigned n = 0; o && n < ARRAY_SIZE(groups); n++) {
        unsigned f = groups[n].feature;
        bool on;
        if (!opts_get(o, groups[n].name))
            continue;
        if (opts_get_bool(o, groups[n].name, &on, e))
            return err_prefix(e, "-cpu %s", model);
        if (asked[f])
            continue;
        set(c, f, on);
        asked[f] = on ? ASKED_ON : ASKED_OFF;
    }
    return 0;
}

static int apply_vlen(struct rv_cpu *c, const char *name, struct opts *o, struct err *e)
{
    uint64_t vlen = 128;
    if (o && opts_get(o, "vlen") && opts_get_u64(o, "vlen", &vlen, e))
        return err_prefix(e, "-cpu %s", name);
    if (vlen < 8 * RV_VLENB_MIN || vlen > 8 * RV_VLENB_MAX || vlen & (vlen - 1))
        return err_set(e, "-cpu %s: vlen=%llu: give 128, 256, 512 or 1024", name,
                       (unsigned long long)vlen);
    c->vlenb = (uint16_t)(vlen / 8);
    return 0;
}

int rv_model_apply(struct rv_cpu *c, const char *name, struct opts *o, struct err *e)
{
    const char *known[RV_FEATURES + 2 + ARRAY_SIZE(groups)] = {0},
                                        *names[ARRAY_SIZE(masks) + 1] = {0};
    const struct isa_model *models = c->rv32 ? rv32_models : rv_models;
    const uint16_t foreign = c->rv32 ? ONLY64 : ONLY32;
    uint8_t asked[RV_FEATURES] = {0}, mask = 0;
    for (unsigned n = 0; models[n].name; n++) {
        names[n] = models[n].name;
        for (unsigned k = 0; k < ARRAY_SIZE(masks) && !strcmp(name, names[n]); k++)
            if (!strcmp(name, masks[k].name))
                mask = masks[k].mask;
    }
    if (!mask) {
        err_set(e, "-cpu %s: no such model for riscv%d (-cpu help lists them)", name,
                c->rv32 ? 32 : 64);
        return err_did_you_mean(e, name, names);
    }
    for (unsigned n = 0; n < RV_FEATURES; n++) {
        const uint16_t no = foreign | (mask & MAX ? NOT_MAX : 0);
        bool on = features[n].models & mask && !(features[n].models & no);
        known[n] = features[n].name;
        if (o && opts_get(o, known[n])) {
            if (opts_get_bool(o, known[n], &on, e))
                return err_prefix(e, "-cpu %s", name);
            if (on && features[n].models & foreign)
                return err_set(e, "-cpu %s: %s is not for %d-bit harts", name, known[n],
                               c->rv32 ? 32 : 64);
            asked[n] = on ? ASKED_ON : ASKED_OFF;
        }
        set(c, n, on);
    }
    if (apply_groups(c, name, o, asked, e))
        return -1;
    if (settle(c, name, asked, e))
        return -1;
    if (apply_vlen(c, name, o, e))
        return -1;
    known[RV_FEATURES] = "vlen";
    for (unsigned n = 0, k = RV_FEATURES + 1; n < ARRAY_SIZE(groups); n++)
        if (!n || strcmp(groups[n].name, groups[n - 1].name))
            known[k++] = groups[n].name;
    char what[96];
    snprintf(what, sizeof what, "-cpu %s", name);
    return o ? opts_check_unused(o, what, known, e) : 0;
}

static bool is_named(const struct rv_cpu *c, unsigned f)
{
    return rv_has(c, f) && !(features[f].models & UNNAMED);
}

// Of A, C or Sha, which is there. The string is read by old firmware with little room for it
// (U-Boot has 512 bytes); the list of extensions leaves nothing out.
static bool goes_without_saying(const struct rv_cpu *c, unsigned f)
{
    bool of_sha = f >= RV_FEAT_SHCOUNTERENW && f <= RV_FEAT_SHVSTVECD;
    return features[f].models & PART && (!of_sha || rv_has(c, RV_FEAT_SHA));
}

void rv_isa_string(const struct rv_cpu *c, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, c->rv32 ? "rv32i" : "rv64i");
    for (unsigned f = 0; f < RV_FEATURES && n < size; f++)
        if (is_named(c, f) && !goes_without_saying(c, f))
            n += (size_t)snprintf(out + n, size - n, "%s%s", features[f].name[1] ? "_" : "",
                                  features[f].name);
}

size_t rv_isa_extensions(const struct rv_cpu *c, char *out, size_t size)
{
    size_t n = 0;
    for (int f = -1; f < RV_FEATURES; f++) {
        const char *name = f < 0 ? "i" : features[f].name;
        size_t len = strlen(name) + 1;
        if ((f >= 0 && !is_named(c, (unsigned)f)) || len > size - n)
            continue;
        memcpy(out + n, name, len);
        n += len;
    }
    return n;
}
