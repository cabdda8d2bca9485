// A state in and out of the context that a signal handler gets: what the runner needs of a guest.
#pragma once

#include "case.h"

void context_load(void *ucontext, const struct diff_state *s);
void context_store(const void *ucontext, struct diff_state *s); // all but the signal
