// An assembler for the x86-64 instructions the back end emits: legacy and VEX encodings (Intel SDM
// volume 2, chapter 2). One function per encoding form; the opcode constant carries prefix, map and
// width. Nothing here knows about IR.
#pragma once

#include "base/base.h"

enum x86_gpr {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
};
enum x86_cc {
    CC_O,
    CC_NO,
    CC_B,
    CC_AE,
    CC_E,
    CC_NE,
    CC_BE,
    CC_A,
    CC_S,
    CC_NS,
    CC_P,
    CC_NP,
    CC_L,
    CC_GE,
    CC_LE,
    CC_G,
};

// Emission goes to the writable mapping; `rx` - `p` is constant, so relative targets are computed
// as they will be executed.
struct as {
    uint8_t *p;        // next byte, writable mapping
    intptr_t rx_delta; // executable address minus writable address
    int biased;        // this base register points so far beyond what displacements count from
    int32_t bias;
    int open; // forward branches that do not lead anywhere yet
};
static inline const uint8_t *as_here(const struct as *a)
{
    return a->p + a->rx_delta;
}

// The r/m operand: a register, or memory at base + index * scale + disp.
struct rm {
    int8_t base;  // register number; memory: -1 for none
    int8_t index; // -1: none
    uint8_t scale_log2;
    bool mem;
    int32_t disp;
};
static inline struct rm rm_reg(int reg)
{
    return (struct rm){.base = (int8_t)reg, .index = -1};
}
static inline struct rm rm_mem(int base, int32_t disp)
{
    return (struct rm){.base = (int8_t)base, .index = -1, .mem = true, .disp = disp};
}
static inline struct rm rm_sib(int base, int index, unsigned scale_log2, int32_t disp)
{
    return (struct rm){.base = (int8_t)base,
                       .index = (int8_t)index,
                       .scale_log2 = (uint8_t)scale_log2,
                       .mem = true,
                       .disp = disp};
}

// Opcode constants: low byte the opcode, then flags.
enum {
    X_66 = 1 << 8,
    X_F3 = 2 << 8,
    X_F2 = 3 << 8,
    X_PP = 3 << 8, // mandatory prefix, numbered as VEX.pp
    X_0F = 1 << 10,
    X_38 = 2 << 10,
    X_3A = 3 << 10,
    X_MAP = 3 << 10,
    X_W = 1 << 12,
    X_BYTE = 1 << 13,  // `reg` is a byte register: sil, dil need a REX prefix
    X_BYTEM = 1 << 14, // the register in r/m is one
    X_LOCK = 1 << 15,
    X_L = 1 << 16, // VEX: 256 bits
    X_IMM8 = 1 << 17,
};

static inline void as_u8(struct as *a, unsigned v)
{
    *a->p++ = (uint8_t)v;
}
static inline void as_u32(struct as *a, uint32_t v)
{
    memcpy(a->p, &v, 4);
    a->p += 4;
}
static inline void as_u64(struct as *a, uint64_t v)
{
    memcpy(a->p, &v, 8);
    a->p += 8;
}

// What follows writes through a copy of the pointer: `as` could be what a byte store changes.
static inline uint8_t *put_modrm(const struct as *a, uint8_t *p, int reg, struct rm m)
{
    unsigned r = (unsigned)(reg & 7) << 3;
    if (!m.mem) {
        *p++ = (uint8_t)(0xc0 | r | (m.base & 7));
        return p;
    }
    if (m.base < 0) { // disp32, perhaps with an index: SIB with base 101
        *p++ = (uint8_t)(r | 4);
        *p++ = (uint8_t)(m.scale_log2 << 6 | (m.index < 0 ? 4 : m.index & 7) << 3 | 5);
        memcpy(p, &m.disp, 4);
        return p + 4;
    }
    m.disp -= m.base == a->biased ? a->bias : 0;
    bool sib = m.index >= 0 || (m.base & 7) == RSP;
    unsigned mod = m.disp == 0 && (m.base & 7) != RBP ? 0 : m.disp == (int8_t)m.disp ? 1 : 2;
    *p++ = (uint8_t)(mod << 6 | r | (sib ? 4 : m.base & 7));
    if (sib)
        *p++ = (uint8_t)(m.scale_log2 << 6 | (m.index < 0 ? 4 : m.index & 7) << 3 | (m.base & 7));
    memcpy(p, &m.disp, 4);
    return p + (mod == 2 ? 4 : mod);
}

// Legacy encoding: op reg, r/m. An immediate, if any, is appended by the caller.
static inline void x_op(struct as *a, unsigned op, int reg, struct rm m)
{
    static const uint8_t prefix[4] = {0, 0x66, 0xf3, 0xf2};
    uint8_t *p = a->p;
    if (op & X_LOCK)
        *p++ = 0xf0;
    unsigned pp = (op & X_PP) >> 8;
    if (pp)
        *p++ = prefix[pp];
    unsigned rex = (op & X_W ? 8 : 0) | (reg & 8 ? 4 : 0) | (m.index > 0 && m.index & 8 ? 2 : 0) |
                   (m.base > 0 && m.base & 8 ? 1 : 0);
    if (rex || (op & X_BYTE && reg >= RSP) || (op & X_BYTEM && !m.mem && m.base >= RSP))
        *p++ = (uint8_t)(0x40 | rex);
    unsigned map = op & X_MAP;
    if (map) {
        *p++ = 0x0f;
        if (map != X_0F)
            *p++ = map == X_38 ? 0x38 : 0x3a;
    }
    *p++ = (uint8_t)op;
    a->p = put_modrm(a, p, reg, m);
}

// VEX encoding: op reg, vvvv, r/m. vvvv 0 where the form has none.
static inline void v_op(struct as *a, unsigned op, int reg, int vvvv, struct rm m)
{
    uint8_t *p = a->p;
    unsigned pp = (op & X_PP) >> 8, map = (op & X_MAP) >> 10;
    bool x = m.index > 0 && m.index & 8, b = m.base > 0 && m.base & 8;
    unsigned tail = (~(unsigned)vvvv & 15) << 3 | (op & X_L ? 4 : 0) | pp;
    if (map == 1 && !x && !b && !(op & X_W)) {
        *p++ = 0xc5;
        *p++ = (uint8_t)((reg & 8 ? 0 : 0x80) | tail);
    } else {
        *p++ = 0xc4;
        *p++ = (uint8_t)((reg & 8 ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | map);
        *p++ = (uint8_t)((op & X_W ? 0x80 : 0) | tail);
    }
    *p++ = (uint8_t)op;
    a->p = put_modrm(a, p, reg, m);
}

// ---- integer instructions; w is X_W or 0 ----

enum x86_alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

static inline void x_alu(struct as *a, unsigned w, enum x86_alu op, int reg, struct rm m)
{
    x_op(a, w | (unsigned)op << 3 | 3, reg, m);
}
static inline void x_alu_rr(struct as *a, unsigned w, enum x86_alu op, int dst, int src)
{
    x_alu(a, w, op, dst, rm_reg(src));
}
static inline void x_alui(struct as *a, unsigned w, enum x86_alu op, struct rm m, int32_t imm)
{
    if (imm == (int8_t)imm) {
        x_op(a, w | 0x83, (int)op, m);
        as_u8(a, (uint8_t)imm);
    } else if (!m.mem && m.base == RAX) {
        if (w)
            as_u8(a, 0x48);
        as_u8(a, (unsigned)op << 3 | 5);
        as_u32(a, (uint32_t)imm);
    } else {
        x_op(a, w | 0x81, (int)op, m);
        as_u32(a, (uint32_t)imm);
    }
}
static inline void x_mov(struct as *a, unsigned w, int dst, struct rm src)
{
    x_op(a, w | 0x8b, dst, src);
}
static inline void x_mov_rr(struct as *a, unsigned w, int dst, int src)
{
    x_op(a, w | 0x8b, dst, rm_reg(src));
}
static inline void x_store(struct as *a, unsigned w, struct rm dst, int src)
{
    x_op(a, w | 0x89, src, dst);
}
// mov [m], simm32
static inline void x_storei(struct as *a, unsigned w, struct rm dst, int32_t imm)
{
    x_op(a, w | 0xc7, 0, dst);
    as_u32(a, (uint32_t)imm);
}
// Loads a constant without touching EFLAGS.
static inline void x_movi(struct as *a, int dst, uint64_t v)
{
    if (v == (uint32_t)v) {
        if (dst & 8)
            as_u8(a, 0x41);
        as_u8(a, 0xb8 | (dst & 7));
        as_u32(a, (uint32_t)v);
    } else if ((int64_t)v == (int32_t)v) {
        x_op(a, X_W | 0xc7, 0, rm_reg(dst));
        as_u32(a, (uint32_t)v);
    } else {
        as_u8(a, dst & 8 ? 0x49 : 0x48);
        as_u8(a, 0xb8 | (dst & 7));
        as_u64(a, v);
    }
}
static inline void x_lea(struct as *a, unsigned w, int dst, struct rm m)
{
    x_op(a, w | 0x8d, dst, m);
}
static inline void x_test_rr(struct as *a, unsigned w, int x, int y)
{
    x_op(a, w | 0x85, y, rm_reg(x));
}
static inline void x_testi(struct as *a, unsigned w, struct rm m, int32_t imm)
{
    if (!m.mem && m.base < RSP && imm >= 0 && imm < 0x80) {
        x_op(a, 0xf6, 0, m);
        as_u8(a, (uint8_t)imm);
    } else {
        x_op(a, w | 0xf7, 0, m);
        as_u32(a, (uint32_t)imm);
    }
}
enum x86_sh { SH_ROL, SH_ROR, SH_RCL, SH_RCR, SH_SHL, SH_SHR, SH_SAR = 7 };
static inline void x_shi(struct as *a, unsigned w, enum x86_sh op, int reg, unsigned n)
{
    if (n == 1) {
        x_op(a, w | 0xd1, (int)op, rm_reg(reg));
        return;
    }
    x_op(a, w | 0xc1, (int)op, rm_reg(reg));
    as_u8(a, n);
}
static inline void x_setcc(struct as *a, enum x86_cc cc, int reg)
{
    x_op(a, X_0F | X_BYTEM | 0x90 | cc, 0, rm_reg(reg));
}
static inline void x_cmov(struct as *a, unsigned w, enum x86_cc cc, int dst, struct rm src)
{
    x_op(a, w | X_0F | 0x40 | cc, dst, src);
}
static inline void x_movzx8(struct as *a, int dst, int src)
{
    x_op(a, X_0F | X_BYTEM | 0xb6, dst, rm_reg(src));
}
static inline void x_bswap(struct as *a, unsigned w, int reg)
{
    if (w || reg & 8)
        as_u8(a, 0x40 | (w ? 8 : 0) | (reg & 8 ? 1 : 0));
    as_u8(a, 0x0f);
    as_u8(a, 0xc8 | (reg & 7));
}
static inline void x_push(struct as *a, int reg)
{
    if (reg & 8)
        as_u8(a, 0x41);
    as_u8(a, 0x50 | (reg & 7));
}
static inline void x_pop(struct as *a, int reg)
{
    if (reg & 8)
        as_u8(a, 0x41);
    as_u8(a, 0x58 | (reg & 7));
}
static inline void x_pushi(struct as *a, uint32_t v)
{
    as_u8(a, 0x68);
    as_u32(a, v);
}
static inline void x_ret(struct as *a)
{
    as_u8(a, 0xc3);
}
static inline void x_ret_over(struct as *a, unsigned n) // and drop n bytes
{
    as_u8(a, 0xc2);
    as_u8(a, n);
    as_u8(a, 0);
}

// ---- jumps and calls. Forward ones return the address of their displacement, for as_bind ----

static inline uint8_t *x_jcc(struct as *a, enum x86_cc cc)
{
    as_u8(a, 0x0f);
    as_u8(a, 0x80 | cc);
    as_u32(a, 0);
    a->open++;
    return a->p - 4;
}
static inline uint8_t *x_jmp(struct as *a)
{
    as_u8(a, 0xe9);
    as_u32(a, 0);
    a->open++;
    return a->p - 4;
}
static inline uint8_t *x_call(struct as *a)
{
    as_u8(a, 0xe8);
    as_u32(a, 0);
    a->open++;
    return a->p - 4;
}
static inline void as_bind(struct as *a, uint8_t *disp)
{
    int32_t d = (int32_t)(a->p - (disp + 4));
    memcpy(disp, &d, 4);
    a->open--;
}
static inline uint8_t *x_jcc8(struct as *a, enum x86_cc cc)
{
    as_u8(a, 0x70 | cc);
    as_u8(a, 0);
    a->open++;
    return a->p - 1;
}
static inline uint8_t *x_jmp8(struct as *a)
{
    as_u8(a, 0xeb);
    as_u8(a, 0);
    a->open++;
    return a->p - 1;
}
static inline void as_bind8(struct as *a, uint8_t *disp)
{
    intptr_t d = a->p - (disp + 1);
    BUG_ON(d != (int8_t)d);
    *disp = (uint8_t)d;
    a->open--;
}
static inline bool as_in_reach(const struct as *a, const void *target)
{
    intptr_t d = (const uint8_t *)target - as_here(a);
    return d > -0x7fffff00 && d < 0x7fffff00;
}
// Targets are executable addresses within reach.
static inline void x_jmp_to(struct as *a, const void *target)
{
    as_u8(a, 0xe9);
    as_u32(a, (uint32_t)((const uint8_t *)target - (as_here(a) + 4)));
}
static inline void x_jcc_to(struct as *a, enum x86_cc cc, const void *target)
{
    as_u8(a, 0x0f);
    as_u8(a, 0x80 | cc);
    as_u32(a, (uint32_t)((const uint8_t *)target - (as_here(a) + 4)));
}
// Calls a C function; clobbers rax when it is out of reach.
static inline void x_call_c(struct as *a, const void *fn)
{
    if (as_in_reach(a, fn)) {
        as_u8(a, 0xe8);
        as_u32(a, (uint32_t)((const uint8_t *)fn - (as_here(a) + 4)));
    } else {
        x_movi(a, RAX, (uintptr_t)fn);
        x_op(a, 0xff, 2, rm_reg(RAX));
    }
}
// lea dst, [rip + target]
static inline void x_lea_rip(struct as *a, int dst, const void *target)
{
    as_u8(a, dst & 8 ? 0x4c : 0x48);
    as_u8(a, 0x8d);
    as_u8(a, (unsigned)(dst & 7) << 3 | 5);
    as_u32(a, (uint32_t)((const uint8_t *)target - (as_here(a) + 4)));
}
// Multi-byte no-ops so that the next n bytes begin at an address that is a multiple of `align`,
// `ahead` bytes on.
static inline void as_align(struct as *a, unsigned align, unsigned ahead)
{
    static const uint8_t nops[8][8] = {{0},
                                       {0x90},
                                       {0x66, 0x90},
                                       {0x0f, 0x1f, 0x00},
                                       {0x0f, 0x1f, 0x40, 0x00},
                                       {0x0f, 0x1f, 0x44, 0x00, 0x00},
                                       {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
                                       {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00}};
    unsigned n = (unsigned)-((uintptr_t)a->p + ahead) & (align - 1);
    for (; n; n -= MIN(n, 7u)) {
        unsigned k = MIN(n, 7u);
        memcpy(a->p, nops[k], k);
        a->p += k;
    }
}
