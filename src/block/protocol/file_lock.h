// Image locking between processes. Private to protocol/file.
#pragma once

#include "base/err.h"

// Locks what a user of the image needs: everyone reads and tolerates readers; a writer also writes
// and resizes; nobody tolerates other writers unless `share`. -1 and *e when another process is in
// the way. The locks go with the file descriptor.
int file_lock(int fd, bool writer, bool share, bool must, struct err *e) MUST_CHECK;
void file_unlock(int fd);
