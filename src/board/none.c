// The machine that is none: no CPU, memory or device. Management programs start it to ask what this
// program can do.
#include "board/board.h"

static void no_config(void *opaque, unsigned i, struct isa_config *c) {}

static int create(struct machine *m, struct err *e)
{
    const struct machine_config *c = &m->config;
    m->accel = accel_open(c->accels, c->n_accels, m->isa, 1, m->memory, e);
    if (!m->accel)
        return -1;
    m->vcpus = vcpus_new(m->accel, m->isa, 0, no_config, m, e);
    return m->vcpus ? 0 : -1;
}

static int finish(struct machine *m, struct err *e)
{
    return m->config.kernel ? err_set(e, "-kernel: machine 'none' runs nothing") : 0;
}

static void nothing(struct machine *m) {}

static const struct board_prop props[] = {{0}};

#define NONE(symbol, isa)                                                                          \
    const struct board symbol = {                                                                  \
        .name = "none",                                                                            \
        .desc = "empty machine",                                                                   \
        .arch = isa,                                                                               \
        .max_cpus = 1,                                                                             \
        .props = props,                                                                            \
        .create = create,                                                                          \
        .finish = finish,                                                                          \
        .reset = nothing,                                                                          \
        .powerdown = nothing,                                                                      \
        .destroy = nothing,                                                                        \
    }

NONE(none_aarch64_board, "aarch64");
NONE(none_riscv64_board, "riscv64");
NONE(none_x86_64_board, "x86_64");
