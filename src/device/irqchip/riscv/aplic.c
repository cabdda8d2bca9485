// RISC-V Advanced Platform-Level Interrupt Controller (RISC-V Advanced Interrupt Architecture 1.0,
// chapter 4): a machine-level root domain and a supervisor-level child, each either signalling
// harts itself or turning interrupts into messages, which is the machine's choice (DM is
// read-only). Priorities have three bits. Not modelled: big-endian registers.
#include "device/irqchip/riscv/aplic.h"
#include "base/bits.h"
#include "base/thread.h"

#include <stdlib.h>

enum {
    SOURCECFG = 0x0000, // [1..1023]; [0] is domaincfg
    MSIADDRCFG = 0x1bc0,
    SETIP = 0x1c00,
    SETIPNUM = 0x1cdc,
    IN_CLRIP = 0x1d00,
    CLRIPNUM = 0x1ddc,
    SETIE = 0x1e00,
    SETIENUM = 0x1edc,
    CLRIE = 0x1f00,
    CLRIENUM = 0x1fdc,
    SETIPNUM_LE = 0x2000,
    TARGET = 0x3000, // [1..1023]; [0] is genmsi
    IDC = 0x4000,
    IDC_SIZE = 32,
};
enum { IDC_DELIVERY = 0, IDC_FORCE = 4, IDC_THRESHOLD = 8, IDC_TOPI = 0x18, IDC_CLAIMI = 0x1c };
enum { CFG_IE = 1 << 8, CFG_DM = 1 << 2, CFG_READ = (int)0x80000000 };
enum { SOURCE_D = 1 << 10, SM_DETACHED = 1, SM_EDGE1 = 4, SM_LEVEL1 = 6, SM_INVERTED = 1 };
enum { IPRIO_MASK = 7, WORDS = APLIC_SOURCES_MAX / 32 };
enum { MMSI_LOW, MMSI_HIGH, SMSI_LOW, SMSI_HIGH, MSI_WORDS };
enum { MMSI_LOCK = (int)0x80000000, MMSI_HIGH_MASK = (int)0x9f77ffff, SMSI_HIGH_MASK = 0x700fff };

struct idc {
    uint32_t delivery, force, threshold;
    struct irq line;
};

struct domain {
    struct aplic *aplic;
    bool enable; // domaincfg.IE
    uint32_t genmsi;
    uint32_t sourcecfg[APLIC_SOURCES_MAX], target[APLIC_SOURCES_MAX];
    uint32_t pending[WORDS], enabled[WORDS];
    struct idc *idc;
};

struct aplic {
    struct sys_device sys;
    uint32_t sources, harts;
    bool msimode;
    uint32_t level[WORDS]; // of the wires
    uint32_t msiaddrcfg[MSI_WORDS];
    struct domain domain[APLIC_DOMAINS];
    struct msi_target msi;
    pthread_mutex_t lock;
};

static struct aplic *of(struct device *d)
{
    return container_of(d, struct aplic, sys.dev);
}

static bool is_root(const struct domain *d)
{
    return d == &d->aplic->domain[APLIC_MACHINE];
}

// ---- sources ----

// Does the source belong to this domain, to configure as it likes?
static bool is_given(const struct domain *d, unsigned n)
{
    const struct aplic *a = d->aplic;
    return n && n <= a->sources && (is_root(d) || a->domain[APLIC_MACHINE].sourcecfg[n] & SOURCE_D);
}

static bool is_active(const struct domain *d, unsigned n)
{
    return is_given(d, n) && d->sourcecfg[n] && !(d->sourcecfg[n] & SOURCE_D);
}

static bool is_level(const struct domain *d, unsigned n)
{
    return d->sourcecfg[n] >= SM_LEVEL1;
}

// The rectified input value.
static bool input(const struct domain *d, unsigned n)
{
    uint32_t mode = d->sourcecfg[n];
    if (!is_active(d, n) || mode < SM_EDGE1)
        return false;
    return (d->aplic->level[n / 32] >> n % 32 & 1) != (mode & SM_INVERTED);
}

static void put_bit(uint32_t *words, unsigned n, bool on)
{
    uint32_t bit = 1u << n % 32;
    words[n / 32] = on ? words[n / 32] | bit : words[n / 32] & ~bit;
}

// The pending bit follows a change of the input (section 4.7).
static void follow_input(struct domain *d, unsigned n, bool was)
{
    bool now = input(d, n);
    if (is_level(d, n) && !d->aplic->msimode)
        put_bit(d->pending, n, now);
    else if (now && !was)
        put_bit(d->pending, n, true);
    else if (!now && is_level(d, n))
        put_bit(d->pending, n, false);
}

static void set_pending(struct domain *d, unsigned n)
{
    if (is_active(d, n) && (!is_level(d, n) || (d->aplic->msimode && input(d, n))))
        put_bit(d->pending, n, true);
}

static void clear_pending(struct domain *d, unsigned n)
{
    if (is_active(d, n) && (!is_level(d, n) || d->aplic->msimode))
        put_bit(d->pending, n, false);
}

static void set_enabled(struct domain *d, unsigned n)
{
    if (is_active(d, n))
        put_bit(d->enabled, n, true);
}

static void clear_enabled(struct domain *d, unsigned n)
{
    if (n <= d->aplic->sources)
        put_bit(d->enabled, n, false);
}

static void make_inactive(struct domain *d, unsigned n)
{
    put_bit(d->pending, n, false);
    put_bit(d->enabled, n, false);
    d->target[n] = 0;
}

static void configure_source(struct domain *d, unsigned n, uint32_t v)
{
    static const uint8_t modes = 0xf3; // all but 2 and 3
    if (!is_given(d, n))
        return;
    bool was_active = is_active(d, n), was = input(d, n);
    if (v & SOURCE_D)
        d->sourcecfg[n] = is_root(d) ? SOURCE_D : 0;
    else
        d->sourcecfg[n] = modes >> (v & 7) & 1 ? v & 7 : 0;
    if (is_root(d) && !(d->sourcecfg[n] & SOURCE_D)) {
        struct domain *child = &d->aplic->domain[APLIC_SUPERVISOR];
        child->sourcecfg[n] = 0;
        make_inactive(child, n);
    }
    if (!is_active(d, n)) {
        make_inactive(d, n);
        return;
    }
    if (!was_active)
        d->target[n] = d->aplic->msimode ? 0 : 1;
    follow_input(d, n, was);
}

// ---- delivery ----

// The source a hart would claim, as topi reads; 0: none.
static uint32_t top(const struct domain *d, unsigned hart)
{
    uint32_t found = 0, limit = d->idc[hart].threshold ?: IPRIO_MASK + 1;
    for (unsigned w = 0; w * 32 <= d->aplic->sources; w++)
        for (uint32_t set = d->pending[w] & d->enabled[w]; set; set &= set - 1) {
            unsigned n = w * 32 + (unsigned)__builtin_ctz(set);
            if (d->target[n] >> 18 == hart && (d->target[n] & 0xff) < limit) {
                limit = d->target[n] & 0xff;
                found = n << 16 | limit;
            }
        }
    return found;
}

static void signal_harts(struct domain *d)
{
    for (unsigned i = 0; i < d->aplic->harts; i++) {
        const struct idc *c = &d->idc[i];
        irq_set(&c->line, d->enable && c->delivery && (c->force || top(d, i)));
    }
}

// Section 4.9.1: the page of the hart's interrupt file.
static uint64_t message_address(const struct domain *d, uint32_t hart, uint32_t guest)
{
    const uint32_t *cfg = d->aplic->msiaddrcfg, mh = cfg[MMSI_HIGH];
    const uint32_t *base = is_root(d) ? &cfg[MMSI_LOW] : &cfg[SMSI_LOW];
    unsigned lhxw = (unsigned)bits(mh, 15, 12), hhxw = (unsigned)bits(mh, 18, 16);
    unsigned lhxs = (unsigned)bits(base[1], 22, 20), hhxs = (unsigned)bits(mh, 28, 24);
    uint64_t g = hart >> lhxw & mask_low(hhxw), h = hart & mask_low(lhxw);
    uint64_t page = (uint64_t)(base[1] & 0xfff) << 32 | base[0];
    return (page | g << (hhxs + 12) | h << lhxs | guest) << 12;
}

static void send(const struct domain *d, uint32_t target)
{
    const struct msi_target *t = &d->aplic->msi;
    uint32_t guest = is_root(d) ? 0 : (uint32_t)bits(target, 17, 12);
    if (t->send)
        t->send(t->opaque, message_address(d, target >> 18, guest), target & 0x7ff, 0);
}

static void forward(struct domain *d)
{
    for (unsigned w = 0; d->enable && w * 32 <= d->aplic->sources; w++) {
        uint32_t set = d->pending[w] & d->enabled[w];
        d->pending[w] &= ~set;
        for (; set; set &= set - 1)
            send(d, d->target[w * 32 + (unsigned)__builtin_ctz(set)]);
    }
}

static void deliver(struct domain *d)
{
    if (d->aplic->msimode)
        forward(d);
    else
        signal_harts(d);
}

static void set_source(void *opaque, int n, int level)
{
    struct aplic *a = opaque;
    bool was[APLIC_DOMAINS];
    mutex_lock(&a->lock);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++)
        was[i] = input(&a->domain[i], (unsigned)n);
    put_bit(a->level, (unsigned)n, level);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++) {
        struct domain *d = &a->domain[i];
        if (!is_active(d, (unsigned)n))
            continue;
        follow_input(d, (unsigned)n, was[i]);
        deliver(d);
    }
    mutex_unlock(&a->lock);
}

// ---- registers ----

// A register with one bit for each of 32 sources, and its neighbour that takes a number.
static void for_bits(struct domain *d, unsigned word, uint32_t v,
                     void (*act)(struct domain *d, unsigned n))
{
    for (; v; v &= v - 1)
        act(d, word * 32 + (unsigned)__builtin_ctz(v));
}

static uint32_t read_inputs(const struct domain *d, unsigned word)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < 32; i++)
        v |= (uint32_t)input(d, word * 32 + i) << i;
    return v;
}

static bool has_msi_config(const struct domain *d)
{
    return is_root(d) && d->aplic->msimode;
}

static void write_msi_config(struct aplic *a, unsigned n, uint32_t v)
{
    static const uint32_t mask[MSI_WORDS] = {~0u, (uint32_t)MMSI_HIGH_MASK, ~0u, SMSI_HIGH_MASK};
    if (!(a->msiaddrcfg[MMSI_HIGH] & (uint32_t)MMSI_LOCK))
        a->msiaddrcfg[n] = v & mask[n];
}

static void write_target(struct domain *d, unsigned n, uint32_t v)
{
    const uint32_t hart = 0xfffc0000, guest = is_root(d) ? 0 : 0x3f000;
    if (is_active(d, n))
        d->target[n] =
            d->aplic->msimode ? v & (hart | guest | 0x7ff) : (v & hart) | ((v & IPRIO_MASK) ?: 1);
}

static uint32_t read_idc(struct domain *d, unsigned hart, unsigned reg)
{
    struct idc *c = &d->idc[hart];
    uint32_t v = reg == IDC_DELIVERY    ? c->delivery
                 : reg == IDC_FORCE     ? c->force
                 : reg == IDC_THRESHOLD ? c->threshold
                 : reg == IDC_TOPI      ? top(d, hart)
                                        : 0;
    if (reg != IDC_CLAIMI)
        return v;
    v = top(d, hart);
    if (v)
        clear_pending(d, v >> 16);
    else
        c->force = 0;
    deliver(d);
    return v;
}

static void write_idc(struct domain *d, unsigned hart, unsigned reg, uint32_t v)
{
    struct idc *c = &d->idc[hart];
    if (reg == IDC_DELIVERY)
        c->delivery = v & 1;
    else if (reg == IDC_FORCE)
        c->force = v & 1;
    else if (reg == IDC_THRESHOLD)
        c->threshold = v & IPRIO_MASK;
}

static uint32_t read_register(struct domain *d, unsigned off)
{
    const struct aplic *a = d->aplic;
    unsigned word = off % 0x80 / 4;
    if (off >= IDC)
        return !a->msimode && (off - IDC) / IDC_SIZE < a->harts
                   ? read_idc(d, (off - IDC) / IDC_SIZE, off % IDC_SIZE)
                   : 0;
    if (off >= TARGET)
        return off == TARGET ? d->genmsi : d->target[(off - TARGET) / 4];
    if (off == SOURCECFG)
        return (uint32_t)CFG_READ | (d->enable ? CFG_IE : 0) | (a->msimode ? CFG_DM : 0);
    if (off < SOURCECFG + 4 * APLIC_SOURCES_MAX)
        return d->sourcecfg[off / 4];
    if (off >= MSIADDRCFG && off < MSIADDRCFG + 4 * MSI_WORDS)
        return has_msi_config(d) ? a->msiaddrcfg[(off - MSIADDRCFG) / 4] : 0;
    switch (off & ~0x7fu) {
    case SETIP:
        return d->pending[word];
    case IN_CLRIP:
        return read_inputs(d, word);
    case SETIE:
        return d->enabled[word];
    default:
        return 0;
    }
}

static void write_bits(struct domain *d, unsigned off, uint32_t v)
{
    static const struct {
        uint16_t words, number;
        void (*act)(struct domain *d, unsigned n);
    } banks[] = {{SETIP, SETIPNUM, set_pending},
                 {IN_CLRIP, CLRIPNUM, clear_pending},
                 {SETIE, SETIENUM, set_enabled},
                 {CLRIE, CLRIENUM, clear_enabled}};
    if (off == SETIPNUM_LE)
        off = SETIPNUM;
    for (unsigned i = 0; i < ARRAY_SIZE(banks); i++) {
        if (off == banks[i].number && v < APLIC_SOURCES_MAX)
            banks[i].act(d, v);
        else if ((off & ~0x7fu) == banks[i].words)
            for_bits(d, off % 0x80 / 4, v, banks[i].act);
    }
}

static void write_register(struct domain *d, unsigned off, uint32_t v)
{
    struct aplic *a = d->aplic;
    if (off >= IDC) {
        if (!a->msimode && (off - IDC) / IDC_SIZE < a->harts)
            write_idc(d, (off - IDC) / IDC_SIZE, off % IDC_SIZE, v);
    } else if (off == TARGET) { // genmsi
        if (a->msimode)
            send(d, d->genmsi = v & 0xfffc07ff);
    } else if (off > TARGET) {
        write_target(d, (off - TARGET) / 4, v);
    } else if (off == SOURCECFG) {
        d->enable = v & CFG_IE;
    } else if (off < SOURCECFG + 4 * APLIC_SOURCES_MAX) {
        configure_source(d, off / 4, v);
    } else if (off >= MSIADDRCFG && off < MSIADDRCFG + 4 * MSI_WORDS) {
        if (has_msi_config(d))
            write_msi_config(a, (off - MSIADDRCFG) / 4, v);
    } else {
        write_bits(d, off, v);
    }
}

static enum mem_result domain_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    struct domain *d = opaque;
    mutex_lock(&d->aplic->lock);
    *val = read_register(d, (unsigned)off);
    mutex_unlock(&d->aplic->lock);
    return MEM_OK;
}

static enum mem_result domain_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    struct domain *d = opaque;
    struct aplic *a = d->aplic;
    mutex_lock(&a->lock);
    write_register(d, (unsigned)off, (uint32_t)val);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++) // delegation changes the other domain, too
        deliver(&a->domain[i]);
    mutex_unlock(&a->lock);
    return MEM_OK;
}

static const struct mmio_ops domain_ops = {domain_read, domain_write, .min_size = 4, .max_size = 4};

// ---- the device ----

struct irq aplic_source(struct device *d, unsigned source)
{
    BUG_ON(!source || source > of(d)->sources);
    return (struct irq){set_source, of(d), (int)source};
}

void aplic_connect(struct device *d, enum aplic_domain n, unsigned hart, struct irq to)
{
    BUG_ON(hart >= of(d)->harts);
    of(d)->domain[n].idc[hart].line = to;
}

void aplic_set_target(struct device *d, struct msi_target to)
{
    of(d)->msi = to;
}

static int aplic_init(struct device *dev, struct err *e)
{
    static const char *const names[APLIC_DOMAINS] = {"aplic-m", "aplic-s"};
    struct aplic *a = of(dev);
    pthread_mutex_init(&a->lock, NULL);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++) {
        struct domain *d = &a->domain[i];
        d->aplic = a;
        d->idc = xcalloc(a->harts, sizeof *d->idc);
        sys_add_window(&a->sys, names[i], APLIC_SIZE, &domain_ops, d);
        a->sys.windows[i].unguarded = true;
    }
    return 0;
}

static void aplic_reset(struct device *dev)
{
    struct aplic *a = of(dev);
    mutex_lock(&a->lock);
    memset(a->msiaddrcfg, 0, sizeof a->msiaddrcfg);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++) {
        struct domain *d = &a->domain[i];
        d->enable = false;
        d->genmsi = 0;
        memset(d->sourcecfg, 0, sizeof d->sourcecfg);
        memset(d->target, 0, sizeof d->target);
        memset(d->pending, 0, sizeof d->pending);
        memset(d->enabled, 0, sizeof d->enabled);
        for (unsigned h = 0; h < a->harts; h++)
            d->idc[h] = (struct idc){.line = d->idc[h].line};
        deliver(d);
    }
    mutex_unlock(&a->lock);
}

static void aplic_exit(struct device *d)
{
    struct aplic *a = of(d);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++)
        free(a->domain[i].idc);
    pthread_mutex_destroy(&a->lock);
}

static const struct field idc_fields[] = {
    FIELD(struct idc, delivery, .kind = F_U32, .use = FIELD_STATE, .max = 1),
    FIELD(struct idc, force, .kind = F_U32, .use = FIELD_STATE, .max = 1),
    FIELD(struct idc, threshold, .kind = F_U32, .use = FIELD_STATE, .max = IPRIO_MASK),
    {0},
};

static void aplic_save(struct device *dev, struct buf *out)
{
    struct aplic *a = of(dev);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++)
        for (unsigned h = 0; h < a->harts; h++)
            fields_save(idc_fields, &a->domain[i].idc[h], out);
}

static int aplic_load(struct device *dev, struct reader *r, struct err *e)
{
    struct aplic *a = of(dev);
    int bad = 0;
    for (unsigned i = 0; i < APLIC_DOMAINS; i++)
        for (unsigned h = 0; h < a->harts && !bad; h++)
            bad = fields_load(idc_fields, &a->domain[i].idc[h], r, e);
    return bad;
}

static int aplic_post_load(struct device *dev, struct err *e)
{
    struct aplic *a = of(dev);
    mutex_lock(&a->lock);
    for (unsigned i = 0; i < APLIC_DOMAINS; i++)
        deliver(&a->domain[i]);
    mutex_unlock(&a->lock);
    return 0;
}

static const struct field domain_fields[] = {
    FIELD(struct domain, enable, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct domain, genmsi, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct domain, sourcecfg, .kind = F_U32A, .use = FIELD_STATE, .len = APLIC_SOURCES_MAX),
    FIELD(struct domain, target, .kind = F_U32A, .use = FIELD_STATE, .len = APLIC_SOURCES_MAX),
    FIELD(struct domain, pending, .kind = F_U32A, .use = FIELD_STATE, .len = WORDS),
    FIELD(struct domain, enabled, .kind = F_U32A, .use = FIELD_STATE, .len = WORDS),
    {0},
};

static const struct field aplic_fields[] = {
    FIELD(struct aplic, level, .kind = F_U32A, .use = FIELD_STATE, .len = WORDS),
    FIELD(struct aplic, msiaddrcfg, .kind = F_U32A, .use = FIELD_STATE, .len = MSI_WORDS),
    FIELD(struct aplic, domain, .kind = F_STRUCT, .use = FIELD_STATE, .len = APLIC_DOMAINS,
          .sub = domain_fields, .stride = sizeof(struct domain)),
    FIELD(struct aplic, sources, .name = "num-sources", .kind = F_U32, .use = FIELD_PROP,
          .init = 96, .min = 1, .max = APLIC_SOURCES_MAX - 1),
    FIELD(struct aplic, harts, .name = "num-harts", .kind = F_U32, .use = FIELD_PROP, .init = 1,
          .min = 1, .max = APLIC_HARTS_MAX),
    FIELD(struct aplic, msimode, .kind = F_BOOL, .use = FIELD_PROP),
    {0},
};

const struct device_type aplic_type = {
    .name = "riscv.aplic",
    .desc = "RISC-V advanced platform-level interrupt controller",
    .category = "Misc devices",
    .size = sizeof(struct aplic),
    .fields = aplic_fields,
    .base = &sys_device_base,
    .init = aplic_init,
    .reset = aplic_reset,
    .exit = aplic_exit,
    .save = aplic_save,
    .load = aplic_load,
    .post_load = aplic_post_load,
};
