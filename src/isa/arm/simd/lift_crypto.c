// A64 cryptographic instructions (DDI 0487, C4.1.96): AES has IR operations, SHA-3's are plain
// logic, the other hashes are helpers.
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

void a64_lift_sha_three(struct lift *l, const struct a64_insn *i)
{
    hash(l, i, CRYPTO_SHA1C + i->opc, i->Rm);
}

void a64_lift_sha_two(struct lift *l, const struct a64_insn *i)
{
    hash(l, i, CRYPTO_SHA1H + i->opcode, i->Rn);
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

// Every 64-bit lane rotated left.
static ir_ref rotate(struct lift *l, ir_ref x, unsigned n)
{
    if (!n)
        return x;
    return ir_v2(l->b, IR_vor, 0, ir_v1(l->b, IR_vshli, VL_64 | VL_IMM(n), x),
                 ir_v1(l->b, IR_vshri, VL_64 | VL_IMM(64 - n), x));
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
        r = ir_v2(l->b, IR_vxor, 0, n, rotate(l, m, 1));
        break;
    default: // XAR rotates right
        r = rotate(l, ir_v2(l->b, IR_vxor, 0, n, m), (64u - i->imm6) & 63);
    }
    a64_set_v(l, i->Rd, r);
}
