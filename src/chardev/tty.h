// The terminal the process was started on, in raw mode while a guest's console uses it.
#pragma once

#include <stdbool.h>

// Puts the terminal behind fd in raw mode until tty_leave, exit, or a signal that ends or stops the
// process. `signals`: Ctrl-C, Ctrl-Z and Ctrl-\ keep their meaning. Does nothing for what is not a
// terminal.
void tty_enter(int fd, bool signals);
void tty_leave(void);
