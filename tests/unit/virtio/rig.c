// The small machine of rig.h: RAM, one loop, a PCI host and virtio-mmio slots.
#include "rig.h"

#include "base/bits.h"
#include "device/core/sysdev.h"
#include "device/virtio/mmio.h"

#include <unistd.h>

static void on_irq(void *opaque, int n, int level)
{
    *(int *)opaque = level;
}

static void on_intx(void *opaque, int n, int level)
{
    ((struct rig *)opaque)->intx[n] = level;
}

static void on_msi(void *opaque, uint64_t addr, uint32_t data, uint32_t rid)
{
    struct rig *r = opaque;
    if (!r->wild) {
        assert_int_equal(addr, PCI_MSI);
        assert_true(data < PCI_MSIX_MAX);
    }
    r->msi[data % PCI_MSIX_MAX]++;
    r->msi_rid = rid;
}

static int on_bind(void *opaque, int fd, uint64_t addr, uint32_t data, uint32_t rid)
{
    struct rig *r = opaque;
    if (!r->binds)
        return -1;
    r->bound_fd = dup(fd);
    return (int)r->n_bound++;
}

static void on_unbind(void *opaque, int fd, int handle)
{
    struct rig *r = opaque;
    close(r->bound_fd);
    r->n_unbound++;
}

static void *find_backend(void *opaque, enum field_kind kind, const char *id, struct device *d,
                          struct err *e)
{
    struct rig *r = opaque;
    void *p = r->find_backend ? r->find_backend(id) : NULL;
    if (!p)
        err_set(e, "there is no '%s'", id);
    return p;
}

static void ignore_reset(void *opaque, const char *reason) {}
static void ignore_shutdown(void *opaque, const char *reason, int status) {}

void rig_init(struct rig *r)
{
    struct err e = {0};
    *r = (struct rig){0};
    r->space = space_new("memory", UINT64_MAX);
    r->ram = ram_new("ram", RAM_SIZE, false, &e);
    assert_non_null(r->ram);
    space_map_ram(r->space, "ram", RAM_BASE, r->ram, 0, RAM_SIZE, false, 0);
    r->loop = loop_new("test");
    r->clock = clock_new();
    clock_start(r->clock);
    r->env = (struct machine_env){.memory = r->space,
                                  .clock = r->clock,
                                  .loop = r->loop,
                                  .request_reset = ignore_reset,
                                  .request_shutdown = ignore_shutdown};
    r->next = RAM_BASE + 4096;
    r->next_bar = PCI_MMIO + 0x100000;
    device_tree_init(&r->tree, &r->env);
    r->tree.find_backend = find_backend;
    r->tree.opaque = r;
    struct pci_ecam_board b = {
        .ecam_base = ECAM_BASE,
        .n_buses = 16,
        .mmio_base = PCI_MMIO,
        .mmio_size = 0x10000000,
        .mmio64_base = 0x8000000000,
        .mmio64_size = 0x8000000000,
        .pio_base = 0x3eff0000,
        .pio_size = 0x10000,
        .msi = {.send = on_msi, .opaque = r, .bind = on_bind, .unbind = on_unbind},
    };
    for (int i = 0; i < 4; i++)
        b.intx[i] = (struct irq){.set = on_intx, .opaque = r, .n = i};
    r->host = pci_ecam_create(&r->tree, &b, &e);
    assert_non_null(r->host);
}

void rig_free(struct rig *r)
{
    device_tree_free(&r->tree);
    loop_free(r->loop);
    clock_free(r->clock);
    space_free(r->space);
    ram_free(r->ram);
}

gpa_t rig_alloc(struct rig *r, uint64_t size, uint64_t align)
{
    gpa_t a = align_up(r->next, align);
    r->next = a + size;
    assert_true(r->next <= RAM_BASE + RAM_SIZE);
    return a;
}

void rig_write(struct rig *r, gpa_t a, const void *p, size_t n)
{
    assert_int_equal(dma_write(r->space, a, p, n), 0);
}

void rig_read(struct rig *r, gpa_t a, void *p, size_t n)
{
    assert_int_equal(dma_read(r->space, a, p, n), 0);
}

uint64_t rig_in(struct rig *r, gpa_t a, unsigned size)
{
    uint64_t v = 0;
    enum mem_result res = space_read(r->space, a, size, &v, (struct mem_attrs){0});
    assert_true(res == MEM_OK || r->wild);
    return v;
}

void rig_out(struct rig *r, gpa_t a, unsigned size, uint64_t v)
{
    enum mem_result res = space_write(r->space, a, size, v, (struct mem_attrs){0});
    assert_true(res == MEM_OK || r->wild);
}

void rig_spin(struct rig *r)
{
    for (int i = 0; i < 20; i++)
        loop_run_once(r->loop, 0);
}

struct device *rig_device(struct rig *r, const char *line)
{
    struct err e = {0};
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, line, "driver", &e), 0);
    struct device *d = device_create_from_opts(&r->tree, &o, &e);
    opts_free(&o);
    if (!d)
        fail_msg("%s: %s", line, e.msg);
    return d;
}

static gpa_t ecam(unsigned bus, unsigned devfn, unsigned off)
{
    return ECAM_BASE + ((gpa_t)bus << 20 | devfn << 12 | off);
}

uint32_t rig_cfg_in(struct rig *r, unsigned bus, unsigned devfn, unsigned off, unsigned size)
{
    return rig_in(r, ecam(bus, devfn, off), size);
}

void rig_cfg_out(struct rig *r, unsigned bus, unsigned devfn, unsigned off, unsigned size,
                 uint32_t v)
{
    rig_out(r, ecam(bus, devfn, off), size, v);
}

struct device *rig_mmio_slot(struct rig *r, bool legacy)
{
    struct err e = {0};
    struct device *d = device_new(&r->tree, &virtio_mmio_type, NULL);
    assert_int_equal(device_set(d, "force-legacy", legacy ? "on" : "off", &e), 0);
    assert_int_equal(device_start(&r->tree, d, NULL, &e), 0);
    struct sys_device *s = container_of(d, struct sys_device, dev);
    sys_map(s, 0, r->space, MMIO_BASE + VIRTIO_MMIO_SIZE * r->n_mmio++);
    sys_connect(s, 0, (struct irq){.set = on_irq, .opaque = &r->irq_level});
    return d;
}
