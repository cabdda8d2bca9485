// AArch64 Linux: registers at a system call, the rt_sigframe, faults, hwcaps.
// Linux, arch/arm64/include/uapi/asm/{sigcontext.h,hwcap.h,ucontext.h} and the arm64 signal frame.
// Not modelled: SVE and SME state, MTE.
#include "base/bits.h"
#include "base/buf.h"
#include "isa/arm/arm.h"
#include "user/guest.h"
#include "user/user.h"

#include <fcntl.h>

// ---- system calls ----

static uint64_t call_number(struct env *e)
{
    return (uint32_t)arm_cpu(e)->x[8];
}

static void call_args(struct env *e, uint64_t a[6])
{
    memcpy(a, arm_cpu(e)->x, 6 * sizeof *a);
}

static void set_result(struct env *e, int64_t val)
{
    arm_cpu(e)->x[0] = (uint64_t)val;
}

static void rewind_call(struct env *e, uint64_t number, uint64_t arg0)
{
    struct arm_cpu *c = arm_cpu(e);
    c->pc -= 4;
    c->x[0] = arg0;
    c->x[8] = number;
}

// ---- threads ----

static void start(struct env *e, uint64_t entry, uint64_t sp)
{
    struct arm_cpu *c = arm_cpu(e);
    e->isa->mode(e);
    c->sp = sp;
    c->pc = entry;
}

static void child(struct env *to, const struct env *from, uint64_t sp, const uint64_t *tls)
{
    struct arm_cpu *c = arm_cpu(to);
    const struct arm_cpu *p = arm_cpu((struct env *)(uintptr_t)from);
    memcpy(c->x, p->x, sizeof c->x);
    memcpy(c->v, p->v, sizeof c->v);
    c->qc = p->qc;
    c->pc = p->pc;
    c->sp = sp ? sp : p->sp;
    c->nzcv = p->nzcv;
    c->btype = p->btype;
    c->tpidr_el0 = tls ? *tls : p->tpidr_el0;
    memcpy(c->keys, p->keys, sizeof c->keys);
    c->tagged = p->tagged;
    arm_state_changed(c);
    c->x[0] = 0;
    to->monitor.addr = MONITOR_NONE;
}

static uint64_t get_sp(const struct env *e)
{
    return arm_cpu((struct env *)(uintptr_t)e)->sp;
}

static void fresh_keys(struct env *e, const uint64_t *random)
{
    memcpy(arm_cpu(e)->keys, random, sizeof arm_cpu(e)->keys);
}

// ---- signals ----

struct frame_context {
    uint32_t magic, size;
};
enum { FPSIMD_MAGIC = 0x46508001, ESR_MAGIC = 0x45535201 };
struct fpsimd_context {
    struct frame_context head;
    uint32_t fpsr, fpcr;
    uint8_t v[32][16];
};
struct esr_context {
    struct frame_context head;
    uint64_t esr;
};
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
        uint64_t fault_address, x[31], sp, pc, pstate;
        uint64_t pad2_;
        uint8_t reserved[4096];
    } uc;
};
struct frame_record {
    uint64_t fp, lr;
};
_Static_assert(offsetof(struct rt_frame, uc.fault_address) == 128 + 176, "mcontext");
_Static_assert(offsetof(struct rt_frame, uc.reserved) == 128 + 176 + 288, "reserved");

static uint32_t get_fp_reg(struct env *e, const struct isa *isa, const char *name)
{
    uint32_t val = 0;
    const struct isa_reg *r = guest_reg(isa, name);
    r->get(e, r, &val);
    return val;
}

static void set_fp_reg(struct env *e, const struct isa *isa, const char *name, uint32_t val)
{
    const struct isa_reg *r = guest_reg(isa, name);
    r->set(e, r, &val);
}

static void put_contexts(struct thread *t, struct rt_frame *f)
{
    struct arm_cpu *c = arm_cpu(t->env);
    struct fpsimd_context *fp = (struct fpsimd_context *)f->uc.reserved;
    fp->head = (struct frame_context){FPSIMD_MAGIC, sizeof *fp};
    fp->fpsr = get_fp_reg(t->env, t->u->isa, "fpsr");
    fp->fpcr = get_fp_reg(t->env, t->u->isa, "fpcr");
    memcpy(fp->v, c->v, sizeof fp->v);
    if (t->fault_esr) {
        struct esr_context *esr = (struct esr_context *)(fp + 1);
        *esr = (struct esr_context){{ESR_MAGIC, sizeof *esr}, t->fault_esr};
    }
}

static bool frame_write(struct thread *t, const struct signal_frame *s)
{
    struct arm_cpu *c = arm_cpu(t->env);
    uint64_t record_at = (s->sp - sizeof(struct frame_record)) & ~15ull;
    uint64_t at = (record_at - sizeof(struct rt_frame)) & ~15ull;
    struct frame_record record = {c->x[29], c->x[30]};
    struct rt_frame f = {0};
    memcpy(f.info, &s->info, sizeof f.info);
    f.uc.stack_sp = s->alt_sp;
    f.uc.stack_flags = s->alt_flags;
    f.uc.stack_size = s->alt_size;
    f.uc.mask = s->mask;
    f.uc.fault_address = t->fault_addr;
    memcpy(f.uc.x, c->x, sizeof f.uc.x);
    f.uc.sp = c->sp;
    f.uc.pc = c->pc;
    f.uc.pstate = arm_pstate(c) & 0xf0001c00u;
    put_contexts(t, &f);
    if (!guest_write(t, record_at, &record, sizeof record) || !guest_write(t, at, &f, sizeof f))
        return false;
    c->x[0] = (uint64_t)s->sig;
    if (s->flags & SA_SIGINFO) {
        c->x[1] = at + offsetof(struct rt_frame, info);
        c->x[2] = at + offsetof(struct rt_frame, uc);
    }
    c->x[29] = record_at;
    c->x[30] = s->restorer;
    c->sp = at;
    c->pc = s->handler;
    c->btype = 0;
    return true;
}

static bool get_contexts(struct thread *t, const struct rt_frame *f)
{
    struct arm_cpu *c = arm_cpu(t->env);
    const uint8_t *p = f->uc.reserved, *end = p + sizeof f->uc.reserved;
    bool have_fp = false;
    while ((size_t)(end - p) >= sizeof(struct frame_context)) {
        struct frame_context head;
        memcpy(&head, p, sizeof head);
        if (!head.magic)
            return have_fp;
        if (head.size < sizeof head || head.size & 15 || head.size > (size_t)(end - p))
            return false;
        if (head.magic == FPSIMD_MAGIC) {
            const struct fpsimd_context *fp = (const struct fpsimd_context *)p;
            if (head.size < sizeof *fp)
                return false;
            memcpy(c->v, fp->v, sizeof fp->v);
            set_fp_reg(t->env, t->u->isa, "fpcr", fp->fpcr);
            set_fp_reg(t->env, t->u->isa, "fpsr", fp->fpsr);
            have_fp = true;
        }
        p += head.size;
    }
    return false;
}

static bool frame_read(struct thread *t, uint64_t *mask, uint64_t *stack_addr)
{
    struct arm_cpu *c = arm_cpu(t->env);
    uint64_t at = c->sp;
    struct rt_frame f;
    if (at & 15 || !guest_read(t, at, &f, sizeof f) || !get_contexts(t, &f))
        return false;
    memcpy(c->x, f.uc.x, sizeof c->x);
    c->pc = f.uc.pc;
    c->nzcv = flags_pack(bit(f.uc.pstate, 31), bit(f.uc.pstate, 30), bit(f.uc.pstate, 29),
                         bit(f.uc.pstate, 28));
    c->btype = (uint32_t)bits(f.uc.pstate, 11, 10);
    c->sp = f.uc.sp;
    t->env->monitor.addr = MONITOR_NONE;
    *mask = f.uc.mask;
    *stack_addr = at + offsetof(struct rt_frame, uc.stack_sp);
    return true;
}

static const uint32_t sigreturn_code[] = {
    0xd2801168, // mov x8, #__NR_rt_sigreturn: unwinders know this sequence
    0xd4000001, // svc #0
};

// ---- faults ----

// Linux answers reads of the identification registers, and says so by HWCAP_CPUID.
static bool emulate_id_read(struct thread *t)
{
    struct arm_cpu *c = arm_cpu(t->env);
    uint32_t insn;
    if (!guest_read(t, c->pc, &insn, 4) || (insn & 0xfffff000) != 0xd5380000)
        return false;
    unsigned crm = bits(insn, 11, 8), op2 = bits(insn, 7, 5), rt = insn & 31;
    uint64_t val = 0;
    if (crm == 0)
        val = op2 == 0 ? c->midr : op2 == 5 ? 1ull << 31 : op2 == 6 ? c->revidr : 0;
    else if (crm == 4)
        val = op2 < 2 ? c->id_aa64pfr[op2] & (op2 ? 0xffull : 0xff000000ff0000ull) : 0;
    else if (crm == 6)
        val = op2 < 3 ? c->id_aa64isar[op2] : 0;
    else if (crm == 7)
        val = op2 == 2 ? c->id_aa64mmfr[2] & (0xfull << 32) : 0;
    if (rt != 31)
        c->x[rt] = val;
    c->pc += 4;
    return true;
}

static void exception(struct thread *t, uint64_t esr, struct guest_fault *out)
{
    struct arm_cpu *c = arm_cpu(t->env);
    out->sig = SIGILL;
    out->code = ILL_ILLOPC;
    out->addr = c->pc;
    switch (bits(esr, 31, 26)) {
    case EC_UNKNOWN:
    case EC_SYSREG:
        out->handled = emulate_id_read(t);
        break;
    case EC_BRK:
        out->sig = SIGTRAP;
        out->code = TRAP_BRKPT;
        break;
    case EC_PC_ALIGN:
    case EC_SP_ALIGN:
        out->sig = SIGBUS;
        out->code = BUS_ADRALN;
        out->addr = bits(esr, 31, 26) == EC_PC_ALIGN ? c->pc : c->sp;
        break;
    case EC_FPAC:
    case EC_BTI:
        out->code = ILL_ILLOPN;
        break;
    default:
        break;
    }
}

// The top byte of an address does not count. Programs that never use it pay nothing: from the first
// such access on, code of this thread is translated with addresses that are masked.
static bool tag_met(struct thread *t, const struct env_fault *f)
{
    struct arm_cpu *c = arm_cpu(t->env);
    if (!(f->va & ~IR_ADDRESS_BITS))
        return false;
    if (f->access == ENV_EXEC) {
        c->pc &= IR_ADDRESS_BITS;
        return true;
    }
    bool first = !c->tagged;
    c->tagged = true;
    arm_state_changed(c);
    return first;
}

static void fault(struct thread *t, struct guest_fault *out)
{
    enum { ALIGNMENT = 0x21, TRANSLATION = 7, PERMISSION = 15, WRITE = 1 << 6 };
    const struct env_fault *f = &t->env->fault;
    if (f->kind == ARM_FAULT_EXCEPTION) {
        exception(t, f->info[0], out);
        return;
    }
    if ((out->handled = tag_met(t, f)))
        return;
    guest_memory_fault(t, f, (f->kind & 0x3f) == ALIGNMENT, out);
    unsigned fsc = out->code == BUS_ADRALN && out->sig == SIGBUS ? ALIGNMENT
                   : out->code == SEGV_ACCERR                    ? PERMISSION
                                                                 : TRANSLATION;
    t->fault_addr = out->addr;
    t->fault_esr = f->access == ENV_EXEC
                       ? ESR_MAKE(EC_IABORT_LOWER, fsc)
                       : ESR_MAKE(EC_DABORT_LOWER, fsc | (f->access == ENV_WRITE ? WRITE : 0));
}

// ---- what the processor can do ----

struct cap {
    enum arm_feature feature;
    uint8_t bit;
    const char *name;
};
static const struct cap caps[] = {
    {ARM_FEAT_AES, 3, "aes"},          {ARM_FEAT_PMULL, 4, "pmull"},
    {ARM_FEAT_SHA1, 5, "sha1"},        {ARM_FEAT_SHA256, 6, "sha2"},
    {ARM_FEAT_CRC32, 7, "crc32"},      {ARM_FEAT_LSE, 8, "atomics"},
    {ARM_FEAT_FP16, 9, "fphp"},        {ARM_FEAT_FP16, 10, "asimdhp"},
    {ARM_FEAT_RDM, 12, "asimdrdm"},    {ARM_FEAT_JSCVT, 13, "jscvt"},
    {ARM_FEAT_FCMA, 14, "fcma"},       {ARM_FEAT_LRCPC, 15, "lrcpc"},
    {ARM_FEAT_DPB, 16, "dcpop"},       {ARM_FEAT_SHA3, 17, "sha3"},
    {ARM_FEAT_SM3, 18, "sm3"},         {ARM_FEAT_SM4, 19, "sm4"},
    {ARM_FEAT_DOTPROD, 20, "asimddp"}, {ARM_FEAT_SHA512, 21, "sha512"},
    {ARM_FEAT_FHM, 23, "asimdfhm"},    {ARM_FEAT_DIT, 24, "dit"},
    {ARM_FEAT_LSE2, 25, "uscat"},      {ARM_FEAT_LRCPC2, 26, "ilrcpc"},
    {ARM_FEAT_FLAGM, 27, "flagm"},     {ARM_FEAT_SSBS, 28, "ssbs"},
    {ARM_FEAT_SB, 29, "sb"},
};
static const struct cap caps2[] = {
    {ARM_FEAT_DPB2, 0, "dcpodp"}, {ARM_FEAT_FLAGM2, 7, "flagm2"}, {ARM_FEAT_FRINTTS, 8, "frint"},
    {ARM_FEAT_I8MM, 13, "i8mm"},  {ARM_FEAT_BF16, 14, "bf16"},    {ARM_FEAT_RNG, 16, "rng"},
};

static void hwcap(struct env *e, uint64_t *h, uint64_t *h2)
{
    const struct arm_cpu *c = arm_cpu(e);
    *h = 1 << 0 | 1 << 1 | 1 << 11; // fp asimd cpuid
    *h2 = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(caps); i++)
        if (arm_has(c, caps[i].feature))
            *h |= 1ull << caps[i].bit;
    if (bits(c->id_aa64isar[1], 11, 4))
        *h |= 1ull << 30; // paca
    if (bits(c->id_aa64isar[1], 31, 24))
        *h |= 1ull << 31; // pacg
    for (unsigned i = 0; i < ARRAY_SIZE(caps2); i++)
        if (arm_has(c, caps2[i].feature))
            *h2 |= 1ull << caps2[i].bit;
}

static void cpuinfo(struct env *e, struct buf *out)
{
    const struct arm_cpu *c = arm_cpu(e);
    buf_printf(out, "BogoMIPS\t: 100.00\nFeatures\t: fp asimd cpuid");
    for (unsigned i = 0; i < ARRAY_SIZE(caps); i++)
        if (arm_has(c, caps[i].feature))
            buf_printf(out, " %s", caps[i].name);
    for (unsigned i = 0; i < ARRAY_SIZE(caps2); i++)
        if (arm_has(c, caps2[i].feature))
            buf_printf(out, " %s", caps2[i].name);
    buf_printf(out,
               "\nCPU implementer\t: 0x%02x\nCPU architecture: 8\nCPU variant\t: 0x%x\n"
               "CPU part\t: 0x%03x\nCPU revision\t: %u\n\n",
               (unsigned)bits(c->midr, 31, 24), (unsigned)bits(c->midr, 23, 20),
               (unsigned)bits(c->midr, 15, 4), (unsigned)bits(c->midr, 3, 0));
}

static const struct flag_pair open_flags[] = {
    {040000, O_DIRECTORY},
    {0100000, O_NOFOLLOW},
    {0200000, O_DIRECT},
    {0400000, HOST_O_LARGEFILE},
    {0, 0},
};

const struct abi abi_aarch64 = {
    .isa = "aarch64",
    .machine = "aarch64",
    .platform = "aarch64",
    .libc_package = "libc6-arm64-cross",
    .library_prefix = "/usr/aarch64-linux-gnu",
    .data = {.long_size = 8, .most_align = 8},
    .tag_bits = ~IR_ADDRESS_BITS,
    .min_sigstack = sizeof(struct rt_frame) + sizeof(struct frame_record) + 16,
    .has_restorer = true,
    .watch_before = true,
    .numbers = calls_generic,
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
    .randomize = fresh_keys,
    .sp = get_sp,
    .frame_write = frame_write,
    .frame_read = frame_read,
    .fault = fault,
};
