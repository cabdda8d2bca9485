// The translator's language. A region is straight-line SSA with one entry and side exits, all of
// which may be one loop (ops loop, phi, again); nodes lie in one array and refer to each other by
// index. Guest state is read and written through typed slots; an instruction that can leave carries
// a snapshot of which values belong in which slots, so that nothing need be stored for precision on
// the way. ops.def lists the operations with the types of their operands; verify.c checks them;
// interp.c executes any region and is the oracle for passes and host back ends.
#pragma once

#include "base/vec.h"
#include "ir/env.h"

typedef uint32_t ir_ref; // index into region.insns; 0 is "none"
#define IR_NONE 0u

enum ir_type {
    IR_VOID,
    IR_BOOL, // 0 or 1
    IR_I32,
    IR_I64,
    IR_F32,
    IR_F64,
    IR_V128,
    IR_FLAGS, // N Z C V as a value
    IR_TYPES,
};

enum ir_op {
#define OP(name, ...) IR_##name,
#include "ir/ops.def"
#undef OP
    IR_OPS,
};

// Conditions on two integers (cmp) ...
enum ir_cmp {
    CMP_EQ,
    CMP_NE,
    CMP_ULT,
    CMP_UGE,
    CMP_ULE,
    CMP_UGT,
    CMP_SLT,
    CMP_SGE,
    CMP_SLE,
    CMP_SGT
};
// ... and on flags (fcond); the order is Arm's.
enum ir_cond {
    COND_EQ,
    COND_NE,
    COND_CS,
    COND_CC,
    COND_MI,
    COND_PL,
    COND_VS,
    COND_VC,
    COND_HI,
    COND_LS,
    COND_GE,
    COND_LT,
    COND_GT,
    COND_LE
};

// aux of vector ops: lane size, and how much of the register takes part. Lanes that take no part
// are zero in the result.
enum {
    VL_8 = 0,
    VL_16 = 1,
    VL_32 = 2,
    VL_64 = 3,
    VL_LANE = 3,        // log2 of lane bytes
    VL_SCALAR = 1 << 2, // lane 0 only
    VL_HALF = 1 << 3,   // low 64 bits only
    VL_HIGH = 1 << 4,   // widening ops read, narrowing ops write, the high 64 bits (narrowing:
                        // operand b is the old register)
    VL_IMM_SHIFT = 8,   // an 8-bit immediate: shift amount, lane number, byte position
};
#define VL_IMM(n)          ((n) << VL_IMM_SHIFT)
#define VL_GET_IMM(aux)    ((aux) >> VL_IMM_SHIFT)
#define VL_LANE_BYTES(aux) (1u << ((aux)&VL_LANE))

// aux of floating-point ops (scalar; vector ones have VL_* in the low 5 bits and these above).
enum {
    FPA_RM_SHIFT = 8, // 0: the dynamic mode of env.fp; else enum fp_rounding + 1
    FPA_RM = 7 << FPA_RM_SHIFT,
    FPA_NAN_SHIFT = 11, // enum fp_nan
    FPA_NAN = 3 << FPA_NAN_SHIFT,
    FPA_SIGNAL = 1 << 13, // compare: quiet NaNs raise invalid too; round to integral: raise inexact
    FPA_UNSIGNED = 1 << 14, // conversions: the integer side is unsigned
    FPA_NANMAX = 1 << 15,   // to integer: NaN gives the largest value (RISC-V), else 0 (Arm);
                            // minimum and maximum number: signalling NaNs give way, too
};
#define FPA_RM_FIXED(rm) (((rm) + 1) << FPA_RM_SHIFT)
#define FPA_NAN_MODE(n)  ((n) << FPA_NAN_SHIFT)

struct ir_insn {
    uint8_t op, type; // enum ir_op; enum ir_type of the result
    uint16_t aux;
    ir_ref a, b, c; // operands; calls: a = first index in region.args, b = count
    uint64_t imm;   // constants: the value; ops that can leave: the snapshot's index
};

// A value while interpreting, and in the scratch area of out-of-line expansions. Unused high parts
// are zero.
union ir_val {
    uint64_t u64[2];
    uint32_t u32[4];
    uint16_t u16[8];
    uint8_t u8[16];
    float f32[4];
    double f64[2];
    v128 v;
};

// ---- guest state ----

#define IR_MAX_SLOTS 160
#define IR_NO_SLOT   0xffff
struct ir_slot {
    const char *name;
    uint16_t offset; // from struct env; naturally aligned
    uint8_t type;    // enum ir_type; FLAGS slots hold the packed form in a uint32_t
};
// M(0), M(1), …: the slots of a register file.
#define IR_EACH_31(M)                                                                              \
    M(0), M(1), M(2), M(3), M(4), M(5), M(6), M(7), M(8), M(9), M(10), M(11), M(12), M(13), M(14), \
        M(15), M(16), M(17), M(18), M(19), M(20), M(21), M(22), M(23), M(24), M(25), M(26), M(27), \
        M(28), M(29), M(30)
#define IR_EACH_32(M) IR_EACH_31(M), M(31)
#define IR_EACH_64(M)                                                                              \
    IR_EACH_32(M), M(32), M(33), M(34), M(35), M(36), M(37), M(38), M(39), M(40), M(41), M(42),    \
        M(43), M(44), M(45), M(46), M(47), M(48), M(49), M(50), M(51), M(52), M(53), M(54), M(55), \
        M(56), M(57), M(58), M(59), M(60), M(61), M(62), M(63)
#define IR_RESIDENTS 6
struct ir_guest {
    const char *name;
    const struct ir_slot *slots;
    unsigned n_slots;
    unsigned pc; // the slot of the program counter
    // I64 slots worth keeping in host registers from region to region, the most useful first.
    uint16_t resident[IR_RESIDENTS];
    unsigned n_resident;
};

// ---- helpers: C functions called from translated code ----

enum {
    HELPER_PURE = 0, // a function of its arguments alone
    HELPER_FP = 1,   // also reads env.fp and adds to env.fp.flags; first argument is env
    HELPER_READ = 2, // may read any guest slot (pc included, exact); first argument is env
    HELPER_STATE =
        4, // may read and write any slot, access guest memory and leave; first argument is env
    HELPER_ENDS = 8, // (with STATE) the region ends after it: the mode or pc may have changed
};
struct ir_helper {
    const char *name;
    void *fn; // SysV-like C calling convention; integers and BOOL/FLAGS in integer registers,
              // F32/F64/V128 in vector registers
    uint8_t flags;
    uint8_t ret;     // enum ir_type
    uint8_t n_args;  // without env
    uint8_t args[5]; // enum ir_type
};

// ---- snapshots ----

struct ir_snap_entry {
    uint32_t slot;
    ir_ref val;
};
// What must be true of guest state if the instruction leaves: entries [first, first+n) of
// region.snap_entries, and pc. Equal lists are shared. Resident slots come first, in their order.
struct ir_snap {
    uint32_t first, n;
    uint64_t pc;    // of the guest instruction (what the pc slot must hold), as the region says it
    uint32_t insns; // guest instructions completed before it in this region
};

// ---- regions ----

// In region.mode, set by the ISA: regions of one instruction that are never linked to others, so
// that mode() is asked again after each (single step).
#define IR_MODE_SINGLE (1ull << 63)
// Movable regions: what the code means does not hang on its virtual address, so the region is made
// once for all places its page is mapped at. Every pc in it (its own, snapshots', exits') counts
// from the start of its page; `pcbase` is that page's address where the region runs.
#define IR_MODE_MOVABLE (1ull << 61)
#define IR_PAGE_SIZE    4096ull
// Addresses of loads and stores carry a tag in their top byte, which is left out.
#define IR_MODE_TAGGED  (1ull << 60)
#define IR_ADDRESS_BITS (~0ull >> 8)

struct ir_region {
    const struct ir_guest *guest;
    uint64_t pc, mode;
    VEC(struct ir_insn) insns; // insns.data[0] is unused
    VEC(ir_ref) args;
    VEC(struct ir_snap) snaps;
    VEC(struct ir_snap_entry) snap_entries;
    VEC(const struct ir_helper *) helpers; // call.aux indexes it
    unsigned n_guest_insns;                // counted by the builder
    uint64_t path;                         // a hash of the pcs they are at
    // How to build it; kept by a reset. plain: with nothing left out or made shorter; n_resident:
    // so many of the guest's resident slots are in no snapshot's memory but in host registers, so
    // that every snapshot lists them.
    bool plain;
    unsigned n_resident;
    // Of guest code from pc on, and before pc, for display and write detection: a region stays in
    // its page but for what it runs on into the next one.
    uint32_t n_bytes, n_before;
};
// Keeps the memory. `pc` is the virtual address; what the region says of it is r->pc.
void ir_region_reset(struct ir_region *r, const struct ir_guest *g, uint64_t pc, uint64_t mode);
// Is v a pc known when the region is made: a constant, in movable regions pcbase plus one? As the
// region says it.
bool ir_region_pc(const struct ir_region *r, ir_ref v, uint64_t *pc);
static inline uint64_t ir_pc_base(uint64_t mode, uint64_t pc)
{
    return mode & IR_MODE_MOVABLE ? pc & -IR_PAGE_SIZE : 0;
}
void ir_region_free(struct ir_region *r); // what it points at; r itself is the caller's

struct ir_op_info {
    const char *name;
    uint8_t result, a, b, c; // operand classes, see ops.def
    uint8_t effects;
};
extern const struct ir_op_info ir_op_info[IR_OPS];
enum { // effects
    FX_NONE = 0,
    FX_COMM = 1,  // a and b may be exchanged
    FX_READ = 2,  // reads memory or env beyond slots: not merged
    FX_WRITE = 4, // not dropped, not moved
    FX_LEAVE = 8, // can leave: imm is a snapshot
    FX_END = 16,  // ends the region
    FX_FP = 32,   // reads rounding mode, adds to the sticky flags: merged only with an equal one
                  // before, not dropped unless flags are known dead
};
enum { // operand classes in ops.def
    C_NONE,
    C_ANY,
    C_BOOL,
    C_I32,
    C_I64,
    C_INT /* I32 or I64 */,
    C_F32,
    C_F64,
    C_FP /* F32 or F64 */,
    C_V128,
    C_FLAGS,
    C_T /* same as the result type */,
    C_ARGS,
    C_SPAN, // a span, or none
};

struct buf;
void ir_print(const struct ir_region *r, struct buf *out); // a line for each node, for people
struct err;
// Types, order of definition and use, and the one end: -1 names the first node that is wrong.
int ir_verify(const struct ir_region *r, struct err *e) MUST_CHECK;

// Evaluate one operation without memory or control effects: the oracle, and what host back ends
// call for ops they have no rule for. `types` is IR_EVAL_TYPES of the result and operand a.
// Integers are zero-extended, BOOL is 0 or 1, FLAGS are packed (PACK_*); result may not overlap
// abc.
typedef void ir_eval_fn(struct env *e, unsigned types, unsigned aux, union ir_val *result,
                        const union ir_val *abc);
#define IR_EVAL_TYPES(result, a) ((result) | (a) << 4)
extern ir_eval_fn *const ir_eval[IR_OPS]; // NULL for memory, state and control ops

// Execute a region from its entry with env's state; returns how it left, with the state stored.
// Memory and leaving go through env->exec: state is exact there (the snapshot has been stored), and
// its functions may leave non-locally to whoever called (nothing is held here). Atomics are the
// executor's, or a load and a store where it has none.
struct ir_outcome {
    enum { OUT_GOTO, OUT_INDIRECT, OUT_CALL, OUT_RET, OUT_LEAVE } kind; // pc slot holds the target
    uint32_t insns;     // guest instructions completed
    uint32_t rounds;    // of a loop
    enum env_leave why; // of OUT_LEAVE
};
// Executes the region on e: the meaning that compiled code must have, too.
struct ir_outcome ir_interp(const struct ir_region *r, struct env *e);
// The same; a loop is left after so many rounds as if by an interrupt.
struct ir_outcome ir_interp_rounds(const struct ir_region *r, struct env *e, uint32_t max);

// If r ends by going to its own start, makes it a loop that keeps what it changes in values
// (loop.c).
struct ir_loop_pass { // its memory, zeroed before its first use
    bool no_peel;
    VEC(struct ir_insn) insns;
    VEC(struct ir_snap_entry) entries;
    VEC(ir_ref) map;
};
void ir_form_loop(struct ir_loop_pass *p, struct ir_region *r);
void ir_loop_pass_free(struct ir_loop_pass *p);
// The `loop` node, or IR_NONE.
ir_ref ir_loop_of(const struct ir_region *r);
