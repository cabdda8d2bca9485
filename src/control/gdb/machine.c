// What gdb may do with a machine: registers by the ISA's own table, memory as a vCPU sees it or
// physically, breakpoints, stepping and running chosen vCPUs. The vCPUs are paused whenever gdb
// touches them, and their state is read and written on their own threads.
#include "control/gdb/machine.h"
#include "gdb/gdb.h"
#include "control/monitor/monitor.h"
#include "memory/dma.h"

#include <stdatomic.h>
#include <stdlib.h>

#define PAGE   4096
#define NO_CPU (-1)

struct gdb_machine {
    struct vm *vm;
    struct gdb_stub *stub;
    struct loop_work trapped;
    _Atomic int trapped_cpu;     // the first vCPU that stopped by itself, or NO_CPU
    const struct isa_reg **regs; // by gdb's number; NULL: no such register
    unsigned n_regs;
    VEC(struct env_watchpoint) watchpoints;
};

static struct vcpus *cpus_of(struct gdb_machine *g)
{
    return g->vm->machine->vcpus;
}

// ---- state of a vCPU, on its thread ----

struct access {
    struct gdb_machine *g;
    const struct isa_reg *reg;
    uint64_t addr;
    void *buf;
    size_t n, done;
    bool write;
};

static void access_reg(struct vcpu *v, void *arg)
{
    struct access *a = arg;
    if (a->write)
        a->reg->set(v->env, a->reg, a->buf);
    else
        a->reg->get(v->env, a->reg, a->buf);
}

static void access_mem(struct vcpu *v, void *arg)
{
    struct access *a = arg;
    while (a->done < a->n) {
        uint64_t at = a->addr + a->done;
        size_t k = MIN(a->n - a->done, (size_t)(PAGE - at % PAGE));
        uint8_t *p = (uint8_t *)a->buf + a->done;
        if (a->write ? v->env->exec->poke(v->env, at, p, k) : v->env->exec->peek(v->env, at, p, k))
            return;
        a->done += k;
    }
}

static void access_pc(struct vcpu *v, void *arg)
{
    v->isa->set_pc(v->env, *(uint64_t *)arg);
}

static const struct isa_reg *reg_of(struct gdb_machine *g, unsigned n)
{
    return n < g->n_regs ? g->regs[n] : NULL;
}

static unsigned target_n_regs(void *t)
{
    return ((struct gdb_machine *)t)->n_regs;
}

static size_t target_read_reg(void *t, unsigned cpu, unsigned n, uint8_t *out)
{
    struct gdb_machine *g = t;
    struct access a = {.reg = reg_of(g, n), .buf = out};
    if (!a.reg)
        return 0;
    vcpu_call(cpus_of(g)->v[cpu], access_reg, &a);
    return (a.reg->bits + 7u) / 8;
}

static size_t target_write_reg(void *t, unsigned cpu, unsigned n, const uint8_t *in, size_t len)
{
    struct gdb_machine *g = t;
    struct access a = {.reg = reg_of(g, n), .buf = (void *)in, .write = true};
    size_t size = a.reg ? (a.reg->bits + 7u) / 8 : 0;
    if (!a.reg || len < size)
        return 0;
    vcpu_call(cpus_of(g)->v[cpu], access_reg, &a);
    return size;
}

static void target_set_pc(void *t, unsigned cpu, uint64_t pc)
{
    vcpu_call(cpus_of(t)->v[cpu], access_pc, &pc);
}

// ---- memory ----

static size_t physical(struct gdb_machine *g, struct access *a)
{
    struct space *s = g->vm->machine->memory;
    while (a->done < a->n) {
        uint64_t at = a->addr + a->done;
        size_t k = MIN(a->n - a->done, (size_t)(PAGE - at % PAGE));
        uint8_t *p = (uint8_t *)a->buf + a->done;
        if (a->write ? dma_write(s, at, p, k) : dma_read(s, at, p, k))
            break;
        a->done += k;
    }
    return a->done;
}

static size_t transfer(struct gdb_machine *g, unsigned cpu, enum gdb_memory m, struct access *a)
{
    if (m == GDB_PHYSICAL)
        return physical(g, a);
    vcpu_call(cpus_of(g)->v[cpu], access_mem, a);
    return a->done;
}

static size_t target_read_mem(void *t, unsigned cpu, enum gdb_memory m, uint64_t addr, void *dst,
                              size_t n)
{
    struct access a = {.addr = addr, .buf = dst, .n = n};
    return transfer(t, cpu, m, &a);
}

static size_t target_write_mem(void *t, unsigned cpu, enum gdb_memory m, uint64_t addr,
                               const void *src, size_t n)
{
    struct access a = {.addr = addr, .buf = (void *)src, .n = n, .write = true};
    return transfer(t, cpu, m, &a);
}

// ---- running ----

static const struct env_watchpoint *find_watchpoint(struct gdb_machine *g, uint64_t addr,
                                                    uint64_t len, uint8_t access)
{
    for (size_t i = 0; i < g->watchpoints.len; i++) {
        const struct env_watchpoint *w = &g->watchpoints.data[i];
        if (w->va == addr && w->len == len && w->access == access)
            return w;
    }
    return NULL;
}

static int change_watchpoint(struct gdb_machine *g, enum gdb_point kind, uint64_t addr,
                             uint64_t len, bool insert)
{
    static const uint8_t accesses[GDB_N_POINTS] = {[GDB_WRITE_WATCH] = ENV_WRITE,
                                                   [GDB_READ_WATCH] = ENV_READ,
                                                   [GDB_ACCESS_WATCH] = ENV_READ | ENV_WRITE};
    const struct env_watchpoint *old = find_watchpoint(g, addr, len, accesses[kind]);
    if (!insert && !old)
        return -1;
    if (!cpus_of(g)->accel->ops->watches)
        return -2;
    if (insert)
        vec_push(&g->watchpoints, (struct env_watchpoint){addr, len, accesses[kind]});
    else
        vec_remove(&g->watchpoints, (size_t)(old - g->watchpoints.data));
    return vcpus_watchpoints(cpus_of(g), g->watchpoints.data, (unsigned)g->watchpoints.len);
}

static int target_insert(void *t, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    return kind > GDB_HARDWARE_BREAK ? change_watchpoint(t, kind, addr, len, true)
                                     : vcpus_breakpoint(cpus_of(t), addr, true);
}

static int target_remove(void *t, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    return kind > GDB_HARDWARE_BREAK ? change_watchpoint(t, kind, addr, len, false)
                                     : vcpus_breakpoint(cpus_of(t), addr, false);
}

static void set_steps(struct vcpus *vs, const enum gdb_action *actions)
{
    for (unsigned i = 0; i < vs->n; i++)
        vcpu_single_step(vs->v[i], actions && actions[i] == GDB_STEP);
}

static void target_resume(void *t, const enum gdb_action *actions, unsigned n)
{
    struct gdb_machine *g = t;
    struct machine *m = g->vm->machine;
    bool run[GDB_CPUS_MAX] = {false};
    if (g->vm->state == RUN_SHUTDOWN || g->vm->state == RUN_RUNNING)
        return;
    for (unsigned i = 0; i < n; i++)
        run[i] = actions[i] != GDB_STAY;
    atomic_store(&g->trapped_cpu, NO_CPU);
    set_steps(m->vcpus, actions);
    g->vm->state = RUN_RUNNING;
    vm_event(g->vm, "RESUME", NULL);
    machine_run_some(m, run, n);
}

// On the vCPU's thread.
static void debug_stop(void *opaque, struct vcpu *v)
{
    struct machine *m = opaque;
    struct vm *vm = m->config.opaque;
    int none = NO_CPU;
    if (vm->gdb && atomic_compare_exchange_strong(&vm->gdb->trapped_cpu, &none, (int)v->index))
        loop_defer(&vm->gdb->trapped);
}

static void trapped(void *opaque)
{
    struct gdb_machine *g = opaque;
    int cpu = atomic_exchange(&g->trapped_cpu, NO_CPU);
    if (cpu == NO_CPU || g->vm->state != RUN_RUNNING)
        return;
    machine_pause(g->vm->machine);
    g->vm->state = RUN_DEBUG;
    vm_event(g->vm, "STOP", NULL);
    set_steps(cpus_of(g), NULL);
    struct gdb_stop s = {.cpu = (unsigned)cpu, .why = GDB_STOP_TRAP};
    struct env *e = cpus_of(g)->v[cpu]->env;
    if (e->watch_hit) {
        s.why = GDB_STOP_WATCH;
        s.address = e->watch_hit->va;
        s.watch = e->watch_hit->access == ENV_WRITE  ? GDB_WRITE_WATCH
                  : e->watch_hit->access == ENV_READ ? GDB_READ_WATCH
                                                     : GDB_ACCESS_WATCH;
        e->watch_hit = NULL;
    }
    gdb_stub_stopped(g->stub, &s);
}

static void target_stop(void *t)
{
    struct gdb_machine *g = t;
    if (g->vm->state == RUN_RUNNING)
        vm_pause(g->vm); // reports by gdb_machine_paused
    else
        gdb_machine_paused(g->vm);
}

void gdb_machine_started(struct vm *vm)
{
    if (vm->gdb)
        gdb_stub_started(vm->gdb->stub);
}

void gdb_machine_paused(struct vm *vm)
{
    if (!vm->gdb)
        return;
    atomic_store(&vm->gdb->trapped_cpu, NO_CPU);
    set_steps(cpus_of(vm->gdb), NULL);
    struct gdb_stop s = {.why = GDB_STOP_REQUEST};
    gdb_stub_stopped(vm->gdb->stub, &s);
}

// ---- the rest ----

static unsigned target_n_cpus(void *t)
{
    return cpus_of(t)->n;
}

static void target_cpu_text(void *t, unsigned cpu, struct buf *out)
{
    bool on = vcpu_power_state(cpus_of(t)->v[cpu]) != VCPU_OFF;
    buf_printf(out, "CPU#%u [%s]", cpu, on ? "on" : "off");
}

static const char *target_xml(void *t, const char *annex)
{
    struct vcpu *v = cpus_of(t)->v[0];
    return v->isa->gdb_xml ? v->isa->gdb_xml(v->env, annex) : NULL;
}

static void target_monitor(void *t, const char *command, struct buf *out)
{
    hmp_run(((struct gdb_machine *)t)->vm, command, out);
}

static void target_kill(void *t)
{
    vm_quit(((struct gdb_machine *)t)->vm, "host-signal");
}

static const struct gdb_target_ops target = {
    .n_cpus = target_n_cpus,
    .cpu_text = target_cpu_text,
    .n_regs = target_n_regs,
    .read_reg = target_read_reg,
    .write_reg = target_write_reg,
    .set_pc = target_set_pc,
    .read_mem = target_read_mem,
    .write_mem = target_write_mem,
    .insert = target_insert,
    .remove = target_remove,
    .resume = target_resume,
    .stop = target_stop,
    .xml = target_xml,
    .monitor = target_monitor,
    .kill = target_kill,
};

static void index_registers(struct gdb_machine *g, const struct isa *isa)
{
    for (unsigned i = 0; i < isa->n_regs; i++)
        if (isa->regs[i].gdb >= (int)g->n_regs)
            g->n_regs = (unsigned)isa->regs[i].gdb + 1;
    g->regs = xcalloc(g->n_regs + 1, sizeof *g->regs);
    for (unsigned i = 0; i < isa->n_regs; i++)
        if (isa->regs[i].gdb >= 0)
            g->regs[isa->regs[i].gdb] = &isa->regs[i];
}

int gdb_machine_open(struct vm *vm, const char *spec, struct err *e)
{
    struct gdb_machine *g = xalloc(sizeof *g);
    g->vm = vm;
    g->trapped_cpu = NO_CPU;
    loop_work_init(&g->trapped, vm->loop, trapped, g);
    index_registers(g, vm->machine->isa);
    g->stub = gdb_stub_open(spec, vm->loop, &target, g, e);
    if (!g->stub) {
        free(g->regs);
        free(g);
        return -1;
    }
    vm->gdb = g;
    vm->machine->vcpus->debug_stop = debug_stop;
    return 0;
}

void gdb_machine_free(struct vm *vm)
{
    struct gdb_machine *g = vm->gdb;
    if (!g)
        return;
    struct gdb_stop s = {.why = GDB_STOP_EXIT, .exit_status = (uint8_t)vm->exit_status};
    gdb_stub_stopped(g->stub, &s);
    vm->machine->vcpus->debug_stop = NULL;
    vm->gdb = NULL;
    loop_work_cancel(&g->trapped);
    gdb_stub_close(g->stub);
    vcpus_watchpoints(vm->machine->vcpus, NULL, 0);
    vec_free(&g->watchpoints);
    free(g->regs);
    free(g);
}
