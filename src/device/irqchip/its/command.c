// ITS commands (Arm IHI 0069H, 5.3): the queue in guest memory and what each command does to the
// tables. A command that makes no sense is skipped and counted, so that the queue never stalls.
#include "device/irqchip/its/its_state.h"

#include <inttypes.h>

enum {
    CMD_MOVI = 0x01,
    CMD_INT = 0x03,
    CMD_CLEAR = 0x04,
    CMD_SYNC = 0x05,
    CMD_MAPD = 0x08,
    CMD_MAPC = 0x09,
    CMD_MAPTI = 0x0a,
    CMD_MAPI = 0x0b,
    CMD_INV = 0x0c,
    CMD_INVALL = 0x0d,
    CMD_MOVALL = 0x0e,
    CMD_DISCARD = 0x0f,
    COMMAND_BYTES = 32,
    BUDGET = 256, // commands run before other work of the loop has its turn
};

struct command { // the fields that commands share, by their place
    uint8_t op;
    bool valid;
    uint32_t device, event, intid, collection;
    unsigned size;
    gpa_t itt;
    uint64_t cpu, cpu2;
};

static struct command decode(const uint8_t raw[COMMAND_BYTES])
{
    uint64_t w[4];
    for (unsigned i = 0; i < 4; i++)
        w[i] = ld_le64(raw + 8 * i);
    return (struct command){
        .op = (uint8_t)w[0],
        .device = (uint32_t)(w[0] >> 32),
        .event = (uint32_t)w[1],
        .intid = (uint32_t)(w[1] >> 32),
        .size = w[1] & 0x1f,
        .collection = w[2] & 0xffff,
        .itt = bits(w[2], 51, 8) << 8,
        .valid = bit(w[2], 63),
        .cpu = bits(w[2], 50, 16),
        .cpu2 = bits(w[3], 50, 16),
    };
}

static int map_event(struct gicv3_its *s, const struct command *c, uint32_t intid)
{
    struct its_device d;
    if (intid < LPI_FIRST || intid >= LPI_END || its_device_get(s, c->device, &d))
        return -1;
    return its_event_set(s, &d, c->event, true, intid, c->collection);
}

static int move_event(struct gicv3_its *s, const struct command *c)
{
    struct its_device d;
    uint32_t intid, collection;
    if (its_device_get(s, c->device, &d) || its_event_get(s, &d, c->event, &intid, &collection))
        return -1;
    struct gicv3_cpu *from = its_collection_get(s, collection);
    struct gicv3_cpu *to = its_collection_get(s, c->collection);
    if (!from || !to || its_event_set(s, &d, c->event, true, intid, c->collection))
        return -1;
    if (from != to && gic_lpi_take(from, intid))
        gic_lpi_set(to, intid, true);
    return 0;
}

static int on_event(struct gicv3_its *s, const struct command *c)
{
    struct gicv3_cpu *cpu;
    struct its_device d;
    uint32_t intid;
    if (its_translate(s, c->device, c->event, &intid, &cpu))
        return -1;
    switch (c->op) {
    case CMD_INT:
        gic_lpi_set(cpu, intid, true);
        return 0;
    case CMD_INV:
        gic_lpi_reload(s->gic, intid);
        return 0;
    case CMD_CLEAR:
        gic_lpi_set(cpu, intid, false);
        return 0;
    default: // DISCARD
        gic_lpi_set(cpu, intid, false);
        return its_device_get(s, c->device, &d) || its_event_set(s, &d, c->event, false, 0, 0);
    }
}

static int run(struct gicv3_its *s, const struct command *c)
{
    switch (c->op) {
    case CMD_MAPD:
        return c->valid && c->size >= LPI_ID_BITS
                   ? -1
                   : its_device_set(s, c->device, c->valid, c->itt, c->size);
    case CMD_MAPC:
        return c->valid && !its_cpu(s, c->cpu)
                   ? -1
                   : its_collection_set(s, c->collection, c->valid, c->cpu);
    case CMD_MAPTI:
        return map_event(s, c, c->intid);
    case CMD_MAPI:
        return map_event(s, c, c->event);
    case CMD_MOVI:
        return move_event(s, c);
    case CMD_INT:
    case CMD_INV:
    case CMD_CLEAR:
    case CMD_DISCARD:
        return on_event(s, c);
    case CMD_INVALL:
        if (!its_collection_get(s, c->collection))
            return -1;
        gic_lpi_reload_all(s->gic);
        return 0;
    case CMD_MOVALL:
        if (!its_cpu(s, c->cpu) || !its_cpu(s, c->cpu2))
            return -1;
        gic_lpi_move_all(its_cpu(s, c->cpu), its_cpu(s, c->cpu2));
        return 0;
    case CMD_SYNC: // everything has been done in order already
        return its_cpu(s, c->cpu) ? 0 : -1;
    default:
        return -1;
    }
}

void its_run_commands(void *its)
{
    struct gicv3_its *s = its;
    mutex_lock(&s->lock);
    gpa_t base = bits(s->cbaser, 51, 12) << 12;
    uint64_t size = (bits(s->cbaser, 7, 0) + 1) * 4096;
    unsigned left = BUDGET;
    bool on = (s->ctlr & 1) && bit(s->cbaser, 63) && s->cwriter < size && s->creadr < size;
    for (; on && left && s->creadr != s->cwriter; left--) {
        uint8_t raw[COMMAND_BYTES];
        if (dma_read(s->sys.dev.env->memory, base + s->creadr, raw, sizeof raw)) {
            log_guest("ITS queue", "gicv3-its: command queue is not in memory");
            on = false;
            break;
        }
        struct command c = decode(raw);
        if (run(s, &c))
            log_guest("ITS command",
                      "gicv3-its: command 0x%02x (device 0x%x, event %u) cannot be done", c.op,
                      c.device, c.event);
        s->creadr = (s->creadr + COMMAND_BYTES) % size;
    }
    if (on && s->creadr != s->cwriter)
        loop_defer(&s->work);
    mutex_unlock(&s->lock);
}
