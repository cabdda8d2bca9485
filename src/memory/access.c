// CPU accesses: RAM or registers, one mapping or several.
#include "base/bits.h"
#include "memory/ram_internal.h"
#include "memory/space_internal.h"

// Aligned accesses are single-copy atomic, as every guest CPU demands of its own.
static uint64_t load(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;
    if ((uintptr_t)p & (size - 1)) {
        memcpy(&v, p, size);
        return v;
    }
    switch (size) {
    case 1:
        return __atomic_load_n(p, __ATOMIC_RELAXED);
    case 2:
        return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
    case 4:
        return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
    default:
        return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
    }
}

static void store(uint8_t *p, unsigned size, uint64_t v)
{
    if ((uintptr_t)p & (size - 1)) {
        memcpy(p, &v, size);
        return;
    }
    switch (size) {
    case 1:
        __atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELAXED);
    }
}

enum mem_result space_read_hit(const struct space_hit *h, unsigned size, uint64_t *val,
                               struct mem_attrs attrs)
{
    if (!is_pow2(size) || size > 8 || size > h->len)
        return MEM_ERROR;
    switch (h->kind) {
    case SPACE_RAM:
        *val = load(h->ram->mem.base + h->off, size);
        return MEM_OK;
    case SPACE_MMIO:
        return mmio_read((struct region *)h->region, h->off, size, val, attrs);
    default:
        return MEM_UNMAPPED;
    }
}

enum mem_result space_write_hit(const struct space_hit *h, unsigned size, uint64_t val,
                                struct mem_attrs attrs)
{
    if (!is_pow2(size) || size > 8 || size > h->len)
        return MEM_ERROR;
    if (h->kind == SPACE_MMIO || (h->kind == SPACE_RAM && h->readonly && h->region))
        return mmio_write((struct region *)h->region, h->off, size, val, attrs);
    if (h->kind != SPACE_RAM)
        return MEM_UNMAPPED;
    if (!h->readonly) {
        store(h->ram->mem.base + h->off, size, val);
        ram_wrote(h->ram, h->off, size);
    }
    return MEM_OK;
}

// The largest access size that fits in n bytes.
static unsigned fitting(uint64_t n)
{
    return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

enum mem_result space_read(struct space *s, gpa_t a, unsigned size, uint64_t *val,
                           struct mem_attrs attrs)
{
    struct space_hit h = space_lookup(s, a);
    if (likely(h.len >= size))
        return space_read_hit(&h, size, val, attrs);
    uint64_t sum = 0;
    for (unsigned done = 0, n; done < size; done += n) { // across mappings
        uint64_t v = 0;
        h = space_lookup(s, a + done);
        n = fitting(MIN(h.len, (uint64_t)(size - done)));
        enum mem_result res = space_read_hit(&h, n, &v, attrs);
        if (res)
            return res;
        sum |= v << done * 8;
    }
    *val = sum;
    return MEM_OK;
}

enum mem_result space_write(struct space *s, gpa_t a, unsigned size, uint64_t val,
                            struct mem_attrs attrs)
{
    struct space_hit h = space_lookup(s, a);
    if (likely(h.len >= size))
        return space_write_hit(&h, size, val, attrs);
    for (unsigned done = 0, n; done < size; done += n) {
        h = space_lookup(s, a + done);
        n = fitting(MIN(h.len, (uint64_t)(size - done)));
        enum mem_result res = space_write_hit(&h, n, val >> done * 8 & mask_low(n * 8), attrs);
        if (res)
            return res;
    }
    return MEM_OK;
}

enum mem_result space_compare_exchange(struct space *s, gpa_t a, unsigned size, uint64_t *old,
                                       uint64_t val)
{
    struct space_hit h = space_lookup(s, a);
    if (h.kind != SPACE_RAM || h.readonly || h.len < size || (size != 4 && size != 8) ||
        h.off & (size - 1))
        return MEM_ERROR;
    uint8_t *at = h.ram->mem.base + h.off;
    uint64_t expected = *old;
    if (size == 8) {
        __atomic_compare_exchange_n((uint64_t *)(void *)at, old, val, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    } else {
        uint32_t word = (uint32_t)*old;
        __atomic_compare_exchange_n((uint32_t *)(void *)at, &word, (uint32_t)val, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *old = word;
    }
    if (*old == expected)
        ram_wrote(h.ram, h.off, size);
    return MEM_OK;
}
