// A device at fixed addresses of the board: register windows that the board maps and interrupt
// outputs that it connects. Types embed `struct sys_device` first and name `sys_device_base` as
// their base.
#pragma once

#include "device/core/regbank.h"

#define SYS_WINDOWS 8
#define SYS_IRQS    16

struct sys_device {
    struct device dev;
    struct sys_window {
        const char *name;
        uint64_t size;
        const struct mmio_ops *ops;
        void *opaque;
        const struct regbank *bank; // of a window made by sys_add_bank, and the device
        struct device *dev;
        bool unguarded;        // the handlers lock for themselves
        struct region *region; // NULL until mapped
    } windows[SYS_WINDOWS];
    unsigned n_windows, n_irqs;
    struct irq *irqs[SYS_IRQS]; // the device's own output lines
};
extern const struct device_type sys_device_base;

// From a type's init hook. Windows and lines are numbered in the order they are added.
void sys_add_window(struct sys_device *s, const char *name, uint64_t size,
                    const struct mmio_ops *ops, void *opaque);
// A window that is a register bank; the bank's handlers get the device.
void sys_add_bank(struct sys_device *s, uint64_t size, const struct regbank *bank);
void sys_add_irq(struct sys_device *s, struct irq *line);
// From the board, after device_start.
struct region *sys_map(struct sys_device *s, unsigned window, struct space *to, gpa_t base);
void sys_connect(struct sys_device *s, unsigned n, struct irq to);
