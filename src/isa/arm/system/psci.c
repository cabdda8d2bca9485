// Firmware calls the CPU answers itself when the machine has no firmware of its own: Power State
// Coordination Interface 1.1 (Arm DEN 0022) over the SMC Calling Convention 1.1 (DEN 0028).
#include "isa/arm/arm_bits.h"

enum {
    SMCCC_VERSION = 0x80000000,
    SMCCC_ARCH_FEATURES = 0x80000001,
    PSCI_VERSION = 0x84000000,
    PSCI_CPU_SUSPEND = 0x84000001,
    PSCI_CPU_OFF = 0x84000002,
    PSCI_CPU_ON = 0x84000003,
    PSCI_AFFINITY_INFO = 0x84000004,
    PSCI_MIGRATE_INFO_TYPE = 0x84000006,
    PSCI_SYSTEM_OFF = 0x84000008,
    PSCI_SYSTEM_RESET = 0x84000009,
    PSCI_FEATURES = 0x8400000a,
    PSCI_SYSTEM_RESET2 = 0x84000012,
    PSCI_64 = 0x40000000,
};
enum { PSCI_NOT_SUPPORTED = -1, PSCI_INVALID = -2, PSCI_DENIED = -3 };

static int64_t features(uint32_t fn)
{
    switch (fn & ~(uint32_t)PSCI_64) {
    case PSCI_VERSION:
    case PSCI_CPU_SUSPEND:
    case PSCI_CPU_OFF:
    case PSCI_CPU_ON:
    case PSCI_AFFINITY_INFO:
    case PSCI_MIGRATE_INFO_TYPE:
    case PSCI_SYSTEM_OFF:
    case PSCI_SYSTEM_RESET:
    case PSCI_SYSTEM_RESET2:
    case PSCI_FEATURES:
    case SMCCC_VERSION:
        return 0;
    default:
        return PSCI_NOT_SUPPORTED;
    }
}

bool arm_psci_call(struct arm_cpu *c)
{
    uint32_t fn = (uint32_t)c->x[0];
    const struct isa_platform *p = c->config.platform;
    bool wide = fn & PSCI_64;
    uint64_t a[3];
    int64_t r;
    for (unsigned i = 0; i < 3; i++)
        a[i] = wide ? c->x[1 + i] : (uint32_t)c->x[1 + i];
    switch (fn) {
    case PSCI_VERSION:
        r = 0x10001;
        break;
    case SMCCC_VERSION:
        r = 0x10001;
        break;
    case SMCCC_ARCH_FEATURES:
        r = a[0] == SMCCC_VERSION || a[0] == SMCCC_ARCH_FEATURES ? 0 : PSCI_NOT_SUPPORTED;
        break;
    case PSCI_FEATURES:
        r = features((uint32_t)a[0]);
        break;
    case PSCI_MIGRATE_INFO_TYPE:
        r = 2; // no trusted OS to migrate
        break;
    case PSCI_CPU_SUSPEND:
    case PSCI_CPU_SUSPEND | PSCI_64:
        // Standby and power-down alike wait here: for power-down the guest asked to resume at a[1],
        // which a CPU that woke in time may decline.
        c->x[0] = 0;
        return true;
    case PSCI_CPU_OFF:
        p->cpu_off(p->opaque, &c->env);
        c->power_off = true;
        return true;
    case PSCI_CPU_ON:
    case PSCI_CPU_ON | PSCI_64:
        // The new CPU starts where the caller's firmware would put it: the highest level below the
        // conduit's.
        r = a[1] & 3 ? -9
                     : p->cpu_on(p->opaque, a[0] & 0xff00ffffffull, a[1], a[2],
                                 c->has_el2 && c->config.conduit == CONDUIT_SMC ? 2 : 1);
        break;
    case PSCI_AFFINITY_INFO:
    case PSCI_AFFINITY_INFO | PSCI_64: {
        int s = a[1] ? -1 : p->cpu_state(p->opaque, a[0] & 0xff00ffffffull);
        r = s < 0 ? PSCI_INVALID : s ? 0 : 1;
        break;
    }
    case PSCI_SYSTEM_OFF:
        p->system_off(p->opaque);
        c->power_off = true;
        return true;
    case PSCI_SYSTEM_RESET:
    case PSCI_SYSTEM_RESET2:
    case PSCI_SYSTEM_RESET2 | PSCI_64:
        p->system_reset(p->opaque);
        c->power_off = true;
        return true;
    default:
        r = PSCI_NOT_SUPPORTED; // every other function id of the convention
        break;
    }
    c->x[0] = (uint64_t)r;
    return true;
}
