// A board's slot table: each device that is always there, with all that memory map, device tree and
// ACPI say of it. What of a row a board makes no use of stays empty.
#pragma once

#include "board/board.h"

enum {
    SLOT_SECURE = 1 << 0,    // in the secure address space only
    SLOT_EDGE = 1 << 1,      // its interrupt is described as edge-triggered
    SLOT_APB_CLOCK = 1 << 2, // PrimeCell: has a bus clock
    SLOT_UART_CLOCK = 1 << 3,
    SLOT_COHERENT = 1 << 4, // its DMA is coherent
    SLOT_GPIO = 1 << 5,
    SLOT_PORTS = 1 << 6, // at I/O ports, else in memory
};

struct board_slot {
    const char *name; // of the region, and of the device tree node
    gpa_t base;
    uint64_t size;
    int irq;                        // its first interrupt as the board numbers them, or -1
    unsigned count;                 // how many side by side, each with the next interrupt; 0: 1
    const struct device_type *type; // a system device made here; NULL: the board does it
    const char *compatible; // device tree; several strings with \0 between, or NULL: no plain node
    size_t compatible_len;
    const char *hid; // ACPI, or NULL: not listed
    unsigned flags;
};
#define COMPATIBLE(text) .compatible = text, .compatible_len = sizeof(text)

static inline gpa_t board_slot_at(const struct board_slot *s, unsigned n)
{
    return s->base + n * s->size;
}

// Starts a device that a board made (device_new) and set properties of. `failed`: one of them could
// not be set and *e says why; the device is given up.
int board_start(struct machine *m, struct device *d, int failed, struct err *e) MUST_CHECK;
// The same for the n-th device of a slot, which then answers at its address in `to` and drives
// `line`, if the slot has an interrupt.
int board_start_slot(struct machine *m, const struct board_slot *s, unsigned n, struct device *d,
                     int failed, struct space *to, struct irq line, struct err *e) MUST_CHECK;
