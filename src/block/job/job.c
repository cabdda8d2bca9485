// The life of a job. Its coroutine runs on the engine and ends by queueing the job for the main
// loop, where the last of its work and the change of the graph happen in one go.

#include "block/job/job.h"
#include "base/buf.h"
#include "base/clock.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum { SLEEP_MAX_NS = 50000000, BUSY_MAX_NS = 4000000, BREATH_NS = 50000 };

const char *const job_status_names[] = {"undefined", "created",   "running", "paused",
                                        "ready",     "standby",   "waiting", "pending",
                                        "aborting",  "concluded", "null"};
const char *const job_on_error_names[] = {"report", "ignore", "enospc", "stop", NULL};

// ---- events ----

static void event(struct job *j, const char *name, struct buf *data)
{
    if (j->ds->job_event)
        j->ds->job_event(j->ds->job_opaque, name, buf_str(data));
}

static void set_status(struct job *j, enum job_status s)
{
    struct buf data = {0};
    j->status = s;
    buf_printf(&data, "{\"id\": ");
    buf_json_string(&data, j->id);
    buf_printf(&data, ", \"status\": \"%s\"}", job_status_names[s]);
    event(j, "JOB_STATUS_CHANGE", &data);
    buf_free(&data);
}

static void block_event(struct job *j, const char *name, const char *error)
{
    struct buf data = {0};
    if (!j->type->block)
        return;
    buf_printf(&data,
               "{\"type\": \"%s\", \"len\": %" PRIu64 ", \"offset\": %" PRIu64
               ", \"speed\": %" PRIu64 ", \"device\": ",
               j->type->name, j->total, j->progress, j->speed);
    buf_json_string(&data, j->id);
    if (error) {
        buf_printf(&data, ", \"error\": ");
        buf_json_string(&data, error);
    }
    buf_printf(&data, "}");
    event(j, name, &data);
    buf_free(&data);
}

// ---- making and freeing ----

struct job *job_find(struct drives *ds, const char *id)
{
    struct job *j;
    list_for_each(j, &ds->jobs, link) if (!strcmp(j->id, id)) return j;
    return NULL;
}

struct job *job_next(struct drives *ds, struct job *prev)
{
    struct list *at = prev ? prev->link.next : ds->jobs.next;
    return at == &ds->jobs ? NULL : list_entry(at, struct job, link);
}

struct job *job_new(struct drives *ds, const struct job_type *type, const struct job_options *o,
                    const char *device, struct engine *eng, struct err *e)
{
    const char *id = o->id ?: device;
    if (!id || !*id) {
        err_set(e, "give the job an id (job-id)");
        return NULL;
    }
    if (job_find(ds, id)) {
        err_set(e, "Job ID '%s' already in use", id);
        return NULL;
    }
    struct job *j = xalloc(type->size);
    j->type = type;
    j->ds = ds;
    j->eng = engine_ref(eng);
    j->id = xstrdup(id);
    j->auto_finalize = !o->manual_finalize;
    j->auto_dismiss = !o->manual_dismiss;
    j->speed = o->speed;
    j->on_read_error = o->on_read_error;
    j->on_write_error = o->on_write_error;
    co_queue_init(&j->wake);
    list_init(&j->finish_link);
    list_append(&ds->jobs, &j->link);
    return j;
}

int job_add_node(struct job *j, struct block_node *n, struct err *e)
{
    if (n->busy)
        return err_set(e, "Node '%s' is busy: block device is in use by block job: %s",
                       n->node_name, n->busy);
    n->busy = j->id;
    vec_push(&j->nodes, block_ref(n));
    return 0;
}

static void release_nodes(struct job *j)
{
    for (size_t i = 0; i < j->nodes.len; i++) {
        j->nodes.data[i]->busy = NULL;
        block_unref(j->nodes.data[i]);
    }
    vec_free(&j->nodes);
}

void job_discard(struct job *j)
{
    if (j->type->free)
        j->type->free(j);
    release_nodes(j);
    list_remove(&j->link);
    list_remove(&j->finish_link);
    engine_unref(j->eng);
    free(j->id);
    free(j);
}

// ---- the end ----

static void conclude(struct job *j)
{
    const char *why = j->err.msg[0] ? j->err.msg : j->result ? strerror(-j->result) : NULL;
    if (j->result && j->result != -ECANCELED && !j->err.msg[0])
        err_set(&j->err, "%s", why);
    release_nodes(j);
    if (j->result == -ECANCELED)
        block_event(j, "BLOCK_JOB_CANCELLED", NULL);
    else
        block_event(j, "BLOCK_JOB_COMPLETED", j->result ? why : NULL);
    set_status(j, JOB_CONCLUDED);
    if (j->auto_dismiss) {
        set_status(j, JOB_NULL);
        job_discard(j);
    }
}

struct finish_call {
    struct job *j;
    bool good;
};

static void finish_entry(void *arg)
{
    struct finish_call *c = arg;
    int r = c->j->type->finish ? c->j->type->finish(c->j, c->good) : 0;
    c->j->result = c->j->result ?: r;
}

static void finish(struct job *j)
{
    struct finish_call c = {j, !j->result};
    if (j->result)
        set_status(j, JOB_ABORTING);
    engine_run(j->eng, finish_entry, &c);
    if (c.good && j->result)
        set_status(j, JOB_ABORTING);
    conclude(j);
}

static void ended(struct job *j)
{
    if (!j->result && j->type->on_main)
        j->result = j->type->on_main(j);
    if (!j->result) {
        set_status(j, JOB_WAITING);
        set_status(j, JOB_PENDING);
        if (!j->auto_finalize) {
            struct buf data = {0};
            buf_printf(&data, "{\"type\": \"%s\", \"id\": ", j->type->name);
            buf_json_string(&data, j->id);
            buf_printf(&data, "}");
            if (j->type->block)
                event(j, "BLOCK_JOB_PENDING", &data);
            buf_free(&data);
            return;
        }
    }
    finish(j);
}

static struct job *next_ended(struct drives *ds)
{
    struct job *j = NULL;
    mutex_lock(&ds->ended_lock);
    if (!list_empty(&ds->ended_jobs)) {
        j = list_entry(ds->ended_jobs.next, struct job, finish_link);
        list_remove(&j->finish_link);
    }
    mutex_unlock(&ds->ended_lock);
    return j;
}

void jobs_run_ended(void *opaque)
{
    struct drives *ds = opaque;
    struct job *j;
    while ((j = next_ended(ds))) {
        struct engine *eng = engine_ref(j->eng);
        engine_hold(eng);
        ended(j);
        engine_release(eng);
        engine_unref(eng);
    }
}

static void run_entry(void *arg)
{
    struct job *j = arg;
    j->busy_since = host_monotonic_ns();
    j->hands = 1;
    j->result = j->type->run ? j->type->run(j) : 0;
    if (j->cancelled && (j->forced || !j->ready) && !j->result)
        j->result = -ECANCELED;
    j->ended = true;
    mutex_lock(&j->ds->ended_lock);
    list_append(&j->ds->ended_jobs, &j->finish_link);
    mutex_unlock(&j->ds->ended_lock);
    loop_defer(&j->ds->end_jobs);
}

void job_start(struct job *j)
{
    set_status(j, JOB_CREATED);
    set_status(j, JOB_RUNNING);
    co_start(engine_co(j->eng), run_entry, j);
    engine_submit(j->eng);
}

// ---- verbs ----

static void nudge(struct job *j)
{
    co_queue_wake_all(engine_co(j->eng), &j->wake);
    engine_kick(j->eng);
}

static int wrong_moment(const struct job *j, const char *verb, struct err *e)
{
    return err_set(e, "Job '%s' in state '%s' cannot accept command verb '%s'", j->id,
                   job_status_names[j->status], verb);
}

static bool is_running(const struct job *j)
{
    return j->status == JOB_RUNNING || j->status == JOB_READY || j->status == JOB_PAUSED ||
           j->status == JOB_STANDBY;
}

int job_pause(struct job *j, struct err *e)
{
    if (!is_running(j))
        return wrong_moment(j, "pause", e);
    if (j->paused)
        return err_set(e, "Job is already paused");
    j->paused = true;
    nudge(j);
    return 0;
}

int job_resume(struct job *j, struct err *e)
{
    if (!is_running(j))
        return wrong_moment(j, "resume", e);
    if (!j->paused)
        return err_set(e, "Can't resume a job that was not paused");
    j->paused = false;
    nudge(j);
    return 0;
}

int job_complete(struct job *j, struct err *e)
{
    if (j->status != JOB_READY || j->cancelled)
        return wrong_moment(j, "complete", e);
    j->completing = true;
    nudge(j);
    return 0;
}

int job_cancel(struct job *j, bool force, struct err *e)
{
    if (j->status == JOB_PENDING) {
        j->result = -ECANCELED;
        finish(j);
        return 0;
    }
    if (!is_running(j))
        return wrong_moment(j, "cancel", e);
    j->cancelled = true;
    j->forced |= force;
    j->paused = false;
    nudge(j);
    return 0;
}

int job_finalize(struct job *j, struct err *e)
{
    if (j->status != JOB_PENDING)
        return wrong_moment(j, "finalize", e);
    finish(j);
    return 0;
}

int job_dismiss(struct job *j, struct err *e)
{
    if (j->status != JOB_CONCLUDED)
        return wrong_moment(j, "dismiss", e);
    set_status(j, JOB_NULL);
    job_discard(j);
    return 0;
}

int job_set_speed(struct job *j, uint64_t speed, struct err *e)
{
    if (!is_running(j))
        return wrong_moment(j, "set-speed", e);
    j->speed = speed;
    j->not_before = 0;
    nudge(j);
    return 0;
}

void jobs_end(struct drives *ds)
{
    while (!list_empty(&ds->jobs)) {
        struct job *j = list_entry(ds->jobs.next, struct job, link);
        j->cancelled = j->forced = j->auto_dismiss = true;
        j->paused = false;
        if (!j->ended)
            nudge(j);
        while (!j->ended)
            engine_poll(j->eng, true);
        list_remove(&j->finish_link);
        if (j->status == JOB_CONCLUDED) {
            job_discard(j);
            continue;
        }
        j->result = j->result ?: -ECANCELED;
        finish(j);
    }
}

// ---- in the job's coroutine ----

void job_wait(struct job *j)
{
    co_queue_wait(engine_co(j->eng), &j->wake);
}

static void stay_paused(struct job *j)
{
    if (++j->resting == j->hands)
        set_status(j, j->ready ? JOB_STANDBY : JOB_PAUSED);
    while (j->paused)
        job_wait(j);
    if (j->resting-- == j->hands)
        set_status(j, j->ready ? JOB_READY : JOB_RUNNING);
}

struct share {
    struct job *j;
    int (*fn)(struct job *j);
    int result;
    struct co_queue done;
};

static void share_entry(void *arg)
{
    struct share *s = arg;
    int r = s->fn(s->j);
    s->result = s->result ?: r;
    if (!--s->j->hands)
        co_queue_wake_all(engine_co(s->j->eng), &s->done);
    else if (s->j->paused && s->j->resting == s->j->hands)
        set_status(s->j, s->j->ready ? JOB_STANDBY : JOB_PAUSED);
}

int job_share(struct job *j, unsigned n, int (*fn)(struct job *j))
{
    struct share s = {.j = j, .fn = fn};
    co_queue_init(&s.done);
    n = j->speed ? 1 : n; // a rate is kept by one
    j->hands = n;
    for (unsigned i = 0; i < n; i++)
        co_start(engine_co(j->eng), share_entry, &s);
    engine_kick(j->eng); // they have not begun yet
    while (j->hands)
        co_queue_wait(engine_co(j->eng), &s.done);
    j->hands = 1;
    return s.result;
}

static bool to_end(const struct job *j)
{
    return j->cancelled && (j->forced || !j->ready);
}

int job_pace(struct job *j, uint64_t bytes)
{
    int64_t now = host_monotonic_ns();
    if (j->speed)
        j->not_before = MAX(j->not_before, now) + (int64_t)((double)bytes * 1e9 / (double)j->speed);
    while (!to_end(j) && !j->failed) {
        now = host_monotonic_ns();
        if (j->paused)
            stay_paused(j);
        else if (j->speed && now < j->not_before)
            engine_sleep_until(j->eng, MIN(j->not_before, now + SLEEP_MAX_NS));
        else if (now - j->busy_since > BUSY_MAX_NS)
            engine_sleep_until(j->eng, now + BREATH_NS); // the loop has others to serve
        else
            return 0;
        if (host_monotonic_ns() - now >= BREATH_NS)
            j->busy_since = host_monotonic_ns();
    }
    return j->failed ?: -ECANCELED;
}

void job_set_ready(struct job *j)
{
    j->ready = true;
    set_status(j, JOB_READY);
    block_event(j, "BLOCK_JOB_READY", NULL);
}

void job_advance(struct job *j, uint64_t bytes)
{
    j->progress += bytes;
}

int job_failed(struct job *j, bool read, int error)
{
    enum job_on_error action = read ? j->on_read_error : j->on_write_error;
    struct buf data = {0};
    if (j->failed) // by another hand, who told it
        return j->failed;
    if (action == JOB_ENOSPC)
        action = error == -ENOSPC ? JOB_STOP : JOB_REPORT;
    buf_printf(&data,
               "{\"operation\": \"%s\", \"action\": \"%s\", \"device\": ", read ? "read" : "write",
               job_on_error_names[action]);
    buf_json_string(&data, j->id);
    buf_printf(&data, "}");
    if (j->type->block)
        event(j, "BLOCK_JOB_ERROR", &data);
    buf_free(&data);
    if (action == JOB_IGNORE)
        return 0;
    if (action == JOB_REPORT)
        return j->failed = error;
    j->paused = true;
    return job_pace(j, 0) ?: 1;
}
