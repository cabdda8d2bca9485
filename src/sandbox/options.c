// The value of -sandbox.
#include "sandbox/sandbox.h"

#include <string.h>

static int allow_or_deny(struct opts *o, const char *key, bool *deny, struct err *e)
{
    const char *v = opts_get(o, key);
    if (v && strcmp(v, "allow") && strcmp(v, "deny"))
        return err_set(e, "-sandbox %s=%s: give allow or deny", key, v);
    if (v)
        *deny = !strcmp(v, "deny");
    return 0;
}

int sandbox_parse(struct opts *o, struct sandbox *s, struct err *e)
{
    static const char *const known[] = {"enable", "obsolete",        "elevateprivileges",
                                        "spawn",  "resourcecontrol", NULL};
    *s = (struct sandbox){.deny_obsolete = true};
    const char *enable = opts_get(o, "enable"), *elevate = opts_get(o, "elevateprivileges");
    if (!enable || parse_bool(enable, &s->on))
        return err_set(e, "-sandbox %s: begin with on or off", enable ? enable : "");
    if (elevate && !strcmp(elevate, "deny"))
        s->elevate = ELEVATE_DENY;
    else if (elevate && !strcmp(elevate, "children"))
        s->elevate = ELEVATE_CHILDREN;
    else if (elevate && strcmp(elevate, "allow"))
        return err_set(e, "-sandbox elevateprivileges=%s: give allow, deny or children", elevate);
    return allow_or_deny(o, "obsolete", &s->deny_obsolete, e) ||
                   allow_or_deny(o, "spawn", &s->deny_spawn, e) ||
                   allow_or_deny(o, "resourcecontrol", &s->deny_resource, e)
               ? -1
               : opts_check_unused(o, "-sandbox", known, e);
}
