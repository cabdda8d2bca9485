// State of an x86-64 processor (Intel SDM volume 3, AMD APM volume 2) and what the files of this
// folder share: registers, model-specific registers, CPUID and models. Accelerators fill and read
// `struct x86_state`; boards use the start levels and APIC ids below.
#pragma once

#include "base/bits.h"
#include "isa/isa.h"

enum x86_gpr {
    X86_RAX,
    X86_RCX,
    X86_RDX,
    X86_RBX,
    X86_RSP,
    X86_RBP,
    X86_RSI,
    X86_RDI, // r8 to r15 follow
    X86_GPRS = 16,
};
enum x86_seg_id { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_LDTR, X86_TR, X86_SEGS };

// Access rights as bits 8 to 23 of a descriptor's second word, shifted down by 8.
enum {
    X86_SEG_TYPE = 0xf,
    X86_SEG_S = 1 << 4,
    X86_SEG_DPL_SHIFT = 5,
    X86_SEG_P = 1 << 7,
    X86_SEG_AVL = 1 << 12,
    X86_SEG_L = 1 << 13,
    X86_SEG_DB = 1 << 14,
    X86_SEG_G = 1 << 15,
    X86_SEG_UNUSABLE = 1 << 16,
};
struct x86_seg {
    uint64_t base;
    uint32_t limit, rights;
    uint64_t selector;
};

enum {
    X86_CR0_PE = 1 << 0,
    X86_CR0_ET = 1 << 4,
    X86_CR0_NE = 1 << 5,
    X86_CR0_NW = 1 << 29,
    X86_CR0_CD = 1 << 30,
    X86_CR4_PAE = 1 << 5,
    X86_EFER_LME = 1 << 8,
    X86_EFER_LMA = 1 << 10,
};
#define X86_CR0_PG      (1u << 31)
#define X86_APIC_BSP    (1u << 8)
#define X86_APIC_ENABLE (1u << 11)
#define X86_APIC_BASE   0xfee00000u

// An event that is on its way into the processor (SDM volume 3, chapter 6).
struct x86_events {
    uint8_t exception_injected, exception_pending, exception, exception_has_code;
    uint32_t exception_code;
    uint64_t exception_payload;
    uint8_t exception_has_payload;
    uint8_t interrupt_injected, interrupt, interrupt_soft, interrupt_shadow;
    uint8_t nmi_injected, nmi_pending, nmi_masked;
    uint32_t sipi_vector;
};

// What a processor does when it is not executing.
enum x86_activity { X86_RUNNING, X86_WAIT_INIT, X86_WAIT_SIPI, X86_HALTED };

#define X86_MSRS_MAX  256
#define X86_XSAVE_MAX 4096
struct x86_msr_value {
    uint32_t index;
    uint64_t value;
};

// Parts that are read and written together, so that an accelerator moves only what changed.
struct x86_state {
    struct x86_regs {
        uint64_t gpr[X86_GPRS], rip, rflags;
    } regs;
    struct x86_sregs {
        struct x86_seg seg[X86_SEGS];
        uint64_t gdt_base, idt_base;
        uint32_t gdt_limit, idt_limit;
        uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    } sregs;
    struct x86_debug {
        uint64_t dr[4], dr6, dr7;
    } debug;
    struct x86_events events;
    uint64_t xcr0;
    uint32_t activity;            // enum x86_activity
    uint8_t xsave[X86_XSAVE_MAX]; // standard format (SDM volume 1, 13.4)
    uint8_t lapic[1024];          // the local APIC's registers as at its page
    unsigned n_msrs;
    struct x86_msr_value msrs[X86_MSRS_MAX]; // in the accelerator's order
};

struct x86_cpuid {
    uint32_t leaf, subleaf;
    bool indexed; // the subleaf counts
    uint32_t eax, ebx, ecx, edx;
};
#define X86_CPUID_MAX 128

// What the processor under us can give: isa_config.host_cpu.
struct x86_host {
    struct x86_cpuid cpuid[X86_CPUID_MAX];
    unsigned n;
};

enum x86_feature {
#define FEATURE(sym, ...) X86_F_##sym,
#include "isa/x86/features.def"
#undef FEATURE
    X86_FEATURES,
};
// The CPUID registers that features live in.
enum x86_word {
    X86_1_EDX,
    X86_1_ECX,
    X86_6_EAX,
    X86_7_EBX,
    X86_7_ECX,
    X86_7_EDX,
    X86_7_1_EAX,
    X86_D_1_EAX,
    X86_KVM_EAX,
    X86_80000001_EDX,
    X86_80000001_ECX,
    X86_80000007_EDX,
    X86_80000008_EBX,
    X86_8000000A_EDX,
    X86_80000021_EAX,
    X86_WORDS,
};

struct x86_cpu {
    struct env env;
    struct x86_state s;
    struct x86_cpuid cpuid[X86_CPUID_MAX];
    unsigned n_cpuid;
    uint32_t words[X86_WORDS];       // features on
    bool debug_step;                 // the debugger steps this CPU
    uint32_t saved_words[X86_WORDS]; // state.c
    struct x86_msr_value saved_msrs[X86_MSRS_MAX];
    struct isa_config config;
};
static inline struct x86_cpu *x86_cpu(struct env *e)
{
    return (struct x86_cpu *)e;
}

// The `level` of isa.start.
enum x86_start {
    X86_START_RESET,   // at the reset vector; entry and arg are ignored
    X86_START_REAL,    // real mode, CS:IP for the linear address `entry` below 1 MiB
    X86_START_PVH,     // 32-bit protected mode, flat; EBX = arg (PVH boot protocol)
    X86_START_LINUX64, // long mode, flat, identity-mapped by X86_BOOT_TABLES; RSI = arg
    X86_START_WAITING, // an application processor: waits for INIT and SIPI
};
// Low memory that start levels refer to; the board's loader fills it.
enum { X86_BOOT_GDT = 0x500, X86_BOOT_TABLES = 0x9000 };

// APIC id of CPU i: threads, cores and sockets each in a bit field of their own.
uint32_t x86_apic_id(unsigned cores, unsigned threads, unsigned i);

extern const struct isa isa_x86_64;
extern const struct isa_model x86_models[];

const char *x86_gdb_xml(struct env *e, const char *annex); // gdb.c

// ---- state.c ----

extern const struct isa_state x86_state[];
void x86_state_out(struct env *e);
int x86_state_in(struct env *e, struct err *err);

// ---- model.c, cpuid.c ----

// The name of one of the features in these words; NULL: there is none.
const char *x86_feature_in(const uint32_t words[X86_WORDS]);

// -cpu: resolves the model and its properties into c->words and c->cpuid.
int x86_model_apply(struct x86_cpu *c, const char *name, struct opts *o, struct err *e);
// Where a word of features is read: false when the table has no such leaf.
bool x86_word_get(const struct x86_cpuid *t, unsigned n, enum x86_word w, uint32_t *v);
const struct x86_cpuid *x86_cpuid_find(const struct x86_cpuid *t, unsigned n, uint32_t leaf,
                                       uint32_t subleaf); // NULL: none
// Identity of a model, for x86_cpuid_build.
struct x86_identity {
    char vendor[13], brand[49]; // empty: the host's
    uint32_t signature;         // leaf 1 EAX; 0: the host's
    uint32_t level, xlevel;     // highest leaves; 0: the host's
};
// Fills c->cpuid from the host's table, the model's identity, c->words and the topology.
void x86_cpuid_build(struct x86_cpu *c, const struct x86_identity *id, const struct x86_host *h);

void x86_cpuid_hide_hypervisor(struct x86_cpu *c); // kvm=off

// ---- msr.c ----

struct x86_msr {
    uint32_t index;
    const char *name;
    uint64_t reset;
    bool keeps; // survives a reset
};
extern const struct x86_msr x86_msrs[];
extern const unsigned x86_n_msrs;
const struct x86_msr *x86_msr_find(uint32_t index);           // NULL: unknown
uint64_t *x86_msr_value(struct x86_state *s, uint32_t index); // NULL: not kept here
