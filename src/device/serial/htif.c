// RISC-V host-target interface (HTIF), as the Spike simulator's front-end server speaks it: device
// 0 ends the program (an odd value: the exit status times two, plus one) or is asked for a system
// call, of which only write to standard output is served; device 1 is a console. A 64-bit command
// may come as two 32-bit stores, the low half first; programs that end by storing the low half
// alone do so for ever, so the second such store in a row is taken for the whole.
#include "device/serial/htif.h"
#include "base/bits.h"
#include "chardev/chardev.h"

enum { DEVICE_CALL = 0, DEVICE_CONSOLE = 1, CONSOLE_GET = 0, CONSOLE_PUT = 1 };
enum { CALL_WRITE = 64, WRITE_MAX = 4096 };

struct htif {
    struct sys_device sys;
    struct chardev *chardev;
    struct chr_frontend *fe;
    uint64_t tohost, fromhost;
    bool low_alone;  // the last store was to the low half
    bool wants_char; // a read of the console waits
    bool has_char;
    uint8_t input;
    struct loop_work later; // what needs guest memory, or ends the machine
    uint64_t command;       // that `later` serves
    bool ended;
    void (*on_exit)(void *opaque);
    void *opaque;
};

static struct htif *of(struct device *d)
{
    return container_of(d, struct htif, sys.dev);
}

static void respond(struct htif *h, uint64_t command, uint64_t payload)
{
    h->fromhost = (command & ~mask_low(48)) | (payload & mask_low(48));
}

static void give_char(struct htif *h)
{
    if (!h->wants_char || !h->has_char)
        return;
    respond(h, (uint64_t)DEVICE_CONSOLE << 56, 0x100 | h->input);
    h->wants_char = h->has_char = false;
    if (h->fe)
        chr_accept_input(h->fe);
}

static void put_char(struct htif *h, uint8_t c)
{
    if (h->fe)
        chr_write_all(h->fe, &c, 1);
}

// ---- deferred: with guest memory at hand, outside the register handler ----

// A system call's number and arguments lie in memory as eight doublewords; the result goes to the
// first.
static void serve_call(struct htif *h, gpa_t at)
{
    uint64_t word[4];
    uint8_t text[WRITE_MAX];
    for (unsigned i = 0; i < ARRAY_SIZE(word); i++)
        if (dma_read(h->sys.dev.env->memory, at + 8 * i, &word[i], 8))
            return;
    uint64_t n = MIN(word[3], (uint64_t)WRITE_MAX), result = (uint64_t)-38; // ENOSYS
    if (word[0] == CALL_WRITE && !dma_read(h->sys.dev.env->memory, word[2], text, n)) {
        if (h->fe)
            chr_write_all(h->fe, text, n);
        result = n;
    }
    if (dma_write(h->sys.dev.env->memory, at, &result, 8))
        log_guest("HTIF memory", "htif: a system call's result does not lie in memory");
}

static void serve_later(void *opaque)
{
    struct htif *h = opaque;
    struct machine_env *env = h->sys.dev.env;
    uint64_t payload = h->command & mask_low(48);
    if (payload & 1) {
        if (!h->ended && h->on_exit)
            h->on_exit(h->opaque);
        h->ended = true;
        env->request_shutdown(env->opaque, "guest-shutdown", (int)(payload >> 1 & 0xff));
        return;
    }
    serve_call(h, payload);
    device_lock(&h->sys.dev);
    h->tohost = 0;
    h->fromhost = h->command & ~mask_low(48) ? h->command : 1;
    device_unlock(&h->sys.dev);
}

// ---- registers ----

static void execute(struct htif *h)
{
    uint64_t v = h->tohost;
    unsigned device = (unsigned)(v >> 56), command = (unsigned)bits(v, 55, 48);
    if (!v)
        return;
    if (device == DEVICE_CALL && command == 0) { // tohost is cleared when it has been served
        h->command = v;
        loop_defer(&h->later);
        return;
    }
    h->tohost = 0;
    if (device != DEVICE_CONSOLE) {
        log_guest("HTIF device", "htif: no device %u", device);
    } else if (command == CONSOLE_PUT) {
        put_char(h, (uint8_t)v);
        respond(h, v, 0x100 | (v & 0xff));
    } else if (command == CONSOLE_GET) {
        h->wants_char = true;
        give_char(h);
    }
}

static uint64_t merge(uint64_t old, gpa_t off, unsigned size, uint64_t val)
{
    unsigned shift = (unsigned)(off & 4) * 8;
    return size == 8 ? val : (old & ~(0xffffffffull << shift)) | (val & 0xffffffff) << shift;
}

static enum mem_result tohost_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    const struct htif *h = opaque;
    *val = size == 8 ? h->tohost : (uint32_t)(h->tohost >> (off & 4) * 8);
    return MEM_OK;
}

static enum mem_result tohost_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    struct htif *h = opaque;
    h->tohost = merge(h->tohost, off, size, val);
    bool low = size == 4 && off == 0;
    if (!low || (h->low_alone && val & 1))
        execute(h);
    h->low_alone = low;
    return MEM_OK;
}

static enum mem_result fromhost_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                     struct mem_attrs attrs)
{
    const struct htif *h = opaque;
    *val = size == 8 ? h->fromhost : (uint32_t)(h->fromhost >> (off & 4) * 8);
    return MEM_OK;
}

static enum mem_result fromhost_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                      struct mem_attrs attrs)
{
    struct htif *h = opaque;
    h->fromhost = merge(h->fromhost, off, size, val);
    if (!h->fromhost)
        give_char(h);
    return MEM_OK;
}

static const struct mmio_ops tohost_ops = {tohost_read, tohost_write, .min_size = 4, .max_size = 8};
static const struct mmio_ops fromhost_ops = {fromhost_read, fromhost_write, .min_size = 4,
                                             .max_size = 8};

// ---- the console's back end ----

static size_t chr_can_receive(void *fe)
{
    struct htif *h = fe;
    device_lock(&h->sys.dev);
    size_t room = !h->has_char;
    device_unlock(&h->sys.dev);
    return room;
}

static void chr_receive(void *fe, const uint8_t *p, size_t n)
{
    struct htif *h = fe;
    device_lock(&h->sys.dev);
    h->input = *p;
    h->has_char = true;
    give_char(h);
    device_unlock(&h->sys.dev);
}

static const struct chr_frontend_ops chr_ops = {.can_receive = chr_can_receive,
                                                .receive = chr_receive};

// ---- the device ----

void htif_on_exit(struct device *d, void (*fn)(void *opaque), void *opaque)
{
    of(d)->on_exit = fn;
    of(d)->opaque = opaque;
}

static int htif_init(struct device *d, struct err *e)
{
    struct htif *h = of(d);
    sys_add_window(&h->sys, "htif-tohost", 8, &tohost_ops, h);
    sys_add_window(&h->sys, "htif-fromhost", 8, &fromhost_ops, h);
    loop_work_init(&h->later, d->env->loop, serve_later, h);
    if (h->chardev) {
        h->fe = chr_attach(h->chardev, &chr_ops, h, e);
        if (!h->fe)
            return -1;
    }
    return 0;
}

static void htif_exit(struct device *d)
{
    struct htif *h = of(d);
    loop_work_cancel(&h->later);
    if (h->fe)
        chr_detach(h->fe);
}

#define STATE(member_, kind_)                                                                      \
    FIELD(struct htif, member_, .kind = (kind_), .use = FIELD_STATE | FIELD_RESET)
static const struct field htif_fields[] = {
    FIELD(struct htif, chardev, .kind = F_BACKEND_CHR, .use = FIELD_PROP,
          .help = "character back end"),
    STATE(tohost, F_U64),
    STATE(fromhost, F_U64),
    STATE(wants_char, F_BOOL),
    STATE(has_char, F_BOOL),
    STATE(input, F_U8),
    {0},
};

const struct device_type htif_type = {
    .name = "riscv.htif",
    .desc = "RISC-V host-target interface",
    .category = "Input devices",
    .size = sizeof(struct htif),
    .fields = htif_fields,
    .base = &sys_device_base,
    .init = htif_init,
    .exit = htif_exit,
};
