// Packets: "$data#checksum", acknowledged with + or -, and the interrupt byte 0x03 between them.
// What comes in is bounded by one fixed buffer; a packet that does not fit is read to its end and
// answered with an error.
#include "gdb/stub.h"

static const char digits[] = "0123456789abcdef";

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool gdb_hex(char **p, uint64_t *v)
{
    char *start = *p;
    *v = 0;
    for (; digit(**p) >= 0; ++*p) {
        if (*v >> 60)
            return false;
        *v = *v << 4 | (unsigned)digit(**p);
    }
    return *p != start;
}

bool gdb_expect(char **p, char c)
{
    if (**p != c)
        return false;
    ++*p;
    return true;
}

size_t gdb_unhex(const char *p, uint8_t *out, size_t max)
{
    size_t n = 0;
    for (; n < max && digit(p[0]) >= 0 && digit(p[1]) >= 0; p += 2)
        out[n++] = (uint8_t)(digit(p[0]) << 4 | digit(p[1]));
    return n;
}

// The process in front of a thread's id: whose it is. "-1" and 0 are everybody.
static enum gdb_thread process_id(struct gdb_stub *g, char **p)
{
    uint64_t pid = 0;
    if (!strncmp(*p, "-1", 2))
        *p += 2;
    else if (!gdb_hex(p, &pid))
        return GDB_THREAD_BAD;
    if (pid && pid == g->child)
        return GDB_THREAD_CHILD;
    if (pid && pid == g->parent)
        return GDB_THREAD_PARENT;
    return !pid || pid == g->ops->pid(g->target) ? GDB_THREAD_ANY : GDB_THREAD_BAD;
}

enum gdb_thread gdb_thread_id(struct gdb_stub *g, char **p, unsigned *cpu)
{
    uint64_t id;
    enum gdb_thread whose = GDB_THREAD_ANY;
    if (g->session.multiprocess && gdb_expect(p, 'p')) {
        whose = process_id(g, p);
        if (whose == GDB_THREAD_BAD || !gdb_expect(p, '.'))
            return whose == GDB_THREAD_ANY ? GDB_THREAD_ALL : whose;
    }
    if (!strncmp(*p, "-1", 2)) {
        *p += 2;
        return whose == GDB_THREAD_ANY ? GDB_THREAD_ALL : whose;
    }
    if (!gdb_hex(p, &id))
        return GDB_THREAD_BAD;
    if (whose != GDB_THREAD_ANY)
        return whose;
    if (!id)
        return GDB_THREAD_ANY;
    if (id > g->ops->n_cpus(g->target) || !gdb_alive(g, (unsigned)id - 1))
        return GDB_THREAD_BAD;
    *cpu = (unsigned)id - 1;
    return GDB_THREAD_ONE;
}

// Output.

static void send_last(struct gdb_stub *g)
{
    chr_write_all(g->f, g->out.data, g->out.len);
}

void gdb_reply_begin(struct gdb_stub *g)
{
    g->out.len = 0;
    buf_u8(&g->out, '$');
}

void gdb_put_hex(struct gdb_stub *g, const void *p, size_t n)
{
    char *to = buf_grow(&g->out, 2 * n);
    for (size_t i = 0; i < n; i++) {
        uint8_t b = ((const uint8_t *)p)[i];
        to[2 * i] = digits[b >> 4];
        to[2 * i + 1] = digits[b & 15];
    }
}

void gdb_put_thread(struct gdb_stub *g, unsigned cpu)
{
    if (g->session.multiprocess)
        buf_printf(&g->out, "p%x.", g->ops->pid(g->target));
    buf_printf(&g->out, "%02x", cpu + 1);
}

void gdb_put_binary(struct gdb_stub *g, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = ((const char *)p)[i];
        if (c == '#' || c == '$' || c == '}' || c == '*') {
            buf_u8(&g->out, '}');
            c ^= 0x20;
        }
        buf_u8(&g->out, (uint8_t)c);
    }
}

void gdb_reply_end(struct gdb_stub *g)
{
    uint8_t sum = 0;
    for (size_t i = 1; i < g->out.len; i++)
        sum = (uint8_t)(sum + g->out.data[i]);
    buf_u8(&g->out, '#');
    gdb_put_hex(g, &sum, 1);
    send_last(g);
}

void gdb_reply(struct gdb_stub *g, const char *text)
{
    gdb_reply_begin(g);
    buf_put(&g->out, text, strlen(text));
    gdb_reply_end(g);
}

void gdb_reply_hex(struct gdb_stub *g, const void *p, size_t n)
{
    gdb_reply_begin(g);
    gdb_put_hex(g, p, n);
    gdb_reply_end(g);
}

// Input.

static void packet_done(struct gdb_stub *g)
{
    bool good = g->sum == g->want_sum;
    if (!g->session.no_ack)
        chr_write_all(g->f, good ? "+" : "-", 1);
    if (!good && !g->session.no_ack)
        return;
    if (g->overlong || !good) {
        gdb_reply(g, "E22");
        return;
    }
    g->in[g->in_len] = 0;
    gdb_handle(g, g->in, g->in_len);
}

static void idle_byte(struct gdb_stub *g, uint8_t c)
{
    switch (c) {
    case '$':
        g->rx = GDB_DATA;
        g->in_len = 0;
        g->sum = 0;
        g->overlong = false;
        break;
    case 0x03:
        gdb_interrupt(g);
        break;
    case '-':
        if (g->out.len && !g->session.no_ack)
            send_last(g);
        break;
    }
}

void gdb_receive(struct gdb_stub *g, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t c = p[i];
        int d;
        switch (g->rx) {
        case GDB_IDLE:
            idle_byte(g, c);
            break;
        case GDB_DATA:
            if (c == '#') {
                g->rx = GDB_SUM1;
                break;
            }
            g->sum = (uint8_t)(g->sum + c);
            if (g->in_len < GDB_PACKET_MAX)
                g->in[g->in_len++] = (char)c;
            else
                g->overlong = true;
            break;
        case GDB_SUM1:
        case GDB_SUM2:
            d = digit((char)c); // not a digit: a sum that no packet has
            g->want_sum = g->rx == GDB_SUM1 ? (uint8_t)(d << 4) : (uint8_t)(g->want_sum | d);
            if (d < 0)
                g->want_sum = (uint8_t)~g->sum;
            if (g->rx == GDB_SUM1 && d >= 0) {
                g->rx = GDB_SUM2;
                break;
            }
            g->rx = GDB_IDLE;
            packet_done(g);
            break;
        }
    }
}
