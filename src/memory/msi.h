// Message-signalled interrupts: a write of `data` to `addr` made by requester `rid`. The board
// gives each bus its target.
#pragma once

#include "memory/types.h"

struct msi_target {
    void (*send)(void *opaque, uint64_t addr, uint32_t data, uint32_t rid); // any thread
    void *opaque;
    // Where the kernel can deliver it: from now on each signal of the eventfd `fd` sends this
    // message. A handle for unbind, or -1: not possible, use send. NULL: never possible.
    int (*bind)(void *opaque, int fd, uint64_t addr, uint32_t data, uint32_t rid);
    void (*unbind)(void *opaque, int fd, int handle);
};
