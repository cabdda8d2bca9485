// Device tree of the RISC-V `virt` board: node names, properties and values as guests know them
// from QEMU's board of that name; bindings from the Linux documentation (riscv/cpus.yaml,
// sifive,plic-1.0.0, sifive,clint, pci-host-ecam-generic, syscon-poweroff, cfi-flash, …).
#include "board/boot/pcie.h"
#include "board/riscv/harts.h"
#include "board/riscv/virt.h"
#include "device/irqchip/riscv/aclint.h"
#include "device/power/sifive_test.h"
#include "isa/riscv/riscv.h"
#include "board/numa.h"

#include <string.h>
#include <sys/random.h>

enum { // phandles
    PH_TEST = 0x8000,
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
    const struct board_slot *s = &rvirt_slots[RVIRT_CLINT];
    if (!v->aclint) {
        riscv_fdt_clint(v->m, s->base, o);
        return;
    }
    gpa_t timer = s->base;
    if (v->aia != AIA_IMSIC) {
        timer += ACLINT_SWI_SIZE;
        put_swi(v, s->base, "riscv,aclint-mswi", RV_INT_MSI, o);
        put_swi(v, rvirt_slots[RVIRT_SSWI].base, "riscv,aclint-sswi", RV_INT_SSI, o);
    }
    fdt_out_node(o, "mtimer@%llx", (unsigned long long)timer);
    fdt_out_str(o, "compatible", "riscv,aclint-mtimer");
    fdt_out_reg(o, timer + 0x7ff8, 8, timer, 0x7ff8);
    riscv_fdt_targets(v->m, RV_INT_MTI, 0, o);
    fdt_out_end(o);
}

static void put_irq(const struct rvirt *v, unsigned n, struct fdt_out *o)
{
    uint32_t cells[2];
    fdt_out_cells_n(o, "interrupts", cells, rvirt_fdt_source(v, n, cells));
    fdt_out_cells(o, "interrupt-parent", RVIRT_PH_IRQ);
}

// Which counters firmware may give which of SBI's hardware events (riscv,pmu.yaml): cycles and
// instructions have one of their own, and every programmable counter does.
static void put_pmu(const struct rvirt *v, struct fdt_out *o)
{
    enum { CYCLES = 1, INSTRUCTIONS = 2, COUNTER_CYCLE = 0, COUNTER_INSTRET = 2, COUNTER_HPM = 3 };
    if (!rv_has(rv_cpu(v->m->vcpus->v[0]->env), RV_FEAT_ZIHPM))
        return;
    const uint32_t hpm = (uint32_t)mask_low(RV_HPM_COUNTERS) << COUNTER_HPM;
    const uint32_t counters[] = {
        CYCLES,       CYCLES,       hpm | 1 << COUNTER_CYCLE,
        INSTRUCTIONS, INSTRUCTIONS, hpm | 1 << COUNTER_INSTRET,
    };
    fdt_out_node(o, "pmu");
    fdt_out_str(o, "compatible", "riscv,pmu");
    fdt_out_cells_n(o, "riscv,event-to-mhpmcounters", counters, ARRAY_SIZE(counters));
    fdt_out_end(o);
}

// ---- devices ----

static void put_slot(const struct rvirt *v, const struct board_slot *s, unsigned n,
                     struct fdt_out *o)
{
    gpa_t base = board_slot_at(s, n);
    fdt_out_node(o, "%s@%llx", s->name, (unsigned long long)base);
    fdt_out_bytes(o, "compatible", s->compatible, s->compatible_len);
    fdt_out_reg(o, base, s->size);
    if (s->irq >= 0)
        put_irq(v, (unsigned)s->irq + n, o);
    fdt_out_end(o);
}

static void put_uart(const struct rvirt *v, struct fdt_out *o)
{
    const struct board_slot *s = &rvirt_slots[RVIRT_UART];
    fdt_out_node(o, "serial@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "compatible", "ns16550a");
    fdt_out_reg(o, s->base, s->size);
    fdt_out_cells(o, "clock-frequency", RVIRT_UART_CLOCK);
    put_irq(v, (unsigned)s->irq, o);
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
    const struct board_slot *s = &rvirt_slots[RVIRT_TEST];
    fdt_out_node(o, "test@%llx", (unsigned long long)s->base);
    fdt_out_bytes(o, "compatible", compatible, sizeof compatible);
    fdt_out_reg(o, s->base, s->size);
    fdt_out_cells(o, "phandle", PH_TEST);
    fdt_out_end(o);
}

static void put_fw_cfg(struct fdt_out *o)
{
    const struct board_slot *s = &rvirt_slots[RVIRT_FW_CFG];
    fdt_out_node(o, "fw-cfg@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "compatible", "qemu,fw-cfg-mmio");
    fdt_out_reg(o, s->base, s->size);
    fdt_out_empty(o, "dma-coherent");
    fdt_out_end(o);
}

static void put_flash(struct fdt_out *o)
{
    const struct board_slot *s = &rvirt_slots[RVIRT_FLASH];
    fdt_out_node(o, "flash@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "compatible", "cfi-flash");
    fdt_out_reg(o, s->base, s->size, s->base + s->size, s->size);
    fdt_out_cells(o, "bank-width", 4);
    fdt_out_end(o);
}

static void put_pcie(const struct rvirt *v, struct fdt_out *o)
{
    struct boot_pcie p = {
        .bridge = rvirt_pcie_windows(v),
        .node = "pci",
        .at = rvirt_slots[RVIRT_PCIE_ECAM].base,
        .msi = v->aia == AIA_IMSIC ? RVIRT_PH_IMSIC_S : 0,
        .intc = RVIRT_PH_IRQ,
    };
    for (unsigned i = 0; i < 4; i++)
        p.irq_cells = rvirt_fdt_source(v, RVIRT_IRQ_PCIE + i, p.irq[i]);
    boot_pcie_fdt(&p, o);
}

static void put_soc(const struct rvirt *v, struct fdt_out *o)
{
    fdt_out_node(o, "soc");
    fdt_out_cells(o, "#address-cells", 2);
    fdt_out_cells(o, "#size-cells", 2);
    fdt_out_str(o, "compatible", "simple-bus");
    fdt_out_empty(o, "ranges");
    put_clint(v, o);
    rvirt_fdt_irqchip(v, o);
    put_test(o);
    put_uart(v, o);
    for (unsigned i = 0; i < RVIRT_SLOTS; i++)
        for (unsigned n = 0; rvirt_slots[i].compatible && n < MAX(rvirt_slots[i].count, 1u); n++)
            put_slot(v, &rvirt_slots[i], n, o);
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
    numa_fdt_distances(v->m, &o);
    put_pmu(v, &o);
    put_power("poweroff", FINISHER_PASS, &o);
    put_power("reboot", FINISHER_RESET, &o);
    put_fw_cfg(&o);
    put_flash(&o);
    put_soc(v, &o);
    fdt_out_end(&o);
    return fdt_out_finish(&o, blob, len, e);
}
