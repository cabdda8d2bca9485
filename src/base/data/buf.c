// The bounded reader and the growing writer.
#include "base/buf.h"
#include "base/bits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

size_t reader_left(const struct reader *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

const void *rd_skip(struct reader *r, size_t n)
{
    if (r->bad || n > (size_t)(r->end - r->p)) {
        r->bad = true;
        return NULL;
    }
    const void *at = r->p;
    r->p += n;
    return at;
}

void rd_bytes(struct reader *r, void *dst, size_t n)
{
    const void *at = rd_skip(r, n);
    if (!n)
        return;
    if (at)
        memcpy(dst, at, n);
    else
        memset(dst, 0, n);
}

uint8_t rd_u8(struct reader *r)
{
    const uint8_t *at = rd_skip(r, 1);
    return at ? *at : 0;
}

#define READ(name, type)                                                                           \
    type rd_##name(struct reader *r)                                                               \
    {                                                                                              \
        const void *at = rd_skip(r, sizeof(type));                                                 \
        return at ? ld_##name(at) : 0;                                                             \
    }
READ(le16, uint16_t)
READ(le32, uint32_t)
READ(le64, uint64_t)
READ(be16, uint16_t)
READ(be32, uint32_t)
READ(be64, uint64_t)
#undef READ

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

// Room for n more bytes.
static uint8_t *reserve(struct buf *b, size_t n)
{
    size_t want;
    BUG_ON(__builtin_add_overflow(b->len, n, &want));
    if (want > b->cap) {
        b->cap = MAX(want, MAX(b->cap * 2, (size_t)64));
        b->data = xrealloc(b->data, b->cap);
    }
    return b->data + b->len;
}

void *buf_grow(struct buf *b, size_t n)
{
    uint8_t *at = reserve(b, n);
    if (n)
        memset(at, 0, n);
    b->len += n;
    return at;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (!n)
        return;
    memcpy(reserve(b, n), p, n);
    b->len += n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char *at = (char *)reserve(b, 1);
    int n = vsnprintf(at, b->cap - b->len, fmt, ap);
    BUG_ON(n < 0);
    if ((size_t)n >= b->cap - b->len) {
        at = (char *)reserve(b, (size_t)n + 1);
        vsnprintf(at, (size_t)n + 1, fmt, again);
    }
    b->len += (size_t)n;
    va_end(again);
    va_end(ap);
}

void buf_json_string(struct buf *b, const char *text)
{
    buf_u8(b, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_u8(b, '\\');
        if ((unsigned char)*p < 0x20)
            buf_printf(b, "\\u%04x", (unsigned)*p);
        else
            buf_u8(b, (uint8_t)*p);
    }
    buf_u8(b, '"');
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

#define WRITE(name, type)                                                                          \
    void buf_##name(struct buf *b, type v)                                                         \
    {                                                                                              \
        st_##name(reserve(b, sizeof v), v);                                                        \
        b->len += sizeof v;                                                                        \
    }
WRITE(le16, uint16_t)
WRITE(le32, uint32_t)
WRITE(le64, uint64_t)
WRITE(be16, uint16_t)
WRITE(be32, uint32_t)
WRITE(be64, uint64_t)
#undef WRITE

const char *buf_str(struct buf *b)
{
    *reserve(b, 1) = 0;
    return (const char *)b->data;
}

size_t buf_record_begin(struct buf *b, const char *name)
{
    size_t n = strlen(name);
    BUG_ON(!n || n > UINT8_MAX);
    buf_u8(b, (uint8_t)n);
    buf_put(b, name, n);
    buf_le32(b, 0);
    return b->len;
}

void buf_record_end(struct buf *b, size_t begun)
{
    BUG_ON(b->len - begun > UINT32_MAX);
    st_le32(b->data + begun - 4, (uint32_t)(b->len - begun));
}

bool rd_record(struct reader *r, struct record *rec)
{
    rec->name_len = rd_u8(r);
    if (!rec->name_len)
        return false;
    rec->name = rd_skip(r, rec->name_len);
    uint32_t len = rd_le32(r);
    const void *value = rd_skip(r, len);
    rec->value = reader_of(value, value ? len : 0);
    return value;
}

bool record_named(const struct record *rec, const char *name)
{
    return strlen(name) == rec->name_len && !memcmp(rec->name, name, rec->name_len);
}
