// gdb on a program (-g): its threads stop between two guest instructions, or stay in the system
// call they are in.
#pragma once

#include "user/user.h"

// `spec`: a TCP port, or the path of a socket. The program waits for the debugger before its first
// instruction.
int debug_open(struct user *u, const char *spec, struct err *e) MUST_CHECK;
// Around every run of guest code: wait while the debugger holds the thread; it has come back.
void debug_enter(struct thread *t);
void debug_leave(struct thread *t);
void debug_watch(struct thread *t); // the watchpoints of now; the program stands still, or t is new
void debug_trap(struct thread *t, bool breakpoint); // after a run: a breakpoint, perhaps a step
// A signal is about to reach the program: the one that the debugger lets through, 0: none.
int debug_signal(struct thread *t, int sig);
void debug_end(struct user *u, int status, int sig); // the process ends, by `sig` unless 0
// Around a fork; `link` connects the processes, -1 where the debugger does not ask for forks. The
// child waits for what the debugger decides: it is debugged from then on, and its parent no longer,
// or the other way round.
void debug_fork_prepare(struct user *u, const struct clone_request *r, int link[2]);
void debug_fork_parent(struct thread *t, int pid, int link[2]);
void debug_fork_child(struct thread *t, int link[2]);
// Around a vfork, on the thread that becomes the child: before it does, and when it is itself
// again.
void debug_vfork_begin(struct thread *t, int pid);
void debug_vfork_end(struct thread *t, int pid);
// Before another program is executed: what to give it as -g, so that the debugger stays; NULL: it
// does not. The caller frees it.
char *debug_exec(struct thread *t);
void debug_exec_failed(struct user *u);
