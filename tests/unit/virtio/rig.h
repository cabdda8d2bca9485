// A small machine for driving virtio devices through their registers, and a small virtio driver:
// both transports, split and packed rings, direct and indirect descriptors. It is written from the
// specification alone and shares nothing with the device side.
#pragma once

#include "../base/pump.h"
#include "device/device.h"
#include "device/pci/host_ecam.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define RAM_BASE  0x40000000ull
#define RAM_SIZE  (64 * MiB)
#define MMIO_BASE 0x0a000000ull
#define ECAM_BASE 0x30000000ull
#define PCI_MMIO  0x10000000ull
#define PCI_MSI   0x08020040ull

struct rig {
    struct space *space;
    struct ram *ram;
    struct loop *loop;
    struct clock *clock;
    struct machine_env env;
    struct device_tree tree;
    struct device *host;
    gpa_t next;     // free guest RAM
    gpa_t next_bar; // free PCI memory
    bool wild;      // a fuzzer: accesses may find nothing, messages may go anywhere
    unsigned n_mmio;
    int irq_level; // of the last virtio-mmio slot made
    int intx[4];
    unsigned msi[PCI_MSIX_MAX]; // messages by vector
    uint32_t msi_rid;           // of the last one
    bool binds;                 // descriptors for messages are to be had
    unsigned n_bound, n_unbound;
    int bound_fd;                          // the last one
    void *(*find_backend)(const char *id); // set by a test
};
void rig_init(struct rig *r);
void rig_free(struct rig *r);
gpa_t rig_alloc(struct rig *r, uint64_t size, uint64_t align); // zeroed by the test if it matters
void rig_write(struct rig *r, gpa_t a, const void *p, size_t n);
void rig_read(struct rig *r, gpa_t a, void *p, size_t n);
uint64_t rig_in(struct rig *r, gpa_t a, unsigned size);
void rig_out(struct rig *r, gpa_t a, unsigned size, uint64_t v);
void rig_spin(struct rig *r); // runs the loop until it has nothing to do
// Makes a device from a -device line; fails the test with the message when it cannot.
struct device *rig_device(struct rig *r, const char *line);
uint32_t rig_cfg_in(struct rig *r, unsigned bus, unsigned devfn, unsigned off, unsigned size);
void rig_cfg_out(struct rig *r, unsigned bus, unsigned devfn, unsigned off, unsigned size,
                 uint32_t v);
struct device *rig_mmio_slot(struct rig *r, bool legacy); // at MMIO_BASE + 0x200 * n

struct ring {
    struct drv *d;
    unsigned n, size;
    gpa_t desc, driver, device, tables;
    uint16_t avail_idx, used_idx, free_head;
    bool wrap, used_wrap; // packed
    uint16_t packed_next, packed_used;
    uint16_t in_use[1024]; // packed: ring entries of each id
};
struct drv {
    struct rig *r;
    bool pci, packed, event_idx, indirect;
    gpa_t base;          // mmio registers
    unsigned bus, devfn; // pci
    gpa_t common, notify, isr, config;
    unsigned notify_mult;
    uint64_t features;
    struct ring rings[64];
};
struct seg {
    gpa_t addr;
    uint32_t len;
};
struct done {
    uint16_t id;
    uint32_t len;
};

// Finds the device's registers: over PCI it assigns BARs and reads the capabilities.
void drv_attach_mmio(struct drv *d, struct rig *r, gpa_t base);
void drv_attach_pci(struct drv *d, struct rig *r, unsigned bus, unsigned devfn);
uint64_t drv_offered(struct drv *d);
// Reset to FEATURES_OK with `want` and those offered of VERSION_1 and the ring flags set in d.
bool drv_negotiate(struct drv *d, uint64_t want);
void drv_ring(struct drv *d, unsigned n, unsigned size);
void drv_ok(struct drv *d);
void drv_status_out(struct drv *d, uint8_t s);
uint8_t drv_status(struct drv *d);
uint64_t drv_cfg(struct drv *d, unsigned off, unsigned size);
void drv_cfg_out(struct drv *d, unsigned off, unsigned size, uint64_t v);
uint16_t drv_add(struct ring *q, const struct seg *out, unsigned n_out, const struct seg *in,
                 unsigned n_in); // the id that comes back
void drv_kick(struct ring *q);
bool drv_poll(struct ring *q, struct done *done); // takes one used entry, if any
bool drv_wait(struct ring *q, struct done *done); // runs the loop until one comes; false: none does
