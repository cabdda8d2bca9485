// The cipher behind pointer authentication, apart from pointers: see qarma.c.
#pragma once

#include "base/base.h"

// QARMA-64 with five rounds: block, tweak, and the two halves of the key (whitening, core).
uint64_t arm_qarma5(uint64_t block, uint64_t tweak, uint64_t w0, uint64_t k0);
