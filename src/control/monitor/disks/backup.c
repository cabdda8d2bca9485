// blockdev-backup and drive-backup.
#include "control/monitor/disks/transaction.h"

static enum backup_bitmap_mode mode_of(struct json_object *data)
{
    const char *mode = qmp_str(data, "bitmap-mode");
    return !mode || !strcmp(mode, "on-success") ? BACKUP_ON_SUCCESS
           : !strcmp(mode, "never")             ? BACKUP_NEVER
                                                : BACKUP_ALWAYS;
}

// sync, bitmap and bitmap-mode, as they go together.
static bool choose(struct json_object *data, const struct action *a, struct backup_options *o,
                   struct qmp_error *e)
{
    const char *sync = qmp_str(data, "sync"), *name = qmp_str(data, "bitmap"),
               *mode = qmp_str(data, "bitmap-mode");
    bool by_bitmap = !strcmp(sync, "bitmap") || !strcmp(sync, "incremental");
    o->mode = mode_of(data);
    o->none = !strcmp(sync, "none");
    o->top_only = !strcmp(sync, "top");
    o->compress = qmp_bool(data, "compress", false);
    o->bitmap = name ? bitmap_find(a->node, name) : NULL;
    o->use_bitmap_as_well = name && !by_bitmap;
    const char *wrong =
        by_bitmap && !name                 ? "Must provide a valid bitmap name"
        : name && !o->bitmap               ? "Bitmap could not be found"
        : !strcmp(sync, "bitmap") && !mode ? "Bitmap sync mode must be given"
        : !name && mode                    ? "a bitmap-mode needs a bitmap"
        : !strcmp(sync, "incremental") && o->mode != BACKUP_ON_SUCCESS
            ? "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'"
        : o->use_bitmap_as_well && (o->none || o->mode == BACKUP_NEVER || !mode)
            ? "with this sync a bitmap is used with bitmap-mode on-success or always"
            : NULL;
    if (wrong)
        qmp_fail(e, "GenericError", "%s%s%s%s", wrong, name ? " ('" : "", name ? name : "",
                 name ? "')" : "");
    return !wrong;
}

static bool make_job(struct monitor *m, struct json_object *data, struct action *a,
                     struct qmp_error *e)
{
    struct backup_options o = {.source = a->node, .target = a->other};
    if (!qmp_job_args(data, &o.job, e) || !choose(data, a, &o, e))
        return false;
    o.job.id = o.job.id ? o.job.id : qmp_str(data, "device");
    a->job = job_backup(m->vm->drives, &o, &e->err);
    return a->job || action_fail(e);
}

static bool prepare_blockdev(struct monitor *m, struct json_object *data, struct action *a,
                             struct qmp_error *e)
{
    return (a->node = action_node(m, qmp_str(data, "device"), e)) &&
           (a->other = action_node(m, qmp_str(data, "target"), e)) && make_job(m, data, a, e);
}

static bool prepare_drive(struct monitor *m, struct json_object *data, struct action *a,
                          struct qmp_error *e)
{
    return (a->node = action_node(m, qmp_str(data, "device"), e)) &&
           action_open_target(m, data, qmp_str(data, "sync"), a, e) && make_job(m, data, a, e);
}

static void commit(struct monitor *m, struct action *a)
{
    job_start(a->job); // which has a reference to the target of its own
}

static void undo(struct monitor *m, struct action *a)
{
    job_discard(a->job);
}

const struct action_type action_blockdev_backup = {.name = "blockdev-backup",
                                                   .data = "BlockdevBackup",
                                                   .prepare = prepare_blockdev,
                                                   .commit = commit,
                                                   .abort = undo};
const struct action_type action_drive_backup = {.name = "drive-backup",
                                                .data = "DriveBackup",
                                                .prepare = prepare_drive,
                                                .commit = commit,
                                                .abort = undo};

RUN(blockdev_backup)
{
    return action_run(m, &action_blockdev_backup, args, e);
}

RUN(drive_backup)
{
    return action_run(m, &action_drive_backup, args, e);
}
