// System calls: the table's types, and what its functions share. A function gets the guest's
// arguments and returns the result, a negative errno, or what host_call.h adds to them.
#pragma once

#include "user/guest.h"
#include "user/host_call.h"

#include <errno.h>
#include <sys/syscall.h>

// How an argument is passed on to the host (and shown by -strace).
enum call_kind {
    K_NONE,
    K_INT,
    K_HEX,
    K_LONG, // signed
    K_SIZE,
    K_MODE,  // octal
    K_OFF,   // 64 bits: two arguments where registers have 32
    K_POS,   // 64 bits in two longs, the low one first
    K_FD,    // a descriptor, or -1
    K_DIRFD, // a descriptor or AT_FDCWD
    K_OPEN,  // flags of open
    K_SIG,
    K_ADDR, // a guest address the function itself deals with
    K_PTR,  // guest memory with the same layout in the host, whatever the ABI
    K_BUF,  // the same, shown as text; its size comes next
    K_NAME, // a string in guest memory
    K_PATH, // a string that names a file to read: looked up below the prefix first
    // A structure of layouts.def, K_IN | LAYOUT_x and so on: read by the call, written, or both.
    K_IN = 0x40,
    K_OUT = 0x80,
    K_LAYOUT = K_IN - 1,
};
_Static_assert((int)LAYOUTS <= (int)K_IN, "kinds of arguments are a byte");
enum { CALL_ARGS = 6 };

struct call {
    const char *name;
    // NULL: the host's call of the same name. Arguments are as `kinds` has them, one for each.
    int64_t (*fn)(struct thread *t, const uint64_t *a);
    long host;
    uint8_t kinds[CALL_ARGS];
};
// Calls of some architectures alone: no host number where the host is another.
#ifndef SYS_llseek
#define SYS_fstatfs64 (-1)
#define SYS_llseek    (-1)
#define SYS_mmap2     (-1)
#define SYS_statfs64  (-1)
#endif
#ifndef SYS_riscv_hwprobe
#define SYS_riscv_flush_icache (-1)
#define SYS_riscv_hwprobe      (-1)
#endif
enum call_id {
#define CALL(name, ...) CALL_##name,
#include "user/calls/all.h"
#undef CALL
    CALLS
};
extern const struct call calls[CALLS];

// A system call of the host on the program's behalf; the result as host_call has it.
int64_t call_host(struct thread *t, long nr, const uint64_t args[6]);
#define CALL_HOST(t, name, ...) call_host(t, SYS_##name, (const uint64_t[6]){__VA_ARGS__})
// A guest address as an argument of CALL_HOST.
static inline uint64_t call_ptr(struct thread *t, uint64_t addr)
{
    return (uint64_t)(uintptr_t)guest_ptr(t, addr);
}

// The host's call with these arguments, converted as the table has it (calls.c).
int64_t call_pass(struct thread *t, enum call_id id, const uint64_t *a);

#define CALL(name, fn, ...) int64_t fn(struct thread *t, const uint64_t *a);
#define PASS                call_pass_unused
#include "user/calls/all.h"
#undef CALL
#undef PASS

// ---- calls/file.c ----
// Flags of open that differ between the guest's ABI and the host's.
int open_flags_swap(struct thread *t, int flags, bool to_host);

// ---- calls/fd.c ----
bool fd_names_own(struct thread *t, const struct call *c, const uint64_t *a);

struct iovec;
enum { IOV_LIMIT = 1024 };
// The guest's vector with host addresses; 0 or a negative errno. *out is the caller's to free.
int64_t iov_read(struct thread *t, uint64_t addr, uint64_t n, struct iovec **out);

// ---- strace.c ----
void strace_call(struct thread *t, const struct call *c, uint64_t number, const uint64_t *a,
                 int64_t result);
// Before a call that may not come back.
void strace_begin(struct thread *t, const struct call *c, uint64_t number, const uint64_t *a);
