// Device types of this folder that name each other: what virtio-pci wraps, and the ports of the
// serial bus.
#pragma once

#include "device/pci/pci.h"

extern const struct device_type virtconsole_type;
extern const struct device_type virtio_balloon_device_type;
extern const struct device_type virtio_blk_device_type;
extern const struct device_type virtio_net_device_type;
extern const struct device_type virtio_rng_device_type;
extern const struct device_type virtio_scsi_device_type;
extern const struct device_type virtio_serial_device_type;
