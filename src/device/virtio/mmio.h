// The virtio-mmio slot, for boards: a system device (core/sysdev.h) with window 0 of
// VIRTIO_MMIO_SIZE bytes and interrupt 0 (level). Slots number their buses virtio-mmio-bus.0, 1, …
// in the order they are made; -device virtio-X-device takes the first free one.
#pragma once

#include "device/device.h"

#define VIRTIO_MMIO_SIZE 0x200

extern const struct device_type virtio_mmio_type;
