// Events of a machine and what is done then, by name (QEMU's option -action).
#include "control/action.h"
#include "base/base.h"

static const char *const reboots[] = {"reset", "shutdown", NULL};
static const char *const shutdowns[] = {"poweroff", "pause", NULL};
static const char *const panics[] = {[VM_PANIC_EXIT_FAILURE] = "exit-failure",
                                     [VM_PANIC_NONE] = "none",
                                     [VM_PANIC_PAUSE] = "pause",
                                     [VM_PANIC_SHUTDOWN] = "shutdown",
                                     NULL};
static const char *const watchdogs[] = {"debug",    "inject-nmi", "none",     "pause",
                                        "poweroff", "reset",      "shutdown", NULL};

static int pick(const char *const *names, const char *event, const char *action, struct err *e)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], action))
            return i;
    err_set(e, "%s=%s: no such action", event, action);
    return err_did_you_mean(e, action, names);
}

int vm_actions_set(struct vm_actions *a, const char *event, const char *action, struct err *e)
{
    static const char *const events[] = {"panic", "reboot", "shutdown", "watchdog", NULL};
    int which = -1;
    if (!strcmp(event, "reboot") && (which = pick(reboots, event, action, e)) >= 0)
        a->no_reboot = which;
    else if (!strcmp(event, "shutdown") && (which = pick(shutdowns, event, action, e)) >= 0)
        a->no_shutdown = which;
    else if (!strcmp(event, "panic") && (which = pick(panics, event, action, e)) >= 0)
        a->panic = (enum vm_panic)which;
    else if (!strcmp(event, "watchdog"))
        which = pick(watchdogs, event, action, e);
    else if (strcmp(event, "reboot") && strcmp(event, "shutdown") && strcmp(event, "panic")) {
        err_set(e, "%s: no such event", event);
        return err_did_you_mean(e, event, events);
    }
    return which < 0 ? -1 : 0;
}

const char *vm_panic_name(enum vm_panic p)
{
    return p == VM_PANIC_PAUSE ? "pause" : p == VM_PANIC_NONE ? "run" : "poweroff";
}
