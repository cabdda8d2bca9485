// HMP: a line editor that echoes as a terminal would, and commands for people. Scripts parse its
// banner, its "(qemu) " prompt, its echo and some texts, so those are fixed.
#include "control/monitor/internal.h"
#include "base/bits.h"
#include "base/log.h"
#include "control/version.h"
#include "memory/dma.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct hmp_command {
    const char *name, *alias;
    void (*run)(struct vm *vm, char *args, struct buf *out);
    const char *args, *help;
};
struct hmp_info {
    const char *name;
    void (*run)(struct vm *vm, char *args, struct buf *out);
    const char *help;
};
#define COMMAND(name) static void name(struct vm *vm, char *args, struct buf *out)

COMMAND(do_cont)
{
    vm_continue(vm);
}
COMMAND(do_stop)
{
    vm_pause(vm);
}
COMMAND(do_quit)
{
    vm_quit(vm, "host-ui");
}
COMMAND(do_powerdown)
{
    vm_powerdown(vm);
}
COMMAND(do_reset)
{
    vm_system_reset(vm, "host-qmp-system-reset");
}

COMMAND(do_log)
{
    struct err e;
    if (log_set_mask(strcmp(args, "none") ? args : "", &e))
        buf_printf(out, "%s\n", e.msg);
}

COMMAND(info_status)
{
    buf_printf(out, "VM status: %s%s%s\n", vm->state == RUN_RUNNING ? "running" : "paused",
               vm->state == RUN_RUNNING || vm->state == RUN_PAUSED ? "" : " (",
               vm->state == RUN_RUNNING || vm->state == RUN_PAUSED ? ""
                                                                   : run_state_name(vm->state));
    if (vm->state != RUN_RUNNING && vm->state != RUN_PAUSED) {
        out->len--; // before the newline
        buf_printf(out, ")\n");
    }
}

COMMAND(info_version)
{
    buf_printf(out, "%d.%d.%dmyna %s\n", COMPAT_MAJOR, COMPAT_MINOR, COMPAT_MICRO, MYNA_VERSION);
}
COMMAND(info_name)
{
    if (vm->opt.name)
        buf_printf(out, "%s\n", vm->opt.name);
}
COMMAND(info_kvm)
{
    buf_printf(out, "kvm support: %s\n",
               strcmp(vm->machine->accel->ops->name, "kvm") ? "not compiled" : "enabled");
    if (!strcmp(vm->machine->accel->ops->name, "kvm"))
        vm->machine->accel->ops->print(vm->machine->accel, out);
}
COMMAND(info_mtree)
{
    machine_print_mtree(vm->machine, out);
}
COMMAND(info_qtree)
{
    device_print_tree(&vm->machine->tree, out);
}

COMMAND(info_cpus)
{
    const struct vcpus *vs = vm->machine->vcpus;
    for (unsigned i = 0; i < vs->n; i++)
        buf_printf(out, "%s CPU #%u: thread_id=%d\n", i ? " " : "*", i, vs->v[i]->host_tid);
}

COMMAND(info_chardev)
{
    for (size_t i = 0; i < vm->chardevs.len; i++)
        buf_printf(out, "%s: filename=%s\n", chardev_id(vm->chardevs.data[i]),
                   chardev_describe(vm->chardevs.data[i]));
}

COMMAND(info_network)
{
    struct netdev *n;
    list_for_each(n, &vm->netdevs, link)
    {
        buf_printf(out, "%s: link=%s,type=", n->id, n->link_up ? "up" : "down");
        netdev_print(n, out);
        buf_printf(out, "\n");
    }
}

COMMAND(info_block)
{
    for (struct drive *d = drives_next(vm->drives, NULL); d; d = drives_next(vm->drives, d)) {
        if (d->node)
            buf_printf(out, "%s (%s): %s (%s%s)\n", d->id, block_node_name(d->node),
                       block_filename(d->node), block_driver_name(d->node),
                       block_readonly(d->node) ? ", read-only" : "");
        else
            buf_printf(out, "%s: [not inserted]\n", d->id);
    }
}

// ---- registers and memory ----

struct dump {
    struct buf *out;
};

static void dump_registers(struct vcpu *v, void *arg)
{
    struct buf *out = ((struct dump *)arg)->out;
    unsigned column = 0;
    buf_printf(out, "\nCPU#%u\n", v->index);
    for (unsigned i = 0; i < v->isa->n_regs; i++) {
        const struct isa_reg *r = &v->isa->regs[i];
        uint8_t raw[16] = {0};
        r->get(v->env, r, raw);
        buf_printf(out, "%*s=", column ? 12 : 11, r->name);
        for (unsigned b = (r->bits + 7u) / 8; b-- > 0;)
            buf_printf(out, "%02x", raw[b]);
        column = (column + 1) % (r->bits > 64 ? 2 : 3);
        if (!column || i + 1 == v->isa->n_regs)
            buf_printf(out, "\n");
    }
}

COMMAND(info_registers)
{
    const struct vcpus *vs = vm->machine->vcpus;
    bool all = !strcmp(args, "-a");
    for (unsigned i = 0; i < (all ? vs->n : MIN(vs->n, 1u)); i++)
        vcpu_call(vs->v[i], dump_registers, &(struct dump){out});
}

struct examine {
    uint64_t addr;
    unsigned count, size;
    char format;
    bool physical;
    struct vm *vm;
    struct buf *out;
};

static void print_insns(struct vcpu *v, struct examine *x)
{
    for (unsigned i = 0; i < x->count; i++) {
        uint8_t code[16];
        char text[128];
        unsigned n = 0;
        if (!v->env->exec->peek(v->env, x->addr, code, v->isa->max_insn_bytes))
            n = v->isa->disas(code, v->isa->max_insn_bytes, x->addr, text, sizeof text);
        if (!n) {
            buf_printf(x->out, "Cannot access memory\n");
            return;
        }
        buf_printf(x->out, "0x%08" PRIx64 ":  %s\n", x->addr, text);
        x->addr += n;
    }
}

static void examine(struct vcpu *v, void *arg)
{
    struct examine *x = arg;
    if (x->format == 'i') {
        print_insns(v, x);
        return;
    }
    for (unsigned i = 0; i < x->count; i++, x->addr += x->size) {
        uint8_t raw[8] = {0};
        bool bad = x->physical ? dma_read(x->vm->machine->memory, x->addr, raw, x->size)
                               : v->env->exec->peek(v->env, x->addr, raw, x->size);
        if (bad) {
            buf_printf(x->out, "Cannot access memory\n");
            return;
        }
        if (i % (16 / x->size) == 0)
            buf_printf(x->out, "%s%016" PRIx64 ":", i ? "\n" : "", x->addr);
        uint64_t value = ld_le64(raw);
        if (x->format == 'd')
            buf_printf(x->out, " %" PRId64, sign_extend(value, x->size * 8));
        else if (x->format == 'u')
            buf_printf(x->out, " %" PRIu64, value);
        else
            buf_printf(x->out, " 0x%0*" PRIx64, (int)x->size * 2, value);
    }
    buf_printf(x->out, "\n");
}

// "/4xg 0x1000": count, format and size in any order, then the address.
static void examine_args(struct vm *vm, char *args, bool physical, struct buf *out)
{
    struct examine x = {
        .count = 1, .size = 4, .format = 'x', .physical = physical, .vm = vm, .out = out};
    char *p = args;
    if (*p == '/') {
        p++;
        if (*p >= '0' && *p <= '9')
            x.count = (unsigned)MIN(strtoul(p, &p, 10), 65536ul);
        for (; *p && *p != ' '; p++) {
            const char *sizes = "bhwg", *s = strchr(sizes, *p);
            if (s)
                x.size = 1u << (s - sizes);
            else
                x.format = *p;
        }
    }
    while (*p == ' ')
        p++;
    if (hmp_eval(vm, p, &x.addr, out))
        return;
    if (vm->machine->vcpus->n)
        vcpu_call(vm->machine->vcpus->v[0], examine, &x);
    else
        buf_printf(out, "this machine has no CPU\n");
}

COMMAND(do_x)
{
    examine_args(vm, args, false, out);
}
COMMAND(do_xp)
{
    examine_args(vm, args, true, out);
}

// ---- tables ----

static const struct hmp_info infos[] = {
#define INFO(n, f, h) {n, f, h},
#include "control/monitor/hmp_info.def"
#undef INFO
};

COMMAND(do_info)
{
    char *rest = strchr(args, ' ');
    if (rest)
        *rest++ = 0;
    for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
        if (!strcmp(infos[i].name, args)) {
            infos[i].run(vm, rest ? rest : "", out);
            return;
        }
    for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
        buf_printf(out, "info %s -- %s\n", infos[i].name, infos[i].help);
}

static void do_help(struct vm *vm, char *args, struct buf *out);
static const struct hmp_command commands[] = {
#define HMP(n, s, f, a, h) {n, s, f, a, h},
#include "control/monitor/hmp_commands.def"
#undef HMP
};

COMMAND(do_help)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct hmp_command *c = &commands[i];
        if (!*args || !strcmp(args, c->name))
            buf_printf(out, "%s%s%s %s -- %s\n", c->name, c->alias ? "|" : "",
                       c->alias ? c->alias : "", c->args, c->help);
    }
}

void hmp_run(struct vm *vm, const char *line, struct buf *out)
{
    char copy[HMP_LINE];
    snprintf(copy, sizeof copy, "%s", line + strspn(line, " \t"));
    for (size_t n = strlen(copy); n && copy[n - 1] == ' ';)
        copy[--n] = 0;
    size_t n = strcspn(copy, " /");
    char *args = copy + n + (copy[n] == ' ');
    if (!n)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct hmp_command *c = &commands[i];
        bool full = strlen(c->name) == n && !strncmp(c->name, copy, n),
             brief = c->alias && strlen(c->alias) == n && !strncmp(c->alias, copy, n);
        if (full || brief) {
            vm_hold_io(vm);
            c->run(vm, args, out);
            vm_release_io(vm);
            return;
        }
    }
    buf_printf(out, "unknown command: '%.*s'\n", (int)n, copy);
}

// ---- the line editor ----

static void put(struct monitor *m, const char *s)
{
    chr_write_all(m->fe, s, strlen(s));
}

static void finish_line(struct monitor *m)
{
    struct buf out = {0};
    m->line[m->len] = 0;
    m->len = 0;
    put(m, "\r\n");
    hmp_run(m->vm, m->line, &out);
    for (size_t i = 0; i < out.len; i++) {
        const uint8_t *nl = memchr(out.data + i, '\n', out.len - i);
        size_t n = nl ? (size_t)(nl - out.data) - i : out.len - i;
        chr_write_all(m->fe, out.data + i, n);
        if (nl)
            put(m, "\r\n");
        i += n;
    }
    buf_free(&out);
    put(m, "(qemu) ");
}

static void key(struct monitor *m, uint8_t c)
{
    if (m->key_state != KEY_PLAIN) { // cursor keys and such are swallowed
        if (m->key_state == KEY_ESCAPE && c == '[')
            m->key_state = KEY_CSI;
        else if (m->key_state == KEY_ESCAPE || (c >= 0x40 && c <= 0x7e))
            m->key_state = KEY_PLAIN;
        return;
    }
    if (c == '\r' || c == '\n') {
        finish_line(m);
    } else if (c == 27) {
        m->key_state = KEY_ESCAPE;
    } else if (c == 8 || c == 127) {
        if (m->len) {
            m->len--;
            put(m, "\b \b");
        }
    } else if (c == 21) { // Ctrl-U
        while (m->len) {
            m->len--;
            put(m, "\b \b");
        }
    } else if (c >= 32 && m->len < sizeof m->line - 1) {
        m->line[m->len++] = (char)c;
        chr_write_all(m->fe, &c, 1);
    }
}

static void receive(void *fe, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        key(fe, p[i]);
}

static size_t can_receive(void *fe)
{
    return 1024;
}

static void banner(struct monitor *m)
{
    char text[96];
    snprintf(text, sizeof text,
             "QEMU %d.%d.%d monitor - type 'help' for more information\r\n(qemu) ", COMPAT_MAJOR,
             COMPAT_MINOR, COMPAT_MICRO);
    m->len = 0;
    put(m, text);
}

static void event(void *fe, enum chr_event ev)
{
    struct monitor *m = fe;
    if (ev == CHR_OPENED && !m->mux)
        banner(m);
    else if (ev == CHR_MUX_IN)
        banner(m);
}

const struct chr_frontend_ops hmp_frontend = {
    .can_receive = can_receive, .receive = receive, .event = event};
