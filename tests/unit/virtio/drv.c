// The small virtio driver of rig.h.
#include "rig.h"

#include "base/bits.h"

enum { F_INDIRECT = 28, F_EVENT_IDX = 29, F_VERSION_1 = 32, F_PACKED = 34 };
enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };

void drv_attach_mmio(struct drv *d, struct rig *r, gpa_t base)
{
    *d = (struct drv){.r = r, .base = base, .config = base + 0x100};
    assert_int_equal(rig_in(r, base, 4), 0x74726976);
}

static uint64_t assign_bar(struct drv *d, unsigned bar)
{
    struct rig *r = d->r;
    unsigned at = 0x10 + 4 * bar;
    uint32_t old = rig_cfg_in(r, d->bus, d->devfn, at, 4);
    rig_cfg_out(r, d->bus, d->devfn, at, 4, ~0u);
    uint32_t size = -(rig_cfg_in(r, d->bus, d->devfn, at, 4) & ~15u);
    assert_true(is_pow2(size));
    r->next_bar = align_up(r->next_bar, size);
    rig_cfg_out(r, d->bus, d->devfn, at, 4, r->next_bar);
    if (old & 4)
        rig_cfg_out(r, d->bus, d->devfn, at + 4, 4, 0);
    r->next_bar += size;
    return r->next_bar - size;
}

static void use_msix(struct drv *d, unsigned cap)
{
    struct rig *r = d->r;
    unsigned n = (rig_cfg_in(r, d->bus, d->devfn, cap + 2, 2) & 0x7ff) + 1;
    gpa_t table = assign_bar(d, rig_cfg_in(r, d->bus, d->devfn, cap + 4, 4) & 7);
    rig_cfg_out(r, d->bus, d->devfn, 4, 2, 6);
    for (unsigned i = 0; i < n; i++) {
        rig_out(r, table + 16 * i, 4, PCI_MSI);
        rig_out(r, table + 16 * i + 4, 4, 0);
        rig_out(r, table + 16 * i + 8, 4, i);
        rig_out(r, table + 16 * i + 12, 4, 0);
    }
    rig_cfg_out(r, d->bus, d->devfn, cap + 2, 2, 0x8000);
}

void drv_attach_pci(struct drv *d, struct rig *r, unsigned bus, unsigned devfn)
{
    *d = (struct drv){.r = r, .pci = true, .bus = bus, .devfn = devfn};
    assert_int_equal(rig_cfg_in(r, bus, devfn, 0, 2), 0x1af4);
    gpa_t bar = assign_bar(d, 4);
    for (unsigned c = rig_cfg_in(r, bus, devfn, 0x34, 1); c;
         c = rig_cfg_in(r, bus, devfn, c + 1, 1)) {
        uint8_t id = rig_cfg_in(r, bus, devfn, c, 1);
        if (id == 0x11)
            use_msix(d, c);
        if (id != 9)
            continue;
        gpa_t at = bar + rig_cfg_in(r, bus, devfn, c + 8, 4);
        switch (rig_cfg_in(r, bus, devfn, c + 3, 1)) {
        case 1:
            d->common = at;
            break;
        case 2:
            d->notify = at;
            d->notify_mult = rig_cfg_in(r, bus, devfn, c + 16, 4);
            break;
        case 3:
            d->isr = at;
            break;
        case 4:
            d->config = at;
            break;
        }
    }
    rig_cfg_out(r, bus, devfn, 4, 2, 6);
}

uint64_t drv_offered(struct drv *d)
{
    uint64_t f = 0;
    gpa_t sel = d->pci ? d->common : d->base + 0x14, val = d->pci ? d->common + 4 : d->base + 0x10;
    for (unsigned i = 0; i < 2; i++) {
        rig_out(d->r, sel, 4, i);
        f |= rig_in(d->r, val, 4) << 32 * i;
    }
    return f;
}

void drv_status_out(struct drv *d, uint8_t s)
{
    rig_out(d->r, d->pci ? d->common + 20 : d->base + 0x70, d->pci ? 1 : 4, s);
}

uint8_t drv_status(struct drv *d)
{
    return rig_in(d->r, d->pci ? d->common + 20 : d->base + 0x70, d->pci ? 1 : 4);
}

bool drv_negotiate(struct drv *d, uint64_t want)
{
    drv_status_out(d, 0);
    for (int i = 0; i < 1000 && drv_status(d); i++)
        rig_spin(d->r);
    assert_true(!drv_status(d) || d->r->wild);
    memset(d->rings, 0, sizeof d->rings);
    drv_status_out(d, 1);
    drv_status_out(d, 3);
    want |= 1ull << F_VERSION_1;
    want |= d->packed ? 1ull << F_PACKED : 0;
    want |= d->event_idx ? 1ull << F_EVENT_IDX : 0;
    want |= d->indirect ? 1ull << F_INDIRECT : 0;
    gpa_t sel = d->pci ? d->common + 8 : d->base + 0x24;
    gpa_t val = d->pci ? d->common + 12 : d->base + 0x20;
    for (unsigned i = 0; i < 2; i++) {
        rig_out(d->r, sel, 4, i);
        rig_out(d->r, val, 4, (uint32_t)(want >> 32 * i));
    }
    d->features = want;
    drv_status_out(d, 11);
    return drv_status(d) & 8;
}

static void set_address(struct drv *d, unsigned pci_off, unsigned mmio_off, gpa_t a)
{
    gpa_t at = d->pci ? d->common + pci_off : d->base + mmio_off;
    rig_out(d->r, at, 4, (uint32_t)a);
    rig_out(d->r, at + 4, 4, a >> 32);
}

void drv_ring(struct drv *d, unsigned n, unsigned size)
{
    struct ring *q = &d->rings[n];
    struct rig *r = d->r;
    static const uint8_t zero[65536];
    *q = (struct ring){.d = d, .n = n, .size = size, .wrap = true, .used_wrap = true};
    q->desc = rig_alloc(r, 16 * size, 4096);
    q->driver = rig_alloc(r, 6 + 2 * size, 4);
    q->device = rig_alloc(r, 6 + 8 * size, 4);
    q->tables = rig_alloc(r, 16 * 64 * size, 16);
    rig_write(r, q->desc, zero, 16 * size);
    rig_write(r, q->driver, zero, 6 + 2 * size);
    rig_write(r, q->device, zero, 6 + 8 * size);
    if (d->pci) {
        rig_out(r, d->common + 22, 2, n);
        rig_out(r, d->common + 24, 2, size);
        rig_out(r, d->common + 26, 2, n + 1);
        rig_out(r, d->common + 16, 2, 0);
    } else {
        rig_out(r, d->base + 0x30, 4, n);
        rig_out(r, d->base + 0x38, 4, size);
    }
    set_address(d, 32, 0x80, q->desc);
    set_address(d, 40, 0x90, q->driver);
    set_address(d, 48, 0xa0, q->device);
    rig_out(r, d->pci ? d->common + 28 : d->base + 0x44, d->pci ? 2 : 4, 1);
}

void drv_ok(struct drv *d)
{
    drv_status_out(d, 15);
}

uint64_t drv_cfg(struct drv *d, unsigned off, unsigned size)
{
    return rig_in(d->r, d->config + off, size);
}

void drv_cfg_out(struct drv *d, unsigned off, unsigned size, uint64_t v)
{
    rig_out(d->r, d->config + off, size, v);
}

// The ring's own words, as a driver on another CPU orders them.
static void word_out(struct rig *r, gpa_t a, uint16_t v)
{
    assert_int_equal(dma_store16(r->space, a, v), 0);
}

static uint16_t word_in(struct rig *r, gpa_t a)
{
    uint16_t v = 0;
    assert_int_equal(dma_load16(r->space, a, &v), 0);
    return v;
}

static void put_desc(struct rig *r, gpa_t at, gpa_t addr, uint32_t len, uint16_t third,
                     uint16_t fourth)
{
    uint8_t raw[16];
    st_le64(raw, addr);
    st_le32(raw + 8, len);
    st_le16(raw + 12, third);
    st_le16(raw + 14, fourth);
    rig_write(r, at, raw, sizeof raw);
}

static const struct seg *nth(unsigned i, const struct seg *out, unsigned n_out,
                             const struct seg *in)
{
    return i < n_out ? &out[i] : &in[i - n_out];
}

static uint16_t add_split(struct ring *q, const struct seg *out, unsigned n_out,
                          const struct seg *in, unsigned n)
{
    struct rig *r = q->d->r;
    uint16_t head = q->free_head;
    bool indirect = q->d->indirect && n > 1;
    gpa_t table = q->tables + (gpa_t)head * 16 * 64;
    for (unsigned i = 0; i < n; i++) {
        const struct seg *s = nth(i, out, n_out, in);
        uint16_t flags = (i >= n_out ? WRITE : 0) | (i + 1 < n ? NEXT : 0);
        uint16_t at = (head + i) % q->size;
        if (indirect)
            put_desc(r, table + 16 * i, s->addr, s->len, flags, i + 1);
        else
            put_desc(r, q->desc + 16 * at, s->addr, s->len, flags, (at + 1) % q->size);
    }
    if (indirect)
        put_desc(r, q->desc + 16 * head, table, 16 * n, INDIRECT, 0);
    q->free_head = (head + (indirect ? 1 : n)) % q->size;
    word_out(r, q->driver + 4 + 2 * (q->avail_idx % q->size), head);
    word_out(r, q->driver + 2, ++q->avail_idx);
    return head;
}

static uint16_t add_packed(struct ring *q, const struct seg *out, unsigned n_out,
                           const struct seg *in, unsigned n)
{
    struct rig *r = q->d->r;
    uint16_t head = q->packed_next, id = head, head_flags = 0;
    bool indirect = q->d->indirect && n > 1;
    gpa_t table = q->tables + (gpa_t)head * 16 * 64;
    for (unsigned i = 0; indirect && i < n; i++) {
        const struct seg *s = nth(i, out, n_out, in);
        put_desc(r, table + 16 * i, s->addr, s->len, 0, i >= n_out ? WRITE : 0);
    }
    unsigned entries = indirect ? 1 : n;
    for (unsigned i = 0; i < entries; i++) {
        const struct seg *s = nth(i, out, n_out, in);
        struct seg whole = {table, 16 * n};
        uint16_t flags = (q->wrap ? AVAIL : USED) | (indirect ? INDIRECT : 0) |
                         (!indirect && i >= n_out ? WRITE : 0) | (i + 1 < entries ? NEXT : 0);
        gpa_t at = q->desc + 16 * q->packed_next;
        if (indirect)
            s = &whole;
        put_desc(r, at, s->addr, s->len, id, i ? flags : flags ^ (AVAIL | USED));
        if (!i)
            head_flags = flags;
        if (++q->packed_next == q->size) {
            q->packed_next = 0;
            q->wrap = !q->wrap;
        }
    }
    q->in_use[id] = entries;
    word_out(r, q->desc + 16 * head + 14, head_flags);
    return id;
}

uint16_t drv_add(struct ring *q, const struct seg *out, unsigned n_out, const struct seg *in,
                 unsigned n_in)
{
    return q->d->packed ? add_packed(q, out, n_out, in, n_out + n_in)
                        : add_split(q, out, n_out, in, n_out + n_in);
}

void drv_kick(struct ring *q)
{
    struct drv *d = q->d;
    if (d->pci)
        rig_out(d->r, d->notify + d->notify_mult * q->n, 2, q->n);
    else
        rig_out(d->r, d->base + 0x50, 4, q->n);
}

static bool poll_packed(struct ring *q, struct done *done)
{
    uint8_t raw[16];
    uint16_t flags = word_in(q->d->r, q->desc + 16 * q->packed_used + 14);
    if (!!(flags & AVAIL) != q->used_wrap || !!(flags & USED) != q->used_wrap)
        return false;
    rig_read(q->d->r, q->desc + 16 * q->packed_used, raw, 14);
    *done = (struct done){ld_le16(raw + 12), ld_le32(raw + 8)};
    q->packed_used += q->in_use[done->id];
    if (q->packed_used >= q->size) {
        q->packed_used -= q->size;
        q->used_wrap = !q->used_wrap;
    }
    return true;
}

bool drv_poll(struct ring *q, struct done *done)
{
    uint8_t raw[8];
    if (q->d->packed)
        return poll_packed(q, done);
    if (word_in(q->d->r, q->device + 2) == q->used_idx)
        return false;
    rig_read(q->d->r, q->device + 4 + 8 * (q->used_idx % q->size), raw, 8);
    *done = (struct done){ld_le32(raw), ld_le32(raw + 4)};
    q->used_idx++;
    if (q->d->event_idx) // interrupt at the next one
        word_out(q->d->r, q->driver + 4 + 2 * q->size, q->used_idx);
    return true;
}

bool drv_wait(struct ring *q, struct done *done)
{
    int64_t end = host_monotonic_ns() + PATIENCE_NS;
    while (!drv_poll(q, done)) {
        if (host_monotonic_ns() > end)
            return false;
        loop_run_once(q->d->r->loop, 10);
    }
    return true;
}
