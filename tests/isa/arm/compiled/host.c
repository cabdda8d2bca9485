// The kernels as a program of this host.
#include <stdio.h>

#include "kernels.h"

void show(const char *name, uint64_t value)
{
    printf("%s: %016llx\n", name, (unsigned long long)value);
}

int main(void)
{
    run_kernels();
    return 0;
}
