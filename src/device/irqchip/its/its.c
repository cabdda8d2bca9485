// GICv3 Interrupt Translation Service (Arm IHI 0069H, 5.2 to 5.3 and 12.18 to 12.19): registers,
// tables and translation. Device, collection and interrupt translation tables lie in the guest's
// memory, 8 bytes an entry, in a format of our own (below), as the architecture leaves it to us;
// device tables may have two levels. Not modelled: virtual LPIs (GICv4), partitioning, error
// interrupts. Commands run from deferred work (command.c).
#include "device/irqchip/its/its_state.h"

#include <inttypes.h>

enum { // register offsets
    GITS_CTLR = 0x0000,
    GITS_IIDR = 0x0004,
    GITS_TYPER = 0x0008,
    GITS_CBASER = 0x0080,
    GITS_CWRITER = 0x0088,
    GITS_CREADR = 0x0090,
    GITS_BASER = 0x0100,
    GITS_BASER_END = 0x0140,
    GITS_ID = 0xffd0,
    GITS_TRANSLATER = 0x10040,
    WINDOW = 0x20000,
    CTLR_ENABLED = 1,
};
#define CTLR_QUIESCENT   (1u << 31)
#define BASER_VALID      (1ull << 63)
#define BASER_INDIRECT   (1ull << 62)
#define BASER_FIXED(t)   ((uint64_t)(t) << 56 | (uint64_t)(ENTRY_BYTES - 1) << 48)
#define BASER_WRITABLE   (BASER_VALID | BASER_INDIRECT | 0x38e0ffffffffffffull)
#define TYPE_DEVICES     1
#define TYPE_COLLECTIONS 4

// ---- tables ----

static gpa_t baser_address(uint64_t b)
{
    if (bits(b, 9, 8) == 2) // 64 KiB pages: bits [51:48] move to [15:12]
        return (bits(b, 47, 16) << 16) | bits(b, 15, 12) << 48;
    return bits(b, 47, 12) << 12;
}
static uint64_t baser_page(uint64_t b)
{
    static const uint32_t size[4] = {4096, 16384, 65536, 65536};
    return size[bits(b, 9, 8)];
}
static uint64_t baser_bytes(uint64_t b)
{
    return (bits(b, 7, 0) + 1) * baser_page(b);
}

// The address of entry `i` of a table; -1 when the table does not reach so far.
static int entry_address(struct gicv3_its *s, uint64_t baser, uint32_t i, gpa_t *at)
{
    uint64_t off = (uint64_t)i * ENTRY_BYTES, page = baser_page(baser);
    if (!(baser & BASER_VALID))
        return -1;
    if (!(baser & BASER_INDIRECT)) {
        *at = baser_address(baser) + off;
        return off + ENTRY_BYTES <= baser_bytes(baser) ? 0 : -1;
    }
    uint64_t first = off / page * 8, l1;
    uint8_t b[8];
    if (first + 8 > baser_bytes(baser) ||
        dma_read(s->sys.dev.env->memory, baser_address(baser) + first, b, sizeof b))
        return -1;
    l1 = ld_le64(b);
    if (!(l1 & BASER_VALID))
        return -1;
    *at = (bits(l1, 51, 12) << 12) + off % page;
    return 0;
}

static int load(struct gicv3_its *s, gpa_t at, uint64_t *v)
{
    uint8_t b[ENTRY_BYTES];
    if (dma_read(s->sys.dev.env->memory, at, b, sizeof b))
        return -1;
    *v = ld_le64(b);
    return 0;
}
static int store(struct gicv3_its *s, gpa_t at, uint64_t v)
{
    uint8_t b[ENTRY_BYTES];
    st_le64(b, v);
    return dma_write(s->sys.dev.env->memory, at, b, sizeof b);
}

// Devices: [63] valid, [48:5] table address bits [51:8], [4:0] event bits less one.
int its_device_get(struct gicv3_its *s, uint32_t device, struct its_device *d)
{
    gpa_t at;
    uint64_t v;
    if (device >> DEVICE_BITS || entry_address(s, s->baser[0], device, &at) || load(s, at, &v) ||
        !(v & BASER_VALID))
        return -1;
    *d = (struct its_device){.itt = bits(v, 48, 5) << 8, .events = 2ull << bits(v, 4, 0)};
    return 0;
}
int its_device_set(struct gicv3_its *s, uint32_t device, bool valid, gpa_t itt, unsigned size)
{
    gpa_t at;
    if (device >> DEVICE_BITS || entry_address(s, s->baser[0], device, &at))
        return -1;
    return store(s, at, valid ? BASER_VALID | bits(itt, 51, 8) << 5 | size : 0);
}

// Events: [63] valid, [47:32] collection, [31:0] INTID.
int its_event_get(struct gicv3_its *s, const struct its_device *d, uint32_t event, uint32_t *intid,
                  uint32_t *collection)
{
    uint64_t v;
    if (event >= d->events || load(s, d->itt + (uint64_t)event * ENTRY_BYTES, &v) ||
        !(v & BASER_VALID))
        return -1;
    *intid = (uint32_t)v;
    *collection = (uint32_t)bits(v, 47, 32);
    return 0;
}
int its_event_set(struct gicv3_its *s, const struct its_device *d, uint32_t event, bool valid,
                  uint32_t intid, uint32_t collection)
{
    if (event >= d->events)
        return -1;
    return store(s, d->itt + (uint64_t)event * ENTRY_BYTES,
                 valid ? BASER_VALID | (uint64_t)collection << 32 | intid : 0);
}

// Collections: [63] valid, [15:0] CPU number.
struct gicv3_cpu *its_collection_get(struct gicv3_its *s, uint32_t collection)
{
    gpa_t at;
    uint64_t v;
    if (entry_address(s, s->baser[1], collection, &at) || load(s, at, &v) || !(v & BASER_VALID))
        return NULL;
    return its_cpu(s, v & 0xffff);
}
int its_collection_set(struct gicv3_its *s, uint32_t collection, bool valid, uint64_t cpu)
{
    gpa_t at;
    if (entry_address(s, s->baser[1], collection, &at))
        return -1;
    return store(s, at, valid ? BASER_VALID | cpu : 0);
}

struct gicv3_cpu *its_cpu(struct gicv3_its *s, uint64_t number)
{
    return number < s->gic->num_cpu ? &s->gic->cpu[number] : NULL;
}

int its_translate(struct gicv3_its *s, uint32_t device, uint32_t event, uint32_t *intid,
                  struct gicv3_cpu **cpu)
{
    struct its_device d;
    uint32_t collection;
    if (its_device_get(s, device, &d) || its_event_get(s, &d, event, intid, &collection))
        return -1;
    *cpu = its_collection_get(s, collection);
    return *cpu ? 0 : -1;
}

static void message(struct gicv3_its *s, uint32_t device, uint32_t event)
{
    struct gicv3_cpu *cpu = NULL;
    uint32_t intid = 0;
    mutex_lock(&s->lock);
    int r = s->ctlr & CTLR_ENABLED ? its_translate(s, device, event, &intid, &cpu) : -1;
    mutex_unlock(&s->lock);
    if (r)
        log_guest("MSI", "gicv3-its: message of device 0x%x, event %u is not mapped", device,
                  event);
    else
        gic_lpi_set(cpu, intid, true);
}

static void send(void *opaque, uint64_t addr, uint32_t data, uint32_t rid)
{
    struct gicv3_its *s = opaque;
    if (addr == s->mapped_at + GITS_TRANSLATER)
        message(s, rid, data);
    else
        log_guest("MSI address", "gicv3-its: message to 0x%" PRIx64, addr);
}

struct msi_target gicv3_its_target(struct device *d, gpa_t base)
{
    struct gicv3_its *s = container_of(d, struct gicv3_its, sys.dev);
    s->mapped_at = base;
    return (struct msi_target){send, s};
}

// ---- registers ----

static uint64_t *wide_register(struct gicv3_its *s, gpa_t off)
{
    switch (off & ~7ull) {
    case GITS_CBASER:
        return &s->cbaser;
    case GITS_CWRITER:
        return &s->cwriter;
    case GITS_CREADR:
        return &s->creadr;
    case GITS_BASER ... GITS_BASER_END - 1:
        return &s->baser[(off - GITS_BASER) / 8];
    }
    return NULL;
}

static uint64_t typer_read(void)
{
    return 1 | (uint64_t)(ENTRY_BYTES - 1) << 4 | (uint64_t)(LPI_ID_BITS - 1) << 8 |
           (uint64_t)(DEVICE_BITS - 1) << 13 | 15ull << 32 | 1ull << 36; // 16-bit collections
}

static enum mem_result its_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs attrs)
{
    struct gicv3_its *s = opaque;
    unsigned shift = off % 8 * 8;
    *val = 0;
    mutex_lock(&s->lock);
    const uint64_t *wide = wide_register(s, off);
    if (wide)
        *val = *wide >> shift;
    else if ((off & ~7ull) == GITS_TYPER)
        *val = typer_read() >> shift;
    else if (off == GITS_CTLR)
        *val = s->ctlr | (s->ctlr & CTLR_ENABLED ? 0 : CTLR_QUIESCENT);
    else if (off == GITS_IIDR)
        *val = 0x43b;
    else if (off >= GITS_ID && off < GITS_ID + 0x30)
        *val = gic_id_register((uint32_t)off, 0x94, 3);
    else
        log_guest("GITS read", "gicv3-its: read of offset 0x%" PRIx64, off);
    mutex_unlock(&s->lock);
    return MEM_OK;
}

static void baser_write(struct gicv3_its *s, unsigned i, uint64_t v)
{
    static const uint8_t type[8] = {TYPE_DEVICES, TYPE_COLLECTIONS};
    if (s->ctlr & CTLR_ENABLED) {
        log_guest("GITS_BASER", "gicv3-its: table address written while the ITS is enabled");
        return;
    }
    if (type[i])
        s->baser[i] = (v & BASER_WRITABLE) | BASER_FIXED(type[i]);
    if (type[i] == TYPE_COLLECTIONS) // one level is enough for 16 bits
        s->baser[i] &= ~BASER_INDIRECT;
}

static void wide_write(struct gicv3_its *s, gpa_t off, uint64_t v)
{
    if (off >= GITS_BASER) {
        baser_write(s, (unsigned)(off - GITS_BASER) / 8, v);
    } else if (off == GITS_CBASER && !(s->ctlr & CTLR_ENABLED)) {
        s->cbaser = v & 0xf8effffffffffcffull;
        s->creadr = 0;
    } else if (off == GITS_CWRITER) {
        s->cwriter = v & 0xfffe0;
        s->creadr &= ~1ull; // a stall ends
        if (s->ctlr & CTLR_ENABLED)
            loop_defer(&s->work);
    }
}

static enum mem_result its_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs attrs)
{
    struct gicv3_its *s = opaque;
    if (off == GITS_TRANSLATER) {
        if (attrs.device)
            message(s, attrs.requester, (uint32_t)val);
        return MEM_OK;
    }
    mutex_lock(&s->lock);
    const uint64_t *wide = wide_register(s, off);
    if (wide) {
        if (size == 4)
            val = off % 8 ? bits_set(*wide, 63, 32, val) : bits_set(*wide, 31, 0, val);
        wide_write(s, off & ~7ull, val);
    } else if (off == GITS_CTLR) {
        s->ctlr = val & CTLR_ENABLED;
        if (s->ctlr)
            loop_defer(&s->work);
    } else {
        log_guest("GITS write", "gicv3-its: write of 0x%" PRIx64 " to offset 0x%" PRIx64, val, off);
    }
    mutex_unlock(&s->lock);
    return MEM_OK;
}

static const struct mmio_ops its_ops = {its_read, its_write, .min_size = 4, .max_size = 8};

static int its_init(struct device *d, struct err *e)
{
    struct gicv3_its *s = container_of(d, struct gicv3_its, sys.dev);
    if (!s->gic_device || s->gic_device->type != &gicv3_type)
        return err_set(e, "arm-gicv3-its: needs a GICv3");
    s->gic = container_of(s->gic_device, struct gicv3, sys.dev);
    pthread_mutex_init(&s->lock, NULL);
    sys_add_window(&s->sys, "gicv3_its", WINDOW, &its_ops, s);
    loop_work_init(&s->work, d->env->loop, its_run_commands, s);
    return 0;
}

static void its_reset(struct device *d)
{
    struct gicv3_its *s = container_of(d, struct gicv3_its, sys.dev);
    mutex_lock(&s->lock);
    s->ctlr = 0;
    s->cbaser = s->cwriter = s->creadr = 0;
    memset(s->baser, 0, sizeof s->baser);
    s->baser[0] = BASER_FIXED(TYPE_DEVICES);
    s->baser[1] = BASER_FIXED(TYPE_COLLECTIONS);
    mutex_unlock(&s->lock);
}

static int its_post_load(struct device *d, struct err *e)
{
    struct gicv3_its *s = container_of(d, struct gicv3_its, sys.dev);
    if (s->ctlr & CTLR_ENABLED)
        loop_defer(&s->work);
    return 0;
}

static void its_exit(struct device *d)
{
    loop_work_cancel(&container_of(d, struct gicv3_its, sys.dev)->work);
}

static const struct field its_fields[] = {
    FIELD(struct gicv3_its, gic_device, .name = "gic", .kind = F_BACKEND_OBJ, .use = FIELD_PROP),
    FIELD(struct gicv3_its, ctlr, .kind = F_U32, .use = FIELD_STATE, .max = 1),
    FIELD(struct gicv3_its, cbaser, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct gicv3_its, cwriter, .kind = F_U64, .use = FIELD_STATE, .max = 0xfffe0),
    FIELD(struct gicv3_its, creadr, .kind = F_U64, .use = FIELD_STATE, .max = 0xfffe1),
    FIELD(struct gicv3_its, baser, .kind = F_U64A, .use = FIELD_STATE, .len = 8),
    {0},
};

const struct device_type gicv3_its_type = {
    .name = "arm-gicv3-its",
    .desc = "GICv3 Interrupt Translation Service",
    .category = "Misc devices",
    .size = sizeof(struct gicv3_its),
    .fields = its_fields,
    .base = &sys_device_base,
    .init = its_init,
    .reset = its_reset,
    .post_load = its_post_load,
    .exit = its_exit,
};
