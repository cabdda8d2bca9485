// Boot images from the host's files. Formats: gzip (RFC 1952, by zlib), Zstandard (RFC 8878, by
// libzstd), and Linux's EFI zboot container (a PE file with "zimg" at offset 4 whose header gives
// offset, size and compression of the payload).
#include "board/boot/file.h"
#include "memory/ram.h"
#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

int boot_file_open(const char *what, const char *path, uint64_t max, uint64_t *len, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return err_errno(e, error, "%s %s", what, path);
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(e, "%s %s: not a regular file", what, path);
    }
    if ((uint64_t)st.st_size > max) {
        close(fd);
        return err_set(e, "%s %s: %" PRIu64 " MiB are too large; at most %" PRIu64 " MiB fit", what,
                       path, (uint64_t)st.st_size / MiB, max / MiB);
    }
    *len = (uint64_t)st.st_size;
    return fd;
}

// False: it cannot be read, or is shorter by now.
static bool read_all(int fd, uint64_t size, struct boot_file *f)
{
    *f = (struct boot_file){.data = xalloc((size_t)size + 1)};
    while (f->len < size) {
        ssize_t n = pread(fd, f->data + f->len, (size_t)size - f->len, (off_t)f->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        f->len += (size_t)n;
    }
    if (f->len == size)
        return true;
    boot_file_free(f);
    return false;
}

int boot_file_read_open(const char *what, const char *path, uint64_t max, struct boot_file *f,
                        struct err *e)
{
    uint64_t size;
    int fd = boot_file_open(what, path, max, &size, e);
    if (fd < 0)
        return -1;
    if (read_all(fd, size, f)) {
        f->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        close(fd);
        return f->fd < 0 ? err_errno(e, errno, "%s %s", what, path) : 0;
    }
    close(fd);
    return err_set(e, "%s %s: read error", what, path);
}

int boot_file_read(const char *what, const char *path, uint64_t max, struct boot_file *f,
                   struct err *e)
{
    if (boot_file_read_open(what, path, max, f, e))
        return -1;
    close(f->fd);
    f->fd = 0;
    return 0;
}

int boot_file_again(const char *name, int fd, uint64_t max, struct boot_file *f, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) || !read_all(fd, MIN((uint64_t)st.st_size, max), f))
        return err_set(e, "%s: its file cannot be read", name);
    if (!boot_file_unpack(name, max, f, e))
        return 0;
    boot_file_free(f);
    return -1;
}

int boot_file_place(struct machine *m, const char *name, gpa_t at, struct boot_file *f,
                    struct err *e)
{
    struct boot_file own = *f;
    *f = (struct boot_file){0};
    int r = !own.fd      ? machine_place(m, name, at, own.data, own.len, e)
            : own.packed ? machine_place_packed(m, name, at, own.fd, own.data, own.len, e)
                         : machine_place_file(m, name, at, own.fd, 0, own.len, own.len, e);
    if (!own.fd || own.packed)
        own.data = NULL;
    boot_file_free(&own);
    return r;
}

void boot_file_free(struct boot_file *f)
{
    free(f->data);
    if (f->fd > 0)
        close(f->fd);
    *f = (struct boot_file){0};
}

static void replace(struct boot_file *f, uint8_t *data, size_t len)
{
    free(f->data);
    f->data = data;
    f->len = len;
    f->packed = true;
}

static int unpack_gzip(const char *path, uint64_t max, struct boot_file *f, struct err *e)
{
    z_stream z = {.next_in = f->data, .avail_in = (unsigned)MIN(f->len, (size_t)UINT32_MAX)};
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return err_set(e, "kernel %s: zlib cannot start", path);
    uint8_t *out = NULL;
    size_t cap = 0, len = 0;
    int r = Z_OK;
    while (r == Z_OK && len < max) {
        cap = MIN(MAX(cap * 2, (size_t)(16 * MiB)), (size_t)max);
        out = xrealloc(out, cap);
        z.next_out = out + len;
        z.avail_out = (unsigned)MIN(cap - len, (size_t)UINT32_MAX);
        r = inflate(&z, Z_NO_FLUSH);
        len = (size_t)(z.next_out - out);
        if (r == Z_OK && !z.avail_in && z.avail_out)
            r = Z_BUF_ERROR;
    }
    inflateEnd(&z);
    if (r == Z_STREAM_END) { // what follows (a signature, padding) is not ours
        replace(f, out, len);
        return 0;
    }
    free(out);
    if (r == Z_OK)
        return err_set(e, "kernel %s: unpacks to more than %" PRIu64 " MiB", path, max / MiB);
    return err_set(e, "kernel %s: gzip data is %s", path,
                   r == Z_BUF_ERROR ? "truncated" : "damaged");
}

static int unpack_zstd(const char *path, uint64_t max, struct boot_file *f, struct err *e)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer in = {f->data, f->len, 0};
    ZSTD_outBuffer out = {NULL, 0, 0};
    size_t left = 1;
    while (z && left && !ZSTD_isError(left) && out.pos < max) {
        if (out.pos == out.size) {
            out.size = MIN(MAX(out.size * 2, (size_t)(16 * MiB)), (size_t)max);
            out.dst = xrealloc(out.dst, out.size);
        }
        size_t before = out.pos;
        left = ZSTD_decompressStream(z, &out, &in);
        if (in.pos == in.size && out.pos == before)
            break;
    }
    ZSTD_freeDStream(z);
    if (!left) {
        replace(f, out.dst, out.pos);
        return 0;
    }
    free(out.dst);
    return err_set(e, "kernel %s: zstd data is damaged, truncated or larger than %" PRIu64 " MiB",
                   path, max / MiB);
}

int boot_file_unpack(const char *path, uint64_t max, struct boot_file *f, struct err *e)
{
    if (f->len >= 64 && !memcmp(f->data, "MZ", 2) && !memcmp(f->data + 4, "zimg", 4)) {
        uint64_t at = ld_le32(f->data + 8), n = ld_le32(f->data + 12);
        if (at > f->len || n > f->len - at)
            return err_set(e, "kernel %s: EFI zboot image is truncated", path);
        memmove(f->data, f->data + at, n);
        f->len = n;
        f->packed = true;
    }
    if (f->len >= 18 && f->data[0] == 0x1f && f->data[1] == 0x8b)
        return unpack_gzip(path, max, f, e);
    if (f->len >= 4 && ld_le32(f->data) == 0xfd2fb528)
        return unpack_zstd(path, max, f, e);
    return 0;
}

int boot_place_initrd(struct machine *m, gpa_t above, gpa_t *at, uint64_t *len, struct err *e)
{
    int fd = boot_file_open("initrd", m->config.initrd, ram_size(m->ram), len, e);
    if (fd < 0)
        return -1;
    *at = align_up(MAX(m->ram_base + MIN(m->config.ram_size / 2, 128 * MiB), above), 4096);
    int r = machine_place_file(m, "initrd", *at, fd, 0, *len, *len, e);
    close(fd);
    return r;
}
