// The machine personality's command line: what was asked for, before anything is made. Options add
// up here in any order; system.c makes the machine from it.
#pragma once

#include "base/err.h"
#include "base/opt.h"
#include "base/vec.h"
#include "control/action.h"
#include "isa/isa.h"
#include "net/legacy.h"
#include "sandbox/sandbox.h"

// One option given several times.
struct cmdline_list {
    struct opts *data;
    size_t len, cap;
};

struct cmdline {
    const struct isa *isa;
    const char *program;
    struct opts machine; // -machine and what else sets its properties; key "type" names the board
    struct cmdline_list accels, devices, drives, blockdevs, chardevs, netdevs, fw_cfg, smbios, mons,
        objects, fds, numas;
    struct net_legacy nics; // -nic and -net
    VEC(const char *) serials, monitors, qmps, globals;
    const char *cpu_model;
    struct opts cpu_features;
    struct vm_actions actions;
    struct sandbox sandbox;
    struct opts smp, memory, rtc, boot, name, overcommit, run_with;
    VEC(char *) texts; // of options that did not come from argv
    const char *kernel, *initrd, *append, *dtb, *bios, *gdb, *incoming, *loadvm, *pidfile, *uuid,
        *data_dir, *mem_path;
    bool nographic, nodefaults, paused, snapshot, daemonize, display_given, mem_prealloc,
        only_migratable;
    int escape; // -echr: control character, 0: default
    bool done;  // a help or version text was printed: exit 0
};

void cmdline_init(struct cmdline *c, const struct isa *isa, const char *program);
void cmdline_free(struct cmdline *c);
// 0, or -1 with one line that names the option.
int cmdline_parse(struct cmdline *c, int argc, char **argv, struct err *e) MUST_CHECK;
