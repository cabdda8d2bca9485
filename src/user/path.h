// Paths as the program means them: below -L's prefix where the file exists there, and files of
// /proc that describe the program and not the emulator.
#pragma once

#include "user/user.h"

// The host path for reading what `path` names: below the prefix if it exists there. `follow`: the
// last component may be a symbolic link. Always fills out (size at least 4096).
void path_lookup(struct user *u, const char *path, char *out, size_t size, bool follow);
// Is it a file of /proc that needs an answer of our own? An open fd, a negative errno, or
// PATH_NOT_OURS.
enum { PATH_NOT_OURS = -4096 };
int path_open_proc(struct thread *t, const char *path, int flags);
bool path_is_own_exe(const char *path); // /proc/self/exe and its other names
