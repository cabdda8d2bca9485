// Raw images, the file protocol in its three I/O modes, locking, options and drives.
#include "block/block.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static char path[64];

static int make_file(void **state)
{
    strcpy(path, "/tmp/myna-raw-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4 << 20), 0);
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    unlink(path);
    return 0;
}

static struct block_node *open_opts(struct loop *loop, struct err *e, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, text, NULL, e), 0);
    struct block_node *n = block_open(&o, loop, e);
    opts_free(&o);
    return n;
}

static void check_mode(const char *mode)
{
    struct err e = {0};
    struct loop *loop = loop_new("test");
    struct block_node *n = open_opts(loop, &e, "file=%s,format=raw,%s", path, mode);
    if (!n && strstr(e.msg, "O_DIRECT")) {
        loop_free(loop);
        return; // this file system cannot
    }
    assert_string_equal(e.msg, "");
    assert_non_null(n);
    static uint8_t model[4 << 20], got[4 << 20];
    memset(model, 0, sizeof model);
    srand(7);
    assert_int_equal(block_pwrite(n, 0, model, sizeof model), 0);
    for (int i = 0; i < 300; i++) {
        size_t off = (size_t)rand() % (sizeof model - 70000), len = 1 + (size_t)rand() % 70000;
        for (size_t k = 0; k < len; k++)
            model[off + k] = (uint8_t)(rand() >> 3);
        assert_int_equal(block_pwrite(n, off, model + off, len), 0);
        off = (size_t)rand() % (sizeof model - 70000);
        assert_int_equal(block_pread(n, off, got, 70000), 0);
        assert_memory_equal(got, model + off, 70000);
    }
    assert_int_equal(block_flush(n), 0);
    assert_int_equal(block_pread(n, sizeof model - 1, got, 2), -EINVAL);
    assert_int_equal(block_pread(n, UINT64_MAX, got, 2), -EINVAL);
    block_unref(n);
    loop_free(loop);
    FILE *f = fopen(path, "r");
    assert_int_equal(fread(got, 1, sizeof got, f), sizeof got);
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    assert_memory_equal(got, model, sizeof model);
}

static void test_modes(void **state)
{
    check_mode("aio=threads");
    check_mode("cache=writeback");
    check_mode("cache=none");
    check_mode("cache=directsync,aio=threads");
    check_mode("cache=unsafe");
}

struct flight {
    struct block_req req;
    struct iovec iov;
    uint8_t data[8192];
    int result, calls;
};

static void flight_done(struct block_req *r, int result)
{
    struct flight *f = r->opaque;
    f->result = result;
    f->calls++;
}

static void test_async(void **state)
{
    struct err e = {0};
    struct loop *loop = loop_new("test");
    struct block_node *n = open_opts(loop, &e, "file=%s,format=raw", path);
    assert_non_null(n);
    enum { N = 64 };
    struct flight *f = calloc(N, sizeof *f);
    block_plug(n);
    for (int i = 0; i < N; i++) {
        memset(f[i].data, i + 1, sizeof f[i].data);
        f[i].iov = (struct iovec){f[i].data, sizeof f[i].data};
        f[i].req = (struct block_req){.op = BLOCK_WRITE,
                                      .offset = (uint64_t)i * 8192,
                                      .bytes = 8192,
                                      .iov = &f[i].iov,
                                      .n_iov = 1,
                                      .done = flight_done,
                                      .opaque = &f[i]};
        block_submit(n, &f[i].req);
        assert_int_equal(f[i].calls, 0); // never from within submit
    }
    block_unplug(n);
    for (int i = 0; i < N; i++)
        while (!f[i].calls)
            loop_run_once(loop, 1000);
    uint8_t got[8192];
    for (int i = 0; i < N; i++) {
        assert_int_equal(f[i].calls, 1);
        assert_int_equal(f[i].result, 0);
        assert_int_equal(block_pread(n, (uint64_t)i * 8192, got, sizeof got), 0);
        assert_memory_equal(got, f[i].data, sizeof got);
    }
    struct flight bad = {.req = {.op = BLOCK_READ, .offset = 4 << 20, .bytes = 512}};
    bad.iov = (struct iovec){bad.data, 512};
    bad.req.iov = &bad.iov, bad.req.n_iov = 1, bad.req.done = flight_done, bad.req.opaque = &bad;
    block_submit(n, &bad.req);
    assert_int_equal(bad.calls, 0);
    block_drain(n);
    assert_int_equal(bad.calls, 1);
    assert_int_equal(bad.result, -EINVAL);
    struct block_stats st;
    block_get_stats(n, &st);
    assert_int_equal(st.ops[BLOCK_WRITE], N);
    assert_int_equal(st.bytes[BLOCK_WRITE], N * 8192);
    assert_int_equal(st.failed[BLOCK_READ], 1);
    free(f);
    block_unref(n);
    loop_free(loop);
}

static void test_locking(void **state)
{
    struct err e = {0};
    struct block_node *w = open_opts(NULL, &e, "file=%s,format=raw", path);
    assert_non_null(w);
    assert_null(open_opts(NULL, &e, "file=%s,format=raw", path));
    assert_non_null(strstr(e.msg, "Failed to get \"write\" lock"));
    assert_non_null(strstr(e.msg, path));
    assert_null(open_opts(NULL, &e, "file=%s,format=raw,read-only=on", path));
    assert_non_null(strstr(e.msg, "Failed to get shared \"write\" lock"));
    struct block_node *r =
        open_opts(NULL, &e, "file=%s,format=raw,read-only=on,force-share=on", path);
    assert_non_null(r);
    block_unref(r);
    r = open_opts(NULL, &e, "file=%s,format=raw,file.locking=off", path);
    assert_non_null(r);
    block_unref(r);
    block_unref(w);
    w = open_opts(NULL, &e, "file=%s,format=raw", path);
    assert_non_null(w);
    block_unref(w);
}

static void test_window_and_readonly(void **state)
{
    struct err e = {0};
    struct block_node *n = open_opts(NULL, &e, "file=%s,format=raw", path);
    assert_int_equal(block_pwrite(n, 1 << 20, "window", 6), 0);
    block_unref(n);
    n = open_opts(NULL, &e, "file=%s,format=raw,offset=1M,size=4096,read-only=on", path);
    assert_non_null(n);
    assert_int_equal(block_size(n), 4096);
    char got[6];
    assert_int_equal(block_pread(n, 0, got, 6), 0);
    assert_memory_equal(got, "window", 6);
    assert_int_equal(block_pwrite(n, 0, "x", 1), -EPERM);
    block_unref(n);
    assert_null(open_opts(NULL, &e, "file=%s,format=raw,offset=8M", path));
    assert_null(open_opts(NULL, &e, "file=%s,format=rwa", path));
    assert_non_null(strstr(e.msg, "did you mean 'raw'"));
    assert_null(open_opts(NULL, &e, "file=%s,format=raw,offst=1", path));
    assert_non_null(strstr(e.msg, "offst"));
    assert_null(open_opts(NULL, &e, "file=/nonexistent/x.img,format=raw"));
    assert_non_null(strstr(e.msg, "/nonexistent/x.img"));
    assert_non_null(strstr(e.msg, "No such file"));
}

static void test_throttle(void **state)
{
    struct err e = {0};
    struct loop *loop = loop_new("test");
    struct block_node *n = open_opts(loop, &e, "driver=null-co,throttling.iops-total=100");
    assert_non_null(n);
    enum { N = 30 };
    struct flight *f = calloc(N, sizeof *f);
    int64_t start = host_monotonic_ns();
    for (int i = 0; i < N; i++) {
        f[i].iov = (struct iovec){f[i].data, 512};
        f[i].req = (struct block_req){.op = BLOCK_READ,
                                      .bytes = 512,
                                      .iov = &f[i].iov,
                                      .n_iov = 1,
                                      .done = flight_done,
                                      .opaque = &f[i]};
        block_submit(n, &f[i].req);
    }
    for (int i = 0; i < N; i++)
        while (!f[i].calls)
            loop_run_once(loop, 1000);
    // 10 go at once, the other 20 at 100 a second.
    assert_true(host_monotonic_ns() - start > 150000000);
    free(f);
    block_unref(n);
    loop_free(loop);
}

static struct drive *add_drive(struct drives *d, const char *text, struct err *e)
{
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, text, NULL, e), 0);
    struct drive *drive = drive_open_from_opts(d, &o, "virtio", e);
    opts_free(&o);
    return drive;
}

static struct block_node *add_node(struct drives *d, const char *text, struct err *e)
{
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, text, NULL, e), 0);
    struct block_node *n = drives_add_node(d, &o, e);
    opts_free(&o);
    return n;
}

static void test_drives(void **state)
{
    struct err e = {0};
    struct loop *loop = loop_new("test");
    struct drives *d = drives_new(loop);
    char text[256];
    snprintf(text, sizeof text, "file=%s,format=raw,id=d0,serial=S1,werror=stop", path);
    struct drive *a = add_drive(d, text, &e);
    assert_non_null(a);
    assert_string_equal(a->interface, "virtio");
    assert_string_equal(a->serial, "S1");
    assert_int_equal(a->werror, DRIVE_ERR_STOP);
    assert_int_equal(block_size(a->node), 4 << 20);
    struct drive *b = add_drive(d, "if=none,media=cdrom", &e);
    assert_non_null(b);
    assert_null(b->node);
    assert_true(b->is_cdrom && b->removable);
    assert_ptr_equal(drives_find(d, "d0"), a);
    assert_null(add_drive(d, "if=nvme", &e));
    assert_null(add_drive(d, text, &e));
    drives_del(d, a);
    snprintf(text, sizeof text,
             "{\"driver\":\"file\",\"filename\":\"%s\",\"node-name\":\"store\","
             "\"auto-read-only\":true,\"discard\":\"unmap\"}",
             path);
    assert_non_null(add_node(d, text, &e));
    struct block_node *fmt = add_node(
        d, "{\"node-name\":\"fmt\",\"read-only\":false,\"driver\":\"raw\",\"file\":\"store\"}", &e);
    assert_string_equal(e.msg[0] && !fmt ? e.msg : "", "");
    assert_non_null(fmt);
    struct drive *c = drives_get(d, "fmt", &e);
    assert_non_null(c);
    assert_ptr_equal(c->node, fmt);
    assert_int_equal(drives_del_node(d, "store", &e), -1);
    assert_null(drives_get(d, "nobody", &e));
    drives_free(d);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_modes, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_async, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_locking, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_window_and_readonly, make_file, remove_file),
        cmocka_unit_test(test_throttle),
        cmocka_unit_test_setup_teardown(test_drives, make_file, remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
