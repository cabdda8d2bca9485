// What is saved of an x86 processor: the groups of `struct x86_state`, each as plain bytes, and
// what it must have in common with the processor that takes them in. Model-specific registers go
// with their numbers, since every kernel has its own list of them.
#include "isa/x86/x86.h"
#include "base/log.h"

#define STATE(name_, member)                                                                       \
    {name_, offsetof(struct x86_cpu, member), sizeof(((struct x86_cpu *)NULL)->member)},
const struct isa_state x86_state[] = {
#include "isa/x86/state.def"
    {0},
};
#undef STATE

void x86_state_out(struct env *e)
{
    struct x86_cpu *c = x86_cpu(e);
    memcpy(c->saved_words, c->words, sizeof c->words);
    memset(c->saved_msrs, 0, sizeof c->saved_msrs);
    memcpy(c->saved_msrs, c->s.msrs, c->s.n_msrs * sizeof c->s.msrs[0]);
}

// The time stamp counter and what hangs on it differ from host to host; the rest is worth a word.
static void take_msr(struct x86_cpu *c, const struct x86_msr_value *saved)
{
    const struct x86_msr *known = x86_msr_find(saved->index);
    uint64_t *value = x86_msr_value(&c->s, saved->index);
    if (value)
        *value = saved->value;
    else if (saved->value != (known ? known->reset : 0))
        log_warn("the saved machine's MSR 0x%x is not one of this host: its value is lost",
                 saved->index);
}

int x86_state_in(struct env *e, struct err *err)
{
    struct x86_cpu *c = x86_cpu(e);
    uint32_t lacking[X86_WORDS];
    for (unsigned w = 0; w < X86_WORDS; w++)
        lacking[w] = c->saved_words[w] & ~c->words[w];
    const char *name = x86_feature_in(lacking);
    if (name)
        return err_set(err,
                       "the saved CPU has %s, which this one has not; give -cpu a model that "
                       "both hosts can run",
                       name);
    if (c->s.activity > X86_HALTED)
        return err_set(err, "the saved CPU is in a state that there is not: %u", c->s.activity);
    for (unsigned i = 0; i < X86_MSRS_MAX; i++)
        if (c->saved_msrs[i].index)
            take_msr(c, &c->saved_msrs[i]);
    return 0;
}
