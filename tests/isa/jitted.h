// Runs test cases as host code: in user mode, where guest memory is host memory, or behind the soft
// MMU of a system.
#pragma once

#include "guest.h"

struct jitted;
// `plain_host`: only with what every supported host has. `other`: the property of -accel dbt that
// is not as it is by default (jitted_switches), or NULL.
struct jitted *jitted_new(const struct diff_guest *g, const char *model, bool system,
                          bool plain_host, const char *other, struct err *e);
extern const char *const jitted_switches[]; // ends with NULL
// Differences that verify mode has found.
uint64_t jitted_differences(struct jitted *j);
void jitted_free(struct jitted *j);
// Put code at CODE_VA; translations of what was there are forgotten.
void jitted_load(struct jitted *j, const uint8_t *code, size_t code_size);
// Bytes of host code for these instructions as one region, with what lies behind its exits.
unsigned jitted_size(struct jitted *j, const uint8_t *code, unsigned bytes);
// Run from `start` until the breakpoint or a fault, with memory `window`, which is changed.
void jitted_run(struct jitted *j, const struct diff_state *start, uint8_t *window,
                struct diff_state *out);
