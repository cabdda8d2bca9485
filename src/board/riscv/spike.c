// The RISC-V `spike` board: harts, memory, a CLINT and the host-target interface, like the Spike
// simulator's machine and QEMU's board of that name. The interface lies where the program's ELF
// symbols tohost and fromhost say, else at 0x1000000. With signature=FILE the memory between
// begin_signature and end_signature is written there when the program ends, as conformance suites
// compare it, in lines of signature-granularity bytes.
#include "board/riscv/harts.h"

#include "base/bits.h"
#include "board/boot/offer.h"
#include "device/irqchip/riscv/aclint.h"
#include "device/serial/htif.h"
#include "memory/dma.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIGNATURE_LINE_MAX = 16, SIGNATURE_MAX = 64 * MiB };
static const gpa_t rom_base = 0x1000, htif_base = 0x1000000, clint_base = 0x2000000,
                   ram_start = 0x80000000;
static const uint64_t rom_size = 0xf000;

struct spike {
    struct machine *m;
    struct riscv_boot boot;
    struct device *htif;
    const char *signature, *dumpdtb;
    uint64_t signature_line; // bytes
};

static const struct board_prop spike_props[] = {
    {"dumpdtb", "FILE: write the device tree there and stop"},
    {"signature", "FILE: write the memory from begin_signature to end_signature there at the end"},
    {"signature-granularity", "N: bytes in a line of the signature: 1, 2, 4, 8 or 16 (16)"},
    {0},
};

static struct spike *of(struct machine *m)
{
    return m->priv;
}

static int read_props(struct spike *s, struct opts *o, struct err *e)
{
    s->signature_line = SIGNATURE_LINE_MAX;
    if (!o)
        return 0;
    s->signature = opts_get(o, "signature");
    s->dumpdtb = opts_get(o, "dumpdtb");
    if (opts_get(o, "signature-granularity") &&
        opts_get_u64(o, "signature-granularity", &s->signature_line, e))
        return err_prefix(e, "-machine spike");
    uint64_t n = s->signature_line;
    if (!n || n > SIGNATURE_LINE_MAX || n & (n - 1))
        return err_set(e, "-machine spike: signature-granularity=%llu: give 1, 2, 4, 8 or 16",
                       (unsigned long long)n);
    return 0;
}

static int spike_create(struct machine *m, struct err *e)
{
    struct spike *s = xalloc(sizeof *s);
    m->priv = s;
    s->m = m;
    if (!m->config.cpu)
        m->config.cpu = m->isa->default_model;
    if (read_props(s, m->config.props, e) || machine_add_ram(m, ram_start, e) ||
        riscv_boot_make_rom(&s->boot, m, rom_base, rom_size, e) || riscv_add_harts(m, NULL, e) ||
        riscv_add_aclint(m, clint_base, clint_base + ACLINT_SWI_SIZE, 0, e))
        return -1;
    s->htif = device_new(&m->tree, &htif_type, NULL);
    device_set_ptr(s->htif, "chardev", m->config.serial[0]);
    return device_start(&m->tree, s->htif, NULL, e);
}

// ---- signature ----

// Each line has its highest address first; what the last line lacks is zero.
static void print_signature(FILE *out, const uint8_t *data, uint64_t len, uint64_t line)
{
    for (uint64_t at = 0; at < len; at += line) {
        for (uint64_t i = line; i-- > 0;)
            fprintf(out, "%02x", at + i < len ? data[at + i] : 0);
        fputc('\n', out);
    }
}

static void write_signature(void *opaque)
{
    struct spike *s = opaque;
    gpa_t from = s->boot.symbol[SYM_BEGIN_SIGNATURE], to = s->boot.symbol[SYM_END_SIGNATURE];
    uint8_t *data = xalloc(to - from);
    FILE *out = fopen(s->signature, "w");
    if (!out || dma_read(s->m->memory, from, data, to - from))
        log_warn("-machine signature=%s: cannot be written", s->signature);
    else
        print_signature(out, data, to - from, s->signature_line);
    if (out)
        fclose(out);
    free(data);
}

static int plan_signature(struct spike *s, struct err *e)
{
    gpa_t from = s->boot.symbol[SYM_BEGIN_SIGNATURE], to = s->boot.symbol[SYM_END_SIGNATURE];
    if (!s->signature)
        return 0;
    if (!from || to < from || to - from > SIGNATURE_MAX)
        return err_set(e,
                       "-machine signature=%s: the program has no symbols begin_signature and "
                       "end_signature, at most 64 MiB apart",
                       s->signature);
    htif_on_exit(s->htif, write_signature, s);
    return 0;
}

// ---- boot ----

static int build_fdt(const struct spike *s, struct boot_file *f, struct err *e)
{
    struct fdt_out o;
    static const char bus[] = "ucb,spike-bare-soc\0simple-bus";
    fdt_out_start(&o, 64 * KiB + 2048 * s->m->config.max_cpus + strlen(s->m->config.append ?: ""));
    fdt_out_node(&o, "%s", "");
    fdt_out_str(&o, "compatible", "ucbbar,spike-bare-dev");
    fdt_out_str(&o, "model", "ucbbar,spike-bare,qemu");
    fdt_out_cells(&o, "#address-cells", 2);
    fdt_out_cells(&o, "#size-cells", 2);
    riscv_fdt_chosen(&s->boot, "/htif", &o);
    fdt_out_node(&o, "htif");
    fdt_out_str(&o, "compatible", "ucb,htif0");
    if (!s->boot.symbol[SYM_TOHOST])
        fdt_out_reg(&o, htif_base, 0x1000);
    fdt_out_end(&o);
    fdt_out_node(&o, "soc");
    fdt_out_cells(&o, "#address-cells", 2);
    fdt_out_cells(&o, "#size-cells", 2);
    fdt_out_bytes(&o, "compatible", bus, sizeof bus);
    fdt_out_empty(&o, "ranges");
    riscv_fdt_clint(s->m, clint_base, &o);
    fdt_out_end(&o);
    riscv_fdt_cpus(s->m, &o);
    fdt_out_end(&o);
    return fdt_out_finish(&o, &f->data, &f->len, e);
}

static int spike_finish(struct machine *m, struct err *e)
{
    struct spike *s = of(m);
    struct boot_file dtb = {0};
    if (riscv_boot_load(&s->boot, 0, e) || plan_signature(s, e) ||
        (m->config.dtb ? boot_read_dtb(m->config.dtb, &dtb, e) : build_fdt(s, &dtb, e)))
        return -1;
    struct sys_device *sys = container_of(s->htif, struct sys_device, dev);
    bool found = s->boot.symbol[SYM_TOHOST] && s->boot.symbol[SYM_FROMHOST];
    // Mapped later than the RAM they may lie in, they win. At the fixed place fromhost comes first.
    sys_map(sys, 0, m->memory, found ? s->boot.symbol[SYM_TOHOST] : htif_base + 8);
    sys_map(sys, 1, m->memory, found ? s->boot.symbol[SYM_FROMHOST] : htif_base);
    return riscv_boot_place_dtb(&s->boot, &dtb, s->dumpdtb, e);
}

static void spike_reset(struct machine *m)
{
    riscv_start_harts(m, rom_base);
}

static void spike_powerdown(struct machine *m)
{
    m->env.request_shutdown(m->env.opaque, "host-qmp-quit", 0);
}

static void spike_destroy(struct machine *m)
{
    struct spike *s = of(m);
    if (!s)
        return;
    riscv_boot_free(&s->boot);
    free(s);
    m->priv = NULL;
}

#define BOARD(isa)                                                                                 \
    {                                                                                              \
        .name = "spike", .desc = "RISC-V Spike board (host-target interface)", .arch = isa,        \
        .max_cpus = 8, .default_ram = 128 * MiB, .no_nic = true, .props = spike_props,             \
        .create = spike_create, .finish = spike_finish, .reset = spike_reset,                      \
        .powerdown = spike_powerdown, .destroy = spike_destroy,                                    \
    }
const struct board riscv_spike_board = BOARD("riscv64");
const struct board riscv32_spike_board = BOARD("riscv32");
