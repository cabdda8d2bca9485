// `myna doctor`: in plain words, what this host allows and what to do about what it does not.
#include "control/front/front.h"
#include "base/host/disas.h"
#include "base/host/host.h"
#include "base/log.h"
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { FACTS = 16 };

static void print(const char *name, enum host_state state, const char *text, const char *advice)
{
    static const char *const marks[] = {"ok     ", "note   ", "PROBLEM"};
    printf("%s  %-12s %s\n", marks[state], name, text);
    if (advice)
        printf("                       -> %s\n", advice);
}

static void translation(void)
{
    struct utsname u;
    uname(&u);
    if (!strcmp(u.machine, "x86_64"))
        print("translation", HOST_OK, "to x86-64 host code", NULL);
    else
        print("translation", HOST_NOTE, "no back end for this host: guests are interpreted",
              "expect a hundredth of the speed; use an x86-64 host");
}

static void firmware(void)
{
    static const char *const files[][3] = {
        {"UEFI arm64", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "apt install qemu-efi-aarch64"},
        {"U-Boot", "/usr/lib/u-boot/qemu_arm64/u-boot.bin", "apt install u-boot-qemu"}};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        bool there = !access(files[i][1], R_OK);
        print(files[i][0], there ? HOST_OK : HOST_NOTE, there ? files[i][1] : "not installed",
              there ? NULL : files[i][2]);
    }
}

int doctor_main(int argc, char **argv)
{
    struct host_fact facts[FACTS];
    bool bad = false;
    log_set_name("myna");
    if (argc > 1) {
        printf("usage: myna doctor\nLooks at this host: what works, what does not, and what to do "
               "about it. Exit status 1 when no machine could run.\n");
        return strcmp(argv[1], "--help") && strcmp(argv[1], "help");
    }
    translation();
    unsigned n = host_probe(facts, ARRAY_SIZE(facts));
    for (unsigned i = 0; i < n; i++) {
        print(facts[i].name, facts[i].state, facts[i].text, facts[i].advice);
        bad |= facts[i].state == HOST_PROBLEM;
    }
    firmware();
    bool names = disas_x86_available();
    print("disassembler", names ? HOST_OK : HOST_NOTE,
          names ? "host code is shown as text" : "host code is shown as bytes",
          names ? NULL : "apt install libcapstone4");
    return bad;
}
