// State of one compilation, and what lowering rules are written with. A rule lowers one IR
// operation: it asks for operands (in registers, or folded as immediates and memory), then for the
// result's register, then emits. Values are SSA and the region is straight-line, so allocation runs
// along with emission (regalloc.c); comparisons and flags emit nothing where they are defined and
// are recomputed where they are used (flags.c).
#pragma once

#include "ir/build.h"
#include "jit/sites.h"
#include "jit/state.h"
#include "jit/x86_64/encode.h"

// Registers: 0..15 general, 16..31 vector.
#define IS_XMM(r) ((r) >= 16)
#define NO_REG    (-1)
#define R_ENV     R14 // STATE_BIAS bytes into the guest's state; the assembler takes them off
#define R_KEY     R13 // key of the current context; in user mode unused
#define R_BASE    R15 // user mode: base of guest memory; else allocatable

#define BIT(n) (1u << (n))
// Where resident slots are between regions: what C code keeps, then what the look-up of a computed
// target leaves alone.
static inline int cg_resident_reg(const struct jit *j, unsigned k)
{
    static const uint8_t regs[2][IR_RESIDENTS] = {{RBX, RBP, R12, R15, R11, R10},
                                                  {RBX, RBP, R12, R13, R11, R10}};
    return regs[j->c.user_mode][k];
}

enum {
    CALLER_SAVED = BIT(RAX) | BIT(RCX) | BIT(RDX) | BIT(RSI) | BIT(RDI) | BIT(R8) | BIT(R9) |
                   BIT(R10) | BIT(R11),
    CALLEE_SAVED = BIT(RBX) | BIT(RBP) | BIT(R12) | BIT(R13) | BIT(R15),
};
#define ALL_XMM 0xffff0000u

enum { // val.flags
    V_USED = 1,
    V_FORCED = 2, // a comparison or flags value that someone needs in a register
    V_NOSLOT = 4, // a get whose slot may have changed since: its slot is no home
    V_FOLDED = 8, // a load or store whose address is a sum with a constant that it takes up
};
struct val {
    uint32_t last, next; // position of the last use, and of the next one known (0: none)
    uint16_t spill;      // spill slot + 1
    uint16_t uses;
    int8_t reg;
    uint8_t flags;
};

struct host_features {
    bool avx, avx2, f16c, bmi1, bmi2, lzcnt, fma, movbe, aes, pclmul, sha, sse42, avx512;
};

// Code after the region's end: reached by side exits, unlinked jumps and slow accesses.
struct stub {
    enum {
        STUB_EXIT,
        STUB_LINK,
        STUB_GUARD,
        STUB_SLOW,
        STUB_SPAN,
        STUB_INTERRUPT,
        STUB_CALL_MISS,
        STUB_FP
    } kind;
    uint8_t *from;              // displacement that leads here
    struct link *link;          // EXIT, LINK, GUARD
    uint32_t first_loc, n_locs; // EXIT: what to store; SLOW: for the side table
    bool flags_live, poll;      // EXIT: EFLAGS hold the flags that are to be stored
    bool pc_in_rax;             // INTERRUPT
    uint64_t pc;                // of the target; SLOW: of the guest instruction
    uint32_t info, regs;        // SLOW, FP
    ir_ref access;              // SPAN: the load or store; `regs`: the span's register
    const uint8_t *back;        // SLOW: where to go on; GUARD, CALL_MISS: the landing or NULL
};

struct spill {
    uint32_t until; // last use of the value there
    uint16_t slot;
};

struct cg {
    struct jit *j;
    struct host_features f;
    bool inlined[IR_OPS]; // there is a rule that applies on this host
    unsigned lazy;        // LAZY_* that may be
    uint32_t eager;       // types whose values are made where they are defined
    const struct ir_region *r;
    const struct ir_insn *in;
    struct block *b;
    struct as as;
    uint8_t *limit;
    bool failed;
    uint32_t pos; // instruction being lowered
    struct val *v;
    ir_ref *root;      // the value that a node is no more than a name for; itself if none
    uint32_t (*nu)[3]; // next use of each operand after its instruction
    uint32_t *args_nu;
    size_t cap, args_cap;
    ir_ref owner[32];
    uint32_t owned;  // registers with an owner
    uint32_t locked; // registers the current rule uses
    uint32_t dying;  // registers of operands of the rule before it
    uint32_t gprs;   // allocatable
    uint32_t next_call, *calls, n_calls, calls_cap;
    VEC(struct spill) spills;
    VEC(uint8_t) deaths; // alive_in_loop's
    uint8_t *start;
    ir_ref eflags; // the flags or cmp value EFLAGS hold now
    VEC(struct stub) stubs;
    VEC(struct loc) locs;
    unsigned n_links;
    struct {
        ir_ref at, end;       // the `loop` and `again` nodes; IR_NONE: the region does not repeat
        const uint8_t *start; // its code
        ir_ref owner[32];     // what is in registers there
    } loop;
    bool guards;  // jumps to other pages compare the code id
    bool movable; // pcs count from v->page_va
    struct sites_buf sites;
    const uint8_t *span_check[2][16][16]; // fixed code: store; span's register, address'
};

// A rule; `needs` is a mask of host features without which it does not apply.
struct rule {
    void (*lower)(struct cg *c, ir_ref i);
    uint16_t needs;
    bool keeps_eflags;
    uint16_t arg; // opcode or the like
};
enum {
    NEED_LZCNT = 1,
    NEED_BMI1 = 2,
    NEED_BMI2 = 4,
    NEED_AVX = 8,
    NEED_FMA = 16,
    NEED_AES = 32,
    NEED_PCLMUL = 64,
    NEED_AVX2 = 128,
    NEED_SHA = 256
};
extern const struct rule cg_rules[IR_OPS];
static inline bool cg_has_rule(const struct cg *c, unsigned op)
{
    return c->inlined[op];
}

static inline const struct ir_insn *cg_insn(const struct cg *c, ir_ref i)
{
    return &c->in[i];
}
static inline unsigned cg_w(const struct cg *c, ir_ref i) // operand width of a value
{
    return c->in[i].type == IR_I64 ? X_W : 0;
}
static inline bool cg_type_xmm(unsigned type)
{
    return type == IR_F32 || type == IR_F64 || type == IR_V128;
}
static inline bool cg_is_const(const struct cg *c, ir_ref i, uint64_t *v)
{
    if (c->in[i].op != IR_const || cg_type_xmm(c->in[i].type))
        return false;
    *v = c->in[i].type == IR_I64 ? c->in[i].imm : (uint32_t)c->in[i].imm;
    return true;
}
// Operand k is where the operation goes, known now: nobody needs its value.
static inline bool cg_is_target(const struct cg *c, const struct ir_insn *in, unsigned k)
{
    uint64_t pc;
    switch (in->op) {
    case IR_exit_if:
        return k == 1;
    case IR_goto:
    case IR_again:
        return true;
    case IR_callto:
        return k == 0 && ir_region_pc(c->r, in->a, &pc);
    default:
        return false;
    }
}
static inline int32_t cg_slot_off(const struct cg *c, unsigned slot)
{
    return c->r->guest->slots[slot].offset;
}
// The state register points between the general registers, which follow struct env: they are what
// 8-bit displacements are for.
#define STATE_BIAS ((int32_t)sizeof(struct env) + 128)
static inline struct rm rm_env(int32_t off)
{
    return rm_mem(R_ENV, off);
}
// The same plus a register times 1 << scale_log2.
static inline struct rm rm_env_at(int32_t off, int index, unsigned scale_log2)
{
    return rm_sib(R_ENV, index, scale_log2, off);
}

// ---- regalloc.c ----
void cg_analyse(struct cg *c);
// Recomputed at its uses, never held in a register.
enum { LAZY_COND = 1, LAZY_FLAGS = 2 };
extern const uint8_t cg_lazy_class[IR_OPS];
static inline bool cg_lazy(const struct cg *c, ir_ref i)
{
    return cg_lazy_class[c->in[i].op] & c->lazy && !(c->v[i].flags & V_FORCED);
}
int cg_use(struct cg *c, ir_ref i);          // in a register (general or vector), locked
struct rm cg_use_rm(struct cg *c, ir_ref i); // in a register or memory (vectors: 16 aligned bytes)
// Result register: a new one, distinct from the operands' ...
int cg_def(struct cg *c, ir_ref i);
// ... or one that holds a copy of operand a, taking a's register if it dies here.
int cg_def_copy(struct cg *c, ir_ref i, ir_ref a);
void cg_def_in(struct cg *c, ir_ref i, int reg); // the result is in reg (taken before)
void cg_settle(struct cg *c, ir_ref i, int reg); // a get that is there from the start, off its slot
int cg_tmp(struct cg *c);
int cg_tmp_xmm(struct cg *c);
void cg_release_idle(struct cg *c);                // registers whose value is not needed any more
void cg_release_dead(struct cg *c, uint32_t mask); // those of `mask` whose value was not before pos
void cg_evict(struct cg *c, int reg);              // its value to its home
void cg_take(struct cg *c, int reg);               // empty this register and lock it
struct cg_copy {
    int dst, src; // src NO_REG: value x comes from its home
    ir_ref x;
};
void cg_move(struct cg *c, int dst, ir_ref i); // load value i into a taken register; EFLAGS kept
void cg_before_call(struct cg *c, bool slots_change); // what lives on survives the call
void cg_after_call(struct cg *c);
// Where the values of a snapshot are now.
void cg_record(struct cg *c, uint32_t snap, uint32_t *first, uint32_t *n);
// What is known of value i. Half of a value (trunc), and the extension of a 32-bit result, which
// the instruction that made it has extended, are the value itself.
static inline struct val *cg_val(const struct cg *c, ir_ref i)
{
    return &c->v[c->root[i]];
}
static inline bool cg_dies(const struct cg *c, ir_ref i)
{
    return cg_val(c, i)->last <= c->pos;
}

// The address operand of a load or store as it is encoded: in user mode a sum with a constant is
// folded into the instruction (V_FOLDED), and the sum's other operand takes its place.
bool cg_address_folds(const struct cg *c, const struct ir_insn *in);
static inline ir_ref cg_address(const struct cg *c, ir_ref i, int32_t *disp)
{
    const struct ir_insn *sum = &c->in[c->in[i].a];
    if (!(c->v[i].flags & V_FOLDED)) {
        *disp = 0;
        return c->in[i].a;
    }
    *disp = (int32_t)c->in[sum->b].imm;
    return sum->a;
}

// ---- flags.c ----
enum x86_cc cg_cond(struct cg *c, ir_ref b);          // EFLAGS such that the condition means b
void cg_materialise(struct cg *c, ir_ref i, int reg); // a lazy value into a taken register
void cg_carry(struct cg *c, ir_ref f);                // CF = C of flags f
void cg_note_flags(struct cg *c,
                   ir_ref i); // EFLAGS are those of sub or add i: note the flags value

// ---- lower_ctl.c ----
void cg_store_slots(struct cg *c, uint32_t snap); // hot: the snapshot's values into their slots
void cg_eval(struct cg *c, ir_ref i);             // out of line, by ir_eval
// A pc of the region into a register; EFLAGS may go.
void cg_emit_pc(struct cg *c, int reg, uint64_t pc);
void cg_emit_link(struct cg *c, unsigned opcode, struct link *l); // a jump or call along l
void cg_emit_poll(struct cg *c, bool pc_in_rax, uint64_t pc); // look at interrupts; goes on at pc
void cg_leave_for_mode(struct cg *c);                         // to the pc in rax
// Fixed code: on to the pc in rax. `fill`: it was the link in rsi whose slot did not match.
void cg_emit_lookup_thunk(struct cg *c, const uint8_t *on_miss, bool fill);
void cg_c_call(struct cg *c, const void *fn); // on the C stack; arguments are set

void cg_copy_all(struct cg *c, struct cg_copy *m,
                 unsigned n); // at once: one's target may be another's source

// ---- stubs.c ----
void cg_emit_stubs(struct cg *c);

// ---- lower_mem.c ----
void cg_slow_stub(struct cg *c, const struct stub *s);
void cg_span_stub(struct cg *c, const struct stub *s);
void cg_emit_span_checks(struct cg *c); // fixed code for those stubs
// The registers a slow access works on, pushed before its call.
// After a slow access, so many bytes behind the call are passed over.
#define SLOW_SKIP_SHIFT 29
#define SLOW_INFO(mo, addr, val, op, type)                                                         \
    ((uint32_t)(mo) | (uint32_t)(addr) << 13 | (uint32_t)(val) << 17 |                             \
     (uint32_t)((op)-IR_load) << 22 | (uint32_t)(type) << 26)

#define RULE(name)                   void lower_##name(struct cg *c, ir_ref i)
#define R(op, fn, needs, keeps, arg) RULE(fn);
#include "jit/x86_64/rules.def"
#undef R
