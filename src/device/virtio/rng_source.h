// Where a virtio-rng device takes its bytes: what -object rng-random and rng-builtin make, and the
// device itself when it is given none.
#pragma once

#include "base/err.h"

struct rng_source; // F_BACKEND_OBJ of virtio-rng's property "rng"

// A file of random bytes (/dev/urandom, /dev/hwrng); NULL path: the host kernel's generator.
struct rng_source *rng_source_open(const char *path, struct err *e);
void rng_source_close(struct rng_source *s);
// Up to n bytes without waiting; how many there were. A NULL source is the host kernel's generator.
size_t rng_source_read(struct rng_source *s, void *dst, size_t n);
