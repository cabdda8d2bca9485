// The I/O APIC outside the kernel (kernel-irqchip=split), by the 82093AA's data sheet with the EOI
// register of later ones (version 0x20). Each input's redirection entry becomes a message that the
// kernel delivers to the local APICs. The kernel knows the messages too, as routes of the first 24
// interrupts, and so tells us of the end of those that are level-triggered. Not modelled: ExtINT
// (there is no 8259 then) and the arbitration id.
#include "accel/kvm/x86.h"
#include "base/log.h"

#include <stdlib.h>

enum {
    BASE = 0xfec00000,
    R_SELECT = 0x00,
    R_WINDOW = 0x10,
    R_EOI = 0x40,
    I_ID = 0,
    I_VERSION = 1,
    I_ARBITRATION = 2,
    I_TABLE = 0x10,
    VERSION = 0x20 | (KVM_IOAPIC_PINS - 1) << 16,
    EXTINT = 7,
};
// A redirection entry.
enum {
    E_VECTOR = 0xff,
    E_MODE_SHIFT = 8,
    E_LOGICAL = 1 << 11,
    E_PENDING = 1 << 12, // delivery status; always idle here
    E_LOW = 1 << 13,
    E_REMOTE_IRR = 1 << 14,
    E_LEVEL = 1 << 15,
    E_MASKED = 1 << 16,
    E_WRITABLE = E_VECTOR | 7 << E_MODE_SHIFT | E_LOGICAL | E_LOW | E_LEVEL | E_MASKED,
    E_DEST_SHIFT = 56,
};

struct kvm_ioapic {
    struct kvm *k;
    struct region *region;
    pthread_mutex_t lock; // inside it the kernel is called, nobody else
    uint32_t select, id, lines;
    uint64_t entry[KVM_IOAPIC_PINS];
};

struct message {
    uint64_t addr;
    uint32_t data;
};

// SDM volume 3, 11.11: address and data that mean what the entry means.
static struct message message_of(uint64_t entry)
{
    uint32_t mode = entry >> E_MODE_SHIFT & 7;
    bool lowest = mode == 1, level = entry & E_LEVEL;
    return (struct message){
        .addr = X86_APIC_BASE | (entry >> E_DEST_SHIFT) << 12 | (uint64_t)lowest << 3 |
                (entry & E_LOGICAL ? 4u : 0u),
        .data = (uint32_t)(entry & E_VECTOR) | mode << 8 | (level ? 3u << 14 : 0u),
    };
}

// Sends what is due: on an edge, or while a level-triggered line that is not in service is high.
static void deliver(struct kvm_ioapic *io, unsigned pin)
{
    uint64_t *e = &io->entry[pin];
    if (*e & E_MASKED || (*e & E_LEVEL && *e & E_REMOTE_IRR) || (*e >> E_MODE_SHIFT & 7) == EXTINT)
        return;
    struct message m = message_of(*e);
    if (*e & E_LEVEL)
        *e |= E_REMOTE_IRR;
    kvm_msi_send(io->k, m.addr, m.data, 0);
}

static void line(void *opaque, int pin, int level)
{
    struct kvm_ioapic *io = opaque;
    uint32_t bit = 1u << pin;
    mutex_lock(&io->lock);
    bool rises = level && !(io->lines & bit);
    io->lines = level ? io->lines | bit : io->lines & ~bit;
    if (level && (rises || io->entry[pin] & E_LEVEL))
        deliver(io, (unsigned)pin);
    mutex_unlock(&io->lock);
}

static void end_of_interrupt(struct kvm_ioapic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < KVM_IOAPIC_PINS; pin++) {
        uint64_t *e = &io->entry[pin];
        if ((*e & E_VECTOR) != vector || !(*e & E_LEVEL) || !(*e & E_REMOTE_IRR))
            continue;
        *e &= ~(uint64_t)E_REMOTE_IRR;
        if (io->lines >> pin & 1)
            deliver(io, pin);
    }
}

void kvm_ioapic_eoi(struct kvm_ioapic *io, uint8_t vector)
{
    mutex_lock(&io->lock);
    end_of_interrupt(io, vector);
    mutex_unlock(&io->lock);
}

// ---- registers ----

static uint32_t read_index(const struct kvm_ioapic *io)
{
    unsigned pin = (io->select - I_TABLE) / 2;
    switch (io->select) {
    case I_ID:
    case I_ARBITRATION:
        return io->id << 24;
    case I_VERSION:
        return VERSION;
    default:
        return pin < KVM_IOAPIC_PINS ? (uint32_t)(io->entry[pin] >> (io->select & 1 ? 32 : 0))
                                     : UINT32_MAX;
    }
}

static void write_index(struct kvm_ioapic *io, uint32_t v)
{
    unsigned pin = (io->select - I_TABLE) / 2;
    if (io->select == I_ID)
        io->id = v >> 24 & 15;
    if (io->select < I_TABLE || pin >= KVM_IOAPIC_PINS)
        return;
    uint64_t *e = &io->entry[pin], old = *e;
    if (io->select & 1)
        *e = (*e & UINT32_MAX) | (uint64_t)(v & 0xff000000) << 32;
    else
        *e = (*e & ~(uint64_t)E_WRITABLE) | (v & E_WRITABLE);
    if (!(*e & E_LEVEL)) // an entry that turns edge-triggered forgets what it waits for
        *e &= ~(uint64_t)E_REMOTE_IRR;
    struct message m = message_of(old), n = message_of(*e);
    if (m.addr != n.addr || m.data != n.data)
        kvm_route_msi(io->k, pin, n.addr, n.data);
    if (*e & E_LEVEL && io->lines >> pin & 1)
        deliver(io, pin);
}

static enum mem_result ioapic_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    struct kvm_ioapic *io = opaque;
    mutex_lock(&io->lock);
    *val = off == R_SELECT ? io->select : off == R_WINDOW ? read_index(io) : 0;
    mutex_unlock(&io->lock);
    return MEM_OK;
}

static enum mem_result ioapic_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    struct kvm_ioapic *io = opaque;
    mutex_lock(&io->lock);
    if (off == R_SELECT)
        io->select = val & 0xff;
    else if (off == R_WINDOW)
        write_index(io, (uint32_t)val);
    else if (off == R_EOI)
        end_of_interrupt(io, (uint8_t)val);
    mutex_unlock(&io->lock);
    return MEM_OK;
}

static const struct mmio_ops ops = {
    .read = ioapic_read, .write = ioapic_write, .min_size = 4, .max_size = 4};

// ---- life ----

void kvm_ioapic_save(struct kvm_ioapic *io, struct kvm_ioapic_saved *to)
{
    mutex_lock(&io->lock);
    *to = (struct kvm_ioapic_saved){.select = io->select, .id = io->id, .lines = io->lines};
    memcpy(to->entry, io->entry, sizeof io->entry);
    mutex_unlock(&io->lock);
}

void kvm_ioapic_load(struct kvm_ioapic *io, const struct kvm_ioapic_saved *from)
{
    enum { KNOWN = E_WRITABLE | E_REMOTE_IRR };
    mutex_lock(&io->lock);
    io->select = from->select & 0xff;
    io->id = from->id & 15;
    io->lines = from->lines;
    for (unsigned pin = 0; pin < KVM_IOAPIC_PINS; pin++) {
        io->entry[pin] = from->entry[pin] & (0xffull << E_DEST_SHIFT | KNOWN);
        struct message m = message_of(io->entry[pin]);
        kvm_route_msi(io->k, pin, m.addr, m.data);
    }
    mutex_unlock(&io->lock);
}

void kvm_ioapic_reset(struct kvm_ioapic *io)
{
    mutex_lock(&io->lock);
    io->select = io->id = 0;
    for (unsigned pin = 0; pin < KVM_IOAPIC_PINS; pin++)
        io->entry[pin] = E_MASKED;
    kvm_routes_drop_below(io->k, KVM_IOAPIC_PINS);
    mutex_unlock(&io->lock);
}

struct kvm_ioapic *kvm_ioapic_new(struct kvm *k)
{
    struct kvm_ioapic *io = xalloc(sizeof *io);
    io->k = k;
    pthread_mutex_init(&io->lock, NULL);
    io->region = space_map_mmio(k->accel->memory, "kvm-ioapic", BASE, 0x1000, &ops, io, NULL, 0);
    kvm_coalesce(k, BASE + R_SELECT, 4); // choosing a register has no effect until it is used
    kvm_ioapic_reset(io);
    return io;
}

struct irq kvm_ioapic_line(struct kvm_ioapic *io, unsigned pin)
{
    return (struct irq){line, io, (int)pin};
}

void kvm_ioapic_free(struct kvm_ioapic *io)
{
    if (!io)
        return;
    region_unmap(io->region);
    pthread_mutex_destroy(&io->lock);
    free(io);
}
