// Model-specific registers: those that the kernel names and our table has. A register that it
// then refuses to read or to write (older kernels and nested hosts name more than they serve) is
// left alone from then on, with one warning for all.
#include "accel/kvm/x86.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MTRR_FIRST = 0x200, MTRR_LAST = 0x2ff, TSC_DEADLINE = 0x6e0 };

struct batch {
    struct kvm_msrs head;
    struct kvm_msr_entry entries[X86_MSRS_MAX];
};

static void keep(struct kvm_x86 *x, uint32_t index)
{
    for (unsigned i = 0; i < x->n_msrs; i++)
        if (x->msrs[i] == index)
            return;
    if (x86_msr_find(index) && x->n_msrs < X86_MSRS_MAX)
        x->msrs[x->n_msrs++] = index;
}

// Every kernel has the memory type range registers; only newer ones name them.
static void keep_memory_types(struct kvm_x86 *x)
{
    for (uint32_t index = MTRR_FIRST; index <= MTRR_LAST; index++)
        keep(x, index);
}

void kvm_x86_msrs_open(struct kvm *k)
{
    struct kvm_x86 *x = kvm_x86(k);
    struct {
        struct kvm_msr_list head;
        uint32_t index[1024];
    } *list = xalloc(sizeof *list);
    list->head.nmsrs = 1024;
    if (!kvm_ioctl(k->dev, KVM_GET_MSR_INDEX_LIST, list))
        for (unsigned i = 0; i < list->head.nmsrs; i++)
            keep(x, list->index[i]);
    free(list);
    keep_memory_types(x);
}

static void drop(struct kvm *k, uint32_t index, const char *what, bool *warned)
{
    struct kvm_x86 *x = kvm_x86(k);
    for (unsigned i = 0; i < x->n_msrs; i++)
        if (x->msrs[i] == index) {
            memmove(&x->msrs[i], &x->msrs[i + 1], (--x->n_msrs - i) * sizeof x->msrs[0]);
            break;
        }
    const struct x86_msr *m = x86_msr_find(index);
    if (!*warned)
        log_warn("-accel kvm: the kernel does not let us %s MSR 0x%x (%s); it is left alone", what,
                 index, m ? m->name : "?");
    *warned = true;
}

static bool kept(const struct kvm *k, uint32_t index)
{
    const struct kvm_x86 *x = kvm_x86(k);
    for (unsigned i = 0; i < x->n_msrs; i++)
        if (x->msrs[i] == index)
            return true;
    return false;
}

// KVM_GET_MSRS stops at the first that fails and says how many there were before.
void kvm_x86_msrs_pull(struct kvm_vcpu *v)
{
    struct kvm *k = v->kvm;
    struct kvm_x86 *x = kvm_x86(k);
    struct x86_state *s = &kvm_x86_cpu(v)->s;
    struct batch b = {0};
    for (unsigned done = 0; done < s->n_msrs;) {
        unsigned n = 0;
        for (unsigned i = done; i < s->n_msrs; i++)
            b.entries[n++].index = s->msrs[i].index;
        b.head.nmsrs = n;
        int got = kvm_ioctl(v->fd, KVM_GET_MSRS, &b);
        for (int i = 0; i < got; i++)
            s->msrs[done + (unsigned)i].value = b.entries[i].data;
        done += got > 0 ? (unsigned)got : 0;
        if (done < s->n_msrs) {
            mutex_lock(&k->lock);
            drop(k, s->msrs[done].index, "read", &x->warned_get);
            mutex_unlock(&k->lock);
            memmove(&s->msrs[done], &s->msrs[done + 1], (--s->n_msrs - done) * sizeof s->msrs[0]);
        }
    }
}

void kvm_x86_msrs_init(struct kvm_vcpu *v)
{
    struct kvm *k = v->kvm;
    struct x86_state *s = &kvm_x86_cpu(v)->s;
    mutex_lock(&k->lock);
    s->n_msrs = kvm_x86(k)->n_msrs;
    for (unsigned i = 0; i < s->n_msrs; i++)
        s->msrs[i] = (struct x86_msr_value){.index = kvm_x86(k)->msrs[i]};
    mutex_unlock(&k->lock);
}

static bool changed(const struct x86_state *s, const struct x86_state *old, unsigned i)
{
    for (unsigned j = 0; old && j < old->n_msrs; j++)
        if (old->msrs[j].index == s->msrs[i].index)
            return old->msrs[j].value != s->msrs[i].value;
    return true;
}

void kvm_x86_msrs_push(struct kvm_vcpu *v, const struct x86_state *old)
{
    struct kvm *k = v->kvm;
    const struct x86_state *s = &kvm_x86_cpu(v)->s;
    struct batch b = {0};
    unsigned n = 0;
    mutex_lock(&k->lock);
    for (unsigned i = 0; i < s->n_msrs; i++)
        if (changed(s, old, i) && kept(k, s->msrs[i].index))
            b.entries[n++] =
                (struct kvm_msr_entry){.index = s->msrs[i].index, .data = s->msrs[i].value};
    for (unsigned at = 0; at < n;) {
        b.head.nmsrs = n - at;
        memmove(b.entries, b.entries + at, (n - at) * sizeof b.entries[0]);
        n -= at;
        at = 0;
        int put = kvm_ioctl(v->fd, KVM_SET_MSRS, &b);
        at = put > 0 ? (unsigned)put : 0;
        if (at < n)
            drop(k, b.entries[at++].index, "write", &kvm_x86(k)->warned_set);
    }
    mutex_unlock(&k->lock);
}

void kvm_x86_deadline_push(struct kvm_vcpu *v)
{
    const uint64_t *deadline = x86_msr_value(&kvm_x86_cpu(v)->s, TSC_DEADLINE);
    struct batch b = {.head.nmsrs = 1, .entries[0] = {.index = TSC_DEADLINE}};
    if (!deadline || !*deadline)
        return;
    b.entries[0].data = *deadline;
    kvm_ioctl(v->fd, KVM_SET_MSRS, &b);
}
