// Offsets and bits of PCI configuration space: PCI Local Bus 3.0, chapter 6; PCI-to-PCI Bridge 1.2,
// chapter 3; PCI Express Base 5.0, section 7.5.
#pragma once

enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CLASS = 0x0a,
    PCI_CACHE_LINE = 0x0c,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_ROM = 0x30,
    PCI_CAP_PTR = 0x34,
    PCI_INT_LINE = 0x3c,
    PCI_INT_PIN = 0x3d,
    // Type 1 headers (bridges)
    PCI_PRIMARY_BUS = 0x18,
    PCI_SECONDARY_BUS = 0x19,
    PCI_SUBORDINATE_BUS = 0x1a,
    PCI_IO_BASE = 0x1c,
    PCI_IO_LIMIT = 0x1d,
    PCI_SEC_STATUS = 0x1e,
    PCI_MEM_BASE = 0x20,
    PCI_MEM_LIMIT = 0x22,
    PCI_PREF_BASE = 0x24,
    PCI_PREF_LIMIT = 0x26,
    PCI_PREF_BASE_HIGH = 0x28,
    PCI_PREF_LIMIT_HIGH = 0x2c,
    PCI_IO_BASE_HIGH = 0x30,
    PCI_IO_LIMIT_HIGH = 0x32,
    PCI_BRIDGE_ROM = 0x38,
    PCI_BRIDGE_CONTROL = 0x3e,
};
enum { // command
    PCI_CMD_IO = 1,
    PCI_CMD_MEM = 2,
    PCI_CMD_MASTER = 4,
    PCI_CMD_PARITY = 0x40,
    PCI_CMD_SERR = 0x100,
    PCI_CMD_INTX_OFF = 0x400,
};
enum { // status
    PCI_STS_INTX = 0x08,
    PCI_STS_CAPS = 0x10,
    PCI_STS_W1C = 0xf900,
};
enum { PCI_HEADER_BRIDGE = 1, PCI_HEADER_MULTI = 0x80 };
enum { PCI_BRIDGE_RESET = 0x40 };
enum {
    PCI_CAP_MSI = 0x05,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_SUBVENDOR = 0x0d,
    PCI_CAP_EXPRESS = 0x10,
    PCI_CAP_MSIX = 0x11
};
enum { // MSI capability, 64-bit with masks
    MSI_FLAGS = 2,
    MSI_ADDR = 4,
    MSI_DATA = 12,
    MSI_MASK = 16,
    MSI_PENDING = 20,
    MSI_SIZE = 24,
    MSI_ENABLE = 1,
    MSI_64BIT = 0x80,
    MSI_MASKABLE = 0x100,
};
enum { // MSI-X capability
    MSIX_FLAGS = 2,
    MSIX_TABLE = 4,
    MSIX_PBA = 8,
    MSIX_SIZE = 12,
    MSIX_ENABLE = 0x8000,
    MSIX_MASK_ALL = 0x4000,
};
enum { // PCI Express capability, version 2
    EXP_FLAGS = 2,
    EXP_DEVCAP = 4,
    EXP_DEVCTL = 8,
    EXP_DEVSTA = 10,
    EXP_LNKCAP = 12,
    EXP_LNKCTL = 16,
    EXP_LNKSTA = 18,
    EXP_SLTCAP = 20,
    EXP_SLTCTL = 24,
    EXP_SLTSTA = 26,
    EXP_RTCTL = 28,
    EXP_RTSTA = 32,
    EXP_DEVCTL2 = 40,
    EXP_LNKCAP2 = 44,
    EXP_LNKCTL2 = 48,
    EXP_LNKSTA2 = 50,
    EXP_SIZE = 60,
};
enum { EXP_ENDPOINT = 0, EXP_ROOT_PORT = 4, EXP_TO_PCI = 7 };
enum { EXP_DEVCAP_FLR = 1 << 28, EXP_DEVCTL_FLR = 1 << 15 };
enum { EXP_LNKCAP_DLLA = 1 << 20, EXP_LNKSTA_DLLA = 1 << 13 };
enum {                  // slot
    EXP_SLT_ABP = 1,    // attention button
    EXP_SLT_PCP = 2,    // power controller
    EXP_SLT_AIP = 8,    // attention indicator
    EXP_SLT_PIP = 0x10, // power indicator
    EXP_SLT_HPS = 0x20, // may be removed without notice
    EXP_SLT_HPC = 0x40, // hot-plug capable
    EXP_SLT_EIP = 1 << 17,
    EXP_SLTCTL_ABPE = 1,
    EXP_SLTCTL_PDCE = 8,
    EXP_SLTCTL_CCIE = 0x10,
    EXP_SLTCTL_HPIE = 0x20,
    EXP_SLTCTL_DLLSCE = 0x1000,
    EXP_SLTCTL_PIC = 0x300,
    EXP_SLTCTL_PIC_OFF = 0x300,
    EXP_SLTCTL_PCC = 0x400, // power off
    EXP_SLTSTA_ABP = 1,
    EXP_SLTSTA_PDC = 8,
    EXP_SLTSTA_CC = 0x10,
    EXP_SLTSTA_PDS = 0x40,
    EXP_SLTSTA_DLLSC = 0x100,
};
