// A growing array of any type: VEC(struct foo) v = {0}; vec_push(&v, x); v.data[i]; v.len;
// vec_free(&v).
#pragma once

#include "base/base.h"

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *data;                                                                                \
        size_t len, cap;                                                                           \
    }
void *vec_grow_(void *data, size_t *cap, size_t want, size_t elem);
#define vec_reserve(v, n)                                                                          \
    do {                                                                                           \
        if ((n) > (v)->cap)                                                                        \
            (v)->data = vec_grow_((v)->data, &(v)->cap, (n), sizeof *(v)->data);                   \
    } while (0)
#define vec_push(v, ...)                                                                           \
    do {                                                                                           \
        vec_reserve(v, (v)->len + 1);                                                              \
        (v)->data[(v)->len++] = (__VA_ARGS__);                                                     \
    } while (0)
#define vec_remove(v, i)                                                                           \
    do {                                                                                           \
        size_t i_ = (i);                                                                           \
        memmove((v)->data + i_, (v)->data + i_ + 1, (--(v)->len - i_) * sizeof *(v)->data);        \
    } while (0)
#define vec_free(v)                                                                                \
    do {                                                                                           \
        free((v)->data);                                                                           \
        (v)->data = NULL;                                                                          \
        (v)->len = (v)->cap = 0;                                                                   \
    } while (0)
