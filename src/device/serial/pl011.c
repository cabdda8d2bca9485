// Arm PrimeCell UART (PL011), technical reference manual DDI 0183G, revision r1p4 (16-byte FIFOs):
// data path to a character back end, FIFOs and their trigger levels, receive time-out, loop-back,
// interrupts, identification. None arrives with a parity or framing error, the modem inputs are
// always asserted. Not modelled: DMA requests, IrDA, sending a break.
#include "device/serial/pl011.h"
#include "device/serial/uart.h"

enum {
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
    struct uart uart; // its FIFO's characters have their error bits where DR has them
    uint32_t rsr, ilpr, ibrd, fbrd, lcrh, cr, ifls, imsc, ris, dmacr;
};

static struct pl011 *of(const struct uart *u)
{
    return container_of(u, struct pl011, uart);
}

static uint32_t depth(const struct uart *u)
{
    return of(u)->lcrh & LCRH_FEN ? UART_FIFO : 1;
}

// Characters at which a FIFO's interrupt triggers (IFLS: 1/8, 1/4, 1/2, 3/4, 7/8).
static uint32_t fifo_trigger(const struct pl011 *s, unsigned select)
{
    static const uint8_t level[8] = {2, 4, 8, 12, 14, 14, 14, 14};
    return s->lcrh & LCRH_FEN ? level[select & 7] : 1;
}

static bool accepts(const struct uart *u)
{
    const uint32_t on = CR_UARTEN | CR_RXE;
    return (of(u)->cr & on) == on;
}

static bool loops(const struct uart *u)
{
    return of(u)->cr & CR_LBE;
}

// 32 bit times: after that much silence a FIFO below its trigger level is reported.
static int64_t silence_ns(const struct uart *u)
{
    const struct pl011 *s = of(u);
    const uint64_t clock_hz = 24000000;
    uint64_t divisor = MAX((uint64_t)s->ibrd * 64 + s->fbrd, 64u); // in 1/64ths of 16 clocks
    if (!(s->lcrh & LCRH_FEN))
        return 0;
    return (int64_t)MAX(32 * 1000000000ull / clock_hz * 16 * divisor / 64, 10000u);
}

static void received(struct uart *u)
{
    struct pl011 *s = of(u);
    if (u->rx[(u->rx_pos + u->rx_len - 1) % UART_FIFO] & UART_BREAK)
        s->ris |= INT_BE;
    if (u->rx_len == fifo_trigger(s, s->ifls >> 3))
        s->ris |= INT_RX;
}

static void overrun(struct uart *u)
{
    of(u)->ris |= INT_OE;
    of(u)->rsr |= 8;
}

static void silent(struct uart *u)
{
    of(u)->ris |= INT_RT;
}

// TXRIS rises when the transmit FIFO has drained to its trigger level.
static void sent(struct uart *u)
{
    struct pl011 *s = of(u);
    if (u->tx_len <= (s->lcrh & LCRH_FEN ? fifo_trigger(s, s->ifls) : 0))
        s->ris |= INT_TX;
}

static bool pending(const struct uart *u)
{
    return of(u)->ris & of(u)->imsc;
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

static uint64_t dr_read(void *opaque, unsigned i)
{
    struct pl011 *s = opaque;
    struct uart *u = &s->uart;
    if (!u->rx_len)
        return u->rx[u->rx_pos] & 0xff;
    uint32_t c = uart_take(u);
    s->rsr = (s->rsr & 8) | (c >> 8 & 7);
    if (u->rx_len < fifo_trigger(s, s->ifls >> 3))
        s->ris &= ~(uint32_t)INT_RX;
    if (!u->rx_len)
        s->ris &= ~(uint32_t)INT_RT;
    uart_update(u);
    uart_accept(u);
    return c;
}

static void dr_write(void *opaque, unsigned i, uint64_t v)
{
    struct pl011 *s = opaque;
    if (!(s->cr & CR_UARTEN) || !(s->cr & CR_TXE))
        log_guest("pl011 disabled", "pl011: a character was written while the UART is disabled");
    if (s->cr & CR_LBE) {
        uart_receive(&s->uart, (uint8_t)v);
        s->ris |= INT_TX;
    } else {
        s->ris &= ~(uint32_t)INT_TX;
        if (!uart_send(&s->uart, (uint8_t)v))
            log_guest("pl011 overflow", "pl011: a character was written to the full FIFO");
    }
    uart_update(&s->uart);
}

static uint64_t fr_read(void *opaque, unsigned i)
{
    struct pl011 *s = opaque;
    uint32_t fr = FR_CTS | FR_DSR | FR_DCD;
    if (s->cr & CR_LBE) // 3.2.3: outputs are fed back to the modem inputs
        fr = (s->cr & CR_RTS ? FR_CTS : 0) | (s->cr & CR_DTR ? FR_DSR : 0) |
             (s->cr & CR_OUT1 ? FR_DCD : 0) | (s->cr & CR_OUT2 ? FR_RI : 0);
    if (!s->uart.rx_len)
        fr |= FR_RXFE;
    if (s->uart.rx_len >= depth(&s->uart))
        fr |= FR_RXFF;
    fr |= s->uart.tx_len ? FR_BUSY : FR_TXFE;
    if (s->uart.tx_len >= depth(&s->uart))
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
        uart_clear_receive(&s->uart);
        s->ris &= ~(uint32_t)(INT_RX | INT_RT);
    }
    s->lcrh = (uint32_t)v & 0xff;
    uart_update(&s->uart);
}

static void cr_changed(void *opaque, unsigned i, uint64_t v)
{
    uart_accept(opaque);
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
    uart_update(&s->uart);
}

static void imsc_changed(void *opaque, unsigned i, uint64_t v)
{
    uart_update(opaque);
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
    REGS_PRIMECELL(0x011, 1),
};
static const struct regbank pl011_bank =
    REGBANK("pl011", pl011_regs, .narrow = true); // drivers also use byte and halfword stores of DR

static int pl011_init(struct device *d, struct err *e)
{
    sys_add_bank(container_of(d, struct sys_device, dev), 0x1000, &pl011_bank);
    return 0;
}

#define STATE(member_, kind_, init_, ...)                                                          \
    FIELD(struct pl011, member_, .kind = (kind_), .use = FIELD_STATE | FIELD_RESET,                \
          .init = (init_), __VA_ARGS__)
static const struct field pl011_fields[] = {
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
    {0},
};

const struct device_type pl011_type = {
    .name = "pl011",
    .desc = "Arm PrimeCell UART (PL011)",
    .category = "Input devices",
    .size = sizeof(struct pl011),
    .fields = pl011_fields,
    .base = &uart_base,
    .init = pl011_init,
    .class_data = &model,
};
