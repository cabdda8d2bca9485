// Entry point: chooses the personality from the name the program was started under or its first
// argument.
#include "control/cli/system.h"
#include "control/front/front.h"
#include "control/img/img.h"
#include "control/version.h"
#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "user/main.h"
#include <stdio.h>
#include <string.h>

static int version_main(int argc, char **argv)
{
    printf("%s\n", version_line());
    return 0;
}

static const struct {
    const char
        *link; // the compatible name; one that ends with '-' takes the guest's name behind it
    const char *command; // the word after "myna"
    int (*run)(int argc, char **argv);
    const char *help;
} personalities[] = {
    {"myna-run", "run", run_main, "a machine around a kernel or a disk, the rest chosen for it"},
    {"myna-explain", "explain", explain_main,
     "the machine that run or system would make; or one instruction, translated"},
    {"myna-doctor", "doctor", doctor_main, "what this host allows, and what to do about it"},
    {"qemu-img", "img", img_main, "create, inspect and convert disk images"},
    {"qemu-system-", "system", system_main,
     "a machine: --arch ARCH, then qemu-system-ARCH's options"},
    {"qemu-", "user", user_main, "a Linux program for another CPU: [OPTIONS] PROGRAM [ARGUMENTS]"},
    {"myna-version", "version", version_main, "print the version"},
};

static bool called(const char *name, const char *link)
{
    size_t n = strlen(link);
    return link[n - 1] == '-' ? !strncmp(name, link, n) && name[n] : !strcmp(name, link);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: myna COMMAND ...\n");
    for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
        fprintf(out, "  %-10s %s\n", personalities[i].command, personalities[i].help);
}

static int no_such_command(const char *name)
{
    const char *names[ARRAY_SIZE(personalities) + 1] = {0};
    struct err e = {0};
    for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
        names[i] = personalities[i].command;
    err_set(&e, "%s: no such command ('myna help' lists them)", name);
    err_did_you_mean(&e, name, names);
    log_set_name("myna");
    log_error("%s", e.msg);
    return 1;
}

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc ? argv[0] : "";
    for (size_t i = 0; i < ARRAY_SIZE(personalities); i++) {
        if (called(name, personalities[i].link))
            return personalities[i].run(argc, argv);
        if (argc > 1 && !strcmp(argv[1], personalities[i].command))
            return personalities[i].run(argc - 1, argv + 1);
    }
    bool help = argc > 1 && (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help"));
    if (argc > 1 && !help)
        return no_such_command(argv[1]);
    usage(help ? stdout : stderr);
    return help ? 0 : 1;
}
