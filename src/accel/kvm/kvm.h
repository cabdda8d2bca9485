// The kernel's virtual machines (Linux Documentation/virt/kvm/api.rst), for the files of this
// folder. What differs between architectures is behind the functions named kvm_arch_*, of which
// one file family per host architecture is compiled.
#pragma once

#include "accel/accel.h"
#include "accel/kvm/facts.h"
#include "base/list.h"
#include "base/thread.h"
#include "base/vec.h"
#include "isa/isa.h"
#include "memory/dirty.h"
#include "memory/doorbell.h"
#include "memory/dma.h"
#include "memory/space.h"

#include <linux/kvm.h>
#include <stdatomic.h>

struct kvm_slot {
    uint32_t id;
    bool used, logging;
    gpa_t base;
    uint64_t size;
    struct ram *ram;
    uint64_t off;
    bool readonly;
};

// A doorbell whose writes the kernel turns into an event.
struct kvm_bell {
    struct list link;
    struct kvm *kvm;
    const struct doorbell *bell; // NULL: taken back, only the descriptor is left to close
    gpa_t at;
    struct doorbell spec;
    int fd;
    struct loop_fd *watch;
    struct loop_work work;   // watch or unwatch, on the doorbell's loop
    bool seen;               // while comparing with what there is now
    unsigned idle;           // rings in a row for which there was nothing to do
    struct loop_timer again; // not listened to until then
};

// Guest code replaced by a trap instruction for the debugger.
struct kvm_patch {
    uint64_t va;
    gpa_t pa;
    uint8_t saved[4];
};

struct kvm {
    struct accel *accel;
    int dev, vm;
    struct kvm_facts facts;
    enum kvm_chip_place { KVM_IRQCHIP_ON, KVM_IRQCHIP_SPLIT, KVM_IRQCHIP_OFF } irqchip;
    VEC(struct kvm_vcpu *) vcpus; // by index
    void *arch;

    pthread_mutex_t lock; // slots and doorbells
    VEC(struct kvm_slot) slots;
    struct list bells;
    unsigned most_slots;
    bool slots_exhausted;      // said so
    pthread_mutex_t hold_lock; // keeps vCPUs out of the kernel while slots are replaced
    pthread_cond_t hold_changed;
    _Atomic bool held;
    uint32_t ring_entries; // dirty ring of each vCPU; 0: bitmaps

    pthread_mutex_t routes_lock;
    VEC(struct kvm_irq_routing_entry) routes;

    bool coalesces;                           // there are zones
    struct kvm_coalesced_mmio_ring *gathered; // in the first vCPU's mapping, or NULL
    pthread_mutex_t gathered_lock;            // who empties the ring

    VEC(struct kvm_patch) patches; // changed while paused

    bool clock_kept; // the guest's clock, while paused
    struct kvm_clock_data clock;
};

// What a vCPU came out for, counted by its thread.
enum kvm_count {
    KVM_COUNT_PORT,
    KVM_COUNT_REGISTER,
    KVM_COUNT_KICK, // by us, for others
    KVM_COUNT_OTHER,
    KVM_COUNT_GATHERED, // no way out: a write that the kernel kept for later
    KVM_COUNTS,
};

// Lies before the CPU's state in one allocation, so that each is found from the other.
struct kvm_vcpu {
    struct kvm *kvm;
    int fd;
    struct kvm_run *run;
    struct kvm_dirty_gfn *ring;
    uint32_t ring_at;
    pthread_t thread;
    _Atomic bool in_kernel;                   // a signal is needed to get it out
    bool stale;                               // the kernel has newer state than env
    bool unfinished;                          // an access was answered; the next entry completes it
    bool broken;                              // reported: this run is over
    bool debugging;                           // guest debug is on in the kernel
    uint32_t id;                              // the kernel's: APIC id
    struct space_near ports[4], registers[4]; // where its last accesses were, by address
    uint64_t counts[KVM_COUNTS];
    struct isa_config config;
    void *arch;
};
static inline void kvm_count(struct kvm_vcpu *v, enum kvm_count what)
{
    __atomic_store_n(&v->counts[what], v->counts[what] + 1, __ATOMIC_RELAXED);
}
#define KVM_VCPU_SIZE ((sizeof(struct kvm_vcpu) + 63) & ~(size_t)63)
static inline struct kvm_vcpu *kvm_vcpu_of(struct env *e)
{
    return (struct kvm_vcpu *)((char *)e - KVM_VCPU_SIZE);
}
static inline struct env *kvm_env(struct kvm_vcpu *v)
{
    return (struct env *)((char *)v + KVM_VCPU_SIZE);
}

extern const struct accel_ops accel_kvm;

// kvm.c: ioctl that is tried again when a signal came in between; -1 and errno.
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_n(int fd, unsigned long request, unsigned long arg);
bool kvm_has(const struct kvm *k, unsigned capability);
int kvm_enable(struct kvm *k, unsigned capability, uint64_t arg0, uint64_t arg1);

// run.c: no vCPU is in the kernel when hold returns, or enters it until release. Not nested.
void kvm_hold(struct kvm *k);
void kvm_release(struct kvm *k);
// slots.c: memory slots as the space looks now.
void kvm_slots_update(struct kvm *k);
void kvm_slots_free(struct kvm *k);
// dirty.c: what the kernel logged goes to memory/dirty.
void kvm_dirty_collect_slot(struct kvm *k, struct kvm_slot *s); // k->lock held
void kvm_dirty_watch(struct kvm *k, struct ram *r, bool on);
int kvm_dirty_open(struct kvm *k, struct opts *o, struct err *e);
void kvm_dirty_vcpu_new(struct kvm_vcpu *v);
void kvm_dirty_vcpu_free(struct kvm_vcpu *v);
void kvm_dirty_ring_full(struct kvm *k);

// bells.c
void kvm_bells_update(struct kvm *k);
void kvm_bells_free(struct kvm *k);

// chip.c: lines, messages, routes, irqfds of in-kernel interrupt controllers.
void kvm_line_set(void *opaque, int gsi, int level);
void kvm_msi_send(void *opaque, uint64_t addr, uint32_t data, uint32_t rid);
int kvm_msi_bind(void *opaque, int fd, uint64_t addr, uint32_t data, uint32_t rid);
void kvm_msi_unbind(void *opaque, int fd, int handle);
void kvm_route_line(struct kvm *k, uint32_t gsi, uint32_t chip, uint32_t pin);
int kvm_routes_commit(struct kvm *k);
void kvm_route_msi(struct kvm *k, uint32_t gsi, uint64_t addr, uint32_t data); // instead of others
void kvm_routes_drop_below(struct kvm *k, uint32_t end);

// coalesced.c: writes to [at, at + size) may come late, though before any other access.
void kvm_coalesce(struct kvm *k, gpa_t at, uint32_t size);
void kvm_coalesced_vcpu_new(struct kvm_vcpu *v);
void kvm_coalesced_serve(struct kvm_vcpu *v); // those that have been gathered
static inline bool kvm_coalesced_any(const struct kvm *k)
{
    const struct kvm_coalesced_mmio_ring *r = k->gathered;
    return r && r->first != __atomic_load_n(&r->last, __ATOMIC_ACQUIRE);
}

// run.c: an access of any size up to 8; the vCPU's loop; its operations.
void kvm_access(struct kvm_vcpu *v, struct space_near *near, struct space *s, gpa_t at, uint8_t *p,
                unsigned n, bool write);
enum env_leave kvm_vcpu_run(struct accel *a, struct env *e);
void kvm_vcpu_kick(struct accel *a, struct env *e);
void kvm_vcpu_enter(struct accel *a, struct env *e);
void kvm_vcpu_sync(struct accel *a, struct env *e);
// Reports that the guest cannot go on, with the CPU's state. `host`: we or the kernel failed.
enum env_leave kvm_vcpu_failed(struct kvm_vcpu *v, bool host, const char *fmt, ...) PRINTF(3, 4);
// debug.c: breakpoints and stepping.
void kvm_debug_update(struct kvm_vcpu *v); // before entry
void kvm_debug_points(struct kvm *k);      // the list changed; vCPUs paused
bool kvm_debug_is_ours(struct kvm_vcpu *v, uint64_t pc);
void kvm_debug_hide(struct kvm_vcpu *v, gpa_t pa, uint8_t *bytes, size_t n);

// ---- per architecture ----

extern const char kvm_arch_isa[];
extern const unsigned kvm_arch_needs[]; // ends with KVM_FACTS_END
// k's machine exists, its CPUs do not yet; takes the options that are the architecture's.
int kvm_arch_open(struct kvm *k, struct opts *o, struct err *e);
void kvm_arch_close(struct kvm *k); // also after a failed open
// Lines and message target of the controllers in the kernel.
int kvm_arch_lines(struct kvm *k, struct accel_irqchip *out, struct err *e);
int kvm_arch_vcpu_config(struct kvm_vcpu *v, struct isa_config *c, struct err *e); // before init
int kvm_arch_vcpu_new(struct kvm_vcpu *v, struct err *e); // after the ISA's init
void kvm_arch_vcpu_free(struct kvm_vcpu *v);
void kvm_arch_pull(struct kvm_vcpu *v);                      // kernel to env
int kvm_arch_push(struct kvm_vcpu *v, struct err *e);        // env to kernel, what changed
bool kvm_arch_exit(struct kvm_vcpu *v, enum env_leave *why); // false: not one of ours
// An exit for the debugger: true when it is for gdb, false when the guest has it back.
bool kvm_arch_debug_exit(struct kvm_vcpu *v);
// Fills the debug request: step, and the n addresses for the hardware to compare.
void kvm_arch_debug_request(struct kvm_vcpu *v, struct kvm_guest_debug *d, bool step,
                            const uint64_t *points, unsigned n);
extern const uint8_t kvm_arch_break_insn[4];
extern const unsigned kvm_arch_break_len;
bool kvm_arch_at_breakpoint(struct kvm_vcpu *v); // its next instruction is one of ours
bool kvm_arch_stepping(struct kvm_vcpu *v);      // the debugger steps this CPU
unsigned kvm_arch_hw_points(const struct kvm *k);
void kvm_arch_describe(struct kvm_vcpu *v, struct buf *out);      // one line of state
void kvm_arch_resumed(struct kvm *k);                             // guest clocks go on
void kvm_arch_reset(struct kvm *k);                               // controllers as after power-up
int kvm_arch_save(struct kvm *k, struct buf *out, struct err *e); // them as bytes
int kvm_arch_load(struct kvm *k, struct reader *r, struct err *e);
