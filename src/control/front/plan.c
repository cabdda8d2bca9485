// The defaults of `myna run`: one image in, a whole machine out. Each choice is an option of the
// compatible command line, so that what was chosen can be printed, copied and changed.
#include "control/front/front.h"
#include "board/board.h"
#include "isa/isa.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct wish { // what the operator said
    const char *image, *arch, *cpu, *cpus, *memory, *initrd, *append, *firmware, *net;
    VEC(const char *) disks, forwards;
};

static void add(struct plan *p, const char *fmt, ...) PRINTF(2, 3);
static void add(struct plan *p, const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    if (p->argv.len)
        p->argv.len--; // the NULL at the end
    vec_push(&p->argv, text);
    vec_push(&p->argv, NULL);
}

static void usage(void)
{
    printf("usage: myna run IMAGE [OPTIONS] [-- OPTIONS OF qemu-system-ARCH]\n"
           "IMAGE is a kernel, a disk or a CD-ROM; the rest of the machine is chosen for it.\n"
           "  --arch ARCH       guest CPU, where the image does not tell (default aarch64)\n"
           "  --cpu MODEL       CPU model (default max)\n"
           "  --cpus N          how many (default: as many as the host has, up to 4)\n"
           "  --memory SIZE     RAM, such as 512M or 2G (default 1G)\n"
           "  --initrd FILE     initial RAM disk of a kernel\n"
           "  --append TEXT     kernel command line; console= is added unless there\n"
           "  --disk FILE       one more disk; may be repeated\n"
           "  --firmware FILE   what starts a disk (default: UEFI from its Debian package)\n"
           "  --net none|user   network (default user: NAT behind the host)\n"
           "  --forward H:G     host's TCP port H leads to the guest's port G; may be repeated\n"
           "'myna explain run IMAGE ...' shows the machine instead of running it.\n");
}

// ---- what was said ----

static int parse(struct wish *w, int argc, char **argv, int *rest, struct err *e)
{
    const struct {
        const char *name;
        const char **to;
    } options[] = {{"--append", &w->append}, {"--arch", &w->arch},     {"--cpu", &w->cpu},
                   {"--cpus", &w->cpus},     {"--disk", NULL},         {"--firmware", &w->firmware},
                   {"--forward", NULL},      {"--initrd", &w->initrd}, {"--memory", &w->memory},
                   {"--net", &w->net}};
    const char *names[ARRAY_SIZE(options) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        names[i] = options[i].name;
    for (*rest = 0; *rest < argc; ++*rest) {
        const char *a = argv[*rest];
        size_t k = 0;
        if (!strcmp(a, "--")) {
            ++*rest;
            return 0;
        }
        if (*a != '-') {
            if (w->image)
                return err_set(
                    e, "run: one image at a time: %s is one too many (--disk adds disks)", a);
            w->image = a;
            continue;
        }
        while (k < ARRAY_SIZE(options) && strcmp(a, options[k].name))
            k++;
        if (k == ARRAY_SIZE(options)) {
            err_set(e, "run: unknown option '%s'", a);
            return err_did_you_mean(e, a, names);
        }
        if (*rest + 1 == argc)
            return err_set(e, "run: %s needs a value", a);
        const char *val = argv[++*rest];
        if (options[k].to)
            *options[k].to = val;
        else if (!strcmp(a, "--disk"))
            vec_push(&w->disks, val);
        else
            vec_push(&w->forwards, val);
    }
    return 0;
}

// ---- what was not ----

static const struct machine_facts {
    const char *arch, *console;
    const char *firmware[3]; // where its Debian package puts it
    const char *package;
} facts[] = {
    {"aarch64",
     "ttyAMA0",
     {"/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "/usr/share/AAVMF/AAVMF_CODE.fd"},
     "qemu-efi-aarch64"},
    {"riscv64", "ttyS0", {NULL}, "u-boot-qemu"},
    {"x86_64", "ttyS0", {NULL}, "ovmf"},
};

static const struct machine_facts *facts_of(const char *arch)
{
    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        if (!strcmp(facts[i].arch, arch))
            return &facts[i];
    return NULL;
}

static const struct board *default_board(const char *arch)
{
    for (const struct board *const *b = boards; *b; b++)
        if (!strcmp((*b)->arch, arch) && (*b)->default_ram)
            return *b;
    return NULL;
}

static const char *default_cpu(const struct isa *isa)
{
    for (const struct isa_model *m = isa->models; m->name; m++)
        if (!strcmp(m->name, "max"))
            return "max";
    return isa->default_model;
}

static int plan_base(struct plan *p, const struct wish *w, const char *arch, struct err *e)
{
    const struct isa *isa = isa_find(arch);
    const struct board *board = isa ? default_board(isa->name) : NULL;
    if (!board)
        return err_set(e, "run: there is no machine for %s", arch);
    long host = sysconf(_SC_NPROCESSORS_ONLN);
    char cpus[16];
    snprintf(cpus, sizeof cpus, "%ld", MIN(MAX(host, 1l), 4l));
    add(p, "qemu-system-%s", isa->name);
    add(p, "-machine"), add(p, "%s", board->name);
    add(p, "-cpu"), add(p, "%s", w->cpu ? w->cpu : default_cpu(isa));
    add(p, "-smp"), add(p, "%s", w->cpus ? w->cpus : cpus);
    add(p, "-m"), add(p, "%s", w->memory ? w->memory : "1G");
    add(p, "-nographic");
    add(p, "-device"), add(p, "virtio-rng-pci");
    buf_printf(&p->why, "machine   %s: %s\n", board->name, board->desc);
    if (!w->cpu)
        buf_printf(&p->why, "CPU       %s: everything this program knows\n", default_cpu(isa));
    if (!w->cpus)
        buf_printf(&p->why, "CPUs      %s: the host has %ld\n", cpus, host);
    if (!w->memory)
        buf_printf(&p->why, "memory    1 GiB, taken from the host as the guest touches it\n");
    buf_printf(&p->why, "entropy   virtio-rng-pci, from the host\n");
    return 0;
}

static void plan_disk(struct plan *p, const char *path, const struct guess *g)
{
    bool cdrom = g->kind == GUESS_CDROM;
    add(p, "-drive");
    struct buf name = {0};
    for (const char *c = path; *c; c++)
        buf_printf(&name, *c == ',' ? ",," : "%c", *c);
    add(p, "file=%s,format=%s,if=virtio%s", buf_str(&name), g->format ? g->format : "raw",
        cdrom ? ",read-only=on" : ",discard=unmap");
    buf_free(&name);
    buf_printf(&p->why, "disk      %s: %s on virtio-blk-pci\n", path, g->what);
}

static int plan_firmware(struct plan *p, const struct wish *w, const char *arch, struct err *e)
{
    const struct machine_facts *f = facts_of(arch);
    const char *path = w->firmware;
    for (unsigned i = 0; !path && f && f->firmware[i]; i++)
        if (!access(f->firmware[i], R_OK))
            path = f->firmware[i];
    if (!path)
        return err_set(e,
                       "run: %s: a disk needs firmware to start it; install the package %s, or "
                       "name a file with --firmware",
                       w->image, f ? f->package : "of your machine's firmware");
    add(p, "-bios"), add(p, "%s", path);
    if (!w->firmware)
        buf_printf(&p->why, "firmware  %s\n", path);
    return 0;
}

static int plan_kernel(struct plan *p, const struct wish *w, const char *arch)
{
    const struct machine_facts *f = facts_of(arch);
    add(p, "-kernel"), add(p, "%s", w->image);
    if (w->initrd)
        add(p, "-initrd"), add(p, "%s", w->initrd);
    bool console = w->append && strstr(w->append, "console=");
    bool root = !w->initrd && w->disks.len && !(w->append && strstr(w->append, "root="));
    add(p, "-append");
    add(p, "%s%s%s%s%s", console || !f ? "" : "console=", console || !f ? "" : f->console,
        root ? " root=/dev/vda rw" : "", w->append ? " " : "", w->append ? w->append : "");
    if (!console && f)
        buf_printf(&p->why, "console   %s, on this terminal\n", f->console);
    return 0;
}

static int plan_network(struct plan *p, const struct wish *w, struct err *e)
{
    add(p, "-nic");
    if (w->net && !strcmp(w->net, "none")) {
        add(p, "none");
        return w->forwards.len ? err_set(e, "run: --forward needs a network") : 0;
    }
    if (w->net && strcmp(w->net, "user"))
        return err_set(e, "run: --net %s: give none or user; 'myna system' knows more", w->net);
    struct buf text = {0};
    buf_printf(&text, "user,model=virtio");
    for (size_t i = 0; i < w->forwards.len; i++) {
        unsigned host, guest;
        int used = 0;
        if (sscanf(w->forwards.data[i], "%u:%u%n", &host, &guest, &used) != 2 ||
            w->forwards.data[i][used] || host > 65535 || guest > 65535 || !guest) {
            buf_free(&text);
            return err_set(e, "run: --forward %s: write HOST-PORT:GUEST-PORT, such as 2222:22",
                           w->forwards.data[i]);
        }
        buf_printf(&text, ",hostfwd=tcp:127.0.0.1:%u-:%u", host, guest);
    }
    add(p, "%s", buf_str(&text));
    buf_free(&text);
    if (!w->net)
        buf_printf(&p->why, "network   virtio-net-pci behind the host (NAT); nothing comes in%s\n",
                   w->forwards.len ? " but what is forwarded" : "");
    return 0;
}

static int plan_images(struct plan *p, const struct wish *w, struct err *e)
{
    struct guess g, disk;
    if (guess_file(w->image, &g, e))
        return -1;
    if (w->arch && g.arch && strcmp(w->arch, g.arch))
        return err_set(e, "run: %s is for %s, not for %s", w->image, g.arch, w->arch);
    const char *arch = w->arch ? w->arch : g.arch ? g.arch : "aarch64";
    if (plan_base(p, w, arch, e))
        return -1;
    if (!w->arch)
        buf_printf(&p->why, "guest     %s: %s\n", arch,
                   g.arch ? g.what : "the image does not tell; --arch chooses another");
    if (g.kind == GUESS_KERNEL ? plan_kernel(p, w, arch) : plan_firmware(p, w, arch, e))
        return -1;
    if (g.kind != GUESS_KERNEL)
        plan_disk(p, w->image, &g);
    for (size_t i = 0; i < w->disks.len; i++) {
        if (guess_file(w->disks.data[i], &disk, e)) // a disk without a partition table is one, too
            disk = (struct guess){GUESS_DISK, NULL, "raw", "raw disk"};
        if (access(w->disks.data[i], R_OK))
            return -1;
        plan_disk(p, w->disks.data[i], &disk);
    }
    return plan_network(p, w, e);
}

int plan_make(struct plan *p, int argc, char **argv, struct err *e)
{
    struct wish w = {0};
    int rest, r = 0;
    *p = (struct plan){0};
    if (argc &&
        (!strcmp(argv[0], "--help") || !strcmp(argv[0], "help") || !strcmp(argv[0], "-h"))) {
        usage();
        p->done = true;
        return 0;
    }
    r = parse(&w, argc, argv, &rest, e);
    if (!r && !w.image)
        r = err_set(e, "run: name a kernel, a disk or a CD-ROM ('myna run --help')");
    if (!r)
        r = plan_images(p, &w, e);
    for (int i = rest; !r && i < argc; i++)
        add(p, "%s", argv[i]);
    vec_free(&w.disks);
    vec_free(&w.forwards);
    return r;
}

void plan_free(struct plan *p)
{
    for (size_t i = 0; i < p->argv.len; i++)
        free(p->argv.data[i]);
    vec_free(&p->argv);
    buf_free(&p->why);
}

void plan_print_command(int argc, char *const *argv, struct buf *out)
{
    for (int i = 0; i < argc; i++) {
        bool plain = *argv[i] && !argv[i][strcspn(argv[i], " \t\n'\"\\$`&|;<>()*?[]#~!{}")];
        const char *break_line = i && *argv[i] == '-' ? " \\\n    " : i ? " " : "";
        buf_printf(out, "%s", break_line);
        if (plain) {
            buf_printf(out, "%s", argv[i]);
            continue;
        }
        buf_printf(out, "'");
        for (const char *c = argv[i]; *c; c++)
            buf_printf(out, *c == '\'' ? "'\\''" : "%c", *c);
        buf_printf(out, "'");
    }
    buf_printf(out, "\n");
}
