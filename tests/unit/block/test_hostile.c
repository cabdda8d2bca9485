// Hostile images: headers, tables and lengths changed at random. Opening, reading, writing,
// checking and repairing them may fail with one line; nothing may crash, hang or use memory without
// bound.
#include "memory_file.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROUNDS = 4000, DISK = 256 << 10, SECONDS_EACH = 10 }; // of the processor's time

static unsigned seed = 1;

static unsigned rnd(void)
{
    seed = seed * 1103515245 + 12345;
    return seed >> 8;
}

struct seed_image {
    uint8_t *data;
    uint64_t len;
};

struct io {
    struct block_node *n;
    uint64_t off;
    size_t len;
    uint32_t flags;
    enum block_op op;
};

static void io_entry(void *arg)
{
    struct io *io = arg;
    static uint8_t buf[64 << 10];
    struct iovec iov = {buf, io->len};
    if (io->op == BLOCK_READ)
        node_read(io->n, io->off, io->len, iov_view_of(&iov, 1));
    else if (io->op == BLOCK_WRITE)
        node_write(io->n, io->off, io->len, iov_view_of(&iov, 1), io->flags);
    else if (io->op == BLOCK_DISCARD)
        node_discard(io->n, io->off, io->len);
    else if (io->op == BLOCK_WRITE_ZEROES)
        node_write_zeroes(io->n, io->off, io->len, BLOCK_MAY_UNMAP);
    else
        node_flush(io->n);
}

static void some_io(struct engine *eng, struct block_node *n, int count)
{
    for (int i = 0; i < count && block_size(n); i++) {
        struct io io = {.n = n, .op = rnd() % 5};
        io.len = 1 + rnd() % (rnd() % 4 ? 4096 : 65000);
        io.len = MIN(io.len, block_size(n));
        io.off = ((uint64_t)rnd() << 20 ^ rnd()) % (block_size(n) - io.len + 1);
        if (rnd() % 8)
            io.off %= MIN(block_size(n) - io.len + 1, (uint64_t)DISK);
        engine_run(eng, io_entry, &io);
    }
}

static void make_seed(struct seed_image *out, const char *options, bool snapshot)
{
    struct engine *eng = engine_new(NULL);
    struct memory_call c = {.file = memory_new(eng, NULL, 0), .options = options, .size = DISK};
    engine_run(eng, memory_create_entry, &c);
    assert_int_equal(c.result, 0);
    engine_run(eng, memory_open_entry, &c);
    assert_non_null(c.made);
    static uint8_t text[64 << 10];
    struct iovec iov = {text, sizeof text};
    (void)iov;
    struct io packed = {.n = c.made, .len = 1 << 14, .op = BLOCK_WRITE, .flags = BLOCK_COMPRESSED};
    engine_run(eng, io_entry, &packed);
    some_io(eng, c.made, 20);
    struct err e = {0};
    struct block_snapshot sn = {.name = "kept"};
    if (snapshot)
        assert_int_equal(block_snapshot_create(c.made, &sn, &e), 0);
    some_io(eng, c.made, 20);
    block_unref(c.made);
    struct memory_file *m = memory_of(c.file);
    out->len = m->len;
    out->data = malloc(m->len);
    memcpy(out->data, m->data, m->len);
    block_unref(c.file);
    engine_unref(eng);
}

// Numbers that parsers like least.
static uint64_t nasty(void)
{
    static const uint64_t list[] = {0,          1,          7,         0x1ff,      0x200,
                                    0x10000,    0x7fffffff, ~0u,       1ull << 55, 1ull << 62,
                                    1ull << 63, ~0ull,      INT64_MAX, 0xffff,     512 << 10};
    return rnd() % 3 ? list[rnd() % ARRAY_SIZE(list)] : rnd();
}

static void mutate(uint8_t *data, uint64_t *len)
{
    for (unsigned i = 1 + rnd() % 6; i; i--) {
        uint64_t at = rnd() % 3 ? rnd() % MIN(*len, (uint64_t)120) : rnd() % *len;
        if (rnd() % 4 == 0)
            at = rnd() % MIN(*len, (uint64_t)8192);
        uint64_t v = nasty();
        unsigned size = 1u << rnd() % 4;
        for (unsigned k = 0; k < size && at + k < *len; k++)
            data[at + k] = (uint8_t)(rnd() % 2 ? v >> (8 * (size - 1 - k)) : rnd());
        if (rnd() % 4)
            memcpy(data, "QFI\xfb\0\0\0", 7);
    }
    if (rnd() % 8 == 0)
        *len = 1 + rnd() % *len;
}

static void check_line(const struct err *e)
{
    assert_true(*e->msg);
    assert_null(strchr(e->msg, '\n'));
}

// The process dies of SIGPROF after that much work; 0: no limit.
static void time_limit(time_t seconds)
{
    struct itimerval t = {.it_value.tv_sec = seconds};
    assert_int_equal(setitimer(ITIMER_PROF, &t, NULL), 0);
}

static void torture(const struct seed_image *from)
{
    uint64_t len = from->len;
    uint8_t *data = malloc(len);
    memcpy(data, from->data, len);
    mutate(data, &len);
    for (int mode = 0; mode < 4; mode++) { // read-only, writable, checked, repaired
        struct engine *eng = engine_new(NULL);
        struct memory_call c = {.file = memory_new(eng, data, len)};
        c.file->in.read_only = mode == 0 || mode == 2;
        c.file->in.for_check = mode >= 2;
        time_limit(SECONDS_EACH);
        engine_run(eng, memory_open_entry, &c);
        if (!c.made) {
            check_line(&c.e);
        } else {
            struct err e = {0};
            struct block_check check = {.fix_leaks = mode == 3, .fix_errors = mode == 3};
            if (mode < 2)
                some_io(eng, c.made, 12);
            else if (image_check(c.made, &check, &e))
                check_line(&e);
            struct block_snapshot sn = {.name = "new"};
            e.msg[0] = 0;
            if (mode == 1 && rnd() % 2 && block_snapshot_create(c.made, &sn, &e))
                check_line(&e);
            e.msg[0] = 0;
            if (mode == 1 && rnd() % 2 && block_snapshot_apply(c.made, "1", &e))
                check_line(&e);
            e.msg[0] = 0;
            if (mode == 1 && rnd() % 4 == 0 && block_resize(c.made, DISK * 2, &e))
                check_line(&e);
            block_unref(c.made);
        }
        block_unref(c.file);
        engine_unref(eng);
    }
    time_limit(0);
    free(data);
}

static void test_mutations(void **state)
{
    static const struct {
        const char *options;
        bool snapshot;
    } kinds[] = {{"cluster_size=512", true},
                 {"cluster_size=4k,compat=0.10", true},
                 {"cluster_size=512,refcount_bits=1", false},
                 {"cluster_size=16k,extended_l2=on", true},
                 {"compression_type=zstd", false}};
    const char *scale = getenv("MYNA_TEST_SCALE");
    unsigned rounds = ROUNDS * (scale ? (unsigned)MAX(atoi(scale), 1) : 1);
    int quiet = open("/dev/null", O_WRONLY), err = dup(2);
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        struct seed_image s;
        make_seed(&s, kinds[k].options, kinds[k].snapshot);
        dup2(quiet, 2); // each corrupt image says so
        for (unsigned i = 0; i < rounds / ARRAY_SIZE(kinds); i++) {
            seed = i * 31 + k;
            torture(&s);
        }
        dup2(err, 2);
        free(s.data);
    }
    close(quiet);
    close(err);
}

static void test_unknown_feature(void **state)
{
    struct seed_image s;
    make_seed(&s, "cluster_size=4k", false);
    s.data[79 - 1] |= 1; // incompatible feature bit 8
    struct engine *eng = engine_new(NULL);
    struct memory_call c = {.file = memory_new(eng, s.data, s.len)};
    engine_run(eng, memory_open_entry, &c);
    assert_null(c.made);
    assert_non_null(strstr(c.e.msg, "unsupported feature(s): unknown feature 8"));
    // The image's own table names it.
    uint8_t *name = memmem(s.data, 4096, "dirty bit", 9);
    assert_non_null(name);
    name[-1] = 8;
    memcpy(name, "time warp\0", 10);
    memcpy(memory_of(c.file)->data, s.data, s.len);
    engine_run(eng, memory_open_entry, &c);
    assert_null(c.made);
    assert_non_null(strstr(c.e.msg, "time warp"));
    block_unref(c.file);
    engine_unref(eng);
    free(s.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_feature),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
