// RISC-V Advanced Core Local Interruptor (ACLINT specification 1.0-rc4): MSWI, MTIMER and SSWI. The
// counter follows the machine's virtual clock; writing mtime moves it for the comparators here and
// for reads of mtime, while the harts' own `time` counter stays with the clock.
#include "device/irqchip/riscv/aclint.h"
#include "base/thread.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { MTIME = 0x7ff8 };

struct comparator {
    struct loop_timer timer;
    struct aclint *aclint;
    struct irq line, msi, ssi;
    uint64_t at; // ticks; written under the lock
    uint32_t msip;
};

struct aclint {
    struct sys_device sys;
    struct loop *loop;
    uint32_t harts, hz;
    uint64_t offset; // of mtime from the clock
    struct comparator *hart;
    pthread_mutex_t lock;
};

static struct aclint *of(struct device *d)
{
    return container_of(d, struct aclint, sys.dev);
}

static uint64_t clock_ticks(const struct aclint *a)
{
    uint64_t ns = (uint64_t)clock_now(a->sys.dev.env->clock);
    return (uint64_t)((unsigned __int128)ns * a->hz / 1000000000);
}

static uint64_t mtime(const struct aclint *a)
{
    return clock_ticks(a) + a->offset;
}

// Under the lock: the line's level, and the moment it changes by itself.
static void update(struct comparator *c)
{
    struct aclint *a = c->aclint;
    uint64_t now = mtime(a);
    bool due = now >= c->at;
    irq_set(&c->line, due);
    uint64_t left = c->at - now;
    if (due || left > UINT64_MAX / 2000000000) {
        loop_timer_cancel(&c->timer);
        return;
    }
    unsigned __int128 ns =
        ((unsigned __int128)(clock_ticks(a) + left) * 1000000000 + a->hz - 1) / a->hz;
    if (ns > INT64_MAX)
        loop_timer_cancel(&c->timer);
    else
        loop_timer_set(&c->timer, (int64_t)ns);
}

static void fire(void *opaque)
{
    struct comparator *c = opaque;
    mutex_lock(&c->aclint->lock);
    update(c);
    mutex_unlock(&c->aclint->lock);
}

// ---- registers ----

static struct comparator *hart_at(struct aclint *a, gpa_t index)
{
    return index < a->harts ? &a->hart[index] : NULL;
}

static enum mem_result mswi_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    const struct comparator *c = hart_at(opaque, off / 4);
    *val = c ? __atomic_load_n(&c->msip, __ATOMIC_RELAXED) : 0;
    return MEM_OK;
}

static enum mem_result mswi_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct aclint *a = opaque;
    struct comparator *c = hart_at(a, off / 4);
    if (!c)
        return MEM_OK;
    mutex_lock(&a->lock);
    __atomic_store_n(&c->msip, val & 1, __ATOMIC_RELAXED);
    irq_set(&c->msi, val & 1);
    mutex_unlock(&a->lock);
    return MEM_OK;
}

// SETSSIP reads as zero; writing one is an edge.
static enum mem_result sswi_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    *val = 0;
    return MEM_OK;
}

static enum mem_result sswi_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct comparator *c = hart_at(opaque, off / 4);
    if (c && val & 1)
        irq_pulse(&c->ssi);
    return MEM_OK;
}

static uint64_t merge(uint64_t old, gpa_t off, unsigned size, uint64_t val)
{
    if (size == 8)
        return val;
    unsigned shift = (unsigned)(off & 4) * 8;
    return (old & ~(0xffffffffull << shift)) | (val & 0xffffffff) << shift;
}

static enum mem_result mtimer_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    struct aclint *a = opaque;
    const struct comparator *c = hart_at(a, off / 8);
    mutex_lock(&a->lock);
    uint64_t v = off >= MTIME ? mtime(a) : c ? c->at : 0;
    mutex_unlock(&a->lock);
    *val = size == 8 ? v : (uint32_t)(v >> (off & 4) * 8);
    return MEM_OK;
}

static enum mem_result mtimer_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    struct aclint *a = opaque;
    struct comparator *c = hart_at(a, off / 8);
    mutex_lock(&a->lock);
    if (off >= MTIME) {
        a->offset = merge(mtime(a), off, size, val) - clock_ticks(a);
        for (unsigned i = 0; i < a->harts; i++)
            update(&a->hart[i]);
    } else if (c) {
        c->at = merge(c->at, off, size, val);
        update(c);
    }
    mutex_unlock(&a->lock);
    return MEM_OK;
}

static const struct mmio_ops mswi_ops = {mswi_read, mswi_write, .min_size = 4, .max_size = 4};
static const struct mmio_ops sswi_ops = {sswi_read, sswi_write, .min_size = 4, .max_size = 4};
static const struct mmio_ops mtimer_ops = {mtimer_read, mtimer_write, .min_size = 4, .max_size = 8};

// ---- the device ----

void aclint_set_loop(struct device *d, struct loop *l)
{
    of(d)->loop = l;
}

void aclint_connect(struct device *d, unsigned hart, enum aclint_line line, struct irq to)
{
    BUG_ON(hart >= of(d)->harts);
    struct comparator *c = &of(d)->hart[hart];
    *(line == ACLINT_MSI ? &c->msi : line == ACLINT_MTI ? &c->line : &c->ssi) = to;
}

static int aclint_init(struct device *d, struct err *e)
{
    struct aclint *a = of(d);
    a->hart = xcalloc(a->harts, sizeof *a->hart);
    pthread_mutex_init(&a->lock, NULL);
    for (unsigned i = 0; i < a->harts; i++) {
        a->hart[i].aclint = a;
        loop_timer_init(&a->hart[i].timer, a->loop ? a->loop : d->env->loop, d->env->clock, fire,
                        &a->hart[i]);
    }
    sys_add_window(&a->sys, "mswi", ACLINT_SWI_SIZE, &mswi_ops, a);
    sys_add_window(&a->sys, "mtimer", ACLINT_MTIMER_SIZE, &mtimer_ops, a);
    sys_add_window(&a->sys, "sswi", ACLINT_SWI_SIZE, &sswi_ops, a);
    for (unsigned i = 0; i < 3; i++)
        a->sys.windows[i].unguarded = true;
    return 0;
}

// mtime and the comparators have no reset value that software may rely on; here mtime goes on and
// no comparator is due.
static void aclint_reset(struct device *d)
{
    struct aclint *a = of(d);
    mutex_lock(&a->lock);
    for (unsigned i = 0; i < a->harts; i++) {
        a->hart[i].at = UINT64_MAX;
        a->hart[i].msip = 0;
        irq_set(&a->hart[i].msi, 0);
        update(&a->hart[i]);
    }
    mutex_unlock(&a->lock);
}

static void aclint_exit(struct device *d)
{
    struct aclint *a = of(d);
    for (unsigned i = 0; i < a->harts; i++)
        loop_timer_cancel(&a->hart[i].timer);
    pthread_mutex_destroy(&a->lock);
    free(a->hart);
}

static const struct field hart_fields[] = {
    FIELD(struct comparator, at, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct comparator, msip, .kind = F_U32, .use = FIELD_STATE, .max = 1),
    {0},
};

static void aclint_save(struct device *d, struct buf *out)
{
    struct aclint *a = of(d);
    mutex_lock(&a->lock);
    for (unsigned i = 0; i < a->harts; i++)
        fields_save(hart_fields, &a->hart[i], out);
    mutex_unlock(&a->lock);
}

static int aclint_load(struct device *d, struct reader *r, struct err *e)
{
    struct aclint *a = of(d);
    int bad = 0;
    mutex_lock(&a->lock);
    for (unsigned i = 0; i < a->harts && !bad; i++)
        bad = fields_load(hart_fields, &a->hart[i], r, e);
    mutex_unlock(&a->lock);
    return bad;
}

static int aclint_post_load(struct device *d, struct err *e)
{
    struct aclint *a = of(d);
    mutex_lock(&a->lock);
    for (unsigned i = 0; i < a->harts; i++) {
        irq_set(&a->hart[i].msi, (int)a->hart[i].msip);
        update(&a->hart[i]);
    }
    mutex_unlock(&a->lock);
    return 0;
}

static const struct field aclint_fields[] = {
    FIELD(struct aclint, offset, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct aclint, harts, .name = "num-harts", .kind = F_U32, .use = FIELD_PROP, .init = 1,
          .min = 1, .max = ACLINT_HARTS_MAX),
    FIELD(struct aclint, hz, .name = "timebase-frequency", .kind = F_U32, .use = FIELD_PROP,
          .init = 10000000, .min = 1000, .max = 1000000000),
    {0},
};

const struct device_type aclint_type = {
    .name = "riscv.aclint",
    .desc = "RISC-V software interrupts and machine timer (ACLINT, CLINT)",
    .category = "Misc devices",
    .size = sizeof(struct aclint),
    .fields = aclint_fields,
    .base = &sys_device_base,
    .init = aclint_init,
    .reset = aclint_reset,
    .exit = aclint_exit,
    .save = aclint_save,
    .load = aclint_load,
    .post_load = aclint_post_load,
};
