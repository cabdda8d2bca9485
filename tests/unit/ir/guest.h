// A guest with a few slots of every kind, for tests of the IR.
#pragma once

#include "base/err.h"
#include "ir/build.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

struct test_cpu {
    struct env env;
    uint64_t x[8];
    uint64_t pc;
    uint32_t flags, w;
    v128 v[4];
};
enum { S_X0, S_X1, S_X2, S_X3, S_X4, S_X5, S_X6, S_X7, S_PC, S_FLAGS, S_W, S_V0, S_V1, S_V2, S_V3 };

#define SLOT_X(n)                                                                                  \
    {                                                                                              \
        "x" #n, offsetof(struct test_cpu, x[n]), IR_I64                                            \
    }
#define SLOT_V(n)                                                                                  \
    {                                                                                              \
        "v" #n, offsetof(struct test_cpu, v[n]), IR_V128                                           \
    }
static const struct ir_slot test_slots[] = {
    SLOT_X(0),
    SLOT_X(1),
    SLOT_X(2),
    SLOT_X(3),
    SLOT_X(4),
    SLOT_X(5),
    SLOT_X(6),
    SLOT_X(7),
    {"pc", offsetof(struct test_cpu, pc), IR_I64},
    {"flags", offsetof(struct test_cpu, flags), IR_FLAGS},
    {"w", offsetof(struct test_cpu, w), IR_I32},
    SLOT_V(0),
    SLOT_V(1),
    SLOT_V(2),
    SLOT_V(3),
};
static const struct ir_guest test_guest = {.name = "test",
                                           .slots = test_slots,
                                           .n_slots = ARRAY_SIZE(test_slots),
                                           .pc = S_PC,
                                           .resident = {S_X1, S_X2, S_X0, S_X5, S_X7, S_X4},
                                           .n_resident = 6};
