// Signals by gdb's numbers (GDB, include/gdb/signals.def).
#include "user/debug/state.h"

enum { GDB_SIGNAL_UNKNOWN = 143, GDB_RT_33 = 45, GDB_RT_32 = 77, GDB_RT_64 = 78 };
static const uint8_t signal_numbers[] = {
    [SIGHUP] = 1,     [SIGINT] = 2,    [SIGQUIT] = 3,  [SIGILL] = 4,   [SIGTRAP] = 5,
    [SIGABRT] = 6,    [SIGFPE] = 8,    [SIGKILL] = 9,  [SIGBUS] = 10,  [SIGSEGV] = 11,
    [SIGSYS] = 12,    [SIGPIPE] = 13,  [SIGALRM] = 14, [SIGTERM] = 15, [SIGURG] = 16,
    [SIGSTOP] = 17,   [SIGTSTP] = 18,  [SIGCONT] = 19, [SIGCHLD] = 20, [SIGTTIN] = 21,
    [SIGTTOU] = 22,   [SIGIO] = 23,    [SIGXCPU] = 24, [SIGXFSZ] = 25, [SIGPROF] = 27,
    [SIGVTALRM] = 26, [SIGWINCH] = 28, [SIGUSR1] = 30, [SIGUSR2] = 31, [SIGPWR] = 32,
};

uint8_t debug_to_gdb(int sig)
{
    if (sig == 32 || sig == 64)
        return sig == 32 ? GDB_RT_32 : GDB_RT_64;
    if (sig > 32)
        return (uint8_t)(GDB_RT_33 + sig - 33);
    bool known = sig < (int)ARRAY_SIZE(signal_numbers) && signal_numbers[sig];
    return known ? signal_numbers[sig] : GDB_SIGNAL_UNKNOWN;
}

int debug_from_gdb(unsigned number)
{
    for (int sig = 1; number && sig <= GUEST_SIGNALS; sig++)
        if (debug_to_gdb(sig) == number)
            return sig;
    return 0;
}
