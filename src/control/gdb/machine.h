// The machine behind the gdb stub: -gdb and -s.
#pragma once

#include "base/err.h"

struct vm;

int gdb_machine_open(struct vm *vm, const char *spec, struct err *e) MUST_CHECK;
void gdb_machine_free(struct vm *vm); // tells the debugger that the machine has ended
// The machine was started or paused by somebody else than the debugger. Nothing without a stub.
void gdb_machine_started(struct vm *vm);
void gdb_machine_paused(struct vm *vm);
