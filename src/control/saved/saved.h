// Saving a whole machine and going on from there: to a stream, or into the disks' internal
// snapshots. Main loop thread.
#pragma once

#include "control/vm.h"
#include "snapshot/snapshot.h"

// The machine stands still (vm_pause) and its devices have nothing in flight when this returns.
void vm_settle(struct vm *vm);
// To and from a stream, the machine settled. After a failed load it is reset.
int vm_save_state(struct vm *vm, struct state_out *o, struct err *e) MUST_CHECK;
int vm_load_state(struct vm *vm, struct state_in *i, struct err *e) MUST_CHECK;
// In steps. Saving: what the machine is (any time), its memory by the caller, and the rest with the
// machine settled.
void vm_save_begin(struct vm *vm, struct state_out *o);
int vm_save_rest(struct vm *vm, struct state_out *o, struct err *e) MUST_CHECK;
// Loading: only the middle one may be on another thread while the main loop goes on; the last
// one (0: the stream was good) frees it in any case.
struct vm_load;
struct vm_load *vm_load_begin(struct vm *vm);
int vm_load_stream(struct vm_load *l, struct state_in *i, struct err *e) MUST_CHECK;
int vm_load_finish(struct vm_load *l, int result, struct err *e) MUST_CHECK;

// savevm, loadvm, delvm: every writable disk takes part; the state is in the first. The machine
// runs on (save), or runs if it did before (load).
int vm_snapshot_save(struct vm *vm, const char *name, struct err *e) MUST_CHECK;
int vm_snapshot_load(struct vm *vm, const char *name, struct err *e) MUST_CHECK;
int vm_snapshot_delete(struct vm *vm, const char *name, struct err *e) MUST_CHECK;
void vm_snapshot_print(struct vm *vm, struct buf *out); // info snapshots

bool vm_snapshot_exists(struct vm *vm, const char *name); // in any of the disks
// The same as jobs, which are seen to their end by query-jobs and job-dismiss.
enum vm_snapshot_job { VM_SNAPSHOT_SAVE, VM_SNAPSHOT_LOAD, VM_SNAPSHOT_DELETE };
int vm_snapshot_job(struct vm *vm, enum vm_snapshot_job kind, const char *id, const char *tag,
                    struct err *e) MUST_CHECK;
// The disks that take part, by the names of their nodes; the first found keeps the state.
bool vm_snapshot_takes(struct vm *vm, const char *node);
unsigned vm_snapshot_disks(struct vm *vm); // how many

// migrate: to "file:PATH", "fd:NAME", "exec:COMMAND", "unix:PATH" or "tcp:HOST:PORT"; the machine
// stands still afterwards. Unless told to `wait` it returns while the guest runs on, and
// vm->migration tells the rest. And -incoming with one of these; from a socket the state is taken
// in when somebody connects.
int vm_migrate(struct vm *vm, const char *uri, bool wait, struct err *e) MUST_CHECK;
void vm_migrate_cancel(struct vm *vm); // the guest goes on
void vm_migrate_end(struct vm *vm);    // the machine ends first
int vm_incoming(struct vm *vm, const char *uri, struct err *e) MUST_CHECK;
void vm_incoming_end(struct vm *vm);
// What clients see of either.
void vm_migration_begin(struct vm *vm);
void vm_migration_status(struct vm *vm, const char *status);
int vm_migration_done(struct vm *vm, int result, const struct err *e); // the result
