// What the host's KVM can do, and whether that is enough: gathered once from the device, judged
// without it. For the accelerator, and for whoever tells the operator about the host.
#pragma once

#include "base/buf.h"
#include "base/err.h"

#define KVM_FACTS_DEVICE "/dev/kvm"
enum { KVM_FACTS_CAPS = 256 };

struct kvm_facts {
    const char *path;
    int open_error;           // errno, 0: it opened
    int api;                  // version, or minus errno
    int caps[KVM_FACTS_CAPS]; // by number: what KVM_CHECK_EXTENSION answers
    int run_size;
    int module_nested;               // the modules' `nested` parameter: 1, 0, or -1 not known
    unsigned n_msrs, n_msrs_refused; // that the kernel names; of those, that it will not read
    uint32_t refused[16];            // the first of them
};
// Opens the device and asks; the descriptor stays open in *fd (-1 when there is none).
void kvm_facts_gather(struct kvm_facts *f, const char *path, int *fd);
#define KVM_FACTS_END ~0u
// -1 and one line that says what to do when KVM cannot be used. `needs`: capabilities, ends with
// KVM_FACTS_END.
int kvm_facts_judge(const struct kvm_facts *f, const unsigned *needs, struct err *e);
// The same facts in plain words, several lines, for a report on the host. Makes a scratch machine
// to try the MSRs.
void kvm_facts_report(const char *path, struct buf *out);
const char *kvm_cap_name(unsigned cap); // "KVM_CAP_IRQCHIP"; NULL: not one we look at
