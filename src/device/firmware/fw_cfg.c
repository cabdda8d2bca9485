// Firmware configuration device with memory-mapped registers, as guests know it from QEMU's
// specification ("QEMU Firmware Configuration (fw_cfg) Device", docs/specs/fw_cfg): a big-endian
// selector, a data port that gives an item's bytes in order, and a DMA interface, which runs from
// deferred work and reports through the guest's control word. Items are read-only; writes by DMA
// are answered with an error.
#include "device/firmware/fw_cfg.h"
#include "base/bits.h"
#include "base/buf.h"

#include <stdlib.h>

enum { // register offsets
    REG_DATA = 0x00,
    REG_SELECTOR = 0x08,
    REG_DMA = 0x10,
    WINDOW = 0x18,
};
enum { // DMA control word
    DMA_ERROR = 1 << 0,
    DMA_READ = 1 << 1,
    DMA_SKIP = 1 << 2,
    DMA_SELECT = 1 << 3,
    DMA_WRITE = 1 << 4,
};
enum { MAX_FILES = 128, N_KEYS = FW_CFG_FILE_FIRST + MAX_FILES, KEY_MASK = 0x3fff };
static const uint64_t dma_signature = 0x51454d5520434647; // "QEMU CFG"

struct fw_cfg {
    struct sys_device sys;
    struct {
        uint8_t *data;
        size_t len;
    } items[N_KEYS];
    struct {
        char name[FW_CFG_NAME_MAX + 1];
    } files[MAX_FILES]; // sorted by name
    unsigned n_files;
    uint32_t selected;
    uint64_t offset; // next byte of the selected item
    uint64_t dma_high, dma_address;
    struct loop_work dma;
};

static struct fw_cfg *of(struct device *d)
{
    return container_of(d, struct fw_cfg, sys.dev);
}

void fw_cfg_set(struct device *d, enum fw_cfg_key key, const void *data, size_t len)
{
    struct fw_cfg *f = of(d);
    BUG_ON((unsigned)key >= N_KEYS);
    free(f->items[key].data);
    f->items[key].data = xalloc(len + 1);
    f->items[key].len = len;
    memcpy(f->items[key].data, data, len);
}

void fw_cfg_set_u16(struct device *d, enum fw_cfg_key key, uint16_t v)
{
    uint8_t b[2];
    st_le16(b, v);
    fw_cfg_set(d, key, b, sizeof b);
}
void fw_cfg_set_u32(struct device *d, enum fw_cfg_key key, uint32_t v)
{
    uint8_t b[4];
    st_le32(b, v);
    fw_cfg_set(d, key, b, sizeof b);
}
void fw_cfg_set_u64(struct device *d, enum fw_cfg_key key, uint64_t v)
{
    uint8_t b[8];
    st_le64(b, v);
    fw_cfg_set(d, key, b, sizeof b);
}

// The directory: a count, then size, key and name of each file, all big-endian.
static void write_directory(struct fw_cfg *f)
{
    struct buf b = {0};
    buf_be32(&b, f->n_files);
    for (unsigned i = 0; i < f->n_files; i++) {
        buf_be32(&b, (uint32_t)f->items[FW_CFG_FILE_FIRST + i].len);
        buf_be16(&b, (uint16_t)(FW_CFG_FILE_FIRST + i));
        buf_be16(&b, 0);
        buf_put(&b, f->files[i].name, sizeof f->files[i].name);
    }
    fw_cfg_set(&f->sys.dev, FW_CFG_FILE_DIR, b.data, b.len);
    buf_free(&b);
}

int fw_cfg_add_file(struct device *d, const char *name, const void *data, size_t len, struct err *e)
{
    struct fw_cfg *f = of(d);
    unsigned at = 0;
    if (strlen(name) > FW_CFG_NAME_MAX)
        return err_set(e, "fw_cfg: name '%s' is longer than %u characters", name, FW_CFG_NAME_MAX);
    if (f->n_files == MAX_FILES)
        return err_set(e, "fw_cfg: no room for '%s': there are %u files already", name, MAX_FILES);
    while (at < f->n_files && strcmp(f->files[at].name, name) < 0)
        at++;
    if (at < f->n_files && !strcmp(f->files[at].name, name))
        return err_set(e, "fw_cfg: there is a file '%s' already", name);
    unsigned after = f->n_files - at;
    memmove(&f->files[at + 1], &f->files[at], after * sizeof f->files[0]);
    memmove(&f->items[FW_CFG_FILE_FIRST + at + 1], &f->items[FW_CFG_FILE_FIRST + at],
            after * sizeof f->items[0]);
    memset(&f->files[at], 0, sizeof f->files[at]);
    memcpy(f->files[at].name, name, strlen(name));
    f->items[FW_CFG_FILE_FIRST + at].data = NULL;
    f->n_files++;
    fw_cfg_set(d, FW_CFG_FILE_FIRST + at, data, len);
    write_directory(f);
    return 0;
}

static void select_item(struct fw_cfg *f, uint32_t key)
{
    f->selected = key & KEY_MASK;
    f->offset = 0;
}

// Bytes of the selected item, zeros behind its end.
static void take(struct fw_cfg *f, uint8_t *out, size_t n)
{
    memset(out, 0, n);
    if (f->selected >= N_KEYS)
        return;
    size_t len = f->items[f->selected].len;
    if (f->offset >= len)
        return;
    size_t have = MIN(n, len - (size_t)f->offset);
    memcpy(out, f->items[f->selected].data + f->offset, have);
    f->offset += have;
}

static int dma_transfer(struct fw_cfg *f, gpa_t to, uint32_t len)
{
    struct space *mem = f->sys.dev.env->memory;
    uint8_t chunk[16 * KiB];
    for (uint32_t done = 0; done < len;) {
        uint32_t n = MIN(len - done, (uint32_t)sizeof chunk);
        take(f, chunk, n);
        if (dma_write(mem, to + done, chunk, n))
            return -1;
        done += n;
    }
    return 0;
}

// The length that is left to give is bounded by the item, and by memory for the zeros behind it.
static void dma_run(void *opaque)
{
    struct fw_cfg *f = opaque;
    struct space *mem = f->sys.dev.env->memory;
    uint8_t desc[16], answer[4];
    device_lock(&f->sys.dev);
    gpa_t at = f->dma_address;
    if (dma_read(mem, at, desc, sizeof desc)) {
        log_guest("fw_cfg DMA", "fw_cfg: DMA descriptor at 0x%llx is not in memory",
                  (unsigned long long)at);
        device_unlock(&f->sys.dev);
        return;
    }
    uint32_t control = ld_be32(desc), len = ld_be32(desc + 4), result = 0;
    if (control & DMA_SELECT)
        select_item(f, control >> 16);
    if (control & DMA_READ)
        result = dma_transfer(f, ld_be64(desc + 8), len) ? DMA_ERROR : 0;
    else if (control & DMA_WRITE)
        result = DMA_ERROR;
    else if (control & DMA_SKIP)
        f->offset += len;
    st_be32(answer, result);
    if (dma_write(mem, at, answer, sizeof answer))
        log_guest("fw_cfg DMA", "fw_cfg: DMA control word cannot be written");
    device_unlock(&f->sys.dev);
}

static enum mem_result fw_cfg_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    struct fw_cfg *f = opaque;
    uint8_t b[8] = {0};
    if (off < REG_SELECTOR) {
        take(f, b, size);
    } else if (off >= REG_DMA) {
        uint8_t signature[8];
        st_be64(signature, dma_signature);
        memcpy(b, signature + (off - REG_DMA), MIN(size, 8 - (unsigned)(off - REG_DMA)));
    }
    *val = ld_le64(b);
    return MEM_OK;
}

// Registers are big-endian: the value as the guest's little-endian store gave it is turned round.
static enum mem_result fw_cfg_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    struct fw_cfg *f = opaque;
    uint64_t v = __builtin_bswap64(val) >> (64 - size * 8);
    if (off == REG_SELECTOR && size == 2) {
        select_item(f, (uint32_t)v);
    } else if (off == REG_DMA && size == 4) {
        f->dma_high = v << 32;
    } else if ((off == REG_DMA && size == 8) || (off == REG_DMA + 4 && size == 4)) {
        f->dma_address = size == 8 ? v : f->dma_high | v;
        f->dma_high = 0;
        loop_defer(&f->dma);
    } else {
        log_guest("fw_cfg write", "fw_cfg: %u-byte write at offset 0x%llx", size,
                  (unsigned long long)off);
    }
    return MEM_OK;
}

static const struct mmio_ops fw_cfg_ops = {.read = fw_cfg_read, .write = fw_cfg_write};

static int fw_cfg_init(struct device *d, struct err *e)
{
    struct fw_cfg *f = of(d);
    sys_add_window(&f->sys, "fw_cfg", WINDOW, &fw_cfg_ops, f);
    loop_work_init(&f->dma, d->env->loop, dma_run, f);
    fw_cfg_set(d, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_set_u32(d, FW_CFG_ID, 3); // data port and DMA
    write_directory(f);
    return 0;
}

static void fw_cfg_reset(struct device *d)
{
    struct fw_cfg *f = of(d);
    select_item(f, FW_CFG_SIGNATURE);
    f->dma_high = 0;
}

static void fw_cfg_exit(struct device *d)
{
    struct fw_cfg *f = of(d);
    loop_work_cancel(&f->dma);
    for (unsigned i = 0; i < N_KEYS; i++)
        free(f->items[i].data);
}

static const struct field fw_cfg_fields[] = {
    FIELD(struct fw_cfg, selected, .kind = F_U32, .use = FIELD_STATE, .max = KEY_MASK),
    FIELD(struct fw_cfg, offset, .kind = F_U64, .use = FIELD_STATE, .max = UINT32_MAX),
    FIELD(struct fw_cfg, dma_high, .kind = F_U64, .use = FIELD_STATE),
    {0},
};

const struct device_type fw_cfg_type = {
    .name = "fw_cfg_mem",
    .desc = "firmware configuration",
    .category = "Misc devices",
    .size = sizeof(struct fw_cfg),
    .fields = fw_cfg_fields,
    .base = &sys_device_base,
    .init = fw_cfg_init,
    .reset = fw_cfg_reset,
    .exit = fw_cfg_exit,
};
