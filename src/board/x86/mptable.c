// The table by which kernels without ACPI find CPUs and the I/O APIC (Intel MultiProcessor
// Specification 1.4, chapter 4): one ISA bus whose lines go to the I/O APIC's inputs of the same
// number, the timer's to input 2.
#include "base/bits.h"
#include "base/buf.h"
#include "board/x86/linux.h"
#include "isa/x86/x86.h"

#include <stdlib.h>

enum { IOAPIC = 0xfec00000, HEADER = 44, FLOATING = 16 };

static void put_cpu(struct buf *b, uint32_t apic_id, bool boot)
{
    buf_u8(b, 0);
    buf_u8(b, (uint8_t)apic_id);
    buf_u8(b, 0x14); // APIC version
    buf_u8(b, boot ? 3 : 1);
    buf_le32(b, 0x600); // family 6
    buf_le32(b, 0x201); // FPU, APIC
    buf_le64(b, 0);
}

static void put_line(struct buf *b, uint8_t kind, uint8_t type, uint8_t from, uint8_t apic,
                     uint8_t to)
{
    buf_u8(b, kind);
    buf_u8(b, type);
    buf_le16(b, 0); // as the bus has it: edge, active high
    buf_u8(b, 0);
    buf_u8(b, from);
    buf_u8(b, apic);
    buf_u8(b, to);
}

static uint8_t checksum(const uint8_t *p, size_t n)
{
    uint8_t sum = 0;
    while (n--)
        sum += *p++;
    return (uint8_t)-sum;
}

int boot_place_mptable(struct machine *m, unsigned n_cpus, unsigned cores, unsigned threads,
                       struct err *e)
{
    enum { INT = 0, NMI = 1, EXTINT = 3 };
    struct buf b = {0};
    uint8_t ioapic_id = (uint8_t)(x86_apic_id(cores, threads, n_cpus - 1) + 1);
    unsigned entries = 0;
    buf_grow(&b, FLOATING + HEADER);
    for (unsigned i = 0; i < n_cpus; i++, entries++)
        put_cpu(&b, x86_apic_id(cores, threads, i), i == 0);
    buf_u8(&b, 1);
    buf_u8(&b, 0);
    buf_put(&b, "ISA   ", 6);
    buf_u8(&b, 2);
    buf_u8(&b, ioapic_id);
    buf_u8(&b, 0x11);
    buf_u8(&b, 1);
    buf_le32(&b, IOAPIC);
    for (unsigned i = 0; i < 16; i++, entries++)
        put_line(&b, 3, INT, (uint8_t)i, ioapic_id, (uint8_t)(i ? i : 2));
    put_line(&b, 4, EXTINT, 0, 0, 0);
    put_line(&b, 4, NMI, 0, 0xff, 1);
    entries += 4;

    uint8_t *f = b.data, *h = b.data + FLOATING;
    size_t len = b.len - FLOATING;
    memcpy(f, "_MP_", 4);
    st_le32(f + 4, X86_BOOT_MPTABLE + FLOATING);
    f[8] = 1;
    f[9] = 4;
    f[10] = checksum(f, FLOATING);
    memcpy(h, "PCMP", 4);
    st_le16(h + 4, (uint16_t)len);
    h[6] = 4;
    memcpy(h + 8, "MYNA    MICROVM     ", 20);
    st_le16(h + 34, (uint16_t)entries);
    st_le32(h + 36, X86_APIC_BASE);
    h[7] = checksum(h, len);
    uint8_t *data = xalloc(b.len);
    memcpy(data, b.data, b.len);
    size_t total = b.len;
    buf_free(&b);
    return machine_place(m, "MP table", X86_BOOT_MPTABLE, data, total, e);
}
