// The machine personality: qemu-system-ARCH, or `system --arch ARCH` with the same options.
#pragma once

// argv[0] is the name it was started under, or "system". Runs to the end of the machine; the
// process's exit status.
int system_main(int argc, char **argv);
