// The framing: a magic and a version, then sections (name length, name, payload length, payload),
// numbers little-endian; an empty name ends the stream.
#include "snapshot/snapshot.h"

#include <errno.h>
#include <string.h>

enum { VERSION = 1, STEP = 1 << 20 };
#define PAYLOAD_MAX (2ull << 30)
static const char magic[8] = "mynastat";

static void write_all(struct state_out *o, const void *p, size_t n)
{
    if (!o->error)
        o->error = o->write(o->opaque, p, n);
    o->bytes += n;
}

void state_begin(struct state_out *o)
{
    struct buf b = {0};
    buf_put(&b, magic, sizeof magic);
    buf_le32(&b, VERSION);
    write_all(o, b.data, b.len);
    buf_free(&b);
}

void state_section(struct state_out *o, const char *name, const struct buf *payload)
{
    struct buf b = {0};
    buf_u8(&b, (uint8_t)strlen(name));
    buf_put(&b, name, strlen(name));
    buf_le64(&b, payload->len);
    write_all(o, b.data, b.len);
    write_all(o, payload->data, payload->len);
    buf_free(&b);
}

void state_end(struct state_out *o)
{
    write_all(o, "", 1);
}

static int read_all(struct state_in *i, void *p, size_t n, struct err *e)
{
    int r = n ? i->read(i->opaque, p, n) : 0;
    return r ? err_errno(e, -r, "cannot read the saved machine") : 0;
}

int state_open(struct state_in *i, struct err *e)
{
    uint8_t head[12];
    if (read_all(i, head, sizeof head, e))
        return -1;
    struct reader r = reader_of(head, sizeof head);
    if (memcmp(rd_skip(&r, 8), magic, 8))
        return err_set(e, "this is not a machine saved by this program");
    uint32_t version = rd_le32(&r);
    return version == VERSION ? 0
                              : err_set(e,
                                        "the machine was saved in format %u; this program reads "
                                        "format %u",
                                        version, VERSION);
}

int state_next(struct state_in *i, char name[STATE_NAME_MAX], struct buf *payload, struct err *e)
{
    uint8_t n, length[8];
    payload->len = 0;
    if (read_all(i, &n, 1, e))
        return -1;
    if (!n)
        return 0;
    if (n >= STATE_NAME_MAX)
        return err_set(e, "a section's name is too long");
    if (read_all(i, name, n, e) || read_all(i, length, 8, e))
        return -1;
    name[n] = 0;
    struct reader r = reader_of(length, 8);
    uint64_t left = rd_le64(&r);
    if (left > PAYLOAD_MAX)
        return err_set(e, "section '%s' is too long", name);
    while (left) { // in steps: what is not there takes no memory
        size_t step = MIN(left, (uint64_t)STEP);
        if (read_all(i, buf_grow(payload, step), step, e))
            return -1;
        left -= step;
    }
    return 1;
}
