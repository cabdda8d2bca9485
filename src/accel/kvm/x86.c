// KVM on x86-64 hosts: what the machine needs before its vCPUs (interrupt controllers, timer, task
// state segment, CPUID, MSRs), creation of vCPUs, exits of this architecture's own, debugging.
#include "accel/kvm/x86.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

const char kvm_arch_isa[] = "x86_64";
const unsigned kvm_arch_needs[] = {KVM_CAP_IRQCHIP,   KVM_CAP_SET_TSS_ADDR, KVM_CAP_EXT_CPUID,
                                   KVM_CAP_MP_STATE,  KVM_CAP_VCPU_EVENTS,  KVM_CAP_XSAVE,
                                   KVM_CAP_DEBUGREGS, KVM_CAP_XCRS,         KVM_FACTS_END};
const uint8_t kvm_arch_break_insn[4] = {0xcc};
const unsigned kvm_arch_break_len = 1;
enum { PIC_PINS = 8, IDENTITY_MAP = 0xfeffc000 };

// ---- the machine ----

static int supported_cpuid(struct kvm *k, struct err *e)
{
    struct x86_host *h = &kvm_x86(k)->host;
    struct kvm_cpuid2 *c = xalloc(sizeof *c + X86_CPUID_MAX * sizeof c->entries[0]);
    c->nent = X86_CPUID_MAX;
    if (kvm_ioctl(k->dev, KVM_GET_SUPPORTED_CPUID, c)) {
        int error = errno;
        free(c);
        return err_errno(e, error, "KVM_GET_SUPPORTED_CPUID");
    }
    h->n = c->nent;
    for (unsigned i = 0; i < h->n; i++) {
        const struct kvm_cpuid_entry2 *s = &c->entries[i];
        h->cpuid[i] = (struct x86_cpuid){
            .leaf = s->function,
            .subleaf = s->index,
            .indexed = s->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            .eax = s->eax,
            .ebx = s->ebx,
            .ecx = s->ecx,
            .edx = s->edx,
        };
        struct x86_cpuid *d = &h->cpuid[i];
        if (d->leaf == 1) { // what the kernel emulates but does not list
            d->ecx |= 1u << 31;
            if (k->irqchip != KVM_IRQCHIP_OFF && kvm_has(k, KVM_CAP_TSC_DEADLINE_TIMER))
                d->ecx |= 1u << 24;
            if (k->irqchip != KVM_IRQCHIP_OFF)
                d->ecx |= 1u << 21;
            d->edx |= 1u << 9;
        } else if (d->leaf == 6) {
            d->eax |= 1u << 2; // the APIC timer always runs
        } else if (d->leaf == 0x40000000) {
            d->eax = 0x40000001;
        }
    }
    free(c);
    return 0;
}

// Local APICs in the kernel, the I/O APIC here; no 8259 and no 8254.
static int split_irqchip(struct kvm *k, struct err *e)
{
    if (!kvm_has(k, KVM_CAP_SPLIT_IRQCHIP))
        return err_set(e, "kernel-irqchip=split: this kernel cannot; use kernel-irqchip=on");
    if (kvm_enable(k, KVM_CAP_SPLIT_IRQCHIP, KVM_IOAPIC_PINS, 0))
        return err_errno(e, errno, "kernel-irqchip=split");
    kvm_x86(k)->ioapic = kvm_ioapic_new(k);
    return 0;
}

static int make_irqchip(struct kvm *k, struct err *e)
{
    if (k->irqchip == KVM_IRQCHIP_OFF)
        return 0;
    if (k->irqchip == KVM_IRQCHIP_SPLIT)
        return split_irqchip(k, e);
    if (kvm_ioctl_n(k->vm, KVM_CREATE_IRQCHIP, 0))
        return err_errno(e, errno, "KVM_CREATE_IRQCHIP");
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    if (kvm_has(k, KVM_CAP_PIT2) && kvm_ioctl(k->vm, KVM_CREATE_PIT2, &pit))
        return err_errno(e, errno, "KVM_CREATE_PIT2");
    kvm_x86_chips_made(k);
    for (uint32_t i = 0; i < 2 * PIC_PINS; i++)
        kvm_route_line(k, i, i < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                       i % PIC_PINS);
    for (uint32_t i = 0; i < KVM_IOAPIC_PINS; i++) // the timer's line goes to pin 2
        if (i == 0)
            kvm_route_line(k, 0, KVM_IRQCHIP_IOAPIC, 2);
        else if (i != 2)
            kvm_route_line(k, i, KVM_IRQCHIP_IOAPIC, i);
    return kvm_routes_commit(k) ? err_errno(e, errno, "KVM_SET_GSI_ROUTING") : 0;
}

int kvm_arch_open(struct kvm *k, struct opts *o, struct err *e)
{
    uint64_t identity = IDENTITY_MAP;
    k->arch = xalloc(sizeof(struct kvm_x86));
    if (kvm_has(k, KVM_CAP_SET_IDENTITY_MAP_ADDR))
        kvm_ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    if (kvm_ioctl_n(k->vm, KVM_SET_TSS_ADDR, IDENTITY_MAP + 0x1000))
        return err_errno(e, errno, "KVM_SET_TSS_ADDR");
    if (supported_cpuid(k, e) || make_irqchip(k, e))
        return -1;
    if (kvm_has(k, KVM_CAP_X2APIC_API))
        kvm_enable(k, KVM_CAP_X2APIC_API,
                   KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK, 0);
    kvm_x86_msrs_open(k);
    return 0;
}

void kvm_arch_close(struct kvm *k)
{
    if (k->arch)
        kvm_ioapic_free(kvm_x86(k)->ioapic);
    free(k->arch);
}

int kvm_arch_lines(struct kvm *k, struct accel_irqchip *out, struct err *e)
{
    if (k->irqchip == KVM_IRQCHIP_OFF)
        return err_set(e, "kernel-irqchip=off: this machine needs the kernel's interrupt "
                          "controllers; use kernel-irqchip=on");
    *out = (struct accel_irqchip){
        .n_lines = KVM_IOAPIC_PINS,
        .msi = {.send = kvm_msi_send, .opaque = k, .bind = kvm_msi_bind, .unbind = kvm_msi_unbind},
    };
    for (int i = 0; i < KVM_IOAPIC_PINS; i++)
        out->line[i] = kvm_x86(k)->ioapic ? kvm_ioapic_line(kvm_x86(k)->ioapic, (unsigned)i)
                                          : (struct irq){kvm_line_set, k, i};
    return 0;
}

// Every vCPU: a guest that was paused is told, so that its watchdogs forgive the gap.
void kvm_arch_resumed(struct kvm *k)
{
    if (kvm_has(k, KVM_CAP_KVMCLOCK_CTRL))
        for (size_t i = 0; i < k->vcpus.len; i++)
            kvm_ioctl_n(k->vcpus.data[i]->fd, KVM_KVMCLOCK_CTRL, 0); // fails without kvmclock
}

// ---- vCPUs ----

int kvm_arch_vcpu_config(struct kvm_vcpu *v, struct isa_config *c, struct err *e)
{
    c->host_cpu = &kvm_x86(v->kvm)->host;
    v->arch = xalloc(sizeof(struct kvm_x86_vcpu));
    return 0;
}

int kvm_arch_vcpu_new(struct kvm_vcpu *v, struct err *e)
{
    struct x86_cpu *c = kvm_x86_cpu(v);
    struct kvm_cpuid2 *t = xalloc(sizeof *t + c->n_cpuid * sizeof t->entries[0]);
    t->nent = c->n_cpuid;
    for (unsigned i = 0; i < c->n_cpuid; i++) {
        const struct x86_cpuid *s = &c->cpuid[i];
        t->entries[i] = (struct kvm_cpuid_entry2){
            .function = s->leaf,
            .index = s->subleaf,
            .flags = s->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = s->eax,
            .ebx = s->ebx,
            .ecx = s->ecx,
            .edx = s->edx,
        };
    }
    int r = kvm_ioctl(v->fd, KVM_SET_CPUID2, t);
    int error = errno;
    free(t);
    if (r)
        return err_errno(e, error, "KVM_SET_CPUID2 (%u entries)", c->n_cpuid);
    kvm_x86_msrs_init(v);
    kvm_arch_pull(v);
    return 0;
}

void kvm_arch_vcpu_free(struct kvm_vcpu *v)
{
    free(v->arch);
}

// ---- exits ----

bool kvm_arch_exit(struct kvm_vcpu *v, enum env_leave *why)
{
    struct kvm_run *r = v->run;
    *why = LEAVE_AGAIN;
    switch (r->exit_reason) {
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR: // nobody here has such a register: the guest gets its fault
        log_guest("kvm msr", "%s of MSR 0x%x",
                  r->exit_reason == KVM_EXIT_X86_RDMSR ? "read" : "write", r->msr.index);
        r->msr.error = 1;
        v->unfinished = true;
        return true;
    case KVM_EXIT_IOAPIC_EOI:
        kvm_ioapic_eoi(kvm_x86(v->kvm)->ioapic, r->eoi.vector);
        return true;
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_TPR_ACCESS:
    case KVM_EXIT_X86_BUS_LOCK:
        return true;
    case KVM_EXIT_NOTIFY:
        *why = kvm_vcpu_failed(v, false, "the guest keeps the processor from taking interrupts");
        return true;
    default:
        return false;
    }
}

void kvm_arch_describe(struct kvm_vcpu *v, struct buf *out)
{
    struct kvm_regs r = {0};
    struct kvm_sregs s = {0};
    uint8_t code[15] = {0};
    kvm_ioctl(v->fd, KVM_GET_REGS, &r);
    kvm_ioctl(v->fd, KVM_GET_SREGS, &s);
    buf_printf(out,
               "cs:rip %04x:%016llx rflags %llx rax %llx rbx %llx rcx %llx rdx %llx rsi %llx rdi "
               "%llx rsp %llx rbp %llx cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx gdt %llx idt "
               "%llx code",
               s.cs.selector, r.rip, r.rflags, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp,
               r.rbp, s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.gdt.base, s.idt.base);
    unsigned n = 0;
    while (n < sizeof code &&
           !kvm_env(v)->exec->peek(kvm_env(v), s.cs.base + r.rip + n, &code[n], 1))
        buf_printf(out, " %02x", code[n++]);
    if (!n)
        buf_printf(out, " unreadable");
}

// ---- debugging ----

bool kvm_arch_at_breakpoint(struct kvm_vcpu *v)
{
    struct kvm_regs r;
    struct kvm_sregs s;
    return !kvm_ioctl(v->fd, KVM_GET_REGS, &r) && !kvm_ioctl(v->fd, KVM_GET_SREGS, &s) &&
           kvm_debug_is_ours(v, s.cs.base + r.rip);
}

bool kvm_arch_stepping(struct kvm_vcpu *v)
{
    return kvm_x86_cpu(v)->debug_step;
}

unsigned kvm_arch_hw_points(const struct kvm *k)
{
    return 4;
}

void kvm_arch_debug_request(struct kvm_vcpu *v, struct kvm_guest_debug *d, bool step,
                            const uint64_t *points, unsigned n)
{
    bool blocks = kvm_has(v->kvm, KVM_CAP_SET_GUEST_DEBUG2) &&
                  v->kvm->facts.caps[KVM_CAP_SET_GUEST_DEBUG2] & KVM_GUESTDBG_BLOCKIRQ;
    d->control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    if (step)
        d->control |= KVM_GUESTDBG_SINGLESTEP | (blocks ? KVM_GUESTDBG_BLOCKIRQ : 0);
    if (n)
        d->control |= KVM_GUESTDBG_USE_HW_BP;
    d->arch.debugreg[7] = 0x400;
    for (unsigned i = 0; i < n; i++) { // execution, one byte, global
        d->arch.debugreg[i] = points[i];
        d->arch.debugreg[7] |= 2ull << i * 2;
    }
}

bool kvm_arch_debug_exit(struct kvm_vcpu *v)
{
    enum { DB = 1, BP = 3, DR6_STEP = 1 << 14 };
    const struct kvm_debug_exit_arch *d = &v->run->debug.arch;
    if (d->exception == BP ? kvm_debug_is_ours(v, d->pc)
                           : d->dr6 & DR6_STEP || d->dr6 & 0xf || kvm_arch_stepping(v))
        return true;
    // The guest's own trap: it gets it.
    struct kvm_vcpu_events ev;
    if (kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &ev))
        return false;
    ev.exception.injected = 1;
    ev.exception.nr = (uint8_t)(d->exception ? d->exception : DB);
    ev.exception.has_error_code = 0;
    if (d->exception == BP) { // it returns behind the instruction
        struct kvm_regs r;
        if (!kvm_ioctl(v->fd, KVM_GET_REGS, &r)) {
            r.rip++;
            kvm_ioctl(v->fd, KVM_SET_REGS, &r);
        }
    }
    kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &ev);
    return false;
}
