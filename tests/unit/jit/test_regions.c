// Host code against the IR interpreter: every operation on random operands, and random regions with
// memory, exits, helpers and faults, each run both ways from the same state.
#include "toy.h"

static uint64_t seed;

static uint64_t rnd64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}
static unsigned rnd(unsigned n)
{
    return (unsigned)((rnd64() >> 32) % n);
}
static uint64_t rnd_float(void)
{
    static const uint64_t special[] = {0,
                                       1ull << 63,
                                       0x3ff0000000000000,
                                       0x0010000000000000,
                                       0x7ff0000000000000,
                                       1,
                                       0x7ff8000000000001,
                                       0x7ff0000000000001,
                                       0x000fffffffffffff,
                                       0x3f8000003f800000,
                                       0x0080000000800000,
                                       0x7fc000017f800001,
                                       0x8000000100800001,
                                       0x7f7fffff7f800000,
                                       0x43e0000000000000,
                                       0x41dfffffffc00000,
                                       0x4f0000004b000000};
    uint64_t v = special[rnd(ARRAY_SIZE(special))];
    return rnd(2) ? v : v ^ rnd64() >> (rnd(64));
}
static uint64_t rnd_value(void)
{
    if (!rnd(3))
        return rnd_float();
    static const uint64_t special[] = {
        0,          1,          2,      0x7f,       0x80,       0xff,
        0x7fff,     0x8000,     0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
        1ull << 63, ~0ull >> 1, ~0ull,  -2ull,      63,         0x0101010101010101};
    switch (rnd(4)) {
    case 0:
        return special[rnd(ARRAY_SIZE(special))];
    case 1:
        return rnd64() & 0xffff;
    default:
        return rnd64();
    }
}

struct pool {
    ir_ref v[IR_TYPES][128];
    unsigned n[IR_TYPES];
};
static void pool_add(struct pool *p, struct ir_build *b, ir_ref v)
{
    unsigned t = ir_type_of(b, v);
    if (t && p->n[t] < 128)
        p->v[t][p->n[t]++] = v;
}
static ir_ref pick(struct pool *p, unsigned type)
{
    unsigned n = p->n[type];
    assert_true(n > 0);
    return p->v[type][rnd(3) && n > 6 ? n - 1 - rnd(6) : rnd(n)]; // mostly recent ones
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
    case C_F32:
        return IR_F32;
    case C_F64:
        return IR_F64;
    case C_FP:
        return rnd(2) ? IR_F32 : IR_F64;
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

static unsigned fp_aux(unsigned op)
{
    unsigned aux = FPA_NAN_MODE(rnd(2));
    if (op == IR_f2i || op == IR_frint || op == IR_vf2i || op == IR_vfrint || op == IR_i2f)
        aux |= rnd(2) ? FPA_RM_FIXED(rnd(5)) : 0;
    if (op == IR_fcmp || op == IR_frint)
        aux |= rnd(2) ? FPA_SIGNAL : 0;
    if (op == IR_f2i || op == IR_i2f || op == IR_vf2i || op == IR_vi2f)
        aux |= rnd(2) ? FPA_UNSIGNED : 0;
    if (op == IR_f2i || op == IR_fminnm || op == IR_fmaxnm || op == IR_vf2i || op == IR_vfminnm ||
        op == IR_vfmaxnm)
        aux |= rnd(2) ? FPA_NANMAX : 0;
    if (op == IR_f2i || op == IR_i2f)
        aux |= rnd(3) ? 0 : rnd(32);
    return aux;
}

static unsigned vector_aux(unsigned op, unsigned type, unsigned in)
{
    unsigned lane = rnd(4), half = rnd(3) ? 0 : VL_HALF;
    switch (op) {
    case IR_vzext:
    case IR_vlow:
    case IR_vhalf:
    case IR_vpair:
    case IR_vand:
    case IR_vor:
    case IR_vxor:
    case IR_vandn:
    case IR_vnot:
    case IR_vbsl:
        return op < IR_vand ? 0 : half;
    case IR_vgetu:
    case IR_vgets:
    case IR_vset:
    case IR_vdup:
        lane = type == IR_I32 || in == IR_I32 || op == IR_vset ? rnd(3) : lane;
        return lane | (op == IR_vdup ? half : VL_IMM(rnd(16u >> lane)));
    case IR_vduplane:
        return lane | half | VL_IMM(rnd(16u >> lane));
    case IR_vmask:
    case IR_vbits:
        return lane | half | VL_IMM(rnd(2) ? rnd(64) : rnd(4) * 16);
    case IR_vext:
        return half | VL_IMM(rnd(half ? 8 : 16));
    case IR_vrev:
        lane = rnd(3);
        return lane | half | VL_IMM(lane + 1 + rnd((half ? 3 : 4) - lane));
    case IR_vcnt:
    case IR_vrbit:
    case IR_vpmul:
        return VL_8 | half;
    case IR_vpmull:
        return (rnd(2) ? VL_8 : VL_64) | (rnd(2) ? VL_HIGH : 0);
    case IR_vsmull:
    case IR_vumull:
    case IR_vsxtl:
    case IR_vuxtl:
    case IR_vxtn:
    case IR_vsqxtn:
    case IR_vuqxtn:
    case IR_vsqxtun:
        return rnd(3) | (rnd(2) ? VL_HIGH : 0);
    case IR_vsaddlp:
    case IR_vuaddlp:
        return rnd(3) | half;
    case IR_vsqdmulh:
    case IR_vsqrdmulh:
        return (1 + rnd(2)) | half;
    case IR_sha1r4:
        return VL_IMM(rnd(4));
    case IR_vclz:
    case IR_vcls:
        return rnd(3) | half;
    case IR_vsdot:
    case IR_vudot:
    case IR_vusdot:
        return VL_32 | half;
    case IR_vfcvtl:
    case IR_vfcvtn:
        return 2 | (rnd(2) ? VL_HIGH : 0) | FPA_NAN_MODE(rnd(2));
    default:
        break;
    }
    if (ir_op_info[op].effects & FX_FP || op == IR_vfneg || op == IR_vfabs)
        return (2 + rnd(2)) | (lane & 1 ? half : rnd(4) ? 0 : VL_SCALAR) | fp_aux(op);
    unsigned imm = op >= IR_vshli && op <= IR_vrsari ? 1 + rnd((8u << lane) - 1) : 0;
    return lane | (lane == 3 ? 0 : half) | VL_IMM(imm);
}

static unsigned random_aux(unsigned op, unsigned type, unsigned in)
{
    unsigned w = type == IR_I64 ? 64 : 32, wa = in == IR_I64 ? 64 : 32, lsb;
    switch (op) {
    case IR_extr:
        return rnd(w);
    case IR_zext:
    case IR_sext:
        return rnd(2) ? 8u << rnd(wa == 64 && w == 64 ? 3 : 2) : 1 + rnd(MIN(w, wa));
    case IR_bfi:
        lsb = rnd(w);
        return lsb | (1 + rnd(w - lsb)) << 8;
    case IR_cmp:
        return rnd(10);
    case IR_fcond:
        return rnd(14);
    case IR_crc32:
        return rnd(8);
    case IR_f2h:
        return FPA_NAN_MODE(rnd(2));
    default:
        return op >= IR_vzext ? vector_aux(op, type, in)
               : op >= IR_fadd && op < IR_fbits && op != IR_fneg && op != IR_fabs ? fp_aux(op)
                                                                                  : 0;
    }
}

static ir_ref node(struct ir_build *b, struct pool *p, unsigned op)
{
    const struct ir_op_info *info = &ir_op_info[op];
    unsigned type = operand_type(info->result, 0), a = operand_type(info->a, type),
             b2 = operand_type(info->b, type), c = operand_type(info->c, type);
    if (op == IR_cmp || op == IR_addf || op == IR_subf || op == IR_adcf || op == IR_fcmp)
        b2 = a;
    if (op == IR_f2f)
        a = type == IR_F32 ? IR_F64 : IR_F32;
    if (op == IR_fbits)
        a = type == IR_I32 ? IR_F32 : IR_F64;
    if (op == IR_bitsf)
        a = type == IR_F32 ? IR_I32 : IR_I64;
    unsigned aux = random_aux(op, type, a);
    return ir_emit(b, op, type, aux, a ? pick(p, a) : 0, b2 ? pick(p, b2) : 0, c ? pick(p, c) : 0);
}

static bool testable(unsigned op)
{
    return ir_eval[op] != NULL;
}

static uint64_t help_mix(uint64_t x, uint64_t y, uint64_t z)
{
    return x * 3 ^ (y + z);
}
static const struct ir_helper mix = {.name = "mix",
                                     .fn = (void *)help_mix,
                                     .ret = IR_I64,
                                     .n_args = 3,
                                     .args = {IR_I64, IR_I64, IR_I64}};
static uint64_t help_read(struct env *e, uint64_t y)
{
    const struct test_cpu *c = (const struct test_cpu *)e;
    uint64_t h = y + c->pc + (c->flags & PACK_MASK);
    for (unsigned k = 0; k < 8; k++)
        h = h * 31 + c->x[k];
    return h;
}
static const struct ir_helper read_all = {.name = "read",
                                          .fn = (void *)help_read,
                                          .flags = HELPER_READ,
                                          .ret = IR_I64,
                                          .n_args = 1,
                                          .args = {IR_I64}};
static void help_state(struct env *e, v128 v, uint64_t y)
{
    struct test_cpu *c = (struct test_cpu *)e;
    c->x[3] ^= y;
    c->v[1] ^= v;
    c->flags ^= PACK_MASK;
}
static const struct ir_helper change = {.name = "change",
                                        .fn = (void *)help_state,
                                        .flags = HELPER_STATE,
                                        .ret = IR_VOID,
                                        .n_args = 2,
                                        .args = {IR_V128, IR_I64}};

static void start(struct ir_build *b, struct pool *p)
{
    for (unsigned i = 0; i < 4; i++) {
        pool_add(p, b, ir_get(b, S_X0 + i));
        pool_add(p, b, ir_get(b, S_V0 + i));
        pool_add(p, b, ir_i64(b, rnd_value()));
        pool_add(p, b, ir_i32(b, (uint32_t)rnd_value()));
    }
    pool_add(p, b, ir_get(b, S_W));
    pool_add(p, b, ir_get(b, S_FLAGS));
    pool_add(p, b, ir_cmp(b, CMP_ULT, pick(p, IR_I64), pick(p, IR_I64)));
    pool_add(p, b, ir_const(b, IR_V128, rnd_value()));
    for (unsigned k = 0; k < 2; k++) {
        pool_add(p, b, ir_vlow(b, IR_F64, pick(p, IR_V128)));
        pool_add(p, b, ir_vlow(b, IR_F32, pick(p, IR_V128)));
    }
}

static ir_ref address(struct ir_build *b, struct pool *p, bool wild)
{
    if (wild && !rnd(40)) // nothing there
        return ir_i64(b, -0x7000000000ull + rnd(1000));
    return ir_addi(b, ir_andi(b, pick(p, IR_I64), TOY_DATA_SIZE / 2 - 1), TOY_DATA);
}

static void memory_op(struct ir_build *b, struct pool *p, bool wild)
{
    static const uint8_t types[] = {IR_I32, IR_I64, IR_F32, IR_F64, IR_V128};
    unsigned type = types[rnd(ARRAY_SIZE(types))], mo = type == IR_I32   ? rnd(3)
                                                        : type == IR_I64 ? rnd(4)
                                                        : type == IR_F32 ? MO_32
                                                        : type == IR_F64 ? MO_64
                                                                         : MO_128;
    if (rnd(8) == 0)
        mo |= MO_BE;
    if (rnd(8) == 0)
        mo |= MO_ALIGN_TO(1 + rnd(3));
    ir_ref a = address(b, p, wild);
    bool integer = type == IR_I32 || type == IR_I64;
    switch (rnd(integer ? 8 : 2)) {
    case 0:
    case 2:
        pool_add(p, b, ir_load(b, type, a, mo | (integer && rnd(2) ? MO_SIGN : 0)));
        break;
    case 1:
    case 3:
        ir_store(b, a, pick(p, type), mo | (rnd(6) ? 0 : MO_SEQ));
        break;
    case 4:
        pool_add(p, b, ir_atomic(b, IR_cas, type, a, pick(p, type), pick(p, type), mo));
        break;
    case 5:
        pool_add(p, b, ir_atomic(b, IR_ll, type, a, 0, 0, mo));
        pool_add(p, b, ir_atomic(b, IR_sc, IR_BOOL, a, pick(p, type), 0, mo));
        break;
    default:
        pool_add(
            p, b,
            ir_atomic(b, IR_swap + rnd(IR_amoumax - IR_swap + 1), type, a, pick(p, type), 0, mo));
    }
}

static void puts_and_gets(struct ir_build *b, struct pool *p)
{
    if (!rnd(3))
        ir_put(b, S_X0 + rnd(8), pick(p, IR_I64));
    if (!rnd(4))
        pool_add(p, b, ir_get(b, S_X0 + rnd(8)));
    if (!rnd(6))
        ir_put(b, S_V0 + rnd(4), pick(p, IR_V128));
    if (!rnd(6) && p->n[IR_FLAGS])
        ir_put(b, S_FLAGS, pick(p, IR_FLAGS));
    if (!rnd(8))
        ir_put(b, S_W, pick(p, IR_I32));
}

struct plan {
    unsigned op, nodes; // op 0: any
    bool wild;          // with accesses that fault, helpers, exits
    bool loop;          // up to eight rounds
};
static uint64_t loop_seed; // every round of the interpreter builds the region anew

static void make_random(struct toy *t, struct ir_build *b, uint64_t pc)
{
    const struct plan *plan = t->arg;
    struct pool p = {0};
    if (plan->loop)
        seed = loop_seed;
    start(b, &p);
    ir_ref count = ir_addi(b, ir_get(b, S_X7), -1);
    for (unsigned i = 0; i < plan->nodes && !b->ended && !b->follow; i++) {
        unsigned op = plan->op;
        if (plan->wild && !(i & 3))
            ir_build_insn(b, pc + i);
        if (!op)
            do
                op = 1 + rnd(IR_OPS - 1);
            while (!testable(op));
        pool_add(&p, b, node(b, &p, op));
        puts_and_gets(b, &p);
        if (plan->wild && !rnd(5))
            memory_op(b, &p, true);
        if (plan->wild && !rnd(20))
            pool_add(&p, b,
                     ir_callv(b, &mix, pick(&p, IR_I64), pick(&p, IR_I64), pick(&p, IR_I64)));
        if (plan->wild && !plan->loop && !rnd(30))
            pool_add(&p, b, ir_callv(b, &read_all, pick(&p, IR_I64)));
        if (plan->wild && !plan->loop && !rnd(40))
            ir_callv(b, &change, pick(&p, IR_V128), pick(&p, IR_I64));
        if (plan->wild && !rnd(12) && p.n[IR_BOOL])
            ir_exit_if(b, pick(&p, IR_BOOL), TOY_CODE - 4096);
    }
    if (b->follow)
        ir_build_end(b, b->follow_pc);
    if (plan->loop && !b->ended) {
        ir_put(b, S_X7, count);
        ir_ref more = ir_cmp(b, CMP_NE, ir_andi(b, count, 7), ir_i64(b, 0));
        ir_branch_if(b, more, pc, TOY_CODE - 4096);
    }
    for (unsigned k = 0; k < 4 && !b->ended; k++) {
        ir_put(b, S_X0 + k, pick(&p, IR_I64));
        ir_put(b, S_V0 + k, pick(&p, IR_V128));
    }
}

// At the exits' target: stop.
static void make(struct toy *t, struct ir_build *b, uint64_t pc)
{
    if (pc == TOY_CODE - 4096)
        ir_leave(b, LEAVE_HALT, pc);
    else
        make_random(t, b, pc);
}

static void randomise(struct toy *t)
{
    for (unsigned k = 0; k < 8; k++)
        t->cpu->x[k] = rnd_value();
    for (unsigned k = 0; k < 8; k++)
        ((uint64_t *)t->cpu->v)[k] = rnd_value();
    t->cpu->w = (uint32_t)rnd_value();
    t->cpu->flags = (uint32_t)rnd_value() & PACK_MASK;
    for (unsigned k = 0; k < TOY_DATA_SIZE / 8; k++)
        ((uint64_t *)(t->memory + TOY_DATA))[k] = rnd_value();
    t->cpu->env.monitor.addr = MONITOR_NONE;
    bool flush = !rnd(4);
    t->cpu->env.fp = (struct env_fp){.rounding = (uint8_t)rnd(rnd(4) ? 4 : 5),
                                     .flush_inputs = flush && rnd(2),
                                     .flush_outputs = flush && rnd(2),
                                     .tiny_before = rnd(2)};
    t->cpu->env.exec->fp_changed(&t->cpu->env);
}

static void show(struct toy *t, uint64_t pc, const struct test_cpu *want)
{
    struct buf out = {0};
    jit_explain(&t->cpu->env, pc, &out);
    fprintf(stderr, "%s", buf_str(&out));
    buf_free(&out);
    for (size_t k = offsetof(struct test_cpu, x) / 8; k < sizeof *want / 8; k++)
        if (((uint64_t *)t->cpu)[k] != ((const uint64_t *)want)[k])
            fprintf(stderr, "word %zu: host %#lx, interpreter %#lx\n",
                    k - offsetof(struct test_cpu, x) / 8, ((uint64_t *)t->cpu)[k],
                    ((const uint64_t *)want)[k]);
}

static void both_ways(struct toy *host, struct toy *interp, uint64_t start, unsigned n)
{
    uint64_t pc = TOY_CODE + 4 * (n % 100000);
    seed = start;
    randomise(host);
    memcpy(&interp->cpu->x, &host->cpu->x, sizeof *host->cpu - offsetof(struct test_cpu, x));
    memcpy(interp->memory + TOY_DATA, host->memory + TOY_DATA, TOY_DATA_SIZE);
    interp->cpu->env.fp = host->cpu->env.fp;
    interp->cpu->env.exec->fp_changed(&interp->cpu->env);
    interp->cpu->env.monitor = host->cpu->env.monitor;
    uint64_t from = loop_seed = seed;
    host->cpu->pc = interp->cpu->pc = pc;
    enum env_leave a = jit_run(&host->cpu->env);
    seed = from;
    enum env_leave b = jit_run(&interp->cpu->env);
    host->cpu->env.exec->fp_sync(&host->cpu->env);
    host->cpu->flags &= PACK_MASK;
    interp->cpu->flags &= PACK_MASK;
    bool same_state = !memcmp(host->cpu->x, interp->cpu->x,
                              sizeof *host->cpu - offsetof(struct test_cpu, x)),
         same_memory = !memcmp(host->memory + TOY_DATA, interp->memory + TOY_DATA, TOY_DATA_SIZE);
    bool same_flags = host->cpu->env.fp.flags == interp->cpu->env.fp.flags;
    if (a == b && same_state && same_memory && same_flags)
        return;
    struct test_cpu want = *interp->cpu;
    fprintf(stderr, "seed %#lx: left %u and %u, memory %s, FP flags %#x and %#x\n", start, a, b,
            same_memory ? "agrees" : "differs", host->cpu->env.fp.flags, interp->cpu->env.fp.flags);
    seed = from;
    show(host, pc, &want);
    fail_msg("host code and interpreter differ");
}

static void run_on(struct jit_config config, struct plan plan, unsigned rounds, uint64_t salt)
{
    struct toy host = {.make = make, .arg = &plan}, interp = host;
    toy_open(&interp, (struct jit_config){.interpret = true});
    toy_open(&host, config);
    host.switches.fold = host.switches.value_numbering = !plan.op;
    interp.switches = host.switches;
    for (unsigned i = 0; i < rounds; i++)
        both_ways(&host, &interp, (i + 1) * 0x9e3779b97f4a7c15ull ^ salt << 40, i);
    toy_close(&host);
    toy_close(&interp);
}

static void run_plan(struct plan plan, unsigned rounds, uint64_t salt)
{
    run_on((struct jit_config){0}, plan, rounds, salt);
    run_on((struct jit_config){.baseline = true}, plan, rounds, salt);
}

static void operations_agree(void **state)
{
    for (unsigned op = 1; op < IR_OPS; op++)
        if (testable(op))
            run_plan((struct plan){.op = op, .nodes = 6}, 300, op);
}

static void regions_agree(void **state)
{
    run_plan((struct plan){.nodes = 50}, 3000, 1);
}

static void regions_that_leave_agree(void **state)
{
    run_plan((struct plan){.nodes = 50, .wild = true}, 8000, 2);
}

static void long_regions_agree(void **state)
{
    run_plan((struct plan){.nodes = 400, .wild = true}, 500, 3);
}

static void loops_agree(void **state)
{
    run_plan((struct plan){.nodes = 12, .loop = true}, 4000, 4);
    run_plan((struct plan){.nodes = 30, .wild = true, .loop = true}, 8000, 5);
    run_plan((struct plan){.nodes = 200, .wild = true, .loop = true}, 1000, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_agree),
        cmocka_unit_test(regions_agree),
        cmocka_unit_test(regions_that_leave_agree),
        cmocka_unit_test(long_regions_agree),
        cmocka_unit_test(loops_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
