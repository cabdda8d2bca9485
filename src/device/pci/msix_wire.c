// Vectors that send the same message again and again get a descriptor, each signal of which the
// kernel turns into that message on its own (msi_target.bind). A vector earns it by sending:
// drivers change their vectors a few times before they use one, and changes cost the kernel more
// than messages do.
#include "device/pci/pci.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EARNED = 64 };

struct pci_msix_wire {
    uint64_t addr;
    uint32_t data, rid;
    unsigned sent; // of this message
    bool bound;
    int fd, handle; // while bound
};

static void take_back(struct pci_device *p, struct pci_msix_wire *w)
{
    struct msi_target *t = &p->bus->root->msi;
    if (!w->bound)
        return;
    t->unbind(t->opaque, w->fd, w->handle);
    close(w->fd);
    w->bound = false;
}

static void bind_wire(struct pci_device *p, struct pci_msix_wire *w)
{
    struct msi_target *t = &p->bus->root->msi;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0)
        return;
    w->handle = t->bind(t->opaque, w->fd, w->addr, w->data, w->rid);
    w->bound = w->handle >= 0;
    if (!w->bound)
        close(w->fd);
}

bool pci_msix_wire_send(struct pci_device *p, unsigned vector, uint64_t addr, uint32_t data)
{
    if (!p->bus->root->msi.bind)
        return false;
    if (!p->msix_wires)
        p->msix_wires = xcalloc(p->msix_n, sizeof *p->msix_wires);
    struct pci_msix_wire *w = &p->msix_wires[vector];
    uint32_t rid = pci_rid(p);
    if (w->addr != addr || w->data != data || w->rid != rid) {
        take_back(p, w);
        *w = (struct pci_msix_wire){.addr = addr, .data = data, .rid = rid};
    }
    if (!w->bound && ++w->sent == EARNED)
        bind_wire(p, w);
    return w->bound && !eventfd_write(w->fd, 1);
}

void pci_msix_wires_free(struct pci_device *p)
{
    for (unsigned i = 0; p->msix_wires && i < p->msix_n; i++)
        take_back(p, &p->msix_wires[i]);
    free(p->msix_wires);
    p->msix_wires = NULL;
}
