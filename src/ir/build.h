// Builds a region one operation at a time. The builder folds constants, simplifies, value-numbers
// and forwards slot reads from slot writes while it goes, so that tier 1 needs no further pass over
// the nodes; each of these has a switch (struct ir_switches). The ISA's lift functions see only
// this header.
#pragma once

#include "ir/ir.h"

// aux of exits
enum {
    EXIT_POLL = 1, // look at env.interrupt before going on (back-edges, computed targets): set by
                   // the builder
    EXIT_MODE = 2, // the mode may not be the region's any more: it is asked for again there
};

struct ir_switches { // -accel tcg,opt-…=off; all on by default
    bool fold, value_numbering, forward_slots, superblocks, loops, calls, fp_state, plain_pairs,
        scattered, masks, spans, fixed_point, tails;
};
extern const struct ir_switches ir_switches_all;

// Zeroed before its first use, then good for any number of regions.
struct ir_build {
    struct ir_region *r;
    struct ir_switches sw;
    uint64_t pc; // of the instruction being lifted, as the region says it
    // Its mode: the region's, until the ISA says that an instruction has changed it to another
    // known one. Where they differ exits are EXIT_MODE.
    uint64_t mode;
    bool ended; // an FX_END op was emitted; whatever is emitted after it is thrown away
    // Direct calls to [calls_lo, calls_hi) may go on in the callee, so many times: set by the
    // driver after ir_build_begin, none before.
    uint64_t calls_lo, calls_hi;
    unsigned calls_left;
    bool exits; // there were some: what comes now may never be reached
    // Ended by a goto or such a call the driver may continue through (superblock) with
    // ir_build_insn(follow_pc), or close with ir_build_end(follow_pc). What the instruction still
    // emits is thrown away.
    bool follow;
    bool follow_call;
    uint64_t follow_pc;

    // private to build.c from here
    ir_ref slot_val[IR_MAX_SLOTS];            // current value, or IR_NONE when not known
    uint16_t known[IR_MAX_SLOTS];             // the slots whose value is known
    uint16_t dirty_at[IR_MAX_SLOTS];          // 1 + index in `dirty`; 0: equal to memory
    struct ir_snap_entry dirty[IR_MAX_SLOTS]; // slots that differ from memory
    unsigned n_known, n_dirty;
    uint32_t list_first; // where `dirty` was last copied to in region.snap_entries ...
    bool list_current;   // ... and has not changed since
    uint32_t snap;       // the latest snapshot with that list, 0: none
    uint64_t high_pc;    // highest instruction so far: exits at or below it poll
    ir_ref sync;         // the last node that made memory agree with the slots
    ir_ref fp_barrier;   // the last node that may have changed the rounding mode
    // Accesses off one base are checked together: the latest bases, see span_of().
    struct {
        ir_ref base, span;
    } spans[8];
    unsigned next_span;
    uint64_t epoch;         // differs from region to region
    uint64_t numbers[1024]; // value numbers: hash and node, see number()
};

// Starts a region at r->pc in r->mode, which the caller has set.
void ir_build_begin(struct ir_build *b, struct ir_region *r, const struct ir_switches *sw);
void ir_build_insn(struct ir_build *b, uint64_t pc); // the next guest instruction starts
// Ends a region that ran into a limit: goto pc. No effect on one that has ended.
void ir_build_end(struct ir_build *b, uint64_t pc);

// The general form; the rest of this file is shorthand for it. Returns the value (perhaps an
// earlier node).
ir_ref ir_emit(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x, ir_ref y,
               ir_ref z);
ir_ref ir_const(struct ir_build *b, unsigned type, uint64_t v);
bool ir_is_const(const struct ir_build *b, ir_ref v, uint64_t *val);
// A pc, or an address at a constant distance from one, as a value: whatever lift functions derive
// from the pc goes through here, so that it holds wherever a movable region runs.
ir_ref ir_pc(struct ir_build *b, uint64_t pc);
static inline unsigned ir_type_of(const struct ir_build *b, ir_ref v)
{
    return b->r->insns.data[v].type;
}

// A guest register by its slot (struct ir_guest), and a member of the CPU's state by its offset.
ir_ref ir_get(struct ir_build *b, unsigned slot);
void ir_put(struct ir_build *b, unsigned slot,
            ir_ref v); // not the pc slot: exits and snapshots set it
ir_ref ir_ldenv(struct ir_build *b, unsigned type, unsigned offset);
void ir_stenv(struct ir_build *b, unsigned offset, ir_ref v, unsigned mo_size);
void ir_set_fflags(struct ir_build *b, ir_ref v, unsigned aux);

// Guest memory; `mo` says size, sign and order (ir.h). What faults leaves by the snapshot.
ir_ref ir_load(struct ir_build *b, unsigned type, ir_ref addr, unsigned mo);
void ir_store(struct ir_build *b, ir_ref addr, ir_ref v, unsigned mo);
// ll, sc, cas, swap, amo*: ir_atomic(b, IR_amoadd, type, addr, x, IR_NONE, mo)
ir_ref ir_atomic(struct ir_build *b, unsigned op, unsigned type, ir_ref addr, ir_ref x, ir_ref y,
                 unsigned mo);
void ir_fence(struct ir_build *b, unsigned mo);

// Up to 5 arguments after env. STATE helpers see exact slots and pc; every slot is unknown
// afterwards. A STATE helper that also ENDS the region leaves in the pc slot where to go on.
ir_ref ir_call(struct ir_build *b, const struct ir_helper *h, const ir_ref *args);
#define ir_call0(b, h)      ir_call(b, h, NULL)
#define ir_callv(b, h, ...) ir_call(b, h, (const ir_ref[]){__VA_ARGS__})

void ir_exit_if(struct ir_build *b, ir_ref cond, uint64_t pc); // taken: go to pc; else go on
// The same, where the mode is not b->mode if taken.
void ir_exit_mode_if(struct ir_build *b, ir_ref cond, uint64_t pc);
// The same as the last thing an instruction does; `next` follows it. Where pc is the region's start
// the region ends here, as a loop.
void ir_branch_if(struct ir_build *b, ir_ref cond, uint64_t pc, uint64_t next);
// The region may go on at pc (b->follow) unless the driver decides otherwise and calls
// ir_build_end.
void ir_goto(struct ir_build *b, uint64_t pc);
void ir_indirect(struct ir_build *b, ir_ref pc);
void ir_callto(struct ir_build *b, ir_ref target, uint64_t return_pc); // target: ir_pc, or computed
void ir_ret(struct ir_build *b, ir_ref pc);
void ir_leave(struct ir_build *b, enum env_leave why, uint64_t pc);

#define IR_UN(name)                                                                                \
    static inline ir_ref ir_##name(struct ir_build *b, ir_ref x)                                   \
    {                                                                                              \
        return ir_emit(b, IR_##name, ir_type_of(b, x), 0, x, IR_NONE, IR_NONE);                    \
    }
#define IR_BIN(name)                                                                               \
    static inline ir_ref ir_##name(struct ir_build *b, ir_ref x, ir_ref y)                         \
    {                                                                                              \
        return ir_emit(b, IR_##name, ir_type_of(b, x), 0, x, y, IR_NONE);                          \
    }
// clang-format off
IR_BIN(add) IR_BIN(sub) IR_BIN(mul) IR_BIN(mulhu) IR_BIN(mulhs) IR_BIN(udiv) IR_BIN(sdiv)
IR_BIN(urem) IR_BIN(srem) IR_BIN(and) IR_BIN(or) IR_BIN(xor) IR_BIN(andn) IR_BIN(shl)
IR_BIN(shr) IR_BIN(sar) IR_BIN(rotr) IR_BIN(band) IR_BIN(bor) IR_UN(not) IR_UN(neg)
IR_UN(clz) IR_UN(ctz) IR_UN(popcnt) IR_UN(bswap) IR_UN(bitrev) IR_UN(bnot)
#undef IR_UN
#undef IR_BIN
static inline ir_ref ir_i32(struct ir_build *b, uint32_t v)
{
    return ir_const(b, IR_I32, v);
}
// clang-format on
static inline ir_ref ir_i64(struct ir_build *b, uint64_t v)
{
    return ir_const(b, IR_I64, v);
}
static inline ir_ref ir_addi(struct ir_build *b, ir_ref x, int64_t i)
{
    return ir_add(b, x, ir_const(b, ir_type_of(b, x), (uint64_t)i));
}
static inline ir_ref ir_andi(struct ir_build *b, ir_ref x, uint64_t i)
{
    return ir_and(b, x, ir_const(b, ir_type_of(b, x), i));
}
static inline ir_ref ir_shli(struct ir_build *b, ir_ref x, unsigned n)
{
    return ir_shl(b, x, ir_const(b, ir_type_of(b, x), n));
}
static inline ir_ref ir_shri(struct ir_build *b, ir_ref x, unsigned n)
{
    return ir_shr(b, x, ir_const(b, ir_type_of(b, x), n));
}
static inline ir_ref ir_sari(struct ir_build *b, ir_ref x, unsigned n)
{
    return ir_sar(b, x, ir_const(b, ir_type_of(b, x), n));
}
static inline ir_ref ir_zext(struct ir_build *b, unsigned type, ir_ref x, unsigned from_bits)
{
    return ir_emit(b, IR_zext, type, from_bits, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_sext(struct ir_build *b, unsigned type, ir_ref x, unsigned from_bits)
{
    return ir_emit(b, IR_sext, type, from_bits, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_trunc(struct ir_build *b, ir_ref x)
{
    return ir_emit(b, IR_trunc, IR_I32, 0, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_extr(struct ir_build *b, ir_ref hi, ir_ref lo, unsigned lsb)
{
    return ir_emit(b, IR_extr, ir_type_of(b, hi), lsb, hi, lo, IR_NONE);
}
static inline ir_ref ir_bfi(struct ir_build *b, ir_ref x, ir_ref field, unsigned lsb,
                            unsigned width)
{
    return ir_emit(b, IR_bfi, ir_type_of(b, x), lsb | width << 8, x, field, IR_NONE);
}
static inline ir_ref ir_cmp(struct ir_build *b, enum ir_cmp cc, ir_ref x, ir_ref y)
{
    return ir_emit(b, IR_cmp, IR_BOOL, cc, x, y, IR_NONE);
}
static inline ir_ref ir_select(struct ir_build *b, ir_ref cond, ir_ref x, ir_ref y)
{
    return ir_emit(b, IR_select, ir_type_of(b, x), 0, cond, x, y);
}
static inline ir_ref ir_b2i(struct ir_build *b, unsigned type, ir_ref x)
{
    return ir_emit(b, IR_b2i, type, 0, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_i2b(struct ir_build *b, ir_ref x)
{
    return ir_emit(b, IR_i2b, IR_BOOL, 0, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_addf(struct ir_build *b, ir_ref x, ir_ref y)
{
    return ir_emit(b, IR_addf, IR_FLAGS, 0, x, y, IR_NONE);
}
static inline ir_ref ir_subf(struct ir_build *b, ir_ref x, ir_ref y)
{
    return ir_emit(b, IR_subf, IR_FLAGS, 0, x, y, IR_NONE);
}
static inline ir_ref ir_adc(struct ir_build *b, ir_ref x, ir_ref y, ir_ref f)
{
    return ir_emit(b, IR_adc, ir_type_of(b, x), 0, x, y, f);
}
static inline ir_ref ir_adcf(struct ir_build *b, ir_ref x, ir_ref y, ir_ref f)
{
    return ir_emit(b, IR_adcf, IR_FLAGS, 0, x, y, f);
}
static inline ir_ref ir_testf(struct ir_build *b, ir_ref x)
{
    return ir_emit(b, IR_testf, IR_FLAGS, 0, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_fcond(struct ir_build *b, enum ir_cond cc, ir_ref flags)
{
    return ir_emit(b, IR_fcond, IR_BOOL, cc, flags, IR_NONE, IR_NONE);
}
static inline ir_ref ir_packf(struct ir_build *b, ir_ref flags)
{
    return ir_emit(b, IR_packf, IR_I32, 0, flags, IR_NONE, IR_NONE);
}
static inline ir_ref ir_unpackf(struct ir_build *b, ir_ref x)
{
    return ir_emit(b, IR_unpackf, IR_FLAGS, 0, x, IR_NONE, IR_NONE);
}
// Vectors and floating point: the result type is given where it is not an operand's.
static inline ir_ref ir_v1(struct ir_build *b, unsigned op, unsigned aux, ir_ref x)
{
    return ir_emit(b, op, IR_V128, aux, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_v2(struct ir_build *b, unsigned op, unsigned aux, ir_ref x, ir_ref y)
{
    return ir_emit(b, op, IR_V128, aux, x, y, IR_NONE);
}
static inline ir_ref ir_v3(struct ir_build *b, unsigned op, unsigned aux, ir_ref x, ir_ref y,
                           ir_ref z)
{
    return ir_emit(b, op, IR_V128, aux, x, y, z);
}
static inline ir_ref ir_vzext(struct ir_build *b, ir_ref x)
{
    return ir_emit(b, IR_vzext, IR_V128, 0, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_vlow(struct ir_build *b, unsigned type, ir_ref v)
{
    return ir_emit(b, IR_vlow, type, 0, v, IR_NONE, IR_NONE);
}
static inline ir_ref ir_f1(struct ir_build *b, unsigned op, unsigned aux, ir_ref x)
{
    return ir_emit(b, op, ir_type_of(b, x), aux, x, IR_NONE, IR_NONE);
}
static inline ir_ref ir_f2(struct ir_build *b, unsigned op, unsigned aux, ir_ref x, ir_ref y)
{
    return ir_emit(b, op, ir_type_of(b, x), aux, x, y, IR_NONE);
}
