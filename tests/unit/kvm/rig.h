// Small guests on this host's /dev/kvm: memory with a program in it, ports that collect what it
// says, and the accelerator around them as a board would have it. Skips with the reason where
// there is no usable KVM.
#pragma once

#include "../base/pump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "accel/accel.h"
#include "accel/vcpu.h"
#include "base/loop.h"
#include "base/thread.h"
#include "isa/x86/x86.h"
#include "memory/dirty.h"
#include "memory/dma.h"
#include "memory/doorbell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// Guest programs are assembled into this test: PROGRAM(name, "code") and `name`, `name_end`.
#define PROGRAM(name, text)                                                                        \
    __asm__(".pushsection .rodata\n.global " #name "\n.global " #name "_end\n" #name ":\n" text    \
            "\n" #name "_end:\n.code64\n.popsection\n");                                           \
    extern const uint8_t name[], name##_end[]

enum {
    PORT_SAY = 0x10,  // 4 bytes: appended to said[]
    PORT_DONE = 0xf4, // the guest is through
    CODE = 0x10000,   // where programs lie
    MMIO = 0xd0000000,
    RAM_SIZE = 4 << 20,
};

struct rig {
    struct space *memory, *ports;
    struct ram *ram;
    struct accel *accel;
    struct vcpus *vcpus;
    struct loop *loop;
    struct accel_irqchip chip;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t said[256], n_said;
    unsigned done, resets, failures, stops, mmio_writes;
    uint64_t mmio_last;
    struct region *mmio;
    struct irq *lowers; // the MMIO write that makes mmio_writes this many lowers the line
    unsigned lowers_after;
    const char *model;  // NULL: max
    struct space *rows; // shown `n_rows` times from `first_row` on, one behind the other
    gpa_t first_row, row_size;
    unsigned n_rows;
    struct opts *features;
};

static inline void rig_note(struct rig *r, unsigned *counter)
{
    mutex_lock(&r->lock);
    ++*counter;
    pthread_cond_broadcast(&r->changed);
    mutex_unlock(&r->lock);
}

static enum mem_result port_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct rig *r = opaque;
    mutex_lock(&r->lock);
    if (off == PORT_SAY && r->n_said < ARRAY_SIZE(r->said))
        r->said[r->n_said++] = (uint32_t)val;
    if (off == PORT_DONE)
        r->done++;
    pthread_cond_broadcast(&r->changed);
    mutex_unlock(&r->lock);
    return MEM_OK;
}
static enum mem_result port_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    *val = 0x12345678;
    return MEM_OK;
}
static const struct mmio_ops port_ops = {.read = port_read, .write = port_write};

static enum mem_result mmio_take(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs attrs)
{
    struct rig *r = opaque;
    r->mmio_last = val;
    if (r->lowers && r->mmio_writes + 1 == r->lowers_after)
        irq_set(r->lowers, 0);
    rig_note(r, &r->mmio_writes);
    return MEM_OK;
}
static enum mem_result mmio_give(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    *val = 0x1122334455667788 + off;
    return MEM_OK;
}
static const struct mmio_ops mmio_ops = {.read = mmio_give, .write = mmio_take};

static void rig_config(void *opaque, unsigned i, struct isa_config *c)
{
    struct rig *r = opaque;
    c->model = r->model ? r->model : "max";
    c->features = r->features;
    c->ports = r->ports;
    c->cores = 2;
    c->hw_id = x86_apic_id(2, 1, i);
}
static void rig_off(void *opaque, bool reset)
{
    struct rig *r = opaque;
    rig_note(r, &r->resets);
}
static void rig_failed(void *opaque, const char *why, bool host)
{
    struct rig *r = opaque;
    rig_note(r, &r->failures);
}
static void rig_stopped(void *opaque, struct vcpu *v)
{
    struct rig *r = opaque;
    rig_note(r, &r->stops);
}

// Says so, for main, when this host has no KVM to test with.
static inline bool rig_unavailable(void)
{
    struct opts o = {0};
    struct err e = {0};
    struct space *s = space_new("memory", UINT64_MAX);
    assert_int_equal(opts_parse(&o, "kvm", "accel", &e), 0);
    struct accel *a = accel_open(&o, 1, &isa_x86_64, 1, s, &e);
    opts_free(&o);
    if (a)
        accel_close(a);
    else
        printf("1..0 # SKIP %s\n", e.msg);
    space_free(s);
    return !a;
}

static inline void rig_make(struct rig *r, const char *options, unsigned n_cpus, const char *model,
                            struct opts *features)
{
    struct opts o = {0};
    struct err e = {0};
    r->model = model;
    r->features = features;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->memory = space_new("memory", UINT64_MAX);
    r->ports = space_new("ports", 0xffff);
    r->loop = loop_new("test");
    r->ram = ram_new("ram", RAM_SIZE, false, &e);
    assert_non_null(r->ram);
    space_map_ram(r->memory, "ram", 0, r->ram, 0, RAM_SIZE, false, 0);
    for (unsigned i = 0; i < r->n_rows; i++)
        space_map_alias(r->memory, "row", r->first_row + i * r->row_size, r->rows, 0, r->row_size,
                        0);
    r->mmio = space_map_mmio(r->memory, "device", MMIO, 0x1000, &mmio_ops, r, NULL, 0);
    space_map_mmio(r->ports, "ports", 0, 0x100, &port_ops, r, NULL, 0);
    assert_int_equal(opts_parse(&o, options ? options : "kvm", "accel", &e), 0);
    r->accel = accel_open(&o, 1, &isa_x86_64, n_cpus, r->memory, &e);
    opts_free(&o);
    if (!r->accel)
        fail_msg("%s", e.msg);
    assert_int_equal(accel_irqchip(r->accel, &r->chip, &e), 0);
    r->vcpus = vcpus_new(r->accel, &isa_x86_64, n_cpus, rig_config, r, &e);
    if (!r->vcpus)
        fail_msg("%s", e.msg);
    r->vcpus->guest_off = rig_off;
    r->vcpus->guest_failed = rig_failed;
    r->vcpus->debug_stop = rig_stopped;
    r->vcpus->opaque = r;
    assert_int_equal(vcpus_start_threads(r->vcpus, &e), 0);
}

// `model` and `features` as of -cpu.
static inline void rig_open_cpu(struct rig *r, const char *options, unsigned n_cpus,
                                const char *model, struct opts *features)
{
    *r = (struct rig){0};
    rig_make(r, options, n_cpus, model, features);
}

// With more memory.
static inline void rig_open_in(struct rig *r, const char *options, struct space *rows, gpa_t at,
                               unsigned n, gpa_t size)
{
    *r = (struct rig){.rows = rows, .first_row = at, .n_rows = n, .row_size = size};
    rig_make(r, options, 1, NULL, NULL);
}

static inline void rig_open(struct rig *r, const char *options, unsigned n_cpus)
{
    rig_open_cpu(r, options, n_cpus, NULL, NULL);
}

static inline void rig_close(struct rig *r)
{
    vcpus_pause(r->vcpus);
    vcpus_free(r->vcpus);
    accel_close(r->accel);
    loop_run_once(r->loop, 0);
    space_free(r->memory);
    space_free(r->ports);
    ram_free(r->ram);
    loop_free(r->loop);
}

static inline void rig_load(struct rig *r, gpa_t at, const uint8_t *p, const uint8_t *end)
{
    ram_write(r->ram, at, p, (size_t)(end - p));
}

// Flat 64-bit mode: identity map of 4 GiB by 1 GiB... 2 MiB pages, and the boot loader's GDT.
static inline void rig_long_mode(struct rig *r)
{
    static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff,
                                   0x008f8b000000ffff};
    uint64_t v = (X86_BOOT_TABLES + 0x1000) | 3;
    ram_write(r->ram, X86_BOOT_GDT, gdt, sizeof gdt);
    ram_write(r->ram, X86_BOOT_TABLES, &v, 8);
    for (unsigned i = 0; i < 4; i++) {
        v = (X86_BOOT_TABLES + 0x2000 + i * 0x1000) | 3;
        ram_write(r->ram, X86_BOOT_TABLES + 0x1000 + i * 8, &v, 8);
    }
    for (unsigned i = 0; i < 2048; i++) {
        v = (uint64_t)i << 21 | 0x83;
        ram_write(r->ram, X86_BOOT_TABLES + 0x2000 + i * 8, &v, 8);
    }
}

static inline void rig_start(struct rig *r, gpa_t entry, unsigned level)
{
    for (unsigned i = 0; i < r->vcpus->n; i++) {
        vcpu_reset(r->vcpus->v[i]);
        vcpu_power_on(r->vcpus->v[i], entry, 0x7000, i ? X86_START_WAITING : level);
    }
    vcpus_resume(r->vcpus);
}

// Until a counter has reached n; false when patience is over.
static inline bool rig_wait(struct rig *r, unsigned *counter, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_NS / 1000000000;
    mutex_lock(&r->lock);
    int error = 0;
    while (*counter < n && !error)
        error = pthread_cond_clockwait(&r->changed, &r->lock, CLOCK_MONOTONIC, &until);
    mutex_unlock(&r->lock);
    return !error;
}
static inline uint64_t rig_reg(struct rig *r, unsigned cpu, const char *name)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < isa_x86_64.n_regs; i++) {
        const struct isa_reg *g = &isa_x86_64.regs[i];
        if (!strcmp(g->name, name) && g->bits <= 64)
            g->get(r->vcpus->v[cpu]->env, g, &v);
    }
    return v;
}
