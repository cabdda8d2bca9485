// Dirty bitmaps: block-dirty-bitmap-*, alone and in transactions.
#include "base/bits.h"
#include "control/monitor/disks/transaction.h"

#include <stdlib.h>

static struct bitmap *find(struct monitor *m, const char *node, const char *name,
                           struct qmp_error *e)
{
    struct block_node *n = action_node(m, node, e);
    struct bitmap *b = n ? bitmap_find(n, name) : NULL;
    if (n && !b)
        qmp_fail(e, "GenericError", "Dirty bitmap '%s' not found", name);
    return b;
}

static bool find_usable(struct monitor *m, struct json_object *data, struct action *a,
                        struct qmp_error *e)
{
    a->bitmap = find(m, qmp_str(data, "node"), qmp_str(data, "name"), e);
    return a->bitmap && (!bitmap_check(a->bitmap, true, &e->err) || action_fail(e));
}

// ---- add ----

static bool prepare_add(struct monitor *m, struct json_object *data, struct action *a,
                        struct qmp_error *e)
{
    int64_t granularity = qmp_int(data, "granularity");
    if (!(a->node = action_node(m, qmp_str(data, "node"), e)))
        return false;
    if (granularity && (granularity < 512 || !is_pow2((uint64_t)granularity))) {
        qmp_fail(e, "GenericError",
                 "Parameter 'granularity' expects a power of 2 value of at least 512");
        return false;
    }
    a->bitmap = bitmap_new(a->node, qmp_str(data, "name"),
                           granularity ? log2_floor((uint64_t)granularity) : 0,
                           qmp_bool(data, "persistent", false), &e->err);
    if (!a->bitmap)
        return action_fail(e);
    bitmap_enable(a->bitmap, !qmp_bool(data, "disabled", false));
    return true;
}

static void undo_add(struct monitor *m, struct action *a)
{
    bitmap_free(a->bitmap);
}

const struct action_type action_bitmap_add = {.name = "block-dirty-bitmap-add",
                                              .data = "BlockDirtyBitmapAdd",
                                              .prepare = prepare_add,
                                              .abort = undo_add};

// ---- remove: out of sight at once, gone when all is well ----

static bool prepare_remove(struct monitor *m, struct json_object *data, struct action *a,
                           struct qmp_error *e)
{
    a->bitmap = find(m, qmp_str(data, "node"), qmp_str(data, "name"), e);
    if (!a->bitmap)
        return false;
    bool whole = !a->bitmap->inconsistent; // an inconsistent one is good for this alone
    if (whole && bitmap_check(a->bitmap, true, &e->err))
        return action_fail(e);
    list_remove(&a->bitmap->link);
    return true;
}

static void undo_remove(struct monitor *m, struct action *a)
{
    list_append(&a->bitmap->n->bitmaps, &a->bitmap->link);
}

static void commit_remove(struct monitor *m, struct action *a)
{
    bitmap_free(a->bitmap);
}

const struct action_type action_bitmap_remove = {.name = "block-dirty-bitmap-remove",
                                                 .data = "BlockDirtyBitmap",
                                                 .prepare = prepare_remove,
                                                 .commit = commit_remove,
                                                 .abort = undo_remove};

// ---- clear and merge: the bits before are kept ----

static void undo_bits(struct monitor *m, struct action *a)
{
    bitmap_put_bits(a->bitmap, a->bits);
    a->bits = NULL;
}

static bool prepare_clear(struct monitor *m, struct json_object *data, struct action *a,
                          struct qmp_error *e)
{
    if (!find_usable(m, data, a, e))
        return false;
    a->bits = bitmap_take_bits(a->bitmap);
    return true;
}

const struct action_type action_bitmap_clear = {.name = "block-dirty-bitmap-clear",
                                                .data = "BlockDirtyBitmap",
                                                .prepare = prepare_clear,
                                                .abort = undo_bits};

static struct bitmap *source_of(struct monitor *m, const char *node, struct json_object *item,
                                struct qmp_error *e)
{
    if (json_object_is_type(item, json_type_string))
        return find(m, node, json_object_get_string(item), e);
    if (!json_object_is_type(item, json_type_object) ||
        !qmp_check_members("BlockDirtyBitmap", item, e)) {
        if (!e->class)
            qmp_fail(e, "GenericError", "Parameter 'bitmaps' expects names or objects");
        return NULL;
    }
    return find(m, qmp_str(item, "node"), qmp_str(item, "name"), e);
}

static bool merge_one(struct bitmap *to, struct bitmap *from, struct qmp_error *e)
{
    if (bitmap_check(from, false, &e->err))
        return action_fail(e);
    if (block_size(to->n) != block_size(from->n)) {
        qmp_fail(e, "GenericError", "Bitmaps are of different sizes and can't be merged");
        return false;
    }
    bitmap_merge(to, from);
    return true;
}

static bool prepare_merge(struct monitor *m, struct json_object *data, struct action *a,
                          struct qmp_error *e)
{
    struct json_object *list;
    const char *node = qmp_str(data, "node");
    a->bitmap = find(m, node, qmp_str(data, "target"), e);
    if (!a->bitmap)
        return false;
    if (bitmap_check(a->bitmap, true, &e->err))
        return action_fail(e);
    json_object_object_get_ex(data, "bitmaps", &list);
    a->bits = bitmap_take_bits(a->bitmap);
    bitmap_add_bits(a->bitmap, a->bits);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct bitmap *from = source_of(m, node, json_object_array_get_idx(list, i), e);
        if (from && merge_one(a->bitmap, from, e))
            continue;
        undo_bits(m, a);
        return false;
    }
    return true;
}

const struct action_type action_bitmap_merge = {.name = "block-dirty-bitmap-merge",
                                                .data = "BlockDirtyBitmapMerge",
                                                .prepare = prepare_merge,
                                                .abort = undo_bits};

// ---- enable and disable ----

static bool turn(struct monitor *m, struct json_object *data, struct action *a, bool on,
                 struct qmp_error *e)
{
    if (!find_usable(m, data, a, e))
        return false;
    a->was = a->bitmap->enabled;
    bitmap_enable(a->bitmap, on);
    return true;
}

static bool prepare_enable(struct monitor *m, struct json_object *data, struct action *a,
                           struct qmp_error *e)
{
    return turn(m, data, a, true, e);
}

static bool prepare_disable(struct monitor *m, struct json_object *data, struct action *a,
                            struct qmp_error *e)
{
    return turn(m, data, a, false, e);
}

static void undo_turn(struct monitor *m, struct action *a)
{
    bitmap_enable(a->bitmap, a->was);
}

const struct action_type action_bitmap_enable = {.name = "block-dirty-bitmap-enable",
                                                 .data = "BlockDirtyBitmap",
                                                 .prepare = prepare_enable,
                                                 .abort = undo_turn};
const struct action_type action_bitmap_disable = {.name = "block-dirty-bitmap-disable",
                                                  .data = "BlockDirtyBitmap",
                                                  .prepare = prepare_disable,
                                                  .abort = undo_turn};

#define ACTION(name)                                                                               \
    RUN(block_dirty_bitmap_##name)                                                                 \
    {                                                                                              \
        return action_run(m, &action_bitmap_##name, args, e);                                      \
    }
ACTION(add)
ACTION(clear)
ACTION(disable)
ACTION(enable)
ACTION(merge)
ACTION(remove)
