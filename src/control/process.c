// The process as a whole: memory that stays in, its end with its parent's, another root folder,
// another user.
#include "control/process.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int process_overcommit(struct opts *o, struct err *e)
{
    static const char *const known[] = {"mem-lock", "cpu-pm", NULL};
    const char *lock = opts_get(o, "mem-lock");
    bool all = lock && !strcmp(lock, "on"), touched = lock && !strcmp(lock, "on-fault"), pm = false,
         ignored;
    if (opts_get_bool(o, "cpu-pm", &pm, e) || opts_check_unused(o, NULL, known, e))
        return err_prefix(e, "-overcommit");
    if (pm)
        return err_set(e, "-overcommit: cpu-pm=on is not supported");
    if (lock && !touched && parse_bool(lock, &ignored))
        return err_set(e, "-overcommit: mem-lock=%s: give on, off or on-fault", lock);
    if (!all && !touched)
        return 0;
    if (mlockall(MCL_CURRENT | MCL_FUTURE | (touched ? MCL_ONFAULT : 0)))
        return err_errno(e, errno, "-overcommit mem-lock=%s (see ulimit -l)", lock);
    return 0;
}

int process_prepare(struct opts *o, bool daemonize, struct err *e)
{
    static const char *const known[] = {"async-teardown", "chroot", "exit-with-parent", "user",
                                        NULL};
    bool teardown = false, with_parent = false;
    opts_get(o, "chroot");
    opts_get(o, "user");
    if (opts_get_bool(o, "async-teardown", &teardown, e) ||
        opts_get_bool(o, "exit-with-parent", &with_parent, e) ||
        opts_check_unused(o, NULL, known, e))
        return err_prefix(e, "-run-with");
    if (with_parent && daemonize)
        return err_set(e, "-run-with: exit-with-parent=on does not go with -daemonize");
    pid_t parent = getppid();
    if (with_parent && prctl(PR_SET_PDEATHSIG, SIGTERM))
        return err_errno(e, errno, "-run-with: exit-with-parent=on");
    if (with_parent && getppid() != parent) // it ended meanwhile
        return err_set(e, "-run-with: exit-with-parent=on: the parent is gone");
    return 0;
}

struct user {
    unsigned uid, gid;
};

// By name or as UID:GID; and the groups, while the tables of users can be read.
static int find_user(const char *name, struct user *u, struct err *e)
{
    int used = 0;
    bool numbers = sscanf(name, "%u:%u%n", &u->uid, &u->gid, &used) == 2 && !name[used];
    const struct passwd *pw = numbers ? NULL : getpwnam(name);
    if (!numbers && !pw)
        return err_set(e, "-run-with: user=%s: there is no such user", name);
    if (pw)
        *u = (struct user){pw->pw_uid, pw->pw_gid};
    if (pw ? initgroups(name, u->gid) : setgroups(0, NULL))
        return err_errno(e, errno, "-run-with: user=%s", name);
    return 0;
}

int process_confine(struct opts *o, struct err *e)
{
    const char *root = opts_get(o, "chroot"), *name = opts_get(o, "user");
    struct user u = {0};
    if (name && find_user(name, &u, e))
        return -1;
    if (root && (chroot(root) || chdir("/")))
        return err_errno(e, errno, "-run-with: chroot=%s", root);
    if (!name)
        return 0;
    if (setgid(u.gid) || setuid(u.uid))
        return err_errno(e, errno, "-run-with: user=%s", name);
    if (u.uid && !setuid(0))
        return err_set(e, "-run-with: user=%s: the privileges could not be dropped", name);
    return 0;
}
