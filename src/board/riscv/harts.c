// The harts of RISC-V boards with their software interrupts and timer, and the parts of a device
// tree that describe them (Linux documentation, riscv/cpus.yaml and sifive,clint).
#include "board/riscv/harts.h"

#include "device/irqchip/riscv/aclint.h"
#include "isa/riscv/riscv.h"
#include "board/numa.h"
#include "board/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

struct harts {
    struct machine *m;
    struct space **sysregs;
};

static void configure_cpu(void *opaque, unsigned i, struct isa_config *c)
{
    const struct harts *h = opaque;
    const struct machine *m = h->m;
    c->model = m->config.cpu;
    c->features = m->config.cpu_features;
    c->index = i;
    c->hw_id = i;
    c->memory = m->memory;
    c->sysregs = h->sysregs ? h->sysregs[i] : NULL;
    c->clock = m->env.clock;
    c->loop = m->timers;
}

int riscv_add_harts(struct machine *m, struct space **sysregs, struct err *e)
{
    struct harts h = {m, sysregs};
    return machine_add_cpus(m, configure_cpu, &h, e);
}

void riscv_start_harts(struct machine *m, gpa_t entry)
{
    for (unsigned i = 0; i < m->vcpus->n; i++)
        vcpu_power_on(m->vcpus->v[i], entry, 0, RV_M);
}

int riscv_add_aclint(struct machine *m, gpa_t mswi, gpa_t mtimer, gpa_t sswi, struct err *e)
{
    unsigned harts = m->vcpus->n;
    struct device *d = device_new(&m->tree, &aclint_type, NULL);
    aclint_set_loop(d, m->timers);
    char text[16];
    snprintf(text, sizeof text, "%u", harts);
    if (board_start(m, d, device_set(d, "num-harts", text, e), e))
        return -1;
    struct sys_device *sys = container_of(d, struct sys_device, dev);
    const gpa_t windows[] = {mswi, mtimer, sswi};
    for (unsigned i = 0; i < ARRAY_SIZE(windows); i++)
        if (windows[i])
            sys_map(sys, i, m->memory, windows[i]);
    for (unsigned i = 0; i < harts; i++) {
        struct vcpu *cpu = m->vcpus->v[i];
        aclint_connect(d, i, ACLINT_MSI, vcpu_line(cpu, RV_INT_MSI));
        aclint_connect(d, i, ACLINT_MTI, vcpu_line(cpu, RV_INT_MTI));
        aclint_connect(d, i, ACLINT_SSI, vcpu_line(cpu, RV_INT_SSI));
    }
    return 0;
}

// ---- device tree ----

enum { PH_CPU0 = 0x1000, PH_INTC0 = 0x2000 }; // phandles

void riscv_fdt_chosen(const struct riscv_boot *b, const char *console, struct fdt_out *o)
{
    const struct machine_config *c = &b->m->config;
    uint8_t seed[32];
    fdt_out_node(o, "chosen");
    if (c->append)
        fdt_out_str(o, "bootargs", c->append);
    if (b->initrd_len) {
        fdt_out_u64(o, "linux,initrd-start", b->initrd);
        fdt_out_u64(o, "linux,initrd-end", b->initrd + b->initrd_len);
    }
    fdt_out_str(o, "stdout-path", console);
    if (getrandom(seed, sizeof seed, 0) == sizeof seed)
        fdt_out_bytes(o, "rng-seed", seed, sizeof seed);
    fdt_out_end(o);
    numa_fdt_memory(b->m, o);
}

static void put_isa(const struct rv_cpu *cpu, struct fdt_out *o)
{
    char text[1024];
    rv_isa_string(cpu, text, sizeof text);
    fdt_out_str(o, "riscv,isa", text);
    fdt_out_str(o, "riscv,isa-base", cpu->rv32 ? "rv32i" : "rv64i");
    fdt_out_bytes(o, "riscv,isa-extensions", text, rv_isa_extensions(cpu, text, sizeof text));
    static const struct {
        uint8_t feature;
        const char *name;
    } blocks[] = {{RV_FEAT_ZICBOM, "riscv,cbom-block-size"},
                  {RV_FEAT_ZICBOP, "riscv,cbop-block-size"},
                  {RV_FEAT_ZICBOZ, "riscv,cboz-block-size"}};
    for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++)
        if (rv_has(cpu, blocks[i].feature))
            fdt_out_cells(o, blocks[i].name, RV_CACHE_BLOCK);
    const char *mmu = rv_has(cpu, RV_FEAT_SV57)   ? "riscv,sv57"
                      : rv_has(cpu, RV_FEAT_SV48) ? "riscv,sv48"
                      : rv_has(cpu, RV_FEAT_SV39) ? "riscv,sv39"
                      : rv_has(cpu, RV_FEAT_SV32) ? "riscv,sv32"
                                                  : "riscv,none";
    fdt_out_str(o, "mmu-type", mmu);
}

static void put_cpu_map(const struct machine_config *c, struct fdt_out *o)
{
    unsigned cpu = 0;
    fdt_out_node(o, "cpu-map");
    for (unsigned s = 0; s < c->sockets && cpu < c->cpus; s++) {
        unsigned per_socket = c->clusters * c->cores * c->threads;
        fdt_out_node(o, "cluster%u", s);
        for (unsigned n = 0; n < per_socket && cpu < c->cpus; n++) {
            fdt_out_node(o, "core%u", n);
            fdt_out_cells(o, "cpu", PH_CPU0 + cpu++);
            fdt_out_end(o);
        }
        fdt_out_end(o);
    }
    fdt_out_end(o);
}

void riscv_fdt_cpus(struct machine *m, struct fdt_out *o)
{
    fdt_out_node(o, "cpus");
    fdt_out_cells(o, "#address-cells", 1);
    fdt_out_cells(o, "#size-cells", 0);
    fdt_out_cells(o, "timebase-frequency", RV_TIMEBASE_HZ);
    for (unsigned i = 0; i < m->vcpus->n; i++) {
        fdt_out_node(o, "cpu@%u", i);
        fdt_out_str(o, "device_type", "cpu");
        fdt_out_cells(o, "reg", i);
        fdt_out_str(o, "status", "okay");
        fdt_out_str(o, "compatible", "riscv");
        put_isa(rv_cpu(m->vcpus->v[i]->env), o);
        numa_fdt_cpu(m, i, o);
        fdt_out_cells(o, "phandle", PH_CPU0 + i);
        fdt_out_node(o, "interrupt-controller");
        fdt_out_cells(o, "#interrupt-cells", 1);
        fdt_out_empty(o, "interrupt-controller");
        fdt_out_str(o, "compatible", "riscv,cpu-intc");
        fdt_out_cells(o, "phandle", PH_INTC0 + i);
        fdt_out_end(o);
        fdt_out_end(o);
    }
    put_cpu_map(&m->config, o);
    fdt_out_end(o);
}

void riscv_fdt_targets(const struct machine *m, unsigned a, unsigned b, struct fdt_out *o)
{
    unsigned harts = m->vcpus->n, n = 0;
    uint32_t *cells = xcalloc(harts, 4 * sizeof *cells);
    for (unsigned i = 0; i < harts; i++) {
        cells[n++] = PH_INTC0 + i;
        cells[n++] = a;
        if (b) {
            cells[n++] = PH_INTC0 + i;
            cells[n++] = b;
        }
    }
    fdt_out_cells_n(o, "interrupts-extended", cells, n);
    free(cells);
}

void riscv_fdt_clint(const struct machine *m, gpa_t base, struct fdt_out *o)
{
    static const char compatible[] = "sifive,clint0\0riscv,clint0";
    fdt_out_node(o, "clint@%llx", (unsigned long long)base);
    fdt_out_bytes(o, "compatible", compatible, sizeof compatible);
    fdt_out_reg(o, base, 0x10000);
    riscv_fdt_targets(m, RV_INT_MSI, RV_INT_MTI, o);
    fdt_out_end(o);
}
