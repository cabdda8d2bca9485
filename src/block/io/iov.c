// Views into I/O vectors and the test for zero data.

#include "block/io/iov.h"

struct iov_view iov_advance(struct iov_view v, size_t bytes)
{
    v.skip += bytes;
    while (v.n && v.skip >= v.iov->iov_len) {
        v.skip -= v.iov->iov_len;
        v.iov++;
        v.n--;
    }
    return v;
}

// Takes the next non-empty piece of at most *left bytes off the view; false at its end.
static bool next_piece(struct iov_view *v, size_t *left, struct iovec *out)
{
    while (v->n && v->skip >= v->iov->iov_len) {
        v->skip -= v->iov->iov_len;
        v->iov++;
        v->n--;
    }
    if (!v->n || !*left)
        return false;
    out->iov_base = (char *)v->iov->iov_base + v->skip;
    out->iov_len = MIN(v->iov->iov_len - v->skip, *left);
    *left -= out->iov_len;
    v->skip += out->iov_len;
    return true;
}

unsigned iov_flatten(struct iov_view v, size_t bytes, struct iovec *out, unsigned max)
{
    unsigned n = 0;
    while (n < max && next_piece(&v, &bytes, &out[n]))
        n++;
    return n;
}

unsigned iov_count(struct iov_view v, size_t bytes)
{
    struct iovec piece;
    unsigned n = 0;
    while (next_piece(&v, &bytes, &piece))
        n++;
    return n;
}

void iov_copy_out(struct iov_view v, void *dst, size_t bytes)
{
    struct iovec piece;
    for (char *d = dst; next_piece(&v, &bytes, &piece); d += piece.iov_len)
        memcpy(d, piece.iov_base, piece.iov_len);
}

void iov_copy_in(struct iov_view v, const void *src, size_t bytes)
{
    struct iovec piece;
    for (const char *s = src; next_piece(&v, &bytes, &piece); s += piece.iov_len)
        memcpy(piece.iov_base, s, piece.iov_len);
}

void iov_zero(struct iov_view v, size_t bytes)
{
    struct iovec piece;
    while (next_piece(&v, &bytes, &piece))
        memset(piece.iov_base, 0, piece.iov_len);
}

bool iov_all_zero(struct iov_view v, size_t bytes)
{
    struct iovec piece;
    while (next_piece(&v, &bytes, &piece))
        if (!buffer_all_zero(piece.iov_base, piece.iov_len))
            return false;
    return true;
}

bool iov_aligned(struct iov_view v, size_t bytes, unsigned align)
{
    struct iovec piece;
    while (next_piece(&v, &bytes, &piece))
        if (((uintptr_t)piece.iov_base | piece.iov_len) & (align - 1))
            return false;
    return true;
}

bool buffer_all_zero(const void *data, size_t len)
{
    const unsigned char *p = data;
    if (len < 16) {
        for (size_t i = 0; i < len; i++)
            if (p[i])
                return false;
        return true;
    }
    // Most data that is not zero shows it at once; otherwise the block equals itself shifted.
    uint64_t a, b;
    memcpy(&a, p, 8);
    memcpy(&b, p + 8, 8);
    return !(a | b) && !memcmp(p, p + 16, len - 16);
}
