// The guest's address space: a reserved stretch of the host's, [base, base + size), in which every
// area the program mapped is known with its protection. Guest code is never executable in the
// host. Thread-safe; results are guest addresses or negative errno values.
#pragma once

#include "base/thread.h"
#include "base/vec.h"

struct mm_area {
    uint64_t start, end;
    int prot;
    bool shared, anonymous;
};
struct mm_range {
    uint64_t addr, len;
};
struct mm {
    uint8_t *base;
    uint64_t size;      // of the address space
    uint64_t page_size; // the guest's; a multiple of the host's
    uint64_t top;       // new mappings go below here
    uint64_t tag_bits;  // of an address that system calls ignore
    uint64_t brk_start, brk;
    VEC(struct mm_area) areas; // sorted, disjoint
    pthread_mutex_t lock;
    VEC(struct mm_range) stale; // to report when the lock is free again
    // Code of these addresses is no longer what it was. Called without the lock, which translating
    // threads take.
    void (*code_changed)(void *opaque, uint64_t addr, uint64_t len);
    void *opaque;
    // May be NULL. 0: the file is mapped at *ready, from where it is moved, or, if that is NULL,
    // the calling process can map it itself. Or a negative errno.
    int64_t (*map_file)(uint64_t len, int prot, int flags, int fd, uint64_t off, void **ready);
};

struct err;
// `base` is where guest address 0 goes in the host, if `fixed`; `size` 0: as much as there is.
int mm_init(struct mm *m, uint64_t base, bool fixed, uint64_t size, uint64_t page_size,
            struct err *e) MUST_CHECK;

// As the system calls of these names have it, with their flags; addresses without tags.
int64_t mm_map(struct mm *m, uint64_t addr, uint64_t len, int prot, int flags, int fd,
               uint64_t off);
int64_t mm_unmap(struct mm *m, uint64_t addr, uint64_t len);
int64_t mm_protect(struct mm *m, uint64_t addr, uint64_t len, int prot);
int64_t mm_remap(struct mm *m, uint64_t old, uint64_t old_len, uint64_t new_len, int flags,
                 uint64_t new_addr);
int64_t mm_brk(struct mm *m, uint64_t addr);
int64_t mm_shm_attach(struct mm *m, int id, uint64_t addr, int flags);
int64_t mm_shm_detach(struct mm *m, uint64_t addr);
uint64_t mm_find_free(struct mm *m, uint64_t len, uint64_t align); // 0: none; lock not held

// Is all of [addr, addr + len) mapped with at least `prot`?
bool mm_covers(struct mm *m, uint64_t addr, uint64_t len, int prot);
// The area at addr; false when there is none.
bool mm_area_at(struct mm *m, uint64_t addr, struct mm_area *out);

static inline uint64_t mm_untag(const struct mm *m, uint64_t addr)
{
    return addr & ~m->tag_bits;
}
static inline bool mm_inside(const struct mm *m, uint64_t addr, uint64_t len)
{
    return addr <= m->size && len <= m->size - addr;
}
// The host's address of a guest address. One outside the space gives an address that faults.
static inline void *mm_host(const struct mm *m, uint64_t addr)
{
    addr = mm_untag(m, addr);
    return m->base + (addr < m->size ? addr : m->size);
}
