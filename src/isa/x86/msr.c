// The table of model-specific registers by name, and access to their values in a CPU's state.
#include "isa/x86/x86.h"

const struct x86_msr x86_msrs[] = {
#define MSR(index_, name_, reset_) {.index = index_, .name = name_, .reset = reset_},
#define KEPT(index_, name_)        {.index = index_, .name = name_, .keeps = true},
#include "isa/x86/msrs.def"
#undef MSR
#undef KEPT
};
const unsigned x86_n_msrs = ARRAY_SIZE(x86_msrs);

const struct x86_msr *x86_msr_find(uint32_t index)
{
    for (unsigned i = 0; i < ARRAY_SIZE(x86_msrs); i++)
        if (x86_msrs[i].index == index)
            return &x86_msrs[i];
    return NULL;
}

uint64_t *x86_msr_value(struct x86_state *s, uint32_t index)
{
    for (unsigned i = 0; i < s->n_msrs; i++)
        if (s->msrs[i].index == index)
            return &s->msrs[i].value;
    return NULL;
}
