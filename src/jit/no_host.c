// Hosts without a back end: regions are interpreted.
#include "jit/state.h"

const struct jit_host *jit_host_native(void)
{
    return NULL;
}
