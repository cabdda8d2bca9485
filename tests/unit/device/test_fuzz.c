// Every type of devices.def under random register accesses, DMA descriptors and back-end traffic.
// The only verdict is that the process lives and that the machine still answers afterwards: what a
// guest does never ends the program, and neither does a saved state that somebody changed; one that
// nobody changed brings back what was saved. The first argument is the number of operations for
// each type.
#include "device/isa/isa.h"
#include "../virtio/rig.h"

#include "base/bits.h"
#include "base/map.h"
#include "block/block.h"
#include "chardev/chardev.h"
#include "device/core/sysdev.h"
#include "device/virtio/mmio.h"
#include "net/net.h"

static struct rig rig;
static unsigned long operations = 20000;
static uint64_t rng;

static uint32_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng >> 11;
}

static uint64_t rnd64(void)
{
    static const uint64_t odd[] = {0, 1, 2, ~0ull, 0xffffffff, 0x80000000, 0x7fff, 0x100};
    uint32_t k = rnd() % 8;
    return k == 0  ? odd[rnd() % ARRAY_SIZE(odd)]
           : k < 4 ? rnd() % 16
                   : (uint64_t)rnd() << 32 | rnd();
}

// --- back ends ---

static struct drives *drives;
static struct drive *drive;
static struct chardev *chr;

static bool sink(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    return rnd() % 8;
}

static const struct netdev_ops net_ops = {.name = "fuzz", .send = sink};
static struct netdev net;

static void *backend(void *opaque, enum field_kind kind, const char *id, struct device *d,
                     struct err *e)
{
    return kind == F_BACKEND_BLOCK ? (void *)drive : kind == F_BACKEND_NET ? (void *)&net : chr;
}

static void open_backends(void)
{
    struct err e = {0};
    struct opts o = {0}, c = {0};
    drives = drives_new(rig.loop);
    assert_int_equal(opts_parse(&o, "if=none,id=d0,driver=null-co,size=64M", NULL, &e), 0);
    drive = drive_open_from_opts(drives, &o, "none", &e);
    if (!drive)
        fail_msg("%s", e.msg);
    opts_free(&o);
    assert_int_equal(opts_parse(&c, "ringbuf,id=c0", "backend", &e), 0);
    chr = chardev_open(&c, rig.loop, &e);
    assert_non_null(chr);
    opts_free(&c);
    net = (struct netdev){.ops = &net_ops, .id = "n0", .loop = rig.loop, .link_up = true};
    list_init(&net.link);
    rig.tree.find_backend = backend;
}

// --- one device of a type, and where its registers are ---

struct window {
    gpa_t base;
    uint64_t size;
};
struct subject {
    struct device *d;
    struct window windows[32];
    unsigned n_windows;
    struct drv drv; // a virtio device
    bool virtio, pci, scsi;
    unsigned n_queues;
};

static bool in_family(const struct device_type *t, const char *name)
{
    for (; t; t = t->base)
        if (!strcmp(t->name, name))
            return true;
    return false;
}

static void add_window(struct subject *s, gpa_t base, uint64_t size)
{
    if (s->n_windows < ARRAY_SIZE(s->windows))
        s->windows[s->n_windows++] = (struct window){base, size};
}

static void map_windows(struct subject *s)
{
    struct sys_device *sd = container_of(s->d, struct sys_device, dev);
    gpa_t at = 0x50000000;
    for (unsigned i = 0; i < sd->n_windows; i++) {
        at = align_up(at, MAX(sd->windows[i].size, 4096ull));
        if (!sd->windows[i].region)
            sys_map(sd, i, rig.space, at);
        add_window(s, at, sd->windows[i].size);
        at += sd->windows[i].size;
    }
}

static void set_backends(struct device *d, const struct device_type *t)
{
    struct err e = {0};
    static const char *const names[] = {"drive", "netdev", "chardev"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (device_type_prop(t, names[i]))
            assert_int_equal(device_set(d, names[i], "x", &e), 0);
    if (device_type_prop(t, "packed") && rnd() % 2)
        assert_int_equal(device_set(d, "packed", "on", &e), 0);
}

static struct bus *bus_for(const struct device_type *t)
{
    struct bus *b;
    if (t->bus && !strcmp(t->bus, "virtio-bus"))
        rig_mmio_slot(&rig, rnd() % 4 == 0);
    if (t->bus && !strcmp(t->bus, "virtio-serial-bus"))
        rig_device(&rig, "virtio-serial-pci,addr=3,id=parent");
    if (t->bus && !strcmp(t->bus, "SCSI"))
        rig_device(&rig, "virtio-scsi-pci,addr=3,id=parent");
    if (t->bus && !strcmp(t->bus, "ISA"))
        isa_bus_new(&rig.tree, rig.space, (const struct irq[16]){{0}});
    list_for_each(b, &rig.tree.buses, link) if (t->bus && !strcmp(b->type->name, t->bus)) return b;
    return NULL;
}

// Finds the registers again, as a driver does when it starts.
static void find_registers(struct subject *s)
{
    if (!s->virtio)
        return;
    rig.next_bar = PCI_MMIO + 0x100000;
    if (s->pci)
        drv_attach_pci(&s->drv, &rig, 0, 3 << 3);
    else
        drv_attach_mmio(&s->drv, &rig, MMIO_BASE);
    s->n_windows = 0;
    if (s->pci) {
        add_window(s, s->drv.common, 0x4000);
        add_window(s, ECAM_BASE + (3 << 15), 4096);
        add_window(s, rig_cfg_in(&rig, 0, 3 << 3, 0x14, 4) & ~15u, 4096);
    } else {
        add_window(s, MMIO_BASE, 0x200);
    }
}

// False: a type that cannot be made from its defaults (it needs its board).
static bool make(struct subject *s, const struct device_type *t)
{
    struct err e = {0};
    *s = (struct subject){0};
    if (!strcmp(t->name, "gpex-pcihost") || !strcmp(t->name, "gpex-root")) {
        add_window(s, ECAM_BASE, 16 << 20); // of every rig
        s->d = rig.host;
        return true;
    }
    struct bus *bus = bus_for(t);
    struct device *d = device_new(&rig.tree, t, NULL);
    set_backends(d, t);
    if (in_family(t, "pci-device"))
        assert_int_equal(device_set(d, "addr", "3", &e), 0);
    if (device_start(&rig.tree, d, bus, &e))
        return false;
    s->d = d;
    if (in_family(t, "sys-device"))
        map_windows(s);
    if (in_family(t, "pci-device"))
        add_window(s, ECAM_BASE + (3 << 15), 4096);
    if (t->bus && !strcmp(t->bus, "ISA"))
        add_window(s, 0, 0x600); // all ports that they use by default
    bool port =
        !strcmp(t->bus ? t->bus : "", "virtio-serial-bus") || !strcmp(t->bus ? t->bus : "", "SCSI");
    s->pci = in_family(t, "virtio-pci") || port;
    s->scsi = strstr(t->name, "scsi") != NULL;
    s->virtio = s->pci || (t->bus && !strcmp(t->bus, "virtio-bus"));
    if (s->virtio && !s->pci && rig_in(&rig, MMIO_BASE + 4, 4) == 1) {
        add_window(s, MMIO_BASE, 0x200); // legacy: raw registers only
        s->virtio = false;
    }
    find_registers(s);
    return true;
}

// --- operations ---

static void poke(struct subject *s)
{
    struct window *w = &s->windows[rnd() % s->n_windows];
    unsigned size = 1u << rnd() % 4;
    uint64_t span = rnd() % 2 ? MIN(w->size, 512ull) : w->size, v = 0;
    uint64_t off = rnd() % span & ~(uint64_t)(rnd() % 8 ? size - 1 : 0);
    if (off + size > w->size || off % 4096 + size > 4096)
        return;
    if (rnd() % 2)
        (void)!space_read(rig.space, w->base + off, size, &v, (struct mem_attrs){0});
    else
        (void)!space_write(rig.space, w->base + off, size, rnd64(), (struct mem_attrs){0});
}

static void restart(struct subject *s)
{
    if (s->pci)
        find_registers(s);
    drv_status_out(&s->drv, 0);
    for (int64_t end = host_monotonic_ns() + PATIENCE_NS;
         drv_status(&s->drv) && host_monotonic_ns() < end;)
        loop_run_once(rig.loop, 10);
    uint64_t offered = drv_offered(&s->drv);
    s->drv.packed = offered >> 34 & 1 && rnd() % 2;
    s->drv.event_idx = offered >> 29 & 1 && rnd() % 2;
    s->drv.indirect = offered >> 28 & 1 && rnd() % 2;
    offered &= ~(1ull << 34 | 1ull << 29 | 1ull << 28);
    if (!drv_negotiate(&s->drv, offered & (rnd() % 2 ? ~0ull : rnd64())))
        return;
    rig.next = RAM_BASE + 4096;
    s->n_queues = 1 + rnd() % 6;
    for (unsigned i = 0; i < s->n_queues; i++)
        drv_ring(&s->drv, i, 1u << (1 + rnd() % 5));
    drv_ok(&s->drv);
}

// A chain that looks right: random lengths, headers of small numbers, real memory (mostly).
static void add_chain(struct subject *s)
{
    struct ring *q = &s->drv.rings[rnd() % s->n_queues];
    struct seg out[4], in[4];
    unsigned n_out = rnd() % 4, n_in = rnd() % 4;
    gpa_t area = RAM_BASE + 32 * MiB;
    uint8_t head[64];
    if (!q->size || n_out + n_in == 0 || n_out + n_in > q->size)
        return;
    for (unsigned i = 0; i < sizeof head; i++)
        head[i] = rnd() % 3 ? rnd() % 4 : rnd();
    rig_write(&rig, area, head, sizeof head);
    for (unsigned i = 0; i < 4; i++) {
        uint32_t len = rnd() % 4 ? rnd() % 64 : rnd() % 3 ? 512 * (rnd() % 16) : rnd() % 100000;
        out[i] = (struct seg){area + (i ? rnd() % 65536 : 0), i || rnd() % 4 ? len : 16};
        in[i] = (struct seg){rnd() % 200 ? area + rnd() % MiB : rnd64(), len};
    }
    drv_add(q, out, n_out, in, n_in);
    if (rnd() % 4)
        drv_kick(q);
}

// A SCSI command to the disk that is there, or nearly.
static void add_scsi(struct subject *s)
{
    static const uint8_t ops[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e,
                                  0x25, 0x28, 0x2a, 0x35, 0x41, 0x42, 0x43, 0x46, 0x4a,
                                  0x51, 0x55, 0x5a, 0x88, 0x8a, 0x93, 0x9e, 0xa0, 0xbd};
    struct ring *q = &s->drv.rings[MIN(2u, s->n_queues - 1)];
    gpa_t area = RAM_BASE + 32 * MiB;
    uint8_t head[51] = {1};
    if (!q->size || q->size < 4)
        return;
    head[1] = rnd() % 16 == 0;
    head[3] = rnd() % 16 == 0;
    head[19] = ops[rnd() % ARRAY_SIZE(ops)];
    for (unsigned i = 20; i < sizeof head; i++)
        head[i] = rnd() % 3 ? rnd() % 4 * (rnd() % 2) : rnd();
    rig_write(&rig, area, head, sizeof head);
    rig_write(&rig, area + 8192, head + 20, 31);
    struct seg out[2] = {{area, 51}, {area + 8192, 1 + rnd() % 4096}};
    struct seg in[2] = {{area + 4096, 108}, {area + 65536, 1 + rnd() % 65536}};
    drv_add(q, out, 1 + rnd() % 2, in, 1 + rnd() % 2);
    drv_kick(q);
}

static void scribble(struct subject *s)
{
    struct ring *q = &s->drv.rings[rnd() % s->n_queues];
    uint8_t raw[16];
    if (!q->size)
        return;
    st_le64(raw, rnd64());
    st_le64(raw + 8, rnd64());
    gpa_t at[] = {q->desc + 16 * (rnd() % q->size), q->driver, q->device, q->tables};
    rig_write(&rig, at[rnd() % 4], raw, 1 + rnd() % 16);
    drv_kick(q);
}

static void outside(void)
{
    static uint8_t frame[2000];
    uint8_t v = 0x7f;
    for (unsigned i = 0; i < 20; i++)
        frame[i] = rnd();
    if (net.nic_ops)
        netdev_deliver(&net, frame, 14 + rnd() % 1900);
    if (rnd() % 64 == 0 && net.nic_ops)
        netdev_set_link(&net, rnd() % 2);
    if (net.nic_ops && rnd() % 2)
        netdev_can_send(&net);
    chardev_ringbuf_read(chr, &v, 1);
}

// --- saved state ---

enum { DEVICES = 64 };

static size_t save_all(struct buf *saved)
{
    size_t n = MIN(rig.tree.devices.len, (size_t)DEVICES);
    for (size_t i = 0; i < n; i++)
        device_drain(rig.tree.devices.data[i]);
    for (size_t i = 0; i < n; i++)
        device_save(rig.tree.devices.data[i], &saved[i]);
    return n;
}

static void damage(struct buf *b)
{
    for (unsigned k = rnd() % 4; k < 4 && b->len; k++)
        b->data[rnd() % b->len] = rnd() % 2 ? (uint8_t)rnd() : (uint8_t)(rnd() % 4);
    if (rnd() % 8 == 0)
        b->len = rnd() % (b->len + 1);
}

// Clocks that show the host's time: an alarm may come due in between.
static bool follows_the_host(const struct device_type *t)
{
    return !strcmp(t->name, "goldfish_rtc") || !strcmp(t->name, "mc146818rtc") ||
           !strcmp(t->name, "pl031");
}

// Saved, reset, loaded: the same state is there. With `hostile`, after changes by somebody else: it
// is refused, or it does no harm.
static void save_and_load(struct subject *s, bool hostile)
{
    struct buf saved[DEVICES] = {0}, again[DEVICES] = {0};
    struct err e = {0};
    size_t n = save_all(saved);
    device_tree_reset(&rig.tree);
    bool bad = false;
    for (size_t i = 0; i < n; i++) {
        if (hostile)
            damage(&saved[i]);
        struct reader r = reader_of(saved[i].data, saved[i].len);
        bad |= device_load(rig.tree.devices.data[i], &r, &e) != 0;
    }
    for (size_t i = 0; i < n && !bad; i++)
        bad |= device_loaded(rig.tree.devices.data[i], &e) != 0;
    if (!hostile && bad)
        fail_msg("%s: what was saved is refused: %s", s->d->type->name, e.msg);
    if (!hostile) {
        save_all(again);
        for (size_t i = 0; i < n; i++)
            if (saved[i].len != again[i].len ||
                (!follows_the_host(rig.tree.devices.data[i]->type) &&
                 memcmp(saved[i].data, again[i].data, saved[i].len)))
                fail_msg("%s: its saved state has become another",
                         rig.tree.devices.data[i]->type->name);
    }
    if (bad)
        device_tree_reset(&rig.tree);
    for (size_t i = 0; i < n; i++) {
        buf_free(&saved[i]);
        buf_free(&again[i]);
    }
}

static void step(struct subject *s)
{
    unsigned k = rnd() % 64;
    if (k < 4)
        loop_run_once(rig.loop, 0);
    else if (k < 6)
        outside();
    else if (!s->virtio || k < 24)
        poke(s);
    else if (rnd() % 256 == 0 || !s->n_queues || (drv_status(&s->drv) & 0x44) != 4)
        restart(s);
    else if (k < 30)
        scribble(s);
    else if (s->scsi && k < 60)
        add_scsi(s);
    else
        add_chain(s);
    if (rnd() % 20000 == 0)
        device_tree_reset(&rig.tree);
    if (rnd() % 2000 == 0)
        save_and_load(s, rnd() % 2);
}

static void fuzz_type(const struct device_type *t)
{
    struct subject s;
    rng = 0x9e3779b97f4a7c15ull ^ hash_bytes(t->name, strlen(t->name));
    rig_init(&rig);
    rig.wild = true;
    open_backends();
    bool made = make(&s, t);
    for (unsigned long i = 0; made && s.n_windows && i < operations; i++)
        step(&s);
    assert_int_equal(rig_in(&rig, ECAM_BASE, 2), 0x1b36);
    device_tree_reset(&rig.tree);
    device_tree_free(&rig.tree);
    free(net.segments); // as netdev_close does
    device_tree_init(&rig.tree, &rig.env);
    chardev_close(chr);
    drives_free(drives);
    rig_free(&rig);
    if (!made)
        printf("# %s needs its board\n", t->name);
}

static void test_every_type(void **state)
{
    for (const struct device_type *const *t = device_types(); *t; t++)
        fuzz_type(*t);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        operations = strtoul(argv[1], NULL, 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_type)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
