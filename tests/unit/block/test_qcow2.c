// qcow2 against a flat model: random writes, discards, zeroes and reopenings over every cluster
// size, reference count width and version, checked by our own checker and by QEMU's tools.
#include "image_model.h"

static void random_step(struct model *m, struct block_node *n)
{
    unsigned what = model_random(m) % 20;
    size_t max = m->size / 8, len = 1 + model_random(m) % max;
    if (what < 8)
        len = MIN(len, (size_t)4096);
    size_t off = model_random(m) % (m->size - len);
    if (model_random(m) % 2) {
        off &= ~(size_t)511;
        len = MAX(len & ~(size_t)511, (size_t)512);
    }
    if (what < 14) {
        for (size_t i = 0; i < len; i++)
            m->data[off + i] = (uint8_t)(model_random(m) | 1);
        assert_int_equal(image_io(n, BLOCK_WRITE, 0, off, m->data + off, len), 0);
    } else if (what < 16) {
        uint32_t flags = model_random(m) % 2 ? BLOCK_MAY_UNMAP : 0;
        memset(m->data + off, 0, len);
        assert_int_equal(image_io(n, BLOCK_WRITE_ZEROES, flags, off, NULL, len), 0);
    } else if (what < 18) {
        // What a discard leaves is not promised; read it back into the model.
        assert_int_equal(image_io(n, BLOCK_DISCARD, 0, off, NULL, len), 0);
        assert_int_equal(block_pread(n, off, m->data + off, len), 0);
    } else if (what == 18) {
        assert_int_equal(image_io(n, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
    } else {
        uint8_t *got = malloc(len);
        assert_int_equal(block_pread(n, off, got, len), 0);
        assert_memory_equal(got, m->data + off, len);
        free(got);
    }
}

static void run_model(const char *options, size_t size, int steps, unsigned seed)
{
    struct model m;
    model_init(&m, size, seed);
    make_image(m.path, size, options, NULL, NULL);
    for (int round = 0; round < 3; round++) {
        struct block_node *n = open_image(m.path, "discard=unmap", 0);
        for (int i = 0; i < steps / 3; i++)
            random_step(&m, n);
        expect_content(n, m.data, size);
        expect_sound(n, false);
        block_unref(n);
    }
    struct block_node *n = open_image(m.path, "", IMAGE_READ_ONLY);
    expect_content(n, m.data, size);
    block_unref(n);
    expect_qemu_agrees(&m);
    model_free(&m);
}

static void test_cluster_sizes(void **state)
{
    for (unsigned bits = 9; bits <= 21; bits++) {
        char options[64];
        snprintf(options, sizeof options, "cluster_size=%u", 1u << bits);
        run_model(options, 6 << 20, 150, bits);
        snprintf(options, sizeof options, "cluster_size=%u,compat=0.10", 1u << bits);
        run_model(options, 3 << 20, 60, bits + 100);
    }
}

static void test_refcount_widths(void **state)
{
    for (unsigned order = 0; order <= 6; order++) {
        char options[64];
        snprintf(options, sizeof options, "cluster_size=512,refcount_bits=%u", 1u << order);
        run_model(options, 5 << 20, 120, order);
    }
}

static void test_extended_l2(void **state)
{
    run_model("cluster_size=16k,extended_l2=on", 4 << 20, 300, 1);
    run_model("extended_l2=on", 8 << 20, 300, 2);
    run_model("cluster_size=2M,extended_l2=on", 16 << 20, 100, 3);
}

static void test_odd_sizes(void **state)
{
    run_model("cluster_size=4k", (3 << 20) + 512, 200, 5);
    run_model("", (1 << 20) + 33 * 512, 200, 6);
}

static void test_preallocation(void **state)
{
    run_model("preallocation=metadata", 5 << 20, 100, 7);
    run_model("preallocation=falloc,cluster_size=4k", 5 << 20, 100, 8);
    run_model("preallocation=full,cluster_size=1M", 5 << 20, 60, 9);
    run_model("preallocation=metadata,extended_l2=on", 5 << 20, 60, 9);
}

static void test_data_file(void **state)
{
    struct model m;
    char options[160];
    model_init(&m, 4 << 20, 11);
    for (int raw = 0; raw < 2; raw++) {
        snprintf(options, sizeof options, "data_file=%s/data%d,data_file_raw=%s", m.dir, raw,
                 raw ? "on" : "off");
        memset(m.data, 0, m.size);
        make_image(m.path, m.size, options, NULL, NULL);
        struct block_node *n = open_image(m.path, "discard=unmap", 0);
        for (int i = 0; i < 150; i++)
            random_step(&m, n);
        expect_content(n, m.data, m.size);
        expect_sound(n, false);
        block_unref(n);
        expect_qemu_agrees(&m);
    }
    uint8_t *got = malloc(m.size);
    snprintf(options, sizeof options, "%s/data1", m.dir);
    FILE *f = fopen(options, "r");
    assert_int_equal(fread(got, 1, m.size, f), m.size);
    fclose(f);
    assert_memory_equal(got, m.data, m.size); // data_file_raw: readable without the qcow2
    free(got);
    model_free(&m);
}

static void test_backing(void **state)
{
    static const char *const kinds[] = {"", "compat=0.10", "cluster_size=512", "extended_l2=on"};
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        struct model m;
        char base[128], mid[128];
        model_init(&m, 4 << 20, 20 + k);
        snprintf(base, sizeof base, "%s/base.qcow2", m.dir);
        snprintf(mid, sizeof mid, "%s/mid.qcow2", m.dir);
        make_image(base, 3 << 20, kinds[k], NULL, NULL);
        size_t whole = m.size;
        m.size = 3 << 20;
        struct block_node *n = open_image(base, "", 0);
        for (int i = 0; i < 40; i++)
            random_step(&m, n);
        block_unref(n);
        // Relative names are relative to the image.
        make_image(mid, whole, kinds[k], "base.qcow2", "qcow2");
        char json[512];
        snprintf(json, sizeof json,
                 "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}",
                 mid);
        make_image(m.path, whole, kinds[k], json, NULL);
        m.size = whole;
        n = open_image(m.path, "discard=unmap", 0);
        expect_content(n, m.data, m.size);
        for (int i = 0; i < 150; i++)
            random_step(&m, n);
        expect_content(n, m.data, m.size);
        expect_sound(n, false);
        block_unref(n);
        expect_qemu_agrees(&m);
        model_free(&m);
    }
}

static void test_compressed(void **state)
{
    static const char *const kinds[] = {"",
                                        "compression_type=zstd",
                                        "cluster_size=4k",
                                        "compat=0.10,cluster_size=512",
                                        "refcount_bits=1",
                                        "extended_l2=on"};
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        struct model m;
        model_init(&m, (4 << 20) + 512, 40 + k);
        for (size_t i = 0; i < m.size; i++)
            m.data[i] =
                i % (256 << 10) < (200 << 10) ? (uint8_t)(i / 1000) : (uint8_t)model_random(&m);
        make_image(m.path, m.size, kinds[k], NULL, NULL);
        struct block_node *n = open_image(m.path, "discard=unmap", 0);
        for (size_t off = 0; off < m.size; off += 2 << 20)
            assert_int_equal(image_io(n, BLOCK_WRITE, BLOCK_COMPRESSED, off, m.data + off,
                                      MIN(m.size - off, (size_t)2 << 20)),
                             0);
        expect_content(n, m.data, m.size);
        expect_sound(n, false);
        block_unref(n);
        expect_qemu_agrees(&m);
        n = open_image(m.path, "discard=unmap", 0);
        for (int i = 0; i < 100; i++)
            random_step(&m, n);
        expect_content(n, m.data, m.size);
        expect_sound(n, false);
        block_unref(n);
        expect_qemu_agrees(&m);
        model_free(&m);
    }
}

static void test_snapshots(void **state)
{
    static const char *const kinds[] = {"", "compat=0.10,cluster_size=4k", "cluster_size=512",
                                        "extended_l2=on", "refcount_bits=8"};
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        struct model m;
        struct err e = {0};
        model_init(&m, 4 << 20, 60 + k);
        make_image(m.path, m.size, kinds[k], NULL, NULL);
        struct block_node *n = open_image(m.path, "discard=unmap", 0);
        uint8_t *kept[3], state_in[70000], state_out[70000];
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 40; j++)
                random_step(&m, n);
            memset(state_in, i + 1, sizeof state_in);
            assert_int_equal(block_vmstate_pwrite(n, 0, state_in, sizeof state_in), 0);
            struct block_snapshot s = {.vmstate_bytes = sizeof state_in, .date_ns = 1000000007};
            snprintf(s.name, sizeof s.name, "snap%d", i);
            if (block_snapshot_create(n, &s, &e))
                fail_msg("%s", e.msg);
            kept[i] = malloc(m.size);
            memcpy(kept[i], m.data, m.size);
            expect_sound(n, false);
        }
        for (int j = 0; j < 40; j++)
            random_step(&m, n);
        struct block_snapshot *list;
        assert_int_equal(block_snapshot_list(n, &list, &e), 3);
        assert_string_equal(list[1].name, "snap1");
        assert_string_equal(list[1].id, "2");
        assert_int_equal(list[1].vmstate_bytes, sizeof state_in);
        free(list);
        block_unref(n);
        expect_qemu_agrees(&m);
        n = open_image(m.path, "discard=unmap", 0);
        for (int i = 2; i >= 0; i--) {
            char name[16];
            snprintf(name, sizeof name, "snap%d", i);
            if (block_snapshot_apply(n, name, &e))
                fail_msg("%s", e.msg);
            expect_content(n, kept[i], m.size);
            assert_int_equal(block_vmstate_pread(n, 0, state_out, sizeof state_out), 0);
            memset(state_in, i + 1, sizeof state_in);
            assert_memory_equal(state_out, state_in, sizeof state_in);
            expect_sound(n, false);
            memcpy(m.data, kept[i], m.size);
            for (int j = 0; j < 10; j++)
                random_step(&m, n); // scribbles, gone with the next apply
        }
        assert_int_equal(block_snapshot_delete(n, "snap1", &e), 0);
        expect_sound(n, false);
        assert_int_equal(block_snapshot_delete(n, "snap1", &e), -1);
        assert_int_equal(block_snapshot_apply(n, "3", &e), 0);
        expect_content(n, kept[2], m.size);
        assert_int_equal(block_snapshot_delete(n, "1", &e), 0);
        assert_int_equal(block_snapshot_delete(n, "snap2", &e), 0);
        expect_sound(n, false);
        block_unref(n);
        memcpy(m.data, kept[2], m.size);
        expect_qemu_agrees(&m);
        for (int i = 0; i < 3; i++)
            free(kept[i]);
        model_free(&m);
    }
}

static void test_resize(void **state)
{
    struct model m;
    struct err e = {0};
    model_init(&m, 8 << 20, 80);
    make_image(m.path, 1 << 20, "cluster_size=512", NULL, NULL);
    m.size = 1 << 20;
    struct block_node *n = open_image(m.path, "", 0);
    for (int i = 0; i < 60; i++)
        random_step(&m, n);
    assert_int_equal(block_resize(n, (1 << 19) + 512, &e), 0);
    memset(m.data + (1 << 19) + 512, 0, 1 << 19);
    assert_int_equal(block_resize(n, 8 << 20, &e), 0);
    m.size = 8 << 20;
    expect_content(n, m.data, m.size);
    for (int i = 0; i < 100; i++)
        random_step(&m, n);
    expect_content(n, m.data, m.size);
    expect_sound(n, false);
    block_unref(n);
    expect_qemu_agrees(&m);
    model_free(&m);
}

// Many writers of small pieces at once, in the same and in different clusters.
static void test_parallel(void **state)
{
    enum { N = 256, LEN = 1536 };
    struct model m;
    model_init(&m, 2 << 20, 90);
    make_image(m.path, m.size, "cluster_size=4k", NULL, NULL);
    struct block_node *n = open_image(m.path, "", 0);
    struct io_wait *w = calloc(N, sizeof *w);
    struct block_req *r = calloc(N, sizeof *r);
    struct iovec *iov = calloc(N, sizeof *iov);
    for (size_t i = 0; i < N; i++) {
        size_t off = i * LEN;
        memset(m.data + off, (int)i + 1, LEN);
        iov[i] = (struct iovec){m.data + off, LEN};
        r[i] = (struct block_req){.op = i % 16 == 15 ? BLOCK_FLUSH : BLOCK_WRITE,
                                  .offset = off,
                                  .bytes = LEN,
                                  .iov = &iov[i],
                                  .n_iov = 1,
                                  .done = io_done,
                                  .opaque = &w[i]};
        if (r[i].op == BLOCK_FLUSH)
            memset(m.data + off, 0, LEN);
        block_submit(n, &r[i]);
    }
    block_drain(n);
    for (size_t i = 0; i < N; i++)
        assert_true(w[i].done && !w[i].result);
    expect_content(n, m.data, m.size);
    expect_sound(n, false);
    block_unref(n);
    expect_qemu_agrees(&m);
    free(w), free(r), free(iov);
    model_free(&m);
}

static void test_temporary_overlay(void **state)
{
    struct model m;
    struct err e = {0};
    model_init(&m, 1 << 20, 95);
    make_image(m.path, m.size, "", NULL, NULL);
    struct block_node *n = open_image(m.path, "", 0);
    random_step(&m, n);
    assert_int_equal(block_pwrite(n, 0, "base", 4), 0);
    block_unref(n);
    struct opts o = {0};
    char text[256];
    snprintf(text, sizeof text, "file=%s,format=qcow2,snapshot=on", m.path);
    assert_int_equal(opts_parse(&o, text, NULL, &e), 0);
    n = block_open(&o, NULL, &e);
    opts_free(&o);
    if (!n)
        fail_msg("%s", e.msg);
    assert_int_equal(block_pwrite(n, 0, "over", 4), 0);
    char got[4];
    assert_int_equal(block_pread(n, 0, got, 4), 0);
    assert_memory_equal(got, "over", 4);
    block_unref(n);
    n = open_image(m.path, "", 0);
    assert_int_equal(block_pread(n, 0, got, 4), 0);
    assert_memory_equal(got, "base", 4);
    block_unref(n);
    model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cluster_sizes), cmocka_unit_test(test_refcount_widths),
        cmocka_unit_test(test_extended_l2),   cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_preallocation), cmocka_unit_test(test_data_file),
        cmocka_unit_test(test_backing),       cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_snapshots),     cmocka_unit_test(test_resize),
        cmocka_unit_test(test_parallel),      cmocka_unit_test(test_temporary_overlay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
