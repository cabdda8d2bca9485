// Message-signalled interrupts: a write of `data` to `addr` made by requester `rid`. The board
// gives each bus its target.
#pragma once

#include "memory/types.h"

struct msi_target {
    void (*send)(void *opaque, uint64_t addr, uint32_t data, uint32_t rid); // any thread
    void *opaque;
};
