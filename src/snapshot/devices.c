// Devices in a saved machine. A device goes by its type and its id, or, without one, by the device
// that carries it, or by its number among those of its type.
#include "snapshot/snapshot.h"
#include "device/device.h"

#include <stdio.h>

static void name_of(struct device_tree *t, const struct device *d, char name[STATE_NAME_MAX])
{
    const struct device *named = d;
    while (named && !named->id)
        named = named->host;
    if (named) {
        snprintf(name, STATE_NAME_MAX, "device:%.60s:%.60s", d->type->name, named->id);
        return;
    }
    unsigned n = 0;
    for (size_t i = 0; t->devices.data[i] != d; i++)
        n += t->devices.data[i]->type == d->type && !t->devices.data[i]->id;
    snprintf(name, STATE_NAME_MAX, "device:%.60s#%u", d->type->name, n);
}

void state_save_devices(struct state_out *o, struct device_tree *t)
{
    for (size_t i = 0; i < t->devices.len; i++) {
        char name[STATE_NAME_MAX];
        struct buf b = {0};
        name_of(t, t->devices.data[i], name);
        device_save(t->devices.data[i], &b);
        state_section(o, name, &b);
        buf_free(&b);
    }
}

int state_load_device(struct device_tree *t, const char *name, const struct buf *payload,
                      struct err *e)
{
    for (size_t i = 0; i < t->devices.len; i++) {
        char own[STATE_NAME_MAX];
        name_of(t, t->devices.data[i], own);
        if (strcmp(own, name))
            continue;
        struct reader r = reader_of(payload->data, payload->len);
        return device_load(t->devices.data[i], &r, e) ? err_prefix(e, "%s", name) : 0;
    }
    return err_set(e, "the saved machine has a device that is not here: %s", name);
}
