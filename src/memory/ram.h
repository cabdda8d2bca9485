// Guest RAM and ROM: blocks of host memory. Where a block lies in the host is known only inside
// memory/ and to the translator's address cache (ram_host.h); everyone else goes through dma.h.
// (SECURITY.md, R1)
#pragma once

#include "base/err.h"
#include "memory/types.h"

struct hostmem_source;
struct ram;

// A zero-filled, sparse block of `size` bytes (page multiple). `shared`: backed by a memfd (ram_fd)
// so that another process can map it. Fails with one line when the host cannot give the address
// space (RAM larger than the host); more than the host's memory and swap is only warned of.
struct ram *ram_new(const char *name, uint64_t size, bool shared, struct err *e);
// The same of given memory; a file's bytes are what it begins with.
struct ram *ram_new_from(const char *name, uint64_t size, const struct hostmem_source *s,
                         struct err *e);
// The owner's last word: no region maps it and no vCPU has it cached. Pinned spans keep it alive.
void ram_free(struct ram *r);
uint64_t ram_size(const struct ram *r);
const char *ram_name(const struct ram *r);
int ram_fd(const struct ram *r); // -1 when not shared
// Fill from outside the guest (loaders, reset of ROM): bounds are the caller's bug.
void ram_write(struct ram *r, uint64_t off, const void *src, size_t n);
void ram_read(const struct ram *r, uint64_t off, void *dst, size_t n);
void ram_zero(struct ram *r, uint64_t off,
              uint64_t n); // gives the pages back to the host where it can
