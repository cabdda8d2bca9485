// Runs test cases on our own translation: a user-mode CPU over flat memory, its regions executed by
// the IR interpreter.
#pragma once

#include "guest.h"

struct flat;
struct flat *flat_new(const struct diff_guest *g, const char *model, struct err *e);
void flat_free(struct flat *f);
struct env *flat_env(struct flat *f);
// Run from `start` (pc included) until the breakpoint or a fault; `code` lies at CODE_VA, `window`
// at WINDOW_VA and is changed. `out` gets the state with the signal a program would have seen.
// `plain`: with every switch of the IR builder off.
void flat_run(struct flat *f, bool plain, const struct diff_state *start, const uint8_t *code,
              size_t code_size, uint8_t *window, struct diff_state *out);
// Text of the regions built for that code, to stdout.
void flat_print_ir(struct flat *f, const struct diff_state *start, const uint8_t *code,
                   size_t code_size);
// Builds regions over all of `code`, one behind the other, and forgets them; how many, and nodes in
// all of them.
size_t flat_build_all(struct flat *f, const uint8_t *code, size_t code_size, size_t *nodes);
