// A virtual CPU: one host thread that runs guest instructions through an accelerator, can be
// paused, kicked, powered on and off, and run functions for other threads.
#pragma once

#include "accel/accel.h"
#include "base/thread.h"
#include "isa/isa.h"

enum vcpu_power { VCPU_OFF, VCPU_ON_PENDING, VCPU_ON };

struct vcpu {
    struct accel *accel;
    const struct isa *isa;
    struct env *env; // CPU state; the vCPU's thread owns it while running
    unsigned index;
    uint64_t hw_id; // MPIDR affinity, hart id
    pthread_t thread;
    int host_tid; // 0 until started
    struct vcpu_private *p;
};

// All vCPUs of a machine.
struct vcpus {
    struct vcpu **v;
    unsigned n;
    struct accel *accel;
    const struct isa *isa;
    struct vcpus_private *p;
    // Called on the vCPU's thread when it stops for the debugger: the machine pauses all and tells
    // the gdb stub.
    void (*debug_stop)(void *opaque, struct vcpu *v);
    void (*guest_off)(void *opaque, bool reset); // PSCI/SBI system_off and system_reset
    void (*guest_failed)(void *opaque, const char *why, bool host); // it cannot go on
    void *opaque;
};

// Creates and initialises n vCPUs (threads not started, power off). `config(i, cfg)` fills what
// differs per CPU.
struct vcpus *vcpus_new(struct accel *a, const struct isa *isa, unsigned n,
                        void (*config)(void *opaque, unsigned i, struct isa_config *c),
                        void *opaque, struct err *e);
void vcpus_free(struct vcpus *vs);                                   // stops the threads first
int vcpus_start_threads(struct vcpus *vs, struct err *e) MUST_CHECK; // created paused
void vcpus_pause(struct vcpus *vs); // main thread: returns when none runs guest code
void vcpus_resume(struct vcpus *vs);
void vcpus_resume_some(struct vcpus *vs, const bool *which, unsigned n); // the debugger's choice
bool vcpus_running(const struct vcpus *vs);
void vcpu_kick(struct vcpu *v, uint32_t interrupt_bits); // any thread
// Run fn on the vCPU's thread between guest instructions and wait (from its own thread: direct).
// Works while paused.
void vcpu_call(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg);
void vcpus_reset_chips(struct vcpus *vs); // what the accelerator gave them to share (paused only)
// Reset CPU state (paused only); then power it on at `entry`.
void vcpu_reset(struct vcpu *v);
void vcpu_power_on(struct vcpu *v, uint64_t entry, uint64_t arg, unsigned level);
enum vcpu_power vcpu_power_state(const struct vcpu *v);
// Saved state (state.c); paused only. -1 with one line: this CPU cannot be saved, or what was saved
// is none of this model's.
struct buf;
struct reader;
int vcpu_save(struct vcpu *v, struct buf *out, struct err *e) MUST_CHECK;
int vcpu_load(struct vcpu *v, struct reader *r, struct err *e) MUST_CHECK;
void vcpu_set_power(struct vcpu *v, bool on);     // paused; it goes on where its state says
struct irq vcpu_line(struct vcpu *v, unsigned n); // input line

// Debugger (paused only).
int vcpus_breakpoint(struct vcpus *vs, uint64_t pc, bool insert);
// All there are from now on; the list stays the caller's. -1: this accelerator cannot.
int vcpus_watchpoints(struct vcpus *vs, const struct env_watchpoint *list, unsigned n);
void vcpu_single_step(struct vcpu *v, bool on);
