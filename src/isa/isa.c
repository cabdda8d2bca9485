// The list of guest CPUs, and what their register tables share.
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

void isa_reg_get_field(struct env *e, const struct isa_reg *r, void *out)
{
    memcpy(out, (char *)e + r->arg, (r->bits + 7u) / 8);
}

void isa_reg_set_field(struct env *e, const struct isa_reg *r, const void *in)
{
    memcpy((char *)e + r->arg, in, (r->bits + 7u) / 8);
}
