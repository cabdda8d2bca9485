// The ISA bus as software sees it: devices at fixed I/O ports with one of 16 interrupt lines. A
// board makes the bus ("isa.0"); `-device isa-…` plugs into it.
#pragma once

#include "device/device.h"

struct isa_bus {
    struct bus bus;
    struct space *ports;
    struct irq irq[16];
};
extern const struct bus_type isa_bus_type;
// `irq` are the 16 lines of an ISA bus, by number; copied.
struct isa_bus *isa_bus_new(struct device_tree *t, struct space *ports, const struct irq *irq);
static inline struct isa_bus *isa_bus_of(struct device *d)
{
    return container_of(d->parent_bus, struct isa_bus, bus);
}
