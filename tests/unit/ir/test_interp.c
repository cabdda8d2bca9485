// The interpreter: state and memory effects, precise state at a fault, helpers, known answers of
// operations; and random regions, which must end in the same state whether the builder simplified
// them or not.
#include "guest.h"
#include "base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct ir_region region;
static struct ir_build build;
static struct test_cpu cpu;
static uint8_t memory[64];
static jmp_buf left;
static enum env_leave why;

static uint64_t exec_load(struct env *e, gva_t va, unsigned mo)
{
    if (va >= sizeof memory) {
        why = LEAVE_SIGNAL;
        longjmp(left, 1);
    }
    uint64_t v = 0;
    memcpy(&v, memory + va, MO_SIZE_BYTES(mo));
    return v;
}
static void exec_store(struct env *e, gva_t va, uint64_t v, unsigned mo)
{
    if (va >= sizeof memory)
        longjmp(left, 1);
    memcpy(memory + va, &v, MO_SIZE_BYTES(mo));
}
static v128 exec_load128(struct env *e, gva_t va, unsigned mo)
{
    v128 v;
    memcpy(&v, memory + va, 16);
    return v;
}
static void exec_store128(struct env *e, gva_t va, v128 v, unsigned mo)
{
    memcpy(memory + va, &v, 16);
}
static const struct env_exec_ops exec_ops = {
    .load = exec_load, .store = exec_store, .load128 = exec_load128, .store128 = exec_store128};

static struct ir_build *begin_with(uint64_t pc, const struct ir_switches *sw)
{
    ir_region_reset(&region, &test_guest, pc, 0);
    ir_build_begin(&build, &region, sw);
    ir_build_insn(&build, pc);
    return &build;
}

static struct ir_build *begin(uint64_t pc)
{
    memset(&cpu, 0, sizeof cpu);
    cpu.env.exec = &exec_ops;
    cpu.env.monitor.addr = MONITOR_NONE;
    return begin_with(pc, &ir_switches_all);
}

static struct ir_outcome run(void)
{
    struct err e = {0};
    ir_build_end(&build, build.pc + 4);
    if (ir_verify(&region, &e)) {
        struct buf out = {0};
        ir_print(&region, &out);
        fail_msg("%s\n%s", e.msg, buf_str(&out));
    }
    return ir_interp(&region, &cpu.env);
}

static void state_is_stored(void **state)
{
    struct ir_build *b = begin(0x1000);
    cpu.x[0] = 7;
    ir_put(b, S_X1, ir_addi(b, ir_get(b, S_X0), 1));
    ir_store(b, ir_i64(b, 8), ir_get(b, S_X1), MO_32);
    ir_build_insn(b, 0x1004);
    ir_put(b, S_X2, ir_load(b, IR_I64, ir_i64(b, 8), MO_8));
    struct ir_outcome o = run();
    assert_int_equal(o.kind, OUT_GOTO);
    assert_int_equal(o.insns, 2);
    assert_int_equal(cpu.pc, 0x1008);
    assert_int_equal(cpu.x[1], 8);
    assert_int_equal(cpu.x[2], 8);
}

static void faults_are_precise(void **state)
{
    struct ir_build *b = begin(0x1000);
    cpu.x[0] = 100;
    ir_put(b, S_X1, ir_i64(b, 1));
    ir_build_insn(b, 0x1004);
    ir_put(b, S_X2, ir_load(b, IR_I64, ir_get(b, S_X0), MO_64));
    ir_put(b, S_X1, ir_i64(b, 2));
    if (!setjmp(left)) {
        run();
        fail();
    }
    assert_int_equal(cpu.pc, 0x1004);
    assert_int_equal(cpu.x[1], 1);
    assert_int_equal(cpu.x[2], 0);
}

static void restored_slots_stay(void **state)
{
    struct ir_build *b = begin(0x1000);
    cpu.x[0] = 5;
    ir_ref x = ir_get(b, S_X0);
    ir_put(b, S_X0, ir_addi(b, x, 16));
    ir_store(b, ir_i64(b, 0), ir_get(b, S_X0), MO_64);
    ir_put(b, S_X0, x);
    run();
    assert_int_equal(cpu.x[0], 5);
    assert_int_equal(memory[0], 21);
}

static uint64_t helper_fn(struct env *e, uint64_t x, double d)
{
    assert_int_equal(((struct test_cpu *)e)->pc, 0x1000);
    ((struct test_cpu *)e)->x[3] += x;
    return (uint64_t)d;
}
static double pure_fn(uint32_t x, double y)
{
    return x * y;
}
static const struct ir_helper h_state = {"state", helper_fn, HELPER_STATE,
                                         IR_I64,  2,         {IR_I64, IR_F64}};
static const struct ir_helper h_pure = {"pure", pure_fn, HELPER_PURE, IR_F64, 2, {IR_I32, IR_F64}};

static void helpers_see_state(void **state)
{
    struct ir_build *b = begin(0x1000);
    ir_put(b, S_X3, ir_i64(b, 30));
    union ir_val d = {.f64 = {2.5}};
    ir_ref y = ir_callv(b, &h_pure, ir_i32(b, 4), ir_const(b, IR_F64, d.u64[0]));
    ir_put(b, S_X4, ir_callv(b, &h_state, ir_i64(b, 12), y));
    ir_put(b, S_X5, ir_get(b, S_X3));
    run();
    assert_int_equal(cpu.x[4], 10);
    assert_int_equal(cpu.x[5], 42);
}

static void atomics(void **state)
{
    struct ir_build *b = begin(0x1000);
    uint32_t init = 0xfffffff0;
    memcpy(memory + 4, &init, 4);
    ir_ref at = ir_i64(b, 4);
    ir_put(b, S_X0,
           ir_atomic(b, IR_amosmax, IR_I64, at, ir_i64(b, 5), IR_NONE, MO_32 | MO_SIGN | MO_SEQ));
    ir_put(b, S_X1, ir_atomic(b, IR_cas, IR_I64, at, ir_i64(b, 5), ir_i64(b, 9), MO_32));
    ir_put(b, S_X2, ir_atomic(b, IR_ll, IR_I64, at, IR_NONE, IR_NONE, MO_32));
    ir_ref ok = ir_atomic(b, IR_sc, IR_BOOL, at, ir_i64(b, 11), IR_NONE, MO_32);
    ir_ref again = ir_atomic(b, IR_sc, IR_BOOL, at, ir_i64(b, 12), IR_NONE, MO_32);
    ir_put(b, S_X3, ir_b2i(b, IR_I64, ok));
    ir_put(b, S_X4, ir_b2i(b, IR_I64, again));
    ir_put(b, S_X5, ir_load(b, IR_I64, at, MO_32));
    run();
    assert_true(cpu.x[0] == 0xfffffffffffffff0);
    assert_int_equal(cpu.x[1], 5);
    assert_int_equal(cpu.x[2], 9);
    assert_int_equal(cpu.x[3], 1);
    assert_int_equal(cpu.x[4], 0);
    assert_int_equal(cpu.x[5], 11);
}

// The monitor as host code leaves it: nothing is said of what lies beyond the access's size.
static void store_conditional_compares_its_size(void **state)
{
    struct ir_build *b = begin(0x1000);
    uint32_t there = 0x80000001;
    memcpy(memory + 4, &there, 4);
    cpu.env.monitor.addr = 4;
    cpu.env.monitor.size = 4;
    cpu.env.monitor.val[0] = 0xffffffff80000001;
    cpu.env.monitor.val[1] = 7;
    ir_ref ok = ir_atomic(b, IR_sc, IR_BOOL, ir_i64(b, 4), ir_i64(b, 11), IR_NONE, MO_32);
    ir_put(b, S_X3, ir_b2i(b, IR_I64, ok));
    run();
    assert_int_equal(cpu.x[3], 1);
    memcpy(&there, memory + 4, 4);
    assert_int_equal(there, 11);
}

// FIPS 197, appendix B, first round.
static void aes_known_answer(void **state)
{
    static const uint8_t in[16] = {0x19, 0x3d, 0xe3, 0xbe, 0xa0, 0xf4, 0xe2, 0x2b,
                                   0x9a, 0xc6, 0x8d, 0x2a, 0xe9, 0xf8, 0x48, 0x08};
    static const uint8_t mixed[16] = {0x04, 0x66, 0x81, 0xe5, 0xe0, 0xcb, 0x19, 0x9a,
                                      0x48, 0xf8, 0xd3, 0x7a, 0x28, 0x06, 0x26, 0x4c};
    struct ir_build *b = begin(0x1000);
    memcpy(&cpu.v[0], in, 16);
    ir_ref r = ir_v1(b, IR_aesmc, 0, ir_v2(b, IR_aese, 0, ir_get(b, S_V0), ir_get(b, S_V1)));
    ir_put(b, S_V2, r);
    ir_put(b, S_V3, ir_v2(b, IR_aesd, 0, ir_v1(b, IR_aesimc, 0, r), ir_get(b, S_V1)));
    run();
    assert_memory_equal(&cpu.v[2], mixed, 16);
    assert_memory_equal(&cpu.v[3], in, 16);
}

static union ir_val eval(unsigned op, unsigned aux, uint64_t x, uint64_t y)
{
    union ir_val abc[3] = {{.u64 = {x, 0}}, {.u64 = {y, 0}}}, r;
    ir_eval[op](NULL, IR_EVAL_TYPES(IR_V128, IR_V128), aux, &r, abc);
    return r;
}

static union ir_val eval3(unsigned op, unsigned aux, union ir_val x, union ir_val y, union ir_val z)
{
    union ir_val abc[3] = {x, y, z}, r;
    ir_eval[op](NULL, IR_EVAL_TYPES(IR_V128, IR_V128), aux, &r, abc);
    return r;
}

// FIPS 180-4's examples: the message "abc", in one block.
static const uint32_t abc_block[16] = {0x61626380, [15] = 24};

static void sha1_known_answer(void **state)
{
    const union ir_val start = {.u32 = {0x10325476, 0x98badcfe, 0xefcdab89, 0x67452301}};
    uint32_t w[80], e = 0xc3d2e1f0;
    for (unsigned i = 0; i < 80; i++) {
        uint32_t x = i < 16 ? 0 : w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
        w[i] = i < 16 ? abc_block[i] : x << 1 | x >> 31;
    }
    union ir_val s = start, none = {0};
    for (unsigned i = 0; i < 80; i += 4) {
        union ir_val m = {.u32 = {w[i + 3], w[i + 2], w[i + 1], w[i] + e}};
        e = s.u32[3] << 30 | s.u32[3] >> 2;
        s = eval3(IR_sha1r4, VL_IMM(i / 20), s, m, none);
    }
    assert_int_equal(s.u32[3] + start.u32[3], 0xa9993e36);
    assert_int_equal(s.u32[2] + start.u32[2], 0x4706816a);
    assert_int_equal(s.u32[1] + start.u32[1], 0xba3e2571);
    assert_int_equal(s.u32[0] + start.u32[0], 0x7850c26c);
    assert_int_equal(e + 0xc3d2e1f0, 0x9cd0d89d);
}

// Bits of the fractional part of a root of the n-th prime, as the constants are defined.
static uint32_t prime_root(unsigned n, bool cube)
{
    unsigned p = 1;
    for (unsigned found = 0; found <= n;) {
        bool prime = ++p > 1;
        for (unsigned d = 2; d * d <= p; d++)
            prime = prime && p % d;
        found += prime;
    }
    long double root = cube ? cbrtl(p) : sqrtl(p);
    return (uint32_t)((root - floorl(root)) * 4294967296.0L);
}

static void sha256_known_answer(void **state)
{
    uint32_t h[8], k[64];
    for (unsigned i = 0; i < 64; i++)
        k[i] = prime_root(i, true);
    for (unsigned i = 0; i < 8; i++)
        h[i] = prime_root(i, false);
    union ir_val w[16], none = {0};
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned n = 0; n < 4 && i < 4; n++)
            w[i].u32[n] = abc_block[4 * i + n];
        if (i < 4)
            continue;
        union ir_val x = eval3(IR_sha256m1, 0, w[i - 4], w[i - 3], none);
        for (unsigned n = 0; n < 4; n++)
            x.u32[n] += n < 3 ? w[i - 2].u32[n + 1] : w[i - 1].u32[0];
        w[i] = eval3(IR_sha256m2, 0, x, w[i - 1], none);
    }
    union ir_val first = {.u32 = {h[5], h[4], h[1], h[0]}};
    union ir_val other = {.u32 = {h[7], h[6], h[3], h[2]}};
    for (unsigned i = 0; i < 64; i += 2) {
        union ir_val wk = {
            .u32 = {w[i / 4].u32[i & 3] + k[i], w[i / 4].u32[(i & 3) + 1] + k[i + 1]}};
        union ir_val fresh = eval3(IR_sha256r2, 0, other, first, wk);
        other = first;
        first = fresh;
    }
    assert_int_equal(h[0] + first.u32[3], 0xba7816bf);
    assert_int_equal(h[1] + first.u32[2], 0x8f01cfea);
    assert_int_equal(h[2] + other.u32[3], 0x414140de);
    assert_int_equal(h[3] + other.u32[2], 0x5dae2223);
    assert_int_equal(h[4] + first.u32[1], 0xb00361a3);
    assert_int_equal(h[5] + first.u32[0], 0x96177a9c);
    assert_int_equal(h[6] + other.u32[1], 0xb410ff61);
    assert_int_equal(h[7] + other.u32[0], 0xf20015ad);
}

static void vector_known_answers(void **state)
{
    unsigned half = VL_HALF;
    assert_true(eval(IR_vsqadd, VL_8 | half, 0x7f80, 0x01ff).u64[0] == 0x7f80);
    assert_true(eval(IR_vuqsub, VL_16 | half, 0x00010005, 0x00020003).u64[0] == 2);
    assert_true(eval(IR_vsqrdmulh, VL_16 | half, 0x8000, 0x8000).u64[0] == 0x7fff);
    assert_true(eval(IR_vsqshl, VL_64 | VL_SCALAR, 1, 64).u64[0] == INT64_MAX);
    assert_true(eval(IR_vsqshl, VL_64 | VL_SCALAR, ~0ull, 100).u64[0] == 1ull << 63);
    assert_true(eval(IR_vuqshl, VL_64 | VL_SCALAR, 0, 64).u64[0] == 0);
    assert_true(eval(IR_vurshl, VL_64 | VL_SCALAR, ~0ull, 0xc0).u64[0] == 1);
    assert_true(eval(IR_vsrshl, VL_32 | VL_SCALAR, 0x80000000, 0xe0).u64[0] == 0);
    assert_true(eval(IR_vrshri, VL_8 | half | VL_IMM(8), 0xff7f, 0).u64[0] == 0x0100);
    assert_true(eval(IR_vzip1, VL_8 | half, 0x44332211, 0x88776655).u64[0] == 0x8844773366225511);
    assert_true(eval(IR_vuzp2, VL_16 | half, 0x4444333322221111, 0x8888777766665555).u64[0] ==
                0x8888666644442222);
    assert_true(eval(IR_vrev, VL_16 | half | VL_IMM(3), 0x4444333322221111, 0).u64[0] ==
                0x1111222233334444);
    assert_true(eval(IR_vpmull, VL_64, 3, 1ull << 63).u64[1] == 1);
    assert_true(eval(IR_vsqxtun, VL_8, 0x00ff0100ffff0012, 0).u64[0] == 0xffff0012);
    assert_true(eval(IR_vaddv, VL_8 | half, 0x0102030405060708, 0).u64[0] == 36);
    assert_true(eval(IR_vcls, VL_16 | half, 0xffff00017fff8000, 0).u64[0] == 0x000f000e00000000);
}

static void every_operation_evaluates(void **state)
{
    for (unsigned op = IR_add; op < IR_call; op++) {
        bool pure = !(ir_op_info[op].effects & (FX_READ | FX_WRITE | FX_LEAVE));
        if (pure != (ir_eval[op] != NULL))
            fail_msg("%s", ir_op_info[op].name);
    }
}

// Scalar and lanes agree, flags accumulate, the fixed rounding mode beats the dynamic one.
static void floating_point_environment(void **state)
{
    struct ir_build *b = begin(0x1000);
    cpu.env.fp.rounding = FP_RUP;
    cpu.env.fp.flags = FP_DIVZERO;
    union ir_val one = {.f64 = {1, 1}}, three = {.f64 = {3, 3}};
    ir_ref x = ir_const(b, IR_F64, one.u64[0]), y = ir_const(b, IR_F64, three.u64[0]);
    unsigned down = FPA_RM_FIXED(FP_RDN);
    ir_put(b, S_X0, ir_emit(b, IR_fbits, IR_I64, 0, ir_f2(b, IR_fdiv, 0, x, y), 0, 0));
    ir_put(b, S_X1, ir_emit(b, IR_fbits, IR_I64, 0, ir_f2(b, IR_fdiv, down, x, y), 0, 0));
    ir_put(b, S_V0,
           ir_v2(b, IR_vfdiv, VL_64 | down, ir_const(b, IR_V128, one.u64[0]),
                 ir_const(b, IR_V128, three.u64[0])));
    run();
    assert_true(cpu.x[0] == 0x3fd5555555555556);
    assert_true(cpu.x[1] == 0x3fd5555555555555);
    assert_true(((uint64_t *)&cpu.v[0])[1] == 0x3fd5555555555555);
    assert_int_equal(cpu.env.fp.flags, FP_DIVZERO | FP_INEXACT);
}

// ---- random regions ----

static uint64_t seed = 1;
static uint64_t rnd(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed * 0x2545f4914f6cdd1du >> 20) % n;
}
static uint64_t rnd_value(void)
{
    static const uint64_t nice[] = {0,          1,          ~0ull,      0x80,       0xff,
                                    0x7fffffff, 0x80000000, 0xffffffff, 1ull << 63, INT64_MAX,
                                    31,         32,         63,         64,         8};
    return rnd(3) ? nice[rnd(ARRAY_SIZE(nice))] : rnd(~0ull) ^ rnd(~0ull) << 30;
}

struct pool {
    ir_ref v[IR_TYPES][64];
    unsigned n[IR_TYPES];
};
static void pool_add(struct pool *p, const struct ir_build *b, ir_ref v)
{
    unsigned t = ir_type_of(b, v);
    p->v[t][p->n[t]++ % 64] = v;
}
static ir_ref pool_pick(const struct pool *p, unsigned type)
{
    return p->v[type][rnd(MIN(p->n[type], 64u))];
}

static unsigned operand_type(unsigned class, unsigned result)
{
    switch (class) {
    case C_BOOL:
        return IR_BOOL;
    case C_I32:
        return IR_I32;
    case C_I64:
        return IR_I64;
    case C_V128:
        return IR_V128;
    case C_FLAGS:
        return IR_FLAGS;
    case C_T:
        return result;
    case C_ANY:
    case C_INT:
        return rnd(2) ? IR_I32 : IR_I64;
    default:
        return IR_VOID;
    }
}

static unsigned random_aux(unsigned op, unsigned type, unsigned in)
{
    unsigned w = type == IR_I64 ? 64 : 32, wa = in == IR_I64 ? 64 : 32;
    unsigned lane = (unsigned)rnd(4), lsb;
    switch (op) {
    case IR_extr:
        return (unsigned)rnd(w);
    case IR_zext:
    case IR_sext:
        return 1 + (unsigned)rnd(MIN(w, wa));
    case IR_bfi:
        lsb = (unsigned)rnd(w);
        return lsb | (1 + (unsigned)rnd(w - lsb)) << 8;
    case IR_cmp:
        return (unsigned)rnd(10);
    case IR_fcond:
        return (unsigned)rnd(14);
    case IR_crc32:
        return (unsigned)rnd(8);
    case IR_vgetu:
    case IR_vgets:
    case IR_vset:
    case IR_vdup:
        lane = type == IR_I32 || in == IR_I32 || op == IR_vset ? (unsigned)rnd(3) : lane;
        return lane | VL_IMM((unsigned)rnd(16u >> lane) * (op != IR_vdup));
    default:
        if (op < IR_vzext)
            return 0;
        return lane | (rnd(2) ? VL_HALF : 0) | VL_IMM(1 + (unsigned)rnd((8u << lane) - 1) % 7);
    }
}

static void random_node(struct ir_build *b, struct pool *p)
{
    unsigned op;
    do
        op = 1 + (unsigned)rnd(IR_vneg);
    while (!ir_eval[op] || ir_op_info[op].effects & FX_FP || op == IR_vrev || op == IR_vduplane);
    const struct ir_op_info *info = &ir_op_info[op];
    if (info->result == C_FP || info->a == C_FP || op == IR_fbox || op == IR_funbox)
        return;
    unsigned type = operand_type(info->result, 0), a = operand_type(info->a, type),
             c2 = operand_type(info->b, type), c3 = operand_type(info->c, type);
    if (op == IR_cmp || op == IR_addf || op == IR_subf || op == IR_adcf)
        c2 = a;
    unsigned aux = random_aux(op, type, a);
    ir_ref v = ir_emit(b, op, type, aux, a ? pool_pick(p, a) : 0, c2 ? pool_pick(p, c2) : 0,
                       c3 ? pool_pick(p, c3) : 0);
    pool_add(p, b, v);
}

static void random_region(struct ir_build *b)
{
    struct pool p = {0};
    for (unsigned i = 0; i < 4; i++) {
        pool_add(&p, b, ir_get(b, S_X0 + i));
        pool_add(&p, b, ir_get(b, S_V0 + i));
        pool_add(&p, b, ir_i64(b, rnd_value()));
        pool_add(&p, b, ir_i32(b, (uint32_t)rnd_value()));
    }
    pool_add(&p, b, ir_get(b, S_W));
    pool_add(&p, b, ir_get(b, S_FLAGS));
    pool_add(&p, b, ir_const(b, IR_BOOL, rnd(2)));
    pool_add(&p, b, ir_const(b, IR_V128, rnd_value()));
    for (unsigned i = 0; i < 60; i++) {
        random_node(b, &p);
        if (!rnd(4))
            ir_put(b, S_X0 + (unsigned)rnd(8), pool_pick(&p, IR_I64));
        if (!rnd(4))
            pool_add(&p, b, ir_get(b, S_X0 + (unsigned)rnd(8)));
        if (!rnd(8))
            ir_put(b, S_V0 + (unsigned)rnd(4), pool_pick(&p, IR_V128));
        if (!rnd(8))
            ir_put(b, S_FLAGS, pool_pick(&p, IR_FLAGS));
        if (!rnd(8))
            ir_put(b, S_W, pool_pick(&p, IR_I32));
        if (!rnd(10))
            ir_store(b, ir_i64(b, rnd(8) * 8), pool_pick(&p, IR_I64), MO_64);
        if (!rnd(20))
            ir_exit_if(b, pool_pick(&p, IR_BOOL), 0x5000 + i);
    }
}

static void random_regions_agree(void **state)
{
    static const struct ir_switches plain = {0};
    for (unsigned i = 0; i < 20000; i++) {
        begin(0x1000);
        uint64_t start = seed = i * 0x9e3779b97f4a7c15u + 1;
        for (unsigned k = 0; k < 8; k++)
            cpu.x[k] = rnd_value();
        for (unsigned k = 0; k < 8; k++)
            ((uint64_t *)cpu.v)[k] = rnd_value();
        cpu.w = (uint32_t)rnd_value();
        cpu.flags = (uint32_t)rnd_value();
        struct test_cpu initial = cpu, simplified;
        uint8_t mem_simplified[sizeof memory];
        memset(memory, 0, sizeof memory);
        start = seed;
        random_region(&build);
        if (build.follow) // a constant condition was true
            ir_build_end(&build, build.follow_pc);
        run();
        simplified = cpu;
        memcpy(mem_simplified, memory, sizeof memory);
        memset(memory, 0, sizeof memory);
        cpu = initial;
        seed = start;
        begin_with(0x1000, &plain);
        random_region(&build);
        run();
        // Only the packed bits of a flags slot are defined.
        simplified.flags &= PACK_MASK;
        cpu.flags &= PACK_MASK;
        if (memcmp(&cpu, &simplified, sizeof cpu) ||
            memcmp(memory, mem_simplified, sizeof memory)) {
            struct buf out = {0};
            ir_print(&region, &out);
            seed = start;
            begin_with(0x1000, &ir_switches_all);
            random_region(&build);
            ir_build_end(&build, 0);
            ir_print(&region, &out);
            for (size_t k = offsetof(struct test_cpu, x) / 8; k < sizeof cpu / 8; k++)
                if (((uint64_t *)&cpu)[k] != ((uint64_t *)&simplified)[k])
                    buf_printf(&out, "word %zu: %#lx, simplified %#lx\n",
                               k - offsetof(struct test_cpu, x) / 8, ((uint64_t *)&cpu)[k],
                               ((uint64_t *)&simplified)[k]);
            fprintf(stderr, "%s", buf_str(&out));
            fail_msg("region %u differs", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_is_stored),
        cmocka_unit_test(faults_are_precise),
        cmocka_unit_test(restored_slots_stay),
        cmocka_unit_test(helpers_see_state),
        cmocka_unit_test(atomics),
        cmocka_unit_test(store_conditional_compares_its_size),
        cmocka_unit_test(aes_known_answer),
        cmocka_unit_test(sha1_known_answer),
        cmocka_unit_test(sha256_known_answer),
        cmocka_unit_test(vector_known_answers),
        cmocka_unit_test(every_operation_evaluates),
        cmocka_unit_test(floating_point_environment),
        cmocka_unit_test(random_regions_agree),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ir_region_free(&region);
    return failed;
}
