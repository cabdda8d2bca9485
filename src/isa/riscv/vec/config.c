// vtype and vl: what they mean, and which instructions they leave undefined.
#include "isa/riscv/vec/vec.h"

enum { VILL_BIT = 63, MAX_SEW = 3 };

struct rv_vconfig rv_vconfig_of(uint64_t mode)
{
    unsigned lmul = bits(mode, RV_MODE_VLMUL + 2, RV_MODE_VLMUL);
    unsigned size = bits(mode, RV_MODE_VBYTES + 3, RV_MODE_VBYTES);
    return (struct rv_vconfig){.vill = bit(mode, RV_MODE_VILL),
                               .sew = bits(mode, RV_MODE_VSEW + 1, RV_MODE_VSEW),
                               .lmul = lmul < 4 ? (int)lmul : (int)lmul - 8,
                               .start = bit(mode, RV_MODE_VSTART),
                               .rounding = bits(mode, RV_MODE_VXRM + 1, RV_MODE_VXRM),
                               .narrow = mode & RV_MODE_32,
                               .vl_bytes = size ? 1u << (size - 1) : 0};
}

uint64_t rv_vmode_with(uint64_t mode, unsigned vtype, uint64_t vl)
{
    unsigned sew = bits(vtype, 4, 3);
    uint64_t bytes = vl << sew, size = 0;
    if (bytes && !(bytes & (bytes - 1)))
        size = 1 + (unsigned)__builtin_ctzll(bytes);
    mode &= ~((uint64_t)RV_MODE_VECTOR);
    return mode | (uint64_t)sew << RV_MODE_VSEW | (uint64_t)(vtype & 7) << RV_MODE_VLMUL |
           size << RV_MODE_VBYTES;
}

uint64_t rv_vmode(const struct rv_cpu *c)
{
    uint64_t mode = (uint64_t)(c->vstart != 0) << RV_MODE_VSTART | (uint64_t)c->vxrm
                                                                       << RV_MODE_VXRM;
    if (c->vtype >> VILL_BIT)
        return mode | 1ull << RV_MODE_VILL;
    return rv_vmode_with(mode & ~(1ull << RV_MODE_VSTART), (unsigned)c->vtype, c->vl) |
           (mode & 1ull << RV_MODE_VSTART);
}

bool rv_vtype_ok(const struct rv_cpu *c, uint64_t vtype)
{
    unsigned sew = bits(vtype, 5, 3), lmul = vtype & 7;
    if (vtype >> 8 || sew > MAX_SEW || lmul == 4)
        return false;
    return lmul < 4 || (1u << MAX_SEW) >> (8 - lmul) >= 1u << sew; // SEW <= LMUL * ELEN
}

uint64_t rv_vlmax(const struct rv_cpu *c, uint64_t vtype)
{
    unsigned sew = bits(vtype, 4, 3), lmul = vtype & 7;
    uint64_t elements = c->vlenb >> sew;
    return lmul < 4 ? elements << lmul : elements >> (8 - lmul);
}

// rd in bits 4..0, rs1 in bits 9..5 (0xff << 5 where the AVL is given whatever the register).
void rv_vec_vset(struct env *e, uint32_t rd_rs1, uint64_t avl, uint64_t vtype)
{
    struct rv_cpu *c = rv_cpu(e);
    unsigned rd = rd_rs1 & 31;
    bool keep = !rd && !(rd_rs1 >> 5), most = rd && !(rd_rs1 >> 5);
    if (!rv_vtype_ok(c, vtype)) {
        c->vtype = 1ull << VILL_BIT;
        c->vl = 0;
    } else {
        uint64_t max = rv_vlmax(c, vtype);
        c->vl = most ? max : MIN(keep ? c->vl : avl, max);
        c->vtype = vtype;
    }
    c->vstart = 0;
    if (rd)
        c->x[rd] = c->vl;
}

// ---- what is reserved ----

struct group {
    unsigned reg;
    int emul, eew; // log2 of registers; log2 of bytes, -3: mask
};

static unsigned regs_of(int emul)
{
    return emul > 0 ? 1u << emul : 1;
}
static bool aligned(struct group g)
{
    return g.emul >= -3 && g.emul <= 3 && !(g.reg & (regs_of(g.emul) - 1));
}
static bool overlap(unsigned a, unsigned an, unsigned b, unsigned bn)
{
    return a < b + bn && b < a + an;
}
// May the destination lie where the source does?
static bool apart(struct group d, struct group s)
{
    unsigned dn = regs_of(d.emul), sn = regs_of(s.emul);
    if (!overlap(d.reg, dn, s.reg, sn) || d.eew == s.eew)
        return true;
    if (d.eew < s.eew)
        return d.reg == s.reg;
    return s.emul >= 0 && d.reg + dn == s.reg + sn; // the highest part
}

static bool operands_defined(struct group d, struct group a, struct group b, bool has_b,
                             bool v0_mask)
{
    if (!aligned(d) || !aligned(a) || !apart(d, a))
        return false;
    if (has_b) {
        if (!aligned(b) || !apart(d, b))
            return false;
        if (a.eew != b.eew && overlap(a.reg, regs_of(a.emul), b.reg, regs_of(b.emul)))
            return false;
    }
    if (v0_mask && ((d.reg == 0 && d.eew != -3) || a.reg == 0 || (has_b && b.reg == 0)))
        return false;
    return true;
}

static bool arith_defined(const struct rv_insn *i, const struct rv_vconfig *v)
{
    const struct rv_vop *op = &rv_vops[i->id];
    unsigned vs1 = rv_vs1(i->raw), vs2 = rv_vs2(i->raw), vd = rv_vd(i->raw);
    int sew = (int)v->sew, lmul = v->lmul, wide = sew + 1;
    bool v0 = !rv_vm(i->raw), has_b = op->source == VSRC_V;
    struct group d = {vd, lmul, sew}, a = {vs2, lmul, sew}, b = {vs1, lmul, sew};
    switch (op->shape) {
    case VS_WIDE:
        d = (struct group){vd, lmul + 1, wide};
        if (op->flags & VF_SUM && (overlap(vd, regs_of(d.emul), vs2, regs_of(lmul)) ||
                                   (has_b && overlap(vd, regs_of(d.emul), vs1, regs_of(lmul)))))
            return false;
        break;
    case VS_WIDEW:
        d = (struct group){vd, lmul + 1, wide};
        a = (struct group){vs2, lmul + 1, wide};
        break;
    case VS_NARROW:
        a = (struct group){vs2, lmul + 1, wide};
        break;
    case VS_EXT2:
    case VS_EXT4:
    case VS_EXT8: {
        int less = op->shape - VS_EXT2 + 1;
        a = (struct group){vs2, lmul - less, sew - less};
        if (sew < less)
            return false;
        break;
    }
    case VS_MASK:
        d = (struct group){vd, 0, -3};
        break;
    case VS_RED:
    case VS_WRED:
        if (op->shape == VS_WRED && (wide > 3 || overlap(vs1, 1, vs2, regs_of(lmul))))
            return false;
        return aligned(a) && !v->start && !(v0 && (!vs1 || !vs2));
    default:
        break;
    }
    if ((op->shape == VS_WIDE || op->shape == VS_WIDEW || op->shape == VS_NARROW) && wide > 3)
        return false;
    if (op->flags & VF_CARRY) { // v0 is read as a mask; the result may not be v0 unless a mask
        if (v0 && op->shape != VS_MASK && vd == 0)
            return false;
        if (v0 && (vs2 == 0 || (has_b && vs1 == 0)))
            return false;
        v0 = false;
    }
    return operands_defined(d, a, b, has_b, v0);
}

static bool fp_defined(const struct rv_cpu *c, unsigned id, const struct rv_vconfig *v)
{
    bool half = rv_has(c, RV_FEAT_ZVFH), converts = rv_has(c, RV_FEAT_ZVFHMIN);
    if (rv_vops[id].flags & VF_INT_SIDE)
        return v->sew || half;
    if (v->sew == 1)
        return half || (converts && (id == RV_VFWCVT_F_F_V || id == RV_VFNCVT_F_F_W));
    return v->sew;
}

static bool special_defined(const struct rv_insn *i, const struct rv_vconfig *v)
{
    unsigned vs1 = rv_vs1(i->raw), vs2 = rv_vs2(i->raw), vd = rv_vd(i->raw);
    bool v0 = !rv_vm(i->raw);
    unsigned n = regs_of(v->lmul);
    struct group d = {vd, v->lmul, (int)v->sew}, a = {vs2, v->lmul, (int)v->sew};
    switch (i->id) {
    case RV_VMANDN_MM ... RV_VMXNOR_MM:
    case RV_VMV_X_S:
    case RV_VMV_S_X:
        return true;
    case RV_VFMV_F_S:
    case RV_VFMV_S_F:
        return true;
    case RV_VMV1R_V ... RV_VMV8R_V:
        return !((vd | vs2) & ((1u << (i->id - RV_VMV1R_V)) - 1));
    case RV_VCPOP_M:
    case RV_VFIRST_M:
        return !v->start;
    case RV_VMSBF_M:
    case RV_VMSOF_M:
    case RV_VMSIF_M:
        return !v->start && vd != vs2 && !(v0 && vd == 0);
    case RV_VIOTA_M:
        return !v->start && aligned(d) && !overlap(vd, n, vs2, 1) && !(v0 && vd == 0);
    case RV_VID_V:
        return aligned(d) && !(v0 && vd == 0);
    case RV_VSLIDEUP_VX:
    case RV_VSLIDEUP_VI:
    case RV_VSLIDE1UP_VX:
    case RV_VFSLIDE1UP_VF:
        return aligned(d) && aligned(a) && vd != vs2 && !(v0 && (vd == 0 || vs2 == 0));
    case RV_VRGATHER_VX:
    case RV_VRGATHER_VI:
        return aligned(d) && aligned(a) && vd != vs2 && !(v0 && (vd == 0 || vs2 == 0));
    case RV_VRGATHER_VV:
    case RV_VRGATHEREI16_VV: {
        int e16 = 1 - (int)v->sew + v->lmul;
        int emul = i->id == RV_VRGATHER_VV ? v->lmul : e16;
        struct group b = {vs1, emul, i->id == RV_VRGATHER_VV ? (int)v->sew : 1};
        return aligned(d) && aligned(a) && aligned(b) && !overlap(vd, n, vs2, n) &&
               !overlap(vd, n, vs1, regs_of(emul)) &&
               !(a.eew != b.eew && overlap(vs2, n, vs1, regs_of(emul))) &&
               !(v0 && (vd == 0 || vs2 == 0 || vs1 == 0));
    }
    case RV_VCOMPRESS_VM:
        return !v->start && aligned(d) && aligned(a) && vd != vs2 && !overlap(vd, n, vs1, 1) &&
               !overlap(vs2, n, vs1, 1);
    default: // slide down
        return aligned(d) && aligned(a) && !(v0 && (vd == 0 || vs2 == 0));
    }
}

static bool access_defined(const struct rv_insn *i, const struct rv_vconfig *v)
{
    static const uint8_t widths[8] = {0, 0, 0, 0, 0, 1, 2, 3};
    unsigned vd = rv_vd(i->raw), nf = 1 + (unsigned)bits(i->raw, 31, 29);
    unsigned mop = (unsigned)bits(i->raw, 27, 26);
    int width = widths[bits(i->raw, 14, 12)];
    bool v0 = !rv_vm(i->raw), load = !bit(i->raw, 5), indexed = mop & 1;
    if (i->id == RV_VLM_V || i->id == RV_VSM_V)
        return true;
    int emul = width - (int)v->sew + v->lmul;
    struct group data = {vd, indexed ? v->lmul : emul, indexed ? (int)v->sew : width};
    if (!aligned(data) || nf * regs_of(data.emul) > 8 || vd + nf * regs_of(data.emul) > 32)
        return false;
    if (v0 && load && vd == 0)
        return false;
    if (!load && v0 && vd == 0)
        return false;
    if (indexed) {
        struct group index = {rv_vs2(i->raw), emul, width};
        if (!aligned(index) || (v0 && index.reg == 0) || (v->narrow && index.eew == 3))
            return false;
        if (!load)
            return data.eew == index.eew ||
                   !overlap(vd, nf * regs_of(data.emul), index.reg, regs_of(index.emul));
        if (nf > 1)
            return !overlap(vd, nf * regs_of(data.emul), index.reg, regs_of(index.emul));
        return apart(data, index);
    }
    return true;
}

bool rv_vec_defined(const struct rv_cpu *c, const struct rv_insn *i, const struct rv_vconfig *v)
{
    const char *cls = rv_info[i->id].cls;
    const struct rv_vop *op = &rv_vops[i->id];
    unsigned whole = rv_vec_whole(i->id);
    if (whole)
        return !(rv_vd(i->raw) & (whole - 1));
    if (v->vill)
        return false;
    if (!strcmp(cls, "vec_load") || !strcmp(cls, "vec_store"))
        return access_defined(i, v);
    if (!strcmp(cls, "vec_crypto"))
        return rv_vec_crypto_defined(c, i, v);
    if (op->flags & VF_E64 && v->sew != 3)
        return false;
    if (op->flags & VF_FP && !fp_defined(c, i->id, v))
        return false;
    return op->shape ? arith_defined(i, v) : special_defined(i, v);
}
