// Interrupt lines: three words. A device owns its end and sets levels; whoever is at the other end
// gave the callback.
#pragma once

#include "base/base.h"

struct irq {
    void (*set)(void *opaque, int n, int level); // any thread; must not block on the caller's lock
    void *opaque;
    int n;
};
static inline void irq_set(const struct irq *l, int level)
{
    if (l->set)
        l->set(l->opaque, l->n, level);
}
static inline void irq_pulse(const struct irq *l)
{
    irq_set(l, 1);
    irq_set(l, 0);
}
