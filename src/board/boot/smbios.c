// SMBIOS (DMTF DSP0134 3.4): entry point and structures of types 0, 1, 2 and 11 on request, 3, 4,
// 16, 17, 19, 32 and 127. Strings come from one table of fields, which is also the list of what
// -smbios type=N,FIELD=… may set.
#include "board/boot/smbios.h"
#include "base/bits.h"
#include "base/buf.h"
#include "device/firmware/fw_cfg.h"

#include <stdlib.h>

struct smbios {
    const struct smbios_config *c;
    struct buf tables;
    uint16_t handle;
    size_t start; // of the structure being written
    struct buf strings;
    uint8_t n_strings;
    uint16_t memory_array;
};

// One -smbios option of this type that has the field, or NULL; the last one wins.
static const char *setting(struct smbios *s, const char *type, const char *field)
{
    const char *found = NULL;
    for (unsigned i = 0; i < s->c->n_overrides; i++) {
        const char *t = opts_get(&s->c->overrides[i], "type");
        const char *v = t && !strcmp(t, type) ? opts_get(&s->c->overrides[i], field) : NULL;
        found = v ? v : found;
    }
    return found;
}
static bool mentioned(struct smbios *s, const char *type)
{
    for (unsigned i = 0; i < s->c->n_overrides; i++) {
        const char *t = opts_get(&s->c->overrides[i], "type");
        if (t && !strcmp(t, type))
            return true;
    }
    return false;
}

static uint16_t begin(struct smbios *s, uint8_t type)
{
    s->start = s->tables.len;
    s->n_strings = 0;
    s->strings.len = 0;
    buf_u8(&s->tables, type);
    buf_u8(&s->tables, 0); // length
    buf_le16(&s->tables, s->handle);
    return s->handle++;
}

// The number of a string in the present structure; 0 for none.
static uint8_t string(struct smbios *s, const char *text)
{
    if (!text || !*text)
        return 0;
    buf_put(&s->strings, text, strlen(text) + 1);
    return ++s->n_strings;
}
static void put_string(struct smbios *s, const char *type, const char *field, const char *otherwise)
{
    const char *text = setting(s, type, field);
    buf_u8(&s->tables, string(s, text ? text : otherwise));
}

static void end(struct smbios *s)
{
    s->tables.data[s->start + 1] = (uint8_t)(s->tables.len - s->start);
    buf_put(&s->tables, s->strings.data ? (void *)s->strings.data : "", s->strings.len);
    buf_u8(&s->tables, 0);
    if (!s->n_strings)
        buf_u8(&s->tables, 0);
}

// "MAJOR.MINOR" of -smbios type=0,release=
static void put_release(struct smbios *s)
{
    const char *r = setting(s, "0", "release");
    char *dot = NULL;
    unsigned long major = r ? strtoul(r, &dot, 10) : 0;
    buf_u8(&s->tables, (uint8_t)major);
    buf_u8(&s->tables, dot && *dot == '.' ? (uint8_t)strtoul(dot + 1, NULL, 10) : 0);
}

static void put_firmware(struct smbios *s)
{
    begin(s, 0);
    put_string(s, "0", "vendor", "myna");
    put_string(s, "0", "version", MYNA_VERSION);
    buf_le16(&s->tables, 0);
    put_string(s, "0", "date", "01/01/2026");
    buf_u8(&s->tables, 0);
    buf_le64(&s->tables, 1 << 3); // characteristics are not supported
    buf_u8(&s->tables, 0);
    buf_u8(&s->tables, 1 << 2 | 1 << 3 | 1 << 4); // content delivery, UEFI, virtual machine
    put_release(s);
    buf_le16(&s->tables, 0xffff); // no embedded controller
    buf_le16(&s->tables, 0);
    end(s);
}

static int hex_byte(const char *p)
{
    char text[3] = {p[0], p[0] ? p[1] : 0, 0}, *rest;
    long v = strtol(text, &rest, 16);
    return rest == text + 2 ? (int)v : -1;
}

static int parse_uuid(const char *text, uint8_t out[16])
{
    static const uint8_t at[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    if (strlen(text) != 36)
        return -1;
    for (unsigned i = 0; i < 16; i++) {
        int b = hex_byte(text + at[i]);
        if (b < 0)
            return -1;
        out[i] = (uint8_t)b;
    }
    return 0;
}

static int put_system(struct smbios *s, struct err *e)
{
    uint8_t uuid[16] = {0};
    const char *text = setting(s, "1", "uuid");
    if (s->c->uuid)
        memcpy(uuid, s->c->uuid, 16);
    if (text && parse_uuid(text, uuid))
        return err_set(e, "-smbios type=1,uuid=%s: not a UUID", text);
    begin(s, 1);
    put_string(s, "1", "manufacturer", "QEMU"); // what guests look for to know a virtual machine
    put_string(s, "1", "product", s->c->product);
    put_string(s, "1", "version", s->c->version);
    put_string(s, "1", "serial", NULL);
    // The first three fields are little-endian (7.2.1).
    const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    for (unsigned i = 0; i < 16; i++)
        buf_u8(&s->tables, uuid[order[i]]);
    buf_u8(&s->tables, 6); // wake-up by power switch
    put_string(s, "1", "sku", NULL);
    put_string(s, "1", "family", NULL);
    end(s);
    return 0;
}

static void put_board(struct smbios *s, uint16_t chassis)
{
    begin(s, 2);
    put_string(s, "2", "manufacturer", "QEMU");
    put_string(s, "2", "product", s->c->product);
    put_string(s, "2", "version", s->c->version);
    put_string(s, "2", "serial", NULL);
    put_string(s, "2", "asset", NULL);
    buf_u8(&s->tables, 1); // hosting board
    put_string(s, "2", "location", NULL);
    buf_le16(&s->tables, chassis);
    buf_u8(&s->tables, 10); // motherboard
    buf_u8(&s->tables, 0);
    end(s);
}

static uint16_t put_chassis(struct smbios *s)
{
    uint16_t handle = begin(s, 3);
    put_string(s, "3", "manufacturer", "QEMU");
    buf_u8(&s->tables, 1); // other
    put_string(s, "3", "version", s->c->version);
    put_string(s, "3", "serial", NULL);
    put_string(s, "3", "asset", NULL);
    for (unsigned i = 0; i < 3; i++)
        buf_u8(&s->tables, 3); // boot-up, power supply, thermal state: safe
    buf_u8(&s->tables, 2);     // security: unknown
    buf_le32(&s->tables, 0);
    buf_u8(&s->tables, 0);
    buf_u8(&s->tables, 0);
    buf_le16(&s->tables, 0); // no contained elements
    put_string(s, "3", "sku", NULL);
    end(s);
    return handle;
}

static void put_processor(struct smbios *s, unsigned n)
{
    unsigned cores = s->c->cores, threads = cores * s->c->threads;
    const char *prefix = setting(s, "4", "sock_pfx");
    char *socket = xasprintf("%s %u", prefix ? prefix : "CPU", n);
    begin(s, 4);
    buf_u8(&s->tables, string(s, socket));
    free(socket);
    buf_u8(&s->tables, 3); // CPU
    buf_u8(&s->tables, 1); // family: other
    put_string(s, "4", "manufacturer", "QEMU");
    buf_le64(&s->tables, 0);
    put_string(s, "4", "version", s->c->version);
    buf_u8(&s->tables, 0);
    buf_le16(&s->tables, 0);
    buf_le16(&s->tables, 2000);
    buf_le16(&s->tables, 2000);
    buf_u8(&s->tables, 0x41); // populated, enabled
    buf_u8(&s->tables, 1);
    for (unsigned i = 0; i < 3; i++)
        buf_le16(&s->tables, 0xffff); // no cache structures
    put_string(s, "4", "serial", NULL);
    put_string(s, "4", "asset", NULL);
    put_string(s, "4", "part", NULL);
    buf_u8(&s->tables, (uint8_t)MIN(cores, 255u));
    buf_u8(&s->tables, (uint8_t)MIN(cores, 255u));
    buf_u8(&s->tables, (uint8_t)MIN(threads, 255u));
    buf_le16(&s->tables, 2); // characteristics: unknown
    buf_le16(&s->tables, 1);
    buf_le16(&s->tables, (uint16_t)cores);
    buf_le16(&s->tables, (uint16_t)cores);
    buf_le16(&s->tables, (uint16_t)threads);
    end(s);
}

static void put_oem_strings(struct smbios *s)
{
    if (!mentioned(s, "11"))
        return;
    begin(s, 11);
    for (unsigned i = 0; i < s->c->n_overrides; i++) {
        const char *t = opts_get(&s->c->overrides[i], "type");
        if (t && !strcmp(t, "11"))
            string(s, opts_get(&s->c->overrides[i], "value"));
    }
    buf_u8(&s->tables, s->n_strings);
    end(s);
}

static void put_memory(struct smbios *s)
{
    const uint64_t size = s->c->ram_size, limit = 16 * GiB;
    unsigned n = (unsigned)((size + limit - 1) / limit);
    s->memory_array = begin(s, 16);
    buf_u8(&s->tables, 1); // other
    buf_u8(&s->tables, 3); // system memory
    buf_u8(&s->tables, 6); // multi-bit ECC
    buf_le32(&s->tables, 0x80000000);
    buf_le16(&s->tables, 0xfffe); // no error information
    buf_le16(&s->tables, (uint16_t)n);
    buf_le64(&s->tables, size);
    end(s);
    const char *prefix = setting(s, "17", "loc_pfx");
    for (unsigned i = 0; i < n; i++) {
        uint64_t mib = MIN(limit, size - i * limit) / MiB;
        char *where = xasprintf("%s %u", prefix ? prefix : "DIMM", i);
        begin(s, 17);
        buf_le16(&s->tables, s->memory_array);
        buf_le16(&s->tables, 0xfffe);
        buf_le16(&s->tables, 0xffff);
        buf_le16(&s->tables, 0xffff);
        buf_le16(&s->tables, (uint16_t)mib);
        buf_u8(&s->tables, 9); // DIMM
        buf_u8(&s->tables, 0);
        buf_u8(&s->tables, string(s, where));
        free(where);
        put_string(s, "17", "bank", NULL);
        buf_u8(&s->tables, 7); // RAM
        buf_le16(&s->tables, 2);
        buf_le16(&s->tables, 0);
        put_string(s, "17", "manufacturer", "QEMU");
        put_string(s, "17", "serial", NULL);
        put_string(s, "17", "asset", NULL);
        put_string(s, "17", "part", NULL);
        buf_u8(&s->tables, 0);
        buf_le32(&s->tables, 0);
        buf_le16(&s->tables, 0);
        for (unsigned k = 0; k < 3; k++)
            buf_le16(&s->tables, 0);
        end(s);
    }
    begin(s, 19);
    buf_le32(&s->tables, 0xffffffff); // see the 64-bit fields
    buf_le32(&s->tables, 0xffffffff);
    buf_le16(&s->tables, s->memory_array);
    buf_u8(&s->tables, 1);
    buf_le64(&s->tables, s->c->ram_base);
    buf_le64(&s->tables, s->c->ram_base + size - 1);
    end(s);
}

static void put_rest(struct smbios *s)
{
    begin(s, 32); // boot status: no errors
    for (unsigned i = 0; i < 7; i++)
        buf_u8(&s->tables, 0);
    end(s);
    begin(s, 127);
    end(s);
}

static int check_options(const struct smbios_config *c, struct err *e)
{
    static const char *const known[] = {
        "type", "vendor",  "version", "date",   "release", "manufacturer", "product",
        "uuid", "serial",  "sku",     "family", "asset",   "location",     "sock_pfx",
        "part", "loc_pfx", "bank",    "value",  NULL,
    };
    static const char *const types[] = {"0", "1", "2", "3", "4", "11", "17"};
    for (unsigned i = 0; i < c->n_overrides; i++) {
        const char *t = opts_get(&c->overrides[i], "type");
        bool good = false;
        for (unsigned k = 0; t && k < ARRAY_SIZE(types); k++)
            good = good || !strcmp(t, types[k]);
        if (!good)
            return err_set(e, "-smbios type=%s: give type=0, 1, 2, 3, 4, 11 or 17", t ? t : "");
        for (unsigned k = 1; known[k]; k++)
            (void)opts_get(&c->overrides[i], known[k]);
        if (opts_check_unused(&c->overrides[i], "-smbios", known, e))
            return -1;
    }
    return 0;
}

int smbios_build(const struct smbios_config *c, struct device *fw_cfg, struct err *e)
{
    struct smbios s = {.c = c};
    if (check_options(c, e))
        return -1;
    put_firmware(&s);
    int r = put_system(&s, e);
    uint16_t chassis = put_chassis(&s);
    if (mentioned(&s, "2"))
        put_board(&s, chassis);
    for (unsigned i = 0; i < c->sockets; i++)
        put_processor(&s, i);
    put_oem_strings(&s);
    put_memory(&s);
    put_rest(&s);

    uint8_t anchor[24] = "_SM3_", sum = 0; // 64-bit entry point, DSP0134 5.2.2
    anchor[6] = sizeof anchor;
    anchor[7] = 3;
    anchor[10] = 1;
    st_le32(anchor + 12, (uint32_t)s.tables.len);
    for (unsigned i = 0; i < sizeof anchor; i++)
        sum += anchor[i];
    anchor[5] = (uint8_t)-sum;
    r = r || fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-anchor", anchor, sizeof anchor, e) ||
        fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-tables", s.tables.data, s.tables.len, e);
    buf_free(&s.tables);
    buf_free(&s.strings);
    return r ? -1 : 0;
}
