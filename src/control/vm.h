// One virtual machine as its operator sees it: the machine, its back ends by id, its monitors, and
// the run state that options, monitors and the guest change. A process may hold several; nothing
// here is global. Main loop thread unless stated.
#pragma once

#include "base/loop.h"
#include "block/block.h"
#include "board/board.h"
#include "chardev/chardev.h"
#include "control/action.h"
#include "control/fds.h"
#include "control/object.h"
#include "net/net.h"

// Why the machine does not run, in QMP's words (query-status).
enum run_state {
    RUN_PRELAUNCH,
    RUN_RUNNING,
    RUN_PAUSED,
    RUN_SHUTDOWN,
    RUN_DEBUG,
    RUN_INTERNAL_ERROR,
    RUN_IO_ERROR,    // a disk failed whose policy is to stop; going on tries again
    RUN_INMIGRATE,   // waits for its state (-incoming)
    RUN_POSTMIGRATE, // its state has gone elsewhere
    RUN_STATES
};
const char *run_state_name(enum run_state s);

struct vm_options {    // what the command line decides about the machine's conduct
    bool start_paused; // -S
    struct vm_actions actions;
    bool nodefaults;
    bool incoming; // -incoming: the machine waits for its state
    const char *name;
};

struct vm_event {
    char *name, *data; // data: JSON or NULL
};

struct vm {
    struct loop *loop;
    struct machine *machine;
    struct vm_options opt;
    struct drives *drives;
    struct fd_store fds;
    struct list netdevs; // struct netdev
    object_list objects;
    VEC(struct chardev *) chardevs;
    VEC(struct monitor *) monitors;
    struct {
        const char *status; // in QMP's words; NULL: none yet
        char error[256];
        int64_t began, time_ms, down_ms;
        _Atomic uint64_t bytes, remaining, max_bandwidth; // max_bandwidth 0: none
        _Atomic unsigned passes, downtime_ms;
        bool cancelled;
        struct migration *out; // on the way, or NULL
        struct arrival *in;    // from a socket, or NULL
        struct loop_fd *watch; // of an -incoming socket
        int listen_fd;
    } migration;
    struct signals *signals;
    struct gdb_machine *gdb; // -gdb, or NULL
    enum run_state state;
    int exit_status;
    // Requests from any thread, carried out on the loop.
    struct loop_work requests;
    _Atomic bool want_reset, want_shutdown, want_powerdown, want_quit, want_io_stop;
    VEC(struct vm_event) events; // not yet sent; under events_lock
    pthread_mutex_t events_lock;
    struct loop_work send_events;
    _Atomic int shutdown_status;
    const char *_Atomic shutdown_reason, *_Atomic reset_reason; // constant strings
};

// An empty VM with its loop and tables of back ends; vm_free takes all of it, the machine too.
struct vm *vm_new(void);
// Loop and callbacks of a machine that is about to be made.
void vm_hook_machine(struct vm *vm, struct machine_config *c);
// Around what touches disks or devices: their I/O threads (-object iothread) stand still meanwhile.
// Nests.
void vm_hold_io(struct vm *vm);
void vm_release_io(struct vm *vm);
void vm_free(struct vm *vm);
// The machine is complete: reset it, run unless start_paused, and serve until quit. The exit
// status.
int vm_run(struct vm *vm);

// ---- operator's verbs (monitors, signals, Ctrl-A x) ----
void vm_continue(struct vm *vm);
void vm_pause(struct vm *vm);
void vm_system_reset(struct vm *vm, const char *reason);
void vm_powerdown(struct vm *vm);
void vm_quit(struct vm *vm, const char *reason); // any thread, and from signal handlers
void vm_event(struct vm *vm, const char *name,
              const char *json_data); // to every monitor; any thread

// A back end by its id, or NULL.
struct chardev *vm_find_chardev(struct vm *vm, const char *id);
struct netdev *vm_find_netdev(struct vm *vm, const char *id);
struct netdev *vm_find_link(struct vm *vm, const char *id); // also by the id of its NIC
// Opens and registers a back end; NULL and *e.
struct chardev *vm_add_chardev(struct vm *vm, struct opts *o, struct err *e);
// -serial, -monitor and such: "stdio", "mon:stdio", "chardev:ID", … *out is NULL for "none".
int vm_legacy_chardev(struct vm *vm, const char *spec, const char *id, struct chardev **out,
                      struct err *e) MUST_CHECK;
struct netdev *vm_add_netdev(struct vm *vm, struct opts *o, struct err *e);
// Take a back end away again; one that a device still holds is refused, and named.
int vm_del_netdev(struct vm *vm, const char *id, struct err *e) MUST_CHECK;
int vm_del_object(struct vm *vm, const char *id, struct err *e) MUST_CHECK;
// Drives that were made for a device over a -blockdev node go when the device is gone.
void vm_drop_idle_drives(struct vm *vm);
int vm_del_device(struct vm *vm, const char *id_or_path, struct err *e) MUST_CHECK;
// For struct device_tree.find_backend.
void *vm_find_backend(void *vm, enum field_kind kind, const char *id, struct device *d,
                      struct err *e);
