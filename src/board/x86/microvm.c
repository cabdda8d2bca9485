// The `microvm` board: the least a PC kernel needs around x86-64 CPUs, for guests that are started
// by the thousand. A 16550, a clock, virtio-mmio slots and PCI Express, no legacy bus, video or
// firmware; addresses and interrupts as QEMU's board of that name has them. Kernels are started
// directly, and find devices by ACPI, or by the kernel command line and an MP table. Interrupt
// controllers are the accelerator's. Not modelled: the second I/O APIC, the firmware configuration
// device, memory that is plugged in later.
#include "board/x86/microvm.h"

#include "board/boot/file.h"
#include "device/isa/isa.h"
#include "device/isa/power.h"
#include "device/pci/host_ecam.h"
#include "device/serial/ns16550.h"
#include "device/timer/mc146818.h"
#include "device/virtio/mmio.h"
#include "isa/x86/x86.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const struct board_slot microvm_slots[MICROVM_SLOTS] = {
    [MICROVM_POWER] = {"power", 0x600, ACPI_POWER_SIZE, -1, 1, &acpi_power_type,
                       .flags = SLOT_PORTS},
    [MICROVM_RTC] = {"rtc", 0x70, 2, 8, 1, &mc146818_type, .hid = "PNP0B00",
                     .flags = SLOT_PORTS | SLOT_EDGE},
    [MICROVM_UART] = {"serial", 0x3f8, NS16550_SIZE, 4, 1, &ns16550_type, .hid = "PNP0501",
                      .flags = SLOT_PORTS | SLOT_EDGE},
    [MICROVM_VIRTIO] = {"virtio_mmio", 0xfeb00000, VIRTIO_MMIO_SIZE, 16, 8, &virtio_mmio_type,
                        .hid = "LNRO0005", .flags = SLOT_COHERENT},
};

static const struct board_prop microvm_props[] = {
    {"acpi", "on|off: describe the machine by ACPI tables (default on)"},
    {"auto-kernel-cmdline", "on|off: without ACPI, name virtio slots on the kernel's command line "
                            "(default on)"},
    {"ioapic2", "off: there is no second I/O APIC"},
    {"isa-serial", "on|off: the 16550 (default on)"},
    {"pcie", "on|off: PCI Express (default on)"},
    {"pic", "on|off|auto: as the accelerator has it"},
    {"pit", "on|off|auto: as the accelerator has it"},
    {"rtc", "on|off|auto: the real-time clock (default on)"},
    {"x-option-roms", "off: there are no option ROMs"},
    {0},
};

static struct microvm *of(struct machine *m)
{
    return m->priv;
}

// ---- properties ----

static int on_off_auto(struct opts *o, const char *key, bool *v, struct err *e)
{
    const char *s = o ? opts_get(o, key) : NULL;
    return !s || !strcmp(s, "auto") ? 0 : opts_get_bool(o, key, v, e);
}

static int parse_props(struct microvm *v, struct err *e)
{
    struct opts *o = v->m->config.props;
    bool taken = true, ioapic2 = false, roms = false;
    v->acpi = v->pcie = v->rtc = v->serial = v->auto_cmdline = true;
    if (on_off_auto(o, "acpi", &v->acpi, e) || on_off_auto(o, "pcie", &v->pcie, e) ||
        on_off_auto(o, "rtc", &v->rtc, e) || on_off_auto(o, "isa-serial", &v->serial, e) ||
        on_off_auto(o, "auto-kernel-cmdline", &v->auto_cmdline, e) ||
        on_off_auto(o, "pic", &taken, e) || on_off_auto(o, "pit", &taken, e) ||
        on_off_auto(o, "ioapic2", &ioapic2, e) || on_off_auto(o, "x-option-roms", &roms, e))
        return err_prefix(e, "-machine");
    if (ioapic2)
        return err_set(e, "-machine ioapic2=on: there is one I/O APIC; use ioapic2=off");
    v->virtio_gsi = v->acpi ? (unsigned)microvm_slots[MICROVM_VIRTIO].irq : MICROVM_GSI_VIRTIO_ISA;
    return 0;
}

// ---- memory and CPUs ----

static int make_ram(struct microvm *v, struct err *e)
{
    struct machine *m = v->m;
    uint64_t size = m->config.ram_size, low = MIN(size, MICROVM_LOW_RAM);
    if (size < 4 * MiB || size % 4096)
        return err_set(e, "-m: RAM size %" PRIu64 " is not a multiple of 4 KiB of at least 4 MiB",
                       size);
    m->ram = ram_new_from("ram", size, &m->config.ram_source, e);
    if (!m->ram)
        return -1;
    space_map_ram(m->memory, "ram", 0, m->ram, 0, low, false, 0);
    if (size > low)
        space_map_ram(m->memory, "ram-high", 4 * GiB, m->ram, low, size - low, false, 0);
    return 0;
}

static void configure_cpu(void *opaque, unsigned i, struct isa_config *c)
{
    struct microvm *v = opaque;
    const struct machine_config *mc = &v->m->config;
    c->model = mc->cpu;
    c->features = mc->cpu_features;
    c->index = i;
    c->cores = mc->cores * mc->clusters;
    c->threads = mc->threads;
    c->hw_id = x86_apic_id(c->cores, c->threads, i);
    c->memory = v->m->memory;
    c->ports = v->ports;
    c->clock = v->m->env.clock;
    c->loop = v->m->timers;
}

// ---- devices ----

static int start_slot(struct microvm *v, enum microvm_slot_id id, unsigned n, struct err *e)
{
    const struct board_slot *s = &microvm_slots[id];
    struct device *d = device_new(&v->m->tree, s->type, NULL);
    char text[24];
    if (id == MICROVM_UART)
        device_set_ptr(d, "chardev", v->m->config.serial[0]);
    snprintf(text, sizeof text, "%" PRIu64, v->m->config.rtc_base);
    int failed = id == MICROVM_RTC ? device_set(d, "base", text, e) : 0;
    unsigned gsi = id == MICROVM_VIRTIO ? v->virtio_gsi : (unsigned)MAX(s->irq, 0);
    return board_start_slot(v->m, s, n, d, failed, s->flags & SLOT_PORTS ? v->ports : v->m->memory,
                            v->chip.line[gsi + n], e);
}

static int make_pcie(struct microvm *v, struct err *e)
{
    uint64_t end = 4 * GiB + (v->m->config.ram_size - MIN(v->m->config.ram_size, MICROVM_LOW_RAM));
    const uint64_t high_size = 64 * GiB;
    v->bridge = (struct boot_pcie){
        .bridge = {.ecam_base = MICROVM_ECAM,
                   .n_buses = (unsigned)(MICROVM_ECAM_SIZE / MiB),
                   .mmio_base = MICROVM_PCI_MMIO,
                   .mmio_size = MICROVM_PCI_SIZE,
                   .mmio64_base = align_up(end, high_size),
                   .mmio64_size = high_size,
                   .msi = v->chip.msi},
        .gsi = MICROVM_GSI_PCIE,
        .gsi_fixed = true,
    };
    for (unsigned i = 0; i < 4; i++)
        v->bridge.bridge.intx[i] = v->chip.line[MICROVM_GSI_PCIE + i];
    return pci_ecam_create(&v->m->tree, &v->bridge.bridge, e) ? 0 : -1;
}

// A firmware image ends at 4 GiB, and its last 128 KiB show below 1 MiB too.
static int make_firmware(struct microvm *v, struct err *e)
{
    const char *path = v->m->config.bios;
    struct boot_file f;
    if (!path)
        return 0;
    if (boot_file_read("firmware", path, 16 * MiB, &f, e))
        return -1;
    if (!f.len || f.len % 0x10000) {
        size_t len = f.len;
        boot_file_free(&f);
        return err_set(e, "firmware %s: %zu bytes are not a multiple of 64 KiB", path, len);
    }
    v->firmware = ram_new("firmware", f.len, false, e);
    if (v->firmware)
        ram_write(v->firmware, 0, f.data, f.len);
    uint64_t len = f.len, low = MIN(len, 128 * KiB);
    boot_file_free(&f);
    if (!v->firmware)
        return -1;
    v->rom[0] =
        space_map_ram(v->m->memory, "firmware", 4 * GiB - len, v->firmware, 0, len, true, 0);
    v->rom[1] = space_map_ram(v->m->memory, "firmware-low", MiB - low, v->firmware, len - low, low,
                              true, 1);
    return 0;
}

static int microvm_create(struct machine *m, struct err *e)
{
    struct microvm *v = xalloc(sizeof *v);
    m->priv = v;
    v->m = m;
    v->ports = space_new("ports", 0xffff);
    if (!m->config.cpu)
        m->config.cpu = m->isa->default_model;
    if (parse_props(v, e) || make_ram(v, e) || machine_add_cpus(m, configure_cpu, v, e) ||
        accel_irqchip(m->accel, &v->chip, e))
        return -1;
    v->isa = isa_bus_new(&m->tree, v->ports, v->chip.line);
    for (unsigned id = 0; id < MICROVM_SLOTS; id++) {
        if ((id == MICROVM_RTC && !v->rtc) || (id == MICROVM_UART && !v->serial))
            continue;
        for (unsigned n = 0; n < microvm_slots[id].count; n++)
            if (start_slot(v, id, n, e))
                return -1;
    }
    return make_firmware(v, e) || (v->pcie && make_pcie(v, e)) ? -1 : 0;
}

// ---- boot ----

// The command line, with a word for each virtio slot where the kernel has no other way to know.
static void make_cmdline(struct microvm *v)
{
    const struct board_slot *s = &microvm_slots[MICROVM_VIRTIO];
    struct buf b = {0};
    buf_printf(&b, "%s", v->m->config.append ? v->m->config.append : "");
    if (!v->acpi && v->auto_cmdline)
        for (unsigned i = 0; i < s->count; i++)
            buf_printf(&b, " virtio_mmio.device=%" PRIu64 "@0x%" PRIx64 ":%u", s->size,
                       board_slot_at(s, i), v->virtio_gsi + i);
    v->cmdline = xstrdup(buf_str(&b));
    buf_free(&b);
}

static int load_kernel(struct microvm *v, struct err *e)
{
    struct machine *m = v->m;
    uint64_t size = m->config.ram_size, low = MIN(size, MICROVM_LOW_RAM);
    struct x86_e820_range e820[] = {
        {0, X86_BOOT_LOW_END, X86_E820_RAM},
        {X86_BOOT_LOW_END, MiB - X86_BOOT_LOW_END, X86_E820_RESERVED},
        {MiB, low - MiB, X86_E820_RAM},
        {MICROVM_ECAM, MICROVM_ECAM_SIZE, X86_E820_RESERVED},
        {4 * GiB, size - low, X86_E820_RAM},
    };
    make_cmdline(v);
    v->boot = (struct x86_boot){.cmdline = v->cmdline,
                                .e820 = e820,
                                .n_e820 = ARRAY_SIZE(e820) - (size == low),
                                .low_ram = low,
                                .rsdp = v->acpi ? X86_BOOT_ACPI : 0};
    int r = boot_load_x86(m, m->config.kernel, m->config.initrd, &v->boot, e);
    v->boot.e820 = NULL;
    return r;
}

static int microvm_finish(struct machine *m, struct err *e)
{
    struct microvm *v = of(m);
    const struct machine_config *c = &m->config;
    if (!c->kernel && (c->initrd || c->append))
        return err_set(e, "-initrd and -append need -kernel");
    if (!c->kernel && !c->bios)
        return err_set(e, "microvm starts a kernel directly: give -kernel FILE (or -bios FILE)");
    if (c->kernel && load_kernel(v, e))
        return -1;
    if (!c->kernel)
        v->boot.level = X86_START_RESET;
    if (v->acpi)
        return microvm_place_acpi(v, e);
    return boot_place_mptable(m, c->cpus, c->cores * c->clusters, c->threads, e);
}

static void microvm_reset(struct machine *m)
{
    struct microvm *v = of(m);
    for (unsigned i = 0; i < m->vcpus->n; i++)
        vcpu_power_on(m->vcpus->v[i], v->boot.entry, v->boot.arg,
                      i ? X86_START_WAITING : v->boot.level);
}

static void microvm_powerdown(struct machine *m)
{
    irq_pulse(&of(m)->chip.line[MICROVM_GSI_POWER]);
}

static void microvm_destroy(struct machine *m)
{
    struct microvm *v = of(m);
    if (!v)
        return;
    space_free(v->ports);
    for (unsigned i = 0; i < ARRAY_SIZE(v->rom); i++)
        if (v->rom[i])
            region_unmap(v->rom[i]);
    if (v->firmware)
        ram_free(v->firmware);
    free(v->cmdline);
    free(v);
    m->priv = NULL;
}

const struct board microvm_board = {
    .name = "microvm",
    .desc = "minimal machine for KVM (virtio-mmio, PCIe, direct kernel boot)",
    .arch = "x86_64",
    .max_cpus = 255,
    .default_ram = 128 * MiB,
    .props = microvm_props,
    .create = microvm_create,
    .finish = microvm_finish,
    .reset = microvm_reset,
    .powerdown = microvm_powerdown,
    .destroy = microvm_destroy,
};
