// GICv2m message frame (Arm Server Base System Architecture, appendix on GICv2m): a write of an SPI
// number to MSI_SETSPI_NS pulses that edge-triggered interrupt.
#include "device/irqchip/gicv2m.h"
#include "base/bits.h"

#include <inttypes.h>

enum { MSI_TYPER = 0x008, MSI_SETSPI_NS = 0x040, MSI_IIDR = 0xfcc, MAX_SPIS = 128 };

struct gicv2m {
    struct sys_device sys;
    uint32_t base_spi, num_spi;
    gpa_t mapped_at;
    struct irq spi[MAX_SPIS];
};

static struct gicv2m *of(struct device *d)
{
    return container_of(d, struct gicv2m, sys.dev);
}

static void set_spi(const struct gicv2m *f, uint32_t intid)
{
    if (intid >= f->base_spi && intid < f->base_spi + f->num_spi)
        irq_pulse(&f->spi[intid - f->base_spi]);
    else
        log_guest("GICv2m SPI", "gicv2m: message for SPI %u, which is not the frame's", intid);
}

static enum mem_result frame_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                  struct mem_attrs attrs)
{
    const struct gicv2m *f = opaque;
    *val = off == MSI_TYPER  ? f->base_spi << 16 | f->num_spi
           : off == MSI_IIDR ? 0x53 << 20 // product
                             : 0;
    return MEM_OK;
}

static enum mem_result frame_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                   struct mem_attrs attrs)
{
    if (off == MSI_SETSPI_NS)
        set_spi(opaque, val & 0x3ff);
    return MEM_OK;
}

static const struct mmio_ops frame_ops = {frame_read, frame_write, .min_size = 4, .max_size = 4};

static void send(void *opaque, uint64_t addr, uint32_t data, uint32_t rid)
{
    const struct gicv2m *f = opaque;
    if (addr == f->mapped_at + MSI_SETSPI_NS)
        set_spi(f, data & 0x3ff);
    else
        log_guest("MSI address", "gicv2m: message to 0x%" PRIx64 ", which is no frame", addr);
}

void gicv2m_connect(struct device *d, unsigned i, struct irq to)
{
    BUG_ON(i >= of(d)->num_spi);
    of(d)->spi[i] = to;
}

struct msi_target gicv2m_target(struct device *d, gpa_t base)
{
    of(d)->mapped_at = base;
    return (struct msi_target){send, of(d)};
}

static int gicv2m_init(struct device *d, struct err *e)
{
    struct gicv2m *f = of(d);
    if (f->num_spi > MAX_SPIS || f->base_spi < 32 || f->base_spi + f->num_spi > 1020)
        return err_set(e, "gicv2m: SPIs %u to %u are not possible", f->base_spi,
                       f->base_spi + f->num_spi - 1);
    sys_add_window(&f->sys, "gicv2m", 0x1000, &frame_ops, f);
    return 0;
}

static const struct field gicv2m_fields[] = {
    FIELD(struct gicv2m, base_spi, .name = "base-spi", .kind = F_U32, .use = FIELD_PROP,
          .init = 80),
    FIELD(struct gicv2m, num_spi, .name = "num-spi", .kind = F_U32, .use = FIELD_PROP, .init = 64),
    {0},
};

const struct device_type gicv2m_type = {
    .name = "arm-gicv2m",
    .desc = "GICv2m message interrupt frame",
    .category = "Misc devices",
    .size = sizeof(struct gicv2m),
    .fields = gicv2m_fields,
    .base = &sys_device_base,
    .init = gicv2m_init,
};
