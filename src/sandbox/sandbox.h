// -sandbox: what the process gives up so that a guest that got hold of it gets little more. Main
// thread; what is given up does not come back.
#pragma once

#include "base/err.h"
#include "base/opt.h"

enum sandbox_elevate { ELEVATE_ALLOW, ELEVATE_DENY, ELEVATE_CHILDREN };

struct sandbox {
    bool on;
    // Each group of calls is refused (EPERM) where its member says so.
    bool deny_obsolete, deny_spawn, deny_resource;
    // CHILDREN is what `on` does in any case: no program started from here gains privileges.
    enum sandbox_elevate elevate;
};

// "on|off[,obsolete=allow|deny][,elevateprivileges=allow|deny|children][,spawn=allow|deny]
// [,resourcecontrol=allow|deny]", parsed with the implied key "enable".
int sandbox_parse(struct opts *o, struct sandbox *s, struct err *e) MUST_CHECK;

// Before the machine is made, of which images and kernels are read: all but the privileges, which
// -run-with user= still needs. Threads that exist are confined as well.
int sandbox_enter(const struct sandbox *s, struct err *e) MUST_CHECK;
// Before the guest's first instruction: the privileges.
int sandbox_drop_privileges(const struct sandbox *s, struct err *e) MUST_CHECK;
