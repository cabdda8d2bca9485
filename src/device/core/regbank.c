// Register banks: look-up by offset and the access rules of the table.
#include "device/core/regbank.h"

#include "base/bits.h"
#include "base/trace.h"

#include <inttypes.h>

static const struct reg *find(const struct regbank *b, gpa_t off, unsigned size, unsigned *index,
                              unsigned *shift)
{
    unsigned lo = 0, hi = b->n;
    while (lo < hi) { // the last register at or below off
        unsigned mid = (lo + hi) / 2;
        if (b->regs[mid].offset <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo)
        return NULL;
    const struct reg *r = &b->regs[lo - 1];
    uint64_t into = off - r->offset;
    if (into / r->size >= (r->count ? r->count : 1) || into % r->size + size > r->size)
        return NULL;
    *index = into / r->size;
    *shift = into % r->size * 8;
    return r;
}

static uint64_t load(const struct reg *r, void *dev, unsigned i)
{
    if (!r->storage)
        return r->value;
    const char *p = (const char *)dev + r->storage + (size_t)i * r->size;
    uint64_t v = 0;
    memcpy(&v, p, r->size);
    return v;
}

static void store(const struct reg *r, void *dev, unsigned i, uint64_t v)
{
    if (r->storage)
        memcpy((char *)dev + r->storage + (size_t)i * r->size, &v, r->size);
}

enum mem_result regbank_read(const struct regbank *b, void *dev, gpa_t off, unsigned size,
                             uint64_t *val)
{
    unsigned i, shift;
    const struct reg *r = find(b, off, size, &i, &shift);
    *val = 0;
    if (!r) {
        log_guest("register read", "%s: read of %u bytes at undefined offset 0x%" PRIx64, b->name,
                  size, off);
        return MEM_OK;
    }
    if (r->access != REG_WO)
        *val = ((r->read ? r->read(dev, i) : load(r, dev, i)) >> shift) & mask_low(size * 8);
    TRACE(regbank_read, "%s %s[%u] -> 0x%" PRIx64, b->name, r->name, i, *val);
    return MEM_OK;
}

enum mem_result regbank_write(const struct regbank *b, void *dev, gpa_t off, unsigned size,
                              uint64_t val)
{
    unsigned i, shift;
    const struct reg *r = find(b, off, size, &i, &shift);
    if (!r || r->access == REG_RO) {
        log_guest("register write", "%s: write of %u bytes at %s offset 0x%" PRIx64, b->name, size,
                  r ? "read-only" : "undefined", off);
        return MEM_OK;
    }
    TRACE(regbank_write, "%s %s[%u] <- 0x%" PRIx64, b->name, r->name, i, val);
    uint64_t touched = mask_low(size * 8) << shift, old = load(r, dev, i);
    val = (val << shift) & touched;
    if (r->access == REG_W1C)
        store(r, dev, i, old & ~(val & r->mask));
    else
        store(r, dev, i, (old & ~(r->mask & touched)) | (val & r->mask));
    if (r->write)
        r->write(dev, i, r->access == REG_W1C ? val : val | (old & ~touched));
    return MEM_OK;
}
