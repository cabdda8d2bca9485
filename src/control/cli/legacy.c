// Options that scripts still give and that newer programs no longer know: those that harm nobody
// are carried out or passed over with a warning; the others say in one line what to use instead.
#include "base/log.h"
#include "control/cli/internal.h"

OPTION_HANDLER(localtime)
{
    log_warn("-localtime is old; write -rtc base=localtime");
    opts_set(&c->rtc, "base", "localtime");
    return 0;
}

OPTION_HANDLER(nodefconfig)
{
    log_warn("-nodefconfig is old and changes nothing: there are no configuration files to read");
    return 0;
}

OPTION_HANDLER(realtime)
{
    log_warn("-realtime is old; write -overcommit mem-lock=on|off");
    if (!strcmp(arg, "mlock=on") || !strcmp(arg, "mlock=off")) {
        opts_set(&c->overcommit, "mem-lock", arg + 6);
        return 0;
    }
    return err_set(e, "-realtime %s: give mlock=on or mlock=off", arg);
}

OPTION_HANDLER(balloon)
{
    log_warn("-balloon is old; write -device virtio-balloon-pci");
    if (!strcmp(arg, "none"))
        return 0;
    if (strcmp(arg, "virtio"))
        return err_set(e, "-balloon %s: give virtio or none", arg);
    struct opts o = {0};
    opts_set(&o, "driver", "virtio-balloon-pci");
    vec_push(&c->devices, o);
    return 0;
}

OPTION_HANDLER(soundhw)
{
    log_warn("-soundhw %s is passed over: there is no audio", arg);
    return 0;
}

OPTION_HANDLER(no_kvm)
{
    struct opts o = {0};
    log_warn("-no-kvm is old; write -accel tcg");
    opts_set(&o, "accel", "tcg");
    vec_push(&c->accels, o);
    return 0;
}

OPTION_HANDLER(chroot)
{
    log_warn("-chroot is old; write -run-with chroot=%s", arg);
    opts_set(&c->run_with, "chroot", arg);
    return 0;
}

OPTION_HANDLER(runas)
{
    log_warn("-runas is old; write -run-with user=%s", arg);
    opts_set(&c->run_with, "user", arg);
    return 0;
}

OPTION_HANDLER(watchdog)
{
    return err_set(e, "-watchdog %s: write -device %s", arg, arg);
}

OPTION_HANDLER(usbdevice)
{
    return err_set(e,
                   "-usbdevice %s: there is no USB controller; over the network or a serial line "
                   "the guest needs neither a tablet nor a keyboard",
                   arg);
}

// Virtual time is the host's, stopped with the machine: it is not made of instructions.
OPTION_HANDLER(icount)
{
    return err_set(e,
                   "-icount %s: virtual time follows the host's clock and cannot be counted in "
                   "instructions; leave it out",
                   arg);
}

// What is asked for is not there; "none" and the like ask for nothing.
static int without_effect(const char *option, const char *arg, const char *why)
{
    if (strncmp(arg, "none", 4))
        log_warn("-%s %s is without effect: %s", option, arg, why);
    return 0;
}

OPTION_HANDLER(audiodev)
{
    return without_effect("audiodev", arg, "there is no audio");
}

OPTION_HANDLER(k)
{
    return without_effect("k", arg, "there is no display that a keyboard would belong to");
}

OPTION_HANDLER(parallel)
{
    return without_effect("parallel", arg, "this machine has no parallel port");
}

OPTION_HANDLER(vga)
{
    return without_effect("vga", arg, "there is no display; the guest has its serial line");
}

OPTION_HANDLER(vnc)
{
    return strcmp(arg, "none") ? err_set(e, "-vnc %s: there is no display yet; use -vnc none", arg)
                               : 0;
}

OPTION_HANDLER(fda)
{
    return cmdline_add_image(c, "-fda", arg, "floppy", 0, "disk");
}

OPTION_HANDLER(fdb)
{
    return cmdline_add_image(c, "-fdb", arg, "floppy", 1, "disk");
}

OPTION_HANDLER(sd)
{
    return cmdline_add_image(c, "-sd", arg, "sd", 0, "disk");
}

OPTION_HANDLER(mtdblock)
{
    return cmdline_add_image(c, "-mtdblock", arg, "mtd", 0, "disk");
}
