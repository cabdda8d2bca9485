// Board devices: windows and interrupt outputs by number.
#include "device/core/sysdev.h"

void sys_add_window(struct sys_device *s, const char *name, uint64_t size,
                    const struct mmio_ops *ops, void *opaque)
{
    BUG_ON(s->n_windows == SYS_WINDOWS);
    s->windows[s->n_windows++] =
        (struct sys_window){.name = name, .size = size, .ops = ops, .opaque = opaque};
}

static enum mem_result bank_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    const struct sys_window *w = opaque;
    return regbank_read(w->bank, w->dev, off, size, val);
}

static enum mem_result bank_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    const struct sys_window *w = opaque;
    return regbank_write(w->bank, w->dev, off, size, val);
}

void sys_add_bank(struct sys_device *s, uint64_t size, const struct regbank *bank)
{
    static const struct mmio_ops words = {
        .read = bank_read, .write = bank_write, .min_size = 4, .max_size = 4};
    static const struct mmio_ops narrow = {
        .read = bank_read, .write = bank_write, .min_size = 1, .max_size = 4};
    struct sys_window *w = &s->windows[s->n_windows];
    sys_add_window(s, bank->name, size, bank->narrow ? &narrow : &words, w);
    w->bank = bank;
    w->dev = &s->dev;
}

void sys_add_irq(struct sys_device *s, struct irq *line)
{
    BUG_ON(s->n_irqs == SYS_IRQS);
    s->irqs[s->n_irqs++] = line;
}

struct region *sys_map(struct sys_device *s, unsigned window, struct space *to, gpa_t base)
{
    BUG_ON(window >= s->n_windows || s->windows[window].region);
    struct sys_window *w = &s->windows[window];
    struct mmio_guard *guard = w->unguarded ? NULL : device_guard(&s->dev);
    w->region = space_map_mmio(to, w->name, base, w->size, w->ops, w->opaque, guard, 0);
    return w->region;
}

void sys_connect(struct sys_device *s, unsigned n, struct irq to)
{
    BUG_ON(n >= s->n_irqs);
    *s->irqs[n] = to;
}

static void sys_exit(struct device *d)
{
    struct sys_device *s = container_of(d, struct sys_device, dev);
    for (unsigned i = 0; i < s->n_windows; i++) {
        if (s->windows[i].region)
            region_unmap(s->windows[i].region);
        s->windows[i].region = NULL;
    }
}

const struct device_type sys_device_base = {
    .name = "sys-device",
    .size = sizeof(struct sys_device),
    .exit = sys_exit,
};
