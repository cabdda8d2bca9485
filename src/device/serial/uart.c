// The part of a UART that is the same in all: FIFOs bound to a character back end. The line is
// ideal: a character leaves as soon as the back end takes it.
#include "device/serial/uart.h"

static const struct uart_model *model(const struct uart *u)
{
    return u->sys.dev.type->class_data;
}

static struct uart *of(struct device *d)
{
    return container_of(d, struct uart, sys.dev);
}

void uart_update(struct uart *u)
{
    irq_set(&u->irq, model(u)->pending(u));
}

void uart_await_silence(struct uart *u)
{
    int64_t ns = model(u)->silence_ns(u);
    if (ns)
        loop_timer_set(&u->silence, clock_now(u->sys.dev.env->clock) + ns);
}

static void silence_passed(void *opaque)
{
    struct uart *u = opaque;
    device_lock(&u->sys.dev);
    if (u->rx_len) {
        model(u)->silent(u);
        uart_update(u);
    }
    device_unlock(&u->sys.dev);
}

void uart_receive(struct uart *u, uint16_t c)
{
    if (u->rx_len >= model(u)->depth(u)) {
        model(u)->overrun(u);
        return;
    }
    u->rx[(u->rx_pos + u->rx_len++) % UART_FIFO] = c;
    model(u)->received(u);
    uart_await_silence(u);
}

uint16_t uart_take(struct uart *u)
{
    uint16_t c = u->rx[u->rx_pos];
    u->rx_pos = (u->rx_pos + 1) % UART_FIFO;
    u->rx_len--;
    if (!u->rx_len)
        loop_timer_cancel(&u->silence);
    return c;
}

void uart_clear_receive(struct uart *u)
{
    u->rx_pos = u->rx_len = 0;
    loop_timer_cancel(&u->silence);
}

static void drain(struct uart *u)
{
    if (!u->tx_len)
        return;
    size_t n = u->fe ? chr_write(u->fe, u->tx, u->tx_len) : u->tx_len;
    n = MIN(n, (size_t)u->tx_len);
    memmove(u->tx, u->tx + n, u->tx_len - n);
    u->tx_len -= (uint32_t)n;
    if (n)
        model(u)->sent(u);
}

bool uart_send(struct uart *u, uint8_t c)
{
    if (u->tx_len >= model(u)->depth(u))
        return false;
    u->tx[u->tx_len++] = c;
    drain(u);
    return true;
}

void uart_accept(struct uart *u)
{
    if (u->fe)
        chr_accept_input(u->fe);
}

static size_t line_room(void *fe)
{
    struct uart *u = fe;
    device_lock(&u->sys.dev);
    uint32_t depth = model(u)->depth(u);
    size_t room = model(u)->accepts(u) && u->rx_len < depth ? depth - u->rx_len : 0;
    device_unlock(&u->sys.dev);
    return room;
}

static void line_received(void *fe, const uint8_t *p, size_t n)
{
    struct uart *u = fe;
    device_lock(&u->sys.dev);
    if (!model(u)->loops(u))
        for (size_t i = 0; i < n; i++)
            uart_receive(u, p[i]);
    uart_update(u);
    device_unlock(&u->sys.dev);
}

static void line_event(void *fe, enum chr_event ev)
{
    struct uart *u = fe;
    if (ev != CHR_BREAK)
        return;
    device_lock(&u->sys.dev);
    if (!model(u)->loops(u))
        uart_receive(u, UART_BREAK);
    uart_update(u);
    device_unlock(&u->sys.dev);
}

static void line_writable(void *fe)
{
    struct uart *u = fe;
    device_lock(&u->sys.dev);
    drain(u);
    uart_update(u);
    device_unlock(&u->sys.dev);
}

static const struct chr_frontend_ops line_ops = {
    .can_receive = line_room,
    .receive = line_received,
    .event = line_event,
    .can_write = line_writable,
};

static int init(struct device *d, struct err *e)
{
    struct uart *u = of(d);
    sys_add_irq(&u->sys, &u->irq);
    loop_timer_init(&u->silence, d->env->loop, d->env->clock, silence_passed, u);
    if (!u->chardev)
        return 0;
    u->fe = chr_attach(u->chardev, &line_ops, u, e);
    return u->fe ? 0 : -1;
}

static void reset(struct device *d)
{
    loop_timer_cancel(&of(d)->silence);
    uart_update(of(d));
}

static void leave(struct device *d)
{
    loop_timer_cancel(&of(d)->silence);
    if (of(d)->fe)
        chr_detach(of(d)->fe);
}

static int post_load(struct device *d, struct err *e)
{
    uart_update(of(d));
    if (of(d)->rx_len)
        uart_await_silence(of(d));
    return 0;
}

#define STATE(member_, kind_, ...)                                                                 \
    FIELD(struct uart, member_, .kind = (kind_), .use = FIELD_STATE | FIELD_RESET, __VA_ARGS__)
static const struct field fields[] = {
    FIELD(struct uart, chardev, .kind = F_BACKEND_CHR, .use = FIELD_PROP,
          .help = "character back end"),
    STATE(rx, F_U16A, .len = UART_FIFO),
    STATE(rx_pos, F_U32, .max = UART_FIFO - 1),
    STATE(rx_len, F_U32, .max = UART_FIFO),
    STATE(tx, F_BYTES, .len = UART_FIFO),
    STATE(tx_len, F_U32, .max = UART_FIFO),
    {0},
};

const struct device_type uart_base = {
    .name = "uart",
    .size = sizeof(struct uart),
    .fields = fields,
    .base = &sys_device_base,
    .init = init,
    .reset = reset,
    .exit = leave,
    .post_load = post_load,
};
