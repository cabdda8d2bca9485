// `myna run IMAGE`: a machine with sane defaults around a kernel or a disk, on this terminal.
#include "control/front/front.h"
#include "base/log.h"
#include "control/cli/system.h"

int run_main(int argc, char **argv)
{
    struct plan p;
    struct err e = {0};
    int status = 1;
    log_set_name("myna");
    if (plan_make(&p, argc - 1, argv + 1, &e)) {
        log_error("%s", e.msg);
    } else if (p.done) {
        status = 0;
    } else {
        log_info("leave with Ctrl-A x; Ctrl-A c is the monitor, Ctrl-A h says more");
        status = system_main((int)p.argv.len - 1, p.argv.data);
    }
    plan_free(&p);
    return status;
}
