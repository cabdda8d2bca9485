// PCI Express root port (PCI Express Base 5.0, sections 7.5.3.9 to 7.5.3.11): a bridge with one
// slot below it. The slot's registers show presence and link state; a device that is plugged while
// the machine runs raises a presence change; one that shall go presses the attention button, and
// leaves when the guest has switched its power and its indicator off. Not modelled:
// electromechanical interlock, error reporting, access control services.
#include "base/bits.h"
#include "device/pci/bridge.h"
#include "device/pci/regs.h"

struct root_port {
    struct pci_bridge bridge;
    uint8_t port, chassis;
    uint16_t slot;
    bool hotplug;
    uint16_t last_ctl; // slot control before the write at hand
    struct loop_work eject;
};

static struct root_port *of(struct device *d)
{
    return container_of(d, struct root_port, bridge.pci.dev);
}

static void notify(struct root_port *r)
{
    uint8_t *c = r->bridge.pci.config + r->bridge.pci.cap_exp;
    uint16_t ctl = ld_le16(c + EXP_SLTCTL), sta = ld_le16(c + EXP_SLTSTA);
    uint16_t events = sta & ctl & (EXP_SLTSTA_PDC | EXP_SLTSTA_CC | EXP_SLTSTA_ABP);
    if ((sta & EXP_SLTSTA_DLLSC) && (ctl & EXP_SLTCTL_DLLSCE))
        events |= EXP_SLTSTA_DLLSC;
    bool raise = (ctl & EXP_SLTCTL_HPIE) && events;
    if (pci_msi_on(&r->bridge.pci)) {
        if (raise)
            pci_msi_notify(&r->bridge.pci, 0);
    } else {
        pci_set_intx(&r->bridge.pci, raise);
    }
}

// What is in the slot shows in presence detect and in the link.
static void show_slot(struct root_port *r, bool event)
{
    uint8_t *c = r->bridge.pci.config + r->bridge.pci.cap_exp;
    uint16_t sta = ld_le16(c + EXP_SLTSTA), lnk = ld_le16(c + EXP_LNKSTA);
    bool was = sta & EXP_SLTSTA_PDS, is = r->bridge.secondary->functions[0] != NULL;
    sta = is ? sta | EXP_SLTSTA_PDS : sta & ~EXP_SLTSTA_PDS;
    lnk = is ? lnk | EXP_LNKSTA_DLLA : lnk & ~EXP_LNKSTA_DLLA;
    if (event && was != is)
        sta |= EXP_SLTSTA_PDC | EXP_SLTSTA_DLLSC;
    st_le16(c + EXP_SLTSTA, sta);
    st_le16(c + EXP_LNKSTA, lnk);
    if (event && was != is)
        notify(r);
}

static void child_changed(struct pci_bridge *b)
{
    struct root_port *r = container_of(b, struct root_port, bridge);
    device_lock(&b->pci.dev);
    if (b->pci.dev.initialised && r->hotplug)
        show_slot(r, true);
    device_unlock(&b->pci.dev);
}

// The button is pressed; the guest finishes with the device and then switches it off.
static bool ask(struct pci_bridge *b)
{
    struct root_port *r = container_of(b, struct root_port, bridge);
    if (!r->hotplug)
        return false;
    device_lock(&b->pci.dev);
    uint8_t *sta = b->pci.config + b->pci.cap_exp + EXP_SLTSTA;
    st_le16(sta, ld_le16(sta) | EXP_SLTSTA_ABP);
    notify(r);
    device_unlock(&b->pci.dev);
    return true;
}

static void eject(void *opaque)
{
    struct root_port *r = opaque;
    struct device *d = &r->bridge.pci.dev;
    for (unsigned i = ARRAY_SIZE(r->bridge.secondary->functions); i-- > 0;)
        if (r->bridge.secondary->functions[i])
            device_remove(d->tree, &r->bridge.secondary->functions[i]->dev);
}

static bool is_off(uint16_t ctl)
{
    return (ctl & EXP_SLTCTL_PIC) == EXP_SLTCTL_PIC_OFF && (ctl & EXP_SLTCTL_PCC);
}

static void config_written(struct pci_device *p, unsigned off, unsigned len)
{
    struct root_port *r = container_of(p, struct root_port, bridge.pci);
    pci_bridge_config_written(&r->bridge, off, len);
    unsigned ctl = p->cap_exp + EXP_SLTCTL;
    if (off >= ctl + 4 || off + len <= ctl)
        return;
    uint8_t *sta = p->config + p->cap_exp + EXP_SLTSTA;
    if (r->hotplug && off < ctl + 2) // every write to slot control is a command, done at once
        st_le16(sta, ld_le16(sta) | EXP_SLTSTA_CC);
    uint16_t now = ld_le16(p->config + ctl);
    if (r->hotplug && is_off(now) && !is_off(r->last_ctl) && (ld_le16(sta) & EXP_SLTSTA_PDS))
        loop_defer(&r->eject);
    r->last_ctl = now;
    notify(r);
}

static void add_slot(struct root_port *r)
{
    struct pci_device *p = &r->bridge.pci;
    uint8_t *c = p->config + p->cap_exp, *w = p->writable + p->cap_exp;
    uint32_t caps = (uint32_t)r->slot << 19;
    st_le16(c + EXP_FLAGS, ld_le16(c + EXP_FLAGS) | 1 << 8); // slot implemented
    st_le32(c + EXP_LNKCAP, ld_le32(c + EXP_LNKCAP) | (uint32_t)r->port << 24 | EXP_LNKCAP_DLLA);
    if (r->hotplug) {
        caps |= EXP_SLT_ABP | EXP_SLT_PCP | EXP_SLT_AIP | EXP_SLT_PIP | EXP_SLT_HPS | EXP_SLT_HPC;
        st_le16(w + EXP_SLTCTL, 0x17ff);
        st_le16(p->w1c + p->cap_exp + EXP_SLTSTA,
                EXP_SLTSTA_ABP | EXP_SLTSTA_PDC | EXP_SLTSTA_CC | EXP_SLTSTA_DLLSC);
    }
    st_le32(c + EXP_SLTCAP, caps);
    st_le16(w + EXP_RTCTL, 0x1f);
}

static int init(struct device *d, struct err *e)
{
    struct root_port *r = of(d);
    struct pci_device *p = &r->bridge.pci;
    if (!p->bus->express || p->bus->bridge)
        return err_set(e, "pcie-root-port goes on the root bus of a PCI Express machine (pcie.0)");
    pci_set_identity(p, 0x1b36, 0x000c, 0x0604, 0, 0);
    unsigned ssid = pci_add_cap(p, PCI_CAP_SUBVENDOR, 8);
    st_le16(p->config + ssid + 4, 0x1b36);
    pci_add_express(p, EXP_ROOT_PORT);
    pci_add_msi(p, 0);
    pci_use_intx(p);
    add_slot(r);
    p->config_written = config_written;
    pci_bridge_add_bus(&r->bridge, true);
    r->bridge.secondary->one_slot = true;
    r->bridge.child_changed = child_changed;
    r->bridge.ask = ask;
    loop_work_init(&r->eject, d->env->loop, eject, r);
    return 0;
}

static void reset(struct device *d)
{
    struct root_port *r = of(d);
    uint8_t *ctl = r->bridge.pci.config + r->bridge.pci.cap_exp + EXP_SLTCTL;
    bool powered = r->bridge.secondary->functions[0] != NULL || !r->hotplug;
    r->last_ctl = powered ? 0x1c0 : EXP_SLTCTL_PIC_OFF | EXP_SLTCTL_PCC | 0xc0;
    if (r->hotplug)
        st_le16(ctl, r->last_ctl);
    show_slot(r, false);
}

static void leave(struct device *d)
{
    loop_work_cancel(&of(d)->eject);
}

static const struct field fields[] = {
    FIELD(struct root_port, port, .kind = F_U8, .use = FIELD_PROP),
    FIELD(struct root_port, chassis, .kind = F_U8, .use = FIELD_PROP),
    FIELD(struct root_port, slot, .kind = F_U16, .use = FIELD_PROP, .max = 0x1fff),
    FIELD(struct root_port, hotplug, .kind = F_BOOL, .use = FIELD_PROP, .init = true),
    {0},
};

const struct device_type pcie_root_port_type = {
    .name = "pcie-root-port",
    .desc = "PCI Express Root Port",
    .bus = "PCI",
    .category = "Controller/Bridge/Hub",
    .size = sizeof(struct root_port),
    .fields = fields,
    .base = &pci_bridge_base,
    .user_creatable = true,
    .init = init,
    .reset = reset,
    .exit = leave,
};
