// Where a guest's path leads (path.h).
#include "user/path.h"

#include "user/host_call.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// These are the host's, prefix or not.
static bool always_host(const char *path)
{
    static const char *const roots[] = {"/dev", "/proc", "/run", "/sys", "/tmp"};
    for (unsigned i = 0; i < ARRAY_SIZE(roots); i++) {
        size_t n = strlen(roots[i]);
        if (!strncmp(path, roots[i], n) && (!path[n] || path[n] == '/'))
            return true;
    }
    return false;
}

static int prefix_fd(const struct user *u)
{
    return user_self ? user_self->fds->prefix : u->fds.prefix;
}

void path_lookup(struct user *u, const char *path, char *out, size_t size, bool follow)
{
    snprintf(out, size, "%s", path);
    if (path[0] != '/' || prefix_fd(u) < 0 || always_host(path))
        return;
    // Absolute symbolic links below the prefix are meant to stay there.
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | (follow ? 0 : (uint64_t)O_NOFOLLOW),
                           .resolve = RESOLVE_IN_ROOT};
    int64_t fd =
        HOST_DO(openat2, (uint64_t)prefix_fd(u), HOST_PTR(path), HOST_PTR(&how), sizeof how);
    if (fd < 0) {
        struct stat s;
        snprintf(out, size, "%s%s", u->opt.prefix, path);
        if (fd != -ENOSYS || HOST_DO(newfstatat, (uint64_t)AT_FDCWD, HOST_PTR(out), HOST_PTR(&s),
                                     AT_SYMLINK_NOFOLLOW))
            snprintf(out, size, "%s", path);
        return;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", (int)fd);
    int64_t n = HOST_DO(readlinkat, (uint64_t)AT_FDCWD, HOST_PTR(link), HOST_PTR(out), size - 1);
    if (n > 0)
        out[n] = 0;
    else
        snprintf(out, size, "%s%s", u->opt.prefix, path);
    HOST_DO(close, (uint64_t)fd);
}
