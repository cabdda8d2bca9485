// Inside the room: the user-mode network's state, shared by its option, forwarding and run files.
#pragma once

#include "net/frames.h"
#include "net/segment.h"
#include "net/user/fragment.h"
#include "base/vec.h"
#include <slirp/libslirp.h>

// A descriptor that libslirp asked to watch; it is known to libslirp by its index.
struct user_poll {
    struct user_netdev *u;
    int fd; // -1: free
    unsigned want, ready;
    unsigned round; // of the last refill that named it
    struct loop_fd *watch;
};

struct user_netdev {
    struct netdev n;
    Slirp *slirp;
    struct in_addr net, mask;
    bool restricted;
    struct frame_queue rx; // frames for the NIC
    struct net_join join;  // being put together; its `segment` says that there is one
    bool rx_full;          // host sockets are not read until the queue has drained
    VEC(struct user_poll *) polls;
    size_t hint; // where the next descriptor of a refill was last time
    unsigned round;
    struct loop_work serve;  // libslirp has descriptors to look at
    struct loop_work refill; // what to wait for may have changed
    struct loop_work drain;  // frames made outside of `serve`
    bool serving;
    struct loop_timer timeout; // libslirp's own timers
    struct fragments fragments;
    uint8_t gather[NET_FRAME_MAX];
};

// What the options say; strings belong to the options.
struct user_config {
    SlirpConfig slirp;
    VEC(const char *) search; // NULL-terminated
};
// -netdev user's own options. Strings stay those of `o`; user_free_config also after a failure.
int user_read_config(struct user_config *u, struct opts *o, struct err *e) MUST_CHECK;
void user_free_config(struct user_config *u);

// hostfwd= and guestfwd=, all of them; and one rule by monitor command.
int user_add_forwards(struct user_netdev *u, struct opts *o, struct err *e) MUST_CHECK;
int user_hostfwd_add(struct user_netdev *u, const char *rule, struct err *e) MUST_CHECK;
int user_hostfwd_remove(struct user_netdev *u, const char *rule, struct err *e) MUST_CHECK;

// Calls `each` for every option KEY, KEY.N and KEY.N.str, in order, and marks them used.
int user_each_option(struct opts *o, const char *key,
                     int (*each)(void *, const char *, struct err *), void *opaque,
                     struct err *e) MUST_CHECK;
