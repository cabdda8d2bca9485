// The state of an x86 vCPU between the kernel and `struct x86_state`. Reading takes everything;
// writing moves only the groups that differ from what was last read or written, in the order that
// the kernel wants: what decides about modes first, events and activity last.
#include "accel/kvm/x86.h"

#include <errno.h>
#include <stdlib.h>

static const uint8_t gpr_order[] = {X86_RAX, X86_RBX, X86_RCX, X86_RDX,
                                    X86_RSI, X86_RDI, X86_RSP, X86_RBP};

// ---- segments ----

static struct x86_seg from_segment(const struct kvm_segment *s)
{
    return (struct x86_seg){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .rights = s->type | (uint32_t)s->s << 4 | (uint32_t)s->dpl << 5 |
                  (uint32_t)s->present << 7 | (uint32_t)s->avl << 12 | (uint32_t)s->l << 13 |
                  (uint32_t)s->db << 14 | (uint32_t)s->g << 15 | (uint32_t)s->unusable << 16,
    };
}

static struct kvm_segment to_segment(const struct x86_seg *s)
{
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = (uint16_t)s->selector,
        .type = s->rights & X86_SEG_TYPE,
        .s = s->rights >> 4 & 1,
        .dpl = s->rights >> 5 & 3,
        .present = s->rights >> 7 & 1,
        .avl = s->rights >> 12 & 1,
        .l = s->rights >> 13 & 1,
        .db = s->rights >> 14 & 1,
        .g = s->rights >> 15 & 1,
        .unusable = s->rights >> 16 & 1,
    };
}

// The kernel's order of segments.
static struct kvm_segment *segment_at(struct kvm_sregs *s, unsigned i)
{
    struct kvm_segment *order[X86_SEGS] = {
        [X86_ES] = &s->es, [X86_CS] = &s->cs, [X86_SS] = &s->ss,    [X86_DS] = &s->ds,
        [X86_FS] = &s->fs, [X86_GS] = &s->gs, [X86_LDTR] = &s->ldt, [X86_TR] = &s->tr};
    return order[i];
}

// ---- one group each: from the kernel, to the kernel ----

static void pull_regs(struct kvm_vcpu *v, struct x86_regs *o)
{
    struct kvm_regs r = {0};
    kvm_ioctl(v->fd, KVM_GET_REGS, &r);
    for (unsigned i = 0; i < ARRAY_SIZE(gpr_order); i++)
        o->gpr[gpr_order[i]] = (&r.rax)[i];
    memcpy(o->gpr + 8, &r.r8, 8 * sizeof r.r8);
    o->rip = r.rip;
    o->rflags = r.rflags;
}

static int push_regs(struct kvm_vcpu *v, const struct x86_regs *o)
{
    struct kvm_regs r = {.rip = o->rip, .rflags = o->rflags};
    for (unsigned i = 0; i < ARRAY_SIZE(gpr_order); i++)
        (&r.rax)[i] = o->gpr[gpr_order[i]];
    memcpy(&r.r8, o->gpr + 8, 8 * sizeof r.r8);
    return kvm_ioctl(v->fd, KVM_SET_REGS, &r);
}

static void pull_sregs(struct kvm_vcpu *v, struct x86_sregs *o)
{
    struct kvm_sregs s = {0};
    kvm_ioctl(v->fd, KVM_GET_SREGS, &s);
    for (unsigned i = 0; i < X86_SEGS; i++)
        o->seg[i] = from_segment(segment_at(&s, i));
    o->gdt_base = s.gdt.base;
    o->gdt_limit = s.gdt.limit;
    o->idt_base = s.idt.base;
    o->idt_limit = s.idt.limit;
    o->cr0 = s.cr0;
    o->cr2 = s.cr2;
    o->cr3 = s.cr3;
    o->cr4 = s.cr4;
    o->cr8 = s.cr8;
    o->efer = s.efer;
    o->apic_base = s.apic_base;
}

static int push_sregs(struct kvm_vcpu *v, const struct x86_sregs *o)
{
    struct kvm_sregs s = {0};
    kvm_ioctl(v->fd, KVM_GET_SREGS, &s); // an interrupt on its way stays
    for (unsigned i = 0; i < X86_SEGS; i++)
        *segment_at(&s, i) = to_segment(&o->seg[i]);
    s.gdt = (struct kvm_dtable){.base = o->gdt_base, .limit = (uint16_t)o->gdt_limit};
    s.idt = (struct kvm_dtable){.base = o->idt_base, .limit = (uint16_t)o->idt_limit};
    s.cr0 = o->cr0;
    s.cr2 = o->cr2;
    s.cr3 = o->cr3;
    s.cr4 = o->cr4;
    s.cr8 = o->cr8;
    s.efer = o->efer;
    s.apic_base = o->apic_base;
    memset(s.interrupt_bitmap, 0, sizeof s.interrupt_bitmap); // events carry it
    return kvm_ioctl(v->fd, KVM_SET_SREGS, &s);
}

static void pull_debug(struct kvm_vcpu *v, struct x86_debug *o)
{
    struct kvm_debugregs d = {0};
    kvm_ioctl(v->fd, KVM_GET_DEBUGREGS, &d);
    for (unsigned i = 0; i < 4; i++)
        o->dr[i] = d.db[i];
    o->dr6 = d.dr6;
    o->dr7 = d.dr7;
}

static int push_debug(struct kvm_vcpu *v, const struct x86_debug *o)
{
    struct kvm_debugregs d = {.dr6 = o->dr6, .dr7 = o->dr7};
    for (unsigned i = 0; i < 4; i++)
        d.db[i] = o->dr[i];
    return kvm_ioctl(v->fd, KVM_SET_DEBUGREGS, &d);
}

static void pull_events(struct kvm_vcpu *v, struct x86_events *o)
{
    struct kvm_vcpu_events ev = {0};
    kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &ev);
    memset(o, 0, sizeof *o);
    o->exception_injected = ev.exception.injected;
    o->exception_pending = ev.exception.pending;
    o->exception = ev.exception.nr;
    o->exception_has_code = ev.exception.has_error_code;
    o->exception_code = ev.exception.error_code;
    o->interrupt_injected = ev.interrupt.injected;
    o->interrupt = ev.interrupt.nr;
    o->interrupt_soft = ev.interrupt.soft;
    o->interrupt_shadow = ev.interrupt.shadow;
    o->nmi_injected = ev.nmi.injected;
    o->nmi_pending = ev.nmi.pending;
    o->nmi_masked = ev.nmi.masked;
    o->sipi_vector = ev.sipi_vector;
}

static int push_events(struct kvm_vcpu *v, const struct x86_events *o)
{
    struct kvm_vcpu_events ev = {
        .exception = {.injected = o->exception_injected,
                      .nr = o->exception,
                      .has_error_code = o->exception_has_code,
                      .pending = o->exception_pending,
                      .error_code = o->exception_code},
        .interrupt = {.injected = o->interrupt_injected,
                      .nr = o->interrupt,
                      .soft = o->interrupt_soft,
                      .shadow = o->interrupt_shadow},
        .nmi = {.injected = o->nmi_injected, .pending = o->nmi_pending, .masked = o->nmi_masked},
        .sipi_vector = o->sipi_vector,
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
                 KVM_VCPUEVENT_VALID_SHADOW,
    };
    return kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &ev);
}

static const uint8_t activities[] = {[X86_RUNNING] = KVM_MP_STATE_RUNNABLE,
                                     [X86_WAIT_INIT] = KVM_MP_STATE_UNINITIALIZED,
                                     [X86_WAIT_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
                                     [X86_HALTED] = KVM_MP_STATE_HALTED};

static void pull_activity(struct kvm_vcpu *v, uint32_t *o)
{
    struct kvm_mp_state m = {0};
    kvm_ioctl(v->fd, KVM_GET_MP_STATE, &m);
    for (uint32_t i = 0; i < ARRAY_SIZE(activities); i++)
        if (activities[i] == m.mp_state)
            *o = i;
}

static int push_activity(struct kvm_vcpu *v, uint32_t activity)
{
    struct kvm_mp_state m = {.mp_state = activities[activity]};
    if (v->kvm->irqchip == KVM_IRQCHIP_OFF)
        m.mp_state = KVM_MP_STATE_RUNNABLE;
    return kvm_ioctl(v->fd, KVM_SET_MP_STATE, &m);
}

static bool has_xsave(const struct kvm *k)
{
    return kvm_has(k, KVM_CAP_XSAVE);
}

static void pull_xsave(struct kvm_vcpu *v, struct x86_state *s)
{
    struct kvm_xcrs x = {0};
    _Static_assert(sizeof(struct kvm_xsave) == X86_XSAVE_MAX, "one page");
    if (has_xsave(v->kvm))
        kvm_ioctl(v->fd, KVM_GET_XSAVE, s->xsave);
    if (!kvm_ioctl(v->fd, KVM_GET_XCRS, &x) && x.nr_xcrs)
        s->xcr0 = x.xcrs[0].value;
}

static int push_xcr0(struct kvm_vcpu *v, uint64_t value)
{
    struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = value}};
    const struct x86_cpu *c = kvm_x86_cpu(v);
    if (!(c->words[X86_1_ECX] >> 26 & 1))
        return 0;
    return kvm_ioctl(v->fd, KVM_SET_XCRS, &x);
}

// ---- all ----

void kvm_arch_pull(struct kvm_vcpu *v)
{
    struct kvm_x86_vcpu *a = v->arch;
    struct x86_state *s = &kvm_x86_cpu(v)->s;
    pull_activity(v, &s->activity); // first: it takes up an INIT or SIPI that has arrived
    pull_regs(v, &s->regs);
    pull_sregs(v, &s->sregs);
    pull_xsave(v, s);
    kvm_x86_msrs_pull(v);
    if (v->kvm->irqchip != KVM_IRQCHIP_OFF)
        kvm_ioctl(v->fd, KVM_GET_LAPIC, s->lapic);
    pull_debug(v, &s->debug);
    pull_events(v, &s->events);
    a->pulled = *s;
    a->valid = true;
}

#define DIFFERS(member) (memcmp(&s->member, &old->member, sizeof s->member) != 0)

int kvm_arch_push(struct kvm_vcpu *v, struct err *e)
{
    struct kvm_x86_vcpu *a = v->arch;
    struct x86_state *s = &kvm_x86_cpu(v)->s;
    const struct x86_state *old = &a->pulled;
    const char *failed = NULL;
    if (DIFFERS(sregs) && push_sregs(v, &s->sregs))
        failed = "KVM_SET_SREGS";
    if (DIFFERS(xcr0) && push_xcr0(v, s->xcr0))
        failed = "KVM_SET_XCRS";
    if (DIFFERS(xsave) && has_xsave(v->kvm) && kvm_ioctl(v->fd, KVM_SET_XSAVE, s->xsave))
        failed = "KVM_SET_XSAVE";
    kvm_x86_msrs_push(v, old);
    if (v->kvm->irqchip != KVM_IRQCHIP_OFF && DIFFERS(lapic) &&
        kvm_ioctl(v->fd, KVM_SET_LAPIC, s->lapic))
        failed = "KVM_SET_LAPIC";
    if (DIFFERS(lapic))
        kvm_x86_deadline_push(v);
    if (DIFFERS(activity) && push_activity(v, s->activity))
        failed = "KVM_SET_MP_STATE";
    if (DIFFERS(debug) && push_debug(v, &s->debug))
        failed = "KVM_SET_DEBUGREGS";
    if (DIFFERS(regs) && push_regs(v, &s->regs))
        failed = "KVM_SET_REGS";
    if (DIFFERS(events) && push_events(v, &s->events))
        failed = "KVM_SET_VCPU_EVENTS";
    if (failed)
        return err_errno(e, errno, "the kernel does not take a vCPU's state: %s", failed);
    a->pulled = *s;
    return 0;
}
