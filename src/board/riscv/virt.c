// The RISC-V `virt` board: a machine of virtual devices around RISC-V harts, with the memory map,
// interrupt numbers and device tree that guests know from QEMU's board of that name, so that
// kernels, OpenSBI, U-Boot and UEFI builds for it run unchanged. Not modelled: NUMA, an IOMMU. PCI
// message interrupts need aia=aplic-imsic.
#include "board/riscv/virt.h"

#include "base/bits.h"
#include "board/boot/offer.h"
#include "board/riscv/harts.h"
#include "device/firmware/fw_cfg.h"
#include "device/irqchip/riscv/aclint.h"
#include "device/irqchip/riscv/aplic.h"
#include "device/irqchip/riscv/imsic.h"
#include "device/power/sifive_test.h"
#include "device/serial/ns16550.h"
#include "device/storage/pflash.h"
#include "device/timer/goldfish_rtc.h"
#include "device/virtio/mmio.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const struct board_slot rvirt_slots[RVIRT_SLOTS] = {
    [RVIRT_ROM] = {"rom", 0x1000, 0xf000, -1},
    [RVIRT_TEST] = {"test", 0x100000, 0x1000, -1, 1, &sifive_test_type},
    [RVIRT_RTC] = {"rtc", 0x101000, 0x1000, 11, 1, &goldfish_rtc_type,
                   COMPATIBLE("google,goldfish-rtc")},
    [RVIRT_CLINT] = {"clint", 0x2000000, 0x10000, -1},
    [RVIRT_SSWI] = {"sswi", 0x2f00000, 0x4000, -1},
    [RVIRT_PCIE_PIO] = {"pcie-pio", 0x3000000, 0x10000, -1},
    [RVIRT_PLIC] = {"plic", 0xc000000, 0x600000, -1, .hid = "RSCV0001"},
    [RVIRT_APLIC_M] = {"aplic", 0xc000000, APLIC_SIZE, -1},
    [RVIRT_APLIC_S] = {"aplic", 0xd000000, APLIC_SIZE, -1, .hid = "RSCV0002"},
    [RVIRT_UART] = {"serial", 0x10000000, 0x100, 10, 1, &ns16550_type, .hid = "RSCV0003"},
    [RVIRT_VIRTIO] = {"virtio_mmio", 0x10001000, 0x1000, 1, 8, &virtio_mmio_type,
                      COMPATIBLE("virtio,mmio"), "LNRO0005", SLOT_COHERENT},
    [RVIRT_FW_CFG] = {"fw-cfg", 0x10100000, 0x18, -1, 1, &fw_cfg_type, .hid = "QEMU0002",
                      .flags = SLOT_COHERENT},
    [RVIRT_FLASH] = {"flash", 0x20000000, 32 * MiB, -1, .count = 2},
    [RVIRT_IMSIC_M] = {"imsics", 0x24000000, 0x4000000, -1},
    [RVIRT_IMSIC_S] = {"imsics", 0x28000000, 0x4000000, -1},
    [RVIRT_PCIE_ECAM] = {"pcie-ecam", 0x30000000, 256 * MiB, -1},
    [RVIRT_PCIE_MMIO] = {"pcie-mmio", 0x40000000, 1 * GiB, -1},
    [RVIRT_RAM] = {"ram", 0x80000000, 0, -1},
};

static const struct board_prop rvirt_props[] = {
    {"aclint", "on|off: ACLINT devices with supervisor software interrupts (default off: CLINT)"},
    {"acpi",
     "on|off|auto: describe the machine to firmware by ACPI tables, too (default auto: on)"},
    {"aia", "none|aplic|aplic-imsic: interrupt controllers: PLIC (default), APLIC, with IMSICs"},
    {"aia-guests", "0..7: guest interrupt files of each hart's IMSIC (default 0)"},
    {"dumpdtb", "FILE: write the device tree there and stop"},
    {0},
};

static struct rvirt *of(struct machine *m)
{
    return m->priv;
}

static int parse_aia(struct rvirt *v, struct opts *o, struct err *e)
{
    static const char *const names[] = {"none", "aplic", "aplic-imsic", NULL};
    const char *s = opts_get(o, "aia");
    for (v->aia = AIA_NONE; s && names[v->aia] && strcmp(s, names[v->aia]); v->aia++)
        ;
    if (s && !names[v->aia])
        return err_set(e, "-machine aia=%s: must be none, aplic or aplic-imsic", s);
    if (!opts_get(o, "aia-guests"))
        return 0;
    if (opts_get_u64(o, "aia-guests", &v->aia_guests, e))
        return err_prefix(e, "-machine");
    if (v->aia_guests > IMSIC_GUESTS_MAX)
        return err_set(e, "-machine aia-guests=%" PRIu64 ": a hart has at most %d guest files",
                       v->aia_guests, IMSIC_GUESTS_MAX);
    return 0;
}

static int parse_props(struct rvirt *v, struct err *e)
{
    struct opts *o = v->m->config.props;
    v->acpi = true;
    if (!o)
        return 0;
    v->dumpdtb = opts_get(o, "dumpdtb");
    const char *acpi = opts_get(o, "acpi");
    if (acpi && strcmp(acpi, "auto") && opts_get_bool(o, "acpi", &v->acpi, e))
        return -1;
    return parse_aia(v, o, e) ? -1 : opts_get_bool(o, "aclint", &v->aclint, e);
}

// ---- devices ----

// What is particular to one slot's device before it starts.
static int prepare(struct rvirt *v, enum rvirt_slot_id id, struct device *d, struct err *e)
{
    const struct machine_config *c = &v->m->config;
    char text[24];
    if (id == RVIRT_UART)
        device_set_ptr(d, "chardev", c->serial[0]);
    if (id != RVIRT_RTC)
        return 0;
    snprintf(text, sizeof text, "%" PRIu64, c->rtc_base);
    return device_set(d, "base", text, e);
}

static int make_slot(struct rvirt *v, enum rvirt_slot_id id, struct err *e)
{
    const struct board_slot *s = &rvirt_slots[id];
    for (unsigned n = 0; n < s->count; n++) {
        struct device *d = device_new(&v->m->tree, s->type, NULL);
        struct irq line = s->irq < 0 ? (struct irq){0} : rvirt_source(v, (unsigned)s->irq + n);
        if (board_start_slot(v->m, s, n, d, prepare(v, id, d, e), v->m->memory, line, e))
            return -1;
        if (id == RVIRT_FW_CFG)
            v->fw_cfg = d;
    }
    return 0;
}

static int make_flash(struct rvirt *v, struct err *e)
{
    const struct board_slot *s = &rvirt_slots[RVIRT_FLASH];
    for (unsigned n = 0; n < s->count; n++) {
        struct device *d = device_new(&v->m->tree, &pflash_type, NULL);
        int failed = device_set(d, "size", "32M", e);
        device_set_ptr(d, "node", v->m->config.pflash[n]);
        if (board_start(v->m, d, failed, e))
            return -1;
        pflash_map(d, v->m->memory, board_slot_at(s, n));
    }
    return 0;
}

struct pci_ecam_board rvirt_pcie_windows(const struct rvirt *v)
{
    const struct board_slot *mmio = &rvirt_slots[RVIRT_PCIE_MMIO];
    const struct board_slot *pio = &rvirt_slots[RVIRT_PCIE_PIO];
    const struct board_slot *ecam = &rvirt_slots[RVIRT_PCIE_ECAM];
    return (struct pci_ecam_board){
        .ecam_base = ecam->base,
        .n_buses = (unsigned)(ecam->size / MiB),
        .mmio_base = mmio->base,
        .mmio_size = mmio->size,
        .mmio64_base = v->high_mmio,
        .mmio64_size = v->high_mmio_size,
        .pio_base = pio->base,
        .pio_size = pio->size,
    };
}

static int make_pcie(struct rvirt *v, struct err *e)
{
    struct pci_ecam_board b = rvirt_pcie_windows(v);
    b.msi = rvirt_msi_target(v);
    for (unsigned i = 0; i < 4; i++)
        b.intx[i] = rvirt_source(v, RVIRT_IRQ_PCIE + i);
    return pci_ecam_create(&v->m->tree, &b, e) ? 0 : -1;
}

// With ACLINT devices and IMSICs there are no software interrupt devices: a message does as well.
static int make_aclint(struct rvirt *v, struct err *e)
{
    gpa_t base = rvirt_slots[RVIRT_CLINT].base, sswi = rvirt_slots[RVIRT_SSWI].base;
    if (v->aclint && v->aia == AIA_IMSIC)
        return riscv_add_aclint(v->m, 0, base, 0, e);
    return riscv_add_aclint(v->m, base, base + ACLINT_SWI_SIZE, v->aclint ? sswi : 0, e);
}

static int rvirt_create(struct machine *m, struct err *e)
{
    struct rvirt *v = xalloc(sizeof *v);
    m->priv = v;
    v->m = m;
    if (!m->config.cpu)
        m->config.cpu = m->isa->default_model;
    if (m->config.ram_size > 1ull << 50)
        return err_set(e, "-m: %" PRIu64 " GiB of RAM are more than addresses reach",
                       m->config.ram_size / GiB);
    v->high_mmio_size = 16 * GiB;
    v->high_mmio = align_up(rvirt_slots[RVIRT_RAM].base + m->config.ram_size, 16 * GiB);
    if (parse_props(v, e) || machine_add_ram(m, rvirt_slots[RVIRT_RAM].base, e) ||
        riscv_boot_make_rom(&v->boot, m, rvirt_slots[RVIRT_ROM].base, rvirt_slots[RVIRT_ROM].size,
                            e) ||
        rvirt_make_imsics(v, e) || riscv_add_harts(m, v->sysregs, e) || make_aclint(v, e) ||
        rvirt_make_irqchip(v, e))
        return -1;
    for (unsigned id = 0; id < RVIRT_SLOTS; id++)
        if (rvirt_slots[id].type && make_slot(v, id, e))
            return -1;
    return make_flash(v, e) || make_pcie(v, e) ? -1 : 0;
}

// ---- boot ----

// Firmware in flash starts the kernel itself; any other has it in RAM.
static int fill_fw_cfg(struct rvirt *v, bool flash, struct err *e)
{
    boot_offer_facts(v->m, v->fw_cfg);
    if (boot_offer_smbios(v->m, v->fw_cfg, e) || (v->acpi && rvirt_build_acpi(v, e)) ||
        (flash && boot_offer_kernel(v->m, v->fw_cfg, e)))
        return -1;
    return boot_offer_user_files(v->m, v->fw_cfg, e);
}

static int rvirt_finish(struct machine *m, struct err *e)
{
    struct rvirt *v = of(m);
    const gpa_t flash = m->config.pflash[0] ? rvirt_slots[RVIRT_FLASH].base : 0;
    struct boot_file dtb = {0};
    if (riscv_boot_load(&v->boot, flash, e) || fill_fw_cfg(v, flash, e) ||
        (m->config.dtb ? boot_read_dtb(m->config.dtb, &dtb, e)
                       : rvirt_build_fdt(v, &dtb.data, &dtb.len, e)))
        return -1;
    return riscv_boot_place_dtb(&v->boot, &dtb, v->dumpdtb, e);
}

static void rvirt_reset(struct machine *m)
{
    riscv_start_harts(m, rvirt_slots[RVIRT_ROM].base);
}

// There is no power button: the request ends the machine.
static void rvirt_powerdown(struct machine *m)
{
    m->env.request_shutdown(m->env.opaque, "host-qmp-quit", 0);
}

static void rvirt_destroy(struct machine *m)
{
    struct rvirt *v = of(m);
    if (!v)
        return;
    rvirt_free_irqchip(v);
    riscv_boot_free(&v->boot);
    free(v);
    m->priv = NULL;
}

#define BOARD(isa)                                                                                 \
    {                                                                                              \
        .name = "virt", .desc = "RISC-V virtual machine (PLIC or AIA, 16550A, virtio-mmio, PCIe)", \
        .arch = isa, .max_cpus = 512, .default_ram = 512 * MiB, .numa = true,                      \
        .props = rvirt_props, .create = rvirt_create, .finish = rvirt_finish,                      \
        .reset = rvirt_reset, .powerdown = rvirt_powerdown, .destroy = rvirt_destroy,              \
    }
const struct board riscv_virt_board = BOARD("riscv64");
const struct board riscv32_virt_board = BOARD("riscv32");
