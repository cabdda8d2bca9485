// The server's side of the telnet protocol (RFC 854, 855, 856, 857, 858), as a state machine over
// whatever carries it.
#pragma once

#include "base/base.h"

#define TELNET_REPLY_MAX 256

struct telnet {
    enum { TELNET_DATA, TELNET_IAC, TELNET_OPTION, TELNET_SUB, TELNET_SUB_IAC } state;
    uint8_t verb;   // of TELNET_OPTION
    bool after_cr;  // the last data byte was CR
    uint8_t us[4];  // options 0..3: what we do for the peer; enum telnet_option_state
    uint8_t him[4]; // what the peer does for us
    uint8_t reply[TELNET_REPLY_MAX];
    size_t reply_len; // to be sent by the caller, who sets it to 0
    unsigned breaks;  // IAC BREAK seen; the caller takes them
};

// Starts a session; the opening offers are in reply.
void telnet_start(struct telnet *t);
// Decodes in place; returns how many bytes of data remain at the front of p. Answers go to reply;
// those that do not fit are lost.
size_t telnet_decode(struct telnet *t, uint8_t *p, size_t n);
// Encodes for sending: takes up to *n bytes, sets *n to how many it took, returns the length
// written to out.
size_t telnet_encode(const uint8_t *p, size_t *n, uint8_t *out, size_t room);
