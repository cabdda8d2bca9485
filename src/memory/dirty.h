// Which pages of a RAM block were written, kept separately for each consumer. Writers set bits in
// all enabled consumers; a consumer reads and clears its own. While a consumer is enabled the
// translator's stores to clean pages take the slow path once per page.
#pragma once

#include "memory/ram.h"

enum dirty_user { DIRTY_DISPLAY, DIRTY_MIGRATION, DIRTY_USERS };
#define DIRTY_PAGE_SIZE 4096

// From the first moment on every page counts as written, so that nothing is missed.
void dirty_enable(struct ram *r, enum dirty_user u, bool on);
bool dirty_wanted(const struct ram *r);                     // any consumer enabled
void dirty_mark(struct ram *r, uint64_t off, uint64_t len); // any thread
// A page whose next store must be seen: enabled for someone and clean for that someone.
bool dirty_needs_trap(const struct ram *r, uint64_t off);
// Copy bits for [off, off+len) into `bitmap` (bit 0 = first page) and clear them; returns how many
// were set. Before it returns, the spaces that map the block have a new generation and their
// listeners have been called, so that translators trap the next store to a page now clean; the
// consumer reads the pages after that.
uint64_t dirty_fetch(struct ram *r, enum dirty_user u, uint64_t off, uint64_t len,
                     uint64_t *bitmap);

// Someone who sees writes that no one of us makes, and tells only when asked (a kernel that logs a
// guest's pages): `collect` marks them, at the start of each dirty_fetch. One for each block; NULL
// removes it.
void dirty_source(struct ram *r, void (*collect)(void *opaque, struct ram *r), void *opaque);

// A write of len bytes at off has happened (or is about to, for code): dirty bits and the code
// listener. Every writer but the translator's fast path calls it.
void ram_wrote(struct ram *r, uint64_t off, uint64_t len);
