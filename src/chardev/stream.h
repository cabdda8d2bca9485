// File descriptors as a character back end's two directions: reads when the front end has room,
// writes when the kernel has.
#pragma once

#include "chardev/backend.h"

struct chr_stream {
    struct chardev *c;
    int in_fd, out_fd; // -1: no such direction; may be the same
    bool eof;          // the input has ended
    bool reading;      // the front end had room when last asked
    bool want_out;
    struct loop_fd *in_watch, *out_watch;
    // Reads up to n bytes; default read(2).
    ssize_t (*read)(struct chardev *c, uint8_t *p, size_t n);
    // The input ended: errnum 0, or failed. Default: nothing more is read.
    void (*ended)(struct chardev *c, int errnum);
};

void chr_stream_init(struct chr_stream *s, struct chardev *c); // no fds yet
// Starts both directions; the fds should be non-blocking and stay the stream's to close.
void chr_stream_start(struct chr_stream *s, int in_fd, int out_fd);
void chr_stream_stop(struct chr_stream *s); // stops watching and closes the fds
void chr_stream_accept_input(struct chr_stream *s);
// For chardev_type.write: bytes taken, asks for writability after a short write; -1 on an error.
ssize_t chr_stream_write(struct chr_stream *s, const uint8_t *p, size_t n);
void chr_stream_want_out(struct chr_stream *s); // call chr_be_writable when there is room
