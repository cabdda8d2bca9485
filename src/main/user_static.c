// Entry point of the statically linked user mode (qemu-aarch64-static and its other names): for
// foreign chroots and binfmt_misc, where our shared libraries are not to be had.
#include "user/main.h"

int main(int argc, char **argv)
{
    return user_main(argc, argv);
}
