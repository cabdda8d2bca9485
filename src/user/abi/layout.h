// Structures that cross the border between the program and the kernel. Each is described once
// (calls/layouts.def) in the terms of Linux's headers - int, long, pointer - and laid out for the
// guest by what its ABI says of those. Where guest and host agree, `layout_same` says so and the
// host's kernel may be given the guest's memory as it is.
#pragma once

#include "base/base.h"

struct abi;
struct thread;
struct user;

// What an ABI says of data. The byte order is the CPU's.
struct abi_data {
    uint8_t long_size;  // of long, size_t and pointers
    uint8_t most_align; // of a structure's members: 8; i386 has 4, m68k 2
    bool even_pairs;    // a 64-bit argument in two registers begins with an even one
};

enum layout_id {
#define LAYOUT(name, type) LAYOUT_##name,
#define FIELD(...)
#define GAP(...)
#include "user/calls/layouts.def"
#undef LAYOUT
#undef FIELD
#undef GAP
    LAYOUTS
};
enum {
#define LAYOUT(...)
#define FIELD(name, kind, member) +1
#define GAP(name, kind, count)    +1
    LAYOUT_FIELDS = 0
#include "user/calls/layouts.def"
#undef LAYOUT
#undef FIELD
#undef GAP
};
enum { LAYOUT_MOST = 256 }; // bytes of any of them

struct layouts { // for one guest
    bool same[LAYOUTS];
    uint16_t size[LAYOUTS];
    uint16_t at[LAYOUT_FIELDS];
    bool swap;
};

void layouts_make(struct layouts *l, const struct abi_data *d, bool big_endian);

// Between the host's structure and the guest's bytes. What the guest's does not have is zero.
void layout_unpack(const struct user *u, enum layout_id id, void *host, const void *guest);
void layout_pack(const struct user *u, enum layout_id id, void *guest, const void *host);
// The same with guest memory; false: no such memory.
bool layout_read(struct thread *t, enum layout_id id, uint64_t addr, void *host) MUST_CHECK;
bool layout_write(struct thread *t, enum layout_id id, uint64_t addr, const void *host) MUST_CHECK;
bool layout_same(const struct thread *t, enum layout_id id);
size_t layout_size(const struct thread *t, enum layout_id id);

// One long or pointer of the guest's: size_t, unsigned long, void *.
bool word_read(struct thread *t, uint64_t addr, uint64_t *val) MUST_CHECK;
bool word_write(struct thread *t, uint64_t addr, uint64_t val) MUST_CHECK;
// n of them, one behind the other, in our memory.
void words_unpack(const struct user *u, uint64_t *val, const void *guest, size_t n);
void words_pack(const struct user *u, void *guest, const uint64_t *val, size_t n);

// siginfo_t's members depend on the signal: LAYOUT_siginfo with layout_read and layout_write means
// the one that its first three members tell.
enum layout_id layout_of_siginfo(int sig, int code);
