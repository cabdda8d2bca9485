// How vCPUs run: by translation (dbt), in the kernel (kvm), or not at all (qtest). A struct of
// operations and one line in accels.def each; nobody outside accel/ asks which one is in use.
#pragma once

#include "base/err.h"
#include "base/opt.h"
#include "ir/env.h"
#include "memory/irq.h"
#include "memory/msi.h"

struct accel;
struct buf;
struct isa;
struct isa_config;
struct isa_state;
struct reader;
struct vcpu;

// What an accelerator is told of. All on the main loop's thread with the vCPUs paused, but for
// ACCEL_MEMORY, which comes on the thread that made the change.
enum accel_notice {
    ACCEL_MEMORY,  // the memory space looks different
    ACCEL_CODE,    // breakpoints changed: forget translations
    ACCEL_PAUSED,  // no vCPU runs guest code now
    ACCEL_RESET,   // the machine is: interrupt controllers that the accelerator brought are, too
    ACCEL_RESUMED, // and now they will
};

// Interrupt controllers that an accelerator brings along, as their board connects to them.
struct accel_irqchip {
    gpa_t at[2]; // in, for those that can lie anywhere (Arm): distributor; redistributors, or a
                 // GICv2's CPU interface
    unsigned version; // out, Arm: of the GIC
    unsigned n_lines;
    struct irq line[64]; // x86: the I/O APIC's inputs; Arm: shared peripheral interrupts
    struct msi_target msi;
};

struct accel_ops {
    const char *name, *alias, *desc;     // "dbt", "tcg", …
    void (*print_help)(struct buf *out); // its properties; NULL: it has none
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
    void (*notice)(struct accel *a, enum accel_notice what);
    // On the vCPU's thread: `e` holds the whole state, which others may now read and change; the
    // next run takes it up. NULL: it always does.
    void (*sync)(struct accel *a, struct env *e);
    // The accelerator's own interrupt controllers; NULL or -1: it has none.
    int (*irqchip)(struct accel *a, struct accel_irqchip *out, struct err *e);
    // What it holds of the machine beside the CPUs, as bytes: controllers, clocks. Nothing runs; a
    // load comes after the devices' and before the CPUs'. NULL: nothing.
    int (*save)(struct accel *a, struct buf *out, struct err *e);
    int (*load)(struct accel *a, struct reader *r, struct err *e);
    void (*print)(struct accel *a, struct buf *out); // its counters; may be NULL
    bool watches;                                    // stops at env.watchpoints
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
// tried. None given: the one that serves this guest on any host.
struct accel *accel_open(struct opts *list, unsigned n, const struct isa *isa, unsigned max_vcpus,
                         struct space *memory, struct err *e);
void accel_close(struct accel *a);
// Keeps the debugger's list, while nothing runs; the caller tells the accelerator. -1: it was not
// there.
int accel_breakpoint(struct accel *a, uint64_t pc, bool insert);
// Before the vCPUs are made or after; -1: this accelerator leaves interrupts to devices.
int accel_irqchip(struct accel *a, struct accel_irqchip *out, struct err *e) MUST_CHECK;
// What an accelerator saves of the machine, under its name; may be nothing.
int accel_save(struct accel *a, struct buf *out, struct err *e) MUST_CHECK;
int accel_load(struct accel *a, struct reader *r, struct err *e) MUST_CHECK;
// Parts of a structure with their names and sizes, and back: any order, none twice the size.
void accel_parts_save(const struct isa_state *parts, const void *of, struct buf *out);
int accel_parts_load(const struct isa_state *parts, void *of, struct reader *r,
                     struct err *e) MUST_CHECK;
extern const struct accel_ops *const accels[]; // NULL-terminated
