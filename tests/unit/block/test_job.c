// Block jobs beside a writing guest: whatever job runs, wherever it fails or is stopped, the disk
// reads as what was written to it, during the job and after. Every n-th operation of the layer that
// a job writes to fails in turn (blkdebug).
#include "../base/pump.h"
#include "block/job/graph.h"
#include "block/job/job.h"
#include "block/image.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { SIZE = 1 << 22, SECTOR = 512, WRITES = 60 };

struct rig {
    struct loop *loop;
    struct drives *drives;
    struct drive *drive;
    char dir[64];
    uint8_t model[SIZE];
    unsigned seed, in_flight, writes;
    char events[4096];
};

struct guest_write {
    struct block_req req;
    struct iovec iov;
    struct rig *rig;
    uint8_t data[16 * SECTOR];
};

static unsigned roll(struct rig *r, unsigned n)
{
    r->seed = r->seed * 1103515245 + 12345;
    return (r->seed >> 8) % n;
}

static void on_event(void *opaque, const char *name, const char *data)
{
    struct rig *r = opaque;
    size_t n = strlen(r->events);
    snprintf(r->events + n, sizeof r->events - n, "%s %s\n", name, data);
}

static struct block_node *add_node(struct rig *r, const char *fmt, ...)
{
    struct err e = {0};
    struct opts o = {0};
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert_int_equal(opts_parse(&o, text, NULL, &e), 0);
    struct block_node *n = drives_add_node(r->drives, &o, &e);
    opts_free(&o);
    assert_string_equal(e.msg, "");
    return n;
}

static const char *path(struct rig *r, const char *name)
{
    static char text[2][128];
    static unsigned i;
    snprintf(text[++i & 1], sizeof text[0], "%s/%s", r->dir, name);
    return text[i & 1];
}

// base.raw under mid.qcow2 under top.qcow2, the guest on top; `rules` are those of blkdebug below
// the layer `failing`.
static void rig_open(struct rig *r, const char *failing, const char *rules)
{
    static const char *const names[] = {"base", "mid", "top", "copy"};
    struct err e = {0};
    *r = (struct rig){.loop = loop_new("test"), .seed = 7, .dir = "/tmp/test-job-XXXXXX"};
    assert_non_null(mkdtemp(r->dir));
    r->drives = drives_new(r->loop);
    drives_on_event(r->drives, on_event, r);
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        bool raw = i % 3 == 0;
        struct opts none = {0};
        struct block_create c = {.size = SIZE, .opts = &none};
        assert_int_equal(image_create(raw ? "raw" : "qcow2", path(r, names[i]), &c, &e), 0);
        if (raw)
            assert_int_equal(truncate(path(r, names[i]), SIZE), 0);
        bool bad = !strcmp(names[i], failing);
        add_node(r, "driver=%s,node-name=%s,%s%s,%sdriver=file,%sfilename=%s",
                 raw ? "raw" : "qcow2", names[i],
                 i == 1   ? "backing=base,"
                 : i == 2 ? "backing=mid,"
                          : "",
                 bad ? rules : "cache.direct=off", bad ? "file.image." : "file.",
                 bad ? "file.image." : "file.", path(r, names[i]));
    }
    r->drive = drives_get(r->drives, "top", &e);
    assert_non_null(r->drive);
}

static void rig_close(struct rig *r)
{
    drives_free(r->drives);
    loop_free(r->loop);
    static const char *const names[] = {"base", "mid", "top", "copy"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        unlink(path(r, names[i]));
    rmdir(r->dir);
}

// Some content for every layer.
static void fill(struct rig *r)
{
    static const char *const layers[] = {"base", "mid", "top"};
    for (unsigned l = 0; l < 3; l++) {
        struct block_node *n = drives_find_node(r->drives, layers[l]);
        for (unsigned i = 0; i < 12; i++) {
            unsigned at = roll(r, SIZE / SECTOR - 64) * SECTOR, len = (1 + roll(r, 64)) * SECTOR;
            memset(r->model + at, (int)(l * 50 + i + 1), len);
            assert_int_equal(block_pwrite(n, at, r->model + at, len), 0);
        }
    }
}

static void written(struct block_req *q, int result)
{
    struct guest_write *w = q->opaque;
    if (!result)
        memcpy(w->rig->model + q->offset, w->data, q->bytes);
    w->rig->in_flight--;
    free(w);
}

static void guest_writes(struct rig *r)
{
    struct guest_write *w = calloc(1, sizeof *w);
    unsigned n = 1 + roll(r, 16);
    w->rig = r;
    memset(w->data, (int)roll(r, 255) + 1, sizeof w->data);
    w->iov = (struct iovec){w->data, n * SECTOR};
    w->req = (struct block_req){.op = BLOCK_WRITE,
                                .offset = roll(r, SIZE / SECTOR - 16) * SECTOR,
                                .bytes = n * SECTOR,
                                .iov = &w->iov,
                                .n_iov = 1,
                                .done = written,
                                .opaque = w};
    r->in_flight++;
    drive_submit(r->drive, &w->req);
}

// One write at a time: the order of two that overlap would be nobody's. The guest grows calmer, or
// no copy would ever catch up with it.
static void guest_goes_on(struct rig *r)
{
    if (!r->in_flight && (r->writes < WRITES || !roll(r, 16))) {
        r->writes++;
        guest_writes(r);
    }
    loop_run_once(r->loop, 1);
}

static void check_disk(struct rig *r)
{
    static uint8_t now[SIZE];
    while (r->in_flight)
        loop_run_once(r->loop, 1);
    assert_int_equal(block_pread(r->drive->node, 0, now, SIZE), 0);
    assert_memory_equal(now, r->model, SIZE);
}

static bool ends(struct rig *r, const char *id, bool complete)
{
    struct err e = {0};
    int64_t end = host_monotonic_ns() + PATIENCE_NS;
    for (unsigned i = 0; host_monotonic_ns() < end; i++) {
        struct job *j = job_find(r->drives, id);
        if (!j)
            return true;
        if (complete && j->status == JOB_READY && !j->completing && i > WRITES / 2)
            assert_int_equal(job_complete(j, &e), 0);
        guest_goes_on(r);
    }
    return false;
}

static struct job *start(struct rig *r, const char *kind)
{
    struct err e = {0};
    struct job_options jo = {.id = "j", .speed = 16 << 20};
    struct block_node *top = drives_find_node(r->drives, "top"),
                      *base = drives_find_node(r->drives, "base");
    struct mirror_options m = {.job = jo, .source = top, .target = base, .commit = true};
    struct stream_options s = {.job = jo, .node = top};
    struct backup_options b = {.job = jo, .source = top};
    b.target = drives_find_node(r->drives, "copy");
    if (strstr(kind, "fast"))
        m.job.speed = b.job.speed = 0;
    if (!strncmp(kind, "mirror", 6)) {
        m.commit = false;
        m.target = b.target;
    } else if (!strcmp(kind, "commit-mid")) {
        m.source = drives_find_node(r->drives, "mid");
    } else if (!strcmp(kind, "stream-mid")) {
        s.base = base;
    }
    struct job *j = !strncmp(kind, "stream", 6)   ? job_stream(r->drives, &s, &e)
                    : !strncmp(kind, "backup", 6) ? job_backup(r->drives, &b, &e)
                                                  : job_mirror(r->drives, &m, &e);
    assert_string_equal(e.msg, "");
    job_start(j);
    return j;
}

static const struct {
    const char *kind, *written, *after; // the layer it writes to; the guest's node afterwards
} kinds[] = {{"mirror", "copy", "copy"},    {"commit", "base", "base"},
             {"commit-mid", "base", "top"}, {"stream", "top", "top"},
             {"stream-mid", "top", "top"},  {"mirror-fast", "copy", "copy"},
             {"backup", "copy", "top"},     {"backup-fast", "copy", "top"}};

static void test_guest_writes_all_the_while(void **state)
{
    struct rig *r = malloc(sizeof *r);
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        rig_open(r, "none", "");
        fill(r);
        start(r, kinds[k].kind);
        assert_true(ends(r, "j", true));
        assert_non_null(strstr(r->events, "BLOCK_JOB_COMPLETED"));
        assert_null(strstr(r->events, "error"));
        assert_string_equal(r->drive->node->node_name, kinds[k].after);
        for (unsigned i = 0; i < 20; i++)
            guest_goes_on(r);
        check_disk(r);
        rig_close(r);
    }
    free(r);
}

// A copy that goes at full speed through data, with writes that land in the middle of it.
static void test_stream_keeps_what_was_written_meanwhile(void **state)
{
    struct rig *r = malloc(sizeof *r);
    for (unsigned round = 0; round < 30; round++) {
        struct err e = {0};
        rig_open(r, "none", "");
        r->seed = round;
        memset(r->model, 0x77, SIZE);
        assert_int_equal(block_pwrite(drives_find_node(r->drives, "base"), 0, r->model, SIZE), 0);
        struct stream_options s = {.job = {.id = "j"}, .node = r->drive->node};
        struct job *j = job_stream(r->drives, &s, &e);
        job_start(j);
        assert_true(ends(r, "j", false));
        check_disk(r);
        rig_close(r);
    }
    free(r);
}

// What a backup copies is the disk when it began, however much is written meanwhile.
static void test_backup_is_of_one_moment(void **state)
{
    struct rig *r = malloc(sizeof *r);
    uint8_t *then = malloc(SIZE), *copy = malloc(SIZE);
    for (unsigned round = 0; round < 12; round++) {
        rig_open(r, "none", "");
        r->seed = round;
        fill(r);
        for (unsigned i = 0; i < 20; i++)
            guest_goes_on(r);
        check_disk(r);
        memcpy(then, r->model, SIZE);
        start(r, round & 1 ? "backup" : "backup-fast");
        r->writes = 0;
        assert_true(ends(r, "j", false));
        check_disk(r);
        assert_true(r->writes > 0);
        assert_int_equal(block_pread(drives_find_node(r->drives, "copy"), 0, copy, SIZE), 0);
        assert_memory_equal(copy, then, SIZE);
        rig_close(r);
    }
    free(then);
    free(copy);
    free(r);
}

// Without a copy of its own pace there is what the guest overwrote, as it was.
static void test_backup_of_what_is_overwritten(void **state)
{
    enum { GRANULE = 1 << 16 };
    struct rig *r = malloc(sizeof *r);
    uint8_t *then = malloc(SIZE), *copy = malloc(SIZE);
    struct err e = {0};
    unsigned changed = 0;
    rig_open(r, "none", "");
    fill(r);
    memcpy(then, r->model, SIZE);
    struct backup_options b = {.job = {.id = "j"},
                               .none = true,
                               .source = drives_find_node(r->drives, "top"),
                               .target = drives_find_node(r->drives, "copy")};
    job_start(job_backup(r->drives, &b, &e));
    while (r->writes < WRITES)
        guest_goes_on(r);
    check_disk(r);
    assert_int_equal(job_cancel(job_find(r->drives, "j"), false, &e), 0);
    assert_true(ends(r, "j", false));
    assert_int_equal(block_pread(b.target, 0, copy, SIZE), 0);
    for (unsigned at = 0; at < SIZE; at += GRANULE) {
        if (!memcmp(then + at, r->model + at, GRANULE))
            continue;
        changed++;
        assert_memory_equal(copy + at, then + at, GRANULE);
    }
    assert_true(changed > 5);
    rig_close(r);
    free(then);
    free(copy);
    free(r);
}

static void test_every_failure(void **state)
{
    struct rig *r = malloc(sizeof *r);
    char rules[160];
    unsigned failed = 0;
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        if (!strcmp(kinds[k].written, "top"))
            continue; // there the guest's own writes would fail
        for (unsigned n = 0; n < 8; n++) {
            snprintf(rules, sizeof rules,
                     "file.driver=blkdebug,file.inject-error.0.iotype=%s,file.inject-error.0.after="
                     "%u,file.inject-error.0.once=on",
                     n % 4 == 3 ? "flush" : "write", n % 4 == 3 ? n / 4 : 12 + n);
            rig_open(r, kinds[k].written, rules);
            fill(r);
            start(r, kinds[k].kind);
            assert_true(ends(r, "j", true));
            failed += strstr(r->events, "error") != NULL;
            check_disk(r);
            rig_close(r);
        }
    }
    assert_true(failed >= 6);
    free(r);
}

static void test_cancel_anywhere(void **state)
{
    struct rig *r = malloc(sizeof *r);
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        for (unsigned rounds = 0; rounds < 40; rounds += 13) {
            struct err e = {0};
            rig_open(r, "none", "");
            fill(r);
            start(r, kinds[k].kind);
            for (unsigned i = 0; i < rounds; i++)
                guest_goes_on(r);
            struct job *j = job_find(r->drives, "j");
            if (j && j->status != JOB_CONCLUDED)
                assert_int_equal(job_cancel(j, true, &e), 0);
            assert_true(ends(r, "j", false));
            check_disk(r);
            assert_null(r->drive->node->busy);
            rig_close(r);
        }
    }
    free(r);
}

static void test_machine_ends_first(void **state)
{
    struct rig *r = malloc(sizeof *r);
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        struct err e = {0};
        rig_open(r, "none", "");
        fill(r);
        // Slow enough not to end first on any host.
        assert_int_equal(job_set_speed(start(r, kinds[k].kind), 1 << 10, &e), 0);
        for (unsigned i = 0; i < 5; i++)
            guest_goes_on(r);
        check_disk(r);
        rig_close(r);
        assert_non_null(strstr(r->events, "CANCELLED"));
    }
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_writes_all_the_while),
        cmocka_unit_test(test_stream_keeps_what_was_written_meanwhile),
        cmocka_unit_test(test_backup_is_of_one_moment),
        cmocka_unit_test(test_backup_of_what_is_overwritten),
        cmocka_unit_test(test_every_failure),
        cmocka_unit_test(test_cancel_anywhere),
        cmocka_unit_test(test_machine_ends_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
