// A guest CPU of a dozen instructions with a paged MMU, for tests of the run time: soft MMU, links,
// calls, self-modifying code, faults, several CPUs.
#pragma once

#include "../ir/guest.h"
#include "base/thread.h"
#include "jit/jit.h"
#include "memory/ram.h"
#include "memory/ram_host.h"
#include "memory/space.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { M_PAGES = 256, M_RAM = M_PAGES * 4096, M_CPUS = 4, M_MMIO = 0x10000000 };
enum { M_KERNEL = 128 }; // pages from here on are global

// Instructions: op, a, b, c, one byte each.
enum m_op {
    M_HALT,  // leave
    M_LI,    // xa = b | c << 8
    M_ADDI,  // xa = xb + (signed) c
    M_ADD,   // xa = xb + xc
    M_SUB,   // xa = xb - xc
    M_LD,    // xa = [xb + c * 8], 8 bytes
    M_ST,    // [xb + c * 8] = xa
    M_ST4,   // [xb + c] = low 32 bits of xa
    M_BNE,   // if xa != xb: pc += (signed) c * 4
    M_BLT,   // if xa < xb (signed)
    M_CALL,  // x7 = pc + 4; pc += (signed) (b | c << 8) * 4
    M_CALLR, // x7 = pc + 4; pc = xa
    M_RET,   // pc = x7
    M_JR,    // pc = xa
    M_FLUSH, // forget the translation of page xa everywhere, and wait
    M_CTX,   // address space = xa
    M_AADD,  // atomically [xb] += xc, old value in xa
    M_SHL,   // xa = xb << c
    M_ADR,   // xa = pc
};
#define I(op, a, b, c)                                                                             \
    ((uint32_t)(op) | (uint32_t)(a) << 8 | (uint32_t)((b)&0xff) << 16 | (uint32_t)((c)&0xff) << 24)

struct m_pte {
    uint32_t page;
    uint8_t perms;
};
struct machine {
    struct jit *jit;
    struct ram *ram;
    struct space *space;
    struct test_cpu *cpu[M_CPUS];
    struct ir_build build[M_CPUS];
    struct m_pte map[4][M_PAGES]; // [address space][virtual page]
    unsigned page_size;
    uint64_t reach;         // addresses from here on fault; the map repeats below
    struct env_fault fault; // the last one taken
    unsigned faults, walks;
    uint64_t handler; // pc faults go to; 0: the CPU stops
    uint64_t mmio;    // the register at M_MMIO
    uint64_t mode;
    void (*on_translate)(uint64_t pc, const uint8_t *code); // its bytes are about to be read
};
static uint64_t m_next_mode; // of machines opened from now on
static struct machine *m_of(struct env *e)
{
    return e->vcpu;
}

static uint64_t m_mode(struct env *e)
{
    return m_of(e)->mode;
}
static int m_translate(struct env *e, gva_t va, enum env_access access, unsigned mmu,
                       struct env_xlat *x, struct env_fault *f)
{
    struct machine *m = m_of(e);
    struct test_cpu *c = (struct test_cpu *)e;
    atomic_fetch_add((_Atomic unsigned *)&m->walks, 1);
    *x = (struct env_xlat){.page_size = 4096, .space = m->space, .perms = ENV_READ | ENV_WRITE};
    if (va == M_MMIO) {
        x->pa = va;
        return 0;
    }
    const struct m_pte *p = &m->map[va >> 12 >= M_KERNEL ? 0 : c->w & 3][va >> 12 & (M_PAGES - 1)];
    if (va >= m->reach || !(p->perms & access)) {
        *f = (struct env_fault){.va = va, .access = (uint8_t)access, .kind = 1};
        return -1;
    }
    x->pa = (gpa_t)p->page << 12 | (va & 4095);
    x->perms = p->perms;
    x->global = va >> 12 >= M_KERNEL;
    return 0;
}
static void m_bus_fault(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                        struct env_fault *f)
{
    *f = (struct env_fault){.va = va, .access = (uint8_t)access, .kind = 2};
}
static void m_align_fault(struct env *e, gva_t va, enum env_access access, unsigned mo,
                          struct env_fault *f)
{
    *f = (struct env_fault){.va = va, .access = (uint8_t)access, .kind = 3};
}
static void m_take_fault(struct env *e, const struct env_fault *f)
{
    struct machine *m = m_of(e);
    struct test_cpu *c = (struct test_cpu *)e;
    m->fault = *f;
    m->faults++;
    c->x[6] = c->pc;
    c->pc = m->handler;
}
static const struct env_isa_ops m_isa = {.mode = m_mode,
                                         .translate = m_translate,
                                         .bus_fault = m_bus_fault,
                                         .align_fault = m_align_fault,
                                         .take_fault = m_take_fault,
                                         .ctx_space_mask = 3};

static void help_flush(struct env *e, uint64_t va)
{
    struct env_flush f = {.va = va & ~4095ull, .len = 4096};
    e->exec->flush(e, &f, true);
    e->exec->sync(e);
    ((struct test_cpu *)e)->pc += 4;
}
static const struct ir_helper flush_page = {.name = "flush",
                                            .fn = (void *)help_flush,
                                            .flags = HELPER_STATE | HELPER_ENDS,
                                            .n_args = 1,
                                            .args = {IR_I64}};
static void help_ctx(struct env *e, uint64_t ctx)
{
    struct test_cpu *c = (struct test_cpu *)e;
    c->w = (uint32_t)ctx;
    e->exec->set_context(e, 0, ctx);
    c->pc += 4;
}
static const struct ir_helper set_ctx = {.name = "ctx",
                                         .fn = (void *)help_ctx,
                                         .flags = HELPER_STATE | HELPER_ENDS,
                                         .n_args = 1,
                                         .args = {IR_I64}};

static void m_lift(struct ir_build *b, uint64_t pc, const uint8_t *code)
{
    const uint32_t word = __atomic_load_n((const uint32_t *)(const void *)code, __ATOMIC_RELAXED);
    const uint8_t in[4] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16),
                           (uint8_t)(word >> 24)};
    unsigned a = S_X0 + in[1], x = S_X0 + in[2], y = S_X0 + in[3];
    int64_t imm = (int8_t)in[3];
    ir_ref addr;
    switch (in[0]) {
    case M_LI:
        ir_put(b, a, ir_i64(b, in[2] | in[3] << 8));
        break;
    case M_ADDI:
        ir_put(b, a, ir_addi(b, ir_get(b, x), imm));
        break;
    case M_ADD:
        ir_put(b, a, ir_add(b, ir_get(b, x), ir_get(b, y)));
        break;
    case M_SUB:
        ir_put(b, a, ir_sub(b, ir_get(b, x), ir_get(b, y)));
        break;
    case M_ADR:
        ir_put(b, a, ir_pc(b, pc));
        break;
    case M_SHL:
        ir_put(b, a, ir_shli(b, ir_get(b, x), in[3]));
        break;
    case M_LD:
        addr = ir_addi(b, ir_get(b, x), imm * 8);
        ir_put(b, a, ir_load(b, IR_I64, addr, MO_64));
        break;
    case M_ST:
        addr = ir_addi(b, ir_get(b, x), imm * 8);
        ir_store(b, addr, ir_get(b, a), MO_64);
        break;
    case M_ST4:
        addr = ir_addi(b, ir_get(b, x), imm);
        ir_store(b, addr, ir_trunc(b, ir_get(b, a)), MO_32);
        break;
    case M_AADD:
        ir_put(b, a, ir_atomic(b, IR_amoadd, IR_I64, ir_get(b, x), ir_get(b, y), 0, MO_64));
        break;
    case M_BNE:
    case M_BLT:
        ir_branch_if(b, ir_cmp(b, in[0] == M_BNE ? CMP_NE : CMP_SLT, ir_get(b, a), ir_get(b, x)),
                     pc + (uint64_t)(imm * 4), pc + 4);
        break;
    case M_CALL:
        ir_put(b, S_X7, ir_pc(b, pc + 4));
        ir_callto(b, ir_pc(b, pc + (uint64_t)((int16_t)(in[2] | in[3] << 8) * 4)), pc + 4);
        break;
    case M_CALLR:
        addr = ir_get(b, a);
        ir_put(b, S_X7, ir_pc(b, pc + 4));
        ir_callto(b, addr, pc + 4);
        break;
    case M_RET:
        ir_ret(b, ir_get(b, S_X7));
        break;
    case M_JR:
        ir_indirect(b, ir_get(b, a));
        break;
    case M_FLUSH:
        ir_call(b, &flush_page, (ir_ref[]){ir_get(b, a)});
        break;
    case M_CTX:
        ir_call(b, &set_ctx, (ir_ref[]){ir_get(b, a)});
        break;
    default:
        ir_leave(b, LEAVE_HALT, pc);
    }
}

static bool m_region(void *opaque, struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code,
                     unsigned avail, unsigned max_insns, struct ir_region *r)
{
    struct machine *m = opaque;
    struct ir_build *b = &m->build[e->cpu_index];
    unsigned n = 0;
    ir_region_reset(r, &test_guest, pc, mode);
    struct ir_switches on = ir_switches_all;
    on.spans = true;
    ir_build_begin(b, r, &on);
    if (m->on_translate)
        m->on_translate(pc, code);
    pc = r->pc;
    for (; n < max_insns && n < 32 && n * 4 < avail && !b->ended; n++) {
        ir_build_insn(b, pc + n * 4);
        m_lift(b, pc + n * 4, code + n * 4);
        if (b->follow)
            ir_build_end(b, b->follow_pc);
    }
    ir_build_end(b, pc + n * 4);
    r->n_bytes = n * 4;
    struct err err;
    if (ir_verify(r, &err))
        fail_msg("%s", err.msg);
    return true;
}

static enum mem_result m_mmio_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    *val = ((struct machine *)opaque)->mmio;
    return MEM_OK;
}
static enum mem_result m_mmio_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    ((struct machine *)opaque)->mmio = val;
    return MEM_OK;
}
static const struct mmio_ops m_mmio_ops = {.read = m_mmio_read, .write = m_mmio_write};

static inline struct machine *m_open(unsigned cpus, struct jit_config c)
{
    struct err err;
    struct machine *m = xalloc(sizeof *m);
    static struct mmio_guard guard;
    mmio_guard_init(&guard);
    m->ram = ram_new("ram", M_RAM, false, &err);
    assert_non_null(m->ram);
    m->space = space_new("memory", UINT64_MAX);
    space_map_ram(m->space, "ram", 0, m->ram, 0, M_RAM, false, 0);
    space_map_mmio(m->space, "reg", M_MMIO, 4096, &m_mmio_ops, m, &guard, 0);
    for (unsigned s = 0; s < 4; s++)
        for (unsigned k = 0; k < M_PAGES; k++)
            m->map[s][k] = (struct m_pte){k, ENV_READ | ENV_WRITE | ENV_EXEC};
    m->mode = m_next_mode;
    m->reach = M_RAM;
    c.guest = &test_guest;
    c.cpu_size = sizeof(struct test_cpu);
    c.max_vcpus = M_CPUS;
    c.translate = m_region;
    c.opaque = m;
    m->jit = jit_new(&c, &err);
    assert_non_null(m->jit);
    for (unsigned k = 0; k < cpus; k++) {
        m->cpu[k] = (struct test_cpu *)jit_vcpu_new(m->jit, k, &err);
        assert_non_null(m->cpu[k]);
        m->cpu[k]->env.isa = &m_isa;
        m->cpu[k]->env.vcpu = m;
    }
    return m;
}
static inline void m_close(struct machine *m)
{
    struct jit_stats stats;
    jit_get_stats(m->jit, &stats);
    assert_int_equal(stats.differences, 0);
    for (unsigned k = 0; k < M_CPUS; k++)
        if (m->cpu[k])
            jit_vcpu_free(&m->cpu[k]->env);
    jit_free(m->jit);
    space_free(m->space);
    ram_free(m->ram);
    free(m);
}
static inline void m_load(struct machine *m, uint64_t at, const uint32_t *code, size_t n)
{
    ram_write(m->ram, at, code, n * 4);
}
// On the calling thread until the CPU halts.
static inline enum env_leave m_run(struct machine *m, unsigned cpu, uint64_t pc)
{
    struct env *e = &m->cpu[cpu]->env;
    enum env_leave why;
    m->cpu[cpu]->pc = pc;
    jit_thread_enter(e);
    do {
        why = jit_run(e);
        if (why == LEAVE_INTERRUPT)
            atomic_store(&e->interrupt, 0);
    } while (why == LEAVE_AGAIN);
    jit_thread_leave(e);
    return why;
}
#define LOAD(m, at, ...)                                                                           \
    m_load(m, at, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

// In every way there is, over code that is translated for its address and code that may move.
static inline void m_run_all(void (*test)(struct jit_config c))
{
    static const uint64_t modes[] = {0, IR_MODE_MOVABLE};
    for (unsigned k = 0; k < ARRAY_SIZE(modes); k++) {
        m_next_mode = modes[k];
        test((struct jit_config){0});
        test((struct jit_config){.no_chain = true});
        test((struct jit_config){.no_returns = true});
        test((struct jit_config){.no_inline_lookup = true, .no_inline_tlb = true});
        test((struct jit_config){.interpret = true});
        test((struct jit_config){.verify = true});
        test((struct jit_config){.cache_size = 8 * MiB});
    }
}
