// 16550 UART as in PCs and on many boards (National Semiconductor PC16550D data sheet, June 1995):
// data path to a character back end, 16-byte FIFOs with trigger levels and time-out, the interrupt
// priorities of IIR, break, modem control with loop-back. A character leaves at once at any
// divisor, none arrives with a parity or framing error, and CTS, DSR and DCD are asserted. Not
// modelled: DMA signalling (RXRDY, TXRDY) and sending a break.
#include "device/serial/ns16550.h"
#include "device/serial/uart.h"

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
};

struct ns16550 {
    struct uart uart;
    uint32_t divisor;
    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr;          // the error bits alone; the rest follows from the FIFOs
    uint8_t modem, delta; // MSR: inputs, and those that changed
    bool thre_pending, timed_out;
};

static struct ns16550 *of(const struct uart *u)
{
    return container_of(u, struct ns16550, uart);
}

static uint32_t depth(const struct uart *u)
{
    return of(u)->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static uint32_t trigger(const struct ns16550 *s)
{
    static const uint8_t level[4] = {1, 4, 8, 14};
    return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

static uint8_t line_status(const struct ns16550 *s)
{
    uint8_t v = s->lsr;
    if (s->uart.rx_len)
        v |= LSR_READY;
    if (s->uart.rx_len && s->uart.rx[s->uart.rx_pos] & UART_BREAK)
        v |= LSR_BREAK;
    if (!s->uart.tx_len)
        v |= LSR_THRE | LSR_IDLE;
    return v;
}

// The interrupt of the highest priority (table III of the data sheet).
static uint8_t highest(const struct ns16550 *s)
{
    if (s->ier & IER_LINE && line_status(s) & (LSR_OVERRUN | LSR_BREAK))
        return IIR_LINE;
    if (s->ier & IER_RX && s->timed_out)
        return IIR_TIMEOUT;
    if (s->ier & IER_RX && s->uart.rx_len >= trigger(s))
        return IIR_RX;
    if (s->ier & IER_THRE && s->thre_pending)
        return IIR_THRE;
    if (s->ier & IER_MODEM && s->delta)
        return IIR_MODEM;
    return IIR_NONE;
}

static bool pending(const struct uart *u)
{
    return highest(of(u)) != IIR_NONE;
}

static bool accepts(const struct uart *u)
{
    return true;
}

static bool loops(const struct uart *u)
{
    return of(u)->mcr & MCR_LOOP;
}

// Four character times of silence (at 10 bits a character and a 1.8432 MHz clock).
static int64_t silence_ns(const struct uart *u)
{
    if (!(of(u)->fcr & FCR_ENABLE))
        return 0;
    return (int64_t)MAX(of(u)->divisor, 1u) * 16 * 40 * 1000000000 / 1843200;
}

static void received(struct uart *u)
{
    of(u)->timed_out = false;
}

static void overrun(struct uart *u)
{
    of(u)->lsr |= LSR_OVERRUN;
}

static void silent(struct uart *u)
{
    of(u)->timed_out = u->rx_len < trigger(of(u));
}

// The holding register's interrupt rises when all is gone.
static void sent(struct uart *u)
{
    if (!u->tx_len)
        of(u)->thre_pending = true;
}

static const struct uart_model model = {
    .depth = depth,
    .accepts = accepts,
    .loops = loops,
    .silence_ns = silence_ns,
    .received = received,
    .overrun = overrun,
    .sent = sent,
    .silent = silent,
    .pending = pending,
};

static uint8_t data_read(struct ns16550 *s)
{
    if (!s->uart.rx_len)
        return 0;
    uint8_t c = (uint8_t)uart_take(&s->uart);
    s->timed_out = false;
    if (s->uart.rx_len)
        uart_await_silence(&s->uart);
    uart_accept(&s->uart);
    return c;
}

static void data_write(struct ns16550 *s, uint8_t c)
{
    s->thre_pending = false;
    if (s->mcr & MCR_LOOP) {
        uart_receive(&s->uart, c);
        s->thre_pending = true;
    } else if (!uart_send(&s->uart, c)) {
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
    if (v & FCR_CLEAR_RX) {
        uart_clear_receive(&s->uart);
        s->timed_out = false;
    }
    if (v & FCR_CLEAR_TX && s->uart.tx_len) {
        s->uart.tx_len = 0;
        s->thre_pending = true;
    }
    s->fcr = v & (FCR_ENABLE | IIR_FIFO);
    uart_accept(&s->uart);
}

static uint8_t iir_read(struct ns16550 *s)
{
    uint8_t v = highest(s);
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
        if (s->uart.rx_len)
            s->uart.rx[s->uart.rx_pos] &= 0xff;
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
        if (v & ~s->ier & IER_THRE && !s->uart.tx_len) // enabling it while empty raises it
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
    uart_update(opaque);
    return MEM_OK;
}

static enum mem_result uart_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    write_register(opaque, (unsigned)off & 7, (uint8_t)val);
    uart_update(opaque);
    return MEM_OK;
}

static const struct mmio_ops uart_ops = {.read = uart_read, .write = uart_write, .max_size = 1};

static int init(struct device *d, struct err *e)
{
    sys_add_window(container_of(d, struct sys_device, dev), "ns16550", NS16550_SIZE, &uart_ops, d);
    return 0;
}

#define STATE(member_, kind_, init_, ...)                                                          \
    FIELD(struct ns16550, member_, .kind = (kind_), .use = FIELD_STATE | FIELD_RESET,              \
          .init = (init_), __VA_ARGS__)
static const struct field fields[] = {
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
    {0},
};

const struct device_type ns16550_type = {
    .name = "ns16550",
    .desc = "16550 UART",
    .category = "Input devices",
    .size = sizeof(struct ns16550),
    .fields = fields,
    .base = &uart_base,
    .init = init,
    .class_data = &model,
};
