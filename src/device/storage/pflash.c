// Parallel NOR flash with the Common Flash Interface (JEDEC JESD68.01, JEP137) and the Intel/Sharp
// extended command set (CFI command set 1): two x16 devices make a 32-bit bank, every command and
// answer appears in both halves. Reads in array mode go straight to memory. A program or erase
// operation shows "ready" only once its bytes are in the block node, so what the guest believes
// stored has been stored; the node is flushed shortly after the last one. Programming only clears
// bits. Not modelled: suspend, one-time-programmable registers, persistent block locks.
#include "device/storage/pflash.h"
#include "base/bits.h"
#include "base/buf.h"
#include "block/block.h"

#include <inttypes.h>
#include <stdlib.h>

enum { // commands, in the low byte
    CMD_WORD_PROGRAM_ALT = 0x10,
    CMD_BLOCK_ERASE = 0x20,
    CMD_WORD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK_SETUP = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_CFI_QUERY = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_BUFFER_PROGRAM = 0xe8,
    CMD_READ_ARRAY = 0xff,
};
enum { // status register
    SR_READY = 0x80,
    SR_ERASE_ERROR = 0x20,
    SR_PROGRAM_ERROR = 0x10,
    SR_PROTECTED = 0x02,
};
enum pflash_mode { MODE_ARRAY, MODE_STATUS, MODE_ID, MODE_CFI };
enum pflash_cycle { // what the next write is
    CYCLE_COMMAND,
    CYCLE_WORD_DATA,
    CYCLE_ERASE_CONFIRM,
    CYCLE_LOCK,
    CYCLE_BUFFER_COUNT,
    CYCLE_BUFFER_DATA,
    CYCLE_BUFFER_CONFIRM,
};
enum {
    BANK_WIDTH = 4,
    BUFFER_LOG2 = 11, // bytes of each device's write buffer
    BUFFER_BYTES = 2 << BUFFER_LOG2,
    FLUSH_DELAY_NS = 200000000,
};

struct pflash {
    struct sys_device sys;
    uint64_t size, sector;
    struct block_node *node;
    struct ram *ram;
    struct region *region;
    uint8_t *loaded; // contents given by pflash_load, until start
    size_t loaded_len;
    uint64_t stored; // bytes of the bank that the node holds

    uint32_t mode, cycle, status;
    uint64_t buffer_at; // offset of the buffer's first byte; valid while buffer_len > 0
    uint32_t buffer_words, buffer_len;
    uint8_t buffer[BUFFER_BYTES];

    // What is on its way to the node.
    uint64_t dirty_at, dirty_len;
    uint32_t fail_bits;
    struct loop_work store;
    struct loop_timer flush;
};

static struct pflash *of(struct device *d)
{
    return container_of(d, struct pflash, sys.dev);
}

static void set_mode(struct pflash *p, enum pflash_mode mode)
{
    if ((p->mode == MODE_ARRAY) != (mode == MODE_ARRAY) && p->region)
        region_set_romd(p->region, mode == MODE_ARRAY);
    p->mode = mode;
}

// ---- storing ----

static void store_run(void *opaque)
{
    struct pflash *p = opaque;
    device_lock(&p->sys.dev);
    uint64_t at = p->dirty_at, len = p->dirty_len;
    uint32_t fail_bits = p->fail_bits;
    uint8_t *copy = len ? xalloc(len) : NULL;
    if (copy)
        ram_read(p->ram, at, copy, len);
    device_unlock(&p->sys.dev);
    if (!copy)
        return;
    int r = block_pwrite(p->node, at, copy, len);
    free(copy);
    if (r)
        log_warn("pflash: write to %s: %s", block_filename(p->node), strerror(-r));
    device_lock(&p->sys.dev);
    p->dirty_len = 0;
    p->status |= SR_READY | (r ? fail_bits : 0);
    loop_timer_set(&p->flush, host_monotonic_ns() + FLUSH_DELAY_NS);
    device_unlock(&p->sys.dev);
}

static void flush_run(void *opaque)
{
    struct pflash *p = opaque;
    int r = block_flush(p->node);
    if (r)
        log_warn("pflash: flush of %s: %s", block_filename(p->node), strerror(-r));
}

// New contents are in memory; the operation is over when the node has them too.
static void changed(struct pflash *p, uint64_t at, uint64_t len, uint32_t fail_bits)
{
    if (!p->node)
        return;
    p->status &= ~(uint32_t)SR_READY;
    p->dirty_at = at;
    p->dirty_len = len;
    p->fail_bits = fail_bits;
    loop_defer(&p->store);
}

static bool writable(struct pflash *p, uint64_t at, uint64_t len, uint32_t fail_bits)
{
    bool good = at + len <= p->size;
    if (p->node)
        good = good && !block_readonly(p->node) && at + len <= p->stored;
    if (!good)
        p->status |= SR_PROTECTED | fail_bits;
    return good;
}

static void program(struct pflash *p, uint64_t at, const uint8_t *data, size_t len)
{
    uint8_t old[BUFFER_BYTES];
    if (!writable(p, at, len, SR_PROGRAM_ERROR))
        return;
    ram_read(p->ram, at, old, len);
    for (size_t i = 0; i < len; i++)
        old[i] &= data[i];
    ram_write(p->ram, at, old, len);
    changed(p, at, len, SR_PROGRAM_ERROR);
}

static void erase(struct pflash *p, uint64_t at)
{
    at = align_down(at, p->sector);
    if (!writable(p, at, p->sector, SR_ERASE_ERROR))
        return;
    uint8_t ones[4096];
    memset(ones, 0xff, sizeof ones);
    for (uint64_t o = 0; o < p->sector; o += sizeof ones)
        ram_write(p->ram, at + o, ones, MIN(sizeof ones, (size_t)(p->sector - o)));
    changed(p, at, p->sector, SR_ERASE_ERROR);
}

// ---- reading ----

// One byte of the query structure of each device; word address as on the device's own bus.
static uint8_t cfi_byte(const struct pflash *p, uint32_t word)
{
    const uint64_t blocks = p->size / p->sector - 1, region = p->sector / 2 / 256;
    const uint8_t table[] = {
        'Q',
        'R',
        'Y',
        0x01,
        0x00,
        0x31,
        0x00,
        0x00,
        0x00,
        0x00,
        0x00, // command sets
        0x45,
        0x55,
        0x00,
        0x00, // 4.5 to 5.5 V
        0x07,
        0x07,
        0x0a,
        0x00,
        0x04,
        0x04,
        0x04,
        0x00, // typical, maximal times
        (uint8_t)log2_floor(p->size / 2),
        0x01,
        0x00,
        BUFFER_LOG2,
        0x00,
        0x01,
        (uint8_t)blocks,
        (uint8_t)(blocks >> 8),
        (uint8_t)region,
        (uint8_t)(region >> 8), // one erase region
        'P',
        'R',
        'I',
        '1',
        '0',
        0x00,
        0x00,
        0x00,
        0x00,
        0x00,
        0x00,
        0x00,
        0x00,
        0x00,
    };
    return word >= 0x10 && word - 0x10 < sizeof table ? table[word - 0x10] : 0;
}

static uint8_t id_byte(uint32_t word)
{
    switch (word & 0xff) {
    case 0:
        return 0x89; // Intel
    case 1:
        return 0x18;
    default: // blocks are not locked
        return 0;
    }
}

static enum mem_result pflash_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    struct pflash *p = opaque;
    uint32_t word = (uint32_t)(off / BANK_WIDTH) & 0xff, v = 0;
    switch ((enum pflash_mode)p->mode) {
    case MODE_ARRAY: {
        uint8_t b[8];
        ram_read(p->ram, off, b, size);
        *val = ld_le64(b) & mask_low(size * 8);
        return MEM_OK;
    }
    case MODE_STATUS:
        v = p->status;
        break;
    case MODE_ID:
        v = id_byte(word);
        break;
    case MODE_CFI:
        v = cfi_byte(p, word);
        break;
    }
    *val = (v | v << 16) >> (off % BANK_WIDTH * 8) & mask_low(size * 8);
    return MEM_OK;
}

// ---- commands ----

static void first_cycle(struct pflash *p, uint8_t cmd)
{
    switch (cmd) {
    case CMD_READ_ARRAY:
    case 0x00: // some drivers reset this way
    case 0xf0:
        set_mode(p, MODE_ARRAY);
        return;
    case CMD_CLEAR_STATUS:
        p->status &= SR_READY;
        return;
    case CMD_READ_STATUS:
        set_mode(p, MODE_STATUS);
        return;
    case CMD_READ_ID:
        set_mode(p, MODE_ID);
        return;
    case CMD_CFI_QUERY:
        set_mode(p, MODE_CFI);
        return;
    case CMD_WORD_PROGRAM:
    case CMD_WORD_PROGRAM_ALT:
        p->cycle = CYCLE_WORD_DATA;
        break;
    case CMD_BLOCK_ERASE:
        p->cycle = CYCLE_ERASE_CONFIRM;
        break;
    case CMD_LOCK_SETUP:
        p->cycle = CYCLE_LOCK;
        break;
    case CMD_BUFFER_PROGRAM:
        p->cycle = CYCLE_BUFFER_COUNT;
        p->buffer_len = 0;
        break;
    case CMD_CONFIRM: // resume of what is never suspended
        return;
    default:
        log_guest("pflash command", "pflash: unknown command 0x%02x", cmd);
        return;
    }
    set_mode(p, MODE_STATUS);
}

static void buffer_data(struct pflash *p, uint64_t off, unsigned size, uint64_t val)
{
    if (!p->buffer_len) {
        p->buffer_at = off;
        memset(p->buffer, 0xff, sizeof p->buffer);
    }
    uint64_t into = off - p->buffer_at;
    if (off < p->buffer_at || into + size > sizeof p->buffer ||
        off / p->sector != p->buffer_at / p->sector) {
        log_guest("pflash buffer", "pflash: buffered write leaves its buffer at 0x%" PRIx64, off);
        p->status |= SR_PROGRAM_ERROR | SR_ERASE_ERROR;
        p->cycle = CYCLE_COMMAND;
        return;
    }
    uint8_t b[8];
    st_le64(b, val);
    memcpy(p->buffer + into, b, size);
    p->buffer_len = MAX(p->buffer_len, (uint32_t)(into + size));
    if (!--p->buffer_words)
        p->cycle = CYCLE_BUFFER_CONFIRM;
}

static void confirm(struct pflash *p, bool right, uint64_t off)
{
    enum pflash_cycle was = p->cycle;
    p->cycle = CYCLE_COMMAND;
    if (!right) // command sequence error
        p->status |= SR_PROGRAM_ERROR | SR_ERASE_ERROR;
    else if (was == CYCLE_ERASE_CONFIRM)
        erase(p, off);
    else if (was == CYCLE_BUFFER_CONFIRM)
        program(p, p->buffer_at, p->buffer, p->buffer_len);
}

static enum mem_result pflash_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    struct pflash *p = opaque;
    uint8_t cmd = (uint8_t)val, data[8];
    if (!(p->status & SR_READY)) { // busy: only the status may be asked for
        if (cmd == CMD_READ_STATUS)
            set_mode(p, MODE_STATUS);
        return MEM_OK;
    }
    switch ((enum pflash_cycle)p->cycle) {
    case CYCLE_COMMAND:
        first_cycle(p, cmd);
        break;
    case CYCLE_WORD_DATA:
        p->cycle = CYCLE_COMMAND;
        st_le64(data, val);
        program(p, off, data, size);
        break;
    case CYCLE_BUFFER_COUNT:
        p->buffer_words = (uint32_t)(val & 0xffff) + 1;
        p->cycle = CYCLE_BUFFER_DATA;
        if (p->buffer_words > BUFFER_BYTES / BANK_WIDTH) {
            p->status |= SR_PROGRAM_ERROR | SR_ERASE_ERROR;
            p->cycle = CYCLE_COMMAND;
        }
        break;
    case CYCLE_BUFFER_DATA:
        buffer_data(p, off, size, val);
        break;
    case CYCLE_LOCK:
        confirm(p, cmd == CMD_CONFIRM || cmd == 0x01 || cmd == 0x2f, off);
        break;
    case CYCLE_ERASE_CONFIRM:
    case CYCLE_BUFFER_CONFIRM:
        confirm(p, cmd == CMD_CONFIRM, off);
        break;
    }
    return MEM_OK;
}

static const struct mmio_ops pflash_ops = {
    .read = pflash_read, .write = pflash_write, .min_size = 1, .max_size = 4};

// ---- life ----

void pflash_load(struct device *d, const uint8_t *data, size_t len)
{
    struct pflash *p = of(d);
    free(p->loaded);
    p->loaded = xalloc(len + 1);
    p->loaded_len = len;
    memcpy(p->loaded, data, len);
}

void pflash_map(struct device *d, struct space *s, gpa_t base)
{
    struct pflash *p = of(d);
    p->region =
        space_map_romd(s, "pflash", base, p->ram, p->size, &pflash_ops, p, device_guard(d), 0);
    region_set_romd(p->region, true);
}

static bool all_zero(const uint8_t *b, uint64_t n)
{
    return !b[0] && !memcmp(b, b + 1, n - 1);
}

// The whole of the bank into memory; what an image leaves out is erased. Pieces of zeros are not
// written, for memory starts so, and a bank that has no image at all stays zero: 64 MiB of the
// erased pattern would cost every machine as much.
static int fill(struct pflash *p, struct err *e)
{
    const uint64_t chunk = MiB;
    uint8_t *b = xalloc(chunk);
    p->stored = p->node ? block_size(p->node) : 0;
    if (p->stored > p->size || p->loaded_len > p->size) {
        free(b);
        return err_set(e, "pflash: the image has %" PRIu64 " KiB, the flash only %" PRIu64 " KiB",
                       MAX(p->stored, (uint64_t)p->loaded_len) / KiB, p->size / KiB);
    }
    bool empty = !p->stored && !p->loaded_len;
    for (uint64_t at = 0; at < p->size && !empty; at += chunk) {
        memset(b, 0xff, chunk);
        if (at < p->stored) {
            int r = block_pread(p->node, at, b, MIN(chunk, p->stored - at));
            if (r) {
                free(b);
                return err_errno(e, -r, "pflash: %s", block_filename(p->node));
            }
        } else if (at < p->loaded_len) {
            memcpy(b, p->loaded + at, MIN(chunk, p->loaded_len - at));
        }
        if (!all_zero(b, chunk))
            ram_write(p->ram, at, b, MIN(chunk, p->size - at));
    }
    free(b);
    return 0;
}

static int pflash_init(struct device *d, struct err *e)
{
    struct pflash *p = of(d);
    if (!is_pow2(p->size) || !is_pow2(p->sector) || p->sector < 4096 || p->size < p->sector ||
        p->size > GiB)
        return err_set(e, "pflash: size and sector must be powers of two, sector at least 4 KiB");
    p->ram = ram_new("pflash", p->size, false, e);
    if (!p->ram)
        return -1;
    loop_work_init(&p->store, d->env->loop, store_run, p);
    loop_timer_init(&p->flush, d->env->loop, NULL, flush_run, p);
    if (fill(p, e)) {
        ram_free(p->ram);
        return -1;
    }
    return 0;
}

// An operation that the guest has begun is brought to its end.
static void pflash_drain(struct device *d)
{
    struct pflash *p = of(d);
    if (p->dirty_len)
        store_run(p);
}

static void pflash_reset(struct device *d)
{
    struct pflash *p = of(d);
    p->cycle = CYCLE_COMMAND;
    p->status = SR_READY;
    p->buffer_len = 0;
    set_mode(p, MODE_ARRAY);
}

static void pflash_exit(struct device *d)
{
    struct pflash *p = of(d);
    loop_work_cancel(&p->store);
    if (p->flush.deadline != INT64_MAX)
        flush_run(p);
    loop_timer_cancel(&p->flush);
    if (p->region)
        region_unmap(p->region);
    ram_free(p->ram);
    free(p->loaded);
}

// The contents: pages that are not zero, by number. The file below is written when a saved machine
// is loaded, for it may have changed since.
enum { PAGE = 4096, NO_MORE = -1 };

static void pflash_save(struct device *d, struct buf *out)
{
    struct pflash *p = of(d);
    uint8_t page[PAGE];
    for (uint64_t at = 0; at < p->size; at += PAGE) {
        ram_read(p->ram, at, page, PAGE);
        if (all_zero(page, PAGE))
            continue;
        buf_le32(out, (uint32_t)(at / PAGE));
        buf_put(out, page, PAGE);
    }
    buf_le32(out, (uint32_t)NO_MORE);
}

static void load_page(struct pflash *p, uint64_t at, const uint8_t *want)
{
    uint8_t have[PAGE];
    ram_read(p->ram, at, have, PAGE);
    if (!memcmp(have, want, PAGE))
        return;
    ram_write(p->ram, at, want, PAGE);
    int r = 0;
    if (p->node && !block_readonly(p->node) && at < p->stored)
        r = block_pwrite(p->node, at, want, MIN((uint64_t)PAGE, p->stored - at));
    if (r)
        log_warn("pflash: write to %s: %s", block_filename(p->node), strerror(-r));
}

static int pflash_load_saved(struct device *d, struct reader *r, struct err *e)
{
    static const uint8_t zero[PAGE];
    struct pflash *p = of(d);
    uint64_t at = 0;
    for (;;) {
        uint32_t page = rd_le32(r);
        const uint8_t *data = page == (uint32_t)NO_MORE ? NULL : rd_skip(r, PAGE);
        uint64_t end = data ? (uint64_t)page * PAGE : p->size;
        if (r->bad || end < at || end > p->size || (data && end == p->size))
            return err_set(e, "the flash's saved contents do not fit");
        for (; at < end; at += PAGE)
            load_page(p, at, zero);
        if (!data)
            return 0;
        load_page(p, at, data);
        at += PAGE;
    }
}

// `mode` decides where reads go.
static int pflash_post_load(struct device *d, struct err *e)
{
    struct pflash *p = of(d);
    enum pflash_mode mode = (enum pflash_mode)p->mode;
    if (p->buffer_len > sizeof p->buffer)
        return err_set(e, "the flash's saved buffer does not fit");
    p->mode = MODE_ARRAY;
    set_mode(p, mode);
    return 0;
}

static const struct field pflash_fields[] = {
    FIELD(struct pflash, size, .kind = F_SIZE, .use = FIELD_PROP, .init = 64 * MiB),
    FIELD(struct pflash, sector, .kind = F_SIZE, .use = FIELD_PROP, .init = 256 * KiB),
    FIELD(struct pflash, node, .kind = F_BACKEND_OBJ, .use = FIELD_PROP),
    FIELD(struct pflash, mode, .kind = F_U32, .use = FIELD_STATE, .max = MODE_CFI),
    FIELD(struct pflash, cycle, .kind = F_U32, .use = FIELD_STATE, .max = CYCLE_BUFFER_CONFIRM),
    FIELD(struct pflash, status, .kind = F_U32, .use = FIELD_STATE, .max = 0xff),
    FIELD(struct pflash, buffer_at, .kind = F_U64, .use = FIELD_STATE, .max = GiB),
    FIELD(struct pflash, buffer_words, .kind = F_U32, .use = FIELD_STATE, .max = BUFFER_BYTES),
    FIELD(struct pflash, buffer_len, .kind = F_U32, .use = FIELD_STATE, .max = BUFFER_BYTES),
    FIELD(struct pflash, buffer, .kind = F_BYTES, .use = FIELD_STATE, .len = BUFFER_BYTES),
    {0},
};

const struct device_type pflash_type = {
    .name = "cfi.pflash01",
    .desc = "parallel NOR flash, Intel command set",
    .category = "Storage devices",
    .size = sizeof(struct pflash),
    .fields = pflash_fields,
    .base = &sys_device_base,
    .init = pflash_init,
    .reset = pflash_reset,
    .drain = pflash_drain,
    .save = pflash_save,
    .load = pflash_load_saved,
    .post_load = pflash_post_load,
    .exit = pflash_exit,
};
