// The SCSI bus: addresses, finding a logical unit, and the commands that every target answers for
// units it does not have (SPC-4, 4.5 and 6.x; SAM-5, 4.7).
#include "device/scsi/scsi.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>

static struct scsi_device *of(struct device *d)
{
    return container_of(d, struct scsi_device, dev);
}

struct scsi_device *scsi_find(struct scsi_bus *b, unsigned id, unsigned lun)
{
    struct device *d;
    list_for_each(d, &b->bus.devices, siblings) if (of(d)->id == id && of(d)->lun == lun &&
                                                    d->initialised) return of(d);
    return NULL;
}

struct scsi_device *scsi_find_target(struct scsi_bus *b, unsigned id)
{
    struct device *d;
    list_for_each(d, &b->bus.devices, siblings) if (of(d)->id == id && d->initialised) return of(d);
    return NULL;
}

void scsi_bus_drain(struct scsi_bus *b)
{
    struct device *d;
    list_for_each(d, &b->bus.devices, siblings) for (const struct device_type *t = d->type; t;
                                                     t = t->base) if (t->drain) t->drain(d);
}

static bool taken(struct scsi_bus *b, unsigned id, unsigned lun)
{
    struct device *d;
    list_for_each(d, &b->bus.devices,
                  siblings) if (of(d)->id == id && of(d)->lun == lun) return true;
    return false;
}

static int plug(struct bus *bus, struct device *d, struct err *e)
{
    struct scsi_bus *b = container_of(bus, struct scsi_bus, bus);
    struct scsi_device *s = of(d);
    uint32_t lun = s->lun == UINT32_MAX ? 0 : s->lun, id = s->id;
    if (id == UINT32_MAX) {
        for (id = 0; id <= b->max_id && taken(b, id, lun); id++)
            continue;
        if (id > b->max_id)
            return err_set(e, "bus '%s' has no free SCSI id", bus->name);
    }
    if (id > b->max_id || lun > b->max_lun || s->channel)
        return err_set(e, "%s: channel is 0, scsi-id at most %u and lun at most %u on bus '%s'",
                       d->type->name, b->max_id, b->max_lun, bus->name);
    if (taken(b, id, lun))
        return err_set(e, "%s: scsi-id %u, lun %u of bus '%s' is taken", d->type->name, id, lun,
                       bus->name);
    s->id = id;
    s->lun = lun;
    s->sbus = b;
    d->host = bus->owner;
    return 0;
}

const struct bus_type scsi_bus_type = {
    .name = "SCSI",
    .size = sizeof(struct scsi_bus),
    .plug = plug,
};

struct scsi_bus *scsi_bus_new(struct device *owner, unsigned max_id, unsigned max_lun)
{
    unsigned n = 0;
    struct bus *b;
    list_for_each(b, &owner->tree->buses, link) n += b->type == &scsi_bus_type;
    const char *id = owner->host && owner->host->id ? owner->host->id : owner->id;
    char *name = id ? xasprintf("%s.0", id) : xasprintf("scsi.%u", n);
    b = bus_new(owner->tree, &scsi_bus_type, name, owner);
    free(name);
    struct scsi_bus *sb = container_of(b, struct scsi_bus, bus);
    sb->max_id = max_id;
    sb->max_lun = max_lun;
    return sb;
}

// --- ends of a command ---

void scsi_good(struct scsi_cmd *c)
{
    c->status = SCSI_GOOD;
    c->done(c);
}

void scsi_sense_fill(uint8_t *sense, struct scsi_sense s)
{
    memset(sense, 0, SCSI_SENSE_LEN);
    sense[0] = 0x70; // current, fixed format
    sense[2] = s.key;
    sense[7] = SCSI_SENSE_LEN - 8;
    sense[12] = s.asc;
    sense[13] = s.ascq;
}

void scsi_check(struct scsi_cmd *c, struct scsi_sense s)
{
    c->status = SCSI_CHECK_CONDITION;
    c->moved = 0;
    scsi_sense_fill(c->sense, s);
    c->sense_len = SCSI_SENSE_LEN;
    c->done(c);
}

void scsi_reply(struct scsi_cmd *c, const void *data, size_t len, uint64_t alloc)
{
    uint64_t n = MIN(MIN(len, alloc), c->in_len);
    int64_t put = n ? c->data->write(c, 0, data, n) : 0;
    c->moved = put < 0 ? 0 : put;
    scsi_good(c);
}

// --- commands of the target ---

#define REPORT_MAX 256

static void report_luns(struct scsi_device *d, struct scsi_cmd *c)
{
    uint8_t list[8 + 8 * REPORT_MAX] = {0};
    uint32_t alloc = ld_be32(c->cdb + 6);
    unsigned n = 0;
    if (alloc < 16 || c->cdb[2] > 2) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    bool zero = scsi_find(d->sbus, d->id, 0) != NULL;
    if (!zero) // LUN 0 answers this command, so it is always there
        n++;
    struct device *other;
    list_for_each(other, &d->sbus->bus.devices, siblings)
    {
        struct scsi_device *s = of(other);
        if (s->id != d->id || n == REPORT_MAX)
            continue;
        uint8_t *at = list + 8 + 8 * n++;
        at[0] = s->lun < 256 ? 0 : 0x40 | s->lun >> 8;
        at[1] = s->lun;
    }
    st_be32(list, 8 * n);
    scsi_reply(c, list, 8 + 8 * n, alloc);
}

static void for_absent_unit(struct scsi_cmd *c)
{
    uint8_t data[36] = {0};
    switch (c->cdb[0]) {
    case 0x12: // INQUIRY: no device can be there
        if (c->cdb[1] & 1) {
            scsi_check(c, SENSE_NO_LUN);
            return;
        }
        data[0] = 0x7f;
        data[2] = 5;
        data[3] = 2;
        data[4] = sizeof data - 5;
        scsi_reply(c, data, sizeof data, ld_be16(c->cdb + 3));
        return;
    case 0x03: // REQUEST SENSE
        scsi_sense_fill(data, SENSE_NO_LUN);
        scsi_reply(c, data, SCSI_SENSE_LEN, c->cdb[4]);
        return;
    default:
        scsi_check(c, SENSE_NO_LUN);
    }
}

void scsi_execute(struct scsi_device *d, struct scsi_cmd *c, bool addressed)
{
    c->d = d;
    if (c->cdb[0] == 0xa0)
        report_luns(d, c);
    else if (addressed)
        d->execute(d, c);
    else
        for_absent_unit(c);
}
