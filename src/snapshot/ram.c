// RAM in a saved machine: pieces of up to a mebibyte, each with its place, packed by zstd where
// that is smaller. Pages that are zero are left out; the reader begins with zeros.
#include "snapshot/snapshot.h"
#include "memory/ram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { PIECE = 1 << 20, PAGE = 4096, HEAD = 12, LEVEL = 1, PACKED = 1u << 31 };

static bool is_zero(const uint8_t *p)
{
    return !p[0] && !memcmp(p, p + 1, PAGE - 1);
}

// offset, length with the flag PACKED, bytes
static void put_piece(struct state_out *o, const char *name, uint64_t at, const uint8_t *p,
                      size_t n)
{
    struct buf b = {0};
    size_t room = ZSTD_compressBound(n);
    buf_le64(&b, at);
    buf_le32(&b, (uint32_t)n);
    uint8_t *to = buf_grow(&b, room);
    size_t packed = ZSTD_compress(to, room, p, n, LEVEL);
    if (!ZSTD_isError(packed) && packed < n) {
        b.len = HEAD + packed;
        b.data[11] |= 0x80; // PACKED, in the length's top byte
    } else {
        memcpy(to, p, n);
        b.len = HEAD + n;
    }
    state_section(o, name, &b);
    buf_free(&b);
}

void state_save_ram(struct state_out *o, struct ram *r)
{
    char name[STATE_NAME_MAX];
    uint8_t *piece = xalloc(PIECE);
    snprintf(name, sizeof name, "ram:%.100s", ram_name(r));
    for (uint64_t at = 0; at < ram_size(r) && !o->error; at += PIECE) {
        size_t n = MIN((uint64_t)PIECE, ram_size(r) - at);
        ram_read(r, at, piece, n);
        for (size_t from = 0, to; from < n; from = to + PAGE) {
            while (from < n && is_zero(piece + from))
                from += PAGE;
            for (to = from; to < n && !is_zero(piece + to);)
                to += PAGE;
            if (to > from)
                put_piece(o, name, at + from, piece + from, to - from);
        }
    }
    free(piece);
}

static bool wanted(const uint64_t *pages, uint64_t page)
{
    return pages[page / 64] >> (page % 64) & 1;
}

void state_save_pages(struct state_out *o, struct ram *r, const uint64_t *pages, bool zeros)
{
    char name[STATE_NAME_MAX];
    uint8_t *piece = xalloc(PIECE);
    uint64_t n_pages = ram_size(r) / PAGE;
    snprintf(name, sizeof name, "ram:%.100s", ram_name(r));
    for (uint64_t at = 0; at < n_pages && !o->error;) {
        if (!(at % 64) && !pages[at / 64]) {
            at += 64;
            continue;
        }
        size_t n = 0;
        for (; at + n < n_pages && n < PIECE / PAGE && wanted(pages, at + n); n++) {
            ram_read(r, (at + n) * PAGE, piece + n * PAGE, PAGE);
            if (!zeros && is_zero(piece + n * PAGE))
                break;
        }
        if (n)
            put_piece(o, name, at * PAGE, piece, n * PAGE);
        at += n ? n : 1;
    }
    free(piece);
}

int state_load_ram(struct ram *r, const struct buf *payload, struct err *e)
{
    struct reader in = reader_of(payload->data, payload->len);
    uint64_t at = rd_le64(&in);
    uint32_t word = rd_le32(&in), n = word & ~PACKED;
    size_t left = reader_left(&in);
    const void *data = rd_skip(&in, left);
    if (in.bad || !n || n > PIECE || at > ram_size(r) || n > ram_size(r) - at)
        return err_set(e, "a piece of %s does not fit", ram_name(r));
    if (!(word & PACKED)) {
        if (left != n)
            return err_set(e, "a piece of %s has another size", ram_name(r));
        ram_write(r, at, data, n);
        return 0;
    }
    void *plain = xalloc(n);
    size_t got = ZSTD_decompress(plain, n, data, left);
    bool good = !ZSTD_isError(got) && got == n;
    if (good)
        ram_write(r, at, plain, n);
    free(plain);
    return good ? 0 : err_set(e, "a piece of %s is damaged", ram_name(r));
}
