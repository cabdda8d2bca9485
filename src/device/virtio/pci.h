// The device types that virtio-pci wraps.
#pragma once

#include "device/pci/pci.h"

extern const struct device_type virtio_blk_device_type;
extern const struct device_type virtio_net_device_type;
extern const struct device_type virtio_rng_device_type;
