// Device tree of the RISC-V `virt` board: node names, properties and values as guests know them
// from QEMU's board of that name; bindings from the Linux documentation (riscv/cpus.yaml,
// sifive,plic-1.0.0, sifive,clint, pci-host-ecam-generic, syscon-poweroff, cfi-flash, …).
#include "board/boot/fdt_out.h"
#include "board/riscv_harts.h"
#include "board/riscv_virt.h"
#include "device/irqchip/riscv/aclint.h"
#include "device/irqchip/riscv/plic.h"
#include "device/power/sifive_test.h"
#include "isa/riscv/riscv.h"

#include <string.h>
#include <sys/random.h>

enum { // phandles
    PH_TEST = 0x8000,
    PH_PLIC = 0x8001,
};

// ---- interrupts ----

static void put_swi(const struct rvirt *v, gpa_t base, const char *compatible, unsigned line,
                    struct fdt_out *o)
{
    fdt_out_node(o, line == RV_INT_SSI ? "sswi@%llx" : "mswi@%llx", (unsigned long long)base);
    fdt_out_str(o, "compatible", compatible);
    fdt_out_reg(o, base, ACLINT_SWI_SIZE);
    fdt_out_empty(o, "interrupt-controller");
    fdt_out_cells(o, "#interrupt-cells", 0);
    riscv_fdt_targets(v->m, line, 0, o);
    fdt_out_end(o);
}

static void put_clint(const struct rvirt *v, struct fdt_out *o)
{
    const struct rvirt_slot *s = &rvirt_slots[RVIRT_CLINT];
    if (v->aclint) {
        gpa_t timer = s->base + ACLINT_SWI_SIZE;
        put_swi(v, s->base, "riscv,aclint-mswi", RV_INT_MSI, o);
        put_swi(v, rvirt_slots[RVIRT_SSWI].base, "riscv,aclint-sswi", RV_INT_SSI, o);
        fdt_out_node(o, "mtimer@%llx", (unsigned long long)timer);
        fdt_out_str(o, "compatible", "riscv,aclint-mtimer");
        fdt_out_reg(o, timer + 0x7ff8, 8, timer, 0x7ff8);
        riscv_fdt_targets(v->m, RV_INT_MTI, 0, o);
        fdt_out_end(o);
        return;
    }
    riscv_fdt_clint(v->m, s->base, o);
}

static void put_plic(const struct rvirt *v, struct fdt_out *o)
{
    static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
    const struct rvirt_slot *s = &rvirt_slots[RVIRT_PLIC];
    fdt_out_node(o, "plic@%llx", (unsigned long long)s->base);
    fdt_out_bytes(o, "compatible", compatible, sizeof compatible);
    fdt_out_reg(o, s->base, MAX(s->size, plic_size(2 * v->m->vcpus->n)));
    fdt_out_empty(o, "interrupt-controller");
    fdt_out_cells(o, "#interrupt-cells", 1);
    fdt_out_cells(o, "#address-cells", 0);
    fdt_out_cells(o, "riscv,ndev", RVIRT_SOURCES - 1);
    riscv_fdt_targets(v->m, RV_INT_MEI, RV_INT_SEI, o);
    fdt_out_cells(o, "phandle", PH_PLIC);
    fdt_out_end(o);
}

static void put_irq(unsigned n, struct fdt_out *o)
{
    fdt_out_cells(o, "interrupts", n);
    fdt_out_cells(o, "interrupt-parent", PH_PLIC);
}

// ---- devices ----

static void put_slot(const struct rvirt_slot *s, unsigned n, struct fdt_out *o)
{
    gpa_t base = s->base + n * s->size;
    fdt_out_node(o, "%s@%llx", s->name, (unsigned long long)base);
    fdt_out_bytes(o, "compatible", s->compatible, s->compatible_len);
    fdt_out_reg(o, base, s->size);
    if (s->irq)
        put_irq(s->irq + n, o);
    fdt_out_end(o);
}

static void put_uart(struct fdt_out *o)
{
    const struct rvirt_slot *s = &rvirt_slots[RVIRT_UART];
    fdt_out_node(o, "serial@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "compatible", "ns16550a");
    fdt_out_reg(o, s->base, s->size);
    fdt_out_cells(o, "clock-frequency", RVIRT_UART_CLOCK);
    put_irq(s->irq, o);
    fdt_out_end(o);
}

static void put_power(const char *name, uint32_t value, struct fdt_out *o)
{
    fdt_out_node(o, "%s", name);
    fdt_out_str(o, "compatible", !strcmp(name, "reboot") ? "syscon-reboot" : "syscon-poweroff");
    fdt_out_cells(o, "regmap", PH_TEST);
    fdt_out_cells(o, "offset", 0);
    fdt_out_cells(o, "value", value);
    fdt_out_end(o);
}

static void put_test(struct fdt_out *o)
{
    static const char compatible[] = "sifive,test1\0sifive,test0\0syscon";
    const struct rvirt_slot *s = &rvirt_slots[RVIRT_TEST];
    fdt_out_node(o, "test@%llx", (unsigned long long)s->base);
    fdt_out_bytes(o, "compatible", compatible, sizeof compatible);
    fdt_out_reg(o, s->base, s->size);
    fdt_out_cells(o, "phandle", PH_TEST);
    fdt_out_end(o);
}

static void put_fw_cfg(struct fdt_out *o)
{
    const struct rvirt_slot *s = &rvirt_slots[RVIRT_FW_CFG];
    fdt_out_node(o, "fw-cfg@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "compatible", "qemu,fw-cfg-mmio");
    fdt_out_reg(o, s->base, s->size);
    fdt_out_empty(o, "dma-coherent");
    fdt_out_end(o);
}

static void put_flash(struct fdt_out *o)
{
    const struct rvirt_slot *s = &rvirt_slots[RVIRT_FLASH];
    fdt_out_node(o, "flash@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "compatible", "cfi-flash");
    fdt_out_reg(o, s->base, s->size, s->base + s->size, s->size);
    fdt_out_cells(o, "bank-width", 4);
    fdt_out_end(o);
}

// INTA to INTD of a device rotate with its slot number over the four sources.
static void put_pcie_interrupts(struct fdt_out *o)
{
    uint32_t map[16][6], *p = map[0];
    for (uint32_t slot = 0; slot < 4; slot++)
        for (uint32_t pin = 0; pin < 4; pin++) {
            const uint32_t entry[6] = {slot << 11, 0,       0,
                                       pin + 1,    PH_PLIC, RVIRT_IRQ_PCIE + (slot + pin) % 4};
            memcpy(p, entry, sizeof entry);
            p += 6;
        }
    fdt_out_cells(o, "#interrupt-cells", 1);
    fdt_out_cells_n(o, "interrupt-map", map[0], 96);
    fdt_out_cells(o, "interrupt-map-mask", 0x1800, 0, 0, 7);
}

static void put_pcie(const struct rvirt *v, struct fdt_out *o)
{
    const struct rvirt_slot *pio = &rvirt_slots[RVIRT_PCIE_PIO];
    const struct rvirt_slot *mmio = &rvirt_slots[RVIRT_PCIE_MMIO];
    const struct rvirt_slot *ecam = &rvirt_slots[RVIRT_PCIE_ECAM];
    const uint32_t ranges[21] = {
        // I/O, 32-bit memory, 64-bit memory: PCI address, CPU address, size
        0x1000000,
        0,
        0,
        0,
        (uint32_t)pio->base,
        0,
        (uint32_t)pio->size,
        0x2000000,
        0,
        (uint32_t)mmio->base,
        0,
        (uint32_t)mmio->base,
        0,
        (uint32_t)mmio->size,
        0x3000000,
        (uint32_t)(v->high_mmio >> 32),
        (uint32_t)v->high_mmio,
        (uint32_t)(v->high_mmio >> 32),
        (uint32_t)v->high_mmio,
        (uint32_t)(v->high_mmio_size >> 32),
        (uint32_t)v->high_mmio_size,
    };
    fdt_out_node(o, "pci@%llx", (unsigned long long)ecam->base);
    fdt_out_str(o, "compatible", "pci-host-ecam-generic");
    fdt_out_str(o, "device_type", "pci");
    fdt_out_cells(o, "#address-cells", 3);
    fdt_out_cells(o, "#size-cells", 2);
    fdt_out_cells(o, "linux,pci-domain", 0);
    fdt_out_cells(o, "bus-range", 0, (uint32_t)(ecam->size / MiB) - 1);
    fdt_out_empty(o, "dma-coherent");
    fdt_out_reg(o, ecam->base, ecam->size);
    fdt_out_cells_n(o, "ranges", ranges, 21);
    put_pcie_interrupts(o);
    fdt_out_end(o);
}

static void put_soc(const struct rvirt *v, struct fdt_out *o)
{
    fdt_out_node(o, "soc");
    fdt_out_cells(o, "#address-cells", 2);
    fdt_out_cells(o, "#size-cells", 2);
    fdt_out_str(o, "compatible", "simple-bus");
    fdt_out_empty(o, "ranges");
    put_clint(v, o);
    put_plic(v, o);
    put_test(o);
    put_uart(o);
    for (unsigned i = 0; i < RVIRT_SLOTS; i++)
        for (unsigned n = 0; rvirt_slots[i].compatible && n < MAX(rvirt_slots[i].count, 1u); n++)
            put_slot(&rvirt_slots[i], n, o);
    put_pcie(v, o);
    fdt_out_end(o);
}

int rvirt_build_fdt(const struct rvirt *v, uint8_t **blob, size_t *len, struct err *e)
{
    struct fdt_out o;
    fdt_out_start(&o, 64 * KiB + 2048 * v->m->config.max_cpus + strlen(v->m->config.append ?: ""));
    fdt_out_node(&o, "%s", "");
    fdt_out_str(&o, "compatible", "riscv-virtio");
    fdt_out_str(&o, "model", "riscv-virtio,qemu");
    fdt_out_cells(&o, "#address-cells", 2);
    fdt_out_cells(&o, "#size-cells", 2);
    riscv_fdt_chosen(&v->boot, "/soc/serial@10000000", &o);
    riscv_fdt_cpus(v->m, &o);
    put_power("poweroff", FINISHER_PASS, &o);
    put_power("reboot", FINISHER_RESET, &o);
    put_fw_cfg(&o);
    put_flash(&o);
    put_soc(v, &o);
    fdt_out_end(&o);
    return fdt_out_finish(&o, blob, len, e);
}
