// The registers by which ACPI's hardware-reduced machines sleep and reset (ACPI 6.4, 4.8.3.7 and
// 4.8.3.6), as a system device of one window: sleep control, sleep status, reset.
#pragma once

#include "device/core/sysdev.h"

enum {
    ACPI_POWER_SLEEP_CONTROL,
    ACPI_POWER_SLEEP_STATUS,
    ACPI_POWER_RESET,
    ACPI_POWER_SIZE = 4,
    ACPI_POWER_S5 = 5, // SLP_TYP that the DSDT names in _S5
    ACPI_POWER_RESET_VALUE = 0x42,
};
extern const struct device_type acpi_power_type;
