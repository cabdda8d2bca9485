// The machine personality: qemu-system-ARCH, or "system --arch ARCH", and its options.
#pragma once

#include "base/err.h"

struct vm;

int system_main(int argc, char **argv); // runs it; the exit status
// Makes the machine that the same words would run, calls `look`, and takes it down again: nothing
// runs, nothing listens. -1 with one line.
int system_look(int argc, char **argv, void (*look)(struct vm *vm, void *opaque), void *opaque,
                struct err *e) MUST_CHECK;
