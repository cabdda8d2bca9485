// Doorbells: register writes that only say "look". A device names the write and what is to happen
// on which loop; whoever runs the CPUs may have the kernel turn such a write into an event, so that
// it never comes to the device's registers. Where nobody does, the write arrives there as any other
// and the device acts on it: both ways must lead to the same.
#pragma once

#include "base/loop.h"
#include "memory/space.h"

struct doorbell {
    uint64_t off;  // in the region
    unsigned size; // of the write, bytes; 0: any
    bool match;    // only writes of `value`
    uint64_t value;
    struct loop *loop;
    bool (*ring)(void *opaque); // on that loop; whether there was anything to do
    void *opaque;
};
struct doorbell_entry; // owned by the region

// The listeners of every space that sees the region hear of it.
struct doorbell_entry *doorbell_add(struct region *r, const struct doorbell *d);
// When it returns `ring` is not called again, if this is the loop's thread. NULL is fine.
void doorbell_remove(struct doorbell_entry *d);

// For accelerators: every doorbell that the space shows, with its address there. Called with the
// topology held: `fn` must not change any.
void doorbell_each(struct space *s, void (*fn)(void *opaque, gpa_t at, const struct doorbell *d),
                   void *opaque);
