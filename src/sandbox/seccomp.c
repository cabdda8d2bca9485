// System calls given up, by libseccomp's filters (seccomp(2)). A denied call fails with EPERM: who
// asked for it says so in a line, and the machine goes on. Filters add up and are inherited; with
// the first, programs started from here can no longer gain privileges (no_new_privs).
#include "sandbox/sandbox.h"

#ifdef HAVE_SECCOMP
#include "base/base.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>

enum group { HOST, OBSOLETE, RESOURCE, SPAWN, ELEVATE, GROUPS };

static const struct {
    uint8_t group;
    const char *name;
} calls[] = {
#define DENY(group, name) {group, #name},
#include "sandbox/groups.def"
#undef DENY
};

// Linux has no two ways to start a thread once clone3 is said not to be there: the C library then
// takes clone, whose flags a filter can see, which those behind clone3's pointer are not.
static int deny_processes(scmp_filter_ctx f)
{
    const uint64_t thread = CLONE_THREAD;
    int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return r ? r
             : seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                SCMP_A0(SCMP_CMP_MASKED_EQ, thread, 0));
}

// Reading limits stays allowed.
static int deny_limits(scmp_filter_ctx f)
{
    return seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1,
                            SCMP_A2(SCMP_CMP_NE, 0));
}

static int add_rules(scmp_filter_ctx f, const bool deny[GROUPS])
{
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        int nr = seccomp_syscall_resolve_name(calls[i].name);
        if (!deny[calls[i].group] || nr == __NR_SCMP_ERROR)
            continue;
        int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), nr, 0);
        if (r && r != -EDOM) // not a call of this architecture
            return r;
    }
    int r = deny[SPAWN] ? deny_processes(f) : 0;
    return r || !deny[RESOURCE] ? r : deny_limits(f);
}

static int load(const bool deny[GROUPS], struct err *e)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    if (!f)
        return err_set(e, "-sandbox: this host's kernel has no seccomp filters; use -sandbox off");
    int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    r = r ? r : add_rules(f, deny);
    r = r ? r : seccomp_load(f);
    seccomp_release(f);
    return r ? err_errno(e, -r, "-sandbox: the filter of system calls") : 0;
}

int sandbox_enter(const struct sandbox *s, struct err *e)
{
    return s->on ? load((const bool[GROUPS]){[HOST] = true,
                                             [OBSOLETE] = s->deny_obsolete,
                                             [RESOURCE] = s->deny_resource,
                                             [SPAWN] = s->deny_spawn},
                        e)
                 : 0;
}

int sandbox_drop_privileges(const struct sandbox *s, struct err *e)
{
    return s->on && s->elevate == ELEVATE_DENY ? load((const bool[GROUPS]){[ELEVATE] = true}, e)
                                               : 0;
}

#else

int sandbox_enter(const struct sandbox *s, struct err *e)
{
    return s->on
               ? err_set(e, "-sandbox on: this program was built without libseccomp; leave it out")
               : 0;
}

int sandbox_drop_privileges(const struct sandbox *s, struct err *e)
{
    return 0;
}

#endif
