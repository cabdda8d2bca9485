// Element-wise vector instructions of integers and fixed point, and the loop that all element-wise
// instructions share.
#include "isa/riscv/vec/vec.h"

#include "isa/riscv/vec/fp.h"

#define ELEM(name) static uint64_t name(struct rv_vec *v, uint64_t a, uint64_t b, uint64_t d)
#define S(x)       ((int64_t)(x))
// Zero-extended from SEW.
#define U(x) ((x)&mask_low(v->bits))

// ---- integers ----

ELEM(add)
{
    return a + b;
}
ELEM(sub)
{
    return a - b;
}
ELEM(rsub)
{
    return b - a;
}
ELEM(min_signed)
{
    return S(a) < S(b) ? a : b;
}
ELEM(max_signed)
{
    return S(a) > S(b) ? a : b;
}
ELEM(min_unsigned)
{
    return a < b ? a : b;
}
ELEM(max_unsigned)
{
    return a > b ? a : b;
}
ELEM(and)
{
    return a & b;
}
ELEM(or)
{
    return a | b;
}
ELEM(xor)
{
    return a ^ b;
}
ELEM(shl)
{
    return a << (b & (v->bits - 1));
}
ELEM(shr)
{
    return U(a) >> (b & (v->bits - 1));
}
ELEM(sar)
{
    return (uint64_t)(S(a) >> (b & (v->bits - 1)));
}
ELEM(nshr)
{
    unsigned n = b & (2 * v->bits - 1);
    return (a & mask_low(2 * v->bits)) >> n;
}
ELEM(nsar)
{
    return (uint64_t)(S(a) >> (b & (2 * v->bits - 1)));
}
ELEM(adc)
{
    return a + b + v->carry;
}
ELEM(sbc)
{
    return a - b - v->carry;
}
ELEM(madc)
{
    return (uint64_t)(((unsigned __int128)U(a) + U(b) + v->carry) >> v->bits) & 1;
}
ELEM(msbc)
{
    return U(a) < U(b) || (v->carry && U(a) == U(b));
}
ELEM(merge)
{
    return v->carry ? b : a;
}
ELEM(move)
{
    return b;
}
ELEM(extend)
{
    return a;
}
ELEM(mseq)
{
    return a == b;
}
ELEM(msne)
{
    return a != b;
}
ELEM(msltu)
{
    return U(a) < U(b);
}
ELEM(mslt)
{
    return S(a) < S(b);
}
ELEM(msleu)
{
    return U(a) <= U(b);
}
ELEM(msle)
{
    return S(a) <= S(b);
}
ELEM(msgtu)
{
    return U(a) > U(b);
}
ELEM(msgt)
{
    return S(a) > S(b);
}
ELEM(mul)
{
    return a * b;
}
ELEM(mulh)
{
    return (uint64_t)(((__int128)S(a) * S(b)) >> v->bits);
}
ELEM(mulhu)
{
    return (uint64_t)(((unsigned __int128)U(a) * U(b)) >> v->bits);
}
ELEM(mulhsu)
{
    return (uint64_t)(((__int128)S(a) * (__int128)U(b)) >> v->bits);
}
ELEM(divu)
{
    return U(b) ? U(a) / U(b) : ~0ull;
}
ELEM(div)
{
    if (!b)
        return ~0ull;
    return b == ~0ull ? -a : (uint64_t)(S(a) / S(b));
}
ELEM(remu)
{
    return U(b) ? U(a) % U(b) : a;
}
ELEM(rem)
{
    if (!b)
        return a;
    return b == ~0ull ? 0 : (uint64_t)(S(a) % S(b));
}
ELEM(macc)
{
    return d + a * b;
}
ELEM(nmsac)
{
    return d - a * b;
}
ELEM(madd)
{
    return d * b + a;
}
ELEM(nmsub)
{
    return a - d * b;
}
ELEM(wmulsu) // vs2 signed
{
    return a * U(b);
}
ELEM(wmaccsu) // vs1 signed
{
    return d + U(a) * b;
}
ELEM(wmaccus) // rs1 unsigned
{
    return d + a * U(b);
}

// ---- fixed point ----

// What rounding adds to v >> n (vxrm).
static uint64_t round_up(const struct rv_vec *v, unsigned __int128 x, unsigned n)
{
    if (!n)
        return 0;
    bool half = x >> (n - 1) & 1, odd = x >> n & 1;
    bool below = n > 1 && (x & (((unsigned __int128)1 << (n - 1)) - 1));
    switch (v->c->vxrm) {
    case RV_VXRM_NEAREST_UP:
        return half;
    case RV_VXRM_NEAREST_EVEN:
        return half && (below || odd);
    case RV_VXRM_DOWN:
        return 0;
    default:
        return !odd && (half || below);
    }
}

static uint64_t saturate(struct rv_vec *v, __int128 x, __int128 lo, __int128 hi)
{
    if (x >= lo && x <= hi)
        return (uint64_t)x;
    v->saturated = true;
    return (uint64_t)(x < lo ? lo : hi);
}
static uint64_t saturate_signed(struct rv_vec *v, __int128 x)
{
    __int128 limit = (__int128)1 << (v->bits - 1);
    return saturate(v, x, -limit, limit - 1);
}
static uint64_t saturate_unsigned(struct rv_vec *v, __int128 x)
{
    return saturate(v, x, 0, (__int128)mask_low(v->bits));
}

ELEM(saddu)
{
    return saturate_unsigned(v, (__int128)U(a) + U(b));
}
ELEM(sadd)
{
    return saturate_signed(v, (__int128)S(a) + S(b));
}
ELEM(ssubu)
{
    return saturate_unsigned(v, (__int128)U(a) - U(b));
}
ELEM(ssub)
{
    return saturate_signed(v, (__int128)S(a) - S(b));
}
static uint64_t average(const struct rv_vec *v, __int128 x)
{
    return (uint64_t)(x >> 1) + round_up(v, (unsigned __int128)x, 1);
}
ELEM(aaddu)
{
    return average(v, (__int128)U(a) + U(b));
}
ELEM(aadd)
{
    return average(v, (__int128)S(a) + S(b));
}
ELEM(asubu)
{
    return average(v, (__int128)U(a) - U(b));
}
ELEM(asub)
{
    return average(v, (__int128)S(a) - S(b));
}
ELEM(smul)
{
    __int128 p = (__int128)S(a) * S(b);
    return saturate_signed(v, (p >> (v->bits - 1)) +
                                  (__int128)round_up(v, (unsigned __int128)p, v->bits - 1));
}
ELEM(ssrl)
{
    unsigned n = b & (v->bits - 1);
    return (U(a) >> n) + round_up(v, U(a), n);
}
ELEM(ssra)
{
    unsigned n = b & (v->bits - 1);
    return (uint64_t)(S(a) >> n) + round_up(v, (unsigned __int128)(__int128)S(a), n);
}
ELEM(nclipu)
{
    unsigned n = b & (2 * v->bits - 1);
    uint64_t x = a & mask_low(2 * v->bits);
    return saturate_unsigned(v, (__int128)(x >> n) + round_up(v, x, n));
}
ELEM(nclip)
{
    unsigned n = b & (2 * v->bits - 1);
    return saturate_signed(v, (__int128)(S(a) >> n) +
                                  (__int128)round_up(v, (unsigned __int128)(__int128)S(a), n));
}

// ---- bits (Zvkb, Zvbb, Zvbc) ----

ELEM(andn)
{
    return a & ~b;
}
ELEM(rotate_left)
{
    unsigned n = b & (v->bits - 1);
    return n ? U(a) << n | U(a) >> (v->bits - n) : a;
}
ELEM(rotate_right)
{
    unsigned n = b & (v->bits - 1);
    return n ? U(a) >> n | U(a) << (v->bits - n) : a;
}
ELEM(reverse_in_bytes)
{
    uint64_t x = a;
    x = (x & 0x5555555555555555) << 1 | (x >> 1 & 0x5555555555555555);
    x = (x & 0x3333333333333333) << 2 | (x >> 2 & 0x3333333333333333);
    return (x & 0x0f0f0f0f0f0f0f0f) << 4 | (x >> 4 & 0x0f0f0f0f0f0f0f0f);
}
ELEM(reverse_bytes)
{
    return __builtin_bswap64(a) >> (64 - v->bits);
}
ELEM(reverse_bits)
{
    return reverse_in_bytes(v, reverse_bytes(v, a, 0, 0), 0, 0);
}
ELEM(leading_zeros)
{
    return U(a) ? (uint64_t)__builtin_clzll(U(a)) - (64 - v->bits) : v->bits;
}
ELEM(trailing_zeros)
{
    return U(a) ? (uint64_t)__builtin_ctzll(U(a)) : v->bits;
}
ELEM(count_bits)
{
    return (uint64_t)__builtin_popcountll(U(a));
}
ELEM(wide_shl)
{
    return U(a) << (b & (2 * v->bits - 1));
}
static unsigned __int128 carry_less(uint64_t a, uint64_t b)
{
    unsigned __int128 r = 0;
    for (unsigned n = 0; n < 64; n++)
        r ^= b >> n & 1 ? (unsigned __int128)a << n : 0;
    return r;
}
ELEM(clmul)
{
    return (uint64_t)carry_less(a, b);
}
ELEM(clmulh)
{
    return (uint64_t)(carry_less(a, b) >> 64);
}

// ---- the table ----

#define V(name, sh, f, fl)  [RV_##name##_VV] = {f, VS_##sh, VSRC_V, fl},
#define X(name, sh, f, fl)  [RV_##name##_VX] = {f, VS_##sh, VSRC_X, fl},
#define I(name, sh, f, fl)  [RV_##name##_VI] = {f, VS_##sh, VSRC_I, fl},
#define UI(name, sh, f, fl) [RV_##name##_VI] = {f, VS_##sh, VSRC_U, fl},
#define VX(name, sh, f, fl) V(name, sh, f, fl) X(name, sh, f, fl)
#define VXI(name, sh, f, fl)                                                                       \
    VX(name, sh, f, fl)                                                                            \
    I(name, sh, f, fl)
#define VXU(name, sh, f, fl)                                                                       \
    VX(name, sh, f, fl)                                                                            \
    UI(name, sh, f, fl)
#define WVX(name, sh, f, fl)                                                                       \
    [RV_##name##_WV] = {f, VS_##sh, VSRC_V, fl}, [RV_##name##_WX] = {f, VS_##sh, VSRC_X, fl},
#define WVXU(name, sh, f, fl) WVX(name, sh, f, fl)[RV_##name##_WI] = {f, VS_##sh, VSRC_U, fl},
#define CARRY(name, suffix, source, sh, f)                                                         \
    [RV_##name##_##suffix] = {f, VS_##sh, VSRC_##source, VF_CARRY},
#define UN                VF_UNSIGNED
#define RED(name, f, fl)  [RV_##name##_VS] = {f, VS_RED, VSRC_V, fl},
#define WRED(name, f, fl) [RV_##name##_VS] = {f, VS_WRED, VSRC_V, fl},
// clang-format off
const struct rv_vop rv_vops[RV_IDS] = {
    VXI(VADD, SAME, add, 0) VX(VSUB, SAME, sub, 0) X(VRSUB, SAME, rsub, 0) I(VRSUB, SAME, rsub, 0)
    VX(VMINU, SAME, min_unsigned, UN) VX(VMIN, SAME, min_signed, 0)
    VX(VMAXU, SAME, max_unsigned, UN) VX(VMAX, SAME, max_signed, 0)
    VXI(VAND, SAME, and, 0) VXI(VOR, SAME, or, 0) VXI(VXOR, SAME, xor, 0)
    VXU(VSLL, SAME, shl, 0) VXU(VSRL, SAME, shr, 0) VXU(VSRA, SAME, sar, 0)
    WVXU(VNSRL, NARROW, nshr, 0) WVXU(VNSRA, NARROW, nsar, 0)
    CARRY(VADC, VVM, V, SAME, adc) CARRY(VADC, VXM, X, SAME, adc) CARRY(VADC, VIM, I, SAME, adc)
    CARRY(VSBC, VVM, V, SAME, sbc) CARRY(VSBC, VXM, X, SAME, sbc)
    CARRY(VMADC, VVM, V, MASK, madc) CARRY(VMADC, VXM, X, MASK, madc)
    CARRY(VMADC, VIM, I, MASK, madc) CARRY(VMADC, VV, V, MASK, madc)
    CARRY(VMADC, VX, X, MASK, madc) CARRY(VMADC, VI, I, MASK, madc)
    CARRY(VMSBC, VVM, V, MASK, msbc) CARRY(VMSBC, VXM, X, MASK, msbc)
    CARRY(VMSBC, VV, V, MASK, msbc) CARRY(VMSBC, VX, X, MASK, msbc)
    CARRY(VMERGE, VVM, V, SAME, merge) CARRY(VMERGE, VXM, X, SAME, merge)
    CARRY(VMERGE, VIM, I, SAME, merge)
    [RV_VMV_V_V] = {move, VS_SAME, VSRC_V, 0}, [RV_VMV_V_X] = {move, VS_SAME, VSRC_X, 0},
    [RV_VMV_V_I] = {move, VS_SAME, VSRC_I, 0},
    VXI(VMSEQ, MASK, mseq, 0) VXI(VMSNE, MASK, msne, 0) VX(VMSLTU, MASK, msltu, 0)
    VX(VMSLT, MASK, mslt, 0) VXI(VMSLEU, MASK, msleu, 0) VXI(VMSLE, MASK, msle, 0)
    X(VMSGTU, MASK, msgtu, 0) I(VMSGTU, MASK, msgtu, 0) X(VMSGT, MASK, msgt, 0)
    I(VMSGT, MASK, msgt, 0)
    VX(VMUL, SAME, mul, 0) VX(VMULH, SAME, mulh, 0) VX(VMULHU, SAME, mulhu, 0)
    VX(VMULHSU, SAME, mulhsu, 0) VX(VDIVU, SAME, divu, 0) VX(VDIV, SAME, div, 0)
    VX(VREMU, SAME, remu, 0) VX(VREM, SAME, rem, 0)
    VX(VWADDU, WIDE, add, UN) VX(VWADD, WIDE, add, 0) VX(VWSUBU, WIDE, sub, UN)
    VX(VWSUB, WIDE, sub, 0) VX(VWMULU, WIDE, mul, UN) VX(VWMULSU, WIDE, wmulsu, 0)
    VX(VWMUL, WIDE, mul, 0)
    WVX(VWADDU, WIDEW, add, UN) WVX(VWADD, WIDEW, add, 0) WVX(VWSUBU, WIDEW, sub, UN)
    WVX(VWSUB, WIDEW, sub, 0)
    VX(VMACC, SAME, macc, 0) VX(VNMSAC, SAME, nmsac, 0) VX(VMADD, SAME, madd, 0)
    VX(VNMSUB, SAME, nmsub, 0) VX(VWMACCU, WIDE, macc, UN | VF_SUM) VX(VWMACC, WIDE, macc, VF_SUM)
    VX(VWMACCSU, WIDE, wmaccsu, VF_SUM) X(VWMACCUS, WIDE, wmaccus, VF_SUM)
    [RV_VZEXT_VF8] = {extend, VS_EXT8, VSRC_NONE, UN}, [RV_VSEXT_VF8] = {extend, VS_EXT8, VSRC_NONE, 0},
    [RV_VZEXT_VF4] = {extend, VS_EXT4, VSRC_NONE, UN}, [RV_VSEXT_VF4] = {extend, VS_EXT4, VSRC_NONE, 0},
    [RV_VZEXT_VF2] = {extend, VS_EXT2, VSRC_NONE, UN}, [RV_VSEXT_VF2] = {extend, VS_EXT2, VSRC_NONE, 0},
    VXI(VSADDU, SAME, saddu, 0) VXI(VSADD, SAME, sadd, 0) VX(VSSUBU, SAME, ssubu, 0)
    VX(VSSUB, SAME, ssub, 0) VX(VSMUL, SAME, smul, 0) VX(VAADDU, SAME, aaddu, 0)
    VX(VAADD, SAME, aadd, 0) VX(VASUBU, SAME, asubu, 0) VX(VASUB, SAME, asub, 0)
    VXU(VSSRL, SAME, ssrl, 0) VXU(VSSRA, SAME, ssra, 0)
    WVXU(VNCLIPU, NARROW, nclipu, 0) WVXU(VNCLIP, NARROW, nclip, 0)
    RED(VREDSUM, add, 0) RED(VREDAND, and, 0) RED(VREDOR, or, 0) RED(VREDXOR, xor, 0)
    RED(VREDMINU, min_unsigned, UN) RED(VREDMIN, min_signed, 0)
    RED(VREDMAXU, max_unsigned, UN) RED(VREDMAX, max_signed, 0)
    WRED(VWREDSUMU, add, UN) WRED(VWREDSUM, add, 0)
    VX(VANDN, SAME, andn, 0) VX(VROL, SAME, rotate_left, 0) VX(VROR, SAME, rotate_right, 0)
    [RV_VROR_VI] = {rotate_right, VS_SAME, VSRC_U6, 0},
    [RV_VBREV8_V] = {reverse_in_bytes, VS_SAME, VSRC_NONE, 0},
    [RV_VREV8_V] = {reverse_bytes, VS_SAME, VSRC_NONE, 0},
    [RV_VBREV_V] = {reverse_bits, VS_SAME, VSRC_NONE, 0},
    [RV_VCLZ_V] = {leading_zeros, VS_SAME, VSRC_NONE, 0},
    [RV_VCTZ_V] = {trailing_zeros, VS_SAME, VSRC_NONE, 0},
    [RV_VCPOP_V] = {count_bits, VS_SAME, VSRC_NONE, 0},
    VXU(VWSLL, WIDE, wide_shl, UN)
    VX(VCLMUL, SAME, clmul, VF_E64) VX(VCLMULH, SAME, clmulh, VF_E64)
    [RV_VFMV_F_S] = {.flags = VF_FP}, [RV_VFMV_S_F] = {.flags = VF_FP},
    [RV_VFSLIDE1UP_VF] = {.flags = VF_FP}, [RV_VFSLIDE1DOWN_VF] = {.flags = VF_FP},
#define FP(name, suffix, source, sh, f, fl) \
    [RV_##name##_##suffix] = {rv_vf_##f, VS_##sh, VSRC_##source, VF_FP | (fl)},
#include "isa/riscv/vec/fp_ops.def"
#undef FP
};
// clang-format on

// ---- the loop ----

void rv_vec_begin(struct rv_vec *v, struct rv_cpu *c, uint32_t raw)
{
    static const struct sf_format *const formats[] = {NULL, &sf_half, &sf_single, &sf_double, NULL};
    *v = (struct rv_vec){.c = c, .raw = raw, .vl = c->vl, .masked = !rv_vm(raw)};
    v->sew = (unsigned)bits(c->vtype, 4, 3);
    v->bits = 8u << v->sew;
    v->f = formats[v->sew];
    v->wide = formats[v->sew + 1];
    v->sf.rounding = (enum sf_rounding)c->env.fp.rounding;
    v->sf.nan = SF_NAN_DEFAULT;
}

void rv_vec_end(struct rv_vec *v)
{
    v->c->env.fp.flags |= v->sf.flags;
    v->c->vxsat |= v->saturated;
    v->c->vstart = 0;
}

static uint64_t scalar(const struct rv_vec *v, const struct rv_vop *op)
{
    unsigned n = rv_vs1(v->raw);
    switch (op->source) {
    case VSRC_X:
        return v->c->x[n];
    case VSRC_I:
        return (uint64_t)(int64_t)((int8_t)(n << 3) >> 3);
    case VSRC_U:
        return n;
    case VSRC_U6:
        return n | (unsigned)bit(v->raw, 26) << 5;
    default:
        return rv_vf_scalar(v, n);
    }
}

static uint64_t extended(uint64_t x, unsigned size, bool is_unsigned)
{
    if (is_unsigned)
        return size == 3 ? x : x & mask_low(8u << size);
    return rv_vsext(x, size);
}

// Sizes of vd's and vs2's elements.
static void sizes(const struct rv_vec *v, unsigned shape, unsigned *d, unsigned *a)
{
    *d = *a = v->sew;
    if (shape == VS_WIDE || shape == VS_WIDEW || shape == VS_WRED)
        *d = v->sew + 1;
    if (shape == VS_WIDEW || shape == VS_NARROW)
        *a = v->sew + 1;
    if (shape >= VS_EXT2 && shape <= VS_EXT8)
        *a = v->sew - (shape - VS_EXT2 + 1);
}

static void reduce(struct rv_vec *v, const struct rv_vop *op)
{
    struct rv_cpu *c = v->c;
    unsigned size = op->shape == VS_WRED ? v->sew + 1 : v->sew;
    bool zero = op->flags & VF_UNSIGNED;
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw));
    uint64_t sum = rv_vget(rv_vreg(c, rv_vs1(v->raw)), size, 0);
    sum = extended(sum, size, zero);
    for (uint64_t i = 0; i < v->vl; i++)
        if (!v->masked || rv_vbit(c->v, i))
            sum = extended(op->fn(v, extended(rv_vget(a, v->sew, i), v->sew, zero), sum, 0), size,
                           zero);
    if (v->vl)
        rv_vput(rv_vreg(c, rv_vd(v->raw)), size, 0, sum);
}

void rv_vec_arith(struct env *e, uint32_t id, uint32_t raw)
{
    struct rv_vec v;
    struct rv_cpu *c = rv_cpu(e);
    const struct rv_vop *op = &rv_vops[id];
    bool zero = op->flags & VF_UNSIGNED, carry = op->flags & VF_CARRY;
    unsigned d_size, a_size;
    rv_vec_begin(&v, c, raw);
    if (op->shape == VS_RED || op->shape == VS_WRED) {
        reduce(&v, op);
        rv_vec_end(&v);
        return;
    }
    sizes(&v, op->shape, &d_size, &a_size);
    uint8_t *d = rv_vreg(c, rv_vd(raw)), mask[RV_VLENB_MAX];
    const uint8_t *a = rv_vreg(c, rv_vs2(raw));
    const uint8_t *b = op->source == VSRC_V ? rv_vreg(c, rv_vs1(raw)) : NULL;
    bool to_mask = op->shape == VS_MASK;
    uint64_t s = b || op->source == VSRC_NONE ? 0 : extended(scalar(&v, op), v.sew, zero);
    bool uses_v0 = v.masked;
    memcpy(mask, c->v, c->vlenb); // a mask result may replace it
    for (uint64_t i = c->vstart; i < v.vl; i++) {
        if (carry)
            v.carry = uses_v0 && rv_vbit(mask, i);
        else if (uses_v0 && !rv_vbit(mask, i))
            continue;
        uint64_t x = extended(rv_vget(a, a_size, i), a_size, zero);
        uint64_t y = b ? extended(rv_vget(b, v.sew, i), v.sew, zero) : s;
        if (to_mask)
            rv_vset_bit(d, i, op->fn(&v, x, y, 0));
        else
            rv_vput(d, d_size, i, op->fn(&v, x, y, extended(rv_vget(d, d_size, i), d_size, zero)));
    }
    rv_vec_end(&v);
}
