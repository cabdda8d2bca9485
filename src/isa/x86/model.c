// CPU models and -cpu properties. A model is an identity and a list of features; what the processor
// below does not offer is left out with one warning, or refused with `enforce`.
#include "isa/x86/x86.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint8_t word, bit;
} features[X86_FEATURES] = {
#define FEATURE(sym, property, word_, bit_) [X86_F_##sym] = {property, word_, bit_},
#include "isa/x86/features.def"
#undef FEATURE
};

static const struct model {
    const char *name;
    unsigned family, model, stepping;
    uint32_t level, xlevel;
    const char *brand, *features;
} models[] = {
#define MODEL(name, desc, maker, ...) {name, __VA_ARGS__},
#include "isa/x86/models.def"
#undef MODEL
};

const struct isa_model x86_models[] = {
    {.name = "host", .desc = "the processor below, as it is"},
    {.name = "max", .desc = "everything that this host and accelerator can give"},
#define MODEL(name_, desc_, ...) {.name = name_, .desc = desc_},
#include "isa/x86/models.def"
#undef MODEL
    {.name = NULL},
};

// Properties beside the features; those without effect here are taken for clients' sake.
static const char *const switches[] = {"check",
                                       "enforce",
                                       "hv-passthrough",
                                       "host-cache-info",
                                       "host-phys-bits",
                                       "host-phys-bits-limit",
                                       "kvm",
                                       "l3-cache",
                                       "legacy-cache",
                                       "migratable",
                                       "phys-bits",
                                       "pmu",
                                       "vmware-cpuid-freq"};

static int find_feature(const char *name, size_t len)
{
    for (unsigned i = 0; i < X86_FEATURES; i++) {
        const char *f = features[i].name;
        size_t k = 0;
        // '_' and '-' are the same: both spellings are in use.
        while (k < len && f[k] &&
               (f[k] == name[k] || (f[k] == '-' && name[k] == '_') ||
                (f[k] == '.' && (name[k] == '-' || name[k] == '_'))))
            k++;
        if (k == len && !f[k])
            return (int)i;
    }
    return -1;
}

const char *x86_feature_in(const uint32_t words[X86_WORDS])
{
    for (unsigned i = 0; i < X86_FEATURES; i++)
        if (words[features[i].word] >> features[i].bit & 1)
            return features[i].name;
    return NULL;
}

static void set_feature(uint32_t *words, unsigned f, bool on)
{
    uint32_t b = 1u << features[f].bit;
    words[features[f].word] = on ? words[features[f].word] | b : words[features[f].word] & ~b;
}

static void add_list(uint32_t *words, const char *list)
{
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, " ");
        int f = find_feature(p, n);
        BUG_ON(f < 0);
        set_feature(words, (unsigned)f, true);
        p += n + strspn(p + n, " ");
    }
}

// ---- -cpu MODEL,+feat,-feat,feat=on ----

struct request {
    uint32_t on[X86_WORDS], off[X86_WORDS];
    bool enforce, check, hide_kvm;
    uint64_t phys_bits;
    const char *vendor, *brand;
    uint64_t family, model, stepping, level, xlevel; // UINT64_MAX: the model's
};

// `model=` with a number; the name of the model comes under the same key.
static int take_model_number(struct request *r, struct opts *o, struct err *e)
{
    for (size_t i = 0; i < o->len; i++) {
        const char *v = o->data[i].val;
        if (strcmp(o->data[i].key, "model") || !v || *v < '0' || *v > '9')
            continue;
        char *end;
        r->model = strtoull(v, &end, 0);
        if (*end)
            return err_set(e, "model=%s: must be a number", v);
    }
    opts_get(o, "model");
    return 0;
}

static int take_switches(struct request *r, struct opts *o, struct err *e)
{
    bool kvm = true, ignored = false;
    r->check = true;
    if (opts_get_bool(o, "enforce", &r->enforce, e) || opts_get_bool(o, "check", &r->check, e) ||
        opts_get_bool(o, "kvm", &kvm, e) || opts_get_u64(o, "phys-bits", &r->phys_bits, e) ||
        opts_get_bool(o, "migratable", &ignored, e) || opts_get_bool(o, "pmu", &ignored, e))
        return -1;
    r->hide_kvm = !kvm;
    r->vendor = opts_get(o, "vendor");
    r->brand = opts_get(o, "model-id");
    r->family = r->model = r->stepping = r->level = r->xlevel = UINT64_MAX;
    if (opts_get_u64(o, "family", &r->family, e) || take_model_number(r, o, e) ||
        opts_get_u64(o, "stepping", &r->stepping, e) || opts_get_u64(o, "level", &r->level, e) ||
        opts_get_u64(o, "xlevel", &r->xlevel, e))
        return -1;
    if (r->vendor && strlen(r->vendor) != 12)
        return err_set(e, "vendor=%s: must be 12 characters, as GenuineIntel", r->vendor);
    if (r->brand && strlen(r->brand) > 48)
        return err_set(e, "model-id=%s: at most 48 characters", r->brand);
    for (unsigned i = 0; i < ARRAY_SIZE(switches); i++)
        opts_get(o, switches[i]);
    return 0;
}

static int take_feature(struct request *r, struct opt *p, struct err *e)
{
    bool on = true;
    const char *name = p->key;
    if (*name == '+' || *name == '-') {
        on = *name++ == '+';
    } else if (parse_bool(p->val, &on)) {
        return err_set(e, "%s=%s: must be on or off", name, p->val);
    }
    int f = find_feature(name, strlen(name));
    if (f < 0 && p->bare && !strncmp(name, "no", 2)) { // a bare "noX"
        f = find_feature(name + 2, strlen(name) - 2);
        on = false;
    }
    if (f < 0) {
        const char *known[X86_FEATURES + 1] = {0};
        for (unsigned i = 0; i < X86_FEATURES; i++)
            known[i] = features[i].name;
        err_set(e, "no such feature '%s'", name);
        return err_did_you_mean(e, name, known);
    }
    p->used = true;
    set_feature(r->on, (unsigned)f, on);
    set_feature(r->off, (unsigned)f, !on);
    return 0;
}

static int take_properties(struct request *r, struct opts *o, struct err *e)
{
    if (take_switches(r, o, e))
        return -1;
    for (size_t i = 0; i < o->len; i++)
        if (!o->data[i].used && take_feature(r, &o->data[i], e))
            return -1;
    return 0;
}

static uint32_t pick(uint64_t asked, uint32_t other, uint32_t most)
{
    return asked == UINT64_MAX ? other : (uint32_t)MIN(asked, (uint64_t)most);
}

// Who the CPU says it is: the model (NULL: the host) and what was asked for instead. The maker
// stays the host's unless asked for: it decides how instructions behave that the guest then relies
// on.
static void identity_of(const struct model *m, const struct request *r, uint32_t host_signature,
                        struct x86_identity *id)
{
    uint32_t s = host_signature, family = bits(s, 11, 8), model = bits(s, 7, 4);
    if (family == 15)
        family += (uint32_t)bits(s, 27, 20);
    model |= (uint32_t)bits(s, 19, 16) << 4;
    family = pick(r->family, m ? m->family : family, 270);
    model = pick(r->model, m ? m->model : model, 255);
    uint32_t stepping = pick(r->stepping, m ? m->stepping : s & 15, 15), base = MIN(family, 15u);
    snprintf(id->vendor, sizeof id->vendor, "%s", r->vendor ? r->vendor : "");
    snprintf(id->brand, sizeof id->brand, "%s", r->brand ? r->brand : m ? m->brand : "");
    uint32_t signature =
        stepping | (model & 15) << 4 | base << 8 | (model >> 4) << 16 | (family - base) << 20;
    id->signature = m || signature != (s & 0x0fff0fff) ? signature : 0;
    id->level = pick(r->level, m ? m->level : 0, 0x20);
    id->xlevel = pick(r->xlevel, m ? m->xlevel : 0, 0x80000021);
}

// What was asked for and is not to be had. The processor's own dynamic bits are not asked of it.
static int refuse_missing(const struct x86_cpu *c, const char *model, const struct request *r,
                          const uint32_t *host, struct err *e)
{
    char text[400] = "";
    size_t n = 0;
    for (unsigned f = 0; f < X86_FEATURES; f++) {
        uint32_t b = 1u << features[f].bit;
        if (c->words[features[f].word] & ~host[features[f].word] & b && n + 32 < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, " %s", features[f].name);
    }
    if (!n)
        return 0;
    if (r->enforce)
        return err_set(e, "-cpu %s,enforce: this host does not offer:%s", model, text);
    if (r->check && c->config.index == 0)
        log_warn("-cpu %s: left out, as this host does not offer them:%s", model, text);
    return 0;
}

static const struct model *find_model(const char *name)
{
    size_t n = strlen(name);
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        size_t k = strlen(models[i].name);
        if (!strncmp(models[i].name, name, k) &&
            (k == n || (name[k] == '-' && name[k + 1] == 'v' && name[k + 2])))
            return &models[i]; // versions of a model ("EPYC-v2") are the model
    }
    return NULL;
}

static int unknown_model(const char *name, struct err *e)
{
    const char *known[ARRAY_SIZE(x86_models)] = {0};
    for (unsigned i = 0; x86_models[i].name; i++)
        known[i] = x86_models[i].name;
    err_set(e, "-cpu %s: no such model for x86_64 (-cpu help lists them)", name);
    return err_did_you_mean(e, name, known);
}

int x86_model_apply(struct x86_cpu *c, const char *name, struct opts *o, struct err *e)
{
    const struct x86_host *h = c->config.host_cpu;
    bool all = !strcmp(name, "host") || !strcmp(name, "max");
    const struct model *m = all ? NULL : find_model(name);
    struct x86_identity id = {0};
    struct request r = {.check = true};
    uint32_t host[X86_WORDS] = {0};
    if (!all && !m)
        return unknown_model(name, e);
    if (!h)
        return err_set(e, "-cpu %s: x86_64 guests run on hosts of their own architecture only",
                       name);
    if (o && take_properties(&r, o, e))
        return err_prefix(e, "-cpu %s", name);
    for (unsigned w = 0; w < X86_WORDS; w++)
        x86_word_get(h->cpuid, h->n, w, &host[w]);
    const struct x86_cpuid *host1 = x86_cpuid_find(h->cpuid, h->n, 1, 0);
    identity_of(m, &r, host1 ? host1->eax : 0, &id);
    if (all) {
        memcpy(c->words, host, sizeof host);
    } else {
        add_list(c->words, m->features);
        c->words[X86_KVM_EAX] = host[X86_KVM_EAX];
        set_feature(c->words, X86_F_X2APIC, true);
        set_feature(c->words, X86_F_TSC_DEADLINE, true);
    }
    for (unsigned w = 0; w < X86_WORDS; w++)
        c->words[w] = (c->words[w] | r.on[w]) & ~r.off[w];
    if (refuse_missing(c, name, &r, host, e))
        return -1;
    for (unsigned w = 0; w < X86_WORDS; w++)
        c->words[w] &= host[w];
    x86_cpuid_build(c, &id, h);
    if (r.hide_kvm)
        x86_cpuid_hide_hypervisor(c);
    return 0;
}
