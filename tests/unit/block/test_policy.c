// What a drive's holder learns of failures, by werror and rerror, with a disk that fails to order
// (blkdebug); and blkdebug's own rules.
#include "../base/pump.h"
#include "base/vec.h"
#include "block/block.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { PENDING = 1 };

struct rig {
    struct loop *loop;
    struct drives *drives;
    struct drive *drive;
    unsigned failures, stops;
    int last_failure;
};

static void failed(void *opaque, struct drive *d, enum block_op op, enum drive_err action,
                   int result)
{
    struct rig *r = opaque;
    r->failures++;
    r->stops += action == DRIVE_ERR_STOP;
    r->last_failure = result;
}

static void rig_open(struct rig *r, const char *rules)
{
    struct err e = {0};
    struct opts o = {0};
    char text[512];
    *r = (struct rig){.loop = loop_new("test")};
    r->drives = drives_new(r->loop);
    drives_on_failure(r->drives, failed, r);
    snprintf(text, sizeof text,
             "if=none,id=d,format=raw,file.driver=blkdebug,file.image.driver=null-co,"
             "file.image.size=1M,%s",
             rules);
    assert_int_equal(opts_parse(&o, text, NULL, &e), 0);
    r->drive = drive_open_from_opts(r->drives, &o, "none", &e);
    assert_string_equal(e.msg, "");
    assert_non_null(r->drive);
    opts_free(&o);
}

static void rig_close(struct rig *r)
{
    drives_free(r->drives);
    loop_free(r->loop);
}

static uint8_t page[4096];
static struct iovec page_iov = {page, sizeof page};

static void done(struct block_req *r, int result)
{
    assert_int_equal(*(int *)r->opaque, PENDING); // once only
    *(int *)r->opaque = result;
}

// Sends one request and runs the loop until it has ended or waits for the machine.
static void ask(struct rig *r, struct block_req *q, enum block_op op, uint64_t off, int *result)
{
    *q = (struct block_req){.op = op, .offset = off, .done = done, .opaque = result};
    *result = PENDING;
    if (op != BLOCK_FLUSH)
        q->bytes = sizeof page;
    if (op == BLOCK_READ || op == BLOCK_WRITE) {
        q->iov = &page_iov;
        q->n_iov = 1;
    }
    unsigned stops = r->stops;
    drive_submit(r->drive, q);
    pump_until(r->loop, *result != PENDING || r->stops != stops);
}

static int ask_once(struct rig *r, enum block_op op, uint64_t off)
{
    struct block_req q;
    int result;
    ask(r, &q, op, off, &result);
    assert_int_not_equal(result, PENDING);
    return result;
}

static void test_report_is_the_rule(void **state)
{
    struct rig r;
    rig_open(&r, "file.inject-error.0.errno=5");
    assert_int_equal(ask_once(&r, BLOCK_READ, 0), -EIO);
    assert_int_equal(ask_once(&r, BLOCK_WRITE, 0), -EIO);
    assert_int_equal(ask_once(&r, BLOCK_FLUSH, 0), -EIO);
    assert_int_equal(r.failures, 3);
    assert_int_equal(r.stops, 0);
    rig_close(&r);
}

static void test_ignore(void **state)
{
    struct rig r;
    rig_open(&r, "file.inject-error.0.errno=5,werror=ignore,rerror=report");
    assert_int_equal(ask_once(&r, BLOCK_WRITE, 0), 0);
    assert_int_equal(ask_once(&r, BLOCK_FLUSH, 0), 0);
    assert_int_equal(ask_once(&r, BLOCK_READ, 0), -EIO);
    assert_int_equal(r.failures, 3);
    rig_close(&r);
}

static void test_no_space_stops_and_is_tried_again(void **state)
{
    struct rig r;
    struct block_req q;
    int result;
    rig_open(&r, "file.inject-error.0.iotype=write,file.inject-error.0.errno=28,"
                 "file.inject-error.0.once=on");
    ask(&r, &q, BLOCK_WRITE, 8192, &result);
    assert_int_equal(result, PENDING);
    assert_int_equal(r.stops, 1);
    assert_int_equal(r.drive->failure, -ENOSPC);
    assert_int_equal(ask_once(&r, BLOCK_READ, 0), 0); // others go on
    drives_retry(r.drives);
    pump_until(r.loop, result != PENDING);
    assert_int_equal(result, 0);
    assert_int_equal(r.drive->failure, 0);
    rig_close(&r);
}

static void test_stop_again_and_give_up(void **state)
{
    struct rig r;
    struct block_req q[3];
    int result[3];
    rig_open(&r, "file.inject-error.0.sector=16,rerror=stop,werror=stop");
    ask(&r, &q[0], BLOCK_READ, 8192, &result[0]);
    ask(&r, &q[1], BLOCK_WRITE, 8192, &result[1]);
    assert_int_equal(ask_once(&r, BLOCK_WRITE, 4096), 0); // not this sector
    assert_int_equal(r.stops, 2);
    drives_retry(r.drives);
    pump_until(r.loop, r.stops == 4);
    assert_int_equal(result[0], PENDING);
    drives_give_up(r.drives);
    assert_int_equal(result[0], -EIO);
    assert_int_equal(result[1], -EIO);
    ask(&r, &q[2], BLOCK_WRITE, 8192, &result[2]);
    assert_int_equal(result[2], PENDING);
    drive_drain(r.drive); // the device goes away
    assert_int_equal(result[2], -EIO);
    rig_close(&r);
}

static void test_after_counts(void **state)
{
    struct rig r;
    rig_open(&r, "file.inject-error.0.iotype=write,file.inject-error.0.after=3,"
                 "file.inject-error.0.errno=28,file.inject-error.0.once=on,werror=report");
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask_once(&r, BLOCK_WRITE, 0), 0);
    assert_int_equal(ask_once(&r, BLOCK_WRITE, 0), -ENOSPC);
    assert_int_equal(ask_once(&r, BLOCK_WRITE, 0), 0);
    assert_int_equal(r.last_failure, -ENOSPC);
    rig_close(&r);
}

static void refuse(const char *text, const char *why)
{
    struct err e = {0};
    struct opts o = {0};
    struct loop *loop = loop_new("test");
    struct drives *ds = drives_new(loop);
    assert_int_equal(opts_parse(&o, text, NULL, &e), 0);
    assert_null(drive_open_from_opts(ds, &o, "none", &e));
    if (!strstr(e.msg, why))
        fail_msg("'%s' does not say '%s'", e.msg, why);
    opts_free(&o);
    drives_free(ds);
    loop_free(loop);
}

static void test_bad_rules(void **state)
{
#define IMAGE "format=raw,file.driver=blkdebug,file.image.driver=null-co,"
    refuse(IMAGE "file.inject-error.0.iotype=wrote", "did you mean 'write'");
    refuse(IMAGE "file.inject-error.0.errno=0", "1 to 4095");
    refuse(IMAGE "file.inject-error.0.nth=0", "nth");
    refuse("format=raw,file.driver=blkdebug", "image=");
    refuse(IMAGE "werror=sotp", "did you mean 'stop'");
}

// Monitors print names of nodes that no file name was given for.
static void test_every_node_has_a_name(void **state)
{
    struct rig r;
    rig_open(&r, "rerror=stop");
    assert_string_equal(block_filename(r.drive->node), "blkdebug:null-co://");
    rig_close(&r);
}

static void test_one_holder(void **state)
{
    struct rig r;
    struct err e = {0};
    int a, b;
    rig_open(&r, "rerror=stop");
    assert_int_equal(drive_take(r.drive, &a, NULL, DRIVE_ERR_AUTO, DRIVE_ERR_IGNORE, &e), 0);
    assert_int_equal(r.drive->rerror, DRIVE_ERR_STOP);
    assert_int_equal(r.drive->werror, DRIVE_ERR_IGNORE);
    assert_int_equal(drive_take(r.drive, &b, NULL, DRIVE_ERR_AUTO, DRIVE_ERR_AUTO, &e), -1);
    assert_non_null(strstr(e.msg, "already used"));
    drive_release(r.drive);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_is_the_rule),
        cmocka_unit_test(test_ignore),
        cmocka_unit_test(test_no_space_stops_and_is_tried_again),
        cmocka_unit_test(test_stop_again_and_give_up),
        cmocka_unit_test(test_after_counts),
        cmocka_unit_test(test_bad_rules),
        cmocka_unit_test(test_every_node_has_a_name),
        cmocka_unit_test(test_one_holder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
