// What one guest architecture adds to user mode: its numbers, its registers at a system call, its
// signal frame. One const struct abi per guest CPU, listed in abis.def. Structures are those of
// Linux's generic ABI (include/uapi/asm-generic), laid out by `data` (layout.h).
#pragma once

#include "user/abi/layout.h"

#include <signal.h>

// The kernel's own value: the C library hides it on 64-bit hosts.
#if defined(__x86_64__)
#define HOST_O_LARGEFILE 0100000
#else
#define HOST_O_LARGEFILE 0400000
#endif

struct buf;
struct env;
struct isa;
struct thread;

// A signal about to be delivered.
struct signal_frame {
    int sig;
    siginfo_t info;
    uint64_t handler, flags, restorer; // of the action; restorer: code that returns from it
    uint64_t mask;                     // to go back to afterwards
    uint64_t sp;                       // where the frame goes: below here
    uint64_t alt_sp, alt_size;         // the alternate stack as sigaltstack would report it
    int alt_flags;
};

// What a fault means to the program.
struct guest_fault {
    int sig, code;
    uint64_t addr;
    bool handled; // emulated: just go on
};

struct abi {
    const char *isa;      // struct isa's name
    const char *machine;  // uname
    const char *platform; // AT_PLATFORM
    // Where Debian's cross packages put libraries, and the package with the program's loader.
    const char *library_prefix, *libc_package; // package: NULL, there is none
    struct abi_data data;
    uint64_t space;          // of addresses; 0: as much as there is
    uint64_t tag_bits;       // of an address that prctl may let system calls ignore
    uint64_t min_sigstack;   // AT_MINSIGSTKSZ
    bool has_restorer;       // struct sigaction holds sa_restorer
    bool watch_before;       // gdb expects to stop before a watched access, not after it
    const uint16_t *numbers; // system call number -> 1 + enum call_id, 0: none
    unsigned n_numbers;
    // Bits of open's flags that differ from the host's; ends with {0, 0}.
    const struct flag_pair {
        unsigned guest, host;
    } * open_flags;
    const void *sigreturn_code; // instructions that return from a signal
    size_t sigreturn_size;

    void (*hwcap)(struct env *e, uint64_t *hwcap, uint64_t *hwcap2);
    void (*cpuinfo)(struct env *e, struct buf *out); // one processor's paragraph of /proc/cpuinfo
    // System calls: number and arguments; result; back to the instruction with its first argument.
    uint64_t (*call_number)(struct env *e);
    void (*call_args)(struct env *e, uint64_t a[6]);
    void (*set_result)(struct env *e, int64_t val);
    void (*rewind)(struct env *e, uint64_t number, uint64_t arg0);
    // A program's first thread, and a thread or child that clone made.
    void (*start)(struct env *e, uint64_t entry, uint64_t sp);
    void (*child)(struct env *child, const struct env *parent, uint64_t sp, const uint64_t *tls);
    uint64_t (*sp)(const struct env *e);
    void (*randomize)(struct env *e,
                      const uint64_t *random); // secrets exec gives; 10 words; may be NULL
    // Write the frame and set the registers for the handler. False: no memory there.
    bool (*frame_write)(struct thread *t, const struct signal_frame *f);
    // Registers from the frame at sp; *mask and the alternate stack out. False: not readable or
    // malformed.
    bool (*frame_read)(struct thread *t, uint64_t *mask, uint64_t *stack_t_addr);
    void (*fault)(struct thread *t, struct guest_fault *out);
};

// asm-generic/unistd.h of 64-bit ports.
enum { CALLS_GENERIC = 512 };
extern const uint16_t calls_generic[CALLS_GENERIC];

extern const struct abi *const abis[]; // NULL-terminated, from abis.def
