// Registers and memory: g G p P, m M X.
#include "gdb/stub.h"

static void read_all_registers(struct gdb_stub *g)
{
    uint8_t v[GDB_REG_MAX];
    unsigned n = g->ops->n_regs(g->target);
    gdb_reply_begin(g);
    for (unsigned i = 0; i < n; i++) {
        size_t len = g->ops->read_reg(g->target, g->cpu_g, i, v);
        if (g->out.len + 2 * len > GDB_PACKET_MAX)
            break;
        gdb_put_hex(g, v, len);
    }
    gdb_reply_end(g);
}

static bool write_all_registers(struct gdb_stub *g, const char *p)
{
    uint8_t v[GDB_PACKET_MAX / 2];
    size_t have = gdb_unhex(p, v, sizeof v), at = 0;
    unsigned n = g->ops->n_regs(g->target);
    for (unsigned i = 0; i < n && at < have; i++) {
        uint8_t old[GDB_REG_MAX];
        size_t len = g->ops->read_reg(g->target, g->cpu_g, i, old);
        if (len > have - at)
            return false;
        if (len)
            g->ops->write_reg(g->target, g->cpu_g, i, v + at, len);
        at += len;
    }
    return true;
}

static void read_register(struct gdb_stub *g, char *p)
{
    uint8_t v[GDB_REG_MAX];
    uint64_t reg;
    size_t len = 0;
    if (gdb_hex(&p, &reg) && reg <= UINT32_MAX)
        len = g->ops->read_reg(g->target, g->cpu_g, (unsigned)reg, v);
    if (len)
        gdb_reply_hex(g, v, len);
    else
        gdb_reply(g, "E14");
}

static bool write_register(struct gdb_stub *g, char *p)
{
    uint8_t v[GDB_REG_MAX];
    uint64_t reg;
    if (!gdb_hex(&p, &reg) || reg > UINT32_MAX || !gdb_expect(&p, '='))
        return false;
    size_t len = gdb_unhex(p, v, sizeof v);
    return len && g->ops->write_reg(g->target, g->cpu_g, (unsigned)reg, v, len) == len;
}

static bool range(char **p, uint64_t *addr, uint64_t *len)
{
    return gdb_hex(p, addr) && gdb_expect(p, ',') && gdb_hex(p, len);
}

static void read_memory(struct gdb_stub *g, char *p)
{
    uint8_t v[GDB_PACKET_MAX / 2];
    uint64_t addr, len;
    if (!range(&p, &addr, &len)) {
        gdb_reply(g, "E22");
        return;
    }
    len = MIN(len, sizeof v - 8);
    size_t got = g->ops->read_mem(g->target, g->cpu_g, g->memory, addr, v, len);
    if (got || !len)
        gdb_reply_hex(g, v, got);
    else
        gdb_reply(g, "E14");
}

// Undoes the escapes of X data in place; the length that remains.
static size_t unescape(char *p, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '}' && i + 1 < n)
            p[len++] = p[++i] ^ 0x20;
        else
            p[len++] = p[i];
    }
    return len;
}

static const char *write_memory(struct gdb_stub *g, char *p, const char *end, bool binary)
{
    uint8_t v[GDB_PACKET_MAX];
    uint64_t addr, len;
    if (!range(&p, &addr, &len) || !gdb_expect(&p, ':'))
        return "E22";
    size_t have;
    if (binary) {
        have = unescape(p, (size_t)(end - p));
        memcpy(v, p, have);
    } else {
        have = gdb_unhex(p, v, sizeof v);
    }
    if (have != len)
        return "E22";
    return g->ops->write_mem(g->target, g->cpu_g, g->memory, addr, v, len) == len ? "OK" : "E14";
}

bool gdb_handle_data(struct gdb_stub *g, char *p, size_t n)
{
    switch (p[0]) {
    case 'g':
        read_all_registers(g);
        return true;
    case 'G':
        gdb_reply(g, write_all_registers(g, p + 1) ? "OK" : "E22");
        return true;
    case 'p':
        read_register(g, p + 1);
        return true;
    case 'P':
        gdb_reply(g, write_register(g, p + 1) ? "OK" : "E22");
        return true;
    case 'm':
        read_memory(g, p + 1);
        return true;
    case 'M':
        gdb_reply(g, write_memory(g, p + 1, p + n, false));
        return true;
    case 'X':
        gdb_reply(g, write_memory(g, p + 1, p + n, true));
        return true;
    }
    return false;
}
