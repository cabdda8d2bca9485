// The x86-64 processor as the rest of the program sees it: creation, reset and start states, the
// register table and gdb's description of it. Instructions are not translated: an accelerator
// whose host has this instruction set runs them.
#include "isa/x86/x86.h"
#include "base/host/disas.h"

#include <stdio.h>

enum { RFLAGS_ONE = 2, DR6_RESET = 0xffff0ff0, DR7_RESET = 0x400 };

// ---- life ----

static int cpu_init(struct env *e, const struct isa_config *cfg, struct err *err)
{
    struct x86_cpu *c = x86_cpu(e);
    e->isa = isa_x86_64.ops;
    e->cpu_index = cfg->index;
    c->config = *cfg;
    return x86_model_apply(c, cfg->model ? cfg->model : isa_x86_64.default_model, cfg->features,
                           err);
}

static struct x86_seg segment(uint16_t selector, uint64_t base, uint32_t limit, uint32_t rights)
{
    return (struct x86_seg){
        .selector = selector, .base = base, .limit = limit, .rights = rights | X86_SEG_P};
}

static void reset_segments(struct x86_sregs *s)
{
    enum { DATA = X86_SEG_S | 3, CODE = X86_SEG_S | 0xb, LDT = 2, BUSY_TSS = 0xb };
    for (unsigned i = X86_ES; i <= X86_GS; i++)
        s->seg[i] = segment(0, 0, 0xffff, DATA);
    s->seg[X86_CS] = segment(0xf000, 0xffff0000, 0xffff, CODE);
    s->seg[X86_LDTR] = segment(0, 0, 0xffff, LDT);
    s->seg[X86_TR] = segment(0, 0, 0xffff, BUSY_TSS);
    s->gdt_limit = s->idt_limit = 0xffff;
}

// x87 and SSE as after FINIT and with MXCSR's default, everything else in its initial state.
static void reset_xsave(uint8_t *x)
{
    memset(x, 0, X86_XSAVE_MAX);
    st_le16(x, 0x37f);
    st_le32(x + 24, 0x1f80);
}

// The local APIC after power-up (SDM volume 3, 11.4.7.1).
static void reset_lapic(uint8_t *l, uint32_t apic_id)
{
    enum { ID = 0x20, VERSION = 0x30, DFR = 0xe0, SVR = 0xf0, LVT = 0x320, LVT_ERROR = 0x370 };
    uint32_t version = ld_le32(l + VERSION);
    memset(l, 0, 1024);
    st_le32(l + ID, apic_id << 24);
    st_le32(l + VERSION, version);
    st_le32(l + DFR, 0xffffffff);
    st_le32(l + SVR, 0xff);
    for (unsigned at = LVT; at <= LVT_ERROR; at += 0x10)
        st_le32(l + at, 1 << 16);
}

static void reset_msrs(struct x86_state *s)
{
    for (unsigned i = 0; i < s->n_msrs; i++) {
        const struct x86_msr *m = x86_msr_find(s->msrs[i].index);
        if (m && !m->keeps)
            s->msrs[i].value = m->reset;
    }
}

// SDM volume 3, table 10-1.
static void cpu_reset(struct env *e)
{
    struct x86_cpu *c = x86_cpu(e);
    struct x86_state *s = &c->s;
    bool boot = c->config.index == 0;
    memset(&s->regs, 0, sizeof s->regs);
    memset(&s->sregs, 0, sizeof s->sregs);
    memset(&s->debug, 0, sizeof s->debug);
    memset(&s->events, 0, sizeof s->events);
    s->regs.rip = 0xfff0;
    s->regs.rflags = RFLAGS_ONE;
    const struct x86_cpuid *id = x86_cpuid_find(c->cpuid, c->n_cpuid, 1, 0);
    s->regs.gpr[X86_RDX] = id ? id->eax : 0;
    reset_segments(&s->sregs);
    s->sregs.cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
    s->sregs.apic_base = X86_APIC_BASE | X86_APIC_ENABLE | (boot ? X86_APIC_BSP : 0);
    s->debug.dr6 = DR6_RESET;
    s->debug.dr7 = DR7_RESET;
    s->xcr0 = 1;
    s->activity = boot ? X86_RUNNING : X86_WAIT_INIT;
    reset_xsave(s->xsave);
    reset_lapic(s->lapic, (uint32_t)c->config.hw_id);
    reset_msrs(s);
}

static void flat_segments(struct x86_sregs *s, bool long_mode)
{
    const uint32_t data = X86_SEG_S | 3 | X86_SEG_DB | X86_SEG_G;
    const uint32_t code = X86_SEG_S | 0xb | X86_SEG_G | (long_mode ? X86_SEG_L : X86_SEG_DB);
    for (unsigned i = X86_ES; i <= X86_GS; i++)
        s->seg[i] = segment(0x18, 0, 0xffffffff, data);
    s->seg[X86_CS] = segment(0x10, 0, 0xffffffff, code);
    s->seg[X86_TR] = segment(0x20, 0, 0xffff, 0xb);
    s->gdt_base = X86_BOOT_GDT;
    s->gdt_limit = 5 * 8 - 1;
    s->idt_limit = 0;
}

static void cpu_start(struct env *e, uint64_t entry, uint64_t arg, unsigned level)
{
    struct x86_state *s = &x86_cpu(e)->s;
    switch (level) {
    case X86_START_RESET:
    case X86_START_WAITING:
        return;
    case X86_START_REAL:
        s->sregs.seg[X86_CS].base = align_down(entry, 16);
        s->sregs.seg[X86_CS].selector = entry >> 4;
        s->regs.rip = entry & 15;
        return;
    case X86_START_PVH:
        s->regs.gpr[X86_RBX] = arg;
        s->sregs.cr0 = X86_CR0_PE | X86_CR0_ET;
        break;
    case X86_START_LINUX64:
        s->regs.gpr[X86_RSI] = arg;
        s->sregs.cr3 = X86_BOOT_TABLES;
        s->sregs.cr4 = X86_CR4_PAE;
        s->sregs.cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG;
        s->sregs.efer = X86_EFER_LME | X86_EFER_LMA;
        break;
    }
    flat_segments(&s->sregs, level == X86_START_LINUX64);
    s->regs.rip = entry;
}

static uint64_t get_pc(struct env *e)
{
    return x86_cpu(e)->s.regs.rip;
}
static void set_pc(struct env *e, uint64_t pc)
{
    x86_cpu(e)->s.regs.rip = pc;
}
static void debug_step(struct env *e, bool on)
{
    x86_cpu(e)->debug_step = on;
}
static struct irq no_line(struct env *e, unsigned n)
{
    return (struct irq){0};
}
static bool nothing_due(struct env *e)
{
    return false;
}
static const struct env_isa_ops ops = {.take_interrupt = nothing_due, .has_work = nothing_due};

uint32_t x86_apic_id(unsigned cores, unsigned threads, unsigned i)
{
    unsigned thread_bits = threads > 1 ? log2_floor(threads - 1) + 1 : 0;
    unsigned core_bits = cores > 1 ? log2_floor(cores - 1) + 1 : 0;
    unsigned core = i / threads % cores, socket = i / threads / cores;
    return (socket << core_bits | core) << thread_bits | i % threads;
}

// ---- registers ----

// A narrow word of the XSAVE area behind a 32-bit register: its offset, and its size above it.
static void get_word(struct env *e, const struct isa_reg *r, void *out)
{
    memset(out, 0, 4);
    memcpy(out, x86_cpu(e)->s.xsave + (r->arg & 0xffff), r->arg >> 16);
}
static void set_word(struct env *e, const struct isa_reg *r, const void *in)
{
    memcpy(x86_cpu(e)->s.xsave + (r->arg & 0xffff), in, r->arg >> 16);
}

#define ROW(n, b, g, grp, type, member)                                                            \
    {.name = n,                                                                                    \
     .bits = b,                                                                                    \
     .gdb = g,                                                                                     \
     .group = grp,                                                                                 \
     .get = isa_reg_get_field,                                                                     \
     .set = isa_reg_set_field,                                                                     \
     .arg = offsetof(struct x86_cpu, s.member)},
#define WORD(n, g, off, bytes)                                                                     \
    {.name = n,                                                                                    \
     .bits = 32,                                                                                   \
     .gdb = g,                                                                                     \
     .group = REG_FLOAT,                                                                           \
     .get = get_word,                                                                              \
     .set = set_word,                                                                              \
     .arg = (bytes) << 16 | (off)},
static const struct isa_reg regs[] = {
#define CORE(...)                 ROW(__VA_ARGS__)
#define SSE(...)                  ROW(__VA_ARGS__)
#define SEGMENT(...)              ROW(__VA_ARGS__)
#define SYSTEM(...)               ROW(__VA_ARGS__)
#define HIDDEN(n, b, grp, member) ROW(n, b, -1, grp, "", member)
#include "isa/x86/regs.def"
};

// ---- the table of this ISA ----

const struct isa isa_x86_64 = {
    .name = "x86_64",
    .elf_machine = 62, // EM_X86_64
    .elf64 = true,
    .cpu_size = sizeof(struct x86_cpu),
    .max_insn_bytes = 15,
    .models = x86_models,
    .default_model = "host",
    .regs = regs,
    .n_regs = ARRAY_SIZE(regs),
    .state = x86_state,
    .state_out = x86_state_out,
    .state_in = x86_state_in,
    .ops = &ops,
    .init = cpu_init,
    .reset = cpu_reset,
    .start = cpu_start,
    .disas = disas_x86,
    .line = no_line,
    .gdb_xml = x86_gdb_xml,
    .get_pc = get_pc,
    .set_pc = set_pc,
    .debug_step = debug_step,
};
