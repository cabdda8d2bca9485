// Bare-metal checks of the AArch64 system architecture on the virt board, at EL1. Everything prints
// values that the architecture defines, so that two implementations print the same text.
#include "bare.h"

void report(const char *name, unsigned long taken, uint64_t base)
{
    if (!taken)
        LINE(name, 0);
    else // FAR is UNKNOWN for classes that have none
        LINE(name, record.vector, record.esr, record.elr - base, record.spsr & 0xf03c03ff,
             (record.esr >> 26 & 0x3a) == 0x20 ? record.far : 0);
}

int main(void)
{
    LINE("level", READ(CurrentEL), READ(DAIF), READ(SPSel));
    test_exceptions();
    test_paging(12);
    test_paging(14);
    test_paging(16);
    test_debug();
    test_landings();
    test_interrupts();
    test_monitor();
    test_code();
    test_cpus();
    text("end\n");
    return 0;
}
