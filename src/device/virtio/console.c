// Virtio console (virtio 1.2, section 5.3): a bus of up to 31 ports, each a byte stream to a
// character back end. virtconsole is a terminal (hvc0 in Linux), virtserialport a named channel
// (/dev/virtio-ports/NAME). Port 0 is for the first console.
#include "device/virtio/console.h"

#include "base/bits.h"
#include "base/buf.h"
#include "chardev/chardev.h"
#include "device/virtio/pci.h"
#include "device/virtio/virtio.h"

#include <stdlib.h>

enum { CONSOLE_F_SIZE = 0, CONSOLE_F_MULTIPORT = 1, CONSOLE_F_EMERG_WRITE = 2 };
enum { CFG_COLS = 0, CFG_ROWS = 2, CFG_PORTS = 4, CFG_EMERG = 8, CFG_SIZE = 12 };
enum {
    DEVICE_READY = 0,
    PORT_ADD = 1,
    PORT_REMOVE = 2,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    RESIZE = 5,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};
enum { Q_CTRL_IN = 2, Q_CTRL_OUT = 3 };

#define PORTS     31
#define RX_BUFFER 4096
#define NAME_MAX_ 64
#define MESSAGES  256 // control messages waiting for buffers of the driver
#define RUN_BYTES (256 * KiB)
#define TX_PIECE  4096u
#define RING      128
#define CTRL_RING 32

struct message {
    uint32_t port;
    uint16_t event, value;
    uint16_t len; // of `more`
    uint8_t more[NAME_MAX_];
};

struct virtio_serial {
    struct virtio_device v;
    struct bus *bus;
    uint32_t max_ports;
    bool emergency_write;
    uint16_t cols, rows;
    struct port *ports[PORTS];
    bool driver_ready;
    struct message messages[MESSAGES]; // a ring
    uint16_t msg_head, msg_count;
    struct vq_chain chain, ctrl, rx; // driver to us, messages, back end to driver
};

struct port {
    struct device dev;
    struct virtio_serial *s;
    struct chardev *chardev;
    char *name;
    uint32_t nr;
    struct chr_frontend *fe;
    bool is_console, guest_open, host_open;
    uint64_t tx_done; // bytes of the chain at the head of the transmit queue that are written
    uint16_t rx_len;
    uint8_t rx[RX_BUFFER];
    struct loop_work accept;
};

static struct virtio_serial *of(struct virtio_device *v)
{
    return container_of(v, struct virtio_serial, v);
}

static unsigned rx_queue(const struct port *p)
{
    return p->nr ? 2 + 2 * p->nr : 0;
}

static bool multiport(const struct virtio_serial *s)
{
    return virtio_has(&s->v, CONSOLE_F_MULTIPORT);
}

static bool usable(const struct port *p)
{
    return virtio_running(&p->s->v) && (multiport(p->s) ? p->guest_open : !p->nr);
}

// --- control messages to the driver ---

static void flush_messages(struct virtio_serial *s)
{
    struct virtqueue *q = &s->v.queues[Q_CTRL_IN];
    if (!multiport(s) || s->v.n_queues <= Q_CTRL_IN)
        return;
    while (s->msg_count && vq_pop(q, &s->ctrl) > 0) {
        struct message *m = &s->messages[s->msg_head];
        uint8_t raw[8 + NAME_MAX_];
        st_le32(raw, m->port);
        st_le16(raw + 4, m->event);
        st_le16(raw + 6, m->value);
        memcpy(raw + 8, m->more, m->len);
        int64_t put = vq_write(q, &s->ctrl, 0, raw, 8 + m->len);
        if (put < 0)
            return;
        vq_push(q, vq_token(&s->ctrl), put);
        s->msg_head = (s->msg_head + 1) % MESSAGES;
        s->msg_count--;
    }
    vq_notify(q);
}

static void tell(struct virtio_serial *s, uint32_t port, uint16_t event, uint16_t value,
                 const void *more, size_t len)
{
    if (!virtio_running(&s->v) || !s->driver_ready || !multiport(s))
        return;
    if (s->msg_count == MESSAGES) {
        log_guest("virtio-serial control", "virtio-serial: the driver reads no control messages");
        return;
    }
    struct message *m = &s->messages[(s->msg_head + s->msg_count++) % MESSAGES];
    *m = (struct message){.port = port, .event = event, .value = value};
    m->len = MIN(len, sizeof m->more);
    if (m->len)
        memcpy(m->more, more, m->len);
    flush_messages(s);
}

static void tell_size(struct virtio_serial *s, uint32_t port)
{
    uint8_t size[4];
    st_le16(size, s->rows); // rows first, as Linux reads it; section 5.3.6.2 has columns first
    st_le16(size + 2, s->cols);
    if (s->cols && virtio_has(&s->v, CONSOLE_F_SIZE))
        tell(s, port, RESIZE, 0, size, sizeof size);
}

static void introduce(struct port *p)
{
    struct virtio_serial *s = p->s;
    if (p->is_console) {
        tell(s, p->nr, CONSOLE_PORT, 1, NULL, 0);
        tell_size(s, p->nr);
    }
    if (p->name)
        tell(s, p->nr, PORT_NAME, 1, p->name, strlen(p->name));
    if (p->host_open)
        tell(s, p->nr, PORT_OPEN, 1, NULL, 0);
}

// --- from the back end to the guest ---

static void flush_rx(struct port *p)
{
    struct virtqueue *q = &p->s->v.queues[rx_queue(p)];
    struct vq_chain *c = &p->s->rx;
    unsigned done = 0;
    while (done < p->rx_len && usable(p) && vq_pop(q, c) > 0) {
        int64_t put = vq_write(q, c, 0, p->rx + done, p->rx_len - done);
        if (put < 0)
            break;
        vq_push(q, vq_token(c), put);
        done += put;
    }
    if (!done)
        return;
    vq_notify(q);
    p->rx_len -= done;
    memmove(p->rx, p->rx + done, p->rx_len);
    loop_defer(&p->accept);
}

static size_t can_receive(void *fe)
{
    struct port *p = fe;
    device_lock(&p->dev);
    size_t n = usable(p) ? RX_BUFFER - p->rx_len : 0;
    device_unlock(&p->dev);
    return n;
}

static void receive(void *fe, const uint8_t *data, size_t n)
{
    struct port *p = fe;
    device_lock(&p->dev);
    n = MIN(n, (size_t)RX_BUFFER - p->rx_len);
    memcpy(p->rx + p->rx_len, data, n);
    p->rx_len += n;
    flush_rx(p);
    device_unlock(&p->dev);
}

static void accept_input(void *opaque)
{
    struct port *p = opaque;
    if (p->fe)
        chr_accept_input(p->fe);
}

static void host_event(void *fe, enum chr_event ev)
{
    struct port *p = fe;
    if (p->is_console || (ev != CHR_OPENED && ev != CHR_CLOSED))
        return;
    device_lock(&p->dev);
    bool open = ev == CHR_OPENED;
    if (open != p->host_open) {
        p->host_open = open;
        tell(p->s, p->nr, PORT_OPEN, open, NULL, 0);
    }
    device_unlock(&p->dev);
}

static void can_write(void *fe)
{
    struct port *p = fe;
    virtio_kick(&p->s->v, rx_queue(p) + 1);
}

static const struct chr_frontend_ops frontend = {
    .can_receive = can_receive,
    .receive = receive,
    .event = host_event,
    .can_write = can_write,
};

// --- from the guest to the back end ---

// Writes the rest of the chain; false when the back end is full.
static bool write_chain(struct port *p, struct virtqueue *q)
{
    const struct vq_chain *c = &p->s->chain;
    uint8_t data[TX_PIECE];
    while (p->tx_done < c->out_len) {
        int64_t n = vq_read(q, c, p->tx_done, data, sizeof data);
        if (n <= 0)
            break;
        size_t taken = p->fe ? chr_write(p->fe, data, n) : (size_t)n;
        p->tx_done += taken;
        if (taken < (size_t)n)
            return false;
    }
    p->tx_done = 0;
    return true;
}

static bool run_tx(struct port *p, struct virtqueue *q)
{
    uint64_t bytes = 0;
    while (bytes < RUN_BYTES && vq_pop(q, &p->s->chain) > 0) {
        if (!write_chain(p, q)) {
            if (virtio_running(&p->s->v))
                vq_unpop(q, &p->s->chain);
            vq_notify(q);
            return false;
        }
        bytes += p->s->chain.out_len + 64;
        vq_push(q, vq_token(&p->s->chain), 0);
    }
    vq_notify(q);
    return bytes >= RUN_BYTES;
}

// --- control messages from the driver ---

static void set_guest_open(struct port *p, bool open)
{
    if (p->guest_open == open)
        return;
    p->guest_open = open;
    loop_defer(&p->accept);
    struct machine_env *env = p->dev.env;
    if (!env->event || !p->dev.id || p->is_console)
        return;
    struct buf data = {0};
    buf_printf(&data, "{\"open\": %s, \"id\": ", open ? "true" : "false");
    buf_json_string(&data, p->dev.id);
    buf_printf(&data, "}");
    env->event(env->opaque, "VSERPORT_CHANGE", buf_str(&data));
    buf_free(&data);
}

static void control(struct virtio_serial *s, uint32_t nr, uint16_t event, uint16_t value)
{
    if (event == DEVICE_READY) {
        s->driver_ready = value;
        for (unsigned i = 0; value && i < s->max_ports; i++)
            if (s->ports[i])
                tell(s, i, PORT_ADD, 1, NULL, 0);
        return;
    }
    struct port *p = nr < s->max_ports ? s->ports[nr] : NULL;
    if (!p) {
        log_guest("virtio-serial control",
                  "virtio-serial: control message for port %u, which is "
                  "not there",
                  nr);
        return;
    }
    if (event == PORT_READY && value)
        introduce(p);
    else if (event == PORT_OPEN)
        set_guest_open(p, value);
}

static bool run_control(struct virtio_serial *s, struct virtqueue *q)
{
    unsigned i = 0;
    for (; i < VIRTIO_RUN_BUDGET && vq_pop(q, &s->chain) > 0; i++) {
        uint8_t raw[8];
        struct vq_token t = vq_token(&s->chain);
        int64_t got = vq_read(q, &s->chain, 0, raw, sizeof raw);
        if (got < 0)
            break;
        if (got == sizeof raw)
            control(s, ld_le32(raw), ld_le16(raw + 4), ld_le16(raw + 6));
        vq_push(q, t, 0);
    }
    vq_notify(q);
    return i == VIRTIO_RUN_BUDGET;
}

static bool run(struct virtio_device *v, unsigned queue)
{
    struct virtio_serial *s = of(v);
    struct virtqueue *q = &v->queues[queue];
    if (queue == Q_CTRL_IN) {
        flush_messages(s);
        return false;
    }
    if (queue == Q_CTRL_OUT)
        return run_control(s, q);
    struct port *p = s->ports[queue < 2 ? 0 : queue / 2 - 1];
    if (queue & 1) {
        if (p)
            return run_tx(p, q);
        log_guest("virtio-serial port", "virtio-serial: data for a port that is not there");
        return false;
    }
    if (p) {
        flush_rx(p);
        loop_defer(&p->accept);
    }
    return false;
}

// --- the device ---

static uint64_t features(struct virtio_device *v)
{
    struct virtio_serial *s = of(v);
    return VIRTIO_BIT(CONSOLE_F_SIZE) | VIRTIO_BIT(CONSOLE_F_MULTIPORT) |
           (s->emergency_write ? VIRTIO_BIT(CONSOLE_F_EMERG_WRITE) : 0);
}

static void read_config(struct virtio_device *v, uint8_t *cfg)
{
    struct virtio_serial *s = of(v);
    st_le16(cfg + CFG_COLS, s->cols);
    st_le16(cfg + CFG_ROWS, s->rows);
    st_le32(cfg + CFG_PORTS, s->max_ports);
}

static void write_config(struct virtio_device *v, const uint8_t *cfg, unsigned off, unsigned len)
{
    struct port *p = of(v)->ports[0];
    if (of(v)->emergency_write && off <= CFG_EMERG && off + len > CFG_EMERG && p && p->fe)
        chr_write_all(p->fe, cfg + CFG_EMERG, 1);
}

static void reset(struct virtio_device *v)
{
    struct virtio_serial *s = of(v);
    s->driver_ready = false;
    s->msg_head = s->msg_count = 0;
    for (unsigned i = 0; i < PORTS; i++) {
        if (!s->ports[i])
            continue;
        s->ports[i]->tx_done = s->ports[i]->rx_len = 0;
        set_guest_open(s->ports[i], false);
    }
}

static void ready(struct virtio_device *v)
{
    struct virtio_serial *s = of(v);
    if (!multiport(s) && s->ports[0])
        loop_defer(&s->ports[0]->accept);
}

static const struct bus_type serial_bus_type;

static unsigned count_buses(const struct device_tree *t)
{
    unsigned n = 0;
    struct bus *b;
    list_for_each(b, &t->buses, link) n += b->type == &serial_bus_type;
    return n;
}

static int serial_init(struct device *d, struct err *e)
{
    struct virtio_serial *s = container_of(d, struct virtio_serial, v.dev);
    const char *id = d->host && d->host->id ? d->host->id : d->id;
    char *name =
        id ? xasprintf("%s.0", id) : xasprintf("virtio-serial-bus.%u", count_buses(d->tree));
    s->bus = bus_new(d->tree, &serial_bus_type, name, d);
    free(name);
    for (unsigned i = 0; i < 2 + 2 * s->max_ports; i++)
        virtio_add_queue(&s->v, i == Q_CTRL_IN || i == Q_CTRL_OUT ? CTRL_RING : RING);
    return 0;
}

static const struct field message_fields[] = {
    FIELD(struct message, port, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct message, event, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct message, value, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct message, len, .kind = F_U16, .use = FIELD_STATE, .max = NAME_MAX_),
    FIELD(struct message, more, .kind = F_BYTES, .use = FIELD_STATE, .len = NAME_MAX_),
    {0},
};

static const struct field serial_fields[] = {
    FIELD(struct virtio_serial, max_ports, .kind = F_U32, .use = FIELD_PROP, .init = PORTS,
          .min = 1, .max = PORTS),
    FIELD(struct virtio_serial, emergency_write, .name = "emergency-write", .kind = F_BOOL,
          .use = FIELD_PROP, .init = true),
    FIELD(struct virtio_serial, driver_ready, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtio_serial, messages, .kind = F_STRUCT, .use = FIELD_STATE, .len = MESSAGES,
          .sub = message_fields, .stride = sizeof(struct message)),
    FIELD(struct virtio_serial, msg_head, .kind = F_U16, .use = FIELD_STATE, .max = MESSAGES - 1),
    FIELD(struct virtio_serial, msg_count, .kind = F_U16, .use = FIELD_STATE, .max = MESSAGES),
    {0},
};

static const struct virtio_type console = {
    .id = VIRTIO_ID_CONSOLE,
    .config_size = CFG_SIZE,
    .pci_class = 0x0780,
    .vectors = 2,
    .features = features,
    .read_config = read_config,
    .write_config = write_config,
    .run = run,
    .ready = ready,
    .reset = reset,
};

const struct device_type virtio_serial_device_type = {
    .name = "virtio-serial-device",
    .bus = "virtio-bus",
    .category = "Input",
    .size = sizeof(struct virtio_serial),
    .fields = serial_fields,
    .base = &virtio_device_base,
    .user_creatable = true,
    .init = serial_init,
    .class_data = &console,
};

// --- ports ---

static int port_plug(struct bus *b, struct device *d, struct err *e)
{
    struct port *p = container_of(d, struct port, dev);
    struct virtio_serial *s = container_of(b->owner, struct virtio_serial, v.dev);
    p->s = s;
    p->is_console = d->type == &virtconsole_type;
    uint32_t nr = p->nr;
    if (nr == UINT32_MAX) // port 0 is kept for a console
        for (nr = p->is_console ? 0 : 1; nr < s->max_ports && s->ports[nr]; nr++)
            continue;
    if (nr >= s->max_ports)
        return err_set(e, "%s: bus '%s' has no free port (max_ports is %u)", d->type->name, b->name,
                       s->max_ports);
    if (s->ports[nr])
        return err_set(e, "%s: port %u of bus '%s' is taken", d->type->name, nr, b->name);
    if (!nr && !p->is_console)
        return err_set(e, "%s: port 0 of bus '%s' is for a virtconsole; leave nr out",
                       d->type->name, b->name);
    p->nr = nr;
    d->host = b->owner;
    return 0;
}

static const struct bus_type serial_bus_type = {.name = "virtio-serial-bus", .plug = port_plug};

static int port_init(struct device *d, struct err *e)
{
    struct port *p = container_of(d, struct port, dev);
    if (p->name && strlen(p->name) >= NAME_MAX_)
        return err_set(e, "%s: name is longer than %u bytes", d->type->name, NAME_MAX_ - 1);
    loop_work_init(&p->accept, d->env->loop, accept_input, p);
    if (p->chardev) {
        p->fe = chr_attach(p->chardev, &frontend, p, e);
        if (!p->fe)
            return -1;
    }
    device_lock(d);
    p->host_open = p->is_console || (p->fe && chr_frontend_open(p->fe));
    p->s->ports[p->nr] = p;
    tell(p->s, p->nr, PORT_ADD, 1, NULL, 0);
    device_unlock(d);
    return 0;
}

static void port_exit(struct device *d)
{
    struct port *p = container_of(d, struct port, dev);
    device_lock(d);
    p->s->ports[p->nr] = NULL;
    tell(p->s, p->nr, PORT_REMOVE, 1, NULL, 0);
    device_unlock(d);
    if (p->fe)
        chr_detach(p->fe);
    loop_work_cancel(&p->accept);
}

void virtio_console_resize(struct device *d, uint16_t cols, uint16_t rows)
{
    if (d->type != &virtconsole_type)
        return;
    struct port *p = container_of(d, struct port, dev);
    device_lock(d);
    p->s->cols = cols;
    p->s->rows = rows;
    tell_size(p->s, p->nr);
    if (!multiport(p->s))
        virtio_config_changed(&p->s->v);
    device_unlock(d);
}

static const struct field port_fields[] = {
    FIELD(struct port, chardev, .kind = F_BACKEND_CHR, .use = FIELD_PROP),
    FIELD(struct port, name, .kind = F_STR, .use = FIELD_PROP),
    FIELD(struct port, nr, .kind = F_U32, .use = FIELD_PROP, .init = UINT32_MAX, .max = PORTS - 1),
    FIELD(struct port, guest_open, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct port, tx_done, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct port, rx_len, .kind = F_U16, .use = FIELD_STATE, .max = RX_BUFFER),
    FIELD(struct port, rx, .kind = F_BYTES, .use = FIELD_STATE, .len = RX_BUFFER),
    {0},
};

const struct device_type virtconsole_type = {
    .name = "virtconsole",
    .bus = "virtio-serial-bus",
    .category = "Input",
    .size = sizeof(struct port),
    .fields = port_fields,
    .user_creatable = true,
    .init = port_init,
    .exit = port_exit,
};

const struct device_type virtserialport_type = {
    .name = "virtserialport",
    .bus = "virtio-serial-bus",
    .category = "Input",
    .size = sizeof(struct port),
    .fields = port_fields,
    .user_creatable = true,
    .init = port_init,
    .exit = port_exit,
};
