// See guest.h.
#include "guest.h"

static const struct diff_guest *const guests[] = {&diff_arm, &diff_riscv32, &diff_riscv64};

const struct diff_guest *diff_guest_find(const char *name)
{
    for (unsigned n = 0; n < ARRAY_SIZE(guests); n++)
        if (!strcmp(guests[n]->isa->name, name))
            return guests[n];
    return NULL;
}
