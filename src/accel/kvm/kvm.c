// Guests in the kernel's KVM: opening it, the operations of the accelerator, and what its files
// share. A vCPU is a descriptor; its thread lives in run.c.
#include "accel/kvm/kvm.h"
#include "base/hostmem.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int r;
    do
        r = ioctl(fd, request, arg);
    while (r < 0 && errno == EINTR);
    return r;
}

int kvm_ioctl_n(int fd, unsigned long request, unsigned long arg)
{
    return kvm_ioctl(fd, request, (void *)arg);
}

bool kvm_has(const struct kvm *k, unsigned capability)
{
    return capability < KVM_FACTS_CAPS && k->facts.caps[capability] > 0;
}

int kvm_enable(struct kvm *k, unsigned capability, uint64_t arg0, uint64_t arg1)
{
    struct kvm_enable_cap c = {.cap = capability, .args = {arg0, arg1}};
    return kvm_ioctl(k->vm, KVM_ENABLE_CAP, &c);
}

// ---- opening ----

static const unsigned needs[] = {KVM_CAP_USER_MEMORY,    KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
                                 KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_SIGNAL_MSI,
                                 KVM_CAP_IRQ_ROUTING,    KVM_CAP_READONLY_MEM,
                                 KVM_FACTS_END};

static int parse_irqchip(struct kvm *k, struct opts *o, struct err *e)
{
    const char *s = opts_get(o, "kernel-irqchip");
    if (!s || !strcmp(s, "on"))
        k->irqchip = KVM_IRQCHIP_ON;
    else if (!strcmp(s, "split"))
        k->irqchip = KVM_IRQCHIP_SPLIT;
    else if (!strcmp(s, "off"))
        k->irqchip = KVM_IRQCHIP_OFF;
    else
        return err_set(e, "kernel-irqchip=%s: must be on, split or off", s);
    return 0;
}

static int parse(struct kvm *k, struct opts *o, struct err *e)
{
    static const char *const known[] = {"accel",
                                        "device",
                                        "dirty-ring-size",
                                        "kernel-irqchip",
                                        "max-slots",
                                        "honor-guest-pat",
                                        "kvm-shadow-mem",
                                        "notify-window",
                                        "notify-vmexit",
                                        "thread",
                                        NULL};
    uint64_t slots = 0;
    opts_get(o, "accel");
    for (unsigned i = 5; known[i]; i++) // taken for clients' sake
        opts_get(o, known[i]);
    if (opts_get_u64(o, "max-slots", &slots, e) || parse_irqchip(k, o, e))
        return -1;
    k->most_slots =
        k->facts.caps[KVM_CAP_NR_MEMSLOTS] > 0 ? (unsigned)k->facts.caps[KVM_CAP_NR_MEMSLOTS] : 32;
    if (slots) // may be more than the kernel speaks of: it says itself when there are no more
        k->most_slots = (unsigned)MIN(slots, (uint64_t)UINT16_MAX);
    return kvm_dirty_open(k, o, e) || opts_check_unused(o, "-accel kvm", known, e) ? -1 : 0;
}

static void kvm_print_help(struct buf *out)
{
    buf_printf(out,
               "kvm options:\n"
               "  device=path                 - KVM's node (default: " KVM_FACTS_DEVICE ")\n"
               "  dirty-ring-size=n           - pages written are logged in rings of n entries "
               "(default: 0, bitmaps)\n"
               "  kernel-irqchip=on|split|off - interrupt controllers in the kernel; split: the "
               "I/O APIC outside (default: on)\n"
               "  max-slots=n                 - memory slots used (default: as many as the kernel "
               "names)\n");
}

static int open_device(struct kvm *k, struct opts *o, struct err *e)
{
    const char *path = opts_get(o, "device");
    kvm_facts_gather(&k->facts, path ? path : KVM_FACTS_DEVICE, &k->dev);
    return kvm_facts_judge(&k->facts, needs, e) || kvm_facts_judge(&k->facts, kvm_arch_needs, e)
               ? -1
               : 0;
}

static void shut(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void kvm_close(struct accel *a)
{
    struct kvm *k = a->priv;
    kvm_bells_free(k);
    kvm_slots_free(k);
    kvm_arch_close(k);
    shut(k->vm);
    shut(k->dev);
    vec_free(&k->vcpus);
    vec_free(&k->routes);
    vec_free(&k->patches);
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->hold_lock);
    pthread_cond_destroy(&k->hold_changed);
    pthread_mutex_destroy(&k->routes_lock);
    pthread_mutex_destroy(&k->gathered_lock);
    free(k);
}

static int kvm_open(struct accel *a, struct opts *o, struct err *e)
{
    if (strcmp(a->isa->name, kvm_arch_isa))
        return err_set(e, "-accel kvm: this host runs %s guests, not %s", kvm_arch_isa,
                       a->isa->name);
    struct kvm *k = xalloc(sizeof *k);
    k->accel = a;
    k->dev = k->vm = -1;
    a->priv = k;
    list_init(&k->bells);
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->hold_lock, NULL);
    pthread_cond_init(&k->hold_changed, NULL);
    pthread_mutex_init(&k->routes_lock, NULL);
    pthread_mutex_init(&k->gathered_lock, NULL);
    int r = open_device(k, o, e);
    if (!r && (k->vm = kvm_ioctl_n(k->dev, KVM_CREATE_VM, 0)) < 0)
        r = errno == EBUSY
                ? err_set(e, "another hypervisor holds the host's virtualization; end it first")
                : err_errno(e, errno, "KVM_CREATE_VM");
    if (!r && a->max_vcpus > (unsigned)MAX(k->facts.caps[KVM_CAP_MAX_VCPUS], 1))
        r = err_set(e, "-smp %u: this host's KVM takes at most %d CPUs", a->max_vcpus,
                    k->facts.caps[KVM_CAP_MAX_VCPUS]);
    if (r || parse(k, o, e) || kvm_arch_open(k, o, e)) {
        kvm_close(a);
        return err_prefix(e, "-accel kvm");
    }
    return 0;
}

// ---- vCPUs ----

static void kvm_cpu_free(struct accel *a, struct env *e)
{
    struct kvm_vcpu *v = kvm_vcpu_of(e);
    struct kvm *k = v->kvm;
    for (size_t i = 0; i < k->vcpus.len; i++)
        if (k->vcpus.data[i] == v)
            vec_remove(&k->vcpus, i);
    kvm_dirty_vcpu_free(v);
    kvm_arch_vcpu_free(v);
    if (v->run)
        munmap(v->run, (size_t)k->facts.run_size);
    shut(v->fd);
    if (a->isa->exit)
        a->isa->exit(e);
    free(v);
}

static int peek(struct env *e, gva_t va, void *dst, size_t n)
{
    struct kvm_vcpu *v = kvm_vcpu_of(e);
    struct kvm_translation t = {.linear_address = va};
    gpa_t pa = va;
    if (!kvm_ioctl(v->fd, KVM_TRANSLATE, &t)) {
        if (!t.valid)
            return -1;
        pa = t.physical_address;
    }
    if (dma_read(v->kvm->accel->memory, pa, dst, n))
        return -1;
    kvm_debug_hide(v, pa, dst, n);
    return 0;
}

static int poke(struct env *e, gva_t va, const void *src, size_t n)
{
    struct kvm_vcpu *v = kvm_vcpu_of(e);
    struct kvm_translation t = {.linear_address = va};
    gpa_t pa = va;
    if (!kvm_ioctl(v->fd, KVM_TRANSLATE, &t)) {
        if (!t.valid)
            return -1;
        pa = t.physical_address;
    }
    return dma_write(v->kvm->accel->memory, pa, src, n);
}

static void nothing_cached(struct env *e, const struct env_flush *f, bool broadcast) {}
static void no_context(struct env *e, unsigned mmu, uint64_t ctx) {}
static void nothing(struct env *e) {}
static const struct env_exec_ops exec = {
    .peek = peek,
    .poke = poke,
    .flush = nothing_cached,
    .set_context = no_context,
    .sync = nothing,
    .fp_sync = nothing,
    .fp_changed = nothing,
};

static int create_vcpu(struct kvm_vcpu *v, struct err *e)
{
    struct kvm *k = v->kvm;
    v->fd = kvm_ioctl_n(k->vm, KVM_CREATE_VCPU, v->id);
    if (v->fd < 0)
        return err_errno(e, errno, "KVM_CREATE_VCPU %u", v->id);
    v->run = mmap(NULL, (size_t)k->facts.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (v->run == MAP_FAILED) {
        v->run = NULL;
        return err_errno(e, errno, "mapping of a vCPU");
    }
    return 0;
}

static struct env *kvm_cpu_new(struct accel *a, const struct isa_config *c, struct err *e)
{
    struct kvm *k = a->priv;
    size_t size = (KVM_VCPU_SIZE + a->isa->cpu_size + 63) & ~(size_t)63;
    struct kvm_vcpu *v = aligned_alloc(64, size);
    if (!v)
        host_out_of_memory(size);
    memset(v, 0, size);
    v->kvm = k;
    v->fd = -1;
    v->config = *c;
    v->id = (uint32_t)c->hw_id;
    kvm_env(v)->exec = &exec;
    if (kvm_arch_vcpu_config(v, &v->config, e) || create_vcpu(v, e) ||
        a->isa->init(kvm_env(v), &v->config, e) || kvm_arch_vcpu_new(v, e)) {
        kvm_cpu_free(a, kvm_env(v));
        err_prefix(e, "-accel kvm");
        return NULL;
    }
    kvm_dirty_vcpu_new(v);
    kvm_coalesced_vcpu_new(v);
    vec_push(&k->vcpus, v);
    if (k->vcpus.len == 1) // from now on listeners tell
        kvm_slots_update(k);
    return kvm_env(v);
}

// ---- notices ----

static void keep_clock(struct kvm *k)
{
    k->clock_kept = kvm_has(k, KVM_CAP_ADJUST_CLOCK) && !kvm_ioctl(k->vm, KVM_GET_CLOCK, &k->clock);
}

static void resumed(struct kvm *k)
{
    if (k->clock_kept) {
        struct kvm_clock_data c = {.clock = k->clock.clock};
        kvm_ioctl(k->vm, KVM_SET_CLOCK, &c);
    }
    k->clock_kept = false;
    kvm_arch_resumed(k);
}

static void kvm_notice(struct accel *a, enum accel_notice what)
{
    struct kvm *k = a->priv;
    switch (what) {
    case ACCEL_MEMORY:
        kvm_slots_update(k);
        kvm_bells_update(k);
        break;
    case ACCEL_CODE:
        kvm_debug_points(k);
        break;
    case ACCEL_PAUSED:
        keep_clock(k);
        break;
    case ACCEL_RESET:
        kvm_arch_reset(k);
        break;
    case ACCEL_RESUMED:
        resumed(k);
        break;
    }
}

static int kvm_irqchip(struct accel *a, struct accel_irqchip *out, struct err *e)
{
    return kvm_arch_lines(a->priv, out, e);
}

// The guest's clock, then the controllers.
static int kvm_save(struct accel *a, struct buf *out, struct err *e)
{
    struct kvm *k = a->priv;
    buf_u8(out, k->clock_kept);
    buf_le64(out, k->clock.clock);
    return kvm_arch_save(k, out, e);
}

static int kvm_load(struct accel *a, struct reader *r, struct err *e)
{
    struct kvm *k = a->priv;
    k->clock_kept = rd_u8(r) && kvm_has(k, KVM_CAP_ADJUST_CLOCK);
    k->clock = (struct kvm_clock_data){.clock = rd_le64(r)};
    return kvm_arch_load(k, r, e);
}

static void kvm_print(struct accel *a, struct buf *out)
{
    static const char *const names[KVM_COUNTS] = {
        [KVM_COUNT_PORT] = "port",
        [KVM_COUNT_REGISTER] = "register",
        [KVM_COUNT_KICK] = "kicked",
        [KVM_COUNT_OTHER] = "other",
        [KVM_COUNT_GATHERED] = "gathered writes (no exit)",
    };
    struct kvm *k = a->priv;
    for (size_t i = 0; i < k->vcpus.len; i++) {
        struct kvm_vcpu *v = k->vcpus.data[i];
        buf_printf(out, "exits of CPU %u:", kvm_env(v)->cpu_index);
        for (unsigned c = 0; c < KVM_COUNTS; c++)
            buf_printf(out, "%s %s %" PRIu64, c ? "," : "", names[c],
                       __atomic_load_n(&v->counts[c], __ATOMIC_RELAXED));
        buf_printf(out, "\n");
    }
}

const struct accel_ops accel_kvm = {
    .name = "kvm",
    .desc = "the host kernel's virtual machines",
    .print_help = kvm_print_help,
    .open = kvm_open,
    .close = kvm_close,
    .cpu_new = kvm_cpu_new,
    .cpu_free = kvm_cpu_free,
    .thread_enter = kvm_vcpu_enter,
    .run = kvm_vcpu_run,
    .kick = kvm_vcpu_kick,
    .notice = kvm_notice,
    .sync = kvm_vcpu_sync,
    .irqchip = kvm_irqchip,
    .save = kvm_save,
    .load = kvm_load,
    .print = kvm_print,
};
