// HMP commands that save a machine and go on from there.
#include "control/monitor/internal.h"
#include "control/saved/saved.h"
#include <stdio.h>
#include <time.h>

static void report(struct buf *out, int result, const struct err *e)
{
    if (result)
        buf_printf(out, "Error: %s\n", e->msg);
}

HMP_RUN(savevm)
{
    struct err e = {0};
    char name[64];
    time_t now = time(NULL);
    struct tm tm;
    if (!*args && localtime_r(&now, &tm)) {
        strftime(name, sizeof name, "vm-%Y%m%d%H%M%S", &tm);
        args = name;
    }
    report(out, vm_snapshot_save(vm, args, &e), &e);
}

HMP_RUN(loadvm)
{
    struct err e = {0};
    if (!*args)
        buf_printf(out, "Error: loadvm: give the name of a snapshot (info snapshots lists them)\n");
    else
        report(out, vm_snapshot_load(vm, args, &e), &e);
}

HMP_RUN(delvm)
{
    struct err e = {0};
    if (!*args)
        buf_printf(out, "Error: delvm: give the name of a snapshot (info snapshots lists them)\n");
    else
        report(out, vm_snapshot_delete(vm, args, &e), &e);
}

HMP_RUN(info_snapshots)
{
    vm_snapshot_print(vm, out);
}
