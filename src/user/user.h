// A foreign Linux program as an ordinary process: struct user is the process, struct thread one of
// its threads, each running on a host thread with a CPU of its own. Guest address 0 lies at
// mm.base; everything the program asks of the kernel goes through the tables of syscalls/.
// Process-wide state is shared by all threads and guarded where it says so.
#pragma once

#include "accel/dbt.h"
#include "base/thread.h"
#include "isa/isa.h"
#include "user/abi/abi.h"
#include "user/mm.h"

#include <signal.h>
#include <stdatomic.h>

struct user_options {
    const char *prefix;           // -L: absolute paths are looked up below it first
    const char *argv0;            // -0
    const char *cpu;              // -cpu, with its properties; NULL: the default
    const char *release;          // -r: what uname says
    const char *gdb;              // -g PORT or socket path
    const char *debug, *log_file; // -d, -D
    uint64_t base, reserve, stack_size, page_size;
    const char *accel; // -accel: dbt and its switches
    bool base_given, strace;
    char **env; // the program's environment after -E and -U
};

// What the guest asked to be done on a signal, in Linux's own terms.
struct guest_action {
    uint64_t handler, flags, restorer, mask;
};
enum { GUEST_SIGNALS = 64, GUEST_SA_RESTORER = 0x04000000 };
#define SIG_BIT(n) (1ull << ((n)-1))

// Shared by threads, copied by fork and vfork.
struct sighand {
    pthread_mutex_t lock;
    struct guest_action action[GUEST_SIGNALS + 1];
};

enum { USER_OWN_FDS = 900 }; // our own descriptors lie here and above, if the limit permits
struct debug;
struct thread;
struct user {
    const struct abi *abi;
    const struct isa *isa;
    struct layouts layouts;
    struct accel *accel;
    struct mm mm;
    struct user_options opt;
    int pid;   // a child of vfork has another
    char *exe; // absolute path of the running program
    struct own_fds {
        int self;                 // our own executable, for running foreign programs
        int prefix;               // of opt.prefix, or -1
        int log;                  // reserved for the debug log, or -1
    } fds;                        // a child of vfork has its own: thread->fds
    const char *personality_name; // argv[0] that makes us run this guest again
    uint32_t personality;         // as the program set it
    struct user_limit {
        uint64_t soft, hard;
    } limits[16]; // those that are not passed on to the host
    uint64_t arg_start, arg_end, env_start, env_end, auxv, auxv_size, stack_low, stack_high;
    uint64_t sigreturn_code; // guest address of the instructions that return from a signal

    struct debug *debug; // -g, or NULL
    // Memory shared with other processes, for writing; with those that will be forked; a robust
    // list is known.
    _Atomic bool shares_memory, would_share_memory, has_robust_list;
    int undertaker; // a process, or 0 (program/robust.c)
    uint8_t *undertaker_stack;
    pthread_mutex_t threads_lock;
    struct thread **threads; // by CPU number
    unsigned max_threads;
};

struct thread {
    struct env *env;
    struct user *u;
    struct sighand *sighand;
    unsigned index;
    bool is_main;
    uint64_t blocked;    // the guest's signal mask
    uint64_t saved_mask; // what to go back to after a wait with another mask
    bool saved_mask_valid;
    uint64_t alt_sp, alt_size;
    int alt_flags;
    uint64_t clear_tid, robust_list;
    // A host signal on its way to the guest: while it is here all others are blocked.
    _Atomic int captured;
    siginfo_t captured_info;
    uint64_t held;          // signals of faults that somebody has sent and the guest has blocked
    siginfo_t held_info[5]; // by number, modulo: no two meet
    bool fetch_fault;       // the fetch in env->fault was refused
    uint64_t fault_addr, fault_esr; // of the latest memory fault, as the signal frame shows it
    // A call to be repeated after a signal: in any case, or as the signal's action wants it.
    enum { RESTART_NOT, RESTART_ASK, RESTART_ALWAYS } restart;
    uint64_t call_nr, call_arg0;
    // The debugger's (debug/): held back at a resume, stepping; the signal that goes on to us.
    bool debug_held, debug_step;
    bool debug_free; // a child of vfork that the debugger has let go
    int debug_signal;
    int tid; // of its host thread, or of the process that is its child of vfork
    struct own_fds *fds;
    struct proxy *proxy; // it runs as a child of vfork, which this is to the kernel; or NULL
};

extern _Thread_local struct thread *user_self;

// ---- thread.c ----
struct clone_request {
    uint64_t flags, stack, parent_tid, child_tid, tls, pidfd;
    int exit_signal;
};
// What of a request for a process the host's clone is asked for, too.
#define CLONE_PASSED                                                                               \
    (CLONE_PARENT | CLONE_FS | CLONE_FILES | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |        \
     CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_IO | CLONE_PIDFD)
// Takes a free place among the process's threads and makes its CPU; runs nothing. Any thread.
struct thread *thread_new(struct user *u, struct err *e);
void thread_free(struct thread *t);
_Noreturn void thread_run(struct thread *t); // on its host thread, until it ends
void thread_run_proxied(struct thread *t);   // until its proxy has gone
// Of all threads that can be killed by themselves, a child of vfork alone comes back: its proxy has
// gone.
void thread_end(struct thread *t, int status);
void thread_leave_memory(struct thread *t); // what it holds or has promised there
int64_t thread_clone(struct thread *t, const struct clone_request *r);
// Writes to the parent's memory what it asked to be told of its new process.
void thread_tell_parent(struct thread *t, const struct clone_request *r, int pid, int pidfd);

// ---- vfork.c ----
int64_t vfork_clone(struct thread *t, const struct clone_request *r);

// ---- program/robust.c ----
void robust_shares_memory(struct user *u); // with other processes, for writing
void robust_has_list(struct user *u);      // a thread has told where it is
void robust_thread_ends(struct thread *t);
void robust_process_ends(struct thread *t); // it is about to
void robust_suspend(struct user *u);        // the process becomes another program
void robust_resume(struct user *u);         // it did not

// ---- signal.c ----
void signal_init(struct user *u, struct thread *t); // what the process was started with
void signal_take_faults(void);                      // after the accelerator's first thread has
// Signals with the default action, after the thread is debugged no longer.
void signal_defaults(struct thread *t);
// After a thread was made, signals blocked: the host's C library takes signals for itself then that
// are the guest's.
void signal_reclaim(struct thread *t);
void signal_deliver(struct thread *t); // what has been captured, on the way to the guest
void signal_force(struct thread *t, int sig, int code, uint64_t addr); // a fault's
void signal_die(struct thread *t, int sig);            // comes back as thread_end does
void signal_set_mask(struct thread *t, uint64_t mask); // the guest's
// A wait with another mask: put it in force; the old one returns after the call.
void signal_mask_for_call(struct thread *t, uint64_t mask);
uint64_t signal_host_mask(uint64_t guest_mask);
int64_t signal_action(struct thread *t, int sig, const struct guest_action *set,
                      struct guest_action *old);
int64_t signal_return(struct thread *t);
int64_t signal_altstack(struct thread *t, uint64_t set, uint64_t old);
void signal_block_all(uint64_t *old);   // of the host thread, but for its own faults
void signal_block_every(uint64_t *old); // those too: while its state is made or goes
void signal_restore(uint64_t old);

// ---- program/: elf.c, stack.c, exec.c ----
struct image {
    uint64_t entry, start; // where to begin (the loader's entry if there is one), the program's own
    uint64_t load, phdr, interp_base;
    unsigned phnum;
};
// Maps the program; -1 with one line. *status is what a shell would report (126, 127).
int elf_load(struct user *u, int fd, const char *path, struct image *out, int *status,
             struct err *e) MUST_CHECK;
int stack_map(struct user *u, struct err *e) MUST_CHECK; // before anything is placed
// Arguments, environment and auxiliary vector; the stack pointer, or 0 with a line.
uint64_t stack_build(struct user *u, const struct image *im, char **argv, char **env,
                     struct env *cpu, struct err *e);
int64_t exec_program(struct thread *t, int dirfd, const char *path, uint64_t argv, uint64_t env,
                     int flags);

// ---- calls.c ----
void call_guest(struct thread *t); // the system call the guest has asked for
