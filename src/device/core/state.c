// A device's state as bytes: the fields that its tables mark FIELD_STATE, each with its name and
// size, and what a type adds by hooks of its own. What comes back is hostile: every value is held
// to its field's range, and a name that is not there is refused.
#include "device/device.h"

#include <inttypes.h>

static unsigned element_size(const struct field *f)
{
    switch ((enum field_kind)f->kind) {
    case F_U16:
    case F_U16A:
        return 2;
    case F_U32:
    case F_U32A:
    case F_ENUM:
        return 4;
    case F_U64:
    case F_U64A:
    case F_SIZE:
        return 8;
    default:
        return 1;
    }
}

static unsigned elements(const struct field *f)
{
    switch ((enum field_kind)f->kind) {
    case F_MAC:
        return 6;
    case F_BYTES:
    case F_U8A:
    case F_U16A:
    case F_U32A:
    case F_U64A:
    case F_STRUCT:
        return f->len;
    default:
        return 1;
    }
}

static uint64_t get(const void *at, unsigned size)
{
    return size == 1   ? *(const uint8_t *)at
           : size == 2 ? *(const uint16_t *)at
           : size == 4 ? *(const uint32_t *)at
                       : *(const uint64_t *)at;
}

static void put(void *at, unsigned size, uint64_t v)
{
    if (size == 1)
        *(uint8_t *)at = (uint8_t)v;
    else if (size == 2)
        *(uint16_t *)at = (uint16_t)v;
    else if (size == 4)
        *(uint32_t *)at = (uint32_t)v;
    else
        *(uint64_t *)at = v;
}

static void save_value(const struct field *f, const uint8_t *at, struct buf *out)
{
    unsigned size = element_size(f), n = elements(f);
    for (unsigned i = 0; i < n; i++) {
        if (f->kind == F_STRUCT) {
            fields_save(f->sub, at + (size_t)i * f->stride, out);
            continue;
        }
        uint64_t v = get(at + (size_t)i * size, size);
        for (unsigned b = 0; b < size; b++)
            buf_u8(out, (uint8_t)(v >> 8 * b));
    }
}

void fields_save(const struct field *fields, const void *base, struct buf *out)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if (!(f->use & FIELD_STATE))
            continue;
        size_t record = buf_record_begin(out, f->name);
        save_value(f, (const uint8_t *)base + f->offset, out);
        buf_record_end(out, record);
    }
    buf_u8(out, 0);
}

static int load_value(const struct field *f, uint8_t *at, struct reader *r, struct err *e)
{
    unsigned size = element_size(f), n = elements(f);
    uint64_t top = size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
    uint64_t max = f->kind == F_BOOL ? 1 : f->max ? f->max : top;
    for (unsigned i = 0; i < n; i++) {
        if (f->kind == F_STRUCT) {
            if (fields_load(f->sub, at + (size_t)i * f->stride, r, e))
                return -1;
            continue;
        }
        uint64_t v = 0;
        for (unsigned b = 0; b < size; b++)
            v |= (uint64_t)rd_u8(r) << 8 * b;
        if ((v < f->min || v > max) && (v || f->kind == F_BOOL))
            return err_set(e, "%s: %" PRIu64 " is out of range", f->name, v);
        put(at + (size_t)i * size, size, v);
    }
    return 0;
}

static const struct field *find(const struct field *fields, const struct record *rec)
{
    for (const struct field *f = fields; f && f->name; f++)
        if ((f->use & FIELD_STATE) && record_named(rec, f->name))
            return f;
    return NULL;
}

int fields_load(const struct field *fields, void *base, struct reader *r, struct err *e)
{
    for (struct record rec; rd_record(r, &rec);) {
        const struct field *f = find(fields, &rec);
        if (!f)
            return err_set(e, "saved field '%.*s' is not known here", rec.name_len, rec.name);
        if (load_value(f, (uint8_t *)base + f->offset, &rec.value, e))
            return -1;
        if (rec.value.bad || reader_left(&rec.value))
            return err_set(e, "saved field '%s' has another size", f->name);
    }
    return r->bad ? err_set(e, "the saved state is cut short") : 0;
}

void device_save(struct device *d, struct buf *out)
{
    device_lock(d);
    for (const struct device_type *t = d->type; t; t = t->base) {
        fields_save(t->fields, d, out);
        if (t->save)
            t->save(d, out);
    }
    device_unlock(d);
}

int device_load(struct device *d, struct reader *r, struct err *e)
{
    int result = 0;
    device_lock(d);
    for (const struct device_type *t = d->type; t && !result; t = t->base) {
        result = fields_load(t->fields, d, r, e);
        if (!result && t->load)
            result = t->load(d, r, e);
    }
    device_unlock(d);
    if (!result && (r->bad || reader_left(r)))
        result = err_set(e, "the saved state has another size");
    return result;
}

static int loaded(struct device *d, const struct device_type *t, struct err *e)
{
    if (t->base && loaded(d, t->base, e))
        return -1;
    return t->post_load ? t->post_load(d, e) : 0;
}

int device_loaded(struct device *d, struct err *e)
{
    device_lock(d);
    int r = loaded(d, d->type, e);
    device_unlock(d);
    return r;
}

void device_drain(struct device *d)
{
    for (const struct device_type *t = d->type; t; t = t->base)
        if (t->drain)
            t->drain(d);
}
