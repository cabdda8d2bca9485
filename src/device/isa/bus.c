// The ISA bus: nothing but where its devices find ports and interrupt lines.
#include "device/isa/isa.h"

const struct bus_type isa_bus_type = {.name = "ISA", .size = sizeof(struct isa_bus)};

struct isa_bus *isa_bus_new(struct device_tree *t, struct space *ports, const struct irq *irq)
{
    struct isa_bus *b = container_of(bus_new(t, &isa_bus_type, "isa.0", NULL), struct isa_bus, bus);
    b->ports = ports;
    memcpy(b->irq, irq, sizeof b->irq);
    return b;
}
