// A machine to a stream and back: what it is, its clock, RAM, devices, CPUs.
#include "base/log.h"
#include "control/saved/saved.h"
#include "memory/ram.h"

#include <stdio.h>
#include <stdlib.h>

enum { PARTS_MAX = 4096 };

void vm_settle(struct vm *vm)
{
    vm_pause(vm);
    for (size_t i = 0; i < vm->machine->tree.devices.len; i++)
        device_drain(vm->machine->tree.devices.data[i]);
}

// What both sides must have alike.
static void describe(struct machine *m, struct buf *b)
{
    buf_printf(b, "%s %s cpus=%u ram=%llu", m->isa->name, m->board->name, m->vcpus->n,
               (unsigned long long)m->config.ram_size);
}

void vm_save_begin(struct vm *vm, struct state_out *o)
{
    struct buf b = {0};
    state_begin(o);
    describe(vm->machine, &b);
    state_section(o, "machine", &b);
    buf_free(&b);
}

static void put_clock(struct state_out *o, struct machine *m)
{
    struct buf b = {0};
    buf_le64(&b, (uint64_t)clock_now(m->env.clock));
    state_section(o, "clock", &b);
    buf_free(&b);
}

static int put_accel(struct state_out *o, struct machine *m, struct err *e)
{
    struct buf b = {0};
    int r = accel_save(m->accel, &b, e);
    if (!r && b.len)
        state_section(o, "accelerator", &b);
    buf_free(&b);
    return r;
}

int vm_save_rest(struct vm *vm, struct state_out *o, struct err *e)
{
    struct machine *m = vm->machine;
    put_clock(o, m);
    state_save_devices(o, &m->tree);
    if (put_accel(o, m, e))
        return -1;
    for (unsigned i = 0; i < m->vcpus->n && !o->error; i++) {
        char name[32];
        struct buf b = {0};
        snprintf(name, sizeof name, "cpu:%u", i);
        int r = vcpu_save(m->vcpus->v[i], &b, e);
        if (!r)
            state_section(o, name, &b);
        buf_free(&b);
        if (r)
            return -1;
    }
    state_end(o);
    return o->error ? err_errno(e, -o->error, "cannot write the machine's state") : 0;
}

int vm_save_state(struct vm *vm, struct state_out *o, struct err *e)
{
    struct machine *m = vm->machine;
    if (!m->ram)
        return err_set(e, "machine '%s' has nothing to save", m->board->name);
    vm_save_begin(vm, o);
    state_save_ram(o, m->ram);
    if (m->secure_ram)
        state_save_ram(o, m->secure_ram);
    return vm_save_rest(vm, o, e);
}

// ---- loading ----

struct part {
    char name[STATE_NAME_MAX];
    struct buf payload;
};

struct vm_load {
    struct machine *m;
    VEC(struct part) parts; // all but RAM: for the main loop, when the stream has come to its end
    struct buf cpus[512];   // taken in last: their timers need the clock, their lines the devices
    struct buf accel;       // just before them
    bool described;
    unsigned n_devices;
};

static int check_machine(struct vm_load *l, const struct buf *payload, struct err *e)
{
    struct buf own = {0};
    describe(l->m, &own);
    bool same = own.len == payload->len && !memcmp(own.data, payload->data, own.len);
    if (!same)
        err_set(e, "the saved machine is another: %.*s; this one is %s",
                (int)MIN(payload->len, (size_t)200), (const char *)payload->data, buf_str(&own));
    buf_free(&own);
    l->described = same;
    return same ? 0 : -1;
}

static int set_clock(struct vm_load *l, const struct buf *payload, struct err *e)
{
    struct reader r = reader_of(payload->data, payload->len);
    int64_t ns = (int64_t)rd_le64(&r);
    if (r.bad || ns < 0)
        return err_set(e, "the saved clock is out of range");
    clock_set(l->m->env.clock, ns);
    loop_clock_changed(l->m->env.loop);
    loop_clock_changed(l->m->timers);
    return 0;
}

static struct ram *find_ram(struct machine *m, const char *name)
{
    return !strcmp(name, ram_name(m->ram))                           ? m->ram
           : m->secure_ram && !strcmp(name, ram_name(m->secure_ram)) ? m->secure_ram
                                                                     : NULL;
}

static int keep_cpu(struct vm_load *l, const char *number, struct buf *payload, struct err *e)
{
    uint64_t i;
    if (parse_u64(number, &i) || i >= l->m->vcpus->n || l->cpus[i].len)
        return err_set(e, "there is no CPU %.10s to load", number);
    buf_put(&l->cpus[i], payload->data, payload->len);
    return 0;
}

static int load_part(struct vm_load *l, struct part *p, struct err *e)
{
    const char *name = p->name;
    if (!strcmp(name, "clock"))
        return set_clock(l, &p->payload, e);
    if (!strncmp(name, "cpu:", 4))
        return keep_cpu(l, name + 4, &p->payload, e);
    if (!strcmp(name, "accelerator")) {
        l->accel.len = 0;
        buf_put(&l->accel, p->payload.data, p->payload.len);
        return 0;
    }
    if (!strncmp(name, "device:", 7)) {
        l->n_devices++;
        return state_load_device(&l->m->tree, name, &p->payload, e);
    }
    return err_set(e, "the saved machine has an unknown part: %s", name);
}

// Memory goes to its place as it comes; the rest is kept.
static int take_section(struct vm_load *l, const char *name, struct buf *payload, struct err *e)
{
    struct ram *ram = strncmp(name, "ram:", 4) ? NULL : find_ram(l->m, name + 4);
    if (!strcmp(name, "machine"))
        return check_machine(l, payload, e);
    if (!l->described)
        return err_set(e, "the saved machine does not say what it is");
    if (ram)
        return state_load_ram(ram, payload, e);
    if (l->parts.len > PARTS_MAX)
        return err_set(e, "the saved machine has too many parts");
    struct part p = {.payload = *payload};
    snprintf(p.name, sizeof p.name, "%s", name);
    *payload = (struct buf){0};
    vec_push(&l->parts, p);
    return 0;
}

int vm_load_stream(struct vm_load *l, struct state_in *i, struct err *e)
{
    char name[STATE_NAME_MAX];
    struct buf payload = {0};
    int r = state_open(i, e);
    while (!r && (r = state_next(i, name, &payload, e)) > 0)
        r = take_section(l, name, &payload, e);
    buf_free(&payload);
    return r;
}

static int take_in(struct vm_load *l, struct err *e)
{
    struct machine *m = l->m;
    if (l->n_devices != m->tree.devices.len)
        return err_set(e, "the saved machine has %u devices, this one %zu", l->n_devices,
                       m->tree.devices.len);
    for (size_t i = 0; i < m->tree.devices.len; i++)
        if (device_loaded(m->tree.devices.data[i], e))
            return -1;
    struct reader chips = reader_of(l->accel.data, l->accel.len);
    if (l->accel.len && accel_load(m->accel, &chips, e))
        return -1;
    for (unsigned i = 0; i < m->vcpus->n; i++) {
        struct reader r = reader_of(l->cpus[i].data, l->cpus[i].len);
        if (vcpu_load(m->vcpus->v[i], &r, e))
            return -1;
    }
    return 0;
}

// Everything to its reset state first: what the stream does not mention is then known.
static void clear(struct machine *m)
{
    device_tree_reset(&m->tree);
    for (unsigned i = 0; i < m->vcpus->n; i++)
        vcpu_reset(m->vcpus->v[i]);
    ram_zero(m->ram, 0, ram_size(m->ram));
    if (m->secure_ram)
        ram_zero(m->secure_ram, 0, ram_size(m->secure_ram));
}

struct vm_load *vm_load_begin(struct vm *vm)
{
    struct vm_load *l = xalloc(sizeof *l);
    l->m = vm->machine;
    clear(vm->machine);
    return l;
}

int vm_load_finish(struct vm_load *l, int result, struct err *e)
{
    int r = result;
    for (size_t i = 0; i < l->parts.len; i++) {
        r = r ?: load_part(l, &l->parts.data[i], e);
        buf_free(&l->parts.data[i].payload);
    }
    r = r ?: take_in(l, e);
    if (r)
        machine_reset(l->m);
    vec_free(&l->parts);
    buf_free(&l->accel);
    for (size_t k = 0; k < ARRAY_SIZE(l->cpus); k++)
        buf_free(&l->cpus[k]);
    free(l);
    return r;
}

int vm_load_state(struct vm *vm, struct state_in *i, struct err *e)
{
    if (!vm->machine->ram)
        return err_set(e, "machine '%s' has nothing to load", vm->machine->board->name);
    struct vm_load *l = vm_load_begin(vm);
    return vm_load_finish(l, vm_load_stream(l, i, e), e);
}
