// What all UARTs share: two FIFOs between registers and a character back end, the silence after
// which received characters are reported, one interrupt line. A model of UART embeds `struct uart`
// first, names `uart_base` as its type's base and says in a `struct uart_model` how its registers
// rule the FIFOs. All of it runs under the device's guard.
#pragma once

#include "chardev/chardev.h"
#include "device/core/sysdev.h"

#define UART_FIFO  16
#define UART_BREAK (1 << 10) // in the receive FIFO: this character is a break

struct uart;
struct uart_model {
    uint32_t (*depth)(const struct uart *u);     // characters either FIFO holds as it is set up
    bool (*accepts)(const struct uart *u);       // the receiver is on
    bool (*loops)(const struct uart *u);         // in loop-back: the line is cut off
    int64_t (*silence_ns)(const struct uart *u); // until the time-out; 0: there is none
    // After the fact; the interrupt follows from `pending`.
    void (*received)(struct uart *u);
    void (*overrun)(struct uart *u);       // a character came and found the receive FIFO full
    void (*sent)(struct uart *u);          // the back end took some of the transmit FIFO
    void (*silent)(struct uart *u);        // the time-out passed with characters in the FIFO
    bool (*pending)(const struct uart *u); // the interrupt line's level
};

struct uart {
    struct sys_device sys;
    struct irq irq;
    struct chardev *chardev; // property
    struct chr_frontend *fe; // NULL without a back end
    struct loop_timer silence;
    uint16_t rx[UART_FIFO]; // characters with their error bits
    uint32_t rx_pos, rx_len;
    uint8_t tx[UART_FIFO]; // what the back end has not taken yet
    uint32_t tx_len;
};
extern const struct device_type uart_base; // class_data of a type above it: struct uart_model

void uart_update(struct uart *u); // set the interrupt line
// Characters wait in the FIFO and nothing has moved for silence_ns: count from now.
void uart_await_silence(struct uart *u);
void uart_receive(struct uart *u, uint16_t c);
// The oldest character leaves the receive FIFO (it is not empty).
uint16_t uart_take(struct uart *u);
void uart_clear_receive(struct uart *u);
// False: the transmit FIFO was full, the character is lost.
bool uart_send(struct uart *u, uint8_t c);
// There is room for input now: the back end may call again.
void uart_accept(struct uart *u);
