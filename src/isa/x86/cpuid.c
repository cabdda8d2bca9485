// The CPUID table a guest sees (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E): what the
// processor below offers, with the model's identity and features and the machine's topology.
#include "isa/x86/x86.h"

#include <stdio.h>

// Where each word of features is.
static const struct {
    uint32_t leaf, subleaf;
    uint8_t reg; // 0 to 3: EAX, EBX, ECX, EDX
} places[X86_WORDS] = {
    [X86_1_EDX] = {1, 0, 3},
    [X86_1_ECX] = {1, 0, 2},
    [X86_6_EAX] = {6, 0, 0},
    [X86_7_EBX] = {7, 0, 1},
    [X86_7_ECX] = {7, 0, 2},
    [X86_7_EDX] = {7, 0, 3},
    [X86_7_1_EAX] = {7, 1, 0},
    [X86_D_1_EAX] = {0xd, 1, 0},
    [X86_KVM_EAX] = {0x40000001, 0, 0},
    [X86_80000001_EDX] = {0x80000001, 0, 3},
    [X86_80000001_ECX] = {0x80000001, 0, 2},
    [X86_80000007_EDX] = {0x80000007, 0, 3},
    [X86_80000008_EBX] = {0x80000008, 0, 1},
    [X86_8000000A_EDX] = {0x8000000a, 0, 3},
    [X86_80000021_EAX] = {0x80000021, 0, 0},
};

const struct x86_cpuid *x86_cpuid_find(const struct x86_cpuid *t, unsigned n, uint32_t leaf,
                                       uint32_t subleaf)
{
    for (unsigned i = 0; i < n; i++)
        if (t[i].leaf == leaf && (!t[i].indexed || t[i].subleaf == subleaf))
            return &t[i];
    return NULL;
}

static struct x86_cpuid *entry(struct x86_cpu *c, uint32_t leaf, uint32_t subleaf)
{
    return (struct x86_cpuid *)x86_cpuid_find(c->cpuid, c->n_cpuid, leaf, subleaf);
}

static uint32_t *reg_of(struct x86_cpuid *e, unsigned reg)
{
    uint32_t *r[4] = {&e->eax, &e->ebx, &e->ecx, &e->edx};
    return r[reg];
}

bool x86_word_get(const struct x86_cpuid *t, unsigned n, enum x86_word w, uint32_t *v)
{
    const struct x86_cpuid *e = x86_cpuid_find(t, n, places[w].leaf, places[w].subleaf);
    if (e)
        *v = *reg_of((struct x86_cpuid *)e, places[w].reg);
    return e != NULL;
}

static bool wanted(const struct x86_cpuid *e, const struct x86_identity *id)
{
    switch (e->leaf) {
    case 2: // cache descriptors of another maker's chips
    case 4:
        return !id->vendor[0] || !strcmp(id->vendor, "GenuineIntel");
    case 0xa:  // no performance counters
    case 0xf:  // resource monitoring
    case 0x10: // resource control
    case 0x12: // SGX
    case 0x14: // processor trace
    case 0x1b:
    case 0x1f: // the topology again
        return false;
    }
    if (e->leaf < 0x40000000)
        return !id->level || e->leaf <= id->level;
    if (e->leaf >= 0x80000000)
        return !id->xlevel || e->leaf <= id->xlevel;
    return e->leaf <= 0x40000001;
}

static void set_identity(struct x86_cpu *c, const struct x86_identity *id)
{
    struct x86_cpuid *e0 = entry(c, 0, 0), *e1 = entry(c, 1, 0), *ex = entry(c, 0x80000000, 0);
    if (e0 && id->level)
        e0->eax = MIN(MAX(e0->eax, 0xdu), id->level);
    if (ex && id->xlevel)
        ex->eax = MIN(ex->eax, id->xlevel);
    if (e1 && id->signature) {
        struct x86_cpuid *x1 = entry(c, 0x80000001, 0);
        e1->eax = id->signature;
        if (x1) { // the same on AMD, nothing on Intel; and no particular package
            x1->eax = e1->eax;
            x1->ebx = 0;
        }
    }
    for (unsigned i = 0; id->vendor[0] && i < 2; i++) {
        struct x86_cpuid *e = i ? ex : e0;
        if (!e)
            continue;
        e->ebx = ld_le32(id->vendor);
        e->edx = ld_le32(id->vendor + 4);
        e->ecx = ld_le32(id->vendor + 8);
    }
    for (unsigned i = 0; id->brand[0] && i < 3; i++) {
        struct x86_cpuid *e = entry(c, 0x80000002 + i, 0);
        char text[48] = {0};
        memcpy(text, id->brand, strlen(id->brand));
        if (e)
            *e = (struct x86_cpuid){.leaf = 0x80000002 + i,
                                    .eax = ld_le32(text + 16 * i),
                                    .ebx = ld_le32(text + 16 * i + 4),
                                    .ecx = ld_le32(text + 16 * i + 8),
                                    .edx = ld_le32(text + 16 * i + 12)};
    }
}

static unsigned width(unsigned n)
{
    return n > 1 ? log2_floor(n - 1) + 1 : 0;
}

// Subleaves that a guest looks at whether or not the processor below has them.
static void add_missing(struct x86_cpu *c)
{
    const struct x86_cpuid *e0 = entry(c, 0, 0), *e7 = entry(c, 7, 0);
    const struct {
        uint32_t leaf, subleaf;
        bool wanted;
    } rows[] = {
        {7, 1, e7 && e7->eax >= 1},
        {0xb, 0, e0 && e0->eax >= 0xb}, // topology
        {0xb, 1, e0 && e0->eax >= 0xb},
        {0xb, 2, e0 && e0->eax >= 0xb},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].wanted && !entry(c, rows[i].leaf, rows[i].subleaf) &&
            c->n_cpuid < X86_CPUID_MAX)
            c->cpuid[c->n_cpuid++] = (struct x86_cpuid){
                .leaf = rows[i].leaf, .subleaf = rows[i].subleaf, .indexed = true};
}

static void set_topology(struct x86_cpu *c)
{
    unsigned cores = MAX(c->config.cores, 1u), threads = MAX(c->config.threads, 1u);
    unsigned thread_bits = width(threads), socket_bits = thread_bits + width(cores);
    uint32_t id = (uint32_t)c->config.hw_id;
    for (unsigned i = 0; i < c->n_cpuid; i++) {
        struct x86_cpuid *e = &c->cpuid[i];
        switch (e->leaf) {
        case 1:
            e->ebx = (e->ebx & 0x0000ff00) | id << 24;
            if (cores * threads > 1)
                e->ebx |= MIN(cores * threads, 255u) << 16;
            break;
        case 4:
        case 0x8000001d: { // the last level is shared by the socket, the others by a core
            bool last = bits(e->eax, 7, 5) >= 3;
            unsigned sharing = last ? 1u << socket_bits : threads;
            e->eax = (uint32_t)bits_set(e->eax, 25, 14, sharing - 1);
            if (e->leaf == 4)
                e->eax = (uint32_t)bits_set(e->eax, 31, 26, MIN(1u << width(cores), 64u) - 1);
            break;
        }
        case 0xb:
            e->edx = id;
            if (e->subleaf == 0) {
                e->eax = thread_bits;
                e->ebx = threads;
                e->ecx = 0x100;
            } else if (e->subleaf == 1) {
                e->eax = socket_bits;
                e->ebx = cores * threads;
                e->ecx = 0x201;
            } else {
                e->eax = e->ebx = 0;
                e->ecx = e->subleaf;
            }
            break;
        case 0x80000008:
            e->ecx = cores * threads > 1 ? (socket_bits << 12 | (cores * threads - 1)) : 0;
            break;
        case 0x8000001e:
            e->eax = id;
            e->ebx = (threads - 1) << 8 | (id >> thread_bits & 0xff);
            e->ecx = 0;
            break;
        }
    }
    if (cores * threads > 1)
        c->words[X86_1_EDX] |= 1u << 28; // several logical processors
    else
        c->words[X86_1_EDX] &= ~(1u << 28);
}

// The XSAVE leaf lists only components whose features the guest has.
static void set_xsave(struct x86_cpu *c)
{
    enum { X87_SSE = 3, AVX = 4, MPX = 0x18, AVX512 = 0xe0, PKRU = 0x200 };
    struct x86_cpuid *d0 = entry(c, 0xd, 0), *d1 = entry(c, 0xd, 1);
    uint64_t have = X87_SSE;
    if (!d0)
        return;
    have |= c->words[X86_1_ECX] >> 28 & 1 ? AVX : 0;
    have |= c->words[X86_7_EBX] >> 14 & 1 ? MPX : 0;
    have |= c->words[X86_7_EBX] >> 16 & 1 ? AVX512 : 0;
    have |= c->words[X86_7_ECX] >> 3 & 1 ? PKRU : 0;
    if (!(c->words[X86_1_ECX] >> 26 & 1))
        have = 0;
    have &= d0->eax; // and nothing above 32 bits: those need a permission of the process
    uint32_t size = 576;
    for (unsigned i = 2; i < 32; i++) {
        const struct x86_cpuid *e = x86_cpuid_find(c->cpuid, c->n_cpuid, 0xd, i);
        if (e && have >> i & 1)
            size = MAX(size, e->ebx + e->eax);
    }
    d0->eax = (uint32_t)have;
    d0->edx = 0;
    d0->ebx = d0->ecx = size;
    if (d1)
        d1->ebx = d1->ecx = d1->edx = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_cpuid; i++) {
        const struct x86_cpuid *e = &c->cpuid[i];
        if (e->leaf != 0xd || e->subleaf < 2 || (e->subleaf < 32 && have >> e->subleaf & 1))
            c->cpuid[n++] = *e;
    }
    c->n_cpuid = n;
}

void x86_cpuid_build(struct x86_cpu *c, const struct x86_identity *id, const struct x86_host *h)
{
    c->n_cpuid = 0;
    for (unsigned i = 0; i < h->n; i++)
        if (wanted(&h->cpuid[i], id))
            c->cpuid[c->n_cpuid++] = h->cpuid[i];
    set_identity(c, id);
    add_missing(c);
    set_topology(c);
    for (unsigned w = 0; w < X86_WORDS; w++) {
        struct x86_cpuid *e = entry(c, places[w].leaf, places[w].subleaf);
        if (e)
            *reg_of(e, places[w].reg) = c->words[w];
    }
    // AMD repeats part of the basic word in the extended one.
    struct x86_cpuid *ext = entry(c, 0x80000001, 0), *e0 = entry(c, 0, 0);
    const uint32_t repeated = 0x0183f3ff;
    if (ext && e0 && e0->ebx == ld_le32("Auth"))
        ext->edx = (ext->edx & ~repeated) | (c->words[X86_1_EDX] & repeated);
    set_xsave(c);
}

void x86_cpuid_hide_hypervisor(struct x86_cpu *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_cpuid; i++)
        if (c->cpuid[i].leaf >> 16 != 0x4000)
            c->cpuid[n++] = c->cpuid[i];
    c->n_cpuid = n;
}
