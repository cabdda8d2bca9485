// Control and status registers by table (csrs.def): look-up, the rules that follow from a
// register's number, and the registers of user level (Zicsr, F, Zicntr). RISC-V Instruction Set
// Manual, volume II, chapter 2.
#include "isa/riscv/csr.h"
#include "isa/riscv/system/system.h"

// ---- floating point ----

// fflags, from bit 0: inexact, underflow, overflow, division by zero, invalid.
static const uint8_t flag_of[5] = {FP_INEXACT, FP_UNDERFLOW, FP_OVERFLOW, FP_DIVZERO, FP_INVALID};

RV_GET(fflags)
{
    uint64_t v = 0;
    c->env.exec->fp_sync(&c->env);
    for (unsigned i = 0; i < ARRAY_SIZE(flag_of); i++)
        v |= c->env.fp.flags & flag_of[i] ? 1u << i : 0;
    return v;
}

RV_SET(fflags)
{
    c->env.exec->fp_sync(&c->env);
    c->env.fp.flags = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(flag_of); i++)
        c->env.fp.flags |= v >> i & 1 ? flag_of[i] : 0;
    c->env.exec->fp_changed(&c->env);
    rv_fp_dirty(c);
}

RV_GET(frm)
{
    return c->frm;
}

RV_SET(frm)
{
    c->env.exec->fp_sync(&c->env);
    c->frm = v & 7;
    c->env.fp.rounding = c->frm <= FP_RMM ? c->frm : FP_RNE;
    c->env.exec->fp_changed(&c->env);
    rv_fp_dirty(c);
}

RV_GET(fcsr)
{
    return rv_get_fflags(c, n) | (uint64_t)c->frm << 5;
}

RV_SET(fcsr)
{
    rv_set_fflags(c, n, v);
    rv_set_frm(c, n, v >> 5);
}

RV_CHECK(fp)
{
    bool off = !(c->mstatus & RV_FS) || (c->virt && !(c->vsstatus & RV_FS));
    return off ? RV_ILLEGAL : RV_ALLOWED;
}

// ---- vectors ----

RV_GET(vstart)
{
    return c->vstart;
}

RV_SET(vstart)
{
    c->vstart = v & (8ull * c->vlenb - 1);
    rv_vec_dirty(c);
}

RV_GET(vxsat)
{
    return c->vxsat;
}

RV_SET(vxsat)
{
    c->vxsat = v & 1;
    rv_vec_dirty(c);
}

RV_GET(vxrm)
{
    return c->vxrm;
}

RV_SET(vxrm)
{
    c->vxrm = v & 3;
    rv_vec_dirty(c);
}

RV_GET(vcsr)
{
    return (uint64_t)c->vxrm << 1 | c->vxsat;
}

RV_SET(vcsr)
{
    rv_set_vxsat(c, n, v);
    rv_set_vxrm(c, n, v >> 1);
}

RV_GET(vlenb)
{
    return c->vlenb;
}

RV_CHECK(vector)
{
    bool off = !(c->mstatus & RV_VS) || (c->virt && !(c->vsstatus & RV_VS));
    return off ? RV_ILLEGAL : RV_ALLOWED;
}

// ---- the table ----

#define RV_FEAT_BASE  -1
#define rv_set_none   NULL
#define rv_check_none NULL
#define HEAD(num, nm, feat, chk)                                                                   \
    .number = num, .count = 1, .name = #nm, .feature = 1 + RV_FEAT_##feat, .check = rv_check_##chk
#define PLAIN(num, nm, feat, chk, field, m)                                                        \
    {HEAD(num, nm, feat, chk), .kind = RV_CSR_PLAIN, .offset = offsetof(struct rv_cpu, field),     \
     .mask = m},
#define BANKED(num, nm, feat, chk, field, m)                                                       \
    {HEAD(num, nm, feat, chk), .kind = RV_CSR_BANKED, .offset = offsetof(struct rv_cpu, s.field),  \
     .mask = m},
#define CODE(num, nm, feat, chk, k, field)                                                         \
    {HEAD(num, nm, feat, chk), .kind = RV_CSR_##k, .offset = offsetof(struct rv_cpu, field),       \
     .mask = ~1ull, .code = true},
#define CALL(num, nm, feat, chk, g, st)                                                            \
    {HEAD(num, nm, feat, chk), .kind = RV_CSR_CALL, .get = rv_get_##g, .set = rv_set_##st},
#define RUN(num, nm, feat, chk, n, g, st)                                                          \
    {.number = num,                                                                                \
     .count = n,                                                                                   \
     .name = #nm,                                                                                  \
     .feature = 1 + RV_FEAT_##feat,                                                                \
     .check = rv_check_##chk,                                                                      \
     .kind = RV_CSR_CALL,                                                                          \
     .get = rv_get_##g,                                                                            \
     .set = rv_set_##st},
#define HIGH(num, nm, feat, chk, n, low)                                                           \
    {.number = num,                                                                                \
     .count = n,                                                                                   \
     .name = #nm,                                                                                  \
     .feature = 1 + RV_FEAT_##feat,                                                                \
     .check = rv_check_##chk,                                                                      \
     .kind = RV_CSR_HIGH,                                                                          \
     .offset = low},
static const struct rv_csr csrs[] = {
#include "isa/riscv/csrs.def"
};

static const struct rv_csr *by_number(unsigned number)
{
    unsigned lo = 0, hi = ARRAY_SIZE(csrs);
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (number < csrs[mid].number)
            hi = mid;
        else if (number >= (unsigned)csrs[mid].number + csrs[mid].count)
            lo = mid + 1;
        else
            return &csrs[mid];
    }
    return NULL;
}

const struct rv_csr *rv_csr_find(const struct rv_cpu *c, unsigned number)
{
    const struct rv_csr *r = by_number(number);
    bool there = r && (!r->feature || rv_has(c, (enum rv_feature)(r->feature - 1)));
    if (there && r->kind == RV_CSR_HIGH && !c->narrow)
        return NULL;
    // A number of the hypervisor's range needs H, whatever else it belongs to.
    return there && (bits(number, 9, 8) != 2 || rv_has(c, RV_FEAT_H)) ? r : NULL;
}

const char *rv_csr_name(unsigned number)
{
    const struct rv_csr *r = by_number(number);
    return r && r->count == 1 ? r->name : NULL;
}

// What a virtual machine may not do is a virtual instruction if the supervisor of the machine could
// (with TVM clear), else an illegal one.
static enum rv_access beyond_guest(struct rv_cpu *c, const struct rv_csr *r, unsigned number)
{
    const uint64_t mstatus = c->mstatus;
    const uint8_t priv = c->priv;
    c->mstatus &= ~RV_TVM;
    c->priv = RV_S;
    c->virt = false;
    enum rv_access a = rv_aia_qualified(c, r, number);
    c->mstatus = mstatus;
    c->priv = priv;
    c->virt = true;
    return a == RV_ALLOWED ? RV_VIRTUAL : RV_ILLEGAL;
}

enum rv_access rv_csr_check(struct rv_cpu *c, const struct rv_csr *r, unsigned number, bool write)
{
    unsigned need = bits(number, 9, 8); // 2: HS, a supervisor outside a virtual machine
    if (write && bits(number, 11, 10) == 3)
        return RV_ILLEGAL;
    if (c->priv < RV_M) {
        if (need == RV_M)
            return RV_ILLEGAL;
        bool short_of = need > c->priv + (unsigned)(c->priv == RV_S && !c->virt);
        if (short_of)
            return c->virt ? beyond_guest(c, r, number) : RV_ILLEGAL;
    }
    return r->check ? r->check(c, number, write) : RV_ALLOWED;
}

unsigned rv_csr_offset(const struct rv_csr *r, bool virt)
{
    bool second = virt && r->kind == RV_CSR_BANKED;
    return r->offset + (second ? offsetof(struct rv_cpu, vs) - offsetof(struct rv_cpu, s) : 0);
}

static uint64_t get_wide(struct rv_cpu *c, const struct rv_csr *r, unsigned number)
{
    if (r->kind == RV_CSR_CALL)
        return r->get(c, number - r->number);
    return *(uint64_t *)((char *)c + rv_csr_offset(r, c->virt));
}

static void set_wide(struct rv_cpu *c, const struct rv_csr *r, unsigned number, uint64_t v)
{
    if (r->kind == RV_CSR_CALL) {
        if (r->set)
            r->set(c, number - r->number, v);
        return;
    }
    uint64_t *at = (uint64_t *)((char *)c + rv_csr_offset(r, c->virt));
    const uint64_t mask = r->code && !rv_has(c, RV_FEAT_C) ? ~3ull : r->mask;
    *at = (*at & ~r->mask) | (v & mask);
}

// ---- where XLEN is 32 ----

// Registers that are not the low half of their 64-bit form: the top bit, or fields, lie elsewhere.
enum form { FORM_LOW, FORM_TOP_BIT, FORM_SATP, FORM_HGATP };

static enum form form_of(unsigned number)
{
    switch (number) {
    case RV_CSR_SSTATUS:
    case RV_CSR_VSSTATUS:
    case RV_CSR_MSTATUS:
    case RV_CSR_SCAUSE:
    case RV_CSR_VSCAUSE:
    case RV_CSR_MCAUSE:
    case RV_CSR_VTYPE:
        return FORM_TOP_BIT;
    case RV_CSR_SATP:
    case RV_CSR_VSATP:
        return FORM_SATP;
    case RV_CSR_HGATP:
        return FORM_HGATP;
    default:
        return FORM_LOW;
    }
}

static uint64_t narrowed(unsigned number, uint64_t v)
{
    switch (form_of(number)) {
    case FORM_TOP_BIT:
        return (v & mask_low(31)) | v >> 63 << 31;
    case FORM_SATP:
        return bits(v, 60, 60) << 31 | bits(v, 52, 44) << 22 | bits(v, 21, 0);
    case FORM_HGATP:
        return bits(v, 60, 60) << 31 | bits(v, 50, 44) << 22 | bits(v, 21, 0);
    default:
        return (uint32_t)v;
    }
}

static uint64_t widened(unsigned number, uint64_t old, uint64_t v)
{
    switch (form_of(number)) {
    case FORM_TOP_BIT:
        return (old & mask_low(31) << 32) | bits(v, 31, 31) << 63 | bits(v, 30, 0);
    case FORM_SATP:
        return bits(v, 31, 31) << 60 | bits(v, 30, 22) << 44 | bits(v, 21, 0);
    case FORM_HGATP:
        return bits(v, 31, 31) << 60 | bits(v, 28, 22) << 44 | bits(v, 21, 0);
    default:
        return (old & mask_low(32) << 32) | (uint32_t)v;
    }
}

static const struct rv_csr *low_half(const struct rv_csr *r, unsigned number, unsigned *low)
{
    *low = r->offset + number - r->number;
    return by_number(*low);
}

uint64_t rv_csr_get(struct rv_cpu *c, const struct rv_csr *r, unsigned number)
{
    if (!c->narrow)
        return get_wide(c, r, number);
    if (r->kind != RV_CSR_HIGH)
        return narrowed(number, get_wide(c, r, number));
    r = low_half(r, number, &number);
    uint64_t v = get_wide(c, r, number);
    return v >> 32 & (form_of(number) == FORM_TOP_BIT ? mask_low(31) : mask_low(32));
}

// A half is written with the other as it is.
void rv_csr_set(struct rv_cpu *c, const struct rv_csr *r, unsigned number, uint64_t v)
{
    if (!c->narrow) {
        set_wide(c, r, number, v);
        return;
    }
    bool high = r->kind == RV_CSR_HIGH;
    if (high)
        r = low_half(r, number, &number);
    uint64_t old = get_wide(c, r, number);
    set_wide(c, r, number, high ? (uint32_t)old | v << 32 : widened(number, old, v));
}

bool rv_csr_read(struct rv_cpu *c, unsigned csr, uint64_t *v)
{
    const struct rv_csr *r = rv_csr_find(c, csr);
    if (r)
        *v = rv_csr_get(c, r, csr);
    return r;
}

bool rv_csr_write(struct rv_cpu *c, unsigned csr, uint64_t v)
{
    const struct rv_csr *r = rv_csr_find(c, csr);
    if (!r || bits(csr, 11, 10) == 3)
        return false;
    c->csr_access.touched = ~0ull;
    c->csr_access.has_old = false;
    rv_csr_set(c, r, csr, v);
    return true;
}
