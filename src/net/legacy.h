// The older options -nic and -net, turned into what -netdev and -device would say.
#pragma once

#include "base/err.h"
#include "base/opt.h"
#include "base/vec.h"

// One network device to make: `netdev` for netdev_open (empty: none), `nic` with the keys "model"
// (absent: the board's default), "mac", "netdev" (absent: not connected), and other properties.
struct net_nic {
    bool has_nic, has_netdev;
    const char *option; // that asked for it: "-nic" or "-net"
    struct opts netdev, nic;
};
struct net_legacy {
    VEC(struct net_nic) items;   // in the order to be made; netdevs before the NICs that name them
    VEC(struct net_nic) pending; // -net options until net_legacy_finish
    bool none;                   // -nic none or -net none: no default network device
};
void net_legacy_free(struct net_legacy *l);
int net_legacy_nic(struct net_legacy *l, const char *text, struct err *e) MUST_CHECK; // -nic
int net_legacy_net(struct net_legacy *l, const char *text, struct err *e) MUST_CHECK; // -net
// After the last option: ties the -net ones together; one NIC and one back end directly, more over
// hub 0.
void net_legacy_finish(struct net_legacy *l);
