// SMBIOS tables for firmware to install (DMTF DSP0134 3.4): what `dmidecode` shows of a machine.
#pragma once

#include "base/err.h"
#include "base/opt.h"

struct device;

struct smbios_config {
    const char *product, *version; // defaults of the system's names
    const uint8_t *uuid;           // 16 bytes in text order, or NULL
    unsigned sockets, cores, threads;
    uint64_t ram_base, ram_size;
    struct opts *overrides; // -smbios, each with type=N
    unsigned n_overrides;
};
// Adds "etc/smbios/smbios-anchor" and "etc/smbios/smbios-tables".
int smbios_build(const struct smbios_config *c, struct device *fw_cfg, struct err *e) MUST_CHECK;
