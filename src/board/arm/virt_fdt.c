// Device tree of the `virt` board: node names, properties and values as guests know them from
// QEMU's board of that name; bindings from the Linux documentation (arm,gic-v3, pci-host-ecam-
// generic, arm,psci, cfi-flash, …).
#include "board/arm/virt.h"
#include "board/boot/pcie.h"
#include "board/numa.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { // phandles
    PH_CLOCK = 0x8000,
    PH_GIC = 0x8001,
    PH_MSI = 0x8002,
    PH_GPIO = 0x8003,
    PH_SECURE_GPIO = 0x8004,
    PH_CPU0 = 0x8100,
};
enum { // interrupt specifier (arm,gic binding)
    IRQ_SPI = 0,
    IRQ_PPI = 1,
    IRQ_EDGE_RISING = 1,
    IRQ_LEVEL_HIGH = 4,
};

// GICv2 names the CPUs of a PPI in the flags.
static uint32_t ppi_flags(const struct virt *v)
{
    uint32_t cpus = v->gic_version == 2 ? (1u << MIN(v->m->config.cpus, 8u)) - 1 : 0;
    return cpus << 8 | IRQ_LEVEL_HIGH;
}

static void put_secure(struct fdt_out *o)
{
    fdt_out_str(o, "status", "disabled");
    fdt_out_str(o, "secure-status", "okay");
}

static void put_seeds(struct fdt_out *o)
{
    uint8_t seed[40] = {0};
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return; // the guest does without
    fdt_out_bytes(o, "kaslr-seed", seed, 8);
    fdt_out_bytes(o, "rng-seed", seed + 8, 32);
}

static void put_chosen(const struct virt *v, struct fdt_out *o)
{
    const struct machine_config *c = &v->m->config;
    fdt_out_node(o, "chosen");
    if (c->append)
        fdt_out_str(o, "bootargs", c->append);
    if (v->initrd_len) {
        fdt_out_u64(o, "linux,initrd-start", v->initrd);
        fdt_out_u64(o, "linux,initrd-end", v->initrd + v->initrd_len);
    }
    fdt_out_str(o, "stdout-path", "/pl011@9000000");
    put_seeds(o);
    fdt_out_end(o);
    if (!v->secure)
        return;
    fdt_out_node(o, "secure-chosen");
    fdt_out_str(o, "stdout-path", "/pl011@9040000");
    put_seeds(o);
    fdt_out_end(o);
}

// PSCI (Arm DEN 0022): firmware of its own replaces it where it starts at EL3.
static void put_psci(const struct virt *v, struct fdt_out *o)
{
    if (virt_conduit(v) == CONDUIT_NONE)
        return;
    static const char compatible[] = "arm,psci-1.0\0arm,psci-0.2\0arm,psci";
    fdt_out_node(o, "psci");
    fdt_out_bytes(o, "compatible", compatible, sizeof compatible);
    fdt_out_str(o, "method", virt_conduit(v) == CONDUIT_SMC ? "smc" : "hvc");
    fdt_out_cells(o, "cpu_suspend", 0xc4000001);
    fdt_out_cells(o, "cpu_off", 0x84000002);
    fdt_out_cells(o, "cpu_on", 0xc4000003);
    fdt_out_cells(o, "migrate", 0xc4000005);
    fdt_out_end(o);
}

static void put_cpu_map(const struct machine_config *c, struct fdt_out *o)
{
    unsigned cpu = 0;
    fdt_out_node(o, "cpu-map");
    for (unsigned s = 0; s < c->sockets && cpu < c->cpus; s++) {
        fdt_out_node(o, "socket%u", s);
        for (unsigned cl = 0; cl < c->clusters && cpu < c->cpus; cl++) {
            fdt_out_node(o, "cluster%u", cl);
            for (unsigned co = 0; co < c->cores && cpu < c->cpus; co++) {
                fdt_out_node(o, "core%u", co);
                for (unsigned t = 0; t < c->threads && cpu < c->cpus; t++) {
                    if (c->threads > 1)
                        fdt_out_node(o, "thread%u", t);
                    fdt_out_cells(o, "cpu", PH_CPU0 + cpu++);
                    if (c->threads > 1)
                        fdt_out_end(o);
                }
                fdt_out_end(o);
            }
            fdt_out_end(o);
        }
        fdt_out_end(o);
    }
    fdt_out_end(o);
}

static void put_cpus(const struct virt *v, struct fdt_out *o)
{
    const struct machine_config *c = &v->m->config;
    const char *model = c->cpu ? c->cpu : "armv8";
    bool arm_core = !strncmp(model, "cortex-", 7) || !strncmp(model, "neoverse-", 9);
    char compatible[64];
    snprintf(compatible, sizeof compatible, "arm,%.48s", arm_core ? model : "armv8");
    fdt_out_node(o, "cpus");
    fdt_out_cells(o, "#address-cells", 1);
    fdt_out_cells(o, "#size-cells", 0);
    put_cpu_map(c, o);
    for (unsigned i = 0; i < c->cpus; i++) {
        fdt_out_node(o, "cpu@%u", i);
        fdt_out_str(o, "device_type", "cpu");
        fdt_out_str(o, "compatible", compatible);
        if (c->cpus > 1)
            fdt_out_str(o, "enable-method", "psci");
        fdt_out_cells(o, "reg", (uint32_t)virt_affinity(v, i));
        numa_fdt_cpu(v->m, i, o);
        fdt_out_cells(o, "phandle", PH_CPU0 + i);
        fdt_out_end(o);
    }
    fdt_out_end(o);
}

static void put_timer_and_pmu(const struct virt *v, struct fdt_out *o)
{
    static const char compatible[] = "arm,armv8-timer\0arm,armv7-timer";
    uint32_t f = ppi_flags(v);
    fdt_out_node(o, "timer");
    fdt_out_bytes(o, "compatible", compatible, sizeof compatible);
    fdt_out_empty(o, "always-on");
    fdt_out_cells(o, "interrupts", IRQ_PPI, VIRT_PPI_TIMER_SECURE, f, IRQ_PPI, VIRT_PPI_TIMER_PHYS,
                  f, IRQ_PPI, VIRT_PPI_TIMER_VIRT, f, IRQ_PPI, VIRT_PPI_TIMER_HYP, f);
    fdt_out_end(o);
    if (!v->has_pmu)
        return;
    fdt_out_node(o, "pmu");
    fdt_out_str(o, "compatible", "arm,armv8-pmuv3");
    fdt_out_cells(o, "interrupts", IRQ_PPI, VIRT_PPI_PMU, f);
    fdt_out_end(o);
}

static void put_gic_common(struct fdt_out *o)
{
    fdt_out_cells(o, "#interrupt-cells", 3);
    fdt_out_empty(o, "interrupt-controller");
    fdt_out_cells(o, "#address-cells", 2);
    fdt_out_cells(o, "#size-cells", 2);
    fdt_out_empty(o, "ranges");
    fdt_out_cells(o, "phandle", PH_GIC);
}

static void put_gicv3(const struct virt *v, struct fdt_out *o)
{
    const struct board_slot *dist = &virt_slots[VIRT_GIC_DIST];
    const struct board_slot *redist = &virt_slots[VIRT_GIC_REDIST];
    const struct board_slot *its = &virt_slots[VIRT_GIC_ITS];
    fdt_out_node(o, "intc@8000000");
    fdt_out_str(o, "compatible", "arm,gic-v3");
    put_gic_common(o);
    fdt_out_cells(o, "#redistributor-regions", v->redist2 ? 2 : 1);
    if (v->redist2)
        fdt_out_reg(o, dist->base, dist->size, redist->base, redist->size, v->redist2,
                    v->redist2_size);
    else
        fdt_out_reg(o, dist->base, dist->size, redist->base, redist->size);
    if (v->virtualization)
        fdt_out_cells(o, "interrupts", IRQ_PPI, VIRT_PPI_MAINTENANCE, IRQ_LEVEL_HIGH);
    if (v->msi) {
        fdt_out_node(o, "its@8080000");
        fdt_out_str(o, "compatible", "arm,gic-v3-its");
        fdt_out_empty(o, "msi-controller");
        fdt_out_cells(o, "#msi-cells", 1);
        fdt_out_reg(o, its->base, its->size);
        fdt_out_cells(o, "phandle", PH_MSI);
        fdt_out_end(o);
    }
    fdt_out_end(o);
}

static void put_gicv2(const struct virt *v, struct fdt_out *o)
{
    const struct board_slot *dist = &virt_slots[VIRT_GIC_DIST], *cpu = &virt_slots[VIRT_GIC_CPU];
    const struct board_slot *hyp = &virt_slots[VIRT_GIC_HYP], *vcpu = &virt_slots[VIRT_GIC_VCPU];
    const struct board_slot *v2m = &virt_slots[VIRT_GIC_V2M];
    fdt_out_node(o, "intc@8000000");
    fdt_out_str(o, "compatible", "arm,cortex-a15-gic");
    put_gic_common(o);
    if (v->virtualization) {
        fdt_out_reg(o, dist->base, dist->size, cpu->base, cpu->size, hyp->base, hyp->size,
                    vcpu->base, vcpu->size);
        fdt_out_cells(o, "interrupts", IRQ_PPI, VIRT_PPI_MAINTENANCE, ppi_flags(v));
    } else {
        fdt_out_reg(o, dist->base, dist->size, cpu->base, cpu->size);
    }
    if (v->msi) {
        fdt_out_node(o, "v2m@8020000");
        fdt_out_str(o, "compatible", "arm,gic-v2m-frame");
        fdt_out_empty(o, "msi-controller");
        fdt_out_reg(o, v2m->base, v2m->size);
        fdt_out_cells(o, "phandle", PH_MSI);
        fdt_out_end(o);
    }
    fdt_out_end(o);
}

// What every slot with a node of its own has in common.
static void put_slot(const struct board_slot *s, unsigned n, struct fdt_out *o)
{
    gpa_t base = board_slot_at(s, n);
    fdt_out_node(o, "%s@%llx", s->name, (unsigned long long)base);
    fdt_out_bytes(o, "compatible", s->compatible, s->compatible_len);
    fdt_out_reg(o, base, s->size);
    if (s->irq >= 0)
        fdt_out_cells(o, "interrupts", IRQ_SPI, (uint32_t)s->irq + n,
                      s->flags & SLOT_EDGE ? IRQ_EDGE_RISING : IRQ_LEVEL_HIGH);
    if (s->flags & SLOT_UART_CLOCK) {
        fdt_out_cells(o, "clocks", PH_CLOCK, PH_CLOCK);
        fdt_out_bytes(o, "clock-names", "uartclk\0apb_pclk", sizeof "uartclk\0apb_pclk");
    } else if (s->flags & SLOT_APB_CLOCK) {
        fdt_out_cells(o, "clocks", PH_CLOCK);
        fdt_out_str(o, "clock-names", "apb_pclk");
    }
    if (s->flags & SLOT_COHERENT)
        fdt_out_empty(o, "dma-coherent");
    if (s->flags & SLOT_GPIO) {
        fdt_out_cells(o, "#gpio-cells", 2);
        fdt_out_empty(o, "gpio-controller");
        fdt_out_cells(o, "phandle", s->flags & SLOT_SECURE ? PH_SECURE_GPIO : PH_GPIO);
    }
    if (s->flags & SLOT_SECURE)
        put_secure(o);
    fdt_out_end(o);
}

static void put_gpio_users(const struct virt *v, struct fdt_out *o)
{
    fdt_out_node(o, "gpio-keys");
    fdt_out_str(o, "compatible", "gpio-keys");
    fdt_out_node(o, "poweroff");
    fdt_out_str(o, "label", "GPIO Key Poweroff");
    fdt_out_cells(o, "linux,code", 116); // KEY_POWER
    fdt_out_cells(o, "gpios", PH_GPIO, VIRT_GPIO_POWER_PIN, 0);
    fdt_out_end(o);
    fdt_out_end(o);
    if (!v->secure)
        return;
    static const char *const what[2] = {"gpio-poweroff", "gpio-restart"};
    for (uint32_t pin = 0; pin < 2; pin++) {
        fdt_out_node(o, "%s", what[pin]);
        fdt_out_str(o, "compatible", what[pin]);
        fdt_out_cells(o, "gpios", PH_SECURE_GPIO, pin, 0);
        put_secure(o);
        fdt_out_end(o);
    }
}

static void put_flash_node(const char *name, const uint64_t *reg, size_t n, bool secure,
                           struct fdt_out *o)
{
    fdt_out_node(o, "%s@%llx", name, (unsigned long long)reg[0]);
    fdt_out_str(o, "compatible", "cfi-flash");
    fdt_out_reg_n(o, "reg", reg, n);
    fdt_out_cells(o, "bank-width", 4);
    if (secure)
        put_secure(o);
    fdt_out_end(o);
}

static void put_flash(const struct virt *v, struct fdt_out *o)
{
    const struct board_slot *s = &virt_slots[VIRT_FLASH];
    const uint64_t reg[4] = {s->base, s->size, s->base + s->size, s->size};
    if (!v->secure) {
        put_flash_node("flash", reg, 4, false, o);
        return;
    }
    put_flash_node("secflash", reg, 2, true, o);
    put_flash_node("flash", reg + 2, 2, false, o);
}

static void put_pcie(const struct virt *v, struct fdt_out *o)
{
    struct boot_pcie p = {
        .bridge = virt_pcie_windows(v),
        .node = "pcie",
        .at = virt_slots[VIRT_PCIE_MMIO].base,
        .msi = v->msi ? PH_MSI : 0,
        .msi_by_requester = true,
        .intc = PH_GIC,
        .intc_address = 2,
        .irq_cells = 3,
    };
    for (unsigned i = 0; i < 4; i++)
        memcpy(p.irq[i], (uint32_t[]){IRQ_SPI, VIRT_SPI_PCIE + i, IRQ_LEVEL_HIGH}, 12);
    boot_pcie_fdt(&p, o);
}

static void put_memory(const struct virt *v, struct fdt_out *o)
{
    numa_fdt_memory(v->m, o);
    if (!v->secure)
        return;
    const struct board_slot *s = &virt_slots[VIRT_SECURE_RAM];
    fdt_out_node(o, "secram@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "device_type", "memory");
    fdt_out_reg(o, s->base, s->size);
    put_secure(o);
    fdt_out_end(o);
}

static void put_clock(struct fdt_out *o)
{
    fdt_out_node(o, "apb-pclk");
    fdt_out_str(o, "compatible", "fixed-clock");
    fdt_out_cells(o, "#clock-cells", 0);
    fdt_out_cells(o, "clock-frequency", 24000000);
    fdt_out_str(o, "clock-output-names", "clk24mhz");
    fdt_out_cells(o, "phandle", PH_CLOCK);
    fdt_out_end(o);
}

int virt_build_fdt(const struct virt *v, uint8_t **blob, size_t *len, struct err *e)
{
    struct fdt_out o;
    fdt_out_start(&o, 256 * KiB + 512 * v->m->config.max_cpus + strlen(v->m->config.append ?: ""));
    fdt_out_node(&o, "%s", "");
    fdt_out_str(&o, "compatible", "linux,dummy-virt");
    fdt_out_str(&o, "model", "linux,dummy-virt");
    fdt_out_cells(&o, "#address-cells", 2);
    fdt_out_cells(&o, "#size-cells", 2);
    fdt_out_cells(&o, "interrupt-parent", PH_GIC);
    put_chosen(v, &o);
    put_psci(v, &o);
    put_memory(v, &o);
    numa_fdt_distances(v->m, &o);
    put_cpus(v, &o);
    put_timer_and_pmu(v, &o);
    if (v->gic_version == 3)
        put_gicv3(v, &o);
    else
        put_gicv2(v, &o);
    put_clock(&o);
    put_flash(v, &o);
    for (unsigned i = 0; i < VIRT_SLOTS; i++) {
        const struct board_slot *s = &virt_slots[i];
        if (!s->compatible || ((s->flags & SLOT_SECURE) && !v->secure))
            continue;
        for (unsigned n = 0; n < MAX(s->count, 1u); n++)
            put_slot(s, n, &o);
    }
    put_gpio_users(v, &o);
    put_pcie(v, &o);
    fdt_out_end(&o);
    return fdt_out_finish(&o, blob, len, e);
}
