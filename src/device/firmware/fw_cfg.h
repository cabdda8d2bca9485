// Firmware configuration device: named files and numbered items that firmware and kernels read, by
// a data port or by DMA. Window 0 has 0x18 bytes. Items are added before the first reset and
// copied.
#pragma once

#include "device/core/sysdev.h"

enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_NAME_MAX = 55,
};

extern const struct device_type fw_cfg_type;

// A numbered item; numbers are given as firmware reads them, little-endian. Replaces.
void fw_cfg_set(struct device *d, enum fw_cfg_key key, const void *data, size_t len);
void fw_cfg_set_u16(struct device *d, enum fw_cfg_key key, uint16_t v);
void fw_cfg_set_u32(struct device *d, enum fw_cfg_key key, uint32_t v);
void fw_cfg_set_u64(struct device *d, enum fw_cfg_key key, uint64_t v);
// -1: the name is too long, there already, or the directory is full.
int fw_cfg_add_file(struct device *d, const char *name, const void *data, size_t len,
                    struct err *e) MUST_CHECK;
