// Open addressing with linear probing and backward-shift deletion: no tombstones, so look-ups stay
// short whatever the history.
#include "base/map.h"
#include "base/bits.h"

#include <stdlib.h>

// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
// generators").
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

uint64_t hash_bytes(const void *p, size_t n)
{
    const uint8_t *at = p;
    uint64_t h = mix(n + 0x9e3779b97f4a7c15);
    for (; n >= 8; at += 8, n -= 8)
        h = mix(h ^ ld_le64(at)) + 0x9e3779b97f4a7c15;
    uint64_t tail = 0;
    if (n)
        memcpy(&tail, at, n);
    return mix(h ^ tail);
}

static size_t home(const struct map *m, uint64_t key)
{
    return mix(key) & (m->cap - 1);
}

// The slot of key, or the empty one where it belongs.
static struct map_slot *find(const struct map *m, uint64_t key)
{
    size_t i = home(m, key);
    while (m->slots[i].val && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->cap ? find(m, key)->val : NULL;
}

static void grow(struct map *m)
{
    struct map bigger = {.len = m->len, .cap = m->cap ? m->cap * 2 : 16};
    bigger.slots = xcalloc(bigger.cap, sizeof *bigger.slots);
    map_for_each(m, s) * find(&bigger, s->key) = *s;
    free(m->slots);
    *m = bigger;
}

void map_set(struct map *m, uint64_t key, void *val)
{
    BUG_ON(!val);
    if ((m->len + 1) * 4 > m->cap * 3)
        grow(m);
    struct map_slot *s = find(m, key);
    m->len += !s->val;
    *s = (struct map_slot){key, val};
}

void *map_del(struct map *m, uint64_t key)
{
    if (!m->cap)
        return NULL;
    struct map_slot *hole = find(m, key);
    void *old = hole->val;
    if (!old)
        return NULL;
    size_t mask = m->cap - 1, h = (size_t)(hole - m->slots);
    for (size_t i = (h + 1) & mask; m->slots[i].val; i = (i + 1) & mask) {
        size_t from_home = (i - home(m, m->slots[i].key)) & mask;
        if (from_home >= ((i - h) & mask)) { // its home is at or before the hole: move it back
            m->slots[h] = m->slots[i];
            h = i;
        }
    }
    m->slots[h] = (struct map_slot){0};
    m->len--;
    return old;
}

void map_free(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}
