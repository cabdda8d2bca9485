// The C extension (RISC-V Instruction Set Manual, volume I, chapter 26): each compressed
// instruction is rewritten as the 32-bit one it stands for. HINTs expand to writes of x0.
#include "isa/riscv/rv/lift.h"

struct shape {
    uint16_t id;
    enum {
        RD_RD_IMM,    // rd = rd op imm
        RD_ZERO_IMM,  // rd = x0 op imm
        RD_SHIFT,     // rd = rd op shamt
        CRD_SHIFT,    // rd' likewise
        CRD_IMM,      // rd' = rd' op imm
        CRD_CRS2,     // rd' = rd' op rs2'
        STACK_ADJUST, // sp += imm
        STACK_ADD,    // rd' = sp + uimm
        LOAD,         // rd' = uimm(rs1')
        STORE,        // uimm(rs1') = rs2'
        STACK_LOAD,
        STACK_STORE,
        JUMP,
        CALL,
        BRANCH_ZERO, // on rs1'
        JUMP_REG,
        CALL_REG,
        RD_RS2,    // rd = x0 op rs2
        RD_RD_RS2, // rd = rd op rs2
        CRD_ZERO,  // rd' = rd' op x0
        CRD_BYTE,  // rd' = rd' op 255
        CRD_NOT,   // rd' = rd' op -1
        BARE,
    } form;
};

static const struct shape shapes[RV_IDS] = {
    [RV_C_ADDI4SPN] = {RV_ADDI, STACK_ADD},
    [RV_C_FLD] = {RV_FLD, LOAD},
    [RV_C_LW] = {RV_LW, LOAD},
    [RV_C_LD] = {RV_LD, LOAD},
    [RV_C_FSD] = {RV_FSD, STORE},
    [RV_C_SW] = {RV_SW, STORE},
    [RV_C_SD] = {RV_SD, STORE},
    [RV_C_ADDI] = {RV_ADDI, RD_RD_IMM},
    [RV_C_JAL] = {RV_JAL, CALL},
    [RV_C_FLW] = {RV_FLW, LOAD},
    [RV_C_FSW] = {RV_FSW, STORE},
    [RV_C_FLWSP] = {RV_FLW, STACK_LOAD},
    [RV_C_FSWSP] = {RV_FSW, STACK_STORE},
    [RV_C_ADDIW] = {RV_ADDIW, RD_RD_IMM},
    [RV_C_LI] = {RV_ADDI, RD_ZERO_IMM},
    [RV_C_ADDI16SP] = {RV_ADDI, STACK_ADJUST},
    [RV_C_LUI] = {RV_LUI, RD_ZERO_IMM},
    [RV_C_SRLI] = {RV_SRLI, CRD_SHIFT},
    [RV_C_SRAI] = {RV_SRAI, CRD_SHIFT},
    [RV_C_ANDI] = {RV_ANDI, CRD_IMM},
    [RV_C_SUB] = {RV_SUB, CRD_CRS2},
    [RV_C_XOR] = {RV_XOR, CRD_CRS2},
    [RV_C_OR] = {RV_OR, CRD_CRS2},
    [RV_C_AND] = {RV_AND, CRD_CRS2},
    [RV_C_SUBW] = {RV_SUBW, CRD_CRS2},
    [RV_C_ADDW] = {RV_ADDW, CRD_CRS2},
    [RV_C_J] = {RV_JAL, JUMP},
    [RV_C_BEQZ] = {RV_BEQ, BRANCH_ZERO},
    [RV_C_BNEZ] = {RV_BNE, BRANCH_ZERO},
    [RV_C_SLLI] = {RV_SLLI, RD_SHIFT},
    [RV_C_FLDSP] = {RV_FLD, STACK_LOAD},
    [RV_C_LWSP] = {RV_LW, STACK_LOAD},
    [RV_C_LDSP] = {RV_LD, STACK_LOAD},
    [RV_C_JR] = {RV_JALR, JUMP_REG},
    [RV_C_MV] = {RV_ADD, RD_RS2},
    [RV_C_EBREAK] = {RV_EBREAK, BARE},
    [RV_C_JALR] = {RV_JALR, CALL_REG},
    [RV_C_ADD] = {RV_ADD, RD_RD_RS2},
    [RV_C_FSDSP] = {RV_FSD, STACK_STORE},
    [RV_C_SWSP] = {RV_SW, STACK_STORE},
    [RV_C_SDSP] = {RV_SD, STACK_STORE},
    [RV_C_LBU] = {RV_LBU, LOAD},
    [RV_C_LHU] = {RV_LHU, LOAD},
    [RV_C_LH] = {RV_LH, LOAD},
    [RV_C_SB] = {RV_SB, STORE},
    [RV_C_SH] = {RV_SH, STORE},
    [RV_C_ZEXT_B] = {RV_ANDI, CRD_BYTE},
    [RV_C_SEXT_B] = {RV_SEXT_B, CRD_ZERO},
    [RV_C_ZEXT_H] = {RV_ZEXT_H, CRD_ZERO},
    [RV_C_SEXT_H] = {RV_SEXT_H, CRD_ZERO},
    [RV_C_ZEXT_W] = {RV_ADD_UW, CRD_ZERO},
    [RV_C_NOT] = {RV_XORI, CRD_NOT},
    [RV_C_MUL] = {RV_MUL, CRD_CRS2},
    [RV_C_MOP] = {RV_MOP_R, BARE},
};

struct rv_insn rv_expand(const struct rv_insn *c)
{
    const struct shape *s = &shapes[c->id];
    struct rv_insn i = {.raw = c->raw, .id = s->id};
    const uint8_t crd = c->crd + 8, crs1 = c->crs1 + 8, crs2 = c->crs2 + 8;
#define SET(...)                                                                                   \
    i = (struct rv_insn)                                                                           \
    {                                                                                              \
        .raw = c->raw, .id = s->id, __VA_ARGS__                                                    \
    }
    switch (s->form) {
    case RD_RD_IMM:
        SET(.rd = c->rd, .rs1 = c->rd, .imm = c->imm);
        break;
    case RD_ZERO_IMM:
        SET(.rd = c->rd, .imm = c->imm);
        break;
    case RD_SHIFT:
        SET(.rd = c->rd, .rs1 = c->rd, .shamt = c->shamt);
        break;
    case CRD_SHIFT:
        SET(.rd = crd, .rs1 = crd, .shamt = c->shamt);
        break;
    case CRD_IMM:
        SET(.rd = crd, .rs1 = crd, .imm = c->imm);
        break;
    case CRD_CRS2:
        SET(.rd = crd, .rs1 = crd, .rs2 = crs2);
        break;
    case CRD_ZERO:
        SET(.rd = crd, .rs1 = crd);
        break;
    case CRD_BYTE:
        SET(.rd = crd, .rs1 = crd, .imm = 255);
        break;
    case CRD_NOT:
        SET(.rd = crd, .rs1 = crd, .imm = -1);
        break;
    case STACK_ADJUST:
        SET(.rd = 2, .rs1 = 2, .imm = c->imm);
        break;
    case STACK_ADD:
        SET(.rd = crd, .rs1 = 2, .imm = c->uimm);
        break;
    case LOAD:
        SET(.rd = crd, .rs1 = crs1, .imm = c->uimm);
        break;
    case STORE:
        SET(.rs1 = crs1, .rs2 = crs2, .imm = c->uimm);
        break;
    case STACK_LOAD:
        SET(.rd = c->rd, .rs1 = 2, .imm = c->uimm);
        break;
    case STACK_STORE:
        SET(.rs1 = 2, .rs2 = c->rs2, .imm = c->uimm);
        break;
    case JUMP:
        SET(.imm = c->imm);
        break;
    case CALL:
        SET(.rd = 1, .imm = c->imm);
        break;
    case BRANCH_ZERO:
        SET(.rs1 = crs1, .imm = c->imm);
        break;
    case JUMP_REG:
        SET(.rs1 = c->rs1);
        break;
    case CALL_REG:
        SET(.rd = 1, .rs1 = c->rs1);
        break;
    case RD_RS2:
        SET(.rd = c->rd, .rs2 = c->rs2);
        break;
    case RD_RD_RS2:
        SET(.rd = c->rd, .rs1 = c->rd, .rs2 = c->rs2);
        break;
    case BARE:
        break;
    }
#undef SET
    return i;
}
