// What belongs in RAM at every reset: bytes that were made here, or those of a file, which are not
// kept in memory but read again each time.
#include "board/board.h"
#include "board/boot/file.h"
#include "base/log.h"
#include "memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

// Where the image would go, when it may.
static int check(const struct machine *m, const char *name, gpa_t at, size_t len, struct err *e)
{
    uint64_t off = at - m->ram_base, size = ram_size(m->ram);
    if (at < m->ram_base || off > size || len > size - off)
        return err_set(e, "%s: %zu bytes at 0x%" PRIx64 " do not fit into %" PRIu64 " MiB of RAM",
                       name, len, at, size / MiB);
    for (size_t i = 0; i < m->images.len; i++) {
        const struct machine_image *o = &m->images.data[i];
        if (at < o->at + o->len && o->at < at + len)
            return err_set(e, "%s: would overlap %s at 0x%" PRIx64, name, o->name, o->at);
    }
    return 0;
}

int machine_place(struct machine *m, const char *name, gpa_t at, uint8_t *data, size_t len,
                  struct err *e)
{
    if (check(m, name, at, len, e)) {
        free(data);
        return -1;
    }
    vec_push(&m->images, (struct machine_image){
                             .name = xstrdup(name), .at = at, .data = data, .len = len, .fd = -1});
    return 0;
}

int machine_place_file(struct machine *m, const char *name, gpa_t at, int fd, uint64_t off,
                       size_t file_len, size_t len, struct err *e)
{
    BUG_ON(file_len > len);
    if (check(m, name, at, len, e))
        return -1;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return err_errno(e, errno, "%s", name);
    vec_push(&m->images, (struct machine_image){.name = xstrdup(name),
                                                .at = at,
                                                .len = len,
                                                .fd = own,
                                                .off = off,
                                                .file_len = file_len});
    return 0;
}

int machine_place_packed(struct machine *m, const char *name, gpa_t at, int fd, uint8_t *data,
                         size_t len, struct err *e)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        free(data);
        return err_errno(e, errno, "%s", name);
    }
    if (machine_place(m, name, at, data, len, e)) {
        close(own);
        return -1;
    }
    struct machine_image *im = &m->images.data[m->images.len - 1];
    im->fd = own;
    im->packed = true;
    return 0;
}

static int unpack_file(struct machine *m, const struct machine_image *im, struct err *e)
{
    struct boot_file f;
    int r = 0;
    if (boot_file_again(im->name, im->fd, ram_size(m->ram), &f, e))
        return -1;
    if (f.len == im->len)
        ram_write(m->ram, im->at - m->ram_base, f.data, f.len);
    else
        r = err_set(e, "%s: its file has changed since it was opened", im->name);
    boot_file_free(&f);
    return r;
}

static int read_file(struct machine *m, const struct machine_image *im, struct err *e)
{
    enum { CHUNK = 256 * KiB };
    uint8_t *chunk = xalloc(CHUNK);
    uint64_t to = im->at - m->ram_base;
    size_t done = 0;
    int r = 0;
    while (done < im->file_len && !r) {
        ssize_t n =
            pread(im->fd, chunk, MIN(im->file_len - done, (size_t)CHUNK), (off_t)(im->off + done));
        if (n < 0 && errno != EINTR)
            r = err_errno(e, errno, "%s: its file cannot be read", im->name);
        else if (!n)
            r = err_set(e, "%s: its file has become shorter since it was opened", im->name);
        if (n <= 0)
            continue;
        ram_write(m->ram, to + done, chunk, (size_t)n);
        done += (size_t)n;
    }
    free(chunk);
    if (!r && im->len > im->file_len)
        ram_zero(m->ram, to + im->file_len, im->len - im->file_len);
    return r;
}

int machine_load_images(struct machine *m, struct err *e)
{
    for (size_t i = 0; i < m->images.len; i++) {
        struct machine_image *im = &m->images.data[i];
        if (im->data)
            ram_write(m->ram, im->at - m->ram_base, im->data, im->len);
        else if (im->packed ? unpack_file(m, im, e) : read_file(m, im, e))
            return -1;
        if (im->packed) {
            free(im->data);
            im->data = NULL;
        }
    }
    return 0;
}

void machine_free_images(struct machine *m)
{
    for (size_t i = 0; i < m->images.len; i++) {
        struct machine_image *im = &m->images.data[i];
        free(im->name);
        free(im->data);
        if (im->fd >= 0)
            close(im->fd);
    }
    vec_free(&m->images);
}
