// Generic PCI Express host bridge (PCI Express Base 5.0, section 7.2.2; "pci-host-ecam-generic" to
// device trees). Function 00.0 is a host bridge that does nothing.
#include "device/pci/host_ecam.h"

#include "device/core/sysdev.h"

#include <pthread.h>
#include <stdlib.h>

struct pci_ecam {
    struct sys_device sys;
    struct pci_ecam_board board;
    struct pci_root root;
    struct region *windows[3];
};

static struct pci_ecam *of(struct device *d)
{
    return container_of(d, struct pci_ecam, sys.dev);
}

static struct pci_device *target(struct pci_ecam *h, gpa_t off)
{
    return pci_find(&h->root, off >> 20, off >> 12 & 0xff);
}

static enum mem_result ecam_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    struct pci_device *p = target(opaque, off);
    *val = p ? pci_config_read(p, off & 0xfff, size) : UINT64_MAX;
    return MEM_OK;
}

static enum mem_result ecam_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct pci_device *p = target(opaque, off);
    if (p)
        pci_config_write(p, off & 0xfff, size, val);
    return MEM_OK;
}

static const struct mmio_ops ecam_ops = {.read = ecam_read, .write = ecam_write, .max_size = 4};

static int init(struct device *d, struct err *e)
{
    struct pci_ecam *h = of(d);
    struct pci_root *root = &h->root;
    root->mem = space_new("pci-memory", UINT64_MAX);
    root->io = space_new("pci-io", 0xffff);
    root->no_dma = space_new("pci-no-dma", UINT64_MAX);
    root->dma = d->env->memory;
    pthread_mutex_init(&root->intx_lock, NULL);
    root->bus = pci_bus_new(d, "pcie.0", root, NULL, true);
    sys_add_window(&h->sys, "pcie-ecam", (uint64_t)h->board.n_buses << 20, &ecam_ops, h);
    for (unsigned i = 0; i < ARRAY_SIZE(root->intx); i++)
        sys_add_irq(&h->sys, &root->intx[i]);
    return 0;
}

static void leave(struct device *d)
{
    struct pci_ecam *h = of(d);
    for (unsigned i = 0; i < ARRAY_SIZE(h->windows); i++)
        region_unmap(h->windows[i]);
    space_free(h->root.mem);
    space_free(h->root.io);
    space_free(h->root.no_dma);
    pthread_mutex_destroy(&h->root.intx_lock);
}

const struct device_type pci_ecam_type = {
    .name = "gpex-pcihost",
    .desc = "generic PCI Express host bridge",
    .bus = "system",
    .category = "Controller/Bridge/Hub",
    .size = sizeof(struct pci_ecam),
    .base = &sys_device_base,
    .init = init,
    .exit = leave,
};

static int host_function_init(struct device *d, struct err *e)
{
    struct pci_device *p = container_of(d, struct pci_device, dev);
    pci_set_identity(p, 0x1b36, 0x0008, 0x0600, 0, 0);
    return 0;
}

const struct device_type pci_host_function_type = {
    .name = "gpex-root",
    .desc = "function 00.0 of the generic PCI Express host bridge",
    .bus = "PCI",
    .category = "Controller/Bridge/Hub",
    .size = sizeof(struct pci_device),
    .base = &pci_device_base,
    .init = host_function_init,
};

static void map_windows(struct pci_ecam *h, struct space *m)
{
    const struct pci_ecam_board *b = &h->board;
    sys_map(&h->sys, 0, m, b->ecam_base);
    h->windows[0] =
        space_map_alias(m, "pcie-mmio", b->mmio_base, h->root.mem, b->mmio_base, b->mmio_size, 0);
    if (b->mmio64_size)
        h->windows[1] = space_map_alias(m, "pcie-mmio-high", b->mmio64_base, h->root.mem,
                                        b->mmio64_base, b->mmio64_size, 0);
    if (b->pio_size)
        h->windows[2] =
            space_map_alias(m, "pcie-ioport", b->pio_base, h->root.io, 0, b->pio_size, 0);
}

struct device *pci_ecam_create(struct device_tree *t, const struct pci_ecam_board *b, struct err *e)
{
    struct device *d = device_new(t, &pci_ecam_type, NULL);
    struct pci_ecam *h = of(d);
    h->board = *b;
    if (device_start(t, d, NULL, e))
        return NULL;
    map_windows(h, t->env->memory);
    for (unsigned i = 0; i < ARRAY_SIZE(b->intx); i++)
        sys_connect(&h->sys, i, b->intx[i]);
    h->root.msi = b->msi;
    struct device *f = device_new(t, &pci_host_function_type, NULL);
    if (device_set(f, "addr", "0", e)) {
        device_discard(f);
        return NULL;
    }
    return device_start(t, f, &h->root.bus->bus, e) ? NULL : d;
}

struct pci_root *pci_ecam_root(struct device *d)
{
    return &of(d)->root;
}
