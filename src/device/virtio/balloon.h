// Memory ballooning as the control plane sees it (QMP balloon, query-balloon, guest-stats).
#pragma once

#include "device/device.h"

#define BALLOON_STATS 10
// Tags of section 5.5.6.3 in order: swap-in, swap-out, major and minor faults, free, total and
// available memory, disk caches, hugetlb allocations and failures. Values the guest did not give
// are UINT64_MAX.
struct balloon_stats {
    uint64_t value[BALLOON_STATS];
    int64_t updated; // host realtime in seconds; 0: never
};
extern const char *const balloon_stat_names[BALLOON_STATS];

bool device_is_balloon(const struct device *d);
// Ask the guest to leave us all but `bytes` of the machine's memory.
void balloon_set_target(struct device *d, uint64_t ram_bytes, uint64_t target_bytes);
uint64_t balloon_held(struct device *d); // bytes the guest has given up
void balloon_get_stats(struct device *d, struct balloon_stats *s);
void balloon_poll_stats(struct device *d, unsigned seconds); // 0: stop
