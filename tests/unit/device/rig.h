// What a device test needs of a machine: an environment with memory, clock and loop, and accesses
// as a CPU makes them.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../base/pump.h"
#include "device/core/sysdev.h"

struct rig {
    struct machine_env env;
    struct device_tree tree;
    struct ram *ram;
    int line[64]; // levels of lines made by rig_line
    unsigned resets, shutdowns;
};

static void rig_request_reset(void *opaque, const char *reason)
{
    ((struct rig *)opaque)->resets++;
}
static void rig_request_shutdown(void *opaque, const char *reason, int status)
{
    ((struct rig *)opaque)->shutdowns++;
}

static inline void rig_open(struct rig *r)
{
    struct err e;
    *r = (struct rig){0};
    r->env = (struct machine_env){.memory = space_new("memory", UINT64_MAX),
                                  .clock = clock_new(),
                                  .loop = loop_new("test"),
                                  .request_reset = rig_request_reset,
                                  .request_shutdown = rig_request_shutdown,
                                  .opaque = r};
    r->ram = ram_new("ram", 16 * MiB, false, &e);
    assert_non_null(r->ram);
    space_map_ram(r->env.memory, "ram", 0x40000000, r->ram, 0, 16 * MiB, false, 0);
    device_tree_init(&r->tree, &r->env);
    clock_start(r->env.clock);
}

static inline void rig_close(struct rig *r)
{
    device_tree_free(&r->tree);
    space_free(r->env.memory);
    ram_free(r->ram);
    loop_free(r->env.loop);
    clock_free(r->env.clock);
}

static inline struct device *rig_device(struct rig *r, const struct device_type *t)
{
    return device_new(&r->tree, t, NULL);
}

static inline void rig_start(struct rig *r, struct device *d)
{
    struct err e;
    assert_int_equal(device_start(&r->tree, d, NULL, &e), 0);
    device_reset(d);
}

static inline void rig_map(struct rig *r, struct device *d, unsigned window, gpa_t base)
{
    sys_map(container_of(d, struct sys_device, dev), window, r->env.memory, base);
}

static void rig_line_set(void *opaque, int n, int level)
{
    ((struct rig *)opaque)->line[n] = level;
}
static inline struct irq rig_line(struct rig *r, int n)
{
    return (struct irq){rig_line_set, r, n};
}

static inline uint64_t rig_read(struct rig *r, gpa_t a, unsigned size, struct mem_attrs at)
{
    uint64_t v = 0;
    assert_int_equal(space_read(r->env.memory, a, size, &v, at), MEM_OK);
    return v;
}
static inline void rig_write(struct rig *r, gpa_t a, unsigned size, uint64_t v, struct mem_attrs at)
{
    assert_int_equal(space_write(r->env.memory, a, size, v, at), MEM_OK);
}
#define RD32(r, a)    ((uint32_t)rig_read(r, a, 4, (struct mem_attrs){0}))
#define WR32(r, a, v) rig_write(r, a, 4, v, (struct mem_attrs){0})
