// `myna explain`: a machine without running it (its command line, what was chosen and why, devices,
// addresses and interrupts), or one guest instruction on its way through the translator.
#include "control/front/front.h"
#include "base/bits.h"
#include "base/log.h"
#include "control/cli/system.h"
#include "control/front/insn.h"
#include "control/vm.h"
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>

static void usage(void)
{
    printf(
        "usage: myna explain run IMAGE [OPTIONS]        the machine that 'myna run' would make\n"
        "       myna explain system --arch ARCH ...     the same for qemu-system-ARCH's options\n"
        "       myna explain --insn CODE [--cpu MODEL] [--arch ARCH]\n"
        "                                               one instruction: guest, IR, host code\n"
        "CODE is hexadecimal, as a disassembler prints it, or assembler text in quotes.\n");
}

// ---- the address map, from the device tree that the guest gets ----

static unsigned cells(const void *fdt, int node, const char *prop, unsigned otherwise)
{
    int len;
    const fdt32_t *v = fdt_getprop(fdt, node, prop, &len);
    return v && len == 4 ? fdt32_to_cpu(*v) : otherwise;
}

static uint64_t number(const fdt32_t *v, unsigned n)
{
    uint64_t r = 0;
    while (n--)
        r = r << 32 | fdt32_to_cpu(*v++);
    return r;
}

// The node's interrupts as the device tree numbers them; Arm's GIC names two kinds.
static void print_interrupts(const void *fdt, int node, struct buf *out)
{
    int len;
    const fdt32_t *v = fdt_getprop(fdt, node, "interrupts", &len);
    const fdt32_t *parent = fdt_getprop(fdt, 0, "interrupt-parent", NULL);
    int controller = parent ? fdt_node_offset_by_phandle(fdt, fdt32_to_cpu(*parent)) : -1;
    unsigned n = controller < 0 ? 1 : cells(fdt, controller, "#interrupt-cells", 1);
    for (int i = 0; v && i + (int)n <= len / 4; i += (int)n) {
        if (n == 3)
            buf_printf(out, "%s%s %u", i ? ", " : "  ", fdt32_to_cpu(v[i]) ? "PPI" : "SPI",
                       fdt32_to_cpu(v[i + 1]));
        else
            buf_printf(out, "%s%u", i ? ", " : "  irq ", fdt32_to_cpu(v[i]));
    }
}

struct place {
    uint64_t base, size;
    int node;
};

static int by_base(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->base < y->base ? -1 : x->base > y->base;
}

static void print_map(const void *fdt, struct buf *out)
{
    VEC(struct place) places = {0};
    int node, len;
    unsigned na = cells(fdt, 0, "#address-cells", 2), ns = cells(fdt, 0, "#size-cells", 2);
    fdt_for_each_subnode(node, fdt, 0)
    {
        const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &len);
        for (int i = 0; reg && i + (int)(na + ns) <= len / 4; i += (int)(na + ns))
            vec_push(&places, (struct place){number(reg + i, na), number(reg + i + na, ns), node});
    }
    if (places.len)
        qsort(places.data, places.len, sizeof *places.data, by_base);
    for (size_t i = 0; i < places.len; i++) {
        const struct place *p = &places.data[i];
        const char *name = fdt_get_name(fdt, p->node, NULL);
        const char *compatible = fdt_getprop(fdt, p->node, "compatible", NULL);
        buf_printf(out, "  %010" PRIx64 "-%010" PRIx64 "  %-22.*s %s", p->base,
                   p->base + p->size - 1, (int)strcspn(name, "@"), name,
                   compatible ? compatible : "");
        print_interrupts(fdt, p->node, out);
        buf_printf(out, "\n");
    }
    vec_free(&places);
}

static const void *device_tree(const struct machine *m)
{
    for (size_t i = 0; i < m->images.len; i++)
        if (m->images.data[i].data && m->images.data[i].len > 40 &&
            !fdt_check_header(m->images.data[i].data))
            return m->images.data[i].data;
    return NULL;
}

// ---- the whole ----

static void explain_machine(struct vm *vm, void *opaque)
{
    struct buf *out = opaque;
    const struct machine *m = vm->machine;
    const struct machine_config *c = &m->config;
    buf_printf(out, "machine       %s (%s), guest %s\n", m->board->name, m->board->desc,
               m->isa->name);
    if (m->vcpus->n) {
        buf_printf(out, "accelerator   %s: %s\n", m->accel->ops->name, m->accel->ops->desc);
        buf_printf(out,
                   "CPUs          %u x %s; %u socket(s), %u cluster(s), %u core(s), %u "
                   "thread(s) each\n",
                   m->vcpus->n, c->cpu ? c->cpu : m->isa->default_model, c->sockets, c->clusters,
                   c->cores, c->threads);
        buf_printf(out, "RAM           %" PRIu64 " MiB at 0x%" PRIx64 "\n", c->ram_size / MiB,
                   (uint64_t)m->ram_base);
    }
    const char *const texts[][2] = {{"kernel", c->kernel},
                                    {"initrd", c->initrd},
                                    {"command line", c->append},
                                    {"firmware", c->bios}};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i][1])
            buf_printf(out, "%-13s %s\n", texts[i][0], texts[i][1]);
    for (size_t i = 0; i < m->images.len; i++)
        buf_printf(out, "in RAM        %s: %zu bytes at 0x%" PRIx64 "\n", m->images.data[i].name,
                   m->images.data[i].len, (uint64_t)m->images.data[i].at);
    const void *fdt = device_tree(m);
    if (fdt) {
        buf_printf(out, "\nAddresses and interrupts (from the guest's device tree):\n");
        print_map(fdt, out);
    } else {
        buf_printf(out, "\nAddresses:\n");
        machine_print_mtree(vm->machine, out);
    }
    buf_printf(out, "\nDevices and their properties:\n");
    device_print_tree(&vm->machine->tree, out);
}

static int explain_system(int argc, char **argv, const char *why)
{
    struct buf out = {0};
    struct err e = {0};
    buf_printf(&out, "Command:\n  ");
    plan_print_command(argc, argv, &out);
    if (why && *why)
        buf_printf(&out, "\nChosen here:\n%s", why);
    buf_printf(&out, "\n");
    int r = system_look(argc, argv, explain_machine, &out, &e);
    if (r)
        log_error("%s", e.msg);
    else
        fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
    return r ? 1 : 0;
}

static int explain_run(int argc, char **argv)
{
    struct plan p;
    struct err e = {0};
    int status = 1;
    if (plan_make(&p, argc, argv, &e))
        log_error("%s", e.msg);
    else
        status = p.done ? 0 : explain_system((int)p.argv.len - 1, p.argv.data, buf_str(&p.why));
    plan_free(&p);
    return status;
}

int explain_main(int argc, char **argv)
{
    log_set_name("myna");
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
        usage();
        return argc < 2;
    }
    if (!strcmp(argv[1], "run"))
        return explain_run(argc - 2, argv + 2);
    if (!strcmp(argv[1], "system") || !strncmp(argv[1], "qemu-system-", 12))
        return explain_system(argc - 1, argv + 1, NULL);
    return insn_main(argc - 1, argv + 1);
}
