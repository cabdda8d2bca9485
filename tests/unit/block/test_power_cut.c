// Power cuts: everything a qcow2 image writes is logged; then the machine "dies" at each moment,
// with all that was flushed, a random choice of what was not, and torn writes. What is left must be
// free of corruption (leaks are allowed) and hold every flushed write.
#include "memory_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { SECTOR = 512, DISK = 96 << 10, SECTORS = DISK / SECTOR, OPS = 60 };

static unsigned seed;

static unsigned rnd(void)
{
    seed = seed * 1103515245 + 12345;
    return seed >> 8;
}

// What the guest did: each operation gives its sectors a value of its own (0: zeros).
struct op {
    enum block_op kind;
    unsigned first, count;
    uint32_t value;
    size_t log_before, log_after; // positions when it began and ended
};

struct scenario {
    struct engine *eng;
    struct block_node *file, *image;
    struct op ops[OPS];
    uint8_t *base; // the file when logging began
    uint64_t base_len;
    bool check_content;
};

static void fill(uint8_t *buf, unsigned count, uint32_t value)
{
    for (unsigned i = 0; i < count * SECTOR / 4; i++)
        memcpy(buf + i * 4, &value, 4);
}

struct request {
    struct block_node *n;
    struct op *op;
    int result;
};

static void request_entry(void *arg)
{
    struct request *r = arg;
    struct op *op = r->op;
    uint64_t off = (uint64_t)op->first * SECTOR, len = (uint64_t)op->count * SECTOR;
    static uint8_t buf[DISK];
    switch (op->kind) {
    case BLOCK_WRITE:
        fill(buf, op->count, op->value);
        r->result = node_write_buf(r->n, off, buf, len);
        break;
    case BLOCK_WRITE_ZEROES:
        r->result = node_write_zeroes(r->n, off, len, rnd() % 2 ? BLOCK_MAY_UNMAP : 0);
        break;
    case BLOCK_DISCARD:
        r->result = node_discard(r->n, off, len);
        break;
    default:
        r->result = node_flush(r->n);
    }
}

static void run_ops(struct scenario *s, bool snapshots)
{
    struct memory_file *m = memory_of(s->file);
    for (unsigned i = 0; i < OPS; i++) {
        struct op *op = &s->ops[i];
        unsigned what = rnd() % 10;
        op->kind = what < 5   ? BLOCK_WRITE
                   : what < 6 ? BLOCK_WRITE_ZEROES
                   : what < 7 ? BLOCK_DISCARD
                              : BLOCK_FLUSH;
        op->first = rnd() % SECTORS;
        op->count = 1 + rnd() % MIN(SECTORS - op->first, rnd() % 4 ? 6u : 60u);
        op->value = op->kind == BLOCK_WRITE ? i + 1 : 0;
        op->log_before = m->n_log;
        struct request r = {.n = s->image, .op = op};
        engine_run(s->eng, request_entry, &r);
        assert_int_equal(r.result, 0);
        op->log_after = m->n_log;
        struct err e = {0};
        struct block_snapshot sn = {.name = "s"};
        if (snapshots && i % 20 == 10 && block_snapshot_create(s->image, &sn, &e))
            fail_msg("%s", e.msg);
        if (snapshots && i % 20 == 19 && block_snapshot_delete(s->image, "s", &e))
            fail_msg("%s", e.msg);
    }
}

static void begin(struct scenario *s, const char *options)
{
    s->eng = engine_new(NULL);
    s->file = memory_new(s->eng, NULL, 0);
    struct memory_call c = {.file = s->file, .options = options, .size = DISK};
    engine_run(s->eng, memory_create_entry, &c);
    if (c.result)
        fail_msg("%s", c.e.msg);
    engine_run(s->eng, memory_open_entry, &c);
    if (!c.made)
        fail_msg("%s", c.e.msg);
    s->image = c.made;
    struct memory_file *m = memory_of(s->file);
    s->base_len = m->len;
    s->base = malloc(m->len);
    memcpy(s->base, m->data, m->len);
    m->logging = true;
}

static void end(struct scenario *s)
{
    block_unref(s->image);
    block_unref(s->file);
    engine_unref(s->eng);
    free(s->base);
}

static void replay(struct memory_file *m, const struct log_entry *x, bool torn)
{
    uint64_t len = x->len;
    switch (x->kind) {
    case LOG_WRITE:
        memory_grow(m, x->off + len);
        for (uint64_t at = 0; at < len;) { // torn: each disk sector on its own
            uint64_t step = MIN(len - at, SECTOR - (x->off + at) % SECTOR);
            if (!torn || rnd() % 2)
                memcpy(m->data + x->off + at, x->data + at, step);
            at += step;
        }
        break;
    case LOG_ZERO:
        memory_grow(m, x->off + len);
        memset(m->data + x->off, 0, len);
        break;
    case LOG_SIZE:
        memory_grow(m, x->off);
        break;
    case LOG_FLUSH:
        break;
    }
}

// The file as it is found after a cut at log position `at`.
static struct block_node *cut_file(struct scenario *s, struct engine *eng, size_t at)
{
    const struct memory_file *from = memory_of(s->file);
    struct block_node *n = memory_new(eng, s->base, s->base_len);
    size_t barrier = at;
    while (barrier && from->log[barrier - 1].kind != LOG_FLUSH)
        barrier--;
    unsigned mode = rnd() % 4; // everything, nothing, a choice, a choice with torn writes
    for (size_t i = 0; i < at; i++)
        if (i < barrier || mode == 0 || (mode >= 2 && rnd() % 2))
            replay(memory_of(n), &from->log[i], i >= barrier && mode == 3);
    n->size = memory_of(n)->len;
    return n;
}

static void print_line(void *opaque, const char *line)
{
    fprintf(stderr, "  %s\n", line);
}

// Each sector holds its value as of the last flush before the cut, or a later one.
static void check_content(struct scenario *s, struct block_node *n, size_t at)
{
    static uint8_t got[DISK];
    int flushed = -1;
    for (int i = 0; i < OPS; i++)
        if (s->ops[i].kind == BLOCK_FLUSH && s->ops[i].log_after <= at)
            flushed = i;
    assert_int_equal(block_pread(n, 0, got, sizeof got), 0);
    for (unsigned k = 0; k < SECTORS; k++) {
        uint32_t value, sure = 0;
        bool any = false, ok = false;
        memcpy(&value, got + k * SECTOR, 4);
        for (int i = 0; i < OPS; i++) {
            const struct op *op = &s->ops[i];
            if (op->kind == BLOCK_FLUSH || k < op->first || k >= op->first + op->count)
                continue;
            if (i <= flushed) {
                sure = op->value;
                any = op->kind == BLOCK_DISCARD;
            } else if (op->log_before <= at) {
                ok |= op->value == value || op->kind == BLOCK_DISCARD;
            }
        }
        for (unsigned i = 4; i < SECTOR; i += 4)
            if (memcmp(got + k * SECTOR, got + k * SECTOR + i, 4))
                ok = any = false, value = UINT32_MAX; // mixed inside: never, whatever was cut
        if (!ok && !any && value != sure)
            fail_msg("cut at %zu: sector %u holds %u, flushed was %u", at, k, value, sure);
    }
}

static void check_cut(struct scenario *s, size_t at, bool snapshots)
{
    struct engine *eng = engine_new(NULL);
    struct memory_call c = {.file = cut_file(s, eng, at)};
    struct block_check check = {.report = print_line};
    struct err e = {0};
    engine_run(eng, memory_open_entry, &c); // repairs an image that is marked dirty
    if (!c.made)
        fail_msg("cut at %zu: %s", at, c.e.msg);
    check.report = NULL;
    assert_int_equal(image_check(c.made, &check, &e), 0);
    if (check.corruptions || check.check_errors) {
        check = (struct block_check){.report = print_line};
        assert_int_equal(image_check(c.made, &check, &e), 0);
        fail_msg("cut at %zu of %zu: corrupt", at, memory_of(s->file)->n_log);
    }
    if (s->check_content)
        check_content(s, c.made, at);
    block_unref(c.made);
    block_unref(c.file);
    engine_unref(eng);
}

static void run_scenario(const char *options, bool snapshots, int rounds)
{
    const char *scale = getenv("MYNA_TEST_SCALE");
    rounds *= scale ? MAX(atoi(scale), 1) : 1;
    for (int round = 0; round < rounds; round++) {
        struct scenario s = {0};
        seed = (unsigned)round * 7919 + 17;
        begin(&s, options);
        s.check_content = true;
        run_ops(&s, snapshots);
        for (size_t at = 0; at <= memory_of(s.file)->n_log; at++)
            check_cut(&s, at, snapshots);
        end(&s);
    }
}

// Several guests' worth of requests at once: each lane owns every LANES-th cluster-sized piece (or
// sector) of the disk and knows what is in it. The order in which they meet is the seed's.
enum { LANES = 6, LANE_OPS = 40 };

struct lane {
    struct scenario *s;
    unsigned number, unit, left, seed;
    bool *done;
    uint32_t *model; // value of each sector
};

static unsigned lane_rnd(struct lane *l)
{
    l->seed = l->seed * 1103515245 + 12345;
    return l->seed >> 8;
}

static int lane_step(struct lane *l)
{
    uint8_t *buf = malloc((size_t)l->unit * SECTOR);
    unsigned pieces = SECTORS / l->unit / LANES, what = lane_rnd(l) % 12;
    unsigned first = (lane_rnd(l) % pieces * LANES + l->number) * l->unit;
    unsigned skip = lane_rnd(l) % 2 ? 0 : lane_rnd(l) % l->unit;
    unsigned count = what < 7 ? 1 + lane_rnd(l) % (l->unit - skip) : l->unit;
    uint32_t value = lane_rnd(l) | 1;
    first += what < 7 ? skip : 0;
    uint64_t off = (uint64_t)first * SECTOR, len = (uint64_t)count * SECTOR;
    int r = 0;
    if (what < 7) {
        fill(buf, count, value);
        r = node_write_buf(l->s->image, off, buf, len);
    } else if (what < 9) {
        value = 0;
        r = node_write_zeroes(l->s->image, off, len, what == 7 ? BLOCK_MAY_UNMAP : 0);
    } else if (what < 10) {
        value = 0;
        r = node_discard(l->s->image, off, len) ?: node_write_zeroes(l->s->image, off, len, 0);
    } else if (what < 11) {
        free(buf);
        return node_flush(l->s->image);
    } else {
        uint32_t got;
        r = node_read_buf(l->s->image, off, buf, len);
        for (unsigned k = 0; !r && k < count; k++) {
            memcpy(&got, buf + (size_t)k * SECTOR, 4);
            if (got != l->model[first + k])
                r = -EILSEQ;
        }
        free(buf);
        return r;
    }
    for (unsigned k = 0; k < count; k++)
        l->model[first + k] = value;
    free(buf);
    return r;
}

static void lane_entry(void *arg)
{
    struct lane *l = arg;
    int r = 0;
    while (!r && l->left--)
        r = lane_step(l);
    assert_int_equal(r, 0);
    *l->done = true;
}

static void run_lanes(struct scenario *s, unsigned unit, uint32_t *model)
{
    struct lane lanes[LANES];
    bool done[LANES] = {0};
    for (unsigned i = 0; i < LANES; i++) {
        lanes[i] = (struct lane){s, i, unit, LANE_OPS, rnd(), &done[i], model};
        co_start(engine_co(s->eng), lane_entry, &lanes[i]);
    }
    for (unsigned i = 0; i < LANES; i++)
        while (!done[i])
            engine_poll(s->eng, true);
}

static void run_parallel(const char *options, unsigned unit, int rounds)
{
    const char *scale = getenv("MYNA_TEST_SCALE");
    rounds *= scale ? MAX(atoi(scale), 1) : 1;
    for (int round = 0; round < rounds; round++) {
        struct scenario s = {0};
        static uint32_t model[SECTORS];
        static uint8_t got[DISK];
        memset(model, 0, sizeof model);
        seed = (unsigned)round * 104729 + 3;
        begin(&s, options);
        memory_of(s.file)->jitter = seed | 1;
        run_lanes(&s, unit, model);
        memory_of(s.file)->jitter = 0;
        assert_int_equal(block_pread(s.image, 0, got, sizeof got), 0);
        for (unsigned k = 0; k < SECTORS; k++) {
            uint32_t value;
            memcpy(&value, got + k * SECTOR, 4);
            if (value != model[k])
                fail_msg("round %d: sector %u holds %x, should hold %x", round, k, value, model[k]);
        }
        struct block_check check = {.report = print_line};
        struct err e = {0};
        for (int i = 0; i < 3; i++) // each gives back what the one before let go
            assert_int_equal(block_flush(s.image), 0);
        assert_int_equal(image_check(s.image, &check, &e), 0);
        assert_int_equal(check.corruptions + check.leaks + check.check_errors, 0);
        // Cut anywhere, the image is sound; what it holds is up to the order of the requests.
        for (unsigned i = 0; i < 12; i++)
            check_cut(&s, rnd() % (memory_of(s.file)->n_log + 1), false);
        end(&s);
    }
}

static void test_parallel_requests(void **state)
{
    run_parallel("cluster_size=512", 1, 20);
    run_parallel("cluster_size=512", 5, 20);
    run_parallel("cluster_size=4k", 1, 20);
    run_parallel("cluster_size=4k", 8, 40);
    run_parallel("cluster_size=4k", 3, 40);
    run_parallel("cluster_size=16k,extended_l2=on", 1, 20);
    run_parallel("cluster_size=16k,extended_l2=on", 4, 20);
    run_parallel("cluster_size=4k,compat=0.10", 8, 20);
}

static void test_small_clusters(void **state)
{
    run_scenario("cluster_size=512", false, 40);
    run_scenario("cluster_size=512,compat=0.10", false, 20);
    run_scenario("cluster_size=512,refcount_bits=64", false, 20);
}

static void test_larger_clusters(void **state)
{
    run_scenario("cluster_size=4k", false, 40);
    run_scenario("cluster_size=16k,extended_l2=on", false, 20);
}

static void test_with_snapshots(void **state)
{
    run_scenario("cluster_size=512", true, 20);
    run_scenario("cluster_size=4k", true, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel_requests),
        cmocka_unit_test(test_small_clusters),
        cmocka_unit_test(test_larger_clusters),
        cmocka_unit_test(test_with_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
