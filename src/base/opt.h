// Option strings as QEMU's users write them: "driver,key=value,flag,noflag,key=a,,b" or JSON text.
// Parsed to an ordered list that remembers which keys were used, so that an unknown key is reported
// by name.
#pragma once

#include "base/base.h"
#include "base/err.h"

struct opt {
    char *key, *val; // val of a bare flag is "on", of "noflag" "off" (only if `flag` is asked for)
    bool used;
    bool bare; // came without "="
};
struct opts {
    struct opt *data;
    size_t len, cap;
    const char *said; // who asked for them, for the owner's messages; or NULL
};
// `implied` is the key of a first value without "=" (e.g. "driver"), or NULL. Text that begins with
// '{' is read as one JSON object; nested objects become dotted keys ("file.filename"), arrays
// "key.0", "key.1".
int opts_parse(struct opts *o, const char *text, const char *implied, struct err *e) MUST_CHECK;
void opts_free(struct opts *o);
void opts_set(struct opts *o, const char *key, const char *val); // replaces
void opts_drop(struct opts *o, const char *key);
// The last value for key, marked used; NULL when absent. Valid until the opts change.
const char *opts_get(struct opts *o, const char *key);
bool opts_has(const struct opts *o, const char *key); // does not mark
// Typed access: leave *v alone when the key is absent; -1 and a line that names the key when
// malformed.
int opts_get_bool(struct opts *o, const char *key, bool *v,
                  struct err *e) MUST_CHECK; // on/off/yes/no/true/false
int opts_get_u64(struct opts *o, const char *key, uint64_t *v,
                 struct err *e) MUST_CHECK; // decimal, 0x, 0
int opts_get_size(struct opts *o, const char *key, uint64_t *v, uint64_t unit,
                  struct err *e) MUST_CHECK; // bkKMGTPE suffix; bare number times unit
// -1 when a key was never asked for: "`what`: unknown option 'foo'", with a did-you-mean from the
// NULL-terminated known list (may be NULL); without the first part when `what` is NULL.
int opts_check_unused(struct opts *o, const char *what, const char *const *known,
                      struct err *e) MUST_CHECK;

int parse_bool(const char *s, bool *v);                    // 0 or -1
int parse_u64(const char *s, uint64_t *v);                 // 0 or -1
int parse_size(const char *s, uint64_t unit, uint64_t *v); // "512", "1G", "1.5G"; 0 or -1
