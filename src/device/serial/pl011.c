// Arm PrimeCell UART (PL011), technical reference manual DDI 0183G, revision r1p4 (16-byte FIFOs):
// data path to a character back end, FIFOs and their trigger levels, receive time-out, loop-back,
// interrupts, identification. The line is ideal: a character leaves as soon as the back end takes
// it, none arrives with a parity or framing error, the modem inputs are always asserted. Not
// modelled: DMA requests, IrDA, sending a break.
#include "device/serial/pl011.h"
#include "chardev/chardev.h"
#include "device/core/regbank.h"
#include "base/log.h"

enum { FIFO_DEPTH = 16 };
enum {
    DR_BE = 1 << 10,
    FR_CTS = 1 << 0,
    FR_DSR = 1 << 1,
    FR_DCD = 1 << 2,
    FR_BUSY = 1 << 3,
    FR_RXFE = 1 << 4,
    FR_TXFF = 1 << 5,
    FR_RXFF = 1 << 6,
    FR_TXFE = 1 << 7,
    FR_RI = 1 << 8,
    LCRH_FEN = 1 << 4,
    CR_UARTEN = 1 << 0,
    CR_LBE = 1 << 7,
    CR_TXE = 1 << 8,
    CR_RXE = 1 << 9,
    CR_DTR = 1 << 10,
    CR_RTS = 1 << 11,
    CR_OUT1 = 1 << 12,
    CR_OUT2 = 1 << 13,
    INT_RX = 1 << 4,
    INT_TX = 1 << 5,
    INT_RT = 1 << 6,
    INT_BE = 1 << 9,
    INT_OE = 1 << 10,
    INT_ALL = 0x7ff,
};

struct pl011 {
    struct sys_device sys;
    struct irq irq; // UARTINTR
    struct chardev *chardev;
    struct chr_frontend *fe;
    struct loop_timer rx_timeout;
    uint32_t rsr, ilpr, ibrd, fbrd, lcrh, cr, ifls, imsc, ris, dmacr;
    uint16_t rx[FIFO_DEPTH]; // characters with their error bits, as DR gives them
    uint32_t rx_pos, rx_len;
    uint8_t tx[FIFO_DEPTH]; // what the back end has not taken yet
    uint32_t tx_len;
};

static uint32_t fifo_depth(const struct pl011 *s)
{
    return s->lcrh & LCRH_FEN ? FIFO_DEPTH : 1;
}

// Characters at which a FIFO's interrupt triggers (IFLS: 1/8, 1/4, 1/2, 3/4, 7/8).
static uint32_t fifo_trigger(const struct pl011 *s, unsigned select)
{
    static const uint8_t level[8] = {2, 4, 8, 12, 14, 14, 14, 14};
    return s->lcrh & LCRH_FEN ? level[select & 7] : 1;
}

static void pl011_update(struct pl011 *s)
{
    irq_set(&s->irq, (s->ris & s->imsc) != 0);
}

// 32 bit times: after that much silence a FIFO below its trigger level is reported.
static int64_t rx_timeout_ns(const struct pl011 *s)
{
    const uint64_t clock_hz = 24000000;
    uint64_t divisor = MAX((uint64_t)s->ibrd * 64 + s->fbrd, 64u); // in 1/64ths of 16 clocks
    return (int64_t)MAX(32 * 1000000000ull / clock_hz * 16 * divisor / 64, 10000u);
}

static void rx_push(struct pl011 *s, uint16_t c)
{
    if (s->rx_len >= fifo_depth(s)) {
        s->ris |= INT_OE;
        s->rsr |= 8;
        return;
    }
    s->rx[(s->rx_pos + s->rx_len++) % FIFO_DEPTH] = c;
    if (s->rx_len == fifo_trigger(s, s->ifls >> 3))
        s->ris |= INT_RX;
    if (s->lcrh & LCRH_FEN)
        loop_timer_set(&s->rx_timeout, clock_now(s->sys.dev.env->clock) + rx_timeout_ns(s));
}

static void rx_timed_out(void *opaque)
{
    struct pl011 *s = opaque;
    device_lock(&s->sys.dev);
    if (s->rx_len) {
        s->ris |= INT_RT;
        pl011_update(s);
    }
    device_unlock(&s->sys.dev);
}

// Hand on what waits in the transmit FIFO; TXRIS rises when it has drained to its trigger level.
static void tx_drain(struct pl011 *s)
{
    if (!s->tx_len)
        return;
    size_t n = s->fe ? chr_write(s->fe, s->tx, s->tx_len) : s->tx_len;
    n = MIN(n, (size_t)s->tx_len);
    memmove(s->tx, s->tx + n, s->tx_len - n);
    s->tx_len -= (uint32_t)n;
    if (n && s->tx_len <= (s->lcrh & LCRH_FEN ? fifo_trigger(s, s->ifls) : 0))
        s->ris |= INT_TX;
}

static uint64_t dr_read(void *opaque, unsigned i)
{
    struct pl011 *s = opaque;
    if (!s->rx_len)
        return s->rx[s->rx_pos % FIFO_DEPTH] & 0xff;
    uint32_t c = s->rx[s->rx_pos];
    s->rx_pos = (s->rx_pos + 1) % FIFO_DEPTH;
    s->rx_len--;
    s->rsr = (s->rsr & 8) | (c >> 8 & 7);
    if (s->rx_len < fifo_trigger(s, s->ifls >> 3))
        s->ris &= ~(uint32_t)INT_RX;
    if (!s->rx_len) {
        s->ris &= ~(uint32_t)INT_RT;
        loop_timer_cancel(&s->rx_timeout);
    }
    pl011_update(s);
    if (s->fe)
        chr_accept_input(s->fe);
    return c;
}

static void dr_write(void *opaque, unsigned i, uint64_t v)
{
    struct pl011 *s = opaque;
    if (!(s->cr & CR_UARTEN) || !(s->cr & CR_TXE))
        log_guest("pl011 disabled", "pl011: a character was written while the UART is disabled");
    if (s->cr & CR_LBE) {
        rx_push(s, (uint16_t)v);
        s->ris |= INT_TX;
    } else if (s->tx_len < fifo_depth(s)) {
        s->tx[s->tx_len++] = (uint8_t)v;
        s->ris &= ~(uint32_t)INT_TX;
        tx_drain(s);
    } else {
        log_guest("pl011 overflow", "pl011: a character was written to the full transmit FIFO");
    }
    pl011_update(s);
}

static uint64_t fr_read(void *opaque, unsigned i)
{
    struct pl011 *s = opaque;
    uint32_t fr = FR_CTS | FR_DSR | FR_DCD;
    if (s->cr & CR_LBE) // 3.2.3: outputs are fed back to the modem inputs
        fr = (s->cr & CR_RTS ? FR_CTS : 0) | (s->cr & CR_DTR ? FR_DSR : 0) |
             (s->cr & CR_OUT1 ? FR_DCD : 0) | (s->cr & CR_OUT2 ? FR_RI : 0);
    if (!s->rx_len)
        fr |= FR_RXFE;
    if (s->rx_len >= fifo_depth(s))
        fr |= FR_RXFF;
    if (!s->tx_len)
        fr |= FR_TXFE;
    else
        fr |= FR_BUSY;
    if (s->tx_len >= fifo_depth(s))
        fr |= FR_TXFF;
    return fr;
}

static void rsr_write(void *opaque, unsigned i, uint64_t v)
{
    ((struct pl011 *)opaque)->rsr = 0;
}

static uint64_t lcrh_read(void *opaque, unsigned i)
{
    return ((struct pl011 *)opaque)->lcrh;
}

static void lcrh_write(void *opaque, unsigned i, uint64_t v)
{
    struct pl011 *s = opaque;
    if ((v ^ s->lcrh) & LCRH_FEN) {
        s->rx_len = s->rx_pos = 0;
        s->ris &= ~(uint32_t)(INT_RX | INT_RT);
    }
    s->lcrh = (uint32_t)v & 0xff;
    pl011_update(s);
}

static void cr_changed(void *opaque, unsigned i, uint64_t v)
{
    struct pl011 *s = opaque;
    if (s->fe)
        chr_accept_input(s->fe);
}

static uint64_t mis_read(void *opaque, unsigned i)
{
    struct pl011 *s = opaque;
    return s->ris & s->imsc;
}

static void icr_write(void *opaque, unsigned i, uint64_t v)
{
    struct pl011 *s = opaque;
    s->ris &= ~(uint32_t)v;
    pl011_update(s);
}

static void imsc_changed(void *opaque, unsigned i, uint64_t v)
{
    pl011_update(opaque);
}

static const struct reg pl011_regs[] = {
    {0x000, "DR", 4, REG_RW, .read = dr_read, .write = dr_write},
    {0x004, "RSR", 4, REG_RW, 0, offsetof(struct pl011, rsr), .write = rsr_write},
    {0x018, "FR", 4, REG_RO, .read = fr_read},
    {0x020, "ILPR", 4, REG_RW, 0, offsetof(struct pl011, ilpr), 0xff},
    {0x024, "IBRD", 4, REG_RW, 0, offsetof(struct pl011, ibrd), 0xffff},
    {0x028, "FBRD", 4, REG_RW, 0, offsetof(struct pl011, fbrd), 0x3f},
    {0x02c, "LCR_H", 4, REG_RW, .read = lcrh_read, .write = lcrh_write},
    {0x030, "CR", 4, REG_RW, 0, offsetof(struct pl011, cr), 0xff87, .write = cr_changed},
    {0x034, "IFLS", 4, REG_RW, 0, offsetof(struct pl011, ifls), 0x3f},
    {0x038, "IMSC", 4, REG_RW, 0, offsetof(struct pl011, imsc), INT_ALL, .write = imsc_changed},
    {0x03c, "RIS", 4, REG_RO, 0, offsetof(struct pl011, ris)},
    {0x040, "MIS", 4, REG_RO, .read = mis_read},
    {0x044, "ICR", 4, REG_WO, .write = icr_write},
    {0x048, "DMACR", 4, REG_RW, 0, offsetof(struct pl011, dmacr), 7},
    {0xfe0, "PeriphID0", 4, REG_RO, .value = 0x11},
    {0xfe4, "PeriphID1", 4, REG_RO, .value = 0x10},
    {0xfe8, "PeriphID2", 4, REG_RO, .value = 0x14},
    {0xfec, "PeriphID3", 4, REG_RO, .value = 0x00},
    {0xff0, "PCellID0", 4, REG_RO, .value = 0x0d},
    {0xff4, "PCellID1", 4, REG_RO, .value = 0xf0},
    {0xff8, "PCellID2", 4, REG_RO, .value = 0x05},
    {0xffc, "PCellID3", 4, REG_RO, .value = 0xb1},
};
static const struct regbank pl011_bank = REGBANK("pl011", pl011_regs);

static enum mem_result pl011_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                  struct mem_attrs attrs)
{
    return regbank_read(&pl011_bank, opaque, off, size, val);
}

static enum mem_result pl011_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                   struct mem_attrs attrs)
{
    return regbank_write(&pl011_bank, opaque, off, size, val);
}

// Drivers also write DR with byte and halfword stores.
static const struct mmio_ops pl011_ops = {
    .read = pl011_read, .write = pl011_write, .min_size = 1, .max_size = 4};

static size_t chr_can_receive(void *fe)
{
    struct pl011 *s = fe;
    device_lock(&s->sys.dev);
    const uint32_t on = CR_UARTEN | CR_RXE;
    size_t room = (s->cr & on) == on && s->rx_len < fifo_depth(s) ? fifo_depth(s) - s->rx_len : 0;
    device_unlock(&s->sys.dev);
    return room;
}

static void chr_receive(void *fe, const uint8_t *p, size_t n)
{
    struct pl011 *s = fe;
    device_lock(&s->sys.dev);
    if (!(s->cr & CR_LBE))
        for (size_t i = 0; i < n; i++)
            rx_push(s, p[i]);
    pl011_update(s);
    device_unlock(&s->sys.dev);
}

static void chr_event(void *fe, enum chr_event ev)
{
    struct pl011 *s = fe;
    if (ev != CHR_BREAK)
        return;
    device_lock(&s->sys.dev);
    if (!(s->cr & CR_LBE)) {
        rx_push(s, DR_BE);
        s->ris |= INT_BE;
    }
    pl011_update(s);
    device_unlock(&s->sys.dev);
}

static void chr_can_write(void *fe)
{
    struct pl011 *s = fe;
    device_lock(&s->sys.dev);
    tx_drain(s);
    pl011_update(s);
    device_unlock(&s->sys.dev);
}

static const struct chr_frontend_ops pl011_chr_ops = {
    .can_receive = chr_can_receive,
    .receive = chr_receive,
    .event = chr_event,
    .can_write = chr_can_write,
};

static int pl011_init(struct device *d, struct err *e)
{
    struct pl011 *s = container_of(d, struct pl011, sys.dev);
    sys_add_window(&s->sys, "pl011", 0x1000, &pl011_ops, s);
    sys_add_irq(&s->sys, &s->irq);
    loop_timer_init(&s->rx_timeout, d->env->loop, d->env->clock, rx_timed_out, s);
    if (s->chardev) {
        s->fe = chr_attach(s->chardev, &pl011_chr_ops, s, e);
        if (!s->fe)
            return -1;
    }
    return 0;
}

static void pl011_reset(struct device *d)
{
    struct pl011 *s = container_of(d, struct pl011, sys.dev);
    loop_timer_cancel(&s->rx_timeout);
    pl011_update(s);
}

static void pl011_exit(struct device *d)
{
    struct pl011 *s = container_of(d, struct pl011, sys.dev);
    loop_timer_cancel(&s->rx_timeout);
    if (s->fe)
        chr_detach(s->fe);
}

static int pl011_post_load(struct device *d, struct err *e)
{
    struct pl011 *s = container_of(d, struct pl011, sys.dev);
    pl011_update(s);
    if (s->rx_len)
        loop_timer_set(&s->rx_timeout, clock_now(d->env->clock) + rx_timeout_ns(s));
    return 0;
}

#define STATE(member_, kind_, init_, ...)                                                          \
    FIELD(struct pl011, member_, .kind = (kind_), .use = FIELD_STATE | FIELD_RESET,                \
          .init = (init_), __VA_ARGS__)
static const struct field pl011_fields[] = {
    FIELD(struct pl011, chardev, .kind = F_BACKEND_CHR, .use = FIELD_PROP,
          .help = "character back end"),
    STATE(rsr, F_U32, 0),
    STATE(ilpr, F_U32, 0),
    STATE(ibrd, F_U32, 0),
    STATE(fbrd, F_U32, 0),
    STATE(lcrh, F_U32, 0),
    STATE(cr, F_U32, CR_TXE | CR_RXE),
    STATE(ifls, F_U32, 0x12),
    STATE(imsc, F_U32, 0),
    STATE(ris, F_U32, 0),
    STATE(dmacr, F_U32, 0),
    STATE(rx, F_U16A, 0, .len = FIFO_DEPTH),
    STATE(rx_pos, F_U32, 0, .max = FIFO_DEPTH - 1),
    STATE(rx_len, F_U32, 0, .max = FIFO_DEPTH),
    STATE(tx, F_BYTES, 0, .len = FIFO_DEPTH),
    STATE(tx_len, F_U32, 0, .max = FIFO_DEPTH),
    {0},
};

const struct device_type pl011_type = {
    .name = "pl011",
    .desc = "Arm PrimeCell UART (PL011)",
    .category = "Input devices",
    .size = sizeof(struct pl011),
    .fields = pl011_fields,
    .base = &sys_device_base,
    .init = pl011_init,
    .reset = pl011_reset,
    .exit = pl011_exit,
    .post_load = pl011_post_load,
};
