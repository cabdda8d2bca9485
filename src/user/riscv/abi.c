// RISC-V Linux: registers at a system call, the rt_sigframe, faults, AT_HWCAP.
// Linux, arch/riscv/include/uapi/asm/{sigcontext.h,ucontext.h,hwcap.h} and the riscv signal frame.
#include "base/bits.h"
#include "base/buf.h"
#include "isa/riscv/riscv.h"
#include "user/calls.h"
#include "user/guest.h"

// Argument and result registers of the psABI.
enum { RA = 1, SP = 2, TP = 4, A0 = 10, A1 = 11, A2 = 12, A7 = 17 };

// ---- system calls ----

static uint64_t call_number(struct env *e)
{
    return rv_cpu(e)->x[A7];
}

static void call_args(struct env *e, uint64_t a[6])
{
    memcpy(a, rv_cpu(e)->x + A0, 6 * sizeof *a);
}

static void set_result(struct env *e, int64_t val)
{
    rv_cpu(e)->x[A0] = (uint64_t)val;
}

static void rewind_call(struct env *e, uint64_t number, uint64_t arg0)
{
    struct rv_cpu *c = rv_cpu(e);
    c->pc -= 4;
    c->x[A0] = arg0;
    c->x[A7] = number;
}

static const uint16_t numbers[CALLS_GENERIC] = {
#define NUMBER(name, number) [number] = 1 + CALL_##name,
#include "user/calls/numbers_generic.def"
    NUMBER(riscv_hwprobe, 258) NUMBER(riscv_flush_icache, 259)
#undef NUMBER
};

// ---- threads ----

static void start(struct env *e, uint64_t entry, uint64_t sp)
{
    struct rv_cpu *c = rv_cpu(e);
    c->x[SP] = sp;
    c->pc = entry;
}

static uint32_t get_fcsr(struct rv_cpu *c)
{
    uint64_t v = 0;
    rv_csr_read(c, RV_CSR_FCSR, &v);
    return (uint32_t)v;
}

static void copy_vectors(struct rv_cpu *to, const struct rv_cpu *from)
{
    memcpy(to->v, from->v, sizeof to->v);
    to->vl = from->vl;
    to->vtype = from->vtype;
    to->vstart = from->vstart;
    to->vxrm = from->vxrm;
    to->vxsat = from->vxsat;
}

static void child(struct env *to, const struct env *from, uint64_t sp, const uint64_t *tls)
{
    struct rv_cpu *c = rv_cpu(to);
    struct rv_cpu *p = rv_cpu((struct env *)(uintptr_t)from);
    if (c != p) {
        memcpy(c->x, p->x, sizeof c->x);
        memcpy(c->f, p->f, sizeof c->f);
        rv_csr_write(c, RV_CSR_FCSR, get_fcsr(p));
        copy_vectors(c, p);
        c->pc = p->pc;
    }
    if (sp)
        c->x[SP] = sp;
    if (tls)
        c->x[TP] = *tls;
    c->x[A0] = 0;
    to->monitor.addr = MONITOR_NONE;
}

static uint64_t get_sp(const struct env *e)
{
    return rv_cpu((struct env *)(uintptr_t)e)->x[SP];
}

// ---- signals ----

struct rt_frame {
    uint8_t info[128];
    struct {
        uint64_t flags, link;
        uint64_t stack_sp;
        int32_t stack_flags, stack_pad;
        uint64_t stack_size;
        uint64_t mask;
        uint8_t mask_rest[120];
        uint64_t pad_;
        uint64_t pc, x[31]; // x1..x31
        uint64_t f[32];
        uint32_t fcsr, padding[64], reserved;
        struct {
            uint32_t magic, size;
        } extension; // the first of a list, which zeros end
    } uc;
};
// What is behind the frame of a hart with vectors (struct __riscv_v_ext_state): this, the
// registers, and the list's end.
enum { VECTOR_MAGIC = 0x53465457 };
struct vector_context {
    uint64_t vstart, vl, vtype, vcsr, vlenb, data;
    uint8_t registers[]; // and two words of zero
};
_Static_assert(offsetof(struct rt_frame, uc.pc) == 128 + 176, "mcontext");
_Static_assert(offsetof(struct rt_frame, uc.extension) == 128 + 176 + 256 + 520, "extensions");

static size_t vector_size(const struct rv_cpu *c)
{
    return rv_has(c, RV_FEAT_V) ? sizeof(struct vector_context) + 32u * c->vlenb : 0;
}

static bool vectors_write(struct thread *t, uint64_t at)
{
    struct rv_cpu *c = rv_cpu(t->env);
    const uint64_t end = 0;
    struct vector_context v = {.vstart = c->vstart,
                               .vl = c->vl,
                               .vtype = c->vtype,
                               .vcsr = (uint64_t)c->vxrm << 1 | c->vxsat,
                               .vlenb = c->vlenb,
                               .data = at + sizeof v};
    size_t n = 32u * c->vlenb;
    return guest_write(t, at, &v, sizeof v) && guest_write(t, v.data, c->v, n) &&
           guest_write(t, v.data + n, &end, sizeof end);
}

static bool vectors_read(struct thread *t, uint64_t at)
{
    struct rv_cpu *c = rv_cpu(t->env);
    struct vector_context v;
    if (!guest_read(t, at, &v, sizeof v) || !guest_read(t, v.data, c->v, 32u * c->vlenb))
        return false;
    bool set = !(v.vtype >> 63) && rv_vtype_ok(c, v.vtype);
    c->vtype = set ? v.vtype : 1ull << 63;
    c->vl = set ? MIN(v.vl, rv_vlmax(c, v.vtype)) : 0;
    rv_csr_write(c, RV_CSR_VSTART, v.vstart);
    rv_csr_write(c, RV_CSR_VCSR, v.vcsr);
    return true;
}

static bool frame_write(struct thread *t, const struct signal_frame *s)
{
    struct rv_cpu *c = rv_cpu(t->env);
    size_t vectors = vector_size(c);
    uint64_t at = (s->sp - sizeof(struct rt_frame) - (vectors ? vectors + 8 : 0)) & ~15ull;
    struct rt_frame f = {0};
    memcpy(f.info, &s->info, sizeof f.info);
    f.uc.stack_sp = s->alt_sp;
    f.uc.stack_flags = s->alt_flags;
    f.uc.stack_size = s->alt_size;
    f.uc.mask = s->mask;
    f.uc.pc = c->pc;
    memcpy(f.uc.x, c->x + 1, sizeof f.uc.x);
    memcpy(f.uc.f, c->f, sizeof f.uc.f);
    f.uc.fcsr = get_fcsr(c);
    if (vectors) {
        f.uc.extension.magic = VECTOR_MAGIC;
        f.uc.extension.size = (uint32_t)(sizeof f.uc.extension + vectors);
    }
    if (!guest_write(t, at, &f, sizeof f) || (vectors && !vectors_write(t, at + sizeof f)))
        return false;
    c->x[RA] = s->restorer;
    c->x[SP] = at;
    c->x[A0] = (uint64_t)s->sig;
    c->x[A1] = at + offsetof(struct rt_frame, info);
    c->x[A2] = at + offsetof(struct rt_frame, uc);
    c->pc = s->handler;
    return true;
}

static bool frame_read(struct thread *t, uint64_t *mask, uint64_t *stack_addr)
{
    struct rv_cpu *c = rv_cpu(t->env);
    uint64_t at = c->x[SP];
    struct rt_frame f;
    if (!guest_read(t, at, &f, sizeof f) || f.uc.reserved)
        return false;
    bool vectors = f.uc.extension.magic == VECTOR_MAGIC && vector_size(c);
    if (vectors ? !vectors_read(t, at + sizeof f) : f.uc.extension.magic)
        return false;
    c->pc = f.uc.pc;
    memcpy(c->x + 1, f.uc.x, sizeof f.uc.x);
    memcpy(c->f, f.uc.f, sizeof c->f);
    rv_csr_write(c, RV_CSR_FCSR, f.uc.fcsr);
    t->env->monitor.addr = MONITOR_NONE;
    *mask = f.uc.mask;
    *stack_addr = at + offsetof(struct rt_frame, uc.stack_sp);
    return true;
}

static const uint32_t sigreturn_code[] = {
    0x08b00893, // li a7, __NR_rt_sigreturn: unwinders know this sequence
    0x00000073, // ecall
};

// ---- faults ----

static void fault(struct thread *t, struct guest_fault *out)
{
    const struct env_fault *f = &t->env->fault;
    uint32_t kind = f->kind & ~RV_FAULT_EXCEPTION; // 1 + the cause; 0: a fetch that was refused
    bool misaligned = kind == 1 + RV_CAUSE_FETCH_MISALIGNED ||
                      kind == 1 + RV_CAUSE_LOAD_MISALIGNED || kind == 1 + RV_CAUSE_STORE_MISALIGNED;
    guest_memory_fault(t, f, misaligned, out);
    if (kind != 1 + RV_CAUSE_ILLEGAL && kind != 1 + RV_CAUSE_BREAKPOINT)
        return;
    out->sig = kind == 1 + RV_CAUSE_ILLEGAL ? SIGILL : SIGTRAP;
    out->code = kind == 1 + RV_CAUSE_ILLEGAL ? ILL_ILLOPC : TRAP_BRKPT;
    out->addr = rv_cpu(t->env)->pc;
}

// ---- what the processor can do ----

static void hwcap(struct env *e, uint64_t *h, uint64_t *h2)
{
    static const struct {
        enum rv_feature feature;
        char letter;
    } caps[] = {{RV_FEAT_A, 'a'}, {RV_FEAT_C, 'c'}, {RV_FEAT_D, 'd'},
                {RV_FEAT_F, 'f'}, {RV_FEAT_M, 'm'}, {RV_FEAT_V, 'v'}};
    *h = 1u << ('i' - 'a');
    *h2 = 0;
    for (unsigned n = 0; n < ARRAY_SIZE(caps); n++)
        if (rv_has(rv_cpu(e), caps[n].feature))
            *h |= 1u << (caps[n].letter - 'a');
}

static void cpuinfo(struct env *e, struct buf *out)
{
    char isa[1024];
    rv_isa_string(rv_cpu(e), isa, sizeof isa);
    buf_printf(out, "hart\t\t: %u\nisa\t\t: %s\nmmu\t\t: sv48\n\n", e->cpu_index, isa);
}

static const struct flag_pair open_flags[] = {{0, 0}}; // all as in the generic ABI

const struct abi abi_riscv64 = {
    .isa = "riscv64",
    .machine = "riscv64",
    .platform = "riscv64",
    .libc_package = "libc6-riscv64-cross",
    .library_prefix = "/usr/riscv64-linux-gnu",
    .min_sigstack =
        sizeof(struct rt_frame) + sizeof(struct vector_context) + 32 * RV_VLENB_MAX + 32,
    .has_restorer = false,
    .numbers = numbers,
    .n_numbers = CALLS_GENERIC,
    .open_flags = open_flags,
    .sigreturn_code = sigreturn_code,
    .sigreturn_size = sizeof sigreturn_code,
    .hwcap = hwcap,
    .cpuinfo = cpuinfo,
    .call_number = call_number,
    .call_args = call_args,
    .set_result = set_result,
    .rewind = rewind_call,
    .start = start,
    .child = child,
    .sp = get_sp,
    .frame_write = frame_write,
    .frame_read = frame_read,
    .fault = fault,
};
