// A register bank as a table: offset, name, width, writable bits, storage and handlers. Undefined
// offsets, access sizes, write masks and tracing come from the table.
#pragma once

#include "device/device.h"

enum reg_access {
    REG_RW = 0, // reads the storage; a write changes the bits in `mask`
    REG_RO,     // a write is a guest error
    REG_WO,     // reads as zero
    REG_W1C,    // a write clears the bits that are one, within `mask`
};
struct reg {
    uint32_t offset;
    const char *name;
    uint8_t size;   // 1, 2, 4 or 8 bytes; also that of the storage
    uint8_t access; // enum reg_access
    uint16_t count; // of an array of registers `size` apart; 0 means 1
    size_t storage; // offsetof in the device's structure; 0: none (reads as `value`)
    uint64_t mask;  // bits a write may change
    uint64_t value; // of a register without storage
    // Either may be NULL. `i` is the index in the array. `read` gives the value in place of the
    // storage; `write` runs after the storage was changed and gets the whole value written.
    uint64_t (*read)(void *dev, unsigned i);
    void (*write)(void *dev, unsigned i, uint64_t v);
};
struct regbank {
    const char *name;
    const struct reg *regs; // by offset
    unsigned n;
    bool narrow; // a window over it also takes accesses of 1 and 2 bytes
};
#define REGBANK(name_, table, ...)                                                                 \
    {                                                                                              \
        .name = name_, .regs = table, .n = ARRAY_SIZE(table), ##__VA_ARGS__                        \
    }
// The identification registers of an Arm PrimeCell, at the end of its 4 KiB: part number, revision.
#define REGS_PRIMECELL(part, revision)                                                             \
    {0xfe0, "PeriphID0", 4, REG_RO, .value = (part)&0xff},                                         \
        {0xfe4, "PeriphID1", 4, REG_RO, .value = 0x10 | (part) >> 8},                              \
        {0xfe8, "PeriphID2", 4, REG_RO, .value = (revision) << 4 | 4},                             \
        {0xfec, "PeriphID3", 4, REG_RO, .value = 0},                                               \
        {0xff0, "PCellID0", 4, REG_RO, .value = 0x0d},                                             \
        {0xff4, "PCellID1", 4, REG_RO, .value = 0xf0},                                             \
        {0xff8, "PCellID2", 4, REG_RO, .value = 0x05},                                             \
    {                                                                                              \
        0xffc, "PCellID3", 4, REG_RO, .value = 0xb1                                                \
    }
// For the handlers in a device's mmio_ops. A narrow read gives its part of the register, a narrow
// write the other bytes from the storage; an access across registers is a guest error (reads as
// zero).
enum mem_result regbank_read(const struct regbank *b, void *dev, gpa_t off, unsigned size,
                             uint64_t *val);
enum mem_result regbank_write(const struct regbank *b, void *dev, gpa_t off, unsigned size,
                              uint64_t val);
