// Interrupt controllers of the RISC-V `virt` board and their device tree nodes: a PLIC, an APLIC
// that signals harts, or an APLIC that sends messages to IMSICs (-machine aia). Bindings from the
// Linux documentation: sifive,plic-1.0.0, riscv,aplic, riscv,imsics.
#include "board/riscv/harts.h"
#include "board/riscv/virt.h"

#include "device/irqchip/riscv/aplic.h"
#include "device/irqchip/riscv/imsic.h"
#include "device/irqchip/riscv/plic.h"
#include "isa/riscv/riscv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert((int)RV_IMSIC_STRIDE == (int)IMSIC_SYSREG_STRIDE, "one layout of files");

static int make(struct rvirt *v, const struct device_type *type, const char *const (*props)[2],
                unsigned n, struct device **d, struct err *e)
{
    *d = device_new(&v->m->tree, type, NULL);
    int failed = 0;
    for (unsigned i = 0; i < n && !failed; i++)
        failed = device_set(*d, props[i][0], props[i][1], e);
    return board_start(v->m, *d, failed, e);
}

struct number {
    char text[12];
};

static struct number decimal(unsigned v)
{
    struct number n;
    snprintf(n.text, sizeof n.text, "%u", v);
    return n;
}

// ---- IMSIC ----

static const enum rvirt_slot_id imsic_slots[] = {RVIRT_IMSIC_M, RVIRT_IMSIC_S};

static unsigned guests_at(const struct rvirt *v, unsigned level)
{
    return level ? (unsigned)v->aia_guests : 0;
}

int rvirt_make_imsics(struct rvirt *v, struct err *e)
{
    unsigned harts = v->m->config.cpus;
    if (v->aia != AIA_IMSIC)
        return 0;
    v->sysregs = xcalloc(harts, sizeof *v->sysregs);
    for (unsigned i = 0; i < harts; i++)
        v->sysregs[i] = space_new("sysregs", (1u << 20) - 1);
    for (unsigned level = 0; level < 2; level++) {
        struct number n = decimal(harts), ids = decimal(RVIRT_MSI_IDS);
        struct number guests = decimal(guests_at(v, level));
        const char *const props[][2] = {
            {"num-harts", n.text}, {"num-ids", ids.text}, {"num-guests", guests.text}};
        if (make(v, &imsic_type, props, ARRAY_SIZE(props), &v->imsic[level], e))
            return -1;
        imsic_map(v->imsic[level], v->m->memory, rvirt_slots[imsic_slots[level]].base);
        for (unsigned i = 0; i < harts; i++)
            for (unsigned g = 0; g <= guests_at(v, level); g++)
                imsic_map_sysregs(v->imsic[level], i, g, v->sysregs[i], level + g);
    }
    return 0;
}

static void connect_imsics(struct rvirt *v)
{
    static const uint8_t lines[] = {RV_INT_MEI, RV_INT_SEI};
    for (unsigned level = 0; level < 2; level++)
        for (unsigned i = 0; i < v->m->vcpus->n; i++)
            for (unsigned g = 0; g <= guests_at(v, level); g++)
                imsic_connect(v->imsic[level], i, g,
                              vcpu_line(v->m->vcpus->v[i], g ? RV_LINE_GUEST + g : lines[level]));
}

static void send_message(void *opaque, uint64_t addr, uint32_t data, uint32_t rid)
{
    const struct rvirt *v = opaque;
    if (!imsic_message(v->imsic[1], addr, data) && !imsic_message(v->imsic[0], addr, data))
        log_guest("MSI address", "message to 0x%" PRIx64 ", which is no interrupt file", addr);
}

struct msi_target rvirt_msi_target(struct rvirt *v)
{
    return v->aia == AIA_IMSIC ? (struct msi_target){.send = send_message, .opaque = v}
                               : (struct msi_target){0};
}

void rvirt_free_irqchip(struct rvirt *v)
{
    for (unsigned i = 0; v->sysregs && i < v->m->config.cpus; i++)
        space_free(v->sysregs[i]);
    free(v->sysregs);
}

// ---- PLIC and APLIC ----

static int make_plic(struct rvirt *v, struct err *e)
{
    unsigned harts = v->m->vcpus->n;
    struct number sources = decimal(RVIRT_SOURCES), contexts = decimal(2 * harts);
    const char *const props[][2] = {{"num-sources", sources.text}, {"num-contexts", contexts.text}};
    if (make(v, &plic_type, props, ARRAY_SIZE(props), &v->plic, e))
        return -1;
    for (unsigned i = 0; i < harts; i++) {
        plic_connect(v->plic, 2 * i, vcpu_line(v->m->vcpus->v[i], RV_INT_MEI));
        plic_connect(v->plic, 2 * i + 1, vcpu_line(v->m->vcpus->v[i], RV_INT_SEI));
    }
    sys_map(container_of(v->plic, struct sys_device, dev), 0, v->m->memory,
            rvirt_slots[RVIRT_PLIC].base);
    return 0;
}

static int make_aplic(struct rvirt *v, struct err *e)
{
    unsigned harts = v->m->vcpus->n;
    struct number sources = decimal(RVIRT_SOURCES), n = decimal(harts);
    const char *const props[][2] = {{"num-sources", sources.text},
                                    {"num-harts", n.text},
                                    {"msimode", v->aia == AIA_IMSIC ? "on" : "off"}};
    if (make(v, &aplic_type, props, ARRAY_SIZE(props), &v->aplic, e))
        return -1;
    struct sys_device *sys = container_of(v->aplic, struct sys_device, dev);
    sys_map(sys, APLIC_MACHINE, v->m->memory, rvirt_slots[RVIRT_APLIC_M].base);
    sys_map(sys, APLIC_SUPERVISOR, v->m->memory, rvirt_slots[RVIRT_APLIC_S].base);
    if (v->aia == AIA_IMSIC) {
        aplic_set_target(v->aplic, rvirt_msi_target(v));
        connect_imsics(v);
        return 0;
    }
    for (unsigned i = 0; i < harts; i++) {
        aplic_connect(v->aplic, APLIC_MACHINE, i, vcpu_line(v->m->vcpus->v[i], RV_INT_MEI));
        aplic_connect(v->aplic, APLIC_SUPERVISOR, i, vcpu_line(v->m->vcpus->v[i], RV_INT_SEI));
    }
    return 0;
}

int rvirt_make_irqchip(struct rvirt *v, struct err *e)
{
    return v->aia == AIA_NONE ? make_plic(v, e) : make_aplic(v, e);
}

struct irq rvirt_source(struct rvirt *v, unsigned n)
{
    return v->aia == AIA_NONE ? plic_source(v->plic, n) : aplic_source(v->aplic, n);
}

// ---- device tree ----

enum { PH_APLIC_M = 0x8002, PH_IMSIC_M = 0x8003, IRQ_LEVEL_HIGH = 4 };

unsigned rvirt_fdt_source(const struct rvirt *v, unsigned n, uint32_t cells[2])
{
    cells[0] = n;
    cells[1] = IRQ_LEVEL_HIGH;
    return v->aia == AIA_NONE ? 1 : 2;
}

static void put_plic(const struct rvirt *v, struct fdt_out *o)
{
    static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
    const struct board_slot *s = &rvirt_slots[RVIRT_PLIC];
    fdt_out_node(o, "plic@%llx", (unsigned long long)s->base);
    fdt_out_bytes(o, "compatible", compatible, sizeof compatible);
    fdt_out_reg(o, s->base, MAX(s->size, plic_size(2 * v->m->vcpus->n)));
    fdt_out_empty(o, "interrupt-controller");
    fdt_out_cells(o, "#interrupt-cells", 1);
    fdt_out_cells(o, "#address-cells", 0);
    fdt_out_cells(o, "riscv,ndev", RVIRT_SOURCES - 1);
    riscv_fdt_targets(v->m, RV_INT_MEI, RV_INT_SEI, o);
    fdt_out_cells(o, "phandle", RVIRT_PH_IRQ);
    fdt_out_end(o);
}

static void put_imsics(const struct rvirt *v, unsigned level, struct fdt_out *o)
{
    unsigned guest_bits = 0, guests = guests_at(v, level);
    gpa_t base = rvirt_slots[imsic_slots[level]].base;
    while (1u << guest_bits < guests + 1)
        guest_bits++;
    fdt_out_node(o, "imsics@%llx", (unsigned long long)base);
    fdt_out_str(o, "compatible", "riscv,imsics");
    fdt_out_reg(o, base, v->m->vcpus->n * imsic_stride(guests));
    fdt_out_empty(o, "interrupt-controller");
    fdt_out_cells(o, "#interrupt-cells", 0);
    fdt_out_empty(o, "msi-controller");
    fdt_out_cells(o, "#msi-cells", 0);
    riscv_fdt_targets(v->m, level ? RV_INT_SEI : RV_INT_MEI, 0, o);
    fdt_out_cells(o, "riscv,num-ids", RVIRT_MSI_IDS);
    if (guest_bits)
        fdt_out_cells(o, "riscv,guest-index-bits", guest_bits);
    fdt_out_cells(o, "phandle", level ? RVIRT_PH_IMSIC_S : PH_IMSIC_M);
    fdt_out_end(o);
}

static void put_aplic(const struct rvirt *v, unsigned level, struct fdt_out *o)
{
    const struct board_slot *s = &rvirt_slots[level ? RVIRT_APLIC_S : RVIRT_APLIC_M];
    fdt_out_node(o, "aplic@%llx", (unsigned long long)s->base);
    fdt_out_str(o, "compatible", "riscv,aplic");
    fdt_out_reg(o, s->base, s->size);
    fdt_out_empty(o, "interrupt-controller");
    fdt_out_cells(o, "#interrupt-cells", 2);
    fdt_out_cells(o, "#address-cells", 0);
    fdt_out_cells(o, "riscv,num-sources", RVIRT_SOURCES);
    if (v->aia == AIA_IMSIC)
        fdt_out_cells(o, "msi-parent", level ? RVIRT_PH_IMSIC_S : PH_IMSIC_M);
    else
        riscv_fdt_targets(v->m, level ? RV_INT_SEI : RV_INT_MEI, 0, o);
    if (!level) { // older firmware knows the last property by another name
        fdt_out_cells(o, "riscv,children", RVIRT_PH_IRQ);
        fdt_out_cells(o, "riscv,delegation", RVIRT_PH_IRQ, 1, RVIRT_SOURCES);
        fdt_out_cells(o, "riscv,delegate", RVIRT_PH_IRQ, 1, RVIRT_SOURCES);
    }
    fdt_out_cells(o, "phandle", level ? RVIRT_PH_IRQ : PH_APLIC_M);
    fdt_out_end(o);
}

void rvirt_fdt_irqchip(const struct rvirt *v, struct fdt_out *o)
{
    if (v->aia == AIA_NONE) {
        put_plic(v, o);
        return;
    }
    for (unsigned level = 0; level < 2; level++) {
        if (v->aia == AIA_IMSIC)
            put_imsics(v, level, o);
        put_aplic(v, level, o);
    }
}
