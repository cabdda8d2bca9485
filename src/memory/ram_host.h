// The host side of RAM. Only memory/, jit/softmmu, accel/kvm and user/ may include this (the
// include-law lint has the list): a guest address becomes a host pointer nowhere else.
// (SECURITY.md, R1 and R15)
#pragma once

#include "memory/ram.h"

uint8_t *ram_host(struct ram *r); // base of the block, readable and writable by us

// Pages that hold translated code. While a page is marked, the translator maps it without write
// permission in its address cache, and every other writer (DMA, loaders, slow-path stores) reports
// through ram_wrote(). All any thread.
void ram_code_mark(struct ram *r, uint64_t page_off);   // before the bytes are read for translation
void ram_code_unmark(struct ram *r, uint64_t page_off); // no code of this page is left
bool ram_code_marked(const struct ram *r, uint64_t page_off);
// Called for writes into marked pages, before the write is made visible to the reporting thread's
// caller.
typedef void ram_code_write_fn(void *opaque, struct ram *r, uint64_t off, uint64_t len);
void ram_code_listen(struct ram *r, ram_code_write_fn *fn,
                     void *opaque); // one listener; NULL removes
