// Shared by the bridge types of this folder.
#pragma once

#include "device/pci/pci.h"

// The secondary bus, named by the bridge's id as users expect (bus=pci.1).
void pci_bridge_add_bus(struct pci_bridge *b, bool express);
// For a type that sets its own config_written hook: call this from it.
void pci_bridge_config_written(struct pci_bridge *b, unsigned off, unsigned len);
