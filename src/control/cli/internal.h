// Private to src/control/cli: handlers of options that are not in options.c, and steps of the start
// that are not in system.c.
#pragma once

#include "base/vec.h"
#include "board/board.h"
#include "control/cli/cmdline.h"
#include "control/vm.h"

#define OPTION_HANDLER(name) int cli_##name(struct cmdline *c, const char *arg, struct err *e)
// legacy.c: words of older programs, and of machines with displays.
OPTION_HANDLER(audiodev);
OPTION_HANDLER(balloon);
OPTION_HANDLER(chroot);
OPTION_HANDLER(fda);
OPTION_HANDLER(fdb);
OPTION_HANDLER(icount);
OPTION_HANDLER(k);
OPTION_HANDLER(localtime);
OPTION_HANDLER(mtdblock);
OPTION_HANDLER(no_kvm);
OPTION_HANDLER(nodefconfig);
OPTION_HANDLER(parallel);
OPTION_HANDLER(realtime);
OPTION_HANDLER(runas);
OPTION_HANDLER(sd);
OPTION_HANDLER(soundhw);
OPTION_HANDLER(usbdevice);
OPTION_HANDLER(vga);
OPTION_HANDLER(vnc);
OPTION_HANDLER(watchdog);
// An image as a drive of this interface and number (-1: the next); `option` is what the operator
// wrote (options.c).
int cmdline_add_image(struct cmdline *c, const char *option, const char *file,
                      const char *interface, int index, const char *media);
// config.c: options that come from files, or change others.
OPTION_HANDLER(readconfig);
OPTION_HANDLER(set);

// An option by name, as on the command line; `arg` must last as long as `c` (options.c).
int cmdline_apply(struct cmdline *c, const char *name, const char *arg, struct err *e) MUST_CHECK;
bool cmdline_has_option(const char *name);

// rtc.c: seconds since the Epoch that the machine's clock begins with, 0: the host's.
int cli_read_rtc(struct opts *o, uint64_t *base, struct err *e) MUST_CHECK;
// numa.c: nodes, distances and who is in them; after -smp and -m are known. Into *n, which is the
// caller's.
int cli_read_numa(struct cmdline *c, struct vm *vm, const struct machine_config *m,
                  struct machine_numa *n, struct err *e) MUST_CHECK;
// memory.c: size and backing of the machine's RAM, from -m, -mem-path, -mem-prealloc and memory
// objects.
int cli_read_memory(struct cmdline *c, struct vm *vm, struct machine_config *m,
                    struct err *e) MUST_CHECK;

// The option that a drive came from, where that was not -drive.
struct drive_word {
    const struct drive *drive;
    const char *option;
};

struct startup {
    struct cmdline c;
    struct vm *vm;
    bool dry; // made to be looked at: nothing listens and the terminal is left alone
    struct machine_config config;
    struct machine_numa numa;
    VEC(struct device_global) globals;
    VEC(struct drive_word) drive_words;
    unsigned n_auto; // ids made up so far
};

// backends.c, in this order; each -1 with one line that names the option.
int startup_add_fds(struct startup *s, struct err *e) MUST_CHECK; // -add-fd
int startup_add_objects(struct startup *s, struct err *e) MUST_CHECK;
int startup_open_chardevs(struct startup *s, struct err *e) MUST_CHECK;
int startup_open_serials(struct startup *s, struct err *e) MUST_CHECK; // and the default one
int startup_open_drives(struct startup *s, struct err *e) MUST_CHECK;
int startup_open_netdevs(struct startup *s, struct err *e) MUST_CHECK;
int startup_open_monitors(struct startup *s, struct err *e) MUST_CHECK; // when the machine is there
// What the operator wrote to get a drive: "-hda", "-drive"…
const char *startup_option_of(const struct startup *s, const struct drive *d);
