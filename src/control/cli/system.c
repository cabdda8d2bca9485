// From a command line to a running machine: back ends first, then the machine with its fixed
// devices, then -device, then the default devices the operator did not turn off.
#include "control/gdb/machine.h"
#include "control/cli/system.h"
#include "base/log.h"
#include "control/cli/internal.h"
#include "control/daemon.h"
#include "control/process.h"
#include "control/saved/saved.h"
#include "control/vm.h"
#include <stdio.h>
#include <stdlib.h>

// ---- the machine ----

static int choose_board(struct startup *s, struct err *e)
{
    const char *name = opts_get(&s->c.machine, "type");
    const struct board *first = NULL;
    const char *names[32];
    unsigned n = 0;
    for (const struct board *const *b = boards; *b && n < 31; b++)
        if (!strcmp((*b)->arch, s->c.isa->name)) {
            names[n++] = (*b)->name;
            if (!first && (*b)->default_ram) // one that runs something
                first = *b;
        }
    names[n] = NULL;
    s->config.board = name ? board_find(s->c.isa->name, name) : first;
    if (s->config.board)
        return 0;
    err_set(e, "-machine %s: no such machine for %s ('-machine help' lists them)", name ? name : "",
            s->c.isa->name);
    return err_did_you_mean(e, name ? name : "", names);
}

// "accel=kvm:tcg" among the machine's properties: preferences before those of -accel.
static int machine_accels(struct startup *s, struct err *e)
{
    const char *list = opts_get(&s->c.machine, "accel");
    const char *irqchip = opts_get(&s->c.machine, "kernel-irqchip");
    for (size_t i = 0; irqchip && i < s->c.accels.len; i++) {
        const char *name = opts_get(&s->c.accels.data[i], "accel");
        if (name && !strcmp(name, "kvm") && !opts_has(&s->c.accels.data[i], "kernel-irqchip"))
            opts_set(&s->c.accels.data[i], "kernel-irqchip", irqchip);
    }
    if (!list)
        return 0;
    char *copy = xstrdup(list), *save = NULL;
    for (char *a = strtok_r(copy, ":", &save); a; a = strtok_r(NULL, ":", &save)) {
        struct opts o = {0};
        opts_set(&o, "accel", a);
        if (irqchip && !strcmp(a, "kvm"))
            opts_set(&o, "kernel-irqchip", irqchip);
        vec_push(&s->c.accels, o);
    }
    free(copy);
    return 0;
}

static int read_number(struct opts *o, const char *key, unsigned *out, struct err *e)
{
    uint64_t v = *out;
    if (opts_get_u64(o, key, &v, e))
        return -1;
    if (v > 65535)
        return err_set(e, "%s=%llu is too large", key, (unsigned long long)v);
    *out = (unsigned)v;
    return 0;
}

static int read_smp(struct startup *s, struct err *e)
{
    static const char *const known[] = {"cpus",     "maxcpus", "sockets", "dies",
                                        "clusters", "cores",   "threads", NULL};
    struct machine_config *m = &s->config;
    struct opts *o = &s->c.smp;
    unsigned dies = 1;
    if (read_number(o, "cpus", &m->cpus, e) || read_number(o, "maxcpus", &m->max_cpus, e) ||
        read_number(o, "sockets", &m->sockets, e) || read_number(o, "dies", &dies, e) ||
        read_number(o, "clusters", &m->clusters, e) || read_number(o, "cores", &m->cores, e) ||
        read_number(o, "threads", &m->threads, e) || opts_check_unused(o, "-smp", known, e))
        return err_prefix(e, "-smp");
    if (opts_has(o, "cpus") && !m->cpus)
        return err_set(e, "-smp: a machine needs at least one CPU");
    return dies > 1 ? err_set(e, "-smp: dies=%u is not supported by this machine", dies) : 0;
}

static int read_numa(struct startup *s, struct err *e)
{
    if (!s->c.numas.len)
        return 0;
    s->config.numa = &s->numa;
    return machine_complete_config(&s->config, e) ||
                   cli_read_numa(&s->c, s->vm, &s->config, &s->numa, e)
               ? -1
               : 0;
}

// What only says how things are to be shown, or is the same in any case, is not looked at further.
static int read_boot_and_name(struct startup *s, struct err *e)
{
    static const char *const boot[] = {"order",       "once",           "menu",   "splash",
                                       "splash-time", "reboot-timeout", "strict", NULL};
    static const char *const name[] = {"guest", "process", "debug-threads", NULL};
    for (unsigned i = 0; boot[i]; i++)
        opts_get(&s->c.boot, boot[i]);
    for (unsigned i = 0; name[i]; i++)
        opts_get(&s->c.name, name[i]);
    const char *order = opts_get(&s->c.boot, "order");
    if (order && order[strspn(order, "abcdefghijklmnop")])
        return err_set(e, "-boot order=%s: letters are a to p: c a disk, d a CD-ROM, n the network",
                       order);
    return opts_check_unused(&s->c.boot, "-boot", boot, e) ||
                   opts_check_unused(&s->c.name, "-name", name, e)
               ? -1
               : 0;
}

// Properties that every machine takes for clients' sake and that change nothing here.
static int drop_common_properties(struct startup *s, struct err *e)
{
    static const char *const common[] = {
        "type",           "accel", "usb",    "graphics", "dump-guest-core", "mem-merge",
        "kernel-irqchip", "smm",   "vmport", "hpet",     "nvdimm",          "hmat",
        "suppress-vmdesc"};
    for (size_t i = 0; i < ARRAY_SIZE(common); i++)
        opts_get(&s->c.machine, common[i]);
    struct {
        const char *key;
        const char **out;
    } files[] = {{"kernel", &s->c.kernel},
                 {"initrd", &s->c.initrd},
                 {"append", &s->c.append},
                 {"dtb", &s->c.dtb},
                 {"firmware", &s->c.bios}};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (opts_has(&s->c.machine, files[i].key))
            *files[i].out = opts_get(&s->c.machine, files[i].key);
    return 0;
}

static int set_uuid(struct startup *s, uint8_t uuid[16], struct err *e)
{
    const char *t = s->c.uuid;
    unsigned n = 0;
    for (const char *p = t; *p && n < 32;) {
        unsigned v;
        int used = 0;
        if (*p == '-') {
            p++;
            continue;
        }
        if (sscanf(p, "%2x%n", &v, &used) != 1 || used != 2)
            break;
        uuid[n / 2] = (uint8_t)v;
        n += 2;
        p += 2;
    }
    if (n != 32)
        return err_set(e, "-uuid %s: not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)", t);
    s->config.uuid = uuid;
    return 0;
}

static int set_flash(struct startup *s, struct err *e)
{
    for (int i = 0; i < 2; i++) {
        struct drive *d = drives_find_slot(s->vm->drives, "pflash", i);
        char key[8];
        snprintf(key, sizeof key, "pflash%d", i);
        const char *node = opts_get(&s->c.machine, key);
        if (node && !(s->config.pflash[i] = drives_find_node(s->vm->drives, node)))
            return err_set(e, "-machine %s=%s: no -blockdev has this node-name", key, node);
        if (d)
            s->config.pflash[i] = d->node;
    }
    return 0;
}

// "DRIVER.PROPERTY=VALUE", or driver=,property=,value=.
static int read_global(struct startup *s, const char *text, struct err *e)
{
    struct opts o = {0};
    if (opts_parse(&o, text, NULL, e)) {
        opts_free(&o);
        return err_prefix(e, "-global %s", text);
    }
    const char *driver = opts_get(&o, "driver"), *prop = opts_get(&o, "property"),
               *val = opts_get(&o, "value");
    char *joined = driver || !o.len ? NULL : xstrdup(o.data[0].key),
         *dot = joined ? strchr(joined, '.') : NULL;
    if (dot) {
        *dot = 0;
        driver = joined;
        prop = dot + 1;
        val = o.data[0].val;
    }
    bool good = driver && prop && val;
    if (good)
        vec_push(&s->globals, (struct device_global){xstrdup(driver), xstrdup(prop), xstrdup(val)});
    free(joined);
    opts_free(&o);
    return good ? 0 : err_set(e, "-global %s: write it DRIVER.PROPERTY=VALUE", text);
}

static int read_globals(struct startup *s, struct err *e)
{
    for (size_t i = 0; i < s->c.globals.len; i++)
        if (read_global(s, s->c.globals.data[i], e))
            return -1;
    s->config.globals = s->globals.data;
    s->config.n_globals = (unsigned)s->globals.len;
    return 0;
}

static void free_globals(struct startup *s)
{
    for (size_t i = 0; i < s->globals.len; i++) {
        free(s->globals.data[i].driver);
        free(s->globals.data[i].prop);
        free(s->globals.data[i].val);
    }
    vec_free(&s->globals);
}

static int make_machine(struct startup *s, struct err *e)
{
    static uint8_t uuid[16];
    struct machine_config *m = &s->config;
    struct cmdline *c = &s->c;
    vm_hook_machine(s->vm, m);
    if (read_globals(s, e) || machine_accels(s, e) || read_smp(s, e) ||
        cli_read_memory(c, s->vm, m, e) || read_numa(s, e) || read_boot_and_name(s, e) ||
        cli_read_rtc(&c->rtc, &m->rtc_base, e) || drop_common_properties(s, e) || set_flash(s, e) ||
        (c->uuid && set_uuid(s, uuid, e)))
        return -1;
    m->cpu = c->cpu_model;
    m->cpu_features = c->cpu_model ? &c->cpu_features : NULL;
    m->props = &c->machine;
    m->accels = c->accels.data;
    m->n_accels = (unsigned)c->accels.len;
    m->kernel = c->kernel;
    m->initrd = c->initrd;
    m->append = c->append;
    m->dtb = c->dtb;
    m->bios = c->bios;
    m->smbios = c->smbios.data;
    m->n_smbios = (unsigned)c->smbios.len;
    m->fw_cfg = c->fw_cfg.data;
    m->n_fw_cfg = (unsigned)c->fw_cfg.len;
    m->name = opts_get(&c->name, "guest");
    m->boot_order = opts_get(&c->boot, "order");
    s->vm->machine = machine_new(m, e);
    if (!s->vm->machine)
        return -1;
    s->vm->machine->tree.find_backend = vm_find_backend;
    s->vm->machine->tree.opaque = s->vm;
    return 0;
}

// ---- devices ----

static int add_device(struct startup *s, const char *driver, const char *key, const char *backend,
                      struct err *e)
{
    struct opts o = {0};
    opts_set(&o, "driver", driver);
    opts_set(&o, key, backend);
    struct device *d = device_create_from_opts(&s->vm->machine->tree, &o, e);
    opts_free(&o);
    return d ? 0 : -1;
}

// Drives with an interface get the board's disk device; those with if=none wait for a -device.
static int add_drive_devices(struct startup *s, struct err *e)
{
    for (struct drive *d = drives_next(s->vm->drives, NULL); d; d = drives_next(s->vm->drives, d)) {
        if (!d->interface || !strcmp(d->interface, "none") || !strcmp(d->interface, "pflash") ||
            d->dev)
            continue;
        const char *option = startup_option_of(s, d);
        if (strcmp(d->interface, "virtio"))
            return err_set(e,
                           "%s %s: this machine has no interface '%s'; use -drive with if=virtio, "
                           "or with if=none and a -device",
                           option, d->id, d->interface);
        if (add_device(s, "virtio-blk-pci", "drive", d->id, e))
            return err_prefix(e, "%s %s", option, d->id);
    }
    return 0;
}

static int add_nic(struct startup *s, struct net_nic *n, struct err *e)
{
    if (n->has_netdev && !vm_add_netdev(s->vm, &n->netdev, e))
        return -1;
    if (!n->has_nic)
        return 0;
    const char *model = opts_get(&n->nic, "model");
    opts_set(&n->nic, "driver", !model || !strcmp(model, "virtio") ? "virtio-net-pci" : model);
    opts_drop(&n->nic, "model");
    return device_create_from_opts(&s->vm->machine->tree, &n->nic, e) ? 0 : -1;
}

// -nic and -net, or where nothing at all was said of networks, one NIC on a user network.
static int add_nics(struct startup *s, struct err *e)
{
    struct net_legacy *l = &s->c.nics;
    bool asked = l->none || l->items.len || l->pending.len || s->c.netdevs.len;
    bool wanted = s->config.board->default_ram && !s->config.board->no_nic;
    if (!asked && !s->c.nodefaults && wanted && net_legacy_nic(l, "user", e))
        return -1;
    net_legacy_finish(l);
    for (size_t i = 0; i < l->items.len; i++)
        if (add_nic(s, &l->items.data[i], e))
            return err_prefix(e, "%s", l->items.data[i].option);
    return 0;
}

static int add_devices(struct startup *s, struct err *e)
{
    for (size_t i = 0; i < s->c.devices.len; i++)
        if (!device_create_from_opts(&s->vm->machine->tree, &s->c.devices.data[i], e))
            return err_prefix(e, "-device");
    return add_drive_devices(s, e) || add_nics(s, e) ? -1 : 0;
}

// ---- all together ----

static int load_or_wait(struct startup *s, struct err *e)
{
    s->vm->opt.incoming = s->c.incoming;
    if (s->c.incoming)
        s->vm->state = RUN_INMIGRATE;
    if (s->c.incoming && strcmp(s->c.incoming, "defer") && vm_incoming(s->vm, s->c.incoming, e))
        return err_prefix(e, "-incoming %s", s->c.incoming);
    if (s->c.loadvm && vm_snapshot_load(s->vm, s->c.loadvm, e))
        return err_prefix(e, "-loadvm %s", s->c.loadvm);
    return 0;
}

static int start(struct startup *s, struct err *e)
{
    s->vm = vm_new();
    s->vm->opt = (struct vm_options){
        .start_paused = s->c.paused, .actions = s->c.actions, .nodefaults = s->c.nodefaults};
    if (choose_board(s, e) || startup_add_fds(s, e) || startup_add_objects(s, e) ||
        startup_open_chardevs(s, e) || startup_open_serials(s, e) || startup_open_drives(s, e) ||
        startup_open_netdevs(s, e) || make_machine(s, e) || add_devices(s, e) ||
        machine_finish(s->vm->machine, e))
        return -1;
    s->vm->opt.name = s->config.name;
    if (s->dry)
        return 0;
    if (s->c.only_migratable && (!s->vm->machine->isa->state || !s->vm->machine->ram))
        return err_set(e, "-only-migratable: machine '%s' cannot be saved", s->config.board->name);
    if (process_overcommit(&s->c.overcommit, e))
        return -1;
    if (s->c.gdb && !s->vm->machine->vcpus->n)
        return err_set(e, "-gdb: machine '%s' has no CPU", s->config.board->name);
    if (s->c.gdb && strcmp(s->c.gdb, "none") && gdb_machine_open(s->vm, s->c.gdb, e))
        return err_prefix(e, "-gdb %s", s->c.gdb);
    vm_hold_io(s->vm); // a loaded machine's requests wait until all of it is there
    int r = load_or_wait(s, e);
    vm_release_io(s->vm);
    r = r ? r : startup_open_monitors(s, e);
    if (!r && s->vm->machine->nothing_to_run && !s->c.incoming && !s->c.loadvm)
        log_warn(
            "machine '%s' has nothing to run: give it a kernel (-kernel), or firmware (-bios or "
            "-drive if=pflash) that boots its disks",
            s->config.board->name);
    return r;
}

// The guest's architecture from "…/qemu-system-ARCH", or from "system --arch ARCH", whose two words
// are then consumed. NULL: not said.
static const char *guest_arch(int *argc, char ***argv)
{
    const char *dash = strstr((*argv)[0], "qemu-system-");
    if (dash)
        return dash + strlen("qemu-system-");
    if (*argc < 3 || strcmp((*argv)[1], "--arch"))
        return NULL;
    *argc -= 2;
    *argv += 2;
    return (*argv)[0];
}

static int no_such_arch(const char *arch, struct err *e)
{
    const char *names[16] = {0};
    struct buf all = {0};
    for (unsigned i = 0; isas[i] && i < ARRAY_SIZE(names) - 1; i++) {
        names[i] = isas[i]->name;
        buf_printf(&all, "%s%s", i ? ", " : "", isas[i]->name);
    }
    err_set(e, "no machine has a CPU '%s'; there are %s", arch, buf_str(&all));
    buf_free(&all);
    return err_did_you_mean(e, arch, names);
}

// Reads the whole command line; -1 with one line.
static int read_command(struct startup *s, int argc, char **argv, struct err *e)
{
    const char *slash = strrchr(argv[0], '/'), *program = slash ? slash + 1 : argv[0];
    const char *arch = guest_arch(&argc, &argv);
    const struct isa *isa = arch ? isa_find(arch) : NULL;
    log_set_name(strcmp(program, "system") ? program : "myna system");
    cmdline_init(&s->c, isa, program);
    if (!arch)
        return err_set(e, "say which guest: system --arch ARCH");
    if (!isa)
        return no_such_arch(arch, e);
    return cmdline_parse(&s->c, argc - 1, argv + 1, e);
}

static void end(struct startup *s)
{
    if (s->vm)
        vm_free(s->vm);
    free_globals(s);
    vec_free(&s->drive_words);
    cmdline_free(&s->c);
}

int system_main(int argc, char **argv)
{
    struct startup s = {0};
    struct daemon d = {.ready = -1};
    struct err e = {0};
    int status = 1;
    if (read_command(&s, argc, argv, &e))
        log_error("%s", e.msg);
    else if (s.c.done)
        status = 0;
    else if ((s.c.daemonize && daemon_begin(&d, &e)) ||
             process_prepare(&s.c.run_with, s.c.daemonize, &e) || sandbox_enter(&s.c.sandbox, &e) ||
             start(&s, &e) || (s.c.pidfile && daemon_write_pid(&d, s.c.pidfile, &e)) ||
             process_confine(&s.c.run_with, &e) || daemon_finish(&d, &e) ||
             sandbox_drop_privileges(&s.c.sandbox, &e))
        log_error("%s", e.msg);
    else
        status = vm_run(s.vm);
    daemon_end(&d);
    end(&s);
    return status;
}

int system_look(int argc, char **argv, void (*look)(struct vm *vm, void *opaque), void *opaque,
                struct err *e)
{
    struct startup s = {.dry = true};
    int r = read_command(&s, argc, argv, e);
    if (!r && !s.c.done && !(r = start(&s, e)))
        look(s.vm, opaque);
    end(&s);
    return r;
}
