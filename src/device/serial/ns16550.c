// 16550 UART as in PCs and on many boards (National Semiconductor PC16550D data sheet, June 1995):
// data path to a character back end, 16-byte FIFOs with trigger levels and time-out, the interrupt
// priorities of IIR, break, modem control with loop-back. The line is ideal: a character leaves as
// soon as the back end takes it, at any divisor, none arrives with a parity or framing error, and
// CTS, DSR and DCD are asserted. Not modelled: DMA signalling (RXRDY, TXRDY) and sending a break.
#include "device/serial/ns16550.h"
#include "chardev/chardev.h"

enum { FIFO_DEPTH = 16 };
enum { R_DATA, R_IER, R_IIR_FCR, R_LCR, R_MCR, R_LSR, R_MSR, R_SCR };
enum {
    IER_RX = 1 << 0,
    IER_THRE = 1 << 1,
    IER_LINE = 1 << 2,
    IER_MODEM = 1 << 3,
    IIR_NONE = 1,
    IIR_MODEM = 0,
    IIR_THRE = 2,
    IIR_RX = 4,
    IIR_LINE = 6,
    IIR_TIMEOUT = 0xc,
    IIR_FIFO = 0xc0,
    FCR_ENABLE = 1 << 0,
    FCR_CLEAR_RX = 1 << 1,
    FCR_CLEAR_TX = 1 << 2,
    LCR_DLAB = 1 << 7,
    MCR_DTR = 1 << 0,
    MCR_RTS = 1 << 1,
    MCR_OUT1 = 1 << 2,
    MCR_OUT2 = 1 << 3,
    MCR_LOOP = 1 << 4,
    LSR_READY = 1 << 0,
    LSR_OVERRUN = 1 << 1,
    LSR_BREAK = 1 << 4,
    LSR_THRE = 1 << 5,
    LSR_IDLE = 1 << 6,
    LSR_FIFO_ERROR = 1 << 7,
    MSR_CTS = 1 << 4,
    MSR_DSR = 1 << 5,
    MSR_RI = 1 << 6,
    MSR_DCD = 1 << 7,
    BREAK = 1 << 8, // in the receive FIFO: this character is a break
};

struct ns16550 {
    struct sys_device sys;
    struct irq irq;
    struct chardev *chardev;
    struct chr_frontend *fe;
    struct loop_timer rx_timeout;
    uint32_t divisor;
    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr;          // the error bits alone; the rest follows from the FIFOs
    uint8_t modem, delta; // MSR: inputs, and those that changed
    bool thre_pending, timed_out;
    uint16_t rx[FIFO_DEPTH];
    uint32_t rx_pos, rx_len;
    uint8_t tx[FIFO_DEPTH]; // what the back end has not taken yet
    uint32_t tx_len;
};

static uint32_t depth(const struct ns16550 *s)
{
    return s->fcr & FCR_ENABLE ? FIFO_DEPTH : 1;
}

static uint32_t trigger(const struct ns16550 *s)
{
    static const uint8_t level[4] = {1, 4, 8, 14};
    return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

static uint8_t line_status(const struct ns16550 *s)
{
    uint8_t v = s->lsr;
    if (s->rx_len)
        v |= LSR_READY;
    if (s->rx_len && s->rx[s->rx_pos] & BREAK)
        v |= LSR_BREAK;
    if (!s->tx_len)
        v |= LSR_THRE | LSR_IDLE;
    return v;
}

// The interrupt of the highest priority (table III of the data sheet).
static uint8_t pending(const struct ns16550 *s)
{
    if (s->ier & IER_LINE && line_status(s) & (LSR_OVERRUN | LSR_BREAK))
        return IIR_LINE;
    if (s->ier & IER_RX && s->timed_out)
        return IIR_TIMEOUT;
    if (s->ier & IER_RX && s->rx_len >= trigger(s))
        return IIR_RX;
    if (s->ier & IER_THRE && s->thre_pending)
        return IIR_THRE;
    if (s->ier & IER_MODEM && s->delta)
        return IIR_MODEM;
    return IIR_NONE;
}

static void update(struct ns16550 *s)
{
    irq_set(&s->irq, pending(s) != IIR_NONE);
}

// Four character times of silence (at 10 bits a character and a 1.8432 MHz clock).
static int64_t timeout_ns(const struct ns16550 *s)
{
    return (int64_t)MAX(s->divisor, 1u) * 16 * 40 * 1000000000 / 1843200;
}

static void rx_push(struct ns16550 *s, uint16_t c)
{
    if (s->rx_len >= depth(s)) {
        s->lsr |= LSR_OVERRUN;
        return;
    }
    s->rx[(s->rx_pos + s->rx_len++) % FIFO_DEPTH] = c;
    s->timed_out = false;
    if (s->fcr & FCR_ENABLE && s->rx_len < trigger(s))
        loop_timer_set(&s->rx_timeout, clock_now(s->sys.dev.env->clock) + timeout_ns(s));
}

static void rx_timed_out(void *opaque)
{
    struct ns16550 *s = opaque;
    device_lock(&s->sys.dev);
    s->timed_out = s->rx_len > 0;
    update(s);
    device_unlock(&s->sys.dev);
}

static void rx_clear(struct ns16550 *s)
{
    s->rx_pos = s->rx_len = 0;
    s->timed_out = false;
    loop_timer_cancel(&s->rx_timeout);
}

// Hand on what waits to be sent; the holding register's interrupt rises when all is gone.
static void tx_drain(struct ns16550 *s)
{
    if (!s->tx_len)
        return;
    size_t n = s->fe ? chr_write(s->fe, s->tx, s->tx_len) : s->tx_len;
    n = MIN(n, (size_t)s->tx_len);
    memmove(s->tx, s->tx + n, s->tx_len - n);
    s->tx_len -= (uint32_t)n;
    if (!s->tx_len)
        s->thre_pending = true;
}

static uint8_t data_read(struct ns16550 *s)
{
    if (!s->rx_len)
        return 0;
    uint8_t c = (uint8_t)s->rx[s->rx_pos];
    s->rx_pos = (s->rx_pos + 1) % FIFO_DEPTH;
    s->rx_len--;
    s->timed_out = false;
    if (!s->rx_len)
        loop_timer_cancel(&s->rx_timeout);
    else if (s->fcr & FCR_ENABLE)
        loop_timer_set(&s->rx_timeout, clock_now(s->sys.dev.env->clock) + timeout_ns(s));
    if (s->fe)
        chr_accept_input(s->fe);
    return c;
}

static void data_write(struct ns16550 *s, uint8_t c)
{
    s->thre_pending = false;
    if (s->mcr & MCR_LOOP) {
        rx_push(s, c);
        s->thre_pending = true;
    } else if (s->tx_len < depth(s)) {
        s->tx[s->tx_len++] = c;
        tx_drain(s);
    } else {
        log_guest("ns16550 overflow", "ns16550: a character was written to the full FIFO");
    }
}

// What the modem inputs are now: the four outputs in loop-back, else a terminal that is always on.
static void modem_update(struct ns16550 *s)
{
    uint8_t in = MSR_CTS | MSR_DSR | MSR_DCD;
    if (s->mcr & MCR_LOOP)
        in = (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
             (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
    uint8_t changed = (in ^ s->modem) >> 4;
    if (changed & MSR_RI >> 4 && in & MSR_RI) // RI counts at its trailing edge
        changed &= ~(MSR_RI >> 4);
    s->delta |= changed;
    s->modem = in;
}

static void fcr_write(struct ns16550 *s, uint8_t v)
{
    if ((v ^ s->fcr) & FCR_ENABLE)
        v |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (v & FCR_CLEAR_RX)
        rx_clear(s);
    if (v & FCR_CLEAR_TX && s->tx_len) {
        s->tx_len = 0;
        s->thre_pending = true;
    }
    s->fcr = v & (FCR_ENABLE | IIR_FIFO);
    if (s->fe)
        chr_accept_input(s->fe);
}

static uint8_t iir_read(struct ns16550 *s)
{
    uint8_t v = pending(s);
    if (v == IIR_THRE)
        s->thre_pending = false;
    return v | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_register(struct ns16550 *s, unsigned r)
{
    uint8_t v;
    switch (r) {
    case R_DATA:
        return s->lcr & LCR_DLAB ? (uint8_t)s->divisor : data_read(s);
    case R_IER:
        return s->lcr & LCR_DLAB ? (uint8_t)(s->divisor >> 8) : s->ier;
    case R_IIR_FCR:
        return iir_read(s);
    case R_LCR:
        return s->lcr;
    case R_MCR:
        return s->mcr;
    case R_LSR:
        v = line_status(s);
        s->lsr = 0;
        if (s->rx_len)
            s->rx[s->rx_pos] &= 0xff;
        return v;
    case R_MSR:
        v = s->modem | s->delta;
        s->delta = 0;
        return v;
    default:
        return s->scr;
    }
}

static void write_register(struct ns16550 *s, unsigned r, uint8_t v)
{
    switch (r) {
    case R_DATA:
        if (s->lcr & LCR_DLAB)
            s->divisor = (s->divisor & 0xff00) | v;
        else
            data_write(s, v);
        break;
    case R_IER:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (s->divisor & 0xff) | (uint32_t)v << 8;
            break;
        }
        if (v & ~s->ier & IER_THRE && !s->tx_len) // enabling it while empty raises it
            s->thre_pending = true;
        s->ier = v & 0xf;
        break;
    case R_IIR_FCR:
        fcr_write(s, v);
        break;
    case R_LCR:
        s->lcr = v;
        break;
    case R_MCR:
        s->mcr = v & 0x1f;
        modem_update(s);
        break;
    case R_SCR:
        s->scr = v;
        break;
    default: // LSR is for factory tests, MSR is read-only
        log_guest("ns16550 read-only", "ns16550: write of register %u", r);
    }
}

static enum mem_result uart_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    *val = read_register(opaque, (unsigned)off & 7);
    update(opaque);
    return MEM_OK;
}

static enum mem_result uart_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    write_register(opaque, (unsigned)off & 7, (uint8_t)val);
    update(opaque);
    return MEM_OK;
}

static const struct mmio_ops uart_ops = {.read = uart_read, .write = uart_write, .max_size = 1};

static size_t chr_can_receive(void *fe)
{
    struct ns16550 *s = fe;
    device_lock(&s->sys.dev);
    size_t room = s->rx_len < depth(s) ? depth(s) - s->rx_len : 0;
    device_unlock(&s->sys.dev);
    return room;
}

static void chr_receive(void *fe, const uint8_t *p, size_t n)
{
    struct ns16550 *s = fe;
    device_lock(&s->sys.dev);
    if (!(s->mcr & MCR_LOOP))
        for (size_t i = 0; i < n; i++)
            rx_push(s, p[i]);
    update(s);
    device_unlock(&s->sys.dev);
}

static void chr_event(void *fe, enum chr_event ev)
{
    struct ns16550 *s = fe;
    if (ev != CHR_BREAK)
        return;
    device_lock(&s->sys.dev);
    if (!(s->mcr & MCR_LOOP))
        rx_push(s, BREAK);
    update(s);
    device_unlock(&s->sys.dev);
}

static void chr_can_write(void *fe)
{
    struct ns16550 *s = fe;
    device_lock(&s->sys.dev);
    tx_drain(s);
    update(s);
    device_unlock(&s->sys.dev);
}

static const struct chr_frontend_ops chr_ops = {
    .can_receive = chr_can_receive,
    .receive = chr_receive,
    .event = chr_event,
    .can_write = chr_can_write,
};

static struct ns16550 *of(struct device *d)
{
    return container_of(d, struct ns16550, sys.dev);
}

static int init(struct device *d, struct err *e)
{
    struct ns16550 *s = of(d);
    sys_add_window(&s->sys, "ns16550", NS16550_SIZE, &uart_ops, s);
    sys_add_irq(&s->sys, &s->irq);
    loop_timer_init(&s->rx_timeout, d->env->loop, d->env->clock, rx_timed_out, s);
    if (s->chardev) {
        s->fe = chr_attach(s->chardev, &chr_ops, s, e);
        if (!s->fe)
            return -1;
    }
    return 0;
}

static void reset(struct device *d)
{
    loop_timer_cancel(&of(d)->rx_timeout);
    update(of(d));
}

static void leave(struct device *d)
{
    loop_timer_cancel(&of(d)->rx_timeout);
    if (of(d)->fe)
        chr_detach(of(d)->fe);
}

static int post_load(struct device *d, struct err *e)
{
    update(of(d));
    if (of(d)->rx_len)
        loop_timer_set(&of(d)->rx_timeout, clock_now(d->env->clock) + timeout_ns(of(d)));
    return 0;
}

#define STATE(member_, kind_, init_, ...)                                                          \
    FIELD(struct ns16550, member_, .kind = (kind_), .use = FIELD_STATE | FIELD_RESET,              \
          .init = (init_), __VA_ARGS__)
static const struct field fields[] = {
    FIELD(struct ns16550, chardev, .kind = F_BACKEND_CHR, .use = FIELD_PROP,
          .help = "character back end"),
    STATE(divisor, F_U32, 12, .max = 0xffff),
    STATE(ier, F_U8, 0),
    STATE(fcr, F_U8, 0),
    STATE(lcr, F_U8, 0),
    STATE(mcr, F_U8, 0),
    STATE(scr, F_U8, 0),
    STATE(lsr, F_U8, 0),
    STATE(modem, F_U8, MSR_CTS | MSR_DSR | MSR_DCD),
    STATE(delta, F_U8, 0),
    STATE(thre_pending, F_BOOL, 0),
    STATE(timed_out, F_BOOL, 0),
    STATE(rx, F_U16A, 0, .len = FIFO_DEPTH),
    STATE(rx_pos, F_U32, 0, .max = FIFO_DEPTH - 1),
    STATE(rx_len, F_U32, 0, .max = FIFO_DEPTH),
    STATE(tx, F_BYTES, 0, .len = FIFO_DEPTH),
    STATE(tx_len, F_U32, 0, .max = FIFO_DEPTH),
    {0},
};

const struct device_type ns16550_type = {
    .name = "ns16550",
    .desc = "16550 UART",
    .category = "Input devices",
    .size = sizeof(struct ns16550),
    .fields = fields,
    .base = &sys_device_base,
    .init = init,
    .reset = reset,
    .exit = leave,
    .post_load = post_load,
};
