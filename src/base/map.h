// Hash map from a 64-bit key to a pointer. Open addressing; not thread-safe. Values must not be
// NULL.
#pragma once

#include "base/base.h"

struct map {
    struct map_slot {
        uint64_t key;
        void *val; // NULL: empty
    } * slots;
    size_t len, cap; // cap is a power of two or 0
};
void *map_get(const struct map *m, uint64_t key);     // NULL when absent
void map_set(struct map *m, uint64_t key, void *val); // replaces
void *map_del(struct map *m, uint64_t key);           // the old value or NULL
void map_free(struct map *m);                         // the table; values are the caller's
#define map_for_each(m, slot)                                                                      \
    for (struct map_slot *slot = (m)->slots; slot < (m)->slots + (m)->cap; slot++)                 \
        if (slot->val)
uint64_t hash_bytes(const void *p, size_t n); // for tables in memory
