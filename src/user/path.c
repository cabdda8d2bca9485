// Where a guest's path leads (path.h).
#include "user/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
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

void path_lookup(struct user *u, const char *path, char *out, size_t size, bool follow)
{
    snprintf(out, size, "%s", path);
    if (path[0] != '/' || u->prefix_fd < 0 || always_host(path))
        return;
    // Absolute symbolic links below the prefix are meant to stay there.
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | (follow ? 0 : (uint64_t)O_NOFOLLOW),
                           .resolve = RESOLVE_IN_ROOT};
    int fd = (int)syscall(SYS_openat2, u->prefix_fd, path, &how, sizeof how);
    if (fd < 0) {
        snprintf(out, size, "%s%s", u->opt.prefix, path);
        if (errno != ENOSYS || faccessat(AT_FDCWD, out, F_OK, AT_SYMLINK_NOFOLLOW))
            snprintf(out, size, "%s", path);
        return;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, size - 1);
    if (n > 0)
        out[n] = 0;
    else
        snprintf(out, size, "%s%s", u->opt.prefix, path);
    close(fd);
}
