// The `virt` board: a machine of virtual devices around AArch64 CPUs, with the memory map,
// interrupt numbers and device tree that guests know from QEMU's board of that name, so that
// kernels, UEFI and U-Boot builds for it run unchanged. Not modelled: the SMMU, NVDIMMs and other
// memory that is plugged in later, the platform bus, and memory tagging.
#include "board/arm/virt.h"

#include "block/block.h"
#include "board/boot/file.h"
#include "board/boot/offer.h"
#include "device/firmware/fw_cfg.h"
#include "device/gpio/pl061.h"
#include "device/irqchip/gicv2.h"
#include "device/irqchip/gicv2m.h"
#include "device/irqchip/gicv3.h"
#include "device/irqchip/its/its.h"
#include "device/serial/pl011.h"
#include "device/storage/pflash.h"
#include "device/timer/pl031.h"
#include "device/virtio/mmio.h"
#include "isa/arm/arm.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const struct board_slot virt_slots[VIRT_SLOTS] = {
    [VIRT_FLASH] = {"flash", 0x00000000, 64 * MiB, -1, .count = 2},
    [VIRT_GIC_DIST] = {"gic-dist", 0x08000000, 0x10000, -1},
    [VIRT_GIC_CPU] = {"gic-cpu", 0x08010000, 0x10000, -1},
    [VIRT_GIC_V2M] = {"gic-v2m", 0x08020000, 0x1000, -1},
    [VIRT_GIC_HYP] = {"gic-hyp", 0x08030000, 0x10000, -1},
    [VIRT_GIC_VCPU] = {"gic-vcpu", 0x08040000, 0x10000, -1},
    [VIRT_GIC_ITS] = {"gic-its", 0x08080000, 0x20000, -1},
    [VIRT_GIC_REDIST] = {"gic-redist", 0x080a0000, 0xf60000, -1},
    [VIRT_UART] = {"pl011", 0x09000000, 0x1000, 1, 1, &pl011_type,
                   COMPATIBLE("arm,pl011\0arm,primecell"), "ARMH0011", SLOT_UART_CLOCK},
    [VIRT_RTC] = {"pl031", 0x09010000, 0x1000, 2, 1, &pl031_type,
                  COMPATIBLE("arm,pl031\0arm,primecell"), NULL, SLOT_APB_CLOCK},
    [VIRT_FW_CFG] = {"fw-cfg", 0x09020000, 0x18, -1, 1, &fw_cfg_type,
                     COMPATIBLE("qemu,fw-cfg-mmio"), "QEMU0002", SLOT_COHERENT},
    [VIRT_GPIO] = {"pl061", 0x09030000, 0x1000, 7, 1, &pl061_type,
                   COMPATIBLE("arm,pl061\0arm,primecell"), "ARMH0061", SLOT_APB_CLOCK | SLOT_GPIO},
    [VIRT_SECURE_UART] = {"pl011", 0x09040000, 0x1000, 8, 1, &pl011_type,
                          COMPATIBLE("arm,pl011\0arm,primecell"), NULL,
                          SLOT_UART_CLOCK | SLOT_SECURE},
    [VIRT_SECURE_GPIO] = {"pl061", 0x090b0000, 0x1000, 0, 1, &pl061_type,
                          COMPATIBLE("arm,pl061\0arm,primecell"), NULL,
                          SLOT_APB_CLOCK | SLOT_GPIO | SLOT_SECURE},
    [VIRT_VIRTIO] = {"virtio_mmio", 0x0a000000, VIRTIO_MMIO_SIZE, 16, 32, &virtio_mmio_type,
                     COMPATIBLE("virtio,mmio"), "LNRO0005", SLOT_EDGE | SLOT_COHERENT},
    [VIRT_SECURE_RAM] = {"secram", 0x0e000000, 16 * MiB, -1},
    [VIRT_PCIE_MMIO] = {"pcie-mmio", 0x10000000, 0x2eff0000, -1},
    [VIRT_PCIE_PIO] = {"pcie-pio", 0x3eff0000, 0x10000, -1},
    [VIRT_PCIE_ECAM] = {"pcie-ecam", 0x3f000000, 16 * MiB, -1},
    [VIRT_RAM] = {"ram", 0x40000000, 0, -1},
};

static const struct board_prop virt_props[] = {
    {"acpi", "on|off: describe the machine to firmware by ACPI tables (default on)"},
    {"dumpdtb", "FILE: write the device tree there and stop"},
    {"gic-version", "2|3|max|host: interrupt controller (default 2, 3 above 8 CPUs)"},
    {"highmem", "on|off: PCI windows and more above 4 GiB (default on)"},
    {"highmem-ecam", "on|off: 256 MiB of PCI configuration space above RAM (default on)"},
    {"highmem-mmio", "on|off: 512 GiB PCI window above RAM (default on)"},
    {"highmem-redists", "on|off: redistributors of CPUs above 123 above RAM (default on)"},
    {"iommu", "none"},
    {"its", "on|off: GICv3 message interrupts (default on)"},
    {"mte", "off: memory tagging is not there"},
    {"ras", "off: error reporting is not there"},
    {"secure", "on|off: EL3 and the secure world (default off)"},
    {"virtualization", "on|off: EL2 (default off)"},
    {0},
};

static struct virt *of(struct machine *m)
{
    return m->priv;
}

uint64_t virt_affinity(const struct virt *v, unsigned i)
{
    unsigned cluster = v->gic_version == 2 ? 8 : 16;
    return (i / cluster & 0xff) << 8 | i % cluster | (uint64_t)(i / cluster >> 8) << 16;
}

// ---- properties ----

static int parse_gic(struct virt *v, struct opts *o, struct err *e)
{
    const char *s = o ? opts_get(o, "gic-version") : NULL;
    bool many = v->m->config.max_cpus > 8;
    if (!s)
        v->gic_version = many ? 3 : 2;
    else if (!strcmp(s, "max") || !strcmp(s, "3"))
        v->gic_version = 3;
    else if (!strcmp(s, "2"))
        v->gic_version = 2;
    else if (!strcmp(s, "host"))
        return err_set(e, "-machine gic-version=host needs a host of the guest's architecture; use "
                          "2, 3 or max");
    else
        return err_set(e, "-machine gic-version=%s: must be 2, 3, max or host", s);
    if (v->gic_version == 2 && many)
        return err_set(e, "-smp %u: GICv2 serves at most 8 CPUs; use -machine gic-version=3",
                       v->m->config.max_cpus);
    return 0;
}

// Values that this board accepts only as "not there".
static int refuse(struct opts *o, const char *key, const char *absent, const char *what,
                  struct err *e)
{
    const char *s = o ? opts_get(o, key) : NULL;
    if (!s || !strcmp(s, absent))
        return 0;
    return err_set(e, "-machine %s=%s: %s; use %s=%s", key, s, what, key, absent);
}

static int parse_props(struct virt *v, struct err *e)
{
    struct opts *o = v->m->config.props;
    v->acpi = v->its = v->highmem = true;
    v->highmem_ecam = v->highmem_mmio = v->highmem_redists = true;
    if (parse_gic(v, o, e) || refuse(o, "iommu", "none", "an IOMMU is not modelled", e) ||
        refuse(o, "mte", "off", "memory tagging is not modelled", e) ||
        refuse(o, "ras", "off", "RAS error injection is not modelled", e))
        return -1;
    if (!o)
        return 0;
    v->dumpdtb = opts_get(o, "dumpdtb");
    if (opts_get_bool(o, "secure", &v->secure, e) ||
        opts_get_bool(o, "virtualization", &v->virtualization, e) ||
        opts_get_bool(o, "its", &v->its, e) || opts_get_bool(o, "acpi", &v->acpi, e) ||
        opts_get_bool(o, "highmem", &v->highmem, e) ||
        opts_get_bool(o, "highmem-ecam", &v->highmem_ecam, e) ||
        opts_get_bool(o, "highmem-mmio", &v->highmem_mmio, e) ||
        opts_get_bool(o, "highmem-redists", &v->highmem_redists, e))
        return -1;
    if (!v->highmem)
        v->highmem_ecam = v->highmem_mmio = v->highmem_redists = false;
    return 0;
}

// What floats above RAM, each aligned to its size, never below 256 GiB.
static int lay_out_high(struct virt *v, struct err *e)
{
    const uint64_t redists = 64 * MiB, ecam = 256 * MiB, mmio = 512 * GiB;
    gpa_t ram_end = virt_slots[VIRT_RAM].base + v->m->config.ram_size;
    gpa_t at = align_up(MAX(ram_end, 256 * GiB), GiB);
    if (v->m->config.ram_size > 1ull << 51)
        return err_set(e, "-m: %" PRIu64 " GiB of RAM are more than addresses reach",
                       v->m->config.ram_size / GiB);
    if (!v->highmem && ram_end > 4 * GiB)
        return err_set(e, "-machine highmem=off: at most 3 GiB of RAM fit below 4 GiB");
    if (v->gic_version == 3 && v->m->config.max_cpus > VIRT_REDISTS_LOW) {
        if (!v->highmem_redists)
            return err_set(e, "-smp %u: more than %u CPUs need highmem-redists=on",
                           v->m->config.max_cpus, VIRT_REDISTS_LOW);
        v->redist2 = align_up(at, redists);
        v->redist2_size = redists;
    }
    at = align_up(at, redists) + redists;
    v->ecam = v->highmem_ecam ? align_up(at, ecam) : virt_slots[VIRT_PCIE_ECAM].base;
    v->ecam_size = v->highmem_ecam ? ecam : virt_slots[VIRT_PCIE_ECAM].size;
    at = align_up(at, ecam) + ecam;
    if (v->highmem_mmio) {
        v->high_mmio = align_up(at, mmio);
        v->high_mmio_size = mmio;
    }
    return 0;
}

// ---- CPUs and the interrupt controller ----

int virt_conduit(const struct virt *v)
{
    if (v->secure && v->firmware)
        return CONDUIT_NONE;
    return v->secure || v->virtualization ? CONDUIT_SMC : CONDUIT_HVC;
}

static struct irq ppi(struct virt *v, unsigned cpu, unsigned n)
{
    return v->gic_version == 3 ? gicv3_ppi(v->gic, cpu, 16 + n) : gicv2_ppi(v->gic, cpu, 16 + n);
}

static struct irq spi(struct virt *v, unsigned n)
{
    return v->gic_version == 3 ? gicv3_spi(v->gic, 32 + n) : gicv2_spi(v->gic, 32 + n);
}

static void configure_cpu(void *opaque, unsigned i, struct isa_config *c)
{
    struct virt *v = opaque;
    static const struct {
        uint8_t out, ppi;
    } timers[] = {
        {ARM_OUT_TIMER_PHYS, VIRT_PPI_TIMER_PHYS},
        {ARM_OUT_TIMER_VIRT, VIRT_PPI_TIMER_VIRT},
        {ARM_OUT_TIMER_HYP, VIRT_PPI_TIMER_HYP},
        {ARM_OUT_TIMER_SEC, VIRT_PPI_TIMER_SECURE},
        {ARM_OUT_PMU, VIRT_PPI_PMU},
    };
    c->model = v->m->config.cpu;
    c->features = v->m->config.cpu_features;
    c->index = i;
    c->hw_id = virt_affinity(v, i);
    c->memory = v->m->memory;
    c->secure_memory = v->m->secure_memory;
    c->sysregs = v->sysregs[i];
    c->clock = v->m->env.clock;
    c->loop = v->m->timers;
    c->conduit = virt_conduit(v);
    c->has_el2 = v->virtualization;
    c->has_el3 = v->secure;
    for (unsigned t = 0; t < ARRAY_SIZE(timers); t++)
        c->out[timers[t].out] = ppi(v, i, timers[t].ppi);
    if (v->secure && v->gic_version == 3)
        c->out[ARM_OUT_WORLD] = gicv3_world(v->gic, i);
}

static int set_u32(struct device *d, const char *prop, unsigned val, struct err *e)
{
    char text[16];
    snprintf(text, sizeof text, "%u", val);
    return device_set(d, prop, text, e);
}

// What a controller of either version is told.
static int set_gic(struct virt *v, struct device *d, const char *virtualization, struct err *e)
{
    return set_u32(d, "num-cpu", v->m->config.cpus, e) ||
           set_u32(d, "num-irq", VIRT_SPIS + 32, e) ||
           device_set(d, "has-security-extensions", v->secure ? "on" : "off", e) ||
           device_set(d, virtualization, v->virtualization ? "on" : "off", e) ||
           device_set(d, "reset-nonsecure", v->secure && !v->firmware ? "on" : "off", e);
}

static int make_its(struct virt *v, struct err *e)
{
    gpa_t base = virt_slots[VIRT_GIC_ITS].base;
    struct device *d = device_new(&v->m->tree, &gicv3_its_type, NULL);
    device_set_ptr(d, "gic", v->gic);
    if (board_start(v->m, d, 0, e))
        return -1;
    v->msi = d;
    v->msi_target = gicv3_its_target(d, base);
    sys_map(container_of(d, struct sys_device, dev), 0, v->m->memory, base);
    return 0;
}

static int make_gicv3(struct virt *v, struct err *e)
{
    unsigned n = v->m->config.cpus, low = MIN(n, (unsigned)VIRT_REDISTS_LOW);
    struct device *d = device_new(&v->m->tree, &gicv3_type, NULL);
    int failed = set_gic(v, d, "has-virtualization", e) ||
                 device_set(d, "has-lpi", v->its ? "on" : "off", e);
    if (board_start(v->m, d, failed, e))
        return -1;
    v->gic = d;
    struct space *mem = v->m->memory;
    sys_map(container_of(d, struct sys_device, dev), 0, mem, virt_slots[VIRT_GIC_DIST].base);
    gicv3_map_redists(d, 0, low, mem, virt_slots[VIRT_GIC_REDIST].base);
    if (n > low)
        gicv3_map_redists(d, low, n - low, mem, v->redist2);
    for (unsigned i = 0; i < n; i++)
        gicv3_map_sysregs(d, i, v->sysregs[i]);
    return v->its ? make_its(v, e) : 0;
}

static int make_v2m(struct virt *v, struct err *e)
{
    struct device *d = device_new(&v->m->tree, &gicv2m_type, NULL);
    int failed =
        set_u32(d, "base-spi", 32 + VIRT_SPI_V2M, e) || set_u32(d, "num-spi", VIRT_N_V2M, e);
    if (board_start(v->m, d, failed, e))
        return -1;
    v->msi = d;
    v->msi_target = gicv2m_target(d, virt_slots[VIRT_GIC_V2M].base);
    sys_map(container_of(d, struct sys_device, dev), 0, v->m->memory,
            virt_slots[VIRT_GIC_V2M].base);
    for (unsigned i = 0; i < VIRT_N_V2M; i++)
        gicv2m_connect(d, i, spi(v, VIRT_SPI_V2M + i));
    return 0;
}

static int make_gicv2(struct virt *v, struct err *e)
{
    static const enum virt_slot_id windows[] = {VIRT_GIC_DIST, VIRT_GIC_CPU, VIRT_GIC_HYP,
                                                VIRT_GIC_VCPU};
    struct device *d = device_new(&v->m->tree, &gicv2_type, NULL);
    if (board_start(v->m, d, set_gic(v, d, "has-virtualization-extensions", e), e))
        return -1;
    v->gic = d;
    for (unsigned i = 0; i < (v->virtualization ? 4u : 2u); i++)
        sys_map(container_of(d, struct sys_device, dev), i, v->m->memory,
                virt_slots[windows[i]].base);
    return make_v2m(v, e);
}

static void connect_cpus(struct virt *v)
{
    _Static_assert((int)GIC_CPU_LINES == (int)GICV2_LINES &&
                       (int)GIC_CPU_VFIQ == (int)ARM_LINE_VFIQ,
                   "one order of lines");
    for (unsigned i = 0; i < v->m->vcpus->n; i++) {
        struct irq lines[GIC_CPU_LINES];
        for (unsigned l = 0; l < GIC_CPU_LINES; l++)
            lines[l] = vcpu_line(v->m->vcpus->v[i], l);
        if (v->gic_version == 3)
            gicv3_set_cpu(v->gic, i, (uint32_t)virt_affinity(v, i), lines);
        else
            gicv2_set_cpu(v->gic, i, lines);
    }
}

static int make_cpus(struct virt *v, struct err *e)
{
    v->sysregs = xcalloc(v->m->config.cpus, sizeof *v->sysregs);
    for (unsigned i = 0; i < v->m->config.cpus; i++)
        v->sysregs[i] = space_new("sysregs", (1u << 19) - 1);
    if ((v->gic_version == 3 ? make_gicv3(v, e) : make_gicv2(v, e)) ||
        machine_add_cpus(v->m, configure_cpu, v, e))
        return -1;
    connect_cpus(v);
    const struct arm_cpu *cpu = arm_cpu(v->m->vcpus->v[0]->env);
    uint64_t reach = 1ull << cpu->pa_bits;
    gpa_t ram_end = v->m->ram_base + v->m->config.ram_size;
    v->has_pmu = bits(cpu->id_aa64dfr[0], 11, 8) - 1 < 14; // neither absent nor another's design
    if (ram_end > reach || (v->redist2 && v->redist2 + v->redist2_size > reach))
        return err_set(e, "-m: %" PRIu64 " GiB of RAM end beyond the %u address bits of this CPU",
                       v->m->config.ram_size / GiB, cpu->pa_bits);
    if (v->high_mmio + v->high_mmio_size > reach)
        v->high_mmio = v->high_mmio_size = 0;
    if (v->ecam + v->ecam_size > reach) {
        v->ecam = virt_slots[VIRT_PCIE_ECAM].base;
        v->ecam_size = virt_slots[VIRT_PCIE_ECAM].size;
    }
    return 0;
}

// ---- devices ----

// What is particular to one slot's device before it starts.
static int prepare(struct virt *v, enum virt_slot_id id, struct device *d, struct err *e)
{
    const struct machine_config *c = &v->m->config;
    char text[24];
    switch (id) {
    case VIRT_UART:
        device_set_ptr(d, "chardev", c->serial[0]);
        return 0;
    case VIRT_SECURE_UART:
        device_set_ptr(d, "chardev", c->serial[1]);
        return 0;
    case VIRT_RTC:
        snprintf(text, sizeof text, "%" PRIu64, c->rtc_base);
        return device_set(d, "base", text, e);
    default:
        return 0;
    }
}

static void secure_power_pin(void *opaque, int pin, int level)
{
    struct machine_env *env = opaque;
    if (!level)
        return;
    if (pin == 0)
        env->request_shutdown(env->opaque, "guest-shutdown", 0);
    else
        env->request_reset(env->opaque, "guest-reset");
}

static void attend(struct virt *v, enum virt_slot_id id, struct device *d)
{
    if (id == VIRT_GPIO) {
        v->gpio_power = pl061_pin(d, VIRT_GPIO_POWER_PIN);
    } else if (id == VIRT_FW_CFG) {
        v->fw_cfg = d;
    } else if (id == VIRT_SECURE_GPIO) {
        for (int pin = 0; pin < 2; pin++)
            sys_connect(container_of(d, struct sys_device, dev), PL061_PIN0 + (unsigned)pin,
                        (struct irq){secure_power_pin, &v->m->env, pin});
    }
}

static int make_slot(struct virt *v, enum virt_slot_id id, struct err *e)
{
    const struct board_slot *s = &virt_slots[id];
    struct space *to = s->flags & SLOT_SECURE ? v->m->secure_memory : v->m->memory;
    for (unsigned n = 0; n < s->count; n++) {
        struct device *d = device_new(&v->m->tree, s->type, NULL);
        struct irq line = s->irq < 0 ? (struct irq){0} : spi(v, (unsigned)s->irq + n);
        if (board_start_slot(v->m, s, n, d, prepare(v, id, d, e), to, line, e))
            return -1;
        attend(v, id, d);
    }
    return 0;
}

static int make_secure_world(struct virt *v, struct err *e)
{
    const struct board_slot *s = &virt_slots[VIRT_SECURE_RAM];
    struct machine *m = v->m;
    m->secure_memory = space_new("secure-memory", UINT64_MAX);
    space_map_alias(m->secure_memory, "memory", 0, m->memory, 0, 1ull << 52, -1);
    v->secure_ram = ram_new("secure-ram", s->size, false, e);
    if (!v->secure_ram)
        return -1;
    m->secure_ram = v->secure_ram;
    space_map_ram(m->secure_memory, "secure-ram", s->base, v->secure_ram, 0, s->size, false, 0);
    return 0;
}

// Two banks; the first holds firmware, and with TrustZone only the secure world sees it.
static int make_flash(struct virt *v, struct err *e)
{
    const struct board_slot *s = &virt_slots[VIRT_FLASH];
    const struct machine_config *c = &v->m->config;
    for (unsigned n = 0; n < s->count; n++) {
        struct device *d = device_new(&v->m->tree, &pflash_type, NULL);
        struct boot_file bios = {0};
        int failed = n == 0 && c->bios ? boot_file_read("firmware", c->bios, s->size, &bios, e) : 0;
        if (bios.data)
            pflash_load(d, bios.data, bios.len);
        boot_file_free(&bios);
        device_set_ptr(d, "node", c->pflash[n]);
        if (board_start(v->m, d, failed, e))
            return -1;
        pflash_map(d, v->secure && n == 0 ? v->m->secure_memory : v->m->memory,
                   board_slot_at(s, n));
    }
    return 0;
}

struct pci_ecam_board virt_pcie_windows(const struct virt *v)
{
    const struct board_slot *mmio = &virt_slots[VIRT_PCIE_MMIO], *pio = &virt_slots[VIRT_PCIE_PIO];
    return (struct pci_ecam_board){
        .ecam_base = v->ecam,
        .n_buses = (unsigned)(v->ecam_size / MiB),
        .mmio_base = mmio->base,
        .mmio_size = mmio->size,
        .mmio64_base = v->high_mmio,
        .mmio64_size = v->high_mmio_size,
        .pio_base = pio->base,
        .pio_size = pio->size,
    };
}

static int make_pcie(struct virt *v, struct err *e)
{
    struct pci_ecam_board b = virt_pcie_windows(v);
    b.msi = v->msi_target;
    for (unsigned i = 0; i < 4; i++)
        b.intx[i] = spi(v, VIRT_SPI_PCIE + i);
    return pci_ecam_create(&v->m->tree, &b, e) ? 0 : -1;
}

static void power_key_up(void *opaque)
{
    struct virt *v = opaque;
    irq_set(&v->gpio_power, 0);
}

static int virt_create(struct machine *m, struct err *e)
{
    struct virt *v = xalloc(sizeof *v);
    m->priv = v;
    v->m = m;
    loop_timer_init(&v->power_key, m->env.loop, m->env.clock, power_key_up, v);
    if (!m->config.cpu)
        m->config.cpu = m->isa->default_model;
    v->firmware = m->config.bios || m->config.pflash[0] || !m->config.kernel;
    if (m->config.bios && m->config.pflash[0])
        return err_set(e, "-bios and the first pflash are two firmwares for one place; give one");
    if (parse_props(v, e) || lay_out_high(v, e) ||
        machine_add_ram(m, virt_slots[VIRT_RAM].base, e) ||
        (v->secure && make_secure_world(v, e)) || make_cpus(v, e))
        return -1;
    for (unsigned id = 0; id < VIRT_SLOTS; id++) {
        const struct board_slot *s = &virt_slots[id];
        if (s->type && (v->secure || !(s->flags & SLOT_SECURE)) && make_slot(v, id, e))
            return -1;
    }
    return make_flash(v, e) || make_pcie(v, e) ? -1 : 0;
}

// ---- boot ----

// The device tree follows the initial RAM disk in a 2 MiB block of its own, as the boot protocol
// asks.
static int place_dtb(struct virt *v, struct err *e)
{
    struct machine *m = v->m;
    struct boot_file f = {0};
    if (m->config.dtb) {
        if (boot_read_dtb(m->config.dtb, &f, e))
            return -1;
    } else if (virt_build_fdt(v, &f.data, &f.len, e)) {
        return -1;
    }
    if (v->dumpdtb) {
        int r = boot_dump_dtb(m, v->dumpdtb, &f, e);
        boot_file_free(&f);
        return r;
    }
    if (v->firmware)
        v->dtb = m->ram_base;
    else
        v->dtb = align_up(v->initrd_len ? v->initrd + v->initrd_len
                                        : MAX(v->kernel.high,
                                              m->ram_base + MIN(128 * MiB, m->config.ram_size / 2)),
                          2 * MiB);
    return machine_place(m, "device tree", v->dtb, f.data, f.len, e);
}

static int fill_fw_cfg(struct virt *v, struct err *e)
{
    boot_offer_facts(v->m, v->fw_cfg);
    if (boot_offer_smbios(v->m, v->fw_cfg, e) || (v->acpi && virt_build_acpi(v, e)) ||
        (v->firmware && boot_offer_kernel(v->m, v->fw_cfg, e)))
        return -1;
    return boot_offer_user_files(v->m, v->fw_cfg, e);
}

static int virt_finish(struct machine *m, struct err *e)
{
    struct virt *v = of(m);
    const struct machine_config *c = &m->config;
    unsigned highest = v->secure ? 3 : v->virtualization ? 2 : 1;
    if (!c->kernel && (c->initrd || c->append))
        return err_set(e, "-initrd and -append need -kernel");
    // Before Linux 3.17 kernels gave no size and lay 512 KiB into RAM, where raw code goes as well.
    const struct boot_loading l = {
        .machine = EM_AARCH64, .cpu = "AArch64", .base = m->ram_base, .raw_offset = 512 * KiB};
    if (!v->firmware) {
        if (boot_load_linux(m, c->kernel, &l, &v->kernel, e) ||
            (c->initrd && boot_place_initrd(m, v->kernel.high, &v->initrd, &v->initrd_len, e)))
            return -1;
    }
    m->nothing_to_run = !c->kernel && !c->bios && !c->pflash[0];
    if (fill_fw_cfg(v, e) || place_dtb(v, e))
        return -1;
    v->entry_level = v->kernel.linux_image ? (v->virtualization ? 2 : 1) : highest;
    v->entry = !v->firmware ? v->kernel.entry : virt_slots[VIRT_FLASH].base;
    v->entry_arg = v->dtb;
    return 0;
}

static void virt_reset(struct machine *m)
{
    struct virt *v = of(m);
    vcpu_power_on(m->vcpus->v[0], v->entry, v->entry_arg, v->entry_level);
}

static void virt_powerdown(struct machine *m)
{
    struct virt *v = of(m);
    irq_set(&v->gpio_power, 1);
    loop_timer_set(&v->power_key, clock_now(m->env.clock) + 100000000);
}

static void virt_destroy(struct machine *m)
{
    struct virt *v = of(m);
    if (!v)
        return;
    loop_timer_cancel(&v->power_key);
    for (unsigned i = 0; v->sysregs && i < m->config.cpus; i++)
        if (v->sysregs[i])
            space_free(v->sysregs[i]);
    free(v->sysregs);
    if (m->secure_memory)
        space_free(m->secure_memory);
    m->secure_memory = NULL;
    if (v->secure_ram)
        ram_free(v->secure_ram);
    free(v);
    m->priv = NULL;
}

const struct board arm_virt_board = {
    .name = "virt",
    .desc = "Arm virtual machine (GIC, PL011, virtio-mmio, PCIe)",
    .arch = "aarch64",
    .max_cpus = 512,
    .default_ram = 512 * MiB,
    .numa = true,
    .props = virt_props,
    .create = virt_create,
    .finish = virt_finish,
    .reset = virt_reset,
    .powerdown = virt_powerdown,
    .destroy = virt_destroy,
};
