// Arm PrimeCell GPIO PL061: a system device with one window (0x1000). Output 0 is the interrupt
// (GPIOINTR), outputs 1 to 8 are the pins 0 to 7 while their direction is "out".
#pragma once

#include "device/core/sysdev.h"

enum { PL061_IRQ = 0, PL061_PIN0 = 1 };
extern const struct device_type pl061_type;

// The line that drives pin n (0 to 7) from outside. Any thread.
struct irq pl061_pin(struct device *d, unsigned n);
