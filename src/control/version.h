// The version that clients of QEMU's interface see, and our own.
#pragma once

// Clients take capabilities from introspection, but some refuse a version below the oldest they
// support.
#define COMPAT_MAJOR 8
#define COMPAT_MINOR 2
#define COMPAT_MICRO 2
// "QEMU emulator version 8.2.2 (myna …)": the first line of -version, whose shape clients parse.
const char *version_line(void);
