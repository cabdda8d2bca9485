// Linux user mode's entry point, for main/ alone.
#pragma once

// argv[0] is "qemu-ARCH", perhaps with "-static" behind it, or "user". Returns an exit status only
// when the program could not be started.
int user_main(int argc, char **argv);
