// The builder: simplification, value numbering, slot forwarding, snapshots, exits; and that the
// verifier accepts what it makes and rejects what is broken.
#include "guest.h"
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct ir_region region;
static struct ir_build build;

static struct ir_build *begin(uint64_t pc)
{
    ir_region_reset(&region, &test_guest, pc, 0);
    ir_build_begin(&build, &region, &ir_switches_all);
    ir_build_insn(&build, pc);
    return &build;
}

static void finish(void)
{
    struct err e = {0};
    ir_build_end(&build, build.pc + 4);
    if (ir_verify(&region, &e)) {
        struct buf out = {0};
        ir_print(&region, &out);
        fail_msg("%s\n%s", e.msg, buf_str(&out));
    }
}

static const struct ir_insn *at(ir_ref v)
{
    return &region.insns.data[v];
}

static uint64_t value(ir_ref v)
{
    uint64_t c = 0;
    assert_true(ir_is_const(&build, v, &c));
    return c;
}

static void constants_fold(void **state)
{
    struct ir_build *b = begin(0x1000);
    assert_int_equal(value(ir_add(b, ir_i64(b, 40), ir_i64(b, 2))), 42);
    assert_int_equal(value(ir_sub(b, ir_i32(b, 0), ir_i32(b, 1))), 0xffffffff);
    assert_int_equal(value(ir_sdiv(b, ir_i32(b, 0x80000000), ir_i32(b, ~0u))), 0x80000000);
    assert_int_equal(value(ir_sext(b, IR_I64, ir_i32(b, 0x80), 8)), 0xffffffffffffff80);
    assert_int_equal(value(ir_cmp(b, CMP_SLT, ir_i32(b, ~0u), ir_i32(b, 0))), 1);
    assert_int_equal(value(ir_cmp(b, CMP_SLT, ir_i64(b, 0xffffffff), ir_i64(b, 0))), 0);
    ir_ref f = ir_subf(b, ir_i64(b, 1), ir_i64(b, 2));
    assert_int_equal(value(ir_packf(b, f)), 0x80000000);
    assert_int_equal(value(ir_fcond(b, COND_LT, f)), 1);
    finish();
}

static void identities_simplify(void **state)
{
    struct ir_build *b = begin(0x1000);
    ir_ref x = ir_get(b, S_X0), y = ir_get(b, S_X1), w = ir_get(b, S_W);
    assert_int_equal(ir_addi(b, x, 0), x);
    ir_ref chain = ir_addi(b, ir_addi(b, x, 16), -16);
    assert_int_equal(chain, x);
    ir_ref sum = ir_addi(b, ir_sub(b, x, ir_i64(b, 8)), 24);
    assert_int_equal(at(sum)->a, x);
    assert_int_equal(value(at(sum)->b), 16);
    assert_int_equal(value(ir_xor(b, x, x)), 0);
    assert_int_equal(ir_or(b, ir_i64(b, 0), x), x);
    assert_int_equal(ir_or(b, x, y), ir_or(b, y, x));
    assert_int_equal(at(ir_mul(b, x, ir_i64(b, 8)))->op, IR_shl);
    // extensions
    ir_ref z = ir_zext(b, IR_I64, w, 32);
    assert_int_equal(ir_trunc(b, z), w);
    assert_int_equal(ir_zext(b, IR_I64, ir_trunc(b, z), 32), z);
    assert_int_equal(ir_andi(b, z, 0xffffffff), z);
    assert_int_equal(ir_zext(b, IR_I64, ir_zext(b, IR_I64, w, 8), 16), ir_zext(b, IR_I64, w, 8));
    assert_int_equal(ir_sext(b, IR_I64, ir_zext(b, IR_I64, w, 8), 16), ir_zext(b, IR_I64, w, 8));
    ir_ref s = ir_sext(b, IR_I64, w, 8);
    assert_int_equal(at(ir_zext(b, IR_I64, s, 16))->op, IR_zext);
    assert_int_equal(at(ir_zext(b, IR_I64, s, 16))->a, s);
    assert_int_equal(ir_sext(b, IR_I64, s, 16), s);
    // conditions
    ir_ref c = ir_cmp(b, CMP_ULT, x, y);
    assert_int_equal(ir_bnot(b, ir_bnot(b, c)), c);
    assert_int_equal(at(ir_bnot(b, c))->aux, CMP_UGE);
    assert_int_equal(ir_cmp(b, CMP_NE, ir_b2i(b, IR_I64, c), ir_i64(b, 0)), c);
    assert_int_equal(ir_select(b, c, x, x), x);
    // vectors
    ir_ref v = ir_get(b, S_V0);
    ir_ref low = ir_vlow(b, IR_F64, v);
    assert_int_equal(at(ir_vzext(b, low))->op, IR_vhalf);
    assert_int_equal(ir_vlow(b, IR_F64, ir_vzext(b, low)), low);
    assert_int_equal(at(ir_emit(b, IR_fbits, IR_I64, 0, low, 0, 0))->op, IR_vlow);
    finish();
}

static void slots_forward(void **state)
{
    struct ir_build *b = begin(0x1000);
    ir_ref x = ir_get(b, S_X0);
    assert_int_equal(ir_get(b, S_X0), x);
    ir_put(b, S_X1, x);
    assert_int_equal(ir_get(b, S_X1), x);
    ir_put(b, S_X0, ir_addi(b, x, 16));
    ir_ref addr = ir_get(b, S_X0);
    ir_ref v = ir_load(b, IR_I64, addr, MO_64);
    const struct ir_snap *s = &region.snaps.data[at(v)->imm];
    assert_int_equal(s->n, 2);
    assert_int_equal(s->pc, 0x1000);
    assert_int_equal(s->insns, 0);
    // x0 as it was: nothing to store any more
    ir_put(b, S_X0, ir_addi(b, ir_get(b, S_X0), -16));
    ir_build_insn(b, 0x1004);
    ir_ref v2 = ir_load(b, IR_I64, addr, MO_64);
    s = &region.snaps.data[at(v2)->imm];
    assert_int_equal(s->n, 1);
    assert_int_equal(region.snap_entries.data[s->first].slot, S_X1);
    assert_int_equal(s->pc, 0x1004);
    assert_int_equal(s->insns, 1);
    // another pc alone shares the list; the same pc the whole snapshot
    size_t entries = region.snap_entries.len;
    ir_build_insn(b, 0x1008);
    ir_ref v3 = ir_load(b, IR_I64, addr, MO_64), v4 = ir_load(b, IR_I64, addr, MO_64);
    assert_int_equal(region.snap_entries.len, entries);
    assert_int_not_equal(at(v3)->imm, at(v2)->imm);
    assert_int_equal(at(v3)->imm, at(v4)->imm);
    assert_int_not_equal(v3, v4);
    finish();
}

static const struct ir_helper h_state = {"state", NULL, HELPER_STATE, IR_I64, 1, {IR_I64}};
static const struct ir_helper h_read = {"read", NULL, HELPER_READ, IR_VOID, 0, {0}};
static const struct ir_helper h_ends = {"ends", NULL, HELPER_STATE | HELPER_ENDS, IR_VOID, 0, {0}};

static void helpers_forget(void **state)
{
    struct ir_build *b = begin(0x1000);
    ir_ref x = ir_get(b, S_X0);
    ir_put(b, S_X1, ir_addi(b, x, 1));
    ir_call0(b, &h_read);
    assert_int_equal(ir_get(b, S_X0), x);
    ir_ref v = ir_load(b, IR_I64, x, MO_64);
    assert_int_equal(region.snaps.data[at(v)->imm].n, 0);
    // memory of x1 has changed since this value was read from x0: it must be listed again
    ir_put(b, S_X1, x);
    v = ir_load(b, IR_I64, x, MO_64);
    assert_int_equal(region.snaps.data[at(v)->imm].n, 1);
    ir_ref fa = ir_emit(b, IR_fadd, IR_F64, 0, ir_const(b, IR_F64, 1), ir_const(b, IR_F64, 2), 0);
    assert_int_equal(
        fa, ir_emit(b, IR_fadd, IR_F64, 0, ir_const(b, IR_F64, 1), ir_const(b, IR_F64, 2), 0));
    ir_ref r = ir_callv(b, &h_state, x);
    assert_int_equal(region.snaps.data[at(r)->imm].n, 1);
    assert_int_not_equal(ir_get(b, S_X0), x);
    assert_int_not_equal(
        fa, ir_emit(b, IR_fadd, IR_F64, 0, ir_const(b, IR_F64, 1), ir_const(b, IR_F64, 2), 0));
    ir_build_insn(b, 0x1004);
    ir_call0(b, &h_ends);
    assert_true(b->ended);
    // what follows is thrown away
    size_t len = region.insns.len;
    ir_ref junk = ir_load(b, IR_I64, ir_addi(b, ir_get(b, S_X3), 5), MO_64);
    ir_put(b, S_X2, junk);
    ir_goto(b, 0x2000);
    assert_int_equal(region.insns.len, len);
    finish();
}

// They come first in every snapshot, whatever they hold, also after a helper has looked at memory.
static void residents_are_always_listed(void **state)
{
    region.n_resident = test_guest.n_resident;
    struct ir_build *b = begin(0x1000);
    ir_ref x1 = ir_get(b, test_guest.resident[0]);
    assert_int_equal(x1, 1);
    ir_ref v = ir_load(b, IR_I64, x1, MO_64);
    const struct ir_snap *s = &region.snaps.data[at(v)->imm];
    assert_int_equal(s->n, test_guest.n_resident);
    assert_int_equal(region.snap_entries.data[s->first].val, x1);
    ir_put(b, S_X3, v);
    ir_put(b, test_guest.resident[0], v);
    ir_put(b, test_guest.resident[0], x1); // as it was
    ir_ref w = ir_load(b, IR_I64, x1, MO_64);
    s = &region.snaps.data[at(w)->imm];
    assert_int_equal(s->n, test_guest.n_resident + 1);
    assert_int_equal(region.snap_entries.data[s->first].val, x1);
    ir_call0(b, &h_read);
    v = ir_load(b, IR_I64, w, MO_64);
    s = &region.snaps.data[at(v)->imm];
    assert_int_equal(s->n, test_guest.n_resident);
    assert_int_equal(region.snap_entries.data[s->first].val, x1);
    ir_callv(b, &h_state, w);
    v = ir_load(b, IR_I64, w, MO_64);
    s = &region.snaps.data[at(v)->imm];
    assert_int_equal(s->n, test_guest.n_resident);
    assert_true(region.snap_entries.data[s->first].val > x1);
    assert_int_equal(at(region.snap_entries.data[s->first].val)->op, IR_get);
    finish();
    region.n_resident = 0;
}

static void exits_poll(void **state)
{
    struct ir_build *b = begin(0x1000);
    ir_ref c = ir_cmp(b, CMP_EQ, ir_get(b, S_X0), ir_get(b, S_X1));
    ir_put(b, S_X2, ir_get(b, S_X0));
    ir_exit_if(b, c, 0x2000);
    assert_int_equal(at((ir_ref)region.insns.len - 1)->aux, 0);
    assert_int_equal(region.snaps.data[at((ir_ref)region.insns.len - 1)->imm].insns, 1);
    ir_exit_if(b, c, 0x1000);
    assert_int_equal(at((ir_ref)region.insns.len - 1)->aux, EXIT_POLL);
    ir_exit_if(b, ir_const(b, IR_BOOL, 0), 0x1000);
    ir_goto(b, 0x1800);
    assert_true(b->follow && !b->ended);
    ir_put(b, S_X3, c);
    ir_build_insn(b, b->follow_pc);
    ir_exit_if(b, ir_const(b, IR_BOOL, 1), 0x1400); // always: the region goes on there
    assert_true(b->follow && b->follow_pc == 0x1400);
    ir_build_insn(b, 0x1400);
    ir_exit_if(b, c, 0x1600); // after a jump back even this one must look at interrupts
    assert_int_equal(at((ir_ref)region.insns.len - 1)->aux, EXIT_POLL);
    ir_build_end(b, 0x1404);
    assert_true(b->ended);
    finish();
}

static void verifier_rejects(void **state)
{
    struct err e;
    struct {
        struct ir_insn n;
    } broken[] = {
        {{.op = IR_add, .type = IR_I32, .a = 1, .b = 1}},
        {{.op = IR_add, .type = IR_I64, .a = 1}},
        {{.op = IR_add, .type = IR_I64, .a = 1, .b = 77}},
        {{.op = IR_zext, .type = IR_I64, .aux = 65, .a = 1}},
        {{.op = IR_load, .type = IR_I32, .aux = MO_64, .a = 1, .imm = 1}},
        {{.op = IR_load, .type = IR_I64, .aux = MO_64, .a = 1, .imm = 0}},
        {{.op = IR_load, .type = IR_I64, .aux = MO_64, .a = 1, .imm = 9}},
        {{.op = IR_get, .type = IR_I32, .aux = S_X0}},
        {{.op = IR_const, .type = IR_I32, .imm = 1ull << 32}},
        {{.op = IR_goto, .a = 1, .imm = 1}},
        {{.op = IR_vshri, .type = IR_V128, .aux = VL_8, .a = 2}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        struct ir_build *b = begin(0x1000);
        ir_get(b, S_X0);
        ir_get(b, S_V0);
        ir_exit_if(b, ir_cmp(b, CMP_EQ, ir_get(b, S_X0), ir_get(b, S_X1)), 0x2000);
        vec_push(&region.insns, broken[i].n);
        ir_build_end(b, 0x1004);
        e.msg[0] = 0;
        assert_int_equal(ir_verify(&region, &e), -1);
        assert_true(e.msg[0]);
    }
    struct ir_build *b = begin(0x1000);
    ir_get(b, S_X0);
    assert_int_equal(ir_verify(&region, &e), -1); // no end
}

// Processor time that a guest instruction costs in blocks of so many, ns: the least of several.
static double cost_in_blocks_of(unsigned insns)
{
    double least = 1e18;
    for (unsigned i = 0; i < 80000 / insns; i++) {
        struct timespec t0, t1;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
        struct ir_build *b = begin(0x1000 + i);
        for (unsigned k = 0; k < insns; k += 4) {
            ir_ref p = ir_addi(b, ir_get(b, S_X0), 8);
            ir_put(b, S_X1, ir_load(b, IR_I64, p, MO_64));
            ir_build_insn(b, 0x1004 + k);
            ir_put(b, S_X2, ir_add(b, ir_get(b, S_X1), ir_get(b, S_X3)));
            ir_build_insn(b, 0x1008 + k);
            ir_put(b, S_FLAGS, ir_subf(b, ir_get(b, S_X2), ir_i64(b, 100 + k)));
            ir_build_insn(b, 0x100c + k);
            ir_exit_if(b, ir_fcond(b, COND_NE, ir_get(b, S_FLAGS)), 0x9000);
            ir_build_insn(b, 0x1010 + k);
        }
        ir_build_end(b, 0x2000);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
        double ns = (double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec);
        least = MIN(least, ns / insns);
    }
    return least;
}

// Not a test of speed on a shared machine: ten times the block is ten times the work, no more.
static void building_is_cheap(void **state)
{
    double small = cost_in_blocks_of(24), large = cost_in_blocks_of(240);
    print_message("# builder: %.1f and %.1f ns per guest instruction\n", small, large);
    assert_true(large < 3 * small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_fold),
        cmocka_unit_test(identities_simplify),
        cmocka_unit_test(slots_forward),
        cmocka_unit_test(helpers_forget),
        cmocka_unit_test(residents_are_always_listed),
        cmocka_unit_test(exits_poll),
        cmocka_unit_test(verifier_rejects),
        cmocka_unit_test(building_is_cheap),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ir_region_free(&region);
    return failed;
}
