// PCI and PCI Express functions, buses and bridges. A function's type embeds `struct pci_device`
// first and names `pci_device_base` as its base; its init hook sets identity, adds BARs and
// capabilities. Configuration writes go through per-bit write masks, BARs appear in the bus's
// memory or I/O space where the guest programs them (if every bridge above forwards there), and DMA
// and MSI need bus mastering on the whole path.
//
// Threads: configuration accesses of one hierarchy, and what rearranges it (plugging, resets), are
// serialised by its host bridge's guard, which is taken before a function's. The bytes themselves
// change under the function's own lock, so a device may look at its configuration from its own
// work.
#pragma once

#include "device/device.h"

#define PCI_BARS         6
#define PCI_ROM_SLOT     6
#define PCI_CONFIG       4096
#define PCI_CONVENTIONAL 256
#define PCI_MSIX_MAX     128

struct pci_device;
struct pci_bus;

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_ROM };
struct pci_bar {
    uint8_t kind; // enum pci_bar_kind
    bool prefetchable, mapped;
    uint64_t size, base;
    struct region *region;
};

struct pci_device {
    struct device dev;
    // Properties.
    char *addr; // "slot[.function]", hexadecimal
    bool multifunction;
    char *romfile;
    uint32_t rombar;
    // Place.
    struct pci_bus *bus;
    uint8_t devfn;
    struct space *dma; // the bus's memory while bus mastering is on, else an empty space
    bool express;
    uint16_t config_size;
    uint8_t config[PCI_CONFIG];
    uint8_t *writable, *w1c, *at_reset; // as long as config: bits a write changes, bits it clears
    struct pci_bar bars[PCI_BARS + 1];
    uint16_t cap_end; // next free byte for a capability
    uint8_t cap_msi, cap_msix, cap_exp;
    // MSI-X.
    uint16_t msix_n;
    uint8_t msix_table[PCI_MSIX_MAX * 16];
    uint8_t msix_pending[PCI_MSIX_MAX / 8];
    struct pci_msix_wire *msix_wires; // NULL until one is sent (msix_wire.c)
    // INTx.
    bool intx_level, intx_driven;
    struct ram *rom;
    struct loop_work flr;
    // Hooks of the type; may be NULL. The device is locked.
    void (*config_read)(struct pci_device *p, unsigned off, unsigned len);    // before a read
    void (*config_written)(struct pci_device *p, unsigned off, unsigned len); // after a write
    void (*master_changed)(struct pci_device *p);                             // p->dma is another
    void (*msix_changed)(struct pci_device *p);                               // enable or masks
};
extern const struct device_type pci_device_base;

struct pci_bridge {
    struct pci_device pci;
    struct pci_bus *secondary;
    struct loop_work reset_work;
    void (*child_changed)(struct pci_bridge *b); // something was plugged into or out of secondary
    bool (*ask)(struct pci_bridge *b);           // ask the guest to let go of what is in the slot
};
extern const struct device_type pci_bridge_base;

// What is above the first bus: made by a host bridge.
struct pci_root {
    struct pci_bus *bus;
    struct space *mem, *io; // what BARs are mapped into
    struct space *dma;      // what functions reach
    struct space *no_dma;   // what they reach without bus mastering: nothing
    struct irq intx[4];     // host lines; slot s, pin p uses (s + p) % 4
    struct msi_target msi;
    pthread_mutex_t intx_lock;
    unsigned intx_count[4]; // functions that assert each line
};

struct pci_bus {
    struct bus bus;
    struct pci_root *root;
    struct pci_bridge *bridge; // above, or NULL
    bool express;
    bool one_slot; // below a root port there is only slot 0
    struct pci_device *functions[256];
};
extern const struct bus_type pci_bus_type;
// `owner` is the host bridge's device or `bridge`'s own; `bridge` is NULL for a root bus. Freed
// with its owner.
struct pci_bus *pci_bus_new(struct device *owner, const char *name, struct pci_root *root,
                            struct pci_bridge *bridge, bool express);
unsigned pci_bus_number(const struct pci_bus *b); // as the guest has set it; a root bus is 0
// The requester ID that the host bridge sees: a bridge to conventional PCI puts its own in place of
// those below it.
uint16_t pci_rid(const struct pci_device *p);

// --- for a function's init hook ---
void pci_set_identity(struct pci_device *p, uint16_t vendor, uint16_t device, uint16_t class_code,
                      uint8_t prog, uint8_t revision);
void pci_set_subsystem(struct pci_device *p, uint16_t vendor, uint16_t device);
// `size` is a power of two. The handlers run under `guard`, as a rule device_guard of the function;
// NULL if they lock for themselves.
void pci_add_bar(struct pci_device *p, unsigned n, enum pci_bar_kind kind, bool prefetchable,
                 uint64_t size, const char *name, const struct mmio_ops *ops, void *opaque,
                 struct mmio_guard *guard);
// Room for a capability in configuration space: its offset. The list grows at its end.
unsigned pci_add_cap(struct pci_device *p, uint8_t id, unsigned size);
void pci_add_express(struct pci_device *p, unsigned port_type);
void pci_add_msi(struct pci_device *p, unsigned vectors_log2);
// A table of n vectors and its pending bits in BAR `bar`, which it fills.
void pci_add_msix(struct pci_device *p, unsigned n, unsigned bar);
void pci_use_intx(struct pci_device *p); // pin A

// --- for a running function, locked ---
void pci_set_intx(struct pci_device *p, bool level);
bool pci_msi_on(const struct pci_device *p);
bool pci_msix_on(const struct pci_device *p);
void pci_msi_notify(struct pci_device *p, unsigned vector);
void pci_msix_notify(struct pci_device *p, unsigned vector);

// --- for host bridges ---
struct pci_device *pci_find(struct pci_root *root, unsigned bus, unsigned devfn); // NULL: nobody
uint32_t pci_config_read(struct pci_device *p, unsigned off, unsigned size);
void pci_config_write(struct pci_device *p, unsigned off, unsigned size, uint32_t val);

// --- within pci/ ---
void pci_update_mappings(struct pci_device *p); // this function, and what is below it
void pci_update_master(struct pci_device *p);
void pci_update_bus(struct pci_bus *b, void (*update)(struct pci_device *p));
bool pci_master_on_path(const struct pci_device *p);
// May an access at [base, last] of this kind come through the bridge?
bool pci_bridge_forwards(const struct pci_bridge *b, enum pci_bar_kind kind, uint64_t base,
                         uint64_t last);
void pci_intx_update(struct pci_device *p);
void pci_msix_config_written(struct pci_device *p);
void pci_msi_config_written(struct pci_device *p);
// msix_wire.c: sends by a descriptor of the kernel's; false: not this one, or not yet.
bool pci_msix_wire_send(struct pci_device *p, unsigned vector, uint64_t addr, uint32_t data);
void pci_msix_wires_free(struct pci_device *p);
int pci_rom_load(struct pci_device *p, struct err *e) MUST_CHECK;
