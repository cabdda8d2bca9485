// What the kernels need of the program around them.
#pragma once

#include <stdint.h>
#include <string.h>

void run_kernels(void);
void show(const char *name, uint64_t value);
