// Large zero-filled mappings of host memory, sparse until touched and fenced on both sides by
// inaccessible pages. For guest RAM and for bitmaps over it.
#pragma once

#include "base/base.h"
#include "base/err.h"

struct hostmem {
    uint8_t *base; // NULL: not mapped
    uint64_t size;
    int fd;     // of a shared mapping, else -1
    bool keeps; // a private copy of a file: discarding would bring the file's bytes back
    void *reserved;
    uint64_t reserved_size;
};
// What memory it is.
struct hostmem_source {
    const char *path; // a file, made and grown where needed, or a folder for one without a name; or
                      // NULL
    bool shared;      // another process can map it: the file, or a memfd
    bool fill;        // all of it at once, not when it is touched
};
// Maps `size` bytes (rounded up to pages), readable and writable. `shared`: through a memfd that
// another process can map. -1 and one line when the host cannot give the addresses.
int hostmem_map(struct hostmem *m, const char *name, uint64_t size, bool shared,
                struct err *e) MUST_CHECK;
int hostmem_map_from(struct hostmem *m, const char *name, uint64_t size,
                     const struct hostmem_source *s, struct err *e) MUST_CHECK;
void hostmem_unmap(struct hostmem *m);
// [off, off+n), page-aligned, reads as zero again and its pages go back to the host. False: the
// host could not; nothing has changed.
bool hostmem_discard(struct hostmem *m, uint64_t off, uint64_t n);
uint64_t hostmem_page_size(void);
uint64_t hostmem_installed(void); // physical memory and swap, bytes
