// The machine around a board: its spaces, RAM, vCPUs and devices, and the order in which they are
// made, reset, run and taken down.
#include "board/board.h"
#include "base/log.h"
#include "memory/ram.h"

#include <inttypes.h>
#include <stdlib.h>

#define BOARD(sym) extern const struct board sym;
#include "board/boards.def"
#undef BOARD

const struct board *const boards[] = {
#define BOARD(sym) &sym,
#include "board/boards.def"
#undef BOARD
    NULL,
};

const struct board *board_find(const char *arch, const char *name)
{
    for (const struct board *const *b = boards; *b; b++) {
        size_t n = strlen((*b)->name);
        if (strcmp((*b)->arch, arch) || strncmp((*b)->name, name, n))
            continue;
        if (!name[n] || (name[n] == '-' && name[n + 1] >= '0' && name[n + 1] <= '9'))
            return *b;
    }
    return NULL;
}

void board_print_help(const struct board *b, struct buf *out)
{
    buf_printf(out, "%s.%s options:\n", b->arch, b->name);
    for (const struct board_prop *p = b->props; p->name; p++)
        buf_printf(out, "  %-20s %s\n", p->name, p->help);
}

static void request_reset(void *opaque, const char *reason)
{
    struct machine *m = opaque;
    if (m->config.on_reset)
        m->config.on_reset(m->config.opaque, reason);
}

static void request_shutdown(void *opaque, const char *reason, int exit_status)
{
    struct machine *m = opaque;
    if (m->config.on_shutdown)
        m->config.on_shutdown(m->config.opaque, reason, exit_status);
}

static void event(void *opaque, const char *name, const char *json_data)
{
    struct machine *m = opaque;
    if (m->config.on_event)
        m->config.on_event(m->config.opaque, name, json_data);
}

static void guest_off(void *opaque, bool reset)
{
    if (reset)
        request_reset(opaque, "guest-reset");
    else
        request_shutdown(opaque, "guest-shutdown", 0);
}

static void guest_failed(void *opaque, const char *why, bool host)
{
    request_shutdown(opaque, host ? "host-error" : "guest-panic", 1);
}

// -smp: what is not given is computed, cores before sockets.
static int complete_topology(struct machine_config *c, struct err *e)
{
    unsigned known = (c->sockets ?: 1) * (c->clusters ?: 1) * (c->cores ?: 1) * (c->threads ?: 1);
    if (!c->cpus)
        c->cpus = c->max_cpus ? c->max_cpus : known;
    if (!c->max_cpus)
        c->max_cpus = MAX(c->cpus, known);
    if (c->max_cpus < c->cpus)
        return err_set(e, "-smp: maxcpus=%u is less than cpus=%u", c->max_cpus, c->cpus);
    unsigned *missing = !c->cores ? &c->cores : !c->sockets ? &c->sockets : NULL;
    c->sockets = missing == &c->sockets ? 0 : c->sockets ?: 1;
    c->clusters = c->clusters ?: 1;
    c->threads = c->threads ?: 1;
    known = (c->sockets ?: 1) * c->clusters * (c->cores ?: 1) * c->threads;
    if (missing)
        *missing = MAX(c->max_cpus / known, 1u);
    known = c->sockets * c->clusters * c->cores * c->threads;
    if (known != c->max_cpus)
        return err_set(e,
                       "-smp: %u sockets * %u clusters * %u cores * %u threads is not maxcpus=%u",
                       c->sockets, c->clusters, c->cores, c->threads, c->max_cpus);
    if (c->max_cpus > c->board->max_cpus)
        return err_set(e, "-smp: board '%s' takes at most %u CPUs, not %u", c->board->name,
                       c->board->max_cpus, c->max_cpus);
    return 0;
}

int machine_complete_config(struct machine_config *c, struct err *e)
{
    if (!c->ram_size)
        c->ram_size = c->board->default_ram;
    if (c->numa && !c->board->numa)
        return err_set(e, "-numa: machine '%s' has no NUMA nodes", c->board->name);
    return complete_topology(c, e);
}

static const char *const *prop_names(const struct board *b, const char *names[32])
{
    unsigned n = 0;
    for (const struct board_prop *p = b->props; p->name && n < 31; p++)
        names[n++] = p->name;
    names[n] = NULL;
    return names;
}

struct machine *machine_new(const struct machine_config *c, struct err *e)
{
    struct machine *m = xalloc(sizeof *m);
    m->board = c->board;
    m->config = *c;
    m->isa = isa_find(c->board->arch);
    m->own_clock = !c->clock;
    m->memory = space_new("memory", UINT64_MAX);
    m->env = (struct machine_env){
        .memory = m->memory,
        .clock = c->clock ? c->clock : clock_new(),
        .loop = c->loop,
        .request_reset = request_reset,
        .request_shutdown = request_shutdown,
        .event = event,
        .opaque = m,
    };
    m->timers = loop_new("timers");
    loop_start_thread(m->timers);
    device_tree_init(&m->tree, &m->env);
    for (unsigned i = 0; i < c->n_globals; i++)
        device_tree_global(&m->tree, c->globals[i].driver, c->globals[i].prop, c->globals[i].val);
    const char *names[32];
    if (machine_complete_config(&m->config, e) || c->board->create(m, e) ||
        (c->props && opts_check_unused(c->props, "-machine", prop_names(c->board, names), e))) {
        machine_free(m);
        return NULL;
    }
    return m;
}

int machine_add_ram(struct machine *m, gpa_t base, struct err *e)
{
    uint64_t size = m->config.ram_size;
    if (size < MiB || size % 4096)
        return err_set(e, "-m: RAM size %" PRIu64 " is not a multiple of 4 KiB of at least 1 MiB",
                       size);
    m->ram = ram_new_from("ram", size, &m->config.ram_source, e);
    if (!m->ram)
        return -1;
    m->ram_base = base;
    space_map_ram(m->memory, "ram", base, m->ram, 0, size, false, 0);
    return 0;
}

int machine_add_cpus(struct machine *m,
                     void (*config)(void *opaque, unsigned i, struct isa_config *c), void *opaque,
                     struct err *e)
{
    const struct machine_config *c = &m->config;
    m->accel = accel_open(c->accels, c->n_accels, m->isa, c->max_cpus, m->memory, e);
    if (!m->accel)
        return -1;
    m->vcpus = vcpus_new(m->accel, m->isa, c->cpus, config, opaque, e);
    if (!m->vcpus)
        return -1;
    m->vcpus->guest_off = guest_off;
    m->vcpus->guest_failed = guest_failed;
    m->vcpus->opaque = m;
    return 0;
}

int machine_finish(struct machine *m, struct err *e)
{
    if (m->board->finish(m, e) || vcpus_start_threads(m->vcpus, e))
        return -1;
    machine_reset(m);
    return 0;
}

void machine_reset(struct machine *m)
{
    struct err e;
    device_tree_reset(&m->tree);
    vcpus_reset_chips(m->vcpus);
    for (unsigned i = 0; i < m->vcpus->n; i++)
        vcpu_reset(m->vcpus->v[i]);
    if (machine_load_images(m, &e)) {
        log_error("%s", e.msg);
        request_shutdown(m, "host-error", 1);
    }
    m->board->reset(m);
}

static void start_clock(struct machine *m)
{
    clock_start(m->env.clock);
    loop_clock_changed(m->env.loop);
    loop_clock_changed(m->timers);
}

void machine_run(struct machine *m)
{
    start_clock(m);
    vcpus_resume(m->vcpus);
}

void machine_run_some(struct machine *m, const bool *run, unsigned n)
{
    start_clock(m);
    vcpus_resume_some(m->vcpus, run, n);
}

void machine_pause(struct machine *m)
{
    vcpus_pause(m->vcpus);
    clock_stop(m->env.clock);
    loop_clock_changed(m->env.loop);
    loop_clock_changed(m->timers);
}

void machine_powerdown(struct machine *m)
{
    m->board->powerdown(m);
}

void machine_print_mtree(struct machine *m, struct buf *out)
{
    space_print(m->memory, out);
    if (m->secure_memory) {
        buf_printf(out, "\n");
        space_print(m->secure_memory, out);
    }
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    if (m->vcpus) // they stand still while devices go, and still take their lines' last levels
        vcpus_pause(m->vcpus);
    loop_stop_thread(m->timers);
    device_tree_free(&m->tree);
    if (m->vcpus)
        vcpus_free(m->vcpus);
    if (m->accel)
        accel_close(m->accel);
    m->board->destroy(m);
    machine_free_images(m);
    if (m->secure_memory)
        space_free(m->secure_memory);
    space_free(m->memory);
    if (m->ram)
        ram_free(m->ram);
    loop_free(m->timers);
    if (m->own_clock)
        clock_free(m->env.clock);
    free(m);
}
