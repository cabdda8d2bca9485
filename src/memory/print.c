// `info mtree`: a space's regions, and what they flatten to.
#include "base/buf.h"
#include "memory/space_internal.h"

typedef unsigned long long ull;

static const char *kind_name(const struct region *r)
{
    switch (r->kind) {
    case REGION_RAM:
        return r->readonly ? "rom" : "ram";
    case REGION_ROMD:
        return "romd";
    case REGION_ALIAS:
        return "alias";
    default:
        return "i/o";
    }
}

static void print_region(const struct region *r, struct buf *out)
{
    buf_printf(out, "  %016llx-%016llx (prio %d, %s): %s", (ull)r->base,
               (ull)(r->base + region_last(r)), r->prio, kind_name(r), r->name);
    if (r->kind == REGION_ALIAS)
        buf_printf(out, " @%s %016llx-%016llx", r->other->name, (ull)r->other_base,
                   (ull)(r->other_base + region_last(r)));
    buf_printf(out, "%s\n", r->enabled ? "" : " [disabled]");
}

void space_print(struct space *s, struct buf *out)
{
    struct region *r;
    space_topology_lock();
    buf_printf(out, "address-space: %s\n", s->name);
    buf_printf(out, "  %016llx-%016llx (prio 0, i/o): %s\n", 0ull, (ull)s->last, s->name);
    list_for_each(r, &s->regions, link) print_region(r, out);
    buf_printf(out, "flat view:\n");
    for (size_t i = 0; i < s->flat.len; i++) {
        const struct range *f = &s->flat.data[i];
        buf_printf(out, "  %016llx-%016llx (%s): %s @%016llx\n", (ull)f->start, (ull)f->last,
                   !f->ram       ? "i/o"
                   : f->readonly ? "rom"
                                 : "ram",
                   f->ram ? ram_name(f->ram) : f->region->name, (ull)f->off);
    }
    space_topology_unlock();
}
