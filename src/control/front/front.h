// Our own command line: `myna run`, `myna explain` and `myna doctor`. Private to control/front but
// for the three entry points.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

// The front commands: argv[0] is the command's own name; the exit status.
int run_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int doctor_main(int argc, char **argv);

// What a file is, from its first bytes.
enum guess_kind { GUESS_UNKNOWN, GUESS_KERNEL, GUESS_DISK, GUESS_CDROM };
struct guess {
    enum guess_kind kind;
    const char *arch;   // of a kernel: isa name, or NULL when it does not say
    const char *format; // of a disk: "qcow2", "raw"
    const char *what;   // for people: "Linux arm64 Image"
};
// 0, or -1 where the file cannot be read or is nothing that a machine starts from.
int guess_file(const char *path, struct guess *g, struct err *e) MUST_CHECK;

// A machine made up from few words: the options that qemu-system-ARCH would be given.
struct plan {
    VEC(char *) argv; // argv[0] is "qemu-system-ARCH"; NULL-terminated
    struct buf why;   // one line for each choice that was made here
    bool done;        // help was printed
};
// From the words of `myna run`. plan_free also after a failure.
int plan_make(struct plan *p, int argc, char **argv, struct err *e) MUST_CHECK;
void plan_free(struct plan *p);
// As a shell would take it.
void plan_print_command(int argc, char *const *argv, struct buf *out);
