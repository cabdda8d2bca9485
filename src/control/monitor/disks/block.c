// QMP commands about disks: what there is, how much was moved, size.
#include "block/node/bitmap.h"
#include "control/monitor/json.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static struct json_object *describe_image(struct block_node *n)
{
    struct json_object *o = object();
    put_str(o, "filename", block_filename(n));
    put_str(o, "format", block_driver_name(n));
    put_int(o, "virtual-size", (int64_t)block_size(n));
    struct stat st;
    if (!stat(block_filename(n), &st))
        put_int(o, "actual-size", (int64_t)st.st_blocks * 512);
    if (block_backing(n)) {
        put_str(o, "backing-filename", block_filename(block_backing(n)));
        json_object_object_add(o, "backing-image", describe_image(block_backing(n)));
    }
    return o;
}

static void put_bitmaps(struct json_object *o, struct block_node *n)
{
    struct json_object *list = NULL;
    for (struct bitmap *b = bitmap_next(n, NULL); b; b = bitmap_next(n, b)) {
        struct json_object *d = object();
        put_str(d, "name", b->name);
        put_int(d, "count", (int64_t)(b->map.set << b->map.shift));
        put_int(d, "granularity", 1ll << b->map.shift);
        put_bool(d, "recording", b->enabled && !b->inconsistent && !block_readonly(n));
        put_bool(d, "busy", b->busy);
        put_bool(d, "persistent", b->persistent);
        if (b->inconsistent)
            put_bool(d, "inconsistent", true);
        if (!list)
            json_object_object_add(o, "dirty-bitmaps", list = array());
        json_object_array_add(list, d);
    }
}

static struct json_object *describe_node(struct block_node *n)
{
    struct json_object *o = object(), *cache = object();
    put_str(o, "node-name", block_node_name(n));
    put_str(o, "file", block_filename(n));
    put_str(o, "drv", block_driver_name(n));
    put_bool(o, "ro", block_readonly(n));
    put_bool(o, "encrypted", false);
    put_str(o, "detect_zeroes", "off");
    put_bool(cache, "writeback", !block_writethrough(n));
    put_bool(cache, "direct", false);
    put_bool(cache, "no-flush", false);
    json_object_object_add(o, "cache", cache);
    for (const char *const *k = (const char *const[]){"bps", "bps_rd", "bps_wr", "iops", "iops_rd",
                                                      "iops_wr", "write_threshold", NULL};
         *k; k++)
        put_int(o, *k, 0);
    if (block_backing(n))
        put_str(o, "backing_file", block_filename(block_backing(n)));
    json_object_object_add(o, "image", describe_image(n));
    put_bitmaps(o, n);
    return o;
}

RUN(query_named_block_nodes)
{
    struct json_object *a = array();
    for (struct block_node *n = drives_next_node(m->vm->drives, NULL); n;
         n = drives_next_node(m->vm->drives, n))
        json_object_array_add(a, describe_node(n));
    return a;
}

static void put_qdev(struct json_object *o, const struct drive *d)
{
    const struct device *dev = d->dev;
    if (dev && dev->host && !dev->id)
        dev = dev->host;
    char path[128];
    snprintf(path, sizeof path, "/machine/peripheral/%.60s/virtio-backend",
             dev && dev->id ? dev->id : d->id);
    if (dev)
        put_str(o, "qdev", path);
}

RUN(query_block)
{
    struct json_object *a = array();
    for (struct drive *d = drives_next(m->vm->drives, NULL); d; d = drives_next(m->vm->drives, d)) {
        struct json_object *o = object();
        put_str(o, "device", d->from_blockdev ? "" : d->id);
        put_str(o, "type", "unknown");
        put_bool(o, "removable", d->removable);
        put_bool(o, "locked", d->locked);
        put_qdev(o, d);
        if (d->removable)
            put_bool(o, "tray_open", d->tray_open);
        put_str(o, "io-status", !d->failure ? "ok" : d->failure == -ENOSPC ? "nospace" : "failed");
        if (d->node)
            json_object_object_add(o, "inserted", describe_node(d->node));
        json_object_array_add(a, o);
    }
    return a;
}

static struct json_object *node_stats(struct block_node *n)
{
    static const char *const names[] = {"rd", "wr", "flush", "unmap"};
    struct block_stats s;
    struct json_object *o = object();
    char key[40];
    block_get_stats(n, &s);
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (i != BLOCK_FLUSH) {
            snprintf(key, sizeof key, "%s_bytes", names[i]);
            put_int(o, key, (int64_t)s.bytes[i]);
        }
        snprintf(key, sizeof key, "%s_operations", names[i]);
        put_int(o, key, (int64_t)s.ops[i]);
        snprintf(key, sizeof key, "%s_total_time_ns", names[i]);
        put_int(o, key, (int64_t)s.time_ns[i]);
        snprintf(key, sizeof key, "failed_%s_operations", names[i]);
        put_int(o, key, (int64_t)s.failed[i]);
    }
    return o;
}

RUN(query_blockstats)
{
    struct json_object *a = array(), *nodes = NULL;
    bool by_node = args && json_object_object_get_ex(args, "query-nodes", &nodes) &&
                   json_object_get_boolean(nodes);
    struct drives *all = m->vm->drives;
    for (struct block_node *n = by_node ? drives_next_node(all, NULL) : NULL; n;
         n = drives_next_node(all, n)) {
        struct json_object *o = object();
        put_str(o, "node-name", block_node_name(n));
        json_object_object_add(o, "stats", node_stats(n));
        json_object_array_add(a, o);
    }
    for (struct drive *d = by_node ? NULL : drives_next(all, NULL); d; d = drives_next(all, d)) {
        if (!d->node)
            continue;
        struct json_object *o = object();
        put_str(o, "device", d->from_blockdev ? "" : d->id);
        put_str(o, "node-name", block_node_name(d->node));
        put_qdev(o, d);
        json_object_object_add(o, "stats", node_stats(d->node));
        json_object_array_add(a, o);
    }
    return a;
}

// ---- changes ----

RUN(blockdev_add)
{
    struct opts o = {0};
    if (!qmp_to_opts(args, &o, e))
        return NULL;
    return qmp_outcome(drives_add_node(m->vm->drives, &o, &e->err) != NULL, &o, e);
}

RUN(blockdev_del)
{
    const char *name = qmp_str(args, "node-name");
    vm_drop_idle_drives(m->vm);
    if (drives_del_node(m->vm->drives, name, &e->err))
        e->class = "GenericError";
    return NULL;
}

RUN(block_resize)
{
    struct json_object *size;
    const char *node = qmp_str(args, "node-name"), *device = qmp_str(args, "device");
    struct drive *d = device ? drives_find(m->vm->drives, device) : NULL;
    struct block_node *n = node ? drives_find_node(m->vm->drives, node) : d ? d->node : NULL;
    if (!n)
        return qmp_fail(e, "GenericError", "Cannot find device='%s' nor node-name='%s'",
                        device ? device : "", node ? node : "");
    json_object_object_get_ex(args, "size", &size);
    int64_t bytes = json_object_get_int64(size);
    if (bytes < 0)
        return qmp_fail(e, "GenericError", "Parameter 'size' expects a >0 size");
    if (block_resize(n, (uint64_t)bytes, &e->err)) {
        e->class = "GenericError";
        return NULL;
    }
    for (struct drive *k = drives_next(m->vm->drives, NULL); k; k = drives_next(m->vm->drives, k))
        if (k->node == n && k->media_changed) // the guest reads the capacity again
            k->media_changed(k->dev);
    return NULL;
}
