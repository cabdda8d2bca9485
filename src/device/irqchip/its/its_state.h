// State and tables of the ITS, shared by its two files; everything under `lock`.
#pragma once

#include "device/irqchip/its/its.h"
#include "device/irqchip/gicv3_state.h"

enum { ENTRY_BYTES = 8, DEVICE_BITS = 16 };

struct gicv3_its {
    struct sys_device sys;
    struct device *gic_device;
    struct gicv3 *gic;
    gpa_t mapped_at;
    pthread_mutex_t lock; // before a CPU's lock
    uint32_t ctlr;
    uint64_t cbaser, cwriter, creadr;
    uint64_t baser[8]; // 0: devices, 1: collections
    struct loop_work work;
};

struct its_device {
    gpa_t itt;       // its interrupt translation table
    uint64_t events; // entries in it
};

// Table access: -1 (or NULL) when the entry is out of range, not in memory or, for gets, not valid.
int its_device_get(struct gicv3_its *s, uint32_t device, struct its_device *d);
int its_device_set(struct gicv3_its *s, uint32_t device, bool valid, gpa_t itt, unsigned size);
int its_event_get(struct gicv3_its *s, const struct its_device *d, uint32_t event, uint32_t *intid,
                  uint32_t *collection);
int its_event_set(struct gicv3_its *s, const struct its_device *d, uint32_t event, bool valid,
                  uint32_t intid, uint32_t collection);
struct gicv3_cpu *its_collection_get(struct gicv3_its *s, uint32_t collection);
int its_collection_set(struct gicv3_its *s, uint32_t collection, bool valid, uint64_t cpu);
struct gicv3_cpu *its_cpu(struct gicv3_its *s, uint64_t number);
int its_translate(struct gicv3_its *s, uint32_t device, uint32_t event, uint32_t *intid,
                  struct gicv3_cpu **cpu);

void its_run_commands(void *its); // deferred work
