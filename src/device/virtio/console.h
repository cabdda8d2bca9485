// The console's terminal size, for whoever knows it (a front end's window, a terminal's SIGWINCH).
#pragma once

#include "device/device.h"

// `d` is a virtconsole; does nothing for other devices. Any thread.
void virtio_console_resize(struct device *d, uint16_t cols, uint16_t rows);
