// What becomes of a machine whose guest reboots, powers off, or cannot go on: -action, -no-reboot,
// -no-shutdown and set-action.
#pragma once

#include "base/err.h"

enum vm_panic {
    VM_PANIC_EXIT_FAILURE, // ends with status 1
    VM_PANIC_NONE,         // stands still as it is
    VM_PANIC_PAUSE,        // pauses, for a debugger or a client to look
    VM_PANIC_SHUTDOWN,     // ends with status 0
};
struct vm_actions {
    bool no_reboot, no_shutdown;
    enum vm_panic panic;
};
// `action` on `event` ("reboot", "shutdown", "panic"; "watchdog" is taken: there is none).
int vm_actions_set(struct vm_actions *a, const char *event, const char *action,
                   struct err *e) MUST_CHECK;
// As the event GUEST_PANICKED names it.
const char *vm_panic_name(enum vm_panic p);
