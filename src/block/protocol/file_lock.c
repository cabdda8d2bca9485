// Image locks as QEMU's tools keep them, so that both respect each other: open-file-description
// locks on single bytes. A shared lock on byte 100 + p says "I use permission p", one on 200 + p
// "nobody else may". Each side takes its locks first and then looks for the others' opposite ones.

#include "block/protocol/file_lock.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PERM_READ = 1 << 0, PERM_WRITE = 1 << 1, PERM_RESIZE = 1 << 3, N_PERMS = 4 };
enum { BASE_USED = 100, BASE_UNSHARED = 200 };
enum { TRIES = 10, WAIT_US = 20000 };

static const char *const perm_names[N_PERMS] = {"consistent read", "write", "write unchanged",
                                                "resize"};

static int lock_byte(int fd, int at)
{
    struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

static bool others_hold(int fd, int at)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return !fcntl(fd, F_OFD_GETLK, &fl) && fl.l_type != F_UNLCK;
}

static int refuse(struct err *e, const char *shared, int perm)
{
    return err_set(e,
                   "Failed to get %s\"%s\" lock: another process is using this image; stop it, or "
                   "if that is intended use file.locking=off (or -U to read)",
                   shared, perm_names[perm]);
}

static int try_lock(int fd, bool writer, bool share, bool must, struct err *e)
{
    unsigned used = PERM_READ | (writer ? PERM_WRITE | PERM_RESIZE : 0);
    unsigned unshared = share ? 0 : PERM_WRITE | PERM_RESIZE;
    for (int p = 0; p < N_PERMS; p++) {
        int r = 0;
        if (used & (1u << p))
            r = lock_byte(fd, BASE_USED + p);
        if (!r && (unshared & (1u << p)))
            r = lock_byte(fd, BASE_UNSHARED + p);
        if (r == -EAGAIN || r == -EACCES)
            return refuse(e, "", p);
        if (r) // the file system has no such locks
            return must ? err_errno(e, -r, "cannot lock the image (locking=on)") : 0;
    }
    for (int p = 0; p < N_PERMS; p++) {
        if ((used & (1u << p)) && others_hold(fd, BASE_UNSHARED + p))
            return refuse(e, "", p);
        if ((unshared & (1u << p)) && others_hold(fd, BASE_USED + p))
            return refuse(e, "shared ", p);
    }
    return 0;
}

void file_unlock(int fd)
{
    struct flock fl = {.l_type = F_UNLCK,
                       .l_whence = SEEK_SET,
                       .l_start = BASE_USED,
                       .l_len = BASE_UNSHARED + N_PERMS - BASE_USED};
    fcntl(fd, F_OFD_SETLK, &fl);
}

int file_lock(int fd, bool writer, bool share, bool must, struct err *e)
{
    // A process that was killed keeps its locks for a moment, until the kernel has put down the
    // I/O it had in flight; whoever starts right after it should not fail for that.
    for (int attempt = 0;; attempt++) {
        if (!try_lock(fd, writer, share, must, e))
            return 0;
        file_unlock(fd);
        if (attempt == TRIES)
            return -1;
        usleep(WAIT_US);
    }
}
