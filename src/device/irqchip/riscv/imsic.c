// RISC-V Incoming MSI Controller (RISC-V Advanced Interrupt Architecture 1.0, chapter 3). A message
// is a write of an interrupt identity to a file's page; the hart works with the file through its
// control registers, which arrive here as accesses to a system-register space. Not modelled:
// eidelivery 0x40000000 (interrupts of another controller handed through).
#include "device/irqchip/riscv/imsic.h"
#include "base/bits.h"
#include "base/thread.h"

#include <inttypes.h>
#include <stdlib.h>

enum { IDS_MAX = 2047, WORDS = (IDS_MAX + 1) / 64, HARTS_MAX = 512 };
enum { SETEIPNUM_LE = 0, SETEIPNUM_BE = 4 };
enum { // registers by *iselect number, as they arrive: 8 bytes each
    TOPEI = 0,
    EIDELIVERY = 0x70,
    EITHRESHOLD = 0x72,
    EIP0 = 0x80,
    EIE0 = 0xc0,
    REGISTERS = 0x100,
};
enum { WINDOW = REGISTERS * 8, WINDOW_SET = 1, WINDOW_CLEAR = 2 };

struct file {
    uint32_t ids;
    uint32_t delivery, threshold;
    uint64_t pending[WORDS], enabled[WORDS];
    struct irq line;
    pthread_mutex_t lock;
};

struct imsic {
    struct sys_device sys;
    uint32_t harts, ids, guests;
    gpa_t base;
    struct file *file; // (1 + guests) for each hart
};

static struct imsic *of(struct device *d)
{
    return container_of(d, struct imsic, sys.dev);
}

uint64_t imsic_stride(unsigned guests)
{
    uint64_t n = IMSIC_PAGE;
    while (n < (uint64_t)IMSIC_PAGE * (1 + guests))
        n *= 2;
    return n;
}

// ---- a file ----

// The most urgent identity that is pending, enabled and below the threshold; 0: none.
static uint32_t top(const struct file *f)
{
    for (uint32_t w = 0; w * 64 <= f->ids; w++) {
        uint64_t set = f->pending[w] & f->enabled[w];
        if (!set)
            continue;
        uint32_t id = w * 64 + (uint32_t)__builtin_ctzll(set);
        return f->threshold && id >= f->threshold ? 0 : id;
    }
    return 0;
}

static void update(struct file *f)
{
    irq_set(&f->line, f->delivery && top(f));
}

static void set_pending(struct file *f, uint32_t id, bool pending)
{
    if (!id || id > f->ids)
        return;
    mutex_lock(&f->lock);
    if (pending)
        f->pending[id / 64] |= 1ull << id % 64;
    else
        f->pending[id / 64] &= ~(1ull << id % 64);
    update(f);
    mutex_unlock(&f->lock);
}

// ---- registers for the hart ----

// Bits of a word that stand for identities; NULL: there is no such register.
static uint64_t *word_at(struct file *f, unsigned reg, uint64_t *valid)
{
    unsigned n = reg % 64 / 2;
    if (reg < EIP0 || reg & 1 || n * 64 > f->ids)
        return NULL;
    *valid = n ? ~0ull : ~1ull;
    return reg < EIE0 ? &f->pending[n] : &f->enabled[n];
}

static enum mem_result file_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    struct file *f = opaque;
    unsigned reg = (unsigned)(off % WINDOW / 8);
    uint64_t valid;
    mutex_lock(&f->lock);
    const uint64_t *word = word_at(f, reg, &valid);
    *val = word                 ? *word
           : reg == EIDELIVERY  ? f->delivery
           : reg == EITHRESHOLD ? f->threshold
           : reg == TOPEI       ? top(f) * 0x10001ull
                                : 0;
    mutex_unlock(&f->lock);
    return MEM_OK;
}

static enum mem_result file_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct file *f = opaque;
    unsigned reg = (unsigned)(off % WINDOW / 8), window = (unsigned)(off / WINDOW);
    if (reg == TOPEI) {
        set_pending(f, (uint32_t)val, false);
        return MEM_OK;
    }
    uint64_t valid;
    mutex_lock(&f->lock);
    uint64_t *word = word_at(f, reg, &valid);
    if (word)
        *word = window == WINDOW_CLEAR ? *word & ~val
                : window == WINDOW_SET ? *word | (val & valid)
                                       : val & valid;
    else if (reg == EIDELIVERY && val <= 1)
        f->delivery = (uint32_t)val;
    else if (reg == EITHRESHOLD && val <= f->ids)
        f->threshold = (uint32_t)val;
    update(f);
    mutex_unlock(&f->lock);
    return MEM_OK;
}

static const struct mmio_ops file_ops = {file_read, file_write, .min_size = 8, .max_size = 8};

// ---- pages for messages ----

static struct file *file_at(struct imsic *m, gpa_t off)
{
    uint64_t stride = imsic_stride(m->guests), hart = off / stride;
    uint64_t guest = off % stride / IMSIC_PAGE;
    if (hart >= m->harts || guest > m->guests)
        return NULL;
    return &m->file[hart * (1 + m->guests) + guest];
}

static enum mem_result page_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    *val = 0;
    return file_at(opaque, off) ? MEM_OK : MEM_ERROR;
}

static enum mem_result page_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct file *f = file_at(opaque, off);
    if (!f)
        return MEM_ERROR;
    if (off % IMSIC_PAGE == SETEIPNUM_LE)
        set_pending(f, (uint32_t)val, true);
    else if (off % IMSIC_PAGE == SETEIPNUM_BE)
        set_pending(f, __builtin_bswap32((uint32_t)val), true);
    return MEM_OK;
}

static const struct mmio_ops page_ops = {page_read, page_write, .min_size = 4, .max_size = 4};

bool imsic_message(struct device *d, gpa_t addr, uint32_t data)
{
    struct imsic *m = of(d);
    if (addr < m->base || addr - m->base >= m->harts * imsic_stride(m->guests))
        return false;
    return page_write(m, addr - m->base, 4, data, (struct mem_attrs){0}) == MEM_OK;
}

// ---- the device ----

void imsic_map(struct device *d, struct space *memory, gpa_t base)
{
    of(d)->base = base;
    sys_map(&of(d)->sys, 0, memory, base);
}

static struct file *file_of(struct device *d, unsigned hart, unsigned guest)
{
    struct imsic *m = of(d);
    BUG_ON(hart >= m->harts || guest > m->guests);
    return &m->file[hart * (1 + m->guests) + guest];
}

void imsic_map_sysregs(struct device *d, unsigned hart, unsigned guest, struct space *sysregs,
                       unsigned file)
{
    space_map_mmio(sysregs, "imsic", (gpa_t)file * IMSIC_SYSREG_STRIDE, IMSIC_SYSREG_STRIDE,
                   &file_ops, file_of(d, hart, guest), NULL, 0);
}

void imsic_connect(struct device *d, unsigned hart, unsigned guest, struct irq to)
{
    file_of(d, hart, guest)->line = to;
}

static unsigned n_files(const struct imsic *m)
{
    return m->harts * (1 + m->guests);
}

static int imsic_init(struct device *d, struct err *e)
{
    struct imsic *m = of(d);
    if ((m->ids + 1) % 64)
        return err_set(e, "riscv.imsic: num-ids=%u is not one less than a multiple of 64", m->ids);
    m->file = xcalloc(n_files(m), sizeof *m->file);
    for (unsigned i = 0; i < n_files(m); i++) {
        m->file[i].ids = m->ids;
        pthread_mutex_init(&m->file[i].lock, NULL);
    }
    sys_add_window(&m->sys, "imsic", m->harts * imsic_stride(m->guests), &page_ops, m);
    m->sys.windows[0].unguarded = true;
    return 0;
}

static void imsic_reset(struct device *d)
{
    struct imsic *m = of(d);
    for (unsigned i = 0; i < n_files(m); i++) {
        struct file *f = &m->file[i];
        mutex_lock(&f->lock);
        f->delivery = f->threshold = 0;
        memset(f->pending, 0, sizeof f->pending);
        memset(f->enabled, 0, sizeof f->enabled);
        update(f);
        mutex_unlock(&f->lock);
    }
}

static void imsic_exit(struct device *d)
{
    struct imsic *m = of(d);
    for (unsigned i = 0; i < n_files(m); i++)
        pthread_mutex_destroy(&m->file[i].lock);
    free(m->file);
}

static const struct field saved_fields[] = {
    FIELD(struct file, delivery, .kind = F_U32, .use = FIELD_STATE, .max = 1),
    FIELD(struct file, threshold, .kind = F_U32, .use = FIELD_STATE, .max = IDS_MAX),
    FIELD(struct file, pending, .kind = F_U64A, .use = FIELD_STATE, .len = WORDS),
    FIELD(struct file, enabled, .kind = F_U64A, .use = FIELD_STATE, .len = WORDS),
    {0},
};

static void imsic_save(struct device *d, struct buf *out)
{
    struct imsic *m = of(d);
    for (unsigned i = 0; i < n_files(m); i++)
        fields_save(saved_fields, &m->file[i], out);
}

static int imsic_load(struct device *d, struct reader *r, struct err *e)
{
    struct imsic *m = of(d);
    int bad = 0;
    for (unsigned i = 0; i < n_files(m) && !bad; i++)
        bad = fields_load(saved_fields, &m->file[i], r, e);
    return bad;
}

static int imsic_post_load(struct device *d, struct err *e)
{
    struct imsic *m = of(d);
    for (unsigned i = 0; i < n_files(m); i++) {
        struct file *f = &m->file[i];
        mutex_lock(&f->lock);
        for (uint32_t w = (f->ids + 1) / 64; w < WORDS; w++)
            f->pending[w] = f->enabled[w] = 0;
        update(f);
        mutex_unlock(&f->lock);
    }
    return 0;
}

static const struct field imsic_fields[] = {
    FIELD(struct imsic, harts, .name = "num-harts", .kind = F_U32, .use = FIELD_PROP, .init = 1,
          .min = 1, .max = HARTS_MAX),
    FIELD(struct imsic, ids, .name = "num-ids", .kind = F_U32, .use = FIELD_PROP, .init = 255,
          .min = 63, .max = IDS_MAX),
    FIELD(struct imsic, guests, .name = "num-guests", .kind = F_U32, .use = FIELD_PROP,
          .max = IMSIC_GUESTS_MAX),
    {0},
};

const struct device_type imsic_type = {
    .name = "riscv.imsic",
    .desc = "RISC-V incoming MSI controllers of a privilege level",
    .category = "Misc devices",
    .size = sizeof(struct imsic),
    .fields = imsic_fields,
    .base = &sys_device_base,
    .init = imsic_init,
    .reset = imsic_reset,
    .exit = imsic_exit,
    .save = imsic_save,
    .load = imsic_load,
    .post_load = imsic_post_load,
};
