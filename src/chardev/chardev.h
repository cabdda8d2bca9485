// Character back ends: a byte stream both ways with open/close events and flow control, on one
// event loop. A back end may be shared by several front ends through a mux (Ctrl-A commands).
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/opt.h"

struct chardev;

enum chr_event { CHR_OPENED, CHR_CLOSED, CHR_BREAK, CHR_MUX_IN, CHR_MUX_OUT };
struct chr_frontend_ops {
    size_t (*can_receive)(void *fe);                       // how many bytes it would take now
    void (*receive)(void *fe, const uint8_t *p, size_t n); // n <= can_receive()
    void (*event)(void *fe, enum chr_event ev);            // may be NULL
    void (*can_write)(void *fe); // room again after a short write; may be NULL
};
struct chr_frontend; // an attachment

// -chardev BACKEND,id=…,… ; legacy strings of -serial/-monitor ("mon:stdio",
// "telnet:h:p,server,nowait", "unix:…", "null", "pty", "file:…", "none" gives NULL without error,
// "chardev:ID" is resolved by control before this).
struct chardev *chardev_open(struct opts *o, struct loop *loop, struct err *e);
int chardev_opts_from_legacy(const char *spec, struct opts *o, bool *mux, struct err *e) MUST_CHECK;
// The arguments of QMP's chardev-add, flattened ("id", "backend.type", "backend.data.addr.type"…),
// as options for chardev_open.
int chardev_opts_from_qmp(const struct opts *qmp, struct opts *o, struct err *e) MUST_CHECK;
void chardev_close(struct chardev *c);
const char *chardev_id(const struct chardev *c);
const char *
chardev_describe(struct chardev *c);     // "pty:/dev/pts/3", "stdio": query-chardev's filename
bool chardev_is_open(struct chardev *c); // a peer is connected
bool chardev_is_mux(struct chardev *c);
bool chardev_is_busy(const struct chardev *c); // has a front end: must not be removed
// Reads nothing while it is on, not even ahead: what comes is for another process that has the same
// descriptor. Any thread.
void chardev_pause(struct chardev *c, bool on);
int chardev_fd(const struct chardev *c); // where output goes, as far as it is one descriptor; or -1
void chardev_send_break(struct chardev *c);

// Attach a front end (one; several with mux). All calls on the loop's thread except chr_write,
// which any thread may make.
struct chr_frontend *chr_attach(struct chardev *c, const struct chr_frontend_ops *ops, void *fe,
                                struct err *e);
void chr_detach(struct chr_frontend *f);
// Returns how many bytes were taken; the rest when can_write is called. A back end with no peer
// takes and drops everything.
size_t chr_write(struct chr_frontend *f, const void *p, size_t n);
void chr_write_all(struct chr_frontend *f, const void *p,
                   size_t n); // queues the rest, bounded at 1 MiB, then drops the oldest
void chr_accept_input(struct chr_frontend *f); // can_receive() grew
bool chr_frontend_open(const struct chr_frontend *f);
int chr_get_msgfd(struct chr_frontend *f);   // an fd received over a unix socket, or -1
void chr_take_focus(struct chr_frontend *f); // mux input goes here; else to the first attached
// Mux: what Ctrl-A x, h and s do; any may be NULL. Set by control.
struct chr_mux_ops {
    void (*quit)(void *opaque);
    void (*help)(void *opaque, struct chardev *c); // NULL: the built-in text
    void (*commit)(void *opaque);
    void *opaque;
};
// What the escape character's keys do beyond the device; `ops` is copied.
void chardev_set_mux_ops(struct chardev *c, const struct chr_mux_ops *ops);
void chardev_set_escape(struct chardev *c, uint8_t ctrl_char); // -echr
void chardev_print_help(struct buf *out);
// The i-th type's name and the options it knows; NULL after the last.
const char *chardev_type_at(unsigned i, const char *const **keys);
size_t chardev_ringbuf_read(struct chardev *c, uint8_t *dst, size_t n); // ringbuf only
