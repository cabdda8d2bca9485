// How vCPUs run: by translation (dbt), in the kernel (kvm), or not at all (qtest). A struct of
// operations and one line in accels.def each; nobody outside accel/ asks which one is in use.
#pragma once

#include "base/err.h"
#include "base/opt.h"
#include "ir/env.h"

struct accel;
struct isa;
struct isa_config;
struct vcpu;

struct accel_ops {
    const char *name, *alias, *desc; // "dbt", "tcg", …
    // Set up for a machine of up to max_vcpus of this ISA; -1 with the reason (fallback prints it).
    int (*open)(struct accel *a, struct opts *o, struct err *e);
    void (*close)(struct accel *a);
    struct env *(*cpu_new)(struct accel *a, const struct isa_config *c,
                           struct err *e); // state allocated and isa->init done
    void (*cpu_free)(struct accel *a, struct env *e);
    void (*thread_enter)(struct accel *a,
                         struct env *e); // on the vCPU's thread, before the first run
    void (*thread_leave)(struct accel *a, struct env *e);
    enum env_leave (*run)(struct accel *a, struct env *e); // until it must come back
    void (*kick)(struct accel *a, struct env *e); // any thread; env.interrupt is already set
    void (*memory_changed)(struct accel *a);
    void (*code_changed)(struct accel *a); // breakpoints changed: forget translations
};
struct accel {
    const struct accel_ops *ops;
    const struct isa *isa;
    unsigned max_vcpus;
    struct space *memory;
    void *priv;
    // Debugger state the translator consults (sorted; changed only while paused).
    uint64_t *breakpoints;
    unsigned n_breakpoints;
};
// `-accel` values in order of preference; each that fails says why in one line and the next is
// tried.
struct accel *accel_open(struct opts *list, unsigned n, const struct isa *isa, unsigned max_vcpus,
                         struct space *memory, struct err *e);
void accel_close(struct accel *a);
extern const struct accel_ops *const accels[]; // NULL-terminated
