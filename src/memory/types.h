// Addresses of the guest's world and the attributes an access carries.
#pragma once

#include "base/base.h"

typedef uint64_t
    gpa_t; // guest-physical address, or an offset in any space (I/O ports, system registers)
typedef uint64_t gva_t; // guest-virtual address

// Who makes an access, and in what state. Devices that bank registers or tag messages look at it;
// most ignore it.
struct mem_attrs {
    uint32_t requester; // vCPU index for a CPU; PCI requester ID (bus<<8 | devfn) for DMA and MSI
    bool secure;        // Arm TrustZone physical address space
    bool device;        // requester is a device, not a CPU
};

enum mem_result {
    MEM_OK = 0,
    MEM_UNMAPPED, // nothing decodes the address: the ISA raises its bus error
    MEM_ERROR,    // the device refused the access
};
