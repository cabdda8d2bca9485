// What a machine stands on before it is made: descriptors, objects, character devices, disks and
// networks, in the order in which they name each other; and its monitors.
#include "control/cli/internal.h"
#include "control/monitor/monitor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// ---- back ends ----

// -add-fd: the originals go once all of them are known, for one may stand in several sets.
int startup_add_fds(struct startup *s, struct err *e)
{
    static const char *const known[] = {"fd", "set", "opaque", NULL};
    VEC(int) originals = {0};
    int r = 0;
    for (size_t i = 0; i < s->c.fds.len && !r; i++) {
        struct opts *o = &s->c.fds.data[i];
        const char *opaque = opts_get(o, "opaque");
        uint64_t fd = 0, set = UINT64_MAX;
        r = opts_get_u64(o, "fd", &fd, e) || opts_get_u64(o, "set", &set, e) ||
                    opts_check_unused(o, "-add-fd", known, e)
                ? -1
                : 0;
        if (!r && (!opts_has(o, "fd") || fd <= STDERR_FILENO || set > INT32_MAX))
            r = err_set(e, "-add-fd: give it fd=N above 2 and set=N");
        int copy = r ? -1 : fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
        if (!r && copy < 0)
            r = err_set(e, "-add-fd fd=%d: not open in this process", (int)fd);
        if (!r)
            r = fdsets_add(s->vm->fds.sets, (int64_t)set, copy, opaque, e) < 0 ? -1 : 0;
        if (!r)
            vec_push(&originals, (int)fd);
    }
    for (size_t i = 0; i < originals.len; i++)
        close(originals.data[i]);
    vec_free(&originals);
    return r;
}

int startup_open_chardevs(struct startup *s, struct err *e)
{
    for (size_t i = 0; i < s->c.chardevs.len; i++)
        if (!vm_add_chardev(s->vm, &s->c.chardevs.data[i], e))
            return err_prefix(e, "-chardev");
    return 0;
}

int startup_add_objects(struct startup *s, struct err *e)
{
    for (size_t i = 0; i < s->c.objects.len; i++)
        if (object_add(&s->vm->objects, &s->c.objects.data[i], e))
            return err_prefix(e, "-object");
    return 0;
}

int startup_open_drives(struct startup *s, struct err *e)
{
    for (size_t i = 0; i < s->c.blockdevs.len; i++)
        if (!drives_add_node(s->vm->drives, &s->c.blockdevs.data[i], e))
            return err_prefix(e, "-blockdev");
    for (size_t i = 0; i < s->c.drives.len; i++) {
        struct opts *o = &s->c.drives.data[i];
        if (s->c.snapshot && !opts_has(o, "snapshot"))
            opts_set(o, "snapshot", "on");
        struct drive *d = drive_open_from_opts(s->vm->drives, o, "virtio", e);
        if (!d)
            return err_prefix(e, "%s", o->said ? o->said : "-drive");
        if (o->said)
            vec_push(&s->drive_words, (struct drive_word){d, o->said});
    }
    return 0;
}

int startup_open_netdevs(struct startup *s, struct err *e)
{
    for (size_t i = 0; i < s->c.netdevs.len; i++)
        if (!vm_add_netdev(s->vm, &s->c.netdevs.data[i], e))
            return err_prefix(e, "-netdev");
    return 0;
}

const char *startup_option_of(const struct startup *s, const struct drive *d)
{
    for (size_t i = 0; i < s->drive_words.len; i++)
        if (s->drive_words.data[i].drive == d)
            return s->drive_words.data[i].option;
    return "-drive";
}

static void mux_quit(void *opaque)
{
    vm_quit(opaque, "host-ui");
}

// Has something else of the command line taken the terminal?
static bool stdio_taken(struct startup *s)
{
    for (size_t i = 0; i < s->c.qmps.len; i++)
        if (!strcmp(s->c.qmps.data[i], "stdio"))
            return true;
    for (size_t i = 0; i < s->c.monitors.len; i++)
        if (!strcmp(s->c.monitors.data[i], "stdio"))
            return true;
    for (size_t i = 0; i < s->c.chardevs.len; i++) {
        const char *backend = opts_get(&s->c.chardevs.data[i], "backend");
        if (backend && !strcmp(backend, "stdio"))
            return true;
    }
    return false;
}

int startup_open_serials(struct startup *s, struct err *e)
{
    if (!s->c.serials.len && !s->c.nodefaults && s->config.board->default_ram)
        vec_push(&s->c.serials, stdio_taken(s) ? "null" : "mon:stdio");
    for (size_t i = 0; i < s->c.serials.len && i < ARRAY_SIZE(s->config.serial); i++) {
        char id[32];
        snprintf(id, sizeof id, "serial%zu", i);
        const char *spec = s->dry ? "null" : s->c.serials.data[i];
        if (vm_legacy_chardev(s->vm, spec, id, &s->config.serial[i], e))
            return err_prefix(e, "-serial");
    }
    static struct chr_mux_ops ops = {.quit = mux_quit};
    for (size_t i = 0; i < s->vm->chardevs.len; i++)
        if (chardev_is_mux(s->vm->chardevs.data[i])) {
            struct chr_mux_ops o = ops;
            o.opaque = s->vm;
            chardev_set_mux_ops(s->vm->chardevs.data[i], &o);
            if (s->c.escape)
                chardev_set_escape(s->vm->chardevs.data[i], (uint8_t)s->c.escape);
        }
    return 0;
}

// ---- monitors ----

static int add_monitor(struct startup *s, struct chardev *c, bool control, struct err *e)
{
    return !c || monitor_new(s->vm, c, control, e) ? 0 : -1;
}

static int add_legacy_monitors(struct startup *s, const char *const *specs, size_t n, bool control,
                               struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct chardev *c;
        char id[32];
        snprintf(id, sizeof id, "compat_monitor%u", s->n_auto++);
        if (vm_legacy_chardev(s->vm, specs[i], id, &c, e) || add_monitor(s, c, control, e))
            return err_prefix(e, control ? "-qmp" : "-monitor");
    }
    return 0;
}

// -mon chardev=ID,mode=readline|control
static int add_mons(struct startup *s, struct err *e)
{
    static const char *const known[] = {"chardev", "mode", "id", "pretty", "default", NULL};
    for (size_t i = 0; i < s->c.mons.len; i++) {
        struct opts *o = &s->c.mons.data[i];
        const char *id = opts_get(o, "chardev"), *mode = opts_get(o, "mode");
        struct chardev *c = id ? vm_find_chardev(s->vm, id) : NULL;
        opts_get(o, "id"), opts_get(o, "pretty"), opts_get(o, "default");
        if (!c)
            return err_set(e, "-mon: no -chardev has the id '%s'", id ? id : "");
        if (mode && strcmp(mode, "readline") && strcmp(mode, "control"))
            return err_set(e, "-mon: mode=%s: give readline or control", mode);
        if (opts_check_unused(o, "-mon", known, e) ||
            add_monitor(s, c, mode && !strcmp(mode, "control"), e))
            return -1;
    }
    return 0;
}

// The serial port's stdio also carries the monitor, behind Ctrl-A c.
static int add_mux_monitor(struct startup *s, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(s->config.serial); i++)
        if (s->config.serial[i] && i < s->c.serials.len &&
            !strncmp(s->c.serials.data[i], "mon:", 4) &&
            add_monitor(s, s->config.serial[i], false, e))
            return err_prefix(e, "-serial %s", s->c.serials.data[i]);
    return 0;
}

int startup_open_monitors(struct startup *s, struct err *e)
{
    return add_mux_monitor(s, e) ||
                   add_legacy_monitors(s, s->c.monitors.data, s->c.monitors.len, false, e) ||
                   add_legacy_monitors(s, s->c.qmps.data, s->c.qmps.len, true, e) || add_mons(s, e)
               ? -1
               : 0;
}
