// Addresses of the guest's world and the attributes an access carries.
#pragma once

#include "base/base.h"

typedef uint64_t
    gpa_t; // guest-physical address, or an offset in any space (I/O ports, system registers)
typedef uint64_t gva_t; // guest-virtual address

// Who makes an access, and in what state. Devices that bank registers or tag messages look at it;
// most ignore it. The fields from `level` on are filled only for system-register accesses (a
// vCPU's system-register space), which an interrupt controller answers according to the state of
// the processor that makes them.
struct mem_attrs {
    uint32_t requester; // vCPU index for a CPU; PCI requester ID (bus<<8 | devfn) for DMA and MSI
    bool secure;        // Arm TrustZone physical address space; system registers: secure state
                        // (at EL3: SCR_EL3.NS is 0)
    bool device;        // requester is a device, not a CPU
    uint8_t level;      // exception level
    bool virt_irq, virt_fiq; // EL2 is enabled here and HCR_EL2.IMO, FMO are in effect
    bool el3_irq, el3_fiq;   // SCR_EL3.IRQ, FIQ: physical interrupts are taken to EL3
};

enum mem_result {
    MEM_OK = 0,
    MEM_UNMAPPED, // nothing decodes the address: the ISA raises its bus error (system registers:
                  // undefined)
    MEM_ERROR,    // the device refused the access
    MEM_TRAP_EL2, // system registers only: the access traps to that exception level
    MEM_TRAP_EL3,
};
