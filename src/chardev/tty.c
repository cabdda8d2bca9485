// Raw mode and its undoing (termios(3)). A process has one controlling terminal, and its old mode
// must be known to signal handlers and at exit: so this file keeps state of its own, the one
// exception to the rule that state hangs off a machine.
#include "chardev/tty.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/base.h"

static struct {
    int fd;
    volatile sig_atomic_t active;
    struct termios saved, raw;
} tty;

// Handlers only for signals nobody else has claimed.
static const int fatal_signals[] = {SIGABRT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

static void restore(void)
{
    if (tty.active)
        tcsetattr(tty.fd, TCSANOW, &tty.saved);
}

// In the background the terminal belongs to someone else, and touching it would stop us.
static void make_raw(void)
{
    if (tty.active && tcgetpgrp(tty.fd) == getpgrp())
        tcsetattr(tty.fd, TCSANOW, &tty.raw);
}

static void on_fatal(int sig)
{
    restore();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void on_stop(int sig)
{
    restore();
    raise(SIGSTOP); // goes on in on_continue
}

static void on_continue(int sig)
{
    make_raw();
}

static void claim(int sig, void (*handler)(int))
{
    struct sigaction old, sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
    if (!sigaction(sig, NULL, &old) && old.sa_handler == SIG_DFL)
        sigaction(sig, &sa, NULL);
}

static void release(int sig, void (*handler)(int))
{
    struct sigaction old;
    if (!sigaction(sig, NULL, &old) && old.sa_handler == handler)
        signal(sig, SIG_DFL);
}

void tty_enter(int fd, bool signals)
{
    static bool at_exit;
    if (tty.active || tcgetattr(fd, &tty.saved))
        return;
    tty.fd = fd;
    tty.raw = tty.saved;
    // Output processing stays: monitors and logs write plain newlines to the same terminal.
    tty.raw.c_iflag &=
        ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    tty.raw.c_oflag |= OPOST;
    tty.raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        tty.raw.c_lflag &= ~(tcflag_t)ISIG;
    tty.raw.c_cflag = (tty.raw.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    tty.raw.c_cc[VMIN] = 1;
    tty.raw.c_cc[VTIME] = 0;
    tty.active = 1;
    for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        claim(fatal_signals[i], on_fatal);
    claim(SIGTSTP, on_stop);
    claim(SIGCONT, on_continue);
    if (!at_exit)
        atexit(restore);
    at_exit = true;
    make_raw();
}

void tty_leave(void)
{
    restore();
    if (!tty.active)
        return;
    tty.active = 0;
    for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        release(fatal_signals[i], on_fatal);
    release(SIGTSTP, on_stop);
    release(SIGCONT, on_continue);
}
