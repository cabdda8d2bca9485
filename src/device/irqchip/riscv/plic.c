// RISC-V Platform-Level Interrupt Controller (RISC-V PLIC specification 1.0.0), as SiFive lays it
// out. Sources are level-triggered: the gateway lets one request through until it is completed.
// Priorities have three bits.
#include "device/irqchip/riscv/plic.h"
#include "base/thread.h"

#include <stdlib.h>

enum {
    PENDING_BASE = 0x1000,
    ENABLE_BASE = 0x2000,
    ENABLE_STRIDE = 0x80,
    CONTEXT_BASE = 0x200000,
    CONTEXT_STRIDE = 0x1000,
    PRIORITY_MASK = 7,
    WORDS = PLIC_SOURCES_MAX / 32,
};

struct context {
    uint32_t enable[WORDS];
    uint32_t threshold;
    struct irq line;
};

struct plic {
    struct sys_device sys;
    uint32_t sources, contexts;
    uint8_t priority[PLIC_SOURCES_MAX];
    // Bit sets: a request waits; its handling has begun; the input is high.
    uint32_t pending[WORDS], claimed[WORDS], level[WORDS];
    struct context *context;
    pthread_mutex_t lock;
};

static struct plic *of(struct device *d)
{
    return container_of(d, struct plic, sys.dev);
}

// The pending source that this context would claim: highest priority, then lowest number; 0: none
// above its threshold.
static unsigned best(const struct plic *p, const struct context *c)
{
    unsigned found = 0, priority = c->threshold;
    for (unsigned w = 0; w * 32 < p->sources; w++)
        for (uint32_t set = p->pending[w] & c->enable[w]; set; set &= set - 1) {
            unsigned n = w * 32 + (unsigned)__builtin_ctz(set);
            if (p->priority[n] > priority) {
                priority = p->priority[n];
                found = n;
            }
        }
    return found;
}

static void update(struct plic *p)
{
    for (unsigned i = 0; i < p->contexts; i++)
        irq_set(&p->context[i].line, best(p, &p->context[i]) != 0);
}

static void set_source(void *opaque, int n, int level)
{
    struct plic *p = opaque;
    uint32_t bit = 1u << (n & 31);
    unsigned w = (unsigned)n / 32;
    mutex_lock(&p->lock);
    if (!level) {
        p->level[w] &= ~bit;
    } else {
        p->level[w] |= bit;
        if (!(p->claimed[w] & bit) && !(p->pending[w] & bit)) {
            p->pending[w] |= bit;
            update(p);
        }
    }
    mutex_unlock(&p->lock);
}

// ---- registers ----

static uint32_t claim(struct plic *p, const struct context *c)
{
    unsigned n = best(p, c);
    if (n) {
        p->pending[n / 32] &= ~(1u << n % 32);
        p->claimed[n / 32] |= 1u << n % 32;
        update(p);
    }
    return n;
}

// Completion of a source that the context has not enabled is ignored.
static void complete(struct plic *p, const struct context *c, uint32_t n)
{
    uint32_t bit = 1u << (n & 31);
    if (!n || n >= p->sources || !(c->enable[n / 32] & bit))
        return;
    p->claimed[n / 32] &= ~bit;
    if (p->level[n / 32] & bit) {
        p->pending[n / 32] |= bit;
        update(p);
    }
}

static enum mem_result plic_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    struct plic *p = opaque;
    uint64_t ctx = off >= CONTEXT_BASE  ? (off - CONTEXT_BASE) / CONTEXT_STRIDE
                   : off >= ENABLE_BASE ? (off - ENABLE_BASE) / ENABLE_STRIDE
                                        : 0;
    uint64_t word = off % ENABLE_STRIDE / 4;
    *val = 0;
    mutex_lock(&p->lock);
    if (off < PENDING_BASE) {
        *val = p->priority[off / 4];
    } else if (off < ENABLE_BASE) {
        *val = off < PENDING_BASE + WORDS * 4 ? p->pending[(off - PENDING_BASE) / 4] : 0;
    } else if (ctx < p->contexts) {
        struct context *c = &p->context[ctx];
        if (off < CONTEXT_BASE)
            *val = c->enable[word];
        else if (off % CONTEXT_STRIDE == 0)
            *val = c->threshold;
        else if (off % CONTEXT_STRIDE == 4)
            *val = claim(p, c);
    }
    mutex_unlock(&p->lock);
    return MEM_OK;
}

// Bits of sources that exist.
static uint32_t valid_bits(const struct plic *p, uint64_t word)
{
    uint32_t all = word * 32 + 32 <= p->sources ? ~0u
                   : word * 32 < p->sources     ? (1u << p->sources % 32) - 1
                                                : 0;
    return word ? all : all & ~1u;
}

static enum mem_result plic_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct plic *p = opaque;
    uint64_t ctx = off >= CONTEXT_BASE  ? (off - CONTEXT_BASE) / CONTEXT_STRIDE
                   : off >= ENABLE_BASE ? (off - ENABLE_BASE) / ENABLE_STRIDE
                                        : 0;
    uint64_t word = off % ENABLE_STRIDE / 4;
    mutex_lock(&p->lock);
    if (off < PENDING_BASE) {
        if (off && off / 4 < p->sources)
            p->priority[off / 4] = val & PRIORITY_MASK;
    } else if (off >= ENABLE_BASE && ctx < p->contexts) {
        struct context *c = &p->context[ctx];
        if (off < CONTEXT_BASE)
            c->enable[word] = (uint32_t)val & valid_bits(p, word);
        else if (off % CONTEXT_STRIDE == 0)
            c->threshold = val & PRIORITY_MASK;
        else if (off % CONTEXT_STRIDE == 4)
            complete(p, c, (uint32_t)val);
    }
    update(p);
    mutex_unlock(&p->lock);
    return MEM_OK;
}

static const struct mmio_ops plic_ops = {plic_read, plic_write, .min_size = 4, .max_size = 4};

// ---- the device ----

uint64_t plic_size(unsigned contexts)
{
    return CONTEXT_BASE + (uint64_t)contexts * CONTEXT_STRIDE;
}

struct irq plic_source(struct device *d, unsigned source)
{
    BUG_ON(!source || source >= of(d)->sources);
    return (struct irq){set_source, of(d), (int)source};
}

void plic_connect(struct device *d, unsigned context, struct irq to)
{
    BUG_ON(context >= of(d)->contexts);
    of(d)->context[context].line = to;
}

static int plic_init(struct device *d, struct err *e)
{
    struct plic *p = of(d);
    p->context = xcalloc(p->contexts, sizeof *p->context);
    pthread_mutex_init(&p->lock, NULL);
    sys_add_window(&p->sys, "plic", plic_size(p->contexts), &plic_ops, p);
    p->sys.windows[0].unguarded = true;
    return 0;
}

static void plic_reset(struct device *d)
{
    struct plic *p = of(d);
    mutex_lock(&p->lock);
    memset(p->priority, 0, sizeof p->priority);
    memset(p->claimed, 0, sizeof p->claimed);
    memcpy(p->pending, p->level, sizeof p->pending);
    for (unsigned i = 0; i < p->contexts; i++) {
        memset(p->context[i].enable, 0, sizeof p->context[i].enable);
        p->context[i].threshold = 0;
    }
    update(p);
    mutex_unlock(&p->lock);
}

static void plic_exit(struct device *d)
{
    struct plic *p = of(d);
    pthread_mutex_destroy(&p->lock);
    free(p->context);
}

static const struct field context_fields[] = {
    FIELD(struct context, enable, .kind = F_U32A, .use = FIELD_STATE, .len = WORDS),
    FIELD(struct context, threshold, .kind = F_U32, .use = FIELD_STATE, .max = PRIORITY_MASK),
    {0},
};

static void plic_save(struct device *d, struct buf *out)
{
    struct plic *p = of(d);
    for (unsigned i = 0; i < p->contexts; i++)
        fields_save(context_fields, &p->context[i], out);
}

static int plic_load(struct device *d, struct reader *r, struct err *e)
{
    struct plic *p = of(d);
    int bad = 0;
    for (unsigned i = 0; i < p->contexts && !bad; i++)
        bad = fields_load(context_fields, &p->context[i], r, e);
    return bad;
}

// What a saved machine says of sources that are not there is forgotten.
static int plic_post_load(struct device *d, struct err *e)
{
    struct plic *p = of(d);
    mutex_lock(&p->lock);
    for (unsigned w = 0; w < WORDS; w++) {
        p->pending[w] &= valid_bits(p, w);
        p->claimed[w] &= valid_bits(p, w);
        for (unsigned i = 0; i < p->contexts; i++)
            p->context[i].enable[w] &= valid_bits(p, w);
    }
    update(p);
    mutex_unlock(&p->lock);
    return 0;
}

static const struct field plic_fields[] = {
    FIELD(struct plic, priority, .kind = F_U8A, .use = FIELD_STATE, .len = PLIC_SOURCES_MAX),
    FIELD(struct plic, pending, .kind = F_U32A, .use = FIELD_STATE, .len = WORDS),
    FIELD(struct plic, claimed, .kind = F_U32A, .use = FIELD_STATE, .len = WORDS),
    FIELD(struct plic, level, .kind = F_U32A, .use = FIELD_STATE, .len = WORDS),
    FIELD(struct plic, sources, .name = "num-sources", .kind = F_U32, .use = FIELD_PROP, .init = 96,
          .min = 2, .max = PLIC_SOURCES_MAX),
    FIELD(struct plic, contexts, .name = "num-contexts", .kind = F_U32, .use = FIELD_PROP,
          .init = 1, .min = 1, .max = PLIC_CONTEXTS_MAX),
    {0},
};

const struct device_type plic_type = {
    .name = "riscv.sifive.plic",
    .desc = "RISC-V platform-level interrupt controller",
    .category = "Misc devices",
    .size = sizeof(struct plic),
    .fields = plic_fields,
    .base = &sys_device_base,
    .init = plic_init,
    .reset = plic_reset,
    .exit = plic_exit,
    .save = plic_save,
    .load = plic_load,
    .post_load = plic_post_load,
};
