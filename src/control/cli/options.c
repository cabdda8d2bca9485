// Options to struct cmdline, by the table options.def. `-option` and `--option` are the same; a
// bare argument is -hda; a later scalar option wins, lists add up, -machine merges.
#include "base/buf.h"
#include "base/log.h"
#include "base/trace.h"
#include "block/block.h"
#include "board/board.h"
#include "chardev/chardev.h"
#include "control/cli/internal.h"
#include "control/object.h"
#include "control/version.h"
#include "device/device.h"
#include "net/net.h"
#include <stdio.h>
#include <stdlib.h>

typedef int handler(struct cmdline *c, const char *arg, struct err *e);

static bool wants_help(const char *arg)
{
    return !strcmp(arg, "help") || !strcmp(arg, "?");
}

static int print(struct cmdline *c, struct buf *text)
{
    fputs(buf_str(text), stdout);
    buf_free(text);
    c->done = true;
    return 0;
}

static int add_opts(struct cmdline_list *list, const char *arg, const char *implied,
                    const char *what, struct err *e)
{
    struct opts o = {0};
    if (opts_parse(&o, arg, implied, e))
        return err_prefix(e, "%s %s", what, arg);
    vec_push(list, o);
    return 0;
}

// Keys of `arg` are added to `into`; a later one wins.
static int merge(struct opts *into, const char *arg, const char *implied, const char *what,
                 struct err *e)
{
    struct opts o = {0};
    if (opts_parse(&o, arg, implied, e))
        return err_prefix(e, "%s %s", what, arg);
    for (size_t i = 0; i < o.len; i++)
        opts_set(into, o.data[i].key, o.data[i].val);
    opts_free(&o);
    return 0;
}

// ---- machine, CPU, memory ----

static int machine_help(struct cmdline *c)
{
    struct buf b = {0};
    buf_printf(&b, "Supported machines are:\n");
    for (const struct board *const *p = boards; *p; p++)
        if (!strcmp((*p)->arch, c->isa->name))
            buf_printf(&b, "%-20s %s\n", (*p)->name, (*p)->desc);
    return print(c, &b);
}

static int set_machine(struct cmdline *c, const char *arg, struct err *e)
{
    if (wants_help(arg))
        return machine_help(c);
    if (merge(&c->machine, arg, "type", "-machine", e))
        return -1;
    const char *help = opts_has(&c->machine, "help") || opts_has(&c->machine, "?")
                           ? opts_get(&c->machine, "type")
                           : NULL;
    const struct board *board = help ? board_find(c->isa->name, help) : NULL;
    if (board) {
        struct buf b = {0};
        board_print_help(board, &b);
        return print(c, &b);
    }
    return 0;
}

static int set_no_acpi(struct cmdline *c, const char *arg, struct err *e)
{
    opts_set(&c->machine, "acpi", "off");
    return 0;
}

static int accel_help(struct cmdline *c, const char *name, struct err *e)
{
    struct buf b = {0};
    for (const struct accel_ops *const *a = accels; name && *a; a++) {
        if (strcmp((*a)->name, name) && (!(*a)->alias || strcmp((*a)->alias, name)))
            continue;
        if ((*a)->print_help)
            (*a)->print_help(&b);
        else
            buf_printf(&b, "%s has no options\n", name);
        return print(c, &b);
    }
    return err_set(e, "-accel %s: no such accelerator ('-accel help' lists them)",
                   name ? name : "");
}

// "accel=a:b" of -machine and "-accel a" add to one list of preference.
static int add_accel(struct cmdline *c, const char *arg, struct err *e)
{
    if (wants_help(arg)) {
        struct buf b = {0};
        buf_printf(&b, "Accelerators supported in QEMU binary:\n");
        for (const struct accel_ops *const *a = accels; *a; a++)
            buf_printf(&b, "%s\n%s%s", (*a)->name, (*a)->alias ? (*a)->alias : "",
                       (*a)->alias ? "\n" : "");
        return print(c, &b);
    }
    if (add_opts(&c->accels, arg, "accel", "-accel", e))
        return -1;
    struct opts *o = &c->accels.data[c->accels.len - 1];
    return opts_has(o, "help") || opts_has(o, "?") ? accel_help(c, opts_get(o, "accel"), e) : 0;
}

static int enable_kvm(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->accels, "kvm", "accel", "-enable-kvm", e);
}

static int set_cpu(struct cmdline *c, const char *arg, struct err *e)
{
    if (wants_help(arg)) {
        struct buf b = {0};
        buf_printf(&b, "Available CPUs:\n");
        for (const struct isa_model *m = c->isa->models; m->name; m++)
            buf_printf(&b, "  %-16s %s\n", m->name, m->desc);
        return print(c, &b);
    }
    opts_free(&c->cpu_features);
    c->cpu_features = (struct opts){0};
    if (opts_parse(&c->cpu_features, arg, "model", e))
        return err_prefix(e, "-cpu %s", arg);
    c->cpu_model = opts_get(&c->cpu_features, "model");
    return 0;
}

static int set_smp(struct cmdline *c, const char *arg, struct err *e)
{
    return merge(&c->smp, arg, "cpus", "-smp", e);
}

static int set_memory(struct cmdline *c, const char *arg, struct err *e)
{
    return merge(&c->memory, arg, "size", "-m", e);
}

static int set_boot(struct cmdline *c, const char *arg, struct err *e)
{
    return merge(&c->boot, arg, "order", "-boot", e);
}

static int set_rtc(struct cmdline *c, const char *arg, struct err *e)
{
    return merge(&c->rtc, arg, NULL, "-rtc", e);
}

static int set_overcommit(struct cmdline *c, const char *arg, struct err *e)
{
    return merge(&c->overcommit, arg, NULL, "-overcommit", e);
}

static int set_run_with(struct cmdline *c, const char *arg, struct err *e)
{
    return merge(&c->run_with, arg, NULL, "-run-with", e);
}

static int set_watchdog_action(struct cmdline *c, const char *arg, struct err *e)
{
    return vm_actions_set(&c->actions, "watchdog", arg, e) ? err_prefix(e, "-watchdog-action") : 0;
}

// Nothing here is deprecated and nothing unstable is published, so every policy is kept.
static int set_compat(struct cmdline *c, const char *arg, struct err *e)
{
    static const char *const known[] = {"deprecated-input", "deprecated-output", "unstable-input",
                                        "unstable-output", NULL};
    static const char *const policies[] = {"accept", "reject", "crash", "hide"};
    struct opts o = {0};
    int r = opts_parse(&o, arg, NULL, e);
    for (unsigned i = 0; known[i] && !r; i++) {
        const char *v = opts_get(&o, known[i]);
        bool good = !v;
        for (size_t k = 0; v && k < ARRAY_SIZE(policies); k++)
            good |= !strcmp(v, policies[k]) && (k == 0 || (k == 3) == (i & 1));
        if (!good)
            r = err_set(e, "%s=%s: no such policy", known[i], v);
    }
    r = r || opts_check_unused(&o, "-compat", known, e);
    opts_free(&o);
    return r ? err_prefix(e, "-compat") : 0;
}

static int set_name(struct cmdline *c, const char *arg, struct err *e)
{
    return merge(&c->name, arg, "guest", "-name", e);
}

#define SCALAR(field)                                                                              \
    static int set_##field(struct cmdline *c, const char *arg, struct err *e)                      \
    {                                                                                              \
        c->field = arg;                                                                            \
        return 0;                                                                                  \
    }
SCALAR(kernel)
SCALAR(incoming)
SCALAR(initrd)
SCALAR(append)
SCALAR(dtb)
SCALAR(bios)
SCALAR(gdb)
SCALAR(loadvm)
SCALAR(pidfile)
SCALAR(uuid)
SCALAR(mem_path)
#undef SCALAR

#define FLAG(field)                                                                                \
    static int set_##field(struct cmdline *c, const char *arg, struct err *e)                      \
    {                                                                                              \
        c->field = true;                                                                           \
        return 0;                                                                                  \
    }
FLAG(nographic)
FLAG(nodefaults)
FLAG(paused)
FLAG(snapshot)
FLAG(daemonize)
FLAG(mem_prealloc)
FLAG(only_migratable)
#undef FLAG

static int set_action(struct cmdline *c, const char *arg, struct err *e)
{
    struct opts o = {0};
    int r = opts_parse(&o, arg, NULL, e);
    for (size_t i = 0; !r && i < o.len; i++)
        r = vm_actions_set(&c->actions, o.data[i].key, o.data[i].val, e);
    opts_free(&o);
    return r ? err_prefix(e, "-action") : 0;
}

static int set_no_reboot(struct cmdline *c, const char *arg, struct err *e)
{
    c->actions.no_reboot = true;
    return 0;
}

static int set_no_shutdown(struct cmdline *c, const char *arg, struct err *e)
{
    c->actions.no_shutdown = true;
    return 0;
}

static int set_gdb_default(struct cmdline *c, const char *arg, struct err *e)
{
    c->gdb = "tcp::1234";
    return 0;
}

static int add_data_dir(struct cmdline *c, const char *arg, struct err *e)
{
    c->data_dir = arg;
    return 0;
}

static int set_escape(struct cmdline *c, const char *arg, struct err *e)
{
    uint64_t v;
    if (parse_u64(arg, &v) || v > 31)
        return err_set(e, "-echr %s: give the number of a control character, 0 to 31", arg);
    c->escape = (int)v;
    return 0;
}

static int set_display(struct cmdline *c, const char *arg, struct err *e)
{
    if (wants_help(arg)) {
        struct buf b = {0};
        buf_printf(&b, "Available display backend types:\nnone\n");
        return print(c, &b);
    }
    if (strcmp(arg, "none"))
        return err_set(e, "-display %s: not available; use -display none, and a serial port", arg);
    c->display_given = true;
    return 0;
}

// ---- back ends and devices ----

static int add_device(struct cmdline *c, const char *arg, struct err *e)
{
    struct buf b = {0};
    if (wants_help(arg)) {
        device_print_help(&b);
        return print(c, &b);
    }
    if (add_opts(&c->devices, arg, "driver", "-device", e))
        return -1;
    struct opts *o = &c->devices.data[c->devices.len - 1];
    if (!opts_has(o, "help") && !opts_has(o, "?"))
        return 0;
    const char *name = opts_get(o, "driver");
    const struct device_type *t = name ? device_type_find(name) : NULL;
    if (!t)
        return err_set(e, "-device %s: no such device ('-device help' lists them)",
                       name ? name : arg);
    device_type_print_help(t, &b);
    return print(c, &b);
}

static int add_fd(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->fds, arg, NULL, "-add-fd", e);
}

static int add_drive(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->drives, arg, NULL, "-drive", e);
}

int cmdline_add_image(struct cmdline *c, const char *option, const char *file,
                      const char *interface, int index, const char *media)
{
    struct opts o = {.said = option};
    char number[12];
    snprintf(number, sizeof number, "%d", index);
    opts_set(&o, "file", file);
    if (interface)
        opts_set(&o, "if", interface);
    if (index >= 0)
        opts_set(&o, "index", number);
    opts_set(&o, "media", media);
    vec_push(&c->drives, o);
    return 0;
}

static int set_hda(struct cmdline *c, const char *arg, struct err *e)
{
    return cmdline_add_image(c, "-hda", arg, NULL, 0, "disk");
}
static int set_hdb(struct cmdline *c, const char *arg, struct err *e)
{
    return cmdline_add_image(c, "-hdb", arg, NULL, 1, "disk");
}
static int set_hdc(struct cmdline *c, const char *arg, struct err *e)
{
    return cmdline_add_image(c, "-hdc", arg, NULL, 2, "disk");
}
static int set_hdd(struct cmdline *c, const char *arg, struct err *e)
{
    return cmdline_add_image(c, "-hdd", arg, NULL, 3, "disk");
}
static int set_cdrom(struct cmdline *c, const char *arg, struct err *e)
{
    return cmdline_add_image(c, "-cdrom", arg, NULL, 2, "cdrom");
}
static int set_pflash(struct cmdline *c, const char *arg, struct err *e)
{
    return cmdline_add_image(c, "-pflash", arg, "pflash", -1, "disk");
}

static int add_blockdev(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->blockdevs, arg, "driver", "-blockdev", e);
}

static int add_chardev(struct cmdline *c, const char *arg, struct err *e)
{
    struct buf b = {0};
    if (!wants_help(arg))
        return add_opts(&c->chardevs, arg, "backend", "-chardev", e);
    chardev_print_help(&b);
    return print(c, &b);
}

static int add_netdev(struct cmdline *c, const char *arg, struct err *e)
{
    struct buf b = {0};
    if (!wants_help(arg))
        return add_opts(&c->netdevs, arg, "type", "-netdev", e);
    netdev_print_help(&b);
    return print(c, &b);
}

static int add_nic(struct cmdline *c, const char *arg, struct err *e)
{
    return net_legacy_nic(&c->nics, arg, e) ? err_prefix(e, "-nic %s", arg) : 0;
}

static int add_net(struct cmdline *c, const char *arg, struct err *e)
{
    return net_legacy_net(&c->nics, arg, e) ? err_prefix(e, "-net %s", arg) : 0;
}

static int add_object(struct cmdline *c, const char *arg, struct err *e)
{
    struct buf b = {0};
    if (wants_help(arg)) {
        object_print_help(&b);
        return print(c, &b);
    }
    return add_opts(&c->objects, arg, "qom-type", "-object", e);
}

static int add_fw_cfg(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->fw_cfg, arg, "name", "-fw_cfg", e);
}

static int add_numa(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->numas, arg, "type", "-numa", e);
}

// Firmware for PCs finds it there.
static int add_option_rom(struct cmdline *c, const char *arg, struct err *e)
{
    struct opts o = {0};
    const char *slash = strrchr(arg, '/');
    char *name = xasprintf("genroms/%s", slash ? slash + 1 : arg);
    opts_set(&o, "name", name);
    opts_set(&o, "file", arg);
    free(name);
    vec_push(&c->fw_cfg, o);
    return 0;
}

static int add_smbios(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->smbios, arg, NULL, "-smbios", e);
}

static int add_mon(struct cmdline *c, const char *arg, struct err *e)
{
    return add_opts(&c->mons, arg, "chardev", "-mon", e);
}

#define LIST(name, field)                                                                          \
    static int name(struct cmdline *c, const char *arg, struct err *e)                             \
    {                                                                                              \
        vec_push(&c->field, arg);                                                                  \
        return 0;                                                                                  \
    }
LIST(add_serial, serials)
LIST(add_monitor, monitors)
LIST(add_qmp, qmps)
LIST(add_global, globals)
#undef LIST

// ---- messages ----

static int set_log_mask(struct cmdline *c, const char *arg, struct err *e)
{
    if (wants_help(arg))
        c->done = true;
    return log_set_mask(arg, e);
}

static int set_log_file(struct cmdline *c, const char *arg, struct err *e)
{
    return log_set_file(arg, e);
}

// A name, a pattern, or enable=… as other programs write it.
static int set_trace(struct cmdline *c, const char *arg, struct err *e)
{
    const char *pattern = !strncmp(arg, "enable=", 7) ? arg + 7 : arg;
    if (wants_help(pattern)) {
        struct buf b = {0};
        trace_print("*", &b);
        return print(c, &b);
    }
    if (!trace_known(pattern))
        return err_set(e, "-trace %s: no trace point has such a name ('-trace help' lists them)",
                       pattern);
    trace_enable(pattern);
    return 0;
}

static int set_msg(struct cmdline *c, const char *arg, struct err *e)
{
    struct opts o = {0};
    bool on = false;
    int r = opts_parse(&o, arg, "timestamp", e) || opts_get_bool(&o, "timestamp", &on, e)
                ? err_prefix(e, "-msg")
                : 0;
    log_set_timestamps(on);
    opts_free(&o);
    return r;
}

static int set_sandbox(struct cmdline *c, const char *arg, struct err *e)
{
    struct opts o = {0};
    int r = opts_parse(&o, arg, "enable", e) ? err_prefix(e, "-sandbox %s", arg)
                                             : sandbox_parse(&o, &c->sandbox, e);
    opts_free(&o);
    return r;
}

static int ignore(struct cmdline *c, const char *arg, struct err *e)
{
    return 0;
}

static int show_version(struct cmdline *c, const char *arg, struct err *e)
{
    printf("%s\n", version_line());
    c->done = true;
    return 0;
}

static int show_help(struct cmdline *c, const char *arg, struct err *e);

// ---- the table ----

static const struct option {
    const char *name;
    bool has_arg;
    handler *set;
    const char *value, *help;
} options[] = {
#define OPTION(n, a, f, v, h) {n, a, f, v, h},
#include "control/cli/options.def"
#undef OPTION
};

static int show_help(struct cmdline *c, const char *arg, struct err *e)
{
    printf("%s\nusage: %s [options] [disk_image]\n\n'disk_image' is a raw hard disk image for hard "
           "disk 0\n\n",
           version_line(), c->program);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (strcmp(options[i].name, "h"))
            printf("-%s%s%s\n                %s\n", options[i].name, options[i].value ? " " : "",
                   options[i].value ? options[i].value : "", options[i].help);
    c->done = true;
    return 0;
}

bool cmdline_has_option(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (!strcmp(options[i].name, name) && options[i].has_arg)
            return true;
    return false;
}

int cmdline_apply(struct cmdline *c, const char *name, const char *arg, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (!strcmp(options[i].name, name))
            return options[i].set(c, arg, e);
    return err_set(e, "-%s: invalid option", name);
}

static const struct option *find_option(const char *name, struct err *e)
{
    const char *names[ARRAY_SIZE(options) + 1];
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (!strcmp(options[i].name, name))
            return &options[i];
        names[i] = options[i].name;
    }
    names[ARRAY_SIZE(options)] = NULL;
    err_set(e, "-%s: invalid option ('-help' lists them)", name);
    err_did_you_mean(e, name, names);
    return NULL;
}

int cmdline_parse(struct cmdline *c, int argc, char **argv, struct err *e)
{
    for (int i = 0; i < argc && !c->done; i++) {
        const char *a = argv[i];
        if (a[0] != '-' || !a[1]) {
            if (cmdline_add_image(c, "disk image", a, NULL, 0, "disk"))
                return -1;
            continue;
        }
        const struct option *o = find_option(a + (a[1] == '-' ? 2 : 1), e);
        if (!o)
            return -1;
        if (o->has_arg && i + 1 == argc)
            return err_set(e, "-%s: requires an argument: %s", o->name, o->value);
        if (o->set(c, o->has_arg ? argv[++i] : NULL, e))
            return -1;
    }
    return 0;
}

void cmdline_init(struct cmdline *c, const struct isa *isa, const char *program)
{
    *c = (struct cmdline){.isa = isa, .program = program};
}

static void free_list(struct cmdline_list *l)
{
    for (size_t i = 0; i < l->len; i++)
        opts_free(&l->data[i]);
    vec_free(l);
}

void cmdline_free(struct cmdline *c)
{
    struct cmdline_list *lists[] = {&c->accels,   &c->devices, &c->drives, &c->blockdevs,
                                    &c->chardevs, &c->netdevs, &c->fw_cfg, &c->smbios,
                                    &c->mons,     &c->objects, &c->fds,    &c->numas};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        free_list(lists[i]);
    net_legacy_free(&c->nics);
    struct opts *single[] = {&c->machine, &c->cpu_features, &c->smp,        &c->memory,  &c->rtc,
                             &c->boot,    &c->name,         &c->overcommit, &c->run_with};
    for (size_t i = 0; i < ARRAY_SIZE(single); i++)
        opts_free(single[i]);
    for (size_t i = 0; i < c->texts.len; i++)
        free(c->texts.data[i]);
    vec_free(&c->texts);
    vec_free(&c->serials);
    vec_free(&c->monitors);
    vec_free(&c->qmps);
    vec_free(&c->globals);
}
