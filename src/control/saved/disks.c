// savevm, loadvm and delvm: a machine's state in its disks. Every disk that can be written takes
// part, for a machine goes on with the disks it had; flash memory is part of the state itself.
#include "base/clock.h"
#include "block/drive.h"
#include "control/saved/saved.h"
#include "control/img/img.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER = 1 << 20 };

static bool takes_part(const struct drive *d)
{
    return d->node && !block_readonly(d->node) && strcmp(d->interface, "pflash");
}

static struct drive *next_disk(struct vm *vm, struct drive *d)
{
    do
        d = drives_next(vm->drives, d);
    while (d && !takes_part(d));
    return d;
}

static const char *name_of(const struct drive *d)
{
    return d->from_blockdev ? block_node_name(d->node) : d->id;
}

// The disk that keeps the state; NULL and *e when not every disk can take part.
static struct drive *state_disk(struct vm *vm, struct err *e)
{
    for (struct drive *d = next_disk(vm, NULL); d; d = next_disk(vm, d))
        if (!block_can_snapshot(d->node)) {
            err_set(e, "Device '%s' is writable but does not support snapshots", name_of(d));
            return NULL;
        }
    struct drive *first = next_disk(vm, NULL);
    if (!first)
        err_set(e, "No available block device supports snapshots: give the machine a qcow2 disk");
    return first;
}

static bool has(struct block_node *n, const char *name, struct block_snapshot *out)
{
    struct block_snapshot *all;
    struct err ignored = {0};
    int count = block_snapshot_list(n, &all, &ignored);
    bool found = false;
    for (int i = 0; i < count && !found; i++) {
        found = !strcmp(all[i].name, name) || !strcmp(all[i].id, name);
        if (found && out)
            *out = all[i];
    }
    if (count >= 0)
        free(all);
    return found;
}

bool vm_snapshot_exists(struct vm *vm, const char *name)
{
    bool found = false;
    for (struct drive *d = next_disk(vm, NULL); d; d = next_disk(vm, d))
        found |= block_can_snapshot(d->node) && has(d->node, name, NULL);
    return found;
}

unsigned vm_snapshot_disks(struct vm *vm)
{
    unsigned n = 0;
    for (struct drive *d = next_disk(vm, NULL); d; d = next_disk(vm, d))
        n++;
    return n;
}

bool vm_snapshot_takes(struct vm *vm, const char *node)
{
    for (struct drive *d = next_disk(vm, NULL); d; d = next_disk(vm, d))
        if (!strcmp(block_node_name(d->node), node) || !strcmp(name_of(d), node))
            return true;
    return false;
}

int vm_snapshot_delete(struct vm *vm, const char *name, struct err *e)
{
    for (struct drive *d = next_disk(vm, NULL); d; d = next_disk(vm, d))
        if (block_can_snapshot(d->node) && has(d->node, name, NULL) &&
            block_snapshot_delete(d->node, name, e))
            return err_prefix(e, "%s", name_of(d));
    return 0;
}

// ---- the state's way into a disk, in large pieces ----

struct disk_stream {
    struct block_node *n;
    uint64_t at;
    uint8_t *data;
    size_t len, pos; // in the buffer
};

static int flush(struct disk_stream *s)
{
    int r = s->len ? block_vmstate_pwrite(s->n, s->at, s->data, s->len) : 0;
    s->at += s->len;
    s->len = 0;
    return r;
}

static int put(void *opaque, const void *p, size_t n)
{
    struct disk_stream *s = opaque;
    for (int r = 0; n;) {
        size_t step = MIN(n, BUFFER - s->len);
        memcpy(s->data + s->len, p, step);
        s->len += step;
        p = (const char *)p + step;
        n -= step;
        if (s->len == BUFFER && (r = flush(s)))
            return r;
    }
    return 0;
}

static int get(void *opaque, void *p, size_t n)
{
    struct disk_stream *s = opaque;
    while (n) {
        if (s->pos == s->len) {
            int r = block_vmstate_pread(s->n, s->at, s->data, BUFFER);
            if (r)
                return r;
            s->at += BUFFER;
            s->len = BUFFER;
            s->pos = 0;
        }
        size_t step = MIN(n, s->len - s->pos);
        memcpy(p, s->data + s->pos, step);
        s->pos += step;
        p = (char *)p + step;
        n -= step;
    }
    return 0;
}

static int save_into(struct vm *vm, struct drive *first, const char *name, struct err *e)
{
    struct disk_stream s = {.n = first->node, .data = xalloc(BUFFER)};
    struct state_out o = {.write = put, .opaque = &s};
    int r = vm_save_state(vm, &o, e);
    int last = r ? 0 : flush(&s);
    free(s.data);
    if (last)
        return err_errno(e, -last, "cannot write the machine's state");
    struct block_snapshot sn = {.date_ns = (uint64_t)host_realtime_ns(),
                                .clock_ns = (uint64_t)clock_now(vm->machine->env.clock)};
    snprintf(sn.name, sizeof sn.name, "%s", name);
    for (struct drive *d = next_disk(vm, NULL); d && !r; d = next_disk(vm, d)) {
        sn.vmstate_bytes = d == first ? o.bytes : 0;
        if (block_snapshot_create(d->node, &sn, e))
            r = err_prefix(e, "%s", name_of(d));
    }
    struct err ignored = {0};
    if (r && vm_snapshot_delete(vm, name, &ignored))
        return err_prefix(e, "%s; and before", ignored.msg);
    return r;
}

int vm_snapshot_save(struct vm *vm, const char *name, struct err *e)
{
    struct drive *first = state_disk(vm, e);
    if (!first)
        return -1;
    if (strlen(name) >= sizeof((struct block_snapshot *)0)->name)
        return err_set(e, "the name is too long");
    bool ran = vm->state == RUN_RUNNING;
    vm_settle(vm);
    int r = vm_snapshot_delete(vm, name, e) ?: save_into(vm, first, name, e);
    if (ran)
        vm_continue(vm);
    return r;
}

static int load_from(struct vm *vm, struct drive *first, const char *name, struct err *e)
{
    for (struct drive *d = next_disk(vm, NULL); d; d = next_disk(vm, d))
        if (block_snapshot_apply(d->node, name, e))
            return err_prefix(e, "%s", name_of(d));
    struct disk_stream s = {.n = first->node, .data = xalloc(BUFFER)};
    struct state_in i = {.read = get, .opaque = &s};
    int r = vm_load_state(vm, &i, e);
    free(s.data);
    return r;
}

int vm_snapshot_load(struct vm *vm, const char *name, struct err *e)
{
    struct drive *first = state_disk(vm, e);
    struct block_snapshot sn;
    if (!first)
        return -1;
    for (struct drive *d = next_disk(vm, NULL); d; d = next_disk(vm, d))
        if (!has(d->node, name, d == first ? &sn : NULL))
            return err_set(e, "Device '%s' does not have the requested snapshot '%s'", name_of(d),
                           name);
    if (!sn.vmstate_bytes)
        return err_set(e, "This is a disk-only snapshot. Revert to it offline using qemu-img");
    bool ran = vm->state == RUN_RUNNING;
    vm_settle(vm);
    int r = load_from(vm, first, name, e);
    if (ran && !r)
        vm_continue(vm);
    return r;
}

// Those that all disks have, as one could go on from them.
void vm_snapshot_print(struct vm *vm, struct buf *out)
{
    struct err e = {0};
    struct drive *first = state_disk(vm, &e);
    struct block_snapshot *all = NULL;
    int count = first ? block_snapshot_list(first->node, &all, &e) : -1, n = 0;
    if (count < 0) {
        buf_printf(out, "%s\n", e.msg);
        return;
    }
    for (int i = 0; i < count; i++) {
        bool everywhere = true;
        for (struct drive *d = next_disk(vm, first); d; d = next_disk(vm, d))
            everywhere &= has(d->node, all[i].name, NULL);
        if (everywhere)
            all[n++] = all[i];
    }
    if (n)
        buf_printf(out, "List of snapshots present on all disks:\n");
    else
        buf_printf(out, "There is no snapshot available.\n");
    if (n)
        img_format_snapshot_list(out, all, n, true);
    free(all);
}
