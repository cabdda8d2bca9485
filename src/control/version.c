// What -version prints.
#include "control/version.h"

#define STR_(x) #x
#define STR(x)  STR_(x)

const char *version_line(void)
{
    return "QEMU emulator version " STR(COMPAT_MAJOR) "." STR(COMPAT_MINOR) "." STR(
        COMPAT_MICRO) " (myna " MYNA_VERSION ")";
}
