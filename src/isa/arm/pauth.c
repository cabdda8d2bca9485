// Pointer authentication codes (DDI 0487, FEAT_PAuth): insertion, checking and stripping, with
// QARMA5 or, where the model says "implementation defined", a fast keyed mix. FEAT_EPAC,
// FEAT_PAuth2 and FEAT_FPAC are not modelled: a failed check leaves an address that faults when it
// is used.
#include "isa/arm/qarma.h"
#include "isa/arm/arm_bits.h"

// A keyed mix without cryptographic claim, for models that ask for speed.
static uint64_t fast_mix(uint64_t x, uint64_t modifier, const uint64_t key[2])
{
    x = (x ^ key[0]) * 0x9e3779b97f4a7c15;
    x ^= x >> 29;
    x = (x ^ modifier ^ key[1]) * 0xd6e8feb86659fd93;
    x ^= x >> 32;
    return x * 0xd6e8feb86659fd93;
}

static uint64_t compute(const struct arm_cpu *c, uint64_t x, uint64_t modifier, unsigned key)
{
    const uint64_t *k = c->keys[key];
    if (arm_has(c, ARM_FEAT_PAUTH_IMPDEF))
        return fast_mix(x, modifier, k);
    return arm_qarma5(x, modifier, k[1], k[0]);
}

// Bits of a pointer a code occupies: from the address size to 54, and the top byte where it is not
// a tag. Bit 55 chooses the half of the address space and stays.
static uint64_t code_bits(bool tbi, unsigned bits)
{
    return (mask_low(55) & ~mask_low(bits)) | (tbi ? 0 : 0xffull << 56);
}

// The pointer with its code bits all equal to bit 55.
static uint64_t plain(uint64_t ptr, uint64_t code)
{
    return bit(ptr, 55) ? ptr | code : ptr & ~code;
}

uint64_t arm_pac_add(struct env *e, uint64_t ptr, uint64_t modifier, uint32_t key)
{
    const struct arm_cpu *c = arm_cpu(e);
    bool instruction = key == PAC_IA || key == PAC_IB, tbi, other_tbi;
    unsigned n;
    // Where one half of the address space uses tags, bit 55 chooses the half for both.
    arm_address_format(c, ptr, instruction, &tbi, &n);
    arm_address_format(c, ptr ^ 1ull << 55, instruction, &other_tbi, &n);
    uint64_t chosen = bits_set(ptr, 55, 55, bit(ptr, tbi || other_tbi ? 55 : 63));
    arm_address_format(c, chosen, instruction, &tbi, &n);

    uint64_t code = code_bits(tbi, n), original = plain(chosen, code);
    uint64_t pac = compute(c, original, modifier, key & 3);
    uint64_t extension = code | 1ull << 55, found = ptr & extension;
    if (found && found != extension)
        pac ^= 1ull << (tbi ? 54 : 62);
    return (original & ~code) | (pac & code);
}

uint64_t arm_pac_auth(struct env *e, uint64_t ptr, uint64_t modifier, uint32_t key)
{
    const struct arm_cpu *c = arm_cpu(e);
    bool tbi;
    unsigned n;
    arm_address_format(c, ptr, key == PAC_IA || key == PAC_IB, &tbi, &n);
    uint64_t code = code_bits(tbi, n), original = plain(ptr, code);
    if (((compute(c, original, modifier, key & 3) ^ ptr) & code) == 0)
        return original;
    unsigned top = tbi ? 54 : 62;
    return bits_set(original, top, top - 1, key & 1 ? 2 : 1);
}

uint64_t arm_pac_strip(struct env *e, uint64_t ptr, uint32_t instruction)
{
    bool tbi;
    unsigned n;
    arm_address_format(arm_cpu(e), ptr, instruction, &tbi, &n);
    return plain(ptr, code_bits(tbi, n));
}

uint64_t arm_pac_generic(struct env *e, uint64_t value, uint64_t modifier)
{
    return compute(arm_cpu(e), value, modifier, PAC_GA) & 0xffffffff00000000;
}

void arm_address_format(const struct arm_cpu *c, uint64_t ptr, bool instruction, bool *tbi,
                        unsigned *n_bits)
{
    unsigned r = arm_regime_el(c), size;
    uint64_t tcr = c->tcr[r];
    bool ignored; // TBID: the tag is not ignored for instructions
    if (r == 1 || (r == 2 && (c->hcr_el2 & HCR_E2H))) {
        unsigned half = (unsigned)bit(ptr, 55);
        size = (unsigned)(half ? bits(tcr, 21, 16) : bits(tcr, 5, 0));
        *tbi = bit(tcr, 37 + half);
        ignored = bit(tcr, 51 + half);
    } else {
        size = (unsigned)bits(tcr, 5, 0);
        *tbi = bit(tcr, 20);
        ignored = bit(tcr, 29);
    }
    if (instruction && ignored)
        *tbi = false;
    *n_bits = 64 - MIN(MAX(size, 12u), 48u);
}
