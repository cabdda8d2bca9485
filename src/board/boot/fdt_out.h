// Writing a flattened device tree (Devicetree Specification v0.4, chapter 5) by libfdt's sequential
// interface. Errors are sticky and reported by fdt_out_finish.
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct fdt_out {
    void *blob;
    size_t size;
    int error; // libfdt's, negative
};
void fdt_out_start(struct fdt_out *o, size_t size); // an upper bound of the finished tree
// A node of this name, until fdt_out_end; its properties come before its children.
void fdt_out_node(struct fdt_out *o, const char *fmt, ...) PRINTF(2, 3);
void fdt_out_end(struct fdt_out *o);
void fdt_out_empty(struct fdt_out *o, const char *prop); // a property that is there or not
void fdt_out_str(struct fdt_out *o, const char *prop, const char *val);
// Several strings in one property: "a\0b" with sizeof.
void fdt_out_bytes(struct fdt_out *o, const char *prop, const void *p, size_t n);
void fdt_out_cells_n(struct fdt_out *o, const char *prop, const uint32_t *cells, size_t n);
#define fdt_out_cells(o, prop, ...)                                                                \
    fdt_out_cells_n(o, prop, (const uint32_t[]){__VA_ARGS__},                                      \
                    sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
void fdt_out_u64(struct fdt_out *o, const char *prop, uint64_t v);
// 64-bit address and size pairs (two cells each).
void fdt_out_reg_n(struct fdt_out *o, const char *prop, const uint64_t *v, size_t n);
#define fdt_out_reg(o, ...)                                                                        \
    fdt_out_reg_n(o, "reg", (const uint64_t[]){__VA_ARGS__},                                       \
                  sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))
// The finished tree (malloc) goes to the caller; -1 when it did not fit or was misformed.
int fdt_out_finish(struct fdt_out *o, uint8_t **blob, size_t *len, struct err *e) MUST_CHECK;
