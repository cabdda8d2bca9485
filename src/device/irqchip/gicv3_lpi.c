// LPIs of a GICv3 redistributor (IHI 0069H, chapter 5): pending state per CPU, kept here and
// brought in from the guest's pending table when LPIs are enabled and written back when they are
// disabled; configuration bytes, cached for all CPUs together since CommonLPIAff is 0, until the
// ITS is told to invalidate them.
#include "device/irqchip/gicv3_state.h"

enum { CONFIG_ENABLE = 1 };

static gpa_t config_table(uint64_t propbaser)
{
    return bits(propbaser, 51, 12) << 12;
}
static uint32_t config_end(uint64_t propbaser)
{
    return 2u << MIN(propbaser & 0x1f, (uint64_t)LPI_ID_BITS - 1);
}

static void config_load(struct gicv3 *g, uint32_t first, uint32_t end)
{
    uint32_t limit = config_end(g->lpi_table);
    if (!g->lpi_config || first < LPI_FIRST)
        return;
    end = MIN(end, limit);
    if (first >= end)
        return;
    gpa_t at = config_table(g->lpi_table) + (first - LPI_FIRST);
    if (dma_read(g->sys.dev.env->memory, at, g->lpi_config + first, end - first)) {
        log_guest("LPI configuration", "gicv3: LPI configuration table is not in memory");
        memset(g->lpi_config + first, 0, end - first);
    }
}

static void mark(struct gicv3_cpu *c, uint32_t lpi, bool pending)
{
    uint64_t *w = &c->lpi_pending[lpi / 64], m = 1ull << lpi % 64;
    *w = pending ? *w | m : *w & ~m;
    uint64_t *sum = &c->lpi_summary[lpi / 64 / 64], sm = 1ull << lpi / 64 % 64;
    *sum = *w ? *sum | sm : *sum & ~sm;
}

static bool marked(const struct gicv3_cpu *c, uint32_t lpi)
{
    return c->lpi_pending && bit(c->lpi_pending[lpi / 64], lpi % 64);
}

struct gic_pending gic_lpi_best(struct gicv3_cpu *c)
{
    struct gicv3 *g = c->gic;
    struct gic_pending best = GIC_NOTHING;
    if (!(c->ctlr & 1) || !c->lpi_pending)
        return best;
    mutex_lock(&g->lpi_lock);
    for (unsigned s = 0; s < ARRAY_SIZE(c->lpi_summary); s++) {
        for (uint64_t sm = c->lpi_summary[s]; sm; sm &= sm - 1) {
            unsigned w = s * 64 + (unsigned)__builtin_ctzll(sm);
            for (uint64_t m = c->lpi_pending[w]; m; m &= m - 1) {
                uint32_t lpi = w * 64 + (uint32_t)__builtin_ctzll(m);
                uint8_t config = g->lpi_config[lpi], prio = config & PRIORITY_MASK;
                if (!gic_is_ds(g)) // set by the non-secure side in its own half of the range
                    prio = 0x80 | prio >> 1;
                struct gic_pending p = {lpi, prio, GROUP_1NS};
                if ((config & CONFIG_ENABLE) && gic_better(p, best))
                    best = p;
            }
        }
    }
    mutex_unlock(&g->lpi_lock);
    return best;
}

static bool valid(const struct gicv3_cpu *c, uint32_t lpi)
{
    return lpi >= LPI_FIRST && lpi < config_end(c->propbaser) && (c->ctlr & 1);
}

void gic_lpi_set(struct gicv3_cpu *c, uint32_t lpi, bool pending)
{
    mutex_lock(&c->lock);
    if (valid(c, lpi) && marked(c, lpi) != pending) {
        mark(c, lpi, pending);
        gic_scan_lpis(c);
    }
    mutex_unlock(&c->lock);
}

bool gic_lpi_take(struct gicv3_cpu *c, uint32_t lpi)
{
    mutex_lock(&c->lock);
    bool was = valid(c, lpi) && marked(c, lpi);
    if (was) {
        mark(c, lpi, false);
        gic_scan_lpis(c);
    }
    mutex_unlock(&c->lock);
    return was;
}

void gic_lpi_clear_locked(struct gicv3_cpu *c, uint32_t lpi)
{
    mark(c, lpi, false);
}

void gic_lpi_move_all(struct gicv3_cpu *from, struct gicv3_cpu *to)
{
    if (from == to)
        return;
    for (uint32_t w = LPI_FIRST / 64; w < LPI_END / 64; w++) {
        mutex_lock(&from->lock);
        uint64_t m = from->lpi_pending ? from->lpi_pending[w] : 0;
        for (uint64_t left = m; left; left &= left - 1)
            mark(from, w * 64 + (uint32_t)__builtin_ctzll(left), false);
        if (m)
            gic_scan_lpis(from);
        mutex_unlock(&from->lock);
        for (; m; m &= m - 1)
            gic_lpi_set(to, w * 64 + (uint32_t)__builtin_ctzll(m), true);
    }
}

static void rescan_all(struct gicv3 *g)
{
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv3_cpu *c = &g->cpu[i];
        mutex_lock(&c->lock);
        gic_scan_lpis(c);
        mutex_unlock(&c->lock);
    }
}

void gic_lpi_reload(struct gicv3 *g, uint32_t lpi)
{
    mutex_lock(&g->lpi_lock);
    config_load(g, lpi, lpi + 1);
    mutex_unlock(&g->lpi_lock);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv3_cpu *c = &g->cpu[i];
        mutex_lock(&c->lock);
        if (lpi < LPI_END && marked(c, lpi))
            gic_scan_lpis(c);
        mutex_unlock(&c->lock);
    }
}

void gic_lpi_reload_all(struct gicv3 *g)
{
    mutex_lock(&g->lpi_lock);
    config_load(g, LPI_FIRST, LPI_END);
    mutex_unlock(&g->lpi_lock);
    rescan_all(g);
}

static void pending_table(struct gicv3_cpu *c, bool write)
{
    struct space *mem = c->gic->sys.dev.env->memory;
    gpa_t at = (bits(c->pendbaser, 51, 16) << 16) + LPI_FIRST / 8;
    size_t n = (config_end(c->propbaser) - LPI_FIRST) / 8;
    void *bitmap = c->lpi_pending + LPI_FIRST / 64;
    if (write ? dma_write(mem, at, bitmap, n) : dma_read(mem, at, bitmap, n)) {
        log_guest("LPI pending table", "gicv3: LPI pending table is not in memory");
        if (!write)
            memset(bitmap, 0, n);
    }
}

static void summarise(struct gicv3_cpu *c)
{
    memset(c->lpi_summary, 0, sizeof c->lpi_summary);
    for (uint32_t w = 0; w < LPI_END / 64; w++)
        if (c->lpi_pending[w])
            c->lpi_summary[w / 64] |= 1ull << w % 64;
}

void gic_lpi_loaded(struct gicv3_cpu *c)
{
    struct gicv3 *g = c->gic;
    if (!c->lpi_pending)
        return;
    memset(c->lpi_pending, 0, LPI_FIRST / 8);
    summarise(c);
    mutex_lock(&g->lpi_lock);
    if (!g->lpi_config)
        g->lpi_config = xalloc(LPI_END);
    config_load(g, LPI_FIRST, LPI_END);
    mutex_unlock(&g->lpi_lock);
}

void gic_lpi_enable(struct gicv3_cpu *c, bool on)
{
    struct gicv3 *g = c->gic;
    if (config_end(c->propbaser) <= LPI_FIRST) // too few ID bits for a single LPI
        return;
    if (!on) {
        if (c->lpi_pending)
            pending_table(c, true);
        return;
    }
    if (!c->lpi_pending)
        c->lpi_pending = xalloc(LPI_END / 8);
    memset(c->lpi_pending, 0, LPI_END / 8);
    if (!bit(c->pendbaser, 62)) // PTZ: the guest says that the table is all zero
        pending_table(c, false);
    summarise(c);

    mutex_lock(&g->lpi_lock);
    uint64_t table = c->propbaser & 0xffffffffff01full;
    if (!g->lpi_config)
        g->lpi_config = xalloc(LPI_END);
    if (g->lpi_table != table) {
        g->lpi_table = table;
        memset(g->lpi_config, 0, LPI_END);
        config_load(g, LPI_FIRST, LPI_END);
    }
    mutex_unlock(&g->lpi_lock);
}
