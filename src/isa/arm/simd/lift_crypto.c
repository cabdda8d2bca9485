// A64 cryptographic instructions (DDI 0487, C4.1.96): AES, SHA-1 and SHA-256 have IR operations,
// SHA-3's are plain logic, SHA-512's are helpers.
#include "isa/arm/simd/simd.h"

void a64_lift_aes(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t ops[8] = {[4] = IR_aese, IR_aesd, IR_aesmc, IR_aesimc};
    if (!a64_simd_ready(l))
        return;
    ir_ref n = a64_v(l, i->Rn);
    a64_set_v(l, i->Rd,
              i->opcode < 6 ? ir_v2(l->b, ops[i->opcode], 0, a64_v(l, i->Rd), n)
                            : ir_v1(l->b, ops[i->opcode], 0, n));
}

static void hash(struct lift *l, const struct a64_insn *i, unsigned kind, unsigned rm)
{
    if (a64_simd_ready(l))
        a64_set_v(l, i->Rd,
                  a64_lanes(l, &arm_helper_crypto, kind, 0, a64_v(l, i->Rd), a64_v(l, i->Rn),
                            a64_v(l, rm)));
}

static ir_ref v2(struct lift *l, unsigned op, unsigned aux, ir_ref x, ir_ref y)
{
    return ir_v2(l->b, op, aux, x, y);
}

// Words in the opposite order, in each half or throughout.
static ir_ref reverse(struct lift *l, ir_ref x, unsigned log2_bytes)
{
    return ir_v1(l->b, IR_vrev, VL_32 | VL_IMM(log2_bytes), x);
}

// Every lane rotated left.
static ir_ref rotate(struct lift *l, unsigned lane, ir_ref x, unsigned n)
{
    if (!n)
        return x;
    return v2(l, IR_vor, 0, ir_v1(l->b, IR_vshli, lane | VL_IMM(n), x),
              ir_v1(l->b, IR_vshri, lane | VL_IMM((8u << lane) - n), x));
}

// d: A B C D, n: E in lane 0, m: words with the constant that the operation adds itself.
static ir_ref sha1_rounds(struct lift *l, unsigned quarter, ir_ref d, ir_ref n, ir_ref m)
{
    static const uint64_t k[3] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc};
    ir_ref e = ir_vzext(l->b, ir_vlow(l->b, IR_I32, n));
    ir_ref w = v2(l, IR_vsub, VL_32, m, ir_const(l->b, IR_V128, k[quarter] << 32 | k[quarter]));
    w = reverse(l, v2(l, IR_vadd, VL_32, w, e), 4);
    return reverse(l, v2(l, IR_sha1r4, VL_IMM(quarter), reverse(l, d, 4), w), 4);
}

// x: A B C D, y: E F G H; the new first or second four. A pair of instructions shares the rounds.
static ir_ref sha256_rounds(struct lift *l, bool second, ir_ref x, ir_ref y, ir_ref w)
{
    ir_ref first = reverse(l, v2(l, IR_vzip1, VL_64, y, x), 3);
    ir_ref other = reverse(l, v2(l, IR_vzip2, VL_64, y, x), 3);
    ir_ref r1 = ir_v3(l->b, IR_sha256r2, 0, other, first, w);
    ir_ref r2 = ir_v3(l->b, IR_sha256r2, 0, first, r1, v2(l, IR_vext, VL_IMM(8), w, w));
    return reverse(l, v2(l, second ? IR_vzip1 : IR_vzip2, VL_64, r2, r1), 3);
}

void a64_lift_sha_three(struct lift *l, const struct a64_insn *i)
{
    enum { SU0 = 3, H256, H256_2, SU1_256 };
    if (!a64_simd_ready(l))
        return;
    ir_ref d = a64_v(l, i->Rd), n = a64_v(l, i->Rn), m = a64_v(l, i->Rm);
    switch (i->opc) {
    case SU0:
        d = v2(l, IR_vxor, 0, v2(l, IR_vxor, 0, d, m), v2(l, IR_vext, VL_IMM(8), d, n));
        break;
    case H256:
        d = sha256_rounds(l, false, d, n, m);
        break;
    case H256_2:
        d = sha256_rounds(l, true, n, d, m);
        break;
    case SU1_256:
        d = v2(l, IR_sha256m2, 0, v2(l, IR_vadd, VL_32, d, v2(l, IR_vext, VL_IMM(4), n, m)), m);
        break;
    default:
        d = sha1_rounds(l, i->opc, d, n, m);
    }
    a64_set_v(l, i->Rd, d);
}

void a64_lift_sha_two(struct lift *l, const struct a64_insn *i)
{
    enum { H, SU1, SU0_256 };
    if (!a64_simd_ready(l))
        return;
    ir_ref d = a64_v(l, i->Rd), n = a64_v(l, i->Rn), zero = ir_const(l->b, IR_V128, 0);
    switch (i->opcode) {
    case H:
        d = ir_vzext(l->b, ir_rotr(l->b, ir_vlow(l->b, IR_I32, n), ir_i32(l->b, 2)));
        break;
    case SU1: // the last word takes in the first of the result
        d = rotate(l, VL_32, v2(l, IR_vxor, 0, d, v2(l, IR_vext, VL_IMM(4), n, zero)), 1);
        n = rotate(l, VL_32, v2(l, IR_vext, VL_IMM(4), zero, d), 1);
        d = v2(l, IR_vxor, 0, d, n);
        break;
    default:
        d = v2(l, IR_sha256m1, 0, d, n);
    }
    a64_set_v(l, i->Rd, d);
}

void a64_lift_sha512(struct lift *l, const struct a64_insn *i)
{
    switch (i->id) {
    case A64_SHA512H:
        hash(l, i, CRYPTO_SHA512H, i->Rm);
        break;
    case A64_SHA512H2:
        hash(l, i, CRYPTO_SHA512H2, i->Rm);
        break;
    case A64_SHA512SU0:
        hash(l, i, CRYPTO_SHA512SU0, i->Rn);
        break;
    default:
        hash(l, i, CRYPTO_SHA512SU1, i->Rm);
    }
}

void a64_lift_sha3(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref n = a64_v(l, i->Rn), m = a64_v(l, i->Rm), r;
    switch (i->id) {
    case A64_EOR3:
        r = ir_v2(l->b, IR_vxor, 0, ir_v2(l->b, IR_vxor, 0, n, m), a64_v(l, i->Ra));
        break;
    case A64_BCAX:
        r = ir_v2(l->b, IR_vxor, 0, n, ir_v2(l->b, IR_vandn, 0, m, a64_v(l, i->Ra)));
        break;
    case A64_RAX1:
        r = ir_v2(l->b, IR_vxor, 0, n, rotate(l, VL_64, m, 1));
        break;
    default: // XAR rotates right
        r = rotate(l, VL_64, ir_v2(l->b, IR_vxor, 0, n, m), (64u - i->imm6) & 63);
    }
    a64_set_v(l, i->Rd, r);
}
