// The GDB remote serial protocol (GDB manual, appendix E) over a character back end, against a
// machine seen through a few operations. Threads are vCPUs, numbered from 1 on the wire and from 0
// here. All-stop only. Everything runs on the loop's thread.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "chardev/chardev.h"

#define GDB_REG_MAX  256 // bytes of the largest register
#define GDB_CPUS_MAX 1024

struct gdb_stub;

// As in Z packets.
enum gdb_point {
    GDB_SOFTWARE_BREAK,
    GDB_HARDWARE_BREAK,
    GDB_WRITE_WATCH,
    GDB_READ_WATCH,
    GDB_ACCESS_WATCH,
    GDB_N_POINTS
};

enum gdb_action { GDB_STAY, GDB_CONTINUE, GDB_STEP }; // what a vCPU is to do at a resume

enum gdb_memory { GDB_VIRTUAL, GDB_PHYSICAL };

struct gdb_target_ops {
    unsigned (*n_cpus)(void *t);
    // A line for `info threads`, e.g. "CPU#0 [halted]".
    // Is there one of this number below n_cpus? NULL: always.
    bool (*alive)(void *t, unsigned cpu);
    void (*cpu_text)(void *t, unsigned cpu, struct buf *out);
    // Registers by their number in the target description, in target byte order. read_reg returns
    // the length, at most GDB_REG_MAX, 0 when there is no such register; write_reg how many bytes
    // it took, 0 when it cannot. n_regs is how many `g` transfers, from 0.
    unsigned (*n_regs)(void *t);
    size_t (*read_reg)(void *t, unsigned cpu, unsigned reg, uint8_t *out);
    size_t (*write_reg)(void *t, unsigned cpu, unsigned reg, const uint8_t *in, size_t len);
    void (*set_pc)(void *t, unsigned cpu, uint64_t pc);
    // How many bytes from the start could be transferred, as vCPU `cpu` sees memory.
    size_t (*read_mem)(void *t, unsigned cpu, enum gdb_memory m, uint64_t addr, void *dst,
                       size_t n);
    size_t (*write_mem)(void *t, unsigned cpu, enum gdb_memory m, uint64_t addr, const void *src,
                        size_t n);
    // 0; -1: the target cannot; -2: this kind is not supported. Never twice the same.
    int (*insert)(void *t, enum gdb_point kind, uint64_t addr, uint64_t len);
    int (*remove)(void *t, enum gdb_point kind, uint64_t addr, uint64_t len);
    // The next resume gives this signal (gdb's number) to it. NULL: signals mean nothing to it.
    void (*signal)(void *t, unsigned cpu, unsigned signal);
    // Starts the vCPUs; n actions. Ends with gdb_stub_stopped.
    void (*resume)(void *t, const enum gdb_action *actions, unsigned n);
    // Stops all vCPUs; answered by gdb_stub_stopped, now or later, also when they stood already.
    void (*stop)(void *t);
    const char *(*xml)(void *t, const char *annex); // "target.xml" and what it includes; NULL: none
    void (*auxv)(void *t, struct buf *out);         // the program's auxiliary vector; may be NULL
    void (*monitor)(void *t, const char *command, struct buf *out); // may be NULL
    void (*kill)(void *t);                                          // end the machine
    // Of a program; both NULL or neither. Its process, as gdb is to name it; and after a stop for
    // GDB_STOP_FORK what gdb wants: false: the child runs on by itself. True: the child answers
    // the packet under way, on the same connection (gdb_stub_adopt), and this process is let go.
    // After GDB_STOP_VFORK, true: vCPU `cpu` of that stop is the child, which is pid from now on.
    unsigned (*pid)(void *t);
    void (*follow)(void *t, bool child);
};

struct gdb_stop {
    unsigned cpu;
    enum {
        GDB_STOP_REQUEST,
        GDB_STOP_TRAP,
        GDB_STOP_WATCH,
        GDB_STOP_SIGNAL,
        GDB_STOP_FORK,
        GDB_STOP_VFORK,      // the vCPU's own process sleeps until
        GDB_STOP_VFORK_DONE, // that child, which nobody followed, has ended or become another
        GDB_STOP_EXEC,       // of another program, in this process
        GDB_STOP_EXIT,
        GDB_STOP_KILLED // by a signal
    } why;
    enum gdb_point watch; // GDB_STOP_WATCH
    uint64_t address;     // GDB_STOP_WATCH: the data address
    uint8_t exit_status;  // GDB_STOP_EXIT
    uint8_t signal;       // GDB_STOP_SIGNAL, GDB_STOP_KILLED: gdb's number
    unsigned child;       // GDB_STOP_FORK, GDB_STOP_VFORK: its process
    const char *program;  // GDB_STOP_EXEC
};

// What has been agreed upon with a debugger.
struct gdb_session {
    bool no_ack, multiprocess, fork_events, vfork_events, exec_events;
};

// Serves gdb on `c`, which the stub takes over: a connecting debugger stops the machine, one that
// leaves removes its breakpoints and lets it run.
struct gdb_stub *gdb_stub_new(struct chardev *c, const struct gdb_target_ops *ops, void *target,
                              struct err *e);
// The argument of -gdb: "tcp::1234", "unix:PATH", "stdio"…; sockets listen without waiting.
struct gdb_stub *gdb_stub_open(const char *spec, struct loop *loop,
                               const struct gdb_target_ops *ops, void *target, struct err *e);
// A connection that another process or program began; the target stands still. `stop` is reported,
// or, if NULL, the packet under way answered.
struct gdb_stub *gdb_stub_adopt(int fd, const struct gdb_session *s, const struct gdb_stop *stop,
                                struct loop *loop, const struct gdb_target_ops *ops, void *target,
                                struct err *e);
const struct gdb_session *gdb_stub_session(const struct gdb_stub *g);
int gdb_stub_fd(const struct gdb_stub *g);        // of the connection, or -1
void gdb_stub_pause(struct gdb_stub *g, bool on); // reads nothing meanwhile; any thread
void gdb_stub_close(struct gdb_stub *g);
void gdb_stub_stopped(struct gdb_stub *g, const struct gdb_stop *s);
// The process that a vfork child was followed to has gone, with the connection or without: this one
// runs by itself. On the loop's thread.
void gdb_stub_leave(struct gdb_stub *g);
void gdb_stub_started(struct gdb_stub *g);        // somebody else (the monitor) let the machine run
bool gdb_stub_attached(const struct gdb_stub *g); // a debugger is connected
