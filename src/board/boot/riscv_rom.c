// The boot ROM of RISC-V boards, written here in machine code: seven instructions and their data
// (the structure is OpenSBI's fw_dynamic information, docs/firmware/fw_dynamic.md, version 2).
#include "board/boot/riscv_rom.h"

enum { CODE_WORDS = 8, DATA_ENTRY = 8, DATA_DTB = 10, DATA_INFO = 12 };

static void put64(uint32_t *at, uint64_t v)
{
    at[0] = (uint32_t)v;
    at[1] = (uint32_t)(v >> 32);
}

void riscv_rom_fill(uint32_t rom[RISCV_ROM_WORDS], uint64_t entry, uint64_t dtb, uint64_t next)
{
    static const uint32_t code[CODE_WORDS] = {
        0x00000297,                         // auipc t0, 0
        0x00028613 | DATA_INFO * 4u << 20,  // addi  a2, t0, info
        0xf1402573,                         // csrr  a0, mhartid
        0x0002b583 | DATA_DTB * 4u << 20,   // ld    a1, dtb(t0)
        0x0002b283 | DATA_ENTRY * 4u << 20, // ld    t0, entry(t0)
        0x00028067,                         // jr    t0
        0x00000013,                         // nop
        0x00000013,
    };
    const uint64_t info[6] = {
        0x4942534f, // "OSBI"
        2,          // version
        next,
        1, // supervisor mode
        0, // options
        0, // preferred boot hart
    };
    memcpy(rom, code, sizeof code);
    put64(rom + DATA_ENTRY, entry);
    put64(rom + DATA_DTB, dtb);
    for (unsigned i = 0; i < ARRAY_SIZE(info); i++)
        put64(rom + DATA_INFO + 2 * i, info[i]);
}
