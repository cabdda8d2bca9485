// HMP's looks at what the machine consists of: PCI functions, images in RAM, the translator, trace
// points; and values.
#include "control/gdb/machine.h"
#include "control/monitor/internal.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/trace.h"
#include "device/pci/pci.h"
#include "device/pci/regs.h"
#include "device/virtio/balloon.h"
#include <inttypes.h>
#include <stdlib.h>

// ---- PCI ----

static const char *class_name(uint16_t class_code)
{
    static const struct {
        uint16_t code;
        const char *name;
    } names[] = {{0x0100, "SCSI controller"},     {0x0101, "IDE controller"},
                 {0x0106, "SATA controller"},     {0x0108, "NVMe controller"},
                 {0x0200, "Ethernet controller"}, {0x0300, "VGA controller"},
                 {0x0600, "Host bridge"},         {0x0601, "ISA bridge"},
                 {0x0604, "PCI bridge"},          {0x0780, "Communication controller"},
                 {0x0c03, "USB controller"}};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i].code == class_code)
            return names[i].name;
    return "Device";
}

static void print_bars(const struct pci_device *p, struct buf *out)
{
    for (unsigned i = 0; i <= PCI_BARS; i++) {
        const struct pci_bar *b = &p->bars[i];
        if (b->kind == PCI_BAR_NONE)
            continue;
        const char *kind = b->kind == PCI_BAR_IO      ? "I/O"
                           : b->kind == PCI_BAR_MEM64 ? "64 bit memory"
                                                      : "32 bit memory";
        if (b->mapped)
            buf_printf(out, "      BAR%u: %s at 0x%" PRIx64 " [0x%" PRIx64 "].\n", i, kind, b->base,
                       b->base + b->size - 1);
        else
            buf_printf(out, "      BAR%u: %s, %" PRIu64 " bytes, not mapped.\n", i, kind, b->size);
    }
}

HMP_RUN(info_pci)
{
    struct bus *b;
    list_for_each(b, &vm->machine->tree.buses, link)
    {
        if (b->type != &pci_bus_type)
            continue;
        const struct pci_bus *bus = container_of(b, struct pci_bus, bus);
        for (unsigned i = 0; i < ARRAY_SIZE(bus->functions); i++) {
            const struct pci_device *p = bus->functions[i];
            if (!p)
                continue;
            buf_printf(out, "  Bus %2u, device %3u, function %u:\n", pci_bus_number(bus), i >> 3,
                       i & 7);
            buf_printf(out, "    %s: PCI device %04x:%04x\n",
                       class_name(ld_le16(p->config + PCI_CLASS)),
                       ld_le16(p->config + PCI_VENDOR_ID), ld_le16(p->config + PCI_DEVICE_ID));
            if (p->config[PCI_INT_PIN])
                buf_printf(out, "      IRQ %u, pin %c\n", p->config[PCI_INT_LINE],
                           'A' + p->config[PCI_INT_PIN] - 1);
            print_bars(p, out);
            buf_printf(out, "      id \"%s\"\n", p->dev.id ? p->dev.id : "");
        }
    }
}

// ---- memory and the translator ----

HMP_RUN(info_roms)
{
    for (size_t i = 0; i < vm->machine->images.len; i++) {
        const struct machine_image *k = &vm->machine->images.data[i];
        buf_printf(out, "addr=%016" PRIx64 " size=0x%06zx mem=ram name=\"%s\"\n", (uint64_t)k->at,
                   k->len, k->name);
    }
}

HMP_RUN(info_jit)
{
    const struct accel_ops *ops = vm->machine->accel->ops;
    if (ops->print)
        ops->print(vm->machine->accel, out);
    else
        buf_printf(out, "accelerator '%s' does not translate\n", ops->name);
}

HMP_RUN(info_guest_errors)
{
    log_guest_print(out);
}

HMP_RUN(info_balloon)
{
    for (size_t i = 0; i < vm->machine->tree.devices.len; i++) {
        struct device *d = vm->machine->tree.devices.data[i];
        if (!device_is_balloon(d))
            continue;
        buf_printf(out, "balloon: actual=%" PRIu64 "\n",
                   (vm->machine->config.ram_size - balloon_held(d)) / MiB);
        return;
    }
    buf_printf(out, "Error: No balloon device has been activated\n");
}

HMP_RUN(balloon)
{
    uint64_t bytes;
    if (parse_size(args, MiB, &bytes) || !bytes) {
        buf_printf(out, "Error: balloon: give a size, such as 512M\n");
        return;
    }
    for (size_t i = 0; i < vm->machine->tree.devices.len; i++) {
        struct device *d = vm->machine->tree.devices.data[i];
        if (!device_is_balloon(d))
            continue;
        balloon_set_target(d, vm->machine->config.ram_size, bytes);
        return;
    }
    buf_printf(out, "Error: No balloon device has been activated\n");
}

// ---- trace points ----

HMP_RUN(info_trace_events)
{
    trace_print(*args ? args : "*", out);
}

// "NAME on|off", where the name may hold wildcards.
HMP_RUN(trace_event)
{
    char *state = strchr(args, ' ');
    bool on;
    if (!state || parse_bool(state + 1 + strspn(state + 1, " "), &on)) {
        buf_printf(out, "Error: trace-event: write trace-event NAME on|off\n");
        return;
    }
    char *pattern = xasprintf("%s%.*s", on ? "" : "-", (int)(state - args), args);
    trace_enable(pattern);
    free(pattern);
}

// ---- values, and the debugger ----

HMP_RUN(print)
{
    char format = 'x';
    uint64_t v;
    if (*args == '/') {
        format = args[1];
        args += strcspn(args, " ");
    }
    if (hmp_eval(vm, args, &v, out))
        return;
    if (format == 'd')
        buf_printf(out, "%" PRId64 "\n", (int64_t)v);
    else if (format == 'u')
        buf_printf(out, "%" PRIu64 "\n", v);
    else if (format == 'o')
        buf_printf(out, "%" PRIo64 "\n", v);
    else if (format == 'c')
        buf_printf(out, "'%c'\n", v >= 32 && v < 127 ? (int)v : '.');
    else
        buf_printf(out, "0x%" PRIx64 "\n", v);
}

HMP_RUN(gdbserver)
{
    struct err e;
    const char *spec = *args ? args : "tcp::1234";
    if (vm->gdb) // it may be the debugger who asks
        buf_printf(out, "Error: gdbserver: a debugger's port is open already\n");
    else if (gdb_machine_open(vm, spec, &e))
        buf_printf(out, "Error: %s\n", e.msg);
    else
        buf_printf(out, "Waiting for gdb connection on device '%s'\n", spec);
}

// ---- what this program has not ----

HMP_RUN(no_display)
{
    buf_printf(out, "Error: this machine has no display; its console is the serial port\n");
}
