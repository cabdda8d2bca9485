// The debugger's view of one process; shared by the files of this folder only.
#pragma once

#include "base/loop.h"
#include "base/vec.h"
#include "gdb/gdb.h"
#include "user/debug/debug.h"

struct debug {
    struct user *u;
    struct loop *loop;
    struct gdb_stub *stub;
    struct loop_work announced;
    pthread_mutex_t lock; // of what follows; threads_lock may be taken inside
    pthread_cond_t changed;
    bool stopped; // the gate is closed
    bool attached;
    bool pending; // event has not been told yet
    bool told;    // the debugger knows that the process has ended
    int pid;      // as the debugger knows it
    int child;    // the connection to a forked process that waits for us, or -1
    int child_pid;
    // A child of vfork, which a thread of ours is: whether gdb follows it.
    enum { VFORK_NONE, VFORK_ASKED, VFORK_ALONE, VFORK_FOLLOWED } vfork;
    int vfork_pid, parent_pid;
    bool handed_on;           // the connection, to the program that the child has executed
    bool left;                // the stub has let us go
    struct loop_work leaving; // it is to
    unsigned running;
    struct gdb_stop event; // what closed the gate
    VEC(struct env_watchpoint) watchpoints;
};

// stops.c; the lock is held for the first two.
void debug_wait(struct debug *d, struct thread *t); // at the gate, until it is open for t
// On the program's threads: something for the debugger to know; the gate closes.
void debug_announce(struct debug *d, const struct gdb_stop *event);
// On the stub's thread: everything stands still; why is what was announced, or else `otherwise`.
void debug_stop_for(struct debug *d, const struct gdb_stop *otherwise);
void debug_tell(void *debug); // what was announced, from the stub's thread

// signals.c: by gdb's numbers; 0: gdb's number says none of ours.
uint8_t debug_to_gdb(int sig);
int debug_from_gdb(unsigned number);

// target.c: what the stub asks.
extern const struct gdb_target_ops debug_target;

// processes.c: what the child of a fork reads from the link, which is closed: its process id as the
// debugger knows it, or 0 if it is not debugged.
void debug_decide(int link, int pid);
