// HMP commands that add, change and remove devices and back ends. Arguments are the command line's:
// "driver,key=value". A failure is one line on the monitor.
#include "control/monitor/internal.h"

static bool parse(struct opts *o, const char *args, const char *implied, struct buf *out)
{
    struct err e;
    if (!opts_parse(o, args, implied, &e))
        return true;
    buf_printf(out, "Error: %s\n", e.msg);
    return false;
}

// The first word of `*args`, which then begins at the next one; "" when there is none.
static char *word(char **args)
{
    char *p = *args, *end = p + strcspn(p, " ");
    *args = end + strspn(end, " ");
    *end = 0;
    return p;
}

HMP_RUN(device_add)
{
    struct opts o = {0};
    struct err e;
    if (parse(&o, args, "driver", out) && !device_create_from_opts(&vm->machine->tree, &o, &e))
        buf_printf(out, "Error: %s\n", e.msg);
    opts_free(&o);
}

HMP_RUN(device_del)
{
    struct err e;
    if (vm_del_device(vm, args, &e))
        buf_printf(out, "Error: %s\n", e.msg);
}

// "drive_add 0 file=…,if=none,id=…": the first word is a PCI address that nothing looks at.
HMP_RUN(drive_add)
{
    struct opts o = {0};
    struct err e;
    word(&args);
    if (parse(&o, args, NULL, out)) {
        bool ok = drive_open_from_opts(vm->drives, &o, "none", &e) != NULL;
        buf_printf(out, ok ? "OK\n" : "Error: %s\n", e.msg);
    }
    opts_free(&o);
}

HMP_RUN(netdev_add)
{
    struct opts o = {0};
    struct err e;
    if (parse(&o, args, "type", out) && !vm_add_netdev(vm, &o, &e))
        buf_printf(out, "Error: %s\n", e.msg);
    opts_free(&o);
}

HMP_RUN(netdev_del)
{
    struct err e;
    if (vm_del_netdev(vm, args, &e))
        buf_printf(out, "Error: %s\n", e.msg);
}

HMP_RUN(set_link)
{
    const char *name = word(&args);
    struct netdev *n = vm_find_link(vm, name);
    bool up;
    if (!n)
        buf_printf(out, "Error: Device '%s' not found\n", name);
    else if (parse_bool(args, &up))
        buf_printf(out, "Error: set_link: give on or off, not '%s'\n", args);
    else
        netdev_set_link(n, up);
}

// "[NETDEV] RULE": without a name, the first back end that knows the command.
static void forward(struct vm *vm, const char *verb, char *args, struct buf *out)
{
    struct err e = {0};
    struct netdev *n, *chosen = strchr(args, ' ') ? vm_find_netdev(vm, word(&args)) : NULL;
    bool done = false;
    list_for_each(n, &vm->netdevs, link)
    {
        if (!done && (!chosen || n == chosen))
            done = !netdev_command(n, verb, args, out, &e);
    }
    if (!done)
        buf_printf(out, "%s\n", e.msg[0] ? e.msg : "no user mode network to forward for");
}

HMP_RUN(hostfwd_add)
{
    forward(vm, "hostfwd_add", args, out);
}
HMP_RUN(hostfwd_remove)
{
    forward(vm, "hostfwd_remove", args, out);
}

HMP_RUN(eject)
{
    bool force = !strncmp(args, "-f", 2);
    if (force)
        word(&args);
    struct drive *d = drives_find(vm->drives, args);
    struct err e;
    if (!d)
        buf_printf(out, "Error: Device '%s' not found\n", args);
    else if (!d->removable)
        buf_printf(out, "Error: Device '%s' is not removable\n", args);
    else if (d->locked && !force)
        buf_printf(out, "Error: Device '%s' is locked and force was not specified\n", args);
    else if (drive_change(vm->drives, d, NULL, &e))
        buf_printf(out, "Error: %s\n", e.msg);
}

HMP_RUN(change)
{
    const char *name = word(&args), *file = word(&args);
    struct drive *d = drives_find(vm->drives, name);
    struct opts o = {0};
    struct err e;
    opts_set(&o, "file", file);
    if (*args)
        opts_set(&o, "format", args);
    if (d && d->is_cdrom)
        opts_set(&o, "read-only", "on");
    if (!d)
        buf_printf(out, "Error: Device '%s' not found\n", name);
    else if (drive_change(vm->drives, d, &o, &e))
        buf_printf(out, "Error: %s\n", e.msg);
    opts_free(&o);
}

HMP_RUN(sendkey)
{
    buf_printf(out, "Error: this machine has no keyboard\n");
}

HMP_RUN(info_usernet)
{
    struct err e;
    struct netdev *n;
    list_for_each(n, &vm->netdevs, link)
    {
        struct buf text = {0};
        if (!netdev_command(n, "usernet", "", &text, &e)) // others have nothing to say of it
            buf_printf(out, "%s", buf_str(&text));
        buf_free(&text);
    }
}
