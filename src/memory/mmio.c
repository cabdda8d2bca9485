// The way into a device's registers: the guard (one thread at a time, never re-entered) and the
// fitting of accesses to the sizes a device takes.
#include "base/bits.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/trace.h"
#include "memory/space_internal.h"

void mmio_guard_init(struct mmio_guard *g)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    // Recursive, so that a device that reaches itself is turned away rather than stuck.
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    *g = (struct mmio_guard){0};
    pthread_mutex_init(&g->lock, &a);
    pthread_mutexattr_destroy(&a);
}

void mmio_guard_enter(struct mmio_guard *g)
{
    mutex_lock(&g->lock);
    g->engaged++;
}

void mmio_guard_leave(struct mmio_guard *g)
{
    BUG_ON(!g->engaged);
    g->engaged--;
    mutex_unlock(&g->lock);
}

// One access on its way: `val` is what is written or was read.
struct access {
    struct region *r;
    bool write;
    struct mem_attrs attrs;
};

// Calls the handler. `off` and `size` are what the device will see.
static enum mem_result call(const struct access *a, uint64_t off, unsigned size, uint64_t *val)
{
    const struct mmio_ops *ops = a->r->ops;
    if (a->write) {
        if (ops->write)
            return ops->write(a->r->opaque, off, size, *val & mask_low(size * 8), a->attrs);
        log_guest("write to registers that cannot be written", "%s+0x%llx", a->r->name,
                  (unsigned long long)off);
        return MEM_OK;
    }
    *val = 0;
    if (ops->read) {
        enum mem_result res = ops->read(a->r->opaque, off, size, val, a->attrs);
        *val &= mask_low(size * 8);
        return res;
    }
    log_guest("read of registers that cannot be read", "%s+0x%llx", a->r->name,
              (unsigned long long)off);
    return MEM_OK;
}

// An aligned access below the device's smallest: through the whole register around it.
static enum mem_result widen(const struct access *a, uint64_t off, unsigned size, unsigned min,
                             uint64_t *val)
{
    uint64_t at = align_down(off, min), whole = 0;
    unsigned shift = (unsigned)(off - at) * 8;
    if (at + (min - 1) > region_last(a->r)) // a window that ends inside a register
        return call(a, off, size, val);
    struct access read = *a;
    read.write = false;
    enum mem_result res = call(&read, at, min, &whole);
    if (res)
        return res;
    if (!a->write) {
        *val = whole >> shift & mask_low(size * 8);
        return MEM_OK;
    }
    whole = bits_set(whole, shift + size * 8 - 1, shift, *val);
    return call(a, at, min, &whole);
}

// Splits what is too wide or not aligned, widens what is too narrow.
static enum mem_result fit(const struct access *a, uint64_t off, unsigned size, uint64_t *val)
{
    unsigned min = a->r->ops->min_size ? a->r->ops->min_size : 1;
    unsigned max = a->r->ops->max_size ? a->r->ops->max_size : 8;
    unsigned piece = MIN(size, max);
    while (off & (piece - 1))
        piece /= 2;
    uint64_t sum = 0;
    for (unsigned done = 0; done < size; done += piece) {
        uint64_t v = a->write ? *val >> done * 8 : 0;
        enum mem_result res = piece < min && !a->r->ops->narrow
                                  ? widen(a, off + done, piece, min, &v)
                                  : call(a, off + done, piece, &v);
        if (res)
            return res;
        sum |= (v & mask_low(piece * 8)) << done * 8;
    }
    if (!a->write)
        *val = sum;
    return MEM_OK;
}

// Under the guard, unless the device is on the stack already (R5).
static enum mem_result guarded(const struct access *a, uint64_t off, unsigned size, uint64_t *val)
{
    struct mmio_guard *g = a->r->guard;
    if (!g)
        return fit(a, off, size, val);
    enum mem_result res = MEM_OK;
    mutex_lock(&g->lock);
    if (g->engaged) {
        g->refused++;
        TRACE(mmio_refuse_reentry, "%s+0x%llx %s", a->r->name, (unsigned long long)off,
              a->write ? "write" : "read");
        log_guest("a device was made to reach its own registers", "%s+0x%llx", a->r->name,
                  (unsigned long long)off);
        if (!a->write)
            *val = mask_low(size * 8);
    } else {
        g->engaged++;
        res = fit(a, off, size, val);
        g->engaged--;
    }
    mutex_unlock(&g->lock);
    return res;
}

// A region that is being unmapped takes no new accesses; region_unmap waits for those inside.
static enum mem_result enter(const struct access *a, uint64_t off, unsigned size, uint64_t *val)
{
    enum mem_result res = MEM_UNMAPPED;
    atomic_fetch_add(&a->r->users, 1);
    if (!atomic_load(&a->r->dead))
        res = guarded(a, off, size, val);
    atomic_fetch_sub(&a->r->users, 1);
    return res;
}

enum mem_result mmio_read(struct region *r, uint64_t off, unsigned size, uint64_t *val,
                          struct mem_attrs attrs)
{
    return enter(&(struct access){.r = r, .attrs = attrs}, off, size, val);
}

enum mem_result mmio_write(struct region *r, uint64_t off, unsigned size, uint64_t val,
                           struct mem_attrs attrs)
{
    return enter(&(struct access){.r = r, .write = true, .attrs = attrs}, off, size, &val);
}
