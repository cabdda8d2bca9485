// An address space: what a CPU or a bus master sees at each address. Built from regions (RAM, ROM,
// registers, windows onto other spaces) with priorities, flattened to a sorted view whenever it
// changes. Look-ups are safe on any thread while it changes.
#pragma once

#include "memory/mmio.h"
#include "memory/ram.h"

struct space;
struct region; // one mapping in a space; owned by the space

struct space *space_new(const char *name, uint64_t size_minus_1); // e.g. UINT64_MAX, 0xffff
void space_free(struct space *s);

// Map something at [base, base+size). Higher `prio` wins where mappings overlap; among equals the
// later one. The name is copied and shows in `info mtree`.
struct region *space_map_ram(struct space *s, const char *name, gpa_t base, struct ram *r,
                             uint64_t ram_off, uint64_t size, bool readonly, int prio);
struct region *space_map_mmio(struct space *s, const char *name, gpa_t base, uint64_t size,
                              const struct mmio_ops *ops, void *opaque, struct mmio_guard *guard,
                              int prio);
// A ROM that also takes register writes (flash): reads go to RAM while `rom_mode`, writes always to
// ops.
struct region *space_map_romd(struct space *s, const char *name, gpa_t base, struct ram *r,
                              uint64_t size, const struct mmio_ops *ops, void *opaque,
                              struct mmio_guard *guard, int prio);
void region_set_romd(struct region *r, bool rom_mode);
// A window onto [other_base, other_base+size) of another space (PCI memory behind a host bridge, a
// vCPU's private view). Where the other space has nothing, lower priorities show through. `size` 0
// stands for 2^64.
struct region *space_map_alias(struct space *s, const char *name, gpa_t base, struct space *other,
                               gpa_t other_base, uint64_t size, int prio);
// Gone from every view; waits until no access is inside, so not to be called from the region's own
// handlers. The space keeps the name alive for late look-up results, which then hit nothing.
void region_unmap(struct region *r);
void region_move(struct region *r, gpa_t base);
void region_enable(struct region *r, bool on);

// What lies at an address. `len` is how far the same mapping goes on from here, `before` how far it
// reaches back. Valid until space_generation() changes.
struct space_hit {
    enum { SPACE_NOTHING, SPACE_RAM, SPACE_MMIO } kind;
    bool readonly;   // RAM: stores go to nothing (ROM) or, with ops set, to registers (flash)
    struct ram *ram; // SPACE_RAM
    uint64_t off;    // into ram, or into the register window
    uint64_t len, before;
    const struct region *region; // SPACE_MMIO, or readonly RAM with registers
};
// The hit of an address that lies `by` bytes further in the same mapping; back when negative.
static inline struct space_hit space_hit_at(struct space_hit h, int64_t by)
{
    h.off += (uint64_t)by;
    h.len -= (uint64_t)by;
    h.before += (uint64_t)by;
    return h;
}
// Any thread, without a lock; may run while another changes the map.
struct space_hit space_lookup(struct space *s, gpa_t a);
// Bumped whenever any view of this space (or of one it has a window on) changes, or dirty tracking
// needs new traps. Cachers of look-ups compare it.
uint32_t space_generation(const struct space *s);
// A look-up remembered for the next one in the same mapping. One user at a time; all zero at first.
struct space_near {
    struct space *space;
    uint32_t generation;
    gpa_t start;          // of the mapping
    struct space_hit hit; // of its start
};
void space_near_find(struct space_near *n, struct space *s, gpa_t a); // looks up and remembers
static inline struct space_hit space_lookup_near(struct space_near *n, struct space *s, gpa_t a)
{
    if (n->space != s || n->generation != space_generation(s) || a - n->start >= n->hit.len)
        space_near_find(n, s, a);
    return space_hit_at(n->hit, (int64_t)(a - n->start));
}
// Called after each change, on the changing thread, outside all locks: translators flush, KVM
// re-slots.
void space_listen(struct space *s, void (*changed)(void *opaque), void *opaque);
void space_unlisten(struct space *s, void (*changed)(void *opaque), void *opaque);

// One access of 1, 2, 4 or 8 bytes as a CPU makes it (RAM or registers); may be unaligned, does not
// cross a 4 KiB page.
enum mem_result space_read(struct space *s, gpa_t a, unsigned size, uint64_t *val,
                           struct mem_attrs attrs);
enum mem_result space_write(struct space *s, gpa_t a, unsigned size, uint64_t val,
                            struct mem_attrs attrs);
// Compare and exchange of 4 or 8 naturally aligned bytes of writable RAM, atomic against every CPU:
// what hardware updates of page tables need. *old is what was expected and becomes what was there;
// the exchange happened when it did not change. MEM_ERROR where there is no such RAM.
enum mem_result space_compare_exchange(struct space *s, gpa_t a, unsigned size, uint64_t *old,
                                       uint64_t val);
// space_read and space_write for a hit already looked up; MEM_ERROR when the access goes beyond
// h->len.
enum mem_result space_read_hit(const struct space_hit *h, unsigned size, uint64_t *val,
                               struct mem_attrs attrs);
enum mem_result space_write_hit(const struct space_hit *h, unsigned size, uint64_t val,
                                struct mem_attrs attrs);

struct buf;
void space_print(struct space *s, struct buf *out); // `info mtree`
