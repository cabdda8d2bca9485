// The path of guest instructions that makes a region: where code goes when no conditional branch is
// taken, through forward jumps and one call, within one page.
#pragma once

#include "accel/dbt.h"
#include "ir/build.h"

struct path_start {
    uint64_t pc, mode;   // as the guest has them
    const uint8_t *code; // the guest's bytes from pc on, `avail` of them to the end of the page
    unsigned avail, max_insns;
    bool parallel; // other CPUs look at the same memory
};

// Builds the region that `b` has begun; user->may_execute is NULL in a machine. On the thread of e.
// False: the first instruction goes on to a page that cannot be executed; the fault is in e->fault.
bool path_follow(const struct accel *a, const struct dbt_user *user, struct env *e,
                 struct ir_build *b, const struct path_start *at);
