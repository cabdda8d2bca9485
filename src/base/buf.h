// A bounded reader and a growing writer for everything that comes from outside: images, streams,
// tables, the wire. The reader's error is sticky: after the first short read every read gives zero
// and `bad` stays set, so a parser checks once.
#pragma once

#include "base/base.h"

struct reader {
    const uint8_t *p, *end;
    bool bad;
};
static inline struct reader reader_of(const void *data, size_t len)
{
    return (struct reader){.p = data, .end = (const uint8_t *)data + len};
}
size_t reader_left(const struct reader *r);
uint8_t rd_u8(struct reader *r);
uint16_t rd_le16(struct reader *r);
uint32_t rd_le32(struct reader *r);
uint64_t rd_le64(struct reader *r);
uint16_t rd_be16(struct reader *r);
uint32_t rd_be32(struct reader *r);
uint64_t rd_be64(struct reader *r);
void rd_bytes(struct reader *r, void *dst, size_t n); // zero-fills dst when short
const void *rd_skip(struct reader *r, size_t n);      // the skipped bytes, or NULL when short

struct buf {
    uint8_t *data;
    size_t len, cap;
};
void buf_free(struct buf *b); // empty, and good for use again
void buf_put(struct buf *b, const void *p, size_t n);
void *buf_grow(struct buf *b, size_t n); // n zeroed bytes at the end; valid until the next call
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
// text as a JSON string with its quotes (RFC 8259, section 7).
void buf_json_string(struct buf *b, const char *text);
void buf_u8(struct buf *b, uint8_t v);
void buf_le16(struct buf *b, uint16_t v);
void buf_le32(struct buf *b, uint32_t v);
void buf_le64(struct buf *b, uint64_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);
const char *buf_str(struct buf *b); // NUL-terminated view, valid until the next call

// Named records, as parts of a saved machine are written: length of the name (8 bits), name, length
// of the value (32 bits), value. A zero (buf_u8) ends a list of them.
size_t buf_record_begin(struct buf *b, const char *name); // what is added next is its value
void buf_record_end(struct buf *b, size_t begun);         // of what `begin` gave
struct record {
    const char *name; // name_len bytes, in the reader's memory
    uint8_t name_len;
    struct reader value;
};
// False: that was the last, or the next is cut short (r->bad).
bool rd_record(struct reader *r, struct record *rec);
bool record_named(const struct record *rec, const char *name);
