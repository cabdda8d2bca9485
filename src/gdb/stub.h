// Inside the room: the stub's state, its packet buffer and the handlers' tools.
#pragma once

#include "gdb/gdb.h"
#include "base/vec.h"

#define GDB_PACKET_MAX 0x4000 // told to gdb as PacketSize
#define GDB_POINTS_MAX 4096

struct gdb_inserted {
    enum gdb_point kind;
    uint64_t addr, len;
};

struct gdb_stub {
    struct chardev *chardev;
    struct chr_frontend *f;
    const struct gdb_target_ops *ops;
    void *target;
    bool attached;
    struct gdb_session session;
    bool adopted;   // the session was begun elsewhere: go on with it once we have the connection
    unsigned child; // a process that has been forked, undecided yet; 0: none
    bool vforked;   // it runs on this one's memory and vCPU
    unsigned parent, vfork_cpu; // of the vfork child that is debugged, waiting for it; 0: none
    bool child_g;               // Hg chose it
    enum { GDB_RUNNING, GDB_STOPPED, GDB_EXITED } state;
    bool report;      // gdb waits for a stop reply
    bool interrupted; // Ctrl-C: the next stop is SIGINT
    struct gdb_stop last;
    unsigned cpu_g, cpu_c; // of Hg and Hc
    enum gdb_memory memory;
    unsigned next_thread; // of qsThreadInfo
    VEC(struct gdb_inserted) points;

    // Input: one packet.
    enum { GDB_IDLE, GDB_DATA, GDB_SUM1, GDB_SUM2 } rx;
    char in[GDB_PACKET_MAX + 1]; // NUL-terminated for the handlers
    size_t in_len;
    bool overlong;
    uint8_t sum, want_sum;
    // Output: the reply being made, kept for retransmission.
    struct buf out;
};

// packet.c
void gdb_receive(struct gdb_stub *g, const uint8_t *p, size_t n);
void gdb_reply(struct gdb_stub *g, const char *text);
void gdb_reply_hex(struct gdb_stub *g, const void *p, size_t n); // as pairs of hex digits
void gdb_reply_begin(struct gdb_stub *g);                        // then append to g->out
void gdb_put_hex(struct gdb_stub *g, const void *p, size_t n);
void gdb_put_thread(struct gdb_stub *g, unsigned cpu);
void gdb_put_binary(struct gdb_stub *g, const void *p, size_t n); // escaped
void gdb_reply_end(struct gdb_stub *g);

// stub.c: a whole packet, its text NUL-terminated
void gdb_handle(struct gdb_stub *g, char *p, size_t n);
void gdb_interrupt(struct gdb_stub *g);
void gdb_release(struct gdb_stub *g);                   // breakpoints out, machine on
void gdb_forget_child(struct gdb_stub *g, bool follow); // what becomes of it is decided
void gdb_follow_vfork(struct gdb_stub *g);              // it is debugged from now on
// data.c: registers and memory; resume.c: running and points; query.c: q, Q and vCont?
bool gdb_handle_data(struct gdb_stub *g, char *p, size_t n);
bool gdb_handle_run(struct gdb_stub *g, char *p, size_t n);
bool gdb_handle_query(struct gdb_stub *g, char *p, size_t n);
void gdb_report_stop(struct gdb_stub *g);

// Parsing: hex numbers, advancing *p. False when there is none or it does not fit.
bool gdb_hex(char **p, uint64_t *v);
bool gdb_expect(char **p, char c);
size_t gdb_unhex(const char *p, uint8_t *out, size_t max); // bytes; stops at a non-hex digit
// A thread id: -1 (all), 0 (any) or a vCPU's number plus one, which is checked; with the process
// before it ("pPID.TID") where that was agreed upon. CHILD: of the forked process. PARENT: of
// the one that waits.
enum gdb_thread {
    GDB_THREAD_BAD,
    GDB_THREAD_ALL,
    GDB_THREAD_ANY,
    GDB_THREAD_ONE,
    GDB_THREAD_CHILD,
    GDB_THREAD_PARENT
};
static inline bool gdb_alive(struct gdb_stub *g, unsigned cpu)
{
    return !g->ops->alive || g->ops->alive(g->target, cpu);
}
enum gdb_thread gdb_thread_id(struct gdb_stub *g, char **p, unsigned *cpu);
