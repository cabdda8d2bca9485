// Drives and named nodes of one machine: -drive, -blockdev, and how devices find them.

#include "block/job/graph.h"
#include "block/job/job.h"
#include <stdio.h>
#include <stdlib.h>

struct drives *drives_new(struct loop *loop)
{
    struct drives *d = xalloc(sizeof *d);
    d->loop = loop;
    d->eng = engine_new(loop);
    list_init(&d->drives);
    list_init(&d->nodes);
    list_init(&d->jobs);
    list_init(&d->ended_jobs);
    pthread_mutex_init(&d->ended_lock, NULL);
    loop_work_init(&d->end_jobs, loop, jobs_run_ended, d);
    return d;
}

void drives_set_fdsets(struct drives *d, struct fdsets *fds)
{
    d->fdsets = fds;
}

void drives_on_event(struct drives *ds, drives_event_fn *fn, void *opaque)
{
    ds->job_event = fn;
    ds->job_opaque = opaque;
}

struct engine *drives_engine(struct drives *ds)
{
    return ds->eng;
}

static void unregister_node(struct block_node *n)
{
    list_remove(&n->link);
    block_unref(n);
}

void drives_free(struct drives *d)
{
    if (!d)
        return;
    jobs_end(d);
    loop_work_cancel(&d->end_jobs);
    struct drive *drive, *next;
    list_for_each_safe(drive, next, &d->drives, link) drives_del(d, drive);
    // Parents were added after their children.
    while (!list_empty(&d->nodes))
        unregister_node(list_entry(d->nodes.prev, struct block_node, link));
    engine_unref(d->eng);
    pthread_mutex_destroy(&d->ended_lock);
    free(d);
}

struct block_node *drives_find_node(struct drives *d, const char *node_name)
{
    struct block_node *n;
    list_for_each(n, &d->nodes, link) if (!strcmp(n->node_name, node_name)) return n;
    return NULL;
}

struct drive *drives_find(struct drives *d, const char *id)
{
    struct drive *drive;
    list_for_each(drive, &d->drives, link) if (!strcmp(drive->id, id)) return drive;
    return NULL;
}

struct drive *drives_find_slot(struct drives *d, const char *interface, int index)
{
    struct drive *drive;
    list_for_each(drive, &d->drives, link)
    {
        if (drive->index == index && !strcmp(drive->interface, interface))
            return drive;
    }
    return NULL;
}

struct drive *drives_next(struct drives *d, struct drive *prev)
{
    struct list *at = prev ? prev->link.next : d->drives.next;
    return at == &d->drives ? NULL : list_entry(at, struct drive, link);
}

struct block_node *drives_next_node(struct drives *d, struct block_node *prev)
{
    struct list *at = prev ? prev->link.next : d->nodes.next;
    return at == &d->nodes ? NULL : list_entry(at, struct block_node, link);
}

struct block_node *drives_add_node(struct drives *d, struct opts *o, struct err *e)
{
    if (!opts_has(o, "node-name")) {
        err_set(e, "give it a node-name");
        return NULL;
    }
    if (!opts_has(o, "driver")) {
        err_set(e, "give it a driver");
        return NULL;
    }
    struct block_node *n = node_open_root(o, NULL, d, d->eng, e);
    if (n)
        list_append(&d->nodes, &n->link);
    return n;
}

int drives_del_node(struct drives *d, const char *node_name, struct err *e)
{
    struct block_node *n = drives_find_node(d, node_name);
    if (!n)
        return err_set(e, "no block node is named '%s'", node_name);
    if (n->busy)
        return err_set(e, "Node '%s' is busy: block device is in use by block job: %s", node_name,
                       n->busy);
    if (n->refs > 1)
        return err_set(e, "node '%s' is in use", node_name);
    unregister_node(n);
    return 0;
}

static const char *const interfaces[] = {"ide", "scsi",   "floppy", "pflash", "mtd",
                                         "sd",  "virtio", "xen",    "none",   NULL};

static int units_per_bus(const char *interface)
{
    return !strcmp(interface, "ide") ? 2 : !strcmp(interface, "scsi") ? 7 : 0;
}

static int read_place(struct drives *d, struct drive *drive, struct opts *o, struct err *e)
{
    uint64_t index = UINT64_MAX, bus = 0, unit = UINT64_MAX;
    if (opts_get_u64(o, "index", &index, e) || opts_get_u64(o, "bus", &bus, e) ||
        opts_get_u64(o, "unit", &unit, e))
        return -1;
    int per_bus = units_per_bus(drive->interface);
    if ((index != UINT64_MAX && index > 1023) || bus > 1023 || (unit != UINT64_MAX && unit > 1023))
        return err_set(e, "index, bus and unit go to 1023");
    if (index == UINT64_MAX && unit != UINT64_MAX)
        index = bus * (uint64_t)(per_bus ?: 1) + unit;
    if (index == UINT64_MAX) {
        // CD-ROM drives of an IDE machine start at the second channel, as users expect.
        index = drive->is_cdrom && !strcmp(drive->interface, "ide") ? 2 : 0;
        while (drives_find_slot(d, drive->interface, (int)index))
            index++;
    } else if (strcmp(drive->interface, "none") &&
               drives_find_slot(d, drive->interface, (int)index)) {
        return err_set(e, "drive with bus=%d, unit=%d (index=%d) exists",
                       per_bus ? (int)index / per_bus : 0,
                       per_bus ? (int)index % per_bus : (int)index, (int)index);
    }
    drive->index = (int)index;
    drive->bus = per_bus ? (int)index / per_bus : 0;
    drive->unit = per_bus ? (int)index % per_bus : (int)index;
    return 0;
}

static int read_error_policy(struct opts *o, const char *key, enum drive_err *out, struct err *e)
{
    const char *v = opts_get(o, key);
    if (!v)
        return 0;
    for (unsigned i = 0; drive_err_names[i]; i++) {
        if (!strcmp(v, drive_err_names[i])) {
            *out = (enum drive_err)i;
            return 0;
        }
    }
    err_set(e, "%s: unknown policy '%s'", key, v);
    return err_did_you_mean(e, v, drive_err_names);
}

static int read_kind(struct drive *drive, struct opts *o, const char *default_if, struct err *e)
{
    const char *interface = opts_get(o, "if") ?: default_if, *media = opts_get(o, "media");
    bool known = false;
    for (unsigned i = 0; interfaces[i]; i++)
        known |= !strcmp(interfaces[i], interface);
    if (!known) {
        err_set(e, "unknown drive interface 'if=%s'", interface);
        return err_did_you_mean(e, interface, interfaces);
    }
    if (media && strcmp(media, "disk") && strcmp(media, "cdrom"))
        return err_set(e, "media=%s: expected 'disk' or 'cdrom'", media);
    drive->interface = xstrdup(interface);
    drive->is_cdrom = media && !strcmp(media, "cdrom");
    drive->removable = drive->is_cdrom || !strcmp(interface, "floppy");
    if (drive->is_cdrom)
        opts_set(o, "read-only", "on");
    return read_error_policy(o, "werror", &drive->werror, e) ||
                   read_error_policy(o, "rerror", &drive->rerror, e)
               ? -1
               : 0;
}

static struct drive *drive_new(struct drives *d)
{
    struct drive *drive = xalloc(sizeof *drive);
    drive->owner = d;
    list_init(&drive->link);
    list_init(&drive->held);
    return drive;
}

static void drive_free(struct drive *drive)
{
    drive_drain(drive);
    block_unref(drive->node);
    free(drive->id);
    free(drive->serial);
    free(drive->interface);
    free(drive);
}

// The image of a drive: an own engine, so that a device may take it to another loop.
static struct block_node *open_image(struct drives *d, struct drive *drive, struct opts *o,
                                     struct err *e)
{
    struct engine *eng = engine_new(drive->loop ?: d->loop);
    struct block_node *n = node_open_root(o, NULL, d, eng, e);
    engine_unref(eng);
    return n;
}

static bool names_an_image(struct opts *o)
{
    const char *file = opts_get(o, "file");
    if (file && *file)
        return true;
    for (size_t i = 0; i < o->len; i++)
        if (!strncmp(o->data[i].key, "file.", 5) || !strcmp(o->data[i].key, "driver") ||
            !strcmp(o->data[i].key, "filename"))
            return true;
    return false;
}

// Without an image, the keys that describe one are of no use but no mistake either.
static int check_empty(struct opts *o, struct err *e)
{
    static const char *const idle[] = {"cache",   "format",        "aio",  "read-only", "snapshot",
                                       "discard", "detect-zeroes", "file", "node-name"};
    for (unsigned i = 0; i < ARRAY_SIZE(idle); i++)
        opts_get(o, idle[i]);
    return opts_check_unused(o, "-drive", NULL, e);
}

static int read_drive(struct drives *d, struct drive *drive, struct opts *o, const char *default_if,
                      struct err *e)
{
    if (read_kind(drive, o, default_if, e) || read_place(d, drive, o, e))
        return -1;
    const char *id = opts_get(o, "id"), *serial = opts_get(o, "serial");
    if (id && drives_find(d, id))
        return err_set(e, "drive id '%s' is taken", id);
    drive->id = id ? xstrdup(id)
                   : xasprintf("%s%d%s%d", drive->interface, drive->bus,
                               drive->is_cdrom ? "-cd" : "-hd", drive->unit);
    drive->serial = serial ? xstrdup(serial) : NULL;
    if (!names_an_image(o)) {
        drive->removable = true;
        return check_empty(o, e);
    }
    drive->node = open_image(d, drive, o, e);
    return drive->node ? 0 : -1;
}

struct drive *drive_open_from_opts(struct drives *d, struct opts *o, const char *default_if,
                                   struct err *e)
{
    struct drive *drive = drive_new(d);
    if (read_drive(d, drive, o, default_if, e)) {
        drive_free(drive);
        return NULL;
    }
    list_append(&d->drives, &drive->link);
    return drive;
}

struct write_call {
    struct block_node *n;
    struct err *e;
    int result;
};

static void want_writes(void *arg)
{
    struct write_call *c = arg;
    c->result = node_set_read_only(c->n, false, c->e);
}

struct drive *drives_get(struct drives *d, const char *name, struct err *e)
{
    struct drive *drive = drives_find(d, name);
    if (drive)
        return drive;
    struct block_node *n = drives_find_node(d, name);
    if (!n) {
        err_set(e, "no drive or block node is called '%s'", name);
        return NULL;
    }
    struct write_call want = {.n = n, .e = e};
    if (n->in.auto_read_only) // so far it was opened for reading
        engine_run(n->eng, want_writes, &want);
    if (want.result)
        return NULL;
    drive = drive_new(d);
    drive->id = xstrdup(name);
    drive->interface = xstrdup("none");
    drive->index = -1;
    drive->from_blockdev = true;
    drive->node = block_ref(n);
    list_append(&d->drives, &drive->link);
    return drive;
}

int drive_take(struct drive *d, void *dev, void (*media_changed)(void *dev), uint32_t rerror,
               uint32_t werror, struct err *e)
{
    if (d->dev)
        return err_set(e, "drive '%s' is already used by another device", d->id);
    d->dev = dev;
    d->media_changed = media_changed;
    if (rerror != DRIVE_ERR_AUTO)
        d->rerror = (enum drive_err)rerror;
    if (werror != DRIVE_ERR_AUTO)
        d->werror = (enum drive_err)werror;
    return 0;
}

void drive_release(struct drive *d)
{
    d->dev = NULL;
    d->media_changed = NULL;
}

int drive_set_loop(struct drive *d, struct loop *loop, struct err *e)
{
    if (d->node && graph_move(d->owner, d->node, loop ?: d->owner->loop, d, e))
        return -1;
    d->loop = loop;
    return 0;
}

void drives_del(struct drives *d, struct drive *drive)
{
    list_remove(&drive->link);
    drive_free(drive);
}

int drive_change(struct drives *d, struct drive *drive, struct opts *o, struct err *e)
{
    struct block_node *fresh = NULL;
    if (o && !(fresh = open_image(d, drive, o, e)))
        return -1;
    struct block_node *old = drive->node;
    drive_drain(drive);
    drive->node = fresh;
    if (drive->media_changed)
        drive->media_changed(drive->dev);
    block_unref(old);
    return 0;
}
