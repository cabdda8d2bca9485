// The facts about a host's KVM: does the device open, which interface version, which capabilities,
// and what an operator can do about what is missing.
#include "accel/kvm/facts.h"
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct {
    unsigned cap;
    const char *name, *gives;
} caps[] = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "interrupt controllers in the kernel"},
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory that is ours"},
    {KVM_CAP_NR_MEMSLOTS, "KVM_CAP_NR_MEMSLOTS", "memory slots"},
    {KVM_CAP_COALESCED_MMIO, "KVM_CAP_COALESCED_MMIO", "register writes gathered in batches"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "several CPUs"},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS",
     "memory that goes away"},
    {KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS", "memory that moves"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", "routes from lines to controllers"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "interrupts by eventfd"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "kicks by eventfd"},
    {KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG", "gdb"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", "ROM"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "message interrupts"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "stopping a vCPU without a race"},
    {KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG", "registers by number"},
#ifdef __x86_64__
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "real mode on Intel"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "CPUID"},
    {KVM_CAP_PIT2, "KVM_CAP_PIT2", "a timer chip in the kernel"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "reset and gdb"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "debug registers"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "vector registers"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS", "vector registers"},
    {KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", "a guest clock that stops with the guest"},
    {KVM_CAP_KVMCLOCK_CTRL, "KVM_CAP_KVMCLOCK_CTRL", "pausing without lock-up warnings"},
    {KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER", "the guest's cheapest timer"},
    {KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", "kernel-irqchip=split"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH", "the fastest kicks"},
#endif
};

const char *kvm_cap_name(unsigned cap)
{
    for (unsigned i = 0; i < ARRAY_SIZE(caps); i++)
        if (caps[i].cap == cap)
            return caps[i].name;
    return NULL;
}

static int read_nested(void)
{
    static const char *const files[] = {"/sys/module/kvm_intel/parameters/nested",
                                        "/sys/module/kvm_amd/parameters/nested"};
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
        char c = 0;
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        ssize_t n = read(fd, &c, 1);
        close(fd);
        if (n == 1)
            return c == 'Y' || c == '1';
    }
    return -1;
}

void kvm_facts_gather(struct kvm_facts *f, const char *path, int *fd)
{
    *f = (struct kvm_facts){.path = path, .module_nested = -1};
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0) {
        f->open_error = errno;
        return;
    }
    f->api = ioctl(*fd, KVM_GET_API_VERSION, 0);
    if (f->api < 0) {
        f->api = -errno;
        return;
    }
    for (unsigned c = 0; c < KVM_FACTS_CAPS; c++)
        f->caps[c] = MAX(ioctl(*fd, KVM_CHECK_EXTENSION, (unsigned long)c), 0);
    f->run_size = ioctl(*fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    f->module_nested = read_nested();
}

int kvm_facts_judge(const struct kvm_facts *f, const unsigned *needs, struct err *e)
{
    switch (f->open_error) {
    case 0:
        break;
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return err_set(e,
                       "%s: there is no KVM here: load the kvm_intel or kvm_amd module, switch "
                       "virtualization on in the host's firmware, or pass the device into this "
                       "container",
                       f->path);
    case EACCES:
    case EPERM:
        return err_set(e,
                       "%s: permission denied: join the group that owns it (as a rule: usermod -aG "
                       "kvm USER, then log in again)",
                       f->path);
    default:
        return err_errno(e, f->open_error, "%s", f->path);
    }
    if (f->api < 0)
        return err_set(e, "%s: this is not a KVM device", f->path);
    if (f->api != KVM_API_VERSION)
        return err_set(e, "%s: the kernel speaks KVM version %d, not %d: it is too old", f->path,
                       f->api, KVM_API_VERSION);
    for (; *needs != KVM_FACTS_END; needs++)
        if (*needs < KVM_FACTS_CAPS && !f->caps[*needs]) {
            const char *name = kvm_cap_name(*needs);
            return err_set(e, "%s: the kernel lacks %s (number %u): use a newer one", f->path,
                           name ? name : "a capability", *needs);
        }
    if (f->run_size < (int)sizeof(struct kvm_run))
        return err_set(e, "%s: the kernel's KVM answers nonsense (mapping of %d bytes)", f->path,
                       f->run_size);
    return 0;
}

#ifdef __x86_64__
// Which of the MSRs that the kernel names it will not read, tried on a machine of our own.
static void try_msrs(struct kvm_facts *f, int fd)
{
    struct {
        struct kvm_msr_list head;
        uint32_t index[512];
    } list = {.head.nmsrs = 512};
    if (ioctl(fd, KVM_GET_MSR_INDEX_LIST, &list))
        return;
    int vm = ioctl(fd, KVM_CREATE_VM, 0), cpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
    for (unsigned i = 0; cpu >= 0 && i < list.head.nmsrs; i++) {
        struct {
            struct kvm_msrs head;
            struct kvm_msr_entry entry;
        } one = {.head.nmsrs = 1, .entry.index = list.index[i]};
        f->n_msrs++;
        bool reads = ioctl(cpu, KVM_GET_MSRS, &one) == 1;
        if (reads && ioctl(cpu, KVM_SET_MSRS, &one) == 1)
            continue;
        if (f->n_msrs_refused < ARRAY_SIZE(f->refused))
            f->refused[f->n_msrs_refused] = list.index[i];
        f->n_msrs_refused++;
    }
    if (cpu >= 0)
        close(cpu);
    if (vm >= 0)
        close(vm);
}
#else
static void try_msrs(struct kvm_facts *f, int fd) {}
#endif

void kvm_facts_report(const char *path, struct buf *out)
{
    static const unsigned needs[] = {KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
                                     KVM_CAP_IMMEDIATE_EXIT, KVM_FACTS_END};
    struct kvm_facts f;
    struct err e = {0};
    int fd;
    kvm_facts_gather(&f, path ? path : KVM_FACTS_DEVICE, &fd);
    if (kvm_facts_judge(&f, needs, &e)) {
        buf_printf(out, "KVM cannot be used. %s\n", e.msg);
        if (fd >= 0)
            close(fd);
        return;
    }
    try_msrs(&f, fd);
    close(fd);
    buf_printf(out, "KVM can be used: %s, interface version %d, %d memory slots, %d CPUs.\n",
               f.path, f.api, f.caps[KVM_CAP_NR_MEMSLOTS], f.caps[KVM_CAP_MAX_VCPUS]);
    for (unsigned i = 0; i < ARRAY_SIZE(caps); i++)
        if (!f.caps[caps[i].cap])
            buf_printf(out, "  missing: %s (%s)\n", caps[i].name, caps[i].gives);
    if (f.n_msrs)
        buf_printf(out, "  %u model-specific registers, %u of them refused", f.n_msrs,
                   f.n_msrs_refused);
    for (unsigned i = 0; i < MIN(f.n_msrs_refused, (unsigned)ARRAY_SIZE(f.refused)); i++)
        buf_printf(out, "%s0x%x", i ? ", " : ": ", f.refused[i]);
    if (f.n_msrs)
        buf_printf(out, "%s\n", f.n_msrs_refused ? " (left alone)" : "");
    if (f.module_nested >= 0)
        buf_printf(out,
                   "  guests %s virtualization themselves (the kvm module's parameter nested)\n",
                   f.module_nested ? "can use" : "cannot use");
}
