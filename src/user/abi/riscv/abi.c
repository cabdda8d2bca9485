// RISC-V Linux, 64 and 32 bits: registers at a system call, the rt_sigframe, faults, AT_HWCAP.
// Linux, arch/riscv/include/uapi/asm/{sigcontext.h,ucontext.h,hwcap.h} and the riscv signal frame.
#include "base/bits.h"
#include "base/buf.h"
#include "isa/riscv/riscv.h"
#include "user/calls.h"
#include "user/guest.h"
#include "user/abi/layout_host.h"

// Argument and result registers of the psABI.
enum { RA = 1, SP = 2, TP = 4, A0 = 10, A1 = 11, A2 = 12, A7 = 17 };

// Registers of 32 bits are sign-extended in the CPU, and zero-extended for the rest of user mode.
static uint64_t get_x(const struct rv_cpu *c, unsigned n)
{
    return c->narrow ? (uint32_t)c->x[n] : c->x[n];
}

static void set_x(struct rv_cpu *c, unsigned n, uint64_t val)
{
    c->x[n] = c->narrow ? (uint64_t)(int32_t)val : val;
}

// ---- system calls ----

static uint64_t call_number(struct env *e)
{
    return get_x(rv_cpu(e), A7);
}

static void call_args(struct env *e, uint64_t a[6])
{
    for (unsigned i = 0; i < 6; i++)
        a[i] = get_x(rv_cpu(e), A0 + i);
}

static void set_result(struct env *e, int64_t val)
{
    set_x(rv_cpu(e), A0, (uint64_t)val);
}

static void rewind_call(struct env *e, uint64_t number, uint64_t arg0)
{
    struct rv_cpu *c = rv_cpu(e);
    c->pc -= 4;
    set_x(c, A0, arg0);
    set_x(c, A7, number);
}

#define NUMBER(name, number) [number] = 1 + CALL_##name,
#define OWN_NUMBERS          NUMBER(riscv_hwprobe, 258) NUMBER(riscv_flush_icache, 259)
static const uint16_t numbers64[CALLS_GENERIC] = {
#include "user/calls/numbers_generic.def"
#include "user/calls/numbers_generic64.def"
    OWN_NUMBERS};
static const uint16_t numbers32[CALLS_GENERIC] = {
#include "user/calls/numbers_generic.def"
#include "user/calls/numbers_generic32.def"
    OWN_NUMBERS};
#undef NUMBER

// ---- threads ----

static void start(struct env *e, uint64_t entry, uint64_t sp)
{
    struct rv_cpu *c = rv_cpu(e);
    set_x(c, SP, sp);
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
        set_x(c, SP, sp);
    if (tls)
        set_x(c, TP, *tls);
    c->x[A0] = 0;
    to->monitor.addr = MONITOR_NONE;
}

static uint64_t get_sp(const struct env *e)
{
    return get_x(rv_cpu((struct env *)(uintptr_t)e), SP);
}

// ---- signals ----

struct rt_fp {
    uint64_t f[32];
    uint32_t fcsr, padding[64], reserved;
    struct {
        uint32_t magic, size;
    } extension; // the first of a list, which zeros end
} __attribute__((aligned(16)));
// The frame by the size of a long; pc and x1 to x31 begin at a multiple of 16 bytes.
#define RT_FRAME(bits)                                                                             \
    struct rt_frame##bits {                                                                        \
        uint8_t info[128];                                                                         \
        struct {                                                                                   \
            uint##bits##_t flags, link, stack_sp;                                                  \
            int32_t stack_flags;                                                                   \
            uint##bits##_t stack_size, mask[64 / bits];                                            \
            uint8_t mask_rest[120];                                                                \
            uint##bits##_t pc __attribute__((aligned(16))), x[31];                                 \
            struct rt_fp fp;                                                                       \
        } uc;                                                                                      \
    }
RT_FRAME(64);
RT_FRAME(32);
struct frame_shape {
    size_t size, uc, stack, mask, pc, fp;
};
#define SHAPE(bits)                                                                                \
    {                                                                                              \
        sizeof(struct rt_frame##bits), offsetof(struct rt_frame##bits, uc),                        \
            offsetof(struct rt_frame##bits, uc.stack_sp),                                          \
            offsetof(struct rt_frame##bits, uc.mask), offsetof(struct rt_frame##bits, uc.pc),      \
            offsetof(struct rt_frame##bits, uc.fp)                                                 \
    }
static const struct frame_shape shapes[] = {SHAPE(64), SHAPE(32)};
enum { FRAME_MOST = sizeof(struct rt_frame64) };
_Static_assert(offsetof(struct rt_frame64, uc.pc) == 128 + 176, "mcontext");
_Static_assert(offsetof(struct rt_frame64, uc.fp.extension) == 128 + 176 + 256 + 520, "extensions");
_Static_assert(offsetof(struct rt_frame32, uc.pc) == 128 + 160, "mcontext");
_Static_assert(sizeof(struct rt_frame32) == 128 + 160 + 128 + 528, "frame");

// What is behind the frame of a hart with vectors (struct __riscv_v_ext_state): this, the
// registers, and the list's end.
enum { VECTOR_MAGIC = 0x53465457 };
struct vector_context {
    uint64_t vstart, vl, vtype, vcsr, vlenb, data;
    uint8_t registers[]; // and two words of zero
};

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
    const struct frame_shape *shape = &shapes[c->narrow];
    size_t vectors = vector_size(c);
    uint64_t at = (s->sp - shape->size - (vectors ? vectors + 8 : 0)) & ~15ull, x[32];
    uint8_t f[FRAME_MOST] = {0};
    struct rt_fp fp = {.fcsr = get_fcsr(c)};
    const struct host_stack stack = {s->alt_sp, s->alt_flags, s->alt_size};
    layout_pack(t->u, layout_of_siginfo(s->info.si_signo, s->info.si_code), f, &s->info);
    layout_pack(t->u, LAYOUT_stack, f + shape->stack, &stack);
    memcpy(f + shape->mask, &s->mask, sizeof s->mask);
    memcpy(x, c->x, sizeof x);
    x[0] = c->pc;
    words_pack(t->u, f + shape->pc, x, ARRAY_SIZE(x));
    memcpy(fp.f, c->f, sizeof fp.f);
    if (vectors) {
        fp.extension.magic = VECTOR_MAGIC;
        fp.extension.size = (uint32_t)(sizeof fp.extension + vectors);
    }
    memcpy(f + shape->fp, &fp, sizeof fp);
    if (!guest_write(t, at, f, shape->size) || (vectors && !vectors_write(t, at + shape->size)))
        return false;
    set_x(c, RA, s->restorer);
    set_x(c, SP, at);
    set_x(c, A0, (uint64_t)s->sig);
    set_x(c, A1, at);
    set_x(c, A2, at + shape->uc);
    c->pc = s->handler;
    return true;
}

static bool frame_read(struct thread *t, uint64_t *mask, uint64_t *stack_addr)
{
    struct rv_cpu *c = rv_cpu(t->env);
    const struct frame_shape *shape = &shapes[c->narrow];
    uint64_t at = get_x(c, SP), x[32];
    uint8_t f[FRAME_MOST];
    struct rt_fp fp;
    if (!guest_read(t, at, f, shape->size))
        return false;
    memcpy(&fp, f + shape->fp, sizeof fp);
    if (fp.reserved)
        return false;
    bool vectors = fp.extension.magic == VECTOR_MAGIC && vector_size(c);
    if (vectors ? !vectors_read(t, at + shape->size) : fp.extension.magic)
        return false;
    words_unpack(t->u, x, f + shape->pc, ARRAY_SIZE(x));
    c->pc = x[0];
    for (unsigned n = 1; n < ARRAY_SIZE(x); n++)
        set_x(c, n, x[n]);
    memcpy(c->f, fp.f, sizeof c->f);
    rv_csr_write(c, RV_CSR_FCSR, fp.fcsr);
    t->env->monitor.addr = MONITOR_NONE;
    memcpy(mask, f + shape->mask, sizeof *mask);
    *stack_addr = at + shape->stack;
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
    buf_printf(out, "hart\t\t: %u\nisa\t\t: %s\nmmu\t\t: %s\n\n", e->cpu_index, isa,
               rv_cpu(e)->rv32 ? "sv32" : "sv48");
}

static const struct flag_pair open_flags[] = {{0, 0}}; // all as in the generic ABI

#define RISCV_ABI(bits)                                                                            \
    .isa = "riscv" #bits, .machine = "riscv" #bits, .platform = "riscv" #bits,                     \
    .library_prefix = "/usr/riscv" #bits "-linux-gnu",                                             \
    .data = {.long_size = bits / 8, .most_align = 8}, .has_restorer = false,                       \
    .min_sigstack =                                                                                \
        sizeof(struct rt_frame##bits) + sizeof(struct vector_context) + 32 * RV_VLENB_MAX + 32,    \
    .numbers = numbers##bits, .n_numbers = CALLS_GENERIC, .open_flags = open_flags,                \
    .sigreturn_code = sigreturn_code, .sigreturn_size = sizeof sigreturn_code, .hwcap = hwcap,     \
    .cpuinfo = cpuinfo, .call_number = call_number, .call_args = call_args,                        \
    .set_result = set_result, .rewind = rewind_call, .start = start, .child = child, .sp = get_sp, \
    .frame_write = frame_write, .frame_read = frame_read, .fault = fault

const struct abi abi_riscv64 = {RISCV_ABI(64), .libc_package = "libc6-riscv64-cross"};
const struct abi abi_riscv32 = {RISCV_ABI(32), .space = 4 * GiB};
