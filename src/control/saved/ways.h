// Where a machine's state goes and comes from: files, descriptors, commands and sockets. One thread
// at a time.
#pragma once

#include "base/sock.h"
#include "control/vm.h"

enum { WAY_BUFFER = 1 << 20 };
struct way {
    int fd;
    pid_t child; // of exec:, or 0
    uint8_t *data;
    size_t len;
    _Atomic bool stop; // any thread: waits end with -ECANCELED
    bool patient;      // reading looks for `stop` while it waits
};
// Opens what a migration's URI names (file:, exec:, fd:, unix:, tcp:), for writing when `out`.
// After a failure too, way_close frees it.
int way_open(struct vm *vm, struct way *w, const char *uri, bool out, struct err *e) MUST_CHECK;
int way_close(struct way *w, struct err *e) MUST_CHECK; // and what a command said of it
bool way_is_socket(const char *uri);                    // unix: or tcp:
// The address of one; `passive`: to listen at.
int way_resolve(struct sock_addr *a, const char *uri, bool passive, struct err *e) MUST_CHECK;
// For struct state_out and state_in.
int way_put(void *way, const void *p, size_t n);
int way_get(void *way, void *p, size_t n);
int way_flush(struct way *w); // what way_put collected; 0 or -errno
