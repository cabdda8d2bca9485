// Linux's own generic structures, from the kernel's headers, under names of their own: what a guest
// with the generic ABI expects in its memory.
#pragma once

#define stat generic_stat
#include <asm-generic/stat.h>
#undef stat

// The C library has macros of these names.
static inline long generic_mtime(const struct generic_stat *s)
{
    return s->st_mtime;
}
static inline long generic_ctime(const struct generic_stat *s)
{
    return s->st_ctime;
}
