// Writing a flattened device tree (fdt_out.h) over libfdt.
#include "board/boot/fdt_out.h"
#include "base/bits.h"

#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void note(struct fdt_out *o, int r)
{
    if (!o->error && r < 0)
        o->error = r;
}

void fdt_out_start(struct fdt_out *o, size_t size)
{
    *o = (struct fdt_out){.blob = xalloc(size), .size = size};
    note(o, fdt_create(o->blob, (int)size));
    note(o, fdt_finish_reservemap(o->blob));
}

void fdt_out_node(struct fdt_out *o, const char *fmt, ...)
{
    char name[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    note(o, fdt_begin_node(o->blob, name));
}

void fdt_out_end(struct fdt_out *o)
{
    note(o, fdt_end_node(o->blob));
}

void fdt_out_bytes(struct fdt_out *o, const char *prop, const void *p, size_t n)
{
    note(o, fdt_property(o->blob, prop, p, (int)n));
}

void fdt_out_empty(struct fdt_out *o, const char *prop)
{
    fdt_out_bytes(o, prop, "", 0);
}

void fdt_out_str(struct fdt_out *o, const char *prop, const char *val)
{
    fdt_out_bytes(o, prop, val, strlen(val) + 1);
}

void fdt_out_cells_n(struct fdt_out *o, const char *prop, const uint32_t *cells, size_t n)
{
    void *p = NULL;
    note(o, fdt_property_placeholder(o->blob, prop, (int)(n * 4), &p));
    for (size_t i = 0; p && i < n; i++)
        st_be32((uint8_t *)p + i * 4, cells[i]);
}

void fdt_out_reg_n(struct fdt_out *o, const char *prop, const uint64_t *v, size_t n)
{
    void *p = NULL;
    note(o, fdt_property_placeholder(o->blob, prop, (int)(n * 8), &p));
    for (size_t i = 0; p && i < n; i++)
        st_be64((uint8_t *)p + i * 8, v[i]);
}

void fdt_out_u64(struct fdt_out *o, const char *prop, uint64_t v)
{
    fdt_out_reg_n(o, prop, &v, 1);
}

int fdt_out_finish(struct fdt_out *o, uint8_t **blob, size_t *len, struct err *e)
{
    note(o, fdt_finish(o->blob));
    if (o->error) {
        free(o->blob);
        return err_set(e, "device tree: %s", fdt_strerror(o->error));
    }
    *blob = o->blob;
    *len = fdt_totalsize(o->blob);
    return 0;
}
