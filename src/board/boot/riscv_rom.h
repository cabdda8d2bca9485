// The boot ROM of RISC-V boards.
#pragma once

#include "base/base.h"

enum { RISCV_ROM_WORDS = 24 };
// Code and data for the reset address: every hart goes to `entry` with its number in a0, the device
// tree in a1 and in a2 a structure by which OpenSBI's fw_dynamic learns where to go on (`next`, at
// supervisor level).
void riscv_rom_fill(uint32_t rom[RISCV_ROM_WORDS], uint64_t entry, uint64_t dtb, uint64_t next);
