// The vector extension (RISC-V Instruction Set Manual, volume I, chapter 30): its state, which
// instructions are reserved in which configuration, and every instruction as a function on the
// register file. Translated code calls these functions where it has nothing shorter
// (rv/lift_vec.c). Register groups are contiguous, so that a group is a pointer. Tail and
// masked-off elements are left as they were, which both "undisturbed" and "agnostic" allow.
#pragma once

#include "isa/riscv/riscv.h"
#include "isa/riscv/rv_decode.h"
#include "softfloat/softfloat.h"

// What vtype and vl say, as translation sees it: the mode's bits.
struct rv_vconfig {
    bool vill;
    unsigned sew;      // log2 of bytes
    int lmul;          // log2, -3..3
    bool start;        // vstart is not zero
    bool narrow;       // XLEN is 32
    unsigned vl_bytes; // vl << sew where that is a power of two, else 0: not known
    unsigned rounding; // vxrm
};
struct rv_vconfig rv_vconfig_of(uint64_t mode);
uint64_t rv_vmode_with(uint64_t mode, unsigned vtype, uint64_t vl); // ... with another setting

// Registers that a whole-register load or store moves; 0: another instruction.
static inline unsigned rv_vec_whole(unsigned id)
{
    if (id >= RV_VL1RE8_V && id <= RV_VL8RE64_V)
        return 1u << (id - RV_VL1RE8_V) / 4;
    if (id >= RV_VS1R_V && id <= RV_VS8R_V)
        return 1u << (id - RV_VS1R_V);
    return 0;
}

// Is the instruction defined in this configuration? (LMUL and SEW, register alignment, overlap.)
bool rv_vec_defined(const struct rv_cpu *c, const struct rv_insn *i, const struct rv_vconfig *v);

// How an element-wise instruction's operands are shaped. S is SEW.
enum rv_vshape {
    VS_NONE,
    VS_SAME,   // vd S, vs2 S, vs1 S
    VS_WIDE,   // vd 2S, vs2 S, vs1 S
    VS_WIDEW,  // vd 2S, vs2 2S, vs1 S
    VS_NARROW, // vd S, vs2 2S, vs1 S
    VS_EXT2,   // vd S, vs2 S/2
    VS_EXT4,
    VS_EXT8,
    VS_MASK, // vd one bit, vs2 S, vs1 S
    VS_RED,  // vd[0] S from vs1[0] S and all of vs2
    VS_WRED, // vd[0] 2S
};
enum rv_vsource {
    VSRC_NONE,
    VSRC_V,
    VSRC_X,
    VSRC_I,
    VSRC_U,
    VSRC_U6,
    VSRC_F
}; // vs1, rs1, simm, uimm, f[rs1]
enum {
    VF_UNSIGNED = 1,  // elements of vs2 and vs1 come zero-extended, else sign-extended
    VF_FP = 2,        // SEW must be that of a number
    VF_CARRY = 4,     // v0 is an operand, not a mask
    VF_WHOLE_FP = 8,  // widening or narrowing: both formats are used
    VF_E64 = 64,      // SEW must be 64
    VF_SUM = 32,      // widening, and vd is an operand
    VF_INT_SIDE = 16, // conversions between integers of 8 bits and half precision are allowed
};

// One instruction while it is executed.
struct rv_vec {
    struct rv_cpu *c;
    uint32_t raw;
    unsigned sew, bits; // SEW: log2 of bytes, in bits
    uint64_t vl;
    bool masked, carry, saturated;
    const struct sf_format *f, *wide; // of SEW and 2 * SEW
    struct sf_env sf;
};
// a: of vs2, b: of vs1 or the scalar, d: of vd before.
typedef uint64_t rv_velem(struct rv_vec *v, uint64_t a, uint64_t b, uint64_t d);
struct rv_vop {
    rv_velem *fn;
    uint8_t shape, source, flags;
};
extern const struct rv_vop rv_vops[RV_IDS]; // ops.c; fn NULL: not element-wise

static inline unsigned rv_vd(uint32_t raw)
{
    return raw >> 7 & 31;
}
static inline unsigned rv_vs1(uint32_t raw)
{
    return raw >> 15 & 31;
}
static inline unsigned rv_vs2(uint32_t raw)
{
    return raw >> 20 & 31;
}
static inline bool rv_vm(uint32_t raw)
{
    return raw >> 25 & 1;
}
static inline uint8_t *rv_vreg(struct rv_cpu *c, unsigned n)
{
    return c->v + (size_t)n * c->vlenb;
}
static inline bool rv_vbit(const uint8_t *mask, uint64_t i)
{
    return mask[i / 8] >> i % 8 & 1;
}
static inline void rv_vset_bit(uint8_t *mask, uint64_t i, bool on)
{
    mask[i / 8] = (uint8_t)((mask[i / 8] & ~(1u << i % 8)) | (unsigned)on << i % 8);
}
enum { RV_VXRM_NEAREST_UP, RV_VXRM_NEAREST_EVEN, RV_VXRM_DOWN, RV_VXRM_ODD };
// Zero-extended.
static inline uint64_t rv_vget(const uint8_t *group, unsigned size, uint64_t i)
{
    switch (size) {
    case 0:
        return group[i];
    case 1:
        return ld_le16(group + 2 * i);
    case 2:
        return ld_le32(group + 4 * i);
    default:
        return ld_le64(group + 8 * i);
    }
}

static inline void rv_vput(uint8_t *group, unsigned size, uint64_t i, uint64_t val)
{
    switch (size) {
    case 0:
        group[i] = (uint8_t)val;
        break;
    case 1:
        st_le16(group + 2 * i, (uint16_t)val);
        break;
    case 2:
        st_le32(group + 4 * i, (uint32_t)val);
        break;
    default:
        st_le64(group + 8 * i, val);
        break;
    }
}
static inline uint64_t rv_vsext(uint64_t val, unsigned size)
{
    unsigned n = 64 - (8u << size);
    return (uint64_t)((int64_t)(val << n) >> n);
}

// Everything below: HELPER_STATE functions; vstart is zero afterwards.
void rv_vec_begin(struct rv_vec *v, struct rv_cpu *c, uint32_t raw);
void rv_vec_end(struct rv_vec *v); // flags, vxsat, vstart
void rv_vec_arith(struct env *e, uint32_t id, uint32_t raw);
void rv_vec_special(struct env *e, uint32_t id, uint32_t raw); // masks, permutations, scalar moves
// Cipher rounds and hashes; illegal where vl or vstart is not whole element groups.
void rv_vec_crypto(struct env *e, uint32_t id, uint32_t raw);
bool rv_vec_crypto_defined(const struct rv_cpu *c, const struct rv_insn *i,
                           const struct rv_vconfig *v);
extern const uint8_t rv_sm4_sbox[256];                        // rv/lift_crypto.c
void rv_vec_access(struct env *e, uint32_t id, uint32_t raw); // loads and stores
void rv_vec_vset(struct env *e, uint32_t rd_rs1, uint64_t avl, uint64_t vtype);
