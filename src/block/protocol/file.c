// Files and block devices of the host: "file" and "host_device". Offsets beyond the end of a file
// read as zeros; writing there grows it. With cache.direct=on, requests that do not meet the
// device's alignment go through an aligned buffer. Host CD-ROM and SCSI passthrough are not here.

#include "block/drive.h"
#include "block/protocol/file_lock.h"
#include "block/protocol/fdset.h"
#include "base/bits.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIRECT_ALIGN_DEFAULT = 4096, BATCH_IOV = 64, BOUNCE_MAX = 1 << 20 };

struct file {
    int fd;
    char *locking; // the option, or NULL
    bool threads, is_device, no_zero_range, no_punch, sync_failed;
    unsigned mem_align;
    uint64_t writes, flushed; // how many writes had finished, and when the last flush began
    struct co_mutex rmw;      // unaligned writers, one at a time
};

static const char *const file_options[] = {"filename", "locking", "aio", "pr-manager", NULL};

// With auto-read-only the file is opened for reading until somebody above it wants to write, so
// that several machines may share a base image.
static int open_fd(struct block_node *n, const char *path, struct err *e)
{
    int flags = O_CLOEXEC | (n->in.direct ? O_DIRECT : 0);
    n->in.read_only |= n->in.auto_read_only;
    const struct fdsets *fds = n->nodes ? n->nodes->fdsets : NULL;
    int fd = fdsets_open(fds, path, flags | (n->in.read_only ? O_RDONLY : O_RDWR), 0);
    if (fd < 0 && errno == EINVAL && n->in.direct)
        return err_set(e, "the file system has no direct I/O (O_DIRECT); use cache=writeback");
    if (fd < 0)
        return err_errno(e, errno, "cannot open%s", n->in.read_only ? "" : " for writing");
    return fd;
}

static void find_alignment(struct block_node *n)
{
    struct file *s = n->s;
    s->mem_align = 1;
    if (!n->in.direct)
        return;
    n->align = s->mem_align = DIRECT_ALIGN_DEFAULT;
#ifdef STATX_DIOALIGN
    struct statx sx;
    if (!statx(s->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && (sx.stx_mask & STATX_DIOALIGN) &&
        is_pow2(sx.stx_dio_offset_align) && is_pow2(sx.stx_dio_mem_align)) {
        n->align = sx.stx_dio_offset_align;
        s->mem_align = sx.stx_dio_mem_align;
    }
#endif
}

static int find_size(struct block_node *n, struct err *e)
{
    struct file *s = n->s;
    struct stat st;
    if (fstat(s->fd, &st))
        return err_errno(e, errno, "cannot get the size");
    if (S_ISDIR(st.st_mode))
        return err_set(e, "is a directory, not a disk image");
    s->is_device = S_ISBLK(st.st_mode);
    if (s->is_device) {
        if (ioctl(s->fd, BLKGETSIZE64, &n->size))
            return err_errno(e, errno, "cannot get the size of the device");
        return 0;
    }
    if (!S_ISREG(st.st_mode)) {
        off_t end = lseek(s->fd, 0, SEEK_END);
        n->size = end < 0 ? 0 : (uint64_t)end;
        return 0;
    }
    n->size = (uint64_t)st.st_size;
    return 0;
}

static int choose_aio(struct block_node *n, struct err *e)
{
    struct file *s = n->s;
    const char *aio = n->in.aio;
    if (!strcmp(aio, "native") && !n->in.direct)
        return err_set(e, "aio=native needs cache.direct=on (cache=none)");
    s->threads = !strcmp(aio, "threads") || !engine_has_uring(n->eng);
    if (s->threads && !strcmp(aio, "io_uring"))
        return err_set(e, "aio=io_uring: this host does not allow io_uring; use aio=threads");
    return 0;
}

static int take_locks(struct block_node *n, int fd, bool read_only, struct err *e)
{
    struct file *s = n->s;
    bool on = false;
    if (s->locking && strcmp(s->locking, "auto") && parse_bool(s->locking, &on))
        return err_set(e, "locking=%s: expected on, off or auto", s->locking);
    if (s->locking && strcmp(s->locking, "auto") && !on)
        return 0;
    return file_lock(fd, !read_only, n->in.force_share, on, e);
}

// The descriptor keeps its number: what is in flight ends on the file it began with.
static int file_reopen(struct block_node *n, bool read_only, struct err *e)
{
    struct file *s = n->s;
    struct err ignored = {0};
    int flags = O_CLOEXEC | (n->in.direct ? O_DIRECT : 0) | (read_only ? O_RDONLY : O_RDWR);
    int fd = fdsets_open(n->nodes ? n->nodes->fdsets : NULL, n->filename, flags, 0);
    if (fd < 0)
        return err_errno(e, errno, "cannot open%s", read_only ? "" : " for writing");
    file_unlock(s->fd);
    int r = take_locks(n, fd, read_only, e);
    if (r && take_locks(n, s->fd, !read_only, &ignored))
        err_prefix(e, "%s; and then", ignored.msg);
    if (!r && dup3(fd, s->fd, O_CLOEXEC) < 0)
        r = err_errno(e, errno, "cannot take the file over");
    close(fd);
    return r;
}

static int file_open(struct block_node *n, struct opts *o, struct err *e)
{
    struct file *s = n->s;
    const char *path = opts_get(o, "filename"), *locking = opts_get(o, "locking");
    if (!path || !*path)
        return err_set(e, "no file name given (filename=PATH)");
    co_mutex_init(&s->rmw);
    s->fd = open_fd(n, path, e);
    if (s->fd < 0)
        return -1;
    s->locking = locking ? xstrdup(locking) : NULL;
    if (find_size(n, e) || choose_aio(n, e) || take_locks(n, s->fd, n->in.read_only, e)) {
        close(s->fd);
        free(s->locking);
        return -1;
    }
    find_alignment(n);
    return 0;
}

static void file_close(struct block_node *n)
{
    struct file *s = n->s;
    close(s->fd);
    free(s->locking);
}

static void *bounce_alloc(struct block_node *n, size_t len)
{
    void *p;
    return posix_memalign(&p, MAX(n->align, 4096u), align_up(len, 4096)) ? NULL : p;
}

// Reads into `v`; what lies beyond the end of the file becomes zeros.
static int read_pieces(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct file *s = n->s;
    while (bytes) {
        struct iovec iov[BATCH_IOV];
        unsigned cnt = iov_flatten(v, MIN(bytes, (uint64_t)INT_MAX & ~4095ull), iov, BATCH_IOV);
        int r = engine_preadv(n->eng, s->threads, s->fd, iov, cnt, off);
        if (r < 0)
            return r;
        if (!r) {
            iov_zero(v, bytes);
            return 0;
        }
        off += (unsigned)r;
        bytes -= (unsigned)r;
        v = iov_advance(v, (unsigned)r);
        if (n->align > 1 && bytes && (off & (n->align - 1))) {
            iov_zero(v, bytes); // direct I/O stops inside a block only at the end of the file
            return 0;
        }
    }
    return 0;
}

static int write_pieces(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                        uint32_t flags)
{
    struct file *s = n->s;
    while (bytes) {
        struct iovec iov[BATCH_IOV];
        unsigned cnt = iov_flatten(v, MIN(bytes, (uint64_t)INT_MAX & ~4095ull), iov, BATCH_IOV);
        bool fua = (flags & BLOCK_FUA) && !n->in.no_flush;
        int r = engine_pwritev(n->eng, s->threads, s->fd, iov, cnt, off, fua);
        if (r <= 0)
            return r ?: -EIO;
        off += (unsigned)r;
        bytes -= (unsigned)r;
        v = iov_advance(v, (unsigned)r);
        if (!s->is_device)
            n->size = MAX(n->size, off);
    }
    s->writes++;
    return 0;
}

static bool needs_bounce(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct file *s = n->s;
    return n->align > 1 && (((off | bytes) & (n->align - 1)) ||
                            !iov_aligned(v, bytes, MAX(s->mem_align, n->align)));
}

static int read_bounced(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    void *p = bounce_alloc(n, MIN(bytes + 2 * (uint64_t)n->align, (uint64_t)BOUNCE_MAX));
    if (!p)
        return -ENOMEM;
    int r = 0;
    while (bytes && !r) {
        uint64_t start = align_down(off, n->align);
        uint64_t end = MIN(align_up(off + bytes, n->align), start + BOUNCE_MAX);
        struct iovec iov = {p, end - start};
        r = read_pieces(n, start, end - start, iov_view_of(&iov, 1));
        uint64_t done = MIN(end - off, bytes);
        if (!r)
            iov_copy_in(v, (char *)p + (off - start), done);
        v = iov_advance(v, done);
        off += done;
        bytes -= done;
    }
    free(p);
    return r;
}

static int write_bounced(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                         uint32_t flags)
{
    struct file *s = n->s;
    void *p = bounce_alloc(n, MIN(bytes + 2 * (uint64_t)n->align, (uint64_t)BOUNCE_MAX));
    if (!p)
        return -ENOMEM;
    int r = 0;
    uint64_t old_size = n->size, last = off + bytes;
    // Only whoever writes part of a block has to keep others off it.
    bool partial = (off | bytes) & (n->align - 1);
    if (partial)
        co_mutex_lock(node_co(n), &s->rmw);
    while (bytes && !r) {
        uint64_t start = align_down(off, n->align);
        uint64_t end = MIN(align_up(off + bytes, n->align), start + BOUNCE_MAX);
        uint64_t done = MIN(end - off, bytes);
        struct iovec iov = {p, end - start};
        if (off != start || done != end - off)
            r = read_pieces(n, start, end - start, iov_view_of(&iov, 1));
        if (!r) {
            iov_copy_out(v, (char *)p + (off - start), done);
            r = write_pieces(n, start, end - start, iov_view_of(&iov, 1), flags);
        }
        v = iov_advance(v, done);
        off += done;
        bytes -= done;
    }
    // The rounding must not be seen in the length of the file.
    if (!r && !s->is_device && last > old_size && n->size == align_up(last, n->align)) {
        n->size = last;
        if (ftruncate(s->fd, (off_t)n->size))
            r = -errno;
    }
    if (partial)
        co_mutex_unlock(node_co(n), &s->rmw);
    free(p);
    return r;
}

static int file_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    return needs_bounce(n, off, bytes, v) ? read_bounced(n, off, bytes, v)
                                          : read_pieces(n, off, bytes, v);
}

static int file_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                      uint32_t flags)
{
    return needs_bounce(n, off, bytes, v) ? write_bounced(n, off, bytes, v, flags)
                                          : write_pieces(n, off, bytes, v, flags);
}

static bool is_unsupported(int r)
{
    return r == -EOPNOTSUPP || r == -ENOSYS || r == -ENOTTY || r == -EINVAL;
}

static int punch(struct block_node *n, uint64_t off, uint64_t bytes)
{
    struct file *s = n->s;
    if (s->no_punch)
        return -ENOTSUP;
    int r = engine_fallocate(n->eng, s->threads, s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                             off, bytes);
    if (is_unsupported(r)) {
        s->no_punch = true;
        return -ENOTSUP;
    }
    s->writes++;
    return r;
}

static int zero_range(struct block_node *n, uint64_t off, uint64_t bytes)
{
    struct file *s = n->s;
    if (s->no_zero_range)
        return -ENOTSUP;
    int r = engine_fallocate(n->eng, s->threads, s->fd, FALLOC_FL_ZERO_RANGE, off, bytes);
    if (is_unsupported(r)) {
        s->no_zero_range = true;
        return -ENOTSUP;
    }
    s->writes++;
    return r;
}

static int file_write_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    struct file *s = n->s;
    uint64_t end = off + bytes;
    if (((off | bytes) & (n->align - 1)) || (s->is_device && ((off | bytes) & 511)))
        return -ENOTSUP;
    int r = -ENOTSUP;
    if (flags & BLOCK_MAY_UNMAP)
        r = punch(n, off, bytes);
    if (r == -ENOTSUP)
        r = zero_range(n, off, bytes);
    if (r == -ENOTSUP && !s->is_device && !(r = punch(n, off, bytes)))
        r = engine_fallocate(n->eng, s->threads, s->fd, 0, off, bytes);
    if (!r && !s->is_device && end > n->size) {
        if (ftruncate(s->fd, (off_t)end))
            return -errno;
        n->size = MAX(n->size, end);
    }
    return r;
}

static int file_discard(struct block_node *n, uint64_t off, uint64_t bytes)
{
    struct file *s = n->s;
    if (s->is_device) {
        uint64_t start = align_up(off, 512), end = align_down(off + bytes, 512);
        off = start;
        bytes = end > start ? end - start : 0;
    }
    int r = bytes ? punch(n, off, bytes) : 0;
    return r == -ENOTSUP ? 0 : r;
}

static int file_flush(struct block_node *n)
{
    struct file *s = n->s;
    if (n->in.no_flush)
        return 0;
    if (s->sync_failed)
        return -EIO; // the kernel forgot what it could not write; success would be a lie
    uint64_t upto = s->writes;
    if (upto == s->flushed)
        return 0;
    int r = engine_fdatasync(n->eng, s->threads, s->fd);
    if (r) {
        s->sync_failed = true;
        return r;
    }
    s->flushed = MAX(s->flushed, upto);
    return 0;
}

static int file_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x)
{
    struct file *s = n->s;
    x->offset = off;
    x->offset_valid = true;
    x->file = n;
    if (off >= n->size) {
        x->data = false;
        x->zero = true;
        return 0;
    }
    off_t data = lseek(s->fd, (off_t)off, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return 0; // no holes known: all data
    uint64_t next = data < 0 ? n->size : (uint64_t)data;
    if (next > off) {
        x->data = false;
        x->zero = true;
        x->bytes = data < 0 ? bytes : MIN(bytes, next - off);
        return 0;
    }
    off_t hole = lseek(s->fd, (off_t)off, SEEK_HOLE);
    if (hole > (off_t)off)
        x->bytes = MIN(bytes, (uint64_t)hole - off);
    return 0;
}

static int file_resize(struct block_node *n, uint64_t size, struct err *e)
{
    struct file *s = n->s;
    if (s->is_device)
        return size <= n->size ? 0 : err_set(e, "a device cannot be made larger");
    if (size > INT64_MAX || ftruncate(s->fd, (off_t)size))
        return err_errno(e, size > INT64_MAX ? EFBIG : errno, "cannot resize the file");
    n->size = size;
    s->writes++;
    return 0;
}

static int file_preallocate(struct block_node *n, struct err *e)
{
    struct file *s = n->s;
    int r = n->size ? engine_fallocate(n->eng, s->threads, s->fd, 0, 0, n->size) : 0;
    return r ? err_errno(e, -r, "cannot reserve the space") : 0;
}

static const struct block_image_ops file_image_ops = {
    .preallocate = file_preallocate,
    .resize = file_resize,
};

#define DRIVER(name_)                                                                              \
    {                                                                                              \
        .name = name_, .protocol = true, .state_size = sizeof(struct file),                        \
        .options = file_options, .open = file_open, .close = file_close, .read = file_read,        \
        .write = file_write, .write_zeroes = file_write_zeroes, .discard = file_discard,           \
        .flush = file_flush, .status = file_status, .reopen = file_reopen,                         \
        .image = &file_image_ops,                                                                  \
    }
const struct block_driver block_driver_file = DRIVER("file");
const struct block_driver block_driver_host_device = DRIVER("host_device");
