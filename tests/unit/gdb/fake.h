// A machine small enough to debug: some vCPUs whose only instruction moves the program counter on
// by 4, in 64 KiB of memory, with AArch64's core registers. An instruction at STORE_PC writes
// STORE_ADDR.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
#include "gdb/gdb.h"

#define FAKE_CPUS  3
#define FAKE_REGS  34 // x0..x30, sp, pc, cpsr
#define FAKE_MEM   0x10000
#define STORE_PC   0x1800
#define STORE_ADDR 0x9000
enum { REG_SP = 31, REG_PC = 32, REG_CPSR = 33 };

struct fake {
    struct loop *loop;
    struct gdb_stub *stub;
    uint64_t regs[FAKE_CPUS][FAKE_REGS];
    uint8_t mem[FAKE_MEM];
    enum gdb_action action[FAKE_CPUS];
    bool running, killed;
    unsigned stops, resumes;
    struct {
        bool on;
        enum gdb_point kind;
        uint64_t addr, len;
    } points[8];
    struct loop_work work;
};

static inline unsigned fake_n_cpus(void *t)
{
    return FAKE_CPUS;
}
static inline void fake_cpu_text(void *t, unsigned cpu, struct buf *out)
{
    buf_printf(out, "CPU#%u [fake]", cpu);
}
static inline unsigned fake_n_regs(void *t)
{
    return FAKE_REGS;
}
static inline size_t fake_read_reg(void *t, unsigned cpu, unsigned reg, uint8_t *out)
{
    struct fake *f = t;
    if (reg >= FAKE_REGS)
        return 0;
    size_t n = reg == REG_CPSR ? 4 : 8;
    memcpy(out, &f->regs[cpu][reg], n);
    return n;
}
static inline size_t fake_write_reg(void *t, unsigned cpu, unsigned reg, const uint8_t *in,
                                    size_t len)
{
    struct fake *f = t;
    size_t n = reg == REG_CPSR ? 4 : 8;
    if (reg >= FAKE_REGS || len < n)
        return 0;
    memcpy(&f->regs[cpu][reg], in, n);
    return n;
}
static inline void fake_set_pc(void *t, unsigned cpu, uint64_t pc)
{
    ((struct fake *)t)->regs[cpu][REG_PC] = pc;
}
// Physical memory is seen 0x100000 higher.
static inline size_t fake_span(enum gdb_memory m, uint64_t *addr, size_t n)
{
    if (m == GDB_PHYSICAL)
        *addr -= 0x100000;
    return *addr >= FAKE_MEM ? 0 : MIN(n, FAKE_MEM - *addr);
}
static inline size_t fake_read_mem(void *t, unsigned cpu, enum gdb_memory m, uint64_t addr,
                                   void *dst, size_t n)
{
    n = fake_span(m, &addr, n);
    memcpy(dst, ((struct fake *)t)->mem + (n ? addr : 0), n);
    return n;
}
static inline size_t fake_write_mem(void *t, unsigned cpu, enum gdb_memory m, uint64_t addr,
                                    const void *src, size_t n)
{
    n = fake_span(m, &addr, n);
    memcpy(((struct fake *)t)->mem + (n ? addr : 0), src, n);
    return n;
}
static inline int fake_insert(void *t, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    struct fake *f = t;
    if (kind == GDB_READ_WATCH)
        return -2;
    for (size_t i = 0; i < ARRAY_SIZE(f->points); i++)
        if (!f->points[i].on) {
            f->points[i].on = true;
            f->points[i].kind = kind;
            f->points[i].addr = addr;
            f->points[i].len = len;
            return 0;
        }
    return -1;
}
static inline int fake_remove(void *t, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    struct fake *f = t;
    for (size_t i = 0; i < ARRAY_SIZE(f->points); i++)
        if (f->points[i].on && f->points[i].kind == kind && f->points[i].addr == addr) {
            f->points[i].on = false;
            return 0;
        }
    return -1;
}
static inline unsigned fake_n_points(struct fake *f)
{
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(f->points); i++)
        n += f->points[i].on;
    return n;
}
static inline void fake_report(struct fake *f, struct gdb_stop s)
{
    f->running = false;
    f->stops++;
    gdb_stub_stopped(f->stub, &s);
}

// A watched store stops the machine before it happens, as on Arm.
static inline bool fake_watched(struct fake *f, unsigned cpu)
{
    for (size_t i = 0; i < ARRAY_SIZE(f->points); i++)
        if (f->points[i].on && f->points[i].kind == GDB_WRITE_WATCH &&
            f->points[i].addr == STORE_ADDR) {
            fake_report(f, (struct gdb_stop){.cpu = cpu,
                                             .why = GDB_STOP_WATCH,
                                             .watch = GDB_WRITE_WATCH,
                                             .address = STORE_ADDR});
            return true;
        }
    return false;
}

// One instruction of a vCPU; true when it stopped the machine.
static inline bool fake_insn(struct fake *f, unsigned cpu)
{
    uint64_t *pc = &f->regs[cpu][REG_PC];
    if (*pc == STORE_PC) {
        if (fake_watched(f, cpu))
            return true;
        st_le64(f->mem + STORE_ADDR, 0x5709ed);
    }
    *pc = (*pc + 4) % FAKE_MEM;
    bool hit = f->action[cpu] == GDB_STEP;
    for (size_t i = 0; i < ARRAY_SIZE(f->points); i++)
        hit |=
            f->points[i].on && f->points[i].kind <= GDB_HARDWARE_BREAK && f->points[i].addr == *pc;
    if (hit)
        fake_report(f, (struct gdb_stop){.cpu = cpu, .why = GDB_STOP_TRAP});
    return hit;
}
static inline void fake_run(void *opaque)
{
    struct fake *f = opaque;
    for (int i = 0; i < 1000 && f->running; i++)
        for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++)
            if (f->action[cpu] != GDB_STAY && fake_insn(f, cpu))
                return;
    if (f->running)
        loop_defer(&f->work);
}
static inline void fake_resume(void *t, const enum gdb_action *actions, unsigned n)
{
    struct fake *f = t;
    assert_int_equal(n, FAKE_CPUS);
    assert_false(f->running);
    memcpy(f->action, actions, sizeof f->action);
    f->running = true;
    f->resumes++;
    loop_defer(&f->work);
}
static inline void fake_stop(void *t)
{
    fake_report(t, (struct gdb_stop){.cpu = 0, .why = GDB_STOP_REQUEST});
}
static inline const char *fake_xml(void *t, const char *annex)
{
    static char core[4096];
    if (!strcmp(annex, "target.xml"))
        return "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
               "<target><architecture>aarch64</architecture>"
               "<xi:include href=\"core.xml\"/></target>";
    if (strcmp(annex, "core.xml"))
        return NULL;
    int n = sprintf(core, "<?xml version=\"1.0\"?><feature name=\"org.gnu.gdb.aarch64.core\">");
    for (int i = 0; i < 31; i++)
        n += sprintf(core + n, "<reg name=\"x%d\" bitsize=\"64\"/>", i);
    sprintf(core + n, "<reg name=\"sp\" bitsize=\"64\" type=\"data_ptr\"/>"
                      "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/>"
                      "<reg name=\"cpsr\" bitsize=\"32\"/></feature>");
    return core;
}
static inline void fake_monitor(void *t, const char *command, struct buf *out)
{
    buf_printf(out, "you said '%s'\n", command);
    if (!strcmp(command, "long"))
        for (int i = 0; i < 500; i++)
            buf_printf(out, "line %d\n", i);
}
static inline void fake_kill(void *t)
{
    ((struct fake *)t)->killed = true;
}
static const struct gdb_target_ops fake_ops = {
    .n_cpus = fake_n_cpus,
    .cpu_text = fake_cpu_text,
    .n_regs = fake_n_regs,
    .read_reg = fake_read_reg,
    .write_reg = fake_write_reg,
    .set_pc = fake_set_pc,
    .read_mem = fake_read_mem,
    .write_mem = fake_write_mem,
    .insert = fake_insert,
    .remove = fake_remove,
    .resume = fake_resume,
    .stop = fake_stop,
    .xml = fake_xml,
    .monitor = fake_monitor,
    .kill = fake_kill,
};

static inline struct fake *fake_new(struct loop *l)
{
    struct fake *f = xalloc(sizeof *f);
    f->loop = l;
    f->running = true;
    for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
        for (unsigned r = 0; r < 31; r++)
            f->regs[cpu][r] = 0x1000 * (cpu + 1) + r;
        f->regs[cpu][REG_SP] = 0x8000;
        f->regs[cpu][REG_PC] = 0x1000 + 0x1000 * cpu;
        f->regs[cpu][REG_CPSR] = 0x3c5;
    }
    for (unsigned i = 0; i < FAKE_MEM; i += 4)
        st_le32(f->mem + i, 0xd503201f); // nop
    loop_work_init(&f->work, l, fake_run, f);
    return f;
}
static inline void fake_free(struct fake *f)
{
    f->running = false;
    loop_work_cancel(&f->work);
    gdb_stub_close(f->stub);
    free(f);
}
