// The list of guest CPUs.
#include "isa/isa.h"

#define ISA(s) extern const struct isa s;
#include "isa/isas.def"
#undef ISA
const struct isa *const isas[] = {
#define ISA(s) &s,
#include "isa/isas.def"
#undef ISA
    NULL,
};

const struct isa *isa_find(const char *name)
{
    for (unsigned i = 0; isas[i]; i++)
        if (!strcmp(isas[i]->name, name))
            return isas[i];
    return NULL;
}
