// savevm, loadvm and delvm as jobs: snapshot-save, snapshot-load, snapshot-delete. The work is done
// on the main loop, in one piece.
#include "block/job/job.h"
#include "control/saved/saved.h"

#include <errno.h>
#include <stdlib.h>

struct snapshot_job {
    struct job j;
    struct vm *vm;
    char *tag;
    int (*work)(struct vm *vm, const char *tag, struct err *e);
};

static struct snapshot_job *of(struct job *j)
{
    return container_of(j, struct snapshot_job, j);
}

static int on_main(struct job *j)
{
    struct snapshot_job *s = of(j);
    j->total = 1;
    vm_hold_io(s->vm);
    int r = s->work(s->vm, s->tag, &j->err) ? -EIO : 0;
    vm_release_io(s->vm);
    j->progress = 1;
    return r;
}

static void end(struct job *j)
{
    free(of(j)->tag);
}

static const struct job_type types[] = {
    [VM_SNAPSHOT_SAVE] = {"snapshot-save", .size = sizeof(struct snapshot_job), .on_main = on_main,
                          .free = end},
    [VM_SNAPSHOT_LOAD] = {"snapshot-load", .size = sizeof(struct snapshot_job), .on_main = on_main,
                          .free = end},
    [VM_SNAPSHOT_DELETE] = {"snapshot-delete", .size = sizeof(struct snapshot_job),
                            .on_main = on_main, .free = end}};

static int remove_it(struct vm *vm, const char *tag, struct err *e)
{
    return vm_snapshot_delete(vm, tag, e);
}

static int save_new(struct vm *vm, const char *tag, struct err *e)
{
    return vm_snapshot_exists(vm, tag)
               ? err_set(e, "Snapshot '%s' already exists in one or more devices", tag)
               : vm_snapshot_save(vm, tag, e);
}

int vm_snapshot_job(struct vm *vm, enum vm_snapshot_job kind, const char *id, const char *tag,
                    struct err *e)
{
    static int (*const work[])(struct vm *, const char *,
                               struct err *) = {[VM_SNAPSHOT_SAVE] = save_new,
                                                [VM_SNAPSHOT_LOAD] = vm_snapshot_load,
                                                [VM_SNAPSHOT_DELETE] = remove_it};
    struct job_options o = {.id = id, .manual_dismiss = true};
    struct job *j = job_new(vm->drives, &types[kind], &o, NULL, drives_engine(vm->drives), e);
    if (!j)
        return -1;
    of(j)->vm = vm;
    of(j)->tag = xstrdup(tag);
    of(j)->work = work[kind];
    job_start(j);
    return 0;
}
