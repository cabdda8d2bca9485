// Writing AML (aml.h): opcodes and resource descriptors of ACPI 6.4, chapters 20.2 and 6.4.
#include "board/boot/aml.h"
#include "base/bits.h"

enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_EXT = 0x5b,
    OP_ARG0 = 0x68,
    OP_NOTIFY = 0x86,
    OP_LEQUAL = 0x93,
    OP_IF = 0xa0,
    OP_RETURN = 0xa4,
    OP_EXT_DEVICE = 0x82,
    METHOD_SERIALIZED = 1 << 3,
};

static void open_package(struct aml *a)
{
    BUG_ON(a->depth == ARRAY_SIZE(a->open));
    a->open[a->depth++] = a->b.len;
}

// PkgLength counts itself: one byte up to 63, else the low nibble and up to three bytes more.
void aml_close(struct aml *a)
{
    BUG_ON(!a->depth);
    size_t at = a->open[--a->depth], body = a->b.len - at;
    unsigned more = body + 1 <= 63 ? 0 : body + 2 < 1 << 12 ? 1 : body + 3 < 1 << 20 ? 2 : 3;
    size_t len = body + 1 + more;
    uint8_t lead[4] = {(uint8_t)(more ? more << 6 | (len & 15) : len), (uint8_t)(len >> 4),
                       (uint8_t)(len >> 12), (uint8_t)(len >> 20)};
    buf_grow(&a->b, more + 1);
    memmove(a->b.data + at + more + 1, a->b.data + at, body);
    memcpy(a->b.data + at, lead, more + 1);
}

static void put_segment(struct aml *a, const char *s, size_t n)
{
    char seg[4] = {'_', '_', '_', '_'};
    memcpy(seg, s, MIN(n, sizeof seg));
    buf_put(&a->b, seg, sizeof seg);
}

void aml_path(struct aml *a, const char *path)
{
    unsigned segments = 1;
    if (*path == '\\')
        buf_u8(&a->b, (uint8_t)*path++);
    for (const char *p = path; *p; p++)
        segments += *p == '.';
    if (segments == 2) {
        buf_u8(&a->b, 0x2e);
    } else if (segments > 2) {
        buf_u8(&a->b, 0x2f);
        buf_u8(&a->b, (uint8_t)segments);
    }
    for (; segments; segments--) {
        size_t n = strcspn(path, ".");
        put_segment(a, path, n);
        path += n + 1;
    }
}

void aml_scope(struct aml *a, const char *path)
{
    buf_u8(&a->b, OP_SCOPE);
    open_package(a);
    aml_path(a, path);
}
void aml_device(struct aml *a, const char *name)
{
    buf_u8(&a->b, OP_EXT);
    buf_u8(&a->b, OP_EXT_DEVICE);
    open_package(a);
    aml_path(a, name);
}
void aml_method(struct aml *a, const char *name, unsigned args)
{
    buf_u8(&a->b, OP_METHOD);
    open_package(a);
    aml_path(a, name);
    buf_u8(&a->b, (uint8_t)(args | METHOD_SERIALIZED));
}
void aml_package(struct aml *a, uint8_t n)
{
    buf_u8(&a->b, OP_PACKAGE);
    open_package(a);
    buf_u8(&a->b, n);
}

void aml_int(struct aml *a, uint64_t v)
{
    if (v <= 1) {
        buf_u8(&a->b, (uint8_t)v);
    } else if (v <= 0xff) {
        buf_u8(&a->b, OP_BYTE);
        buf_u8(&a->b, (uint8_t)v);
    } else if (v <= 0xffff) {
        buf_u8(&a->b, OP_WORD);
        buf_le16(&a->b, (uint16_t)v);
    } else if (v <= 0xffffffff) {
        buf_u8(&a->b, OP_DWORD);
        buf_le32(&a->b, (uint32_t)v);
    } else {
        buf_u8(&a->b, OP_QWORD);
        buf_le64(&a->b, v);
    }
}
void aml_string(struct aml *a, const char *s)
{
    buf_u8(&a->b, OP_STRING);
    buf_put(&a->b, s, strlen(s) + 1);
}
void aml_buffer(struct aml *a, const void *bytes, size_t n)
{
    buf_u8(&a->b, OP_BUFFER);
    open_package(a);
    aml_int(a, n);
    buf_put(&a->b, bytes, n);
    aml_close(a);
}
void aml_arg(struct aml *a, unsigned n)
{
    buf_u8(&a->b, (uint8_t)(OP_ARG0 + n));
}
void aml_return(struct aml *a)
{
    buf_u8(&a->b, OP_RETURN);
}
void aml_if_equal_buffer(struct aml *a, unsigned arg, const void *bytes, size_t n)
{
    buf_u8(&a->b, OP_IF);
    open_package(a);
    buf_u8(&a->b, OP_LEQUAL);
    aml_arg(a, arg);
    aml_buffer(a, bytes, n);
}
void aml_notify(struct aml *a, const char *path, uint8_t value)
{
    buf_u8(&a->b, OP_NOTIFY);
    aml_path(a, path);
    aml_int(a, value);
}

void aml_name(struct aml *a, const char *name)
{
    buf_u8(&a->b, OP_NAME);
    aml_path(a, name);
}
void aml_name_int(struct aml *a, const char *name, uint64_t v)
{
    aml_name(a, name);
    aml_int(a, v);
}
void aml_name_string(struct aml *a, const char *name, const char *s)
{
    aml_name(a, name);
    aml_string(a, s);
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

// Seven-character ids (PNPxxxx) are compressed EISA ids; longer ones are strings.
void aml_hid(struct aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    if (strlen(id) != 7) {
        aml_string(a, id);
        return;
    }
    uint32_t v = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
                 (uint32_t)(id[2] - 0x40) << 16 | hex_digit(id[3]) << 12 | hex_digit(id[4]) << 8 |
                 hex_digit(id[5]) << 4 | hex_digit(id[6]);
    buf_u8(&a->b, OP_DWORD);
    buf_be32(&a->b, v);
}

// ---- resource templates ----

// The buffer's size term has a fixed width, so that it can be filled in at the end.
void aml_crs(struct aml *a, const char *name)
{
    aml_name(a, name);
    buf_u8(&a->b, OP_BUFFER);
    open_package(a);
    buf_u8(&a->b, OP_WORD);
    buf_le16(&a->b, 0);
}

void aml_crs_close(struct aml *a)
{
    size_t size_at = a->open[a->depth - 1] + 1;
    buf_u8(&a->b, 0x79); // end tag, no checksum
    buf_u8(&a->b, 0);
    st_le16(a->b.data + size_at, (uint16_t)(a->b.len - size_at - 2));
    aml_close(a);
}

static void large_item(struct aml *a, uint8_t tag, uint16_t len)
{
    buf_u8(&a->b, tag);
    buf_le16(&a->b, len);
}

void aml_crs_memory32(struct aml *a, uint32_t base, uint32_t size)
{
    large_item(a, 0x86, 9);
    buf_u8(&a->b, 1); // writable
    buf_le32(&a->b, base);
    buf_le32(&a->b, size);
}

void aml_crs_io(struct aml *a, uint16_t base, uint8_t size)
{
    buf_u8(&a->b, 0x47);
    buf_u8(&a->b, 1); // all 16 bits are decoded
    buf_le16(&a->b, base);
    buf_le16(&a->b, base);
    buf_u8(&a->b, 1);
    buf_u8(&a->b, size);
}

void aml_crs_irq(struct aml *a, uint32_t gsi, bool edge)
{
    large_item(a, 0x89, 6);
    buf_u8(&a->b, edge ? 3 : 1); // consumer, active high, exclusive
    buf_u8(&a->b, 1);
    buf_le32(&a->b, gsi);
}

void aml_crs_window(struct aml *a, enum aml_window kind, uint64_t min, uint64_t max,
                    uint64_t offset)
{
    // min and max are fixed, positive decode, producer
    const uint8_t flags = 0x0c, specific[3] = {1 /* writable */, 3 /* whole range */, 0};
    if (kind == AML_BUS) {
        large_item(a, 0x88, 13);
    } else {
        large_item(a, 0x8a, 43);
    }
    buf_u8(&a->b, (uint8_t)kind);
    buf_u8(&a->b, flags);
    buf_u8(&a->b, specific[kind]);
    const uint64_t v[5] = {0, min, max, offset, max - min + 1};
    for (unsigned i = 0; i < 5; i++) {
        if (kind == AML_BUS)
            buf_le16(&a->b, (uint16_t)v[i]);
        else
            buf_le64(&a->b, v[i]);
    }
}

void aml_crs_gpio_irq(struct aml *a, uint16_t pin, const char *controller)
{
    const uint16_t pin_at = 23, source_at = 25;
    const uint16_t end = (uint16_t)(source_at + strlen(controller) + 1);
    large_item(a, 0x8c, end - 3);
    buf_u8(&a->b, 1);   // revision
    buf_u8(&a->b, 0);   // interrupt connection
    buf_le16(&a->b, 1); // consumer
    buf_le16(&a->b, 1); // edge, active high, exclusive
    buf_u8(&a->b, 1);   // pull up
    buf_le16(&a->b, 0); // drive strength
    buf_le16(&a->b, 0); // debounce
    buf_le16(&a->b, pin_at);
    buf_u8(&a->b, 0);
    buf_le16(&a->b, source_at);
    buf_le16(&a->b, end); // no vendor data
    buf_le16(&a->b, 0);
    buf_le16(&a->b, pin);
    buf_put(&a->b, controller, strlen(controller) + 1);
}
