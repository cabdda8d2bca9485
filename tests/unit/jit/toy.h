// A guest for tests of the translator: the IR tests' CPU with a flat memory in user mode. Regions
// come from a function of the test instead of guest code.
#pragma once

#include "../ir/guest.h"
#include "base/buf.h"
#include "jit/jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { TOY_MEMORY = 1 << 20, TOY_CODE = 0x40000, TOY_DATA = 0x1000, TOY_DATA_SIZE = 0x1000 };

struct toy {
    struct jit *jit;
    struct test_cpu *cpu;
    uint8_t *memory;
    void (*make)(struct toy *t, struct ir_build *b, uint64_t pc);
    void *arg;
    struct ir_build build;
    struct ir_switches switches;
};

static uint64_t toy_mode(struct env *e)
{
    return 0;
}
static void toy_bus_fault(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                          struct env_fault *f)
{
    *f = (struct env_fault){.va = va, .access = (uint8_t)access, .kind = 1};
}
static void toy_align_fault(struct env *e, gva_t va, enum env_access access, unsigned mo,
                            struct env_fault *f)
{
    *f = (struct env_fault){.va = va, .access = (uint8_t)access, .kind = 2};
}
static const struct env_isa_ops toy_isa = {
    .mode = toy_mode, .bus_fault = toy_bus_fault, .align_fault = toy_align_fault};

static bool toy_translate(void *opaque, struct env *e, uint64_t pc, uint64_t mode,
                          const uint8_t *code, unsigned avail, unsigned max_insns,
                          struct ir_region *r)
{
    struct toy *t = opaque;
    ir_region_reset(r, &test_guest, pc, mode);
    ir_build_begin(&t->build, r, &t->switches);
    ir_build_insn(&t->build, pc);
    t->make(t, &t->build, pc);
    if (!t->build.ended)
        ir_leave(&t->build, LEAVE_YIELD, pc + 4);
    r->n_bytes = 4;
    struct err err;
    if (ir_verify(r, &err))
        fail_msg("%s", err.msg);
    return true;
}

static inline void toy_open(struct toy *t, struct jit_config c)
{
    struct err err;
    t->memory = mmap(NULL, TOY_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(t->memory, MAP_FAILED);
    c.guest = &test_guest;
    c.cpu_size = sizeof(struct test_cpu);
    c.max_vcpus = 1;
    c.user_mode = true;
    c.user_base = t->memory;
    c.translate = toy_translate;
    c.opaque = t;
    t->switches = ir_switches_all;
    t->jit = jit_new(&c, &err);
    assert_non_null(t->jit);
    t->cpu = (struct test_cpu *)jit_vcpu_new(t->jit, 0, &err);
    assert_non_null(t->cpu);
    t->cpu->env.isa = &toy_isa;
    jit_thread_enter(&t->cpu->env);
}

static inline void toy_close(struct toy *t)
{
    jit_thread_leave(&t->cpu->env);
    jit_vcpu_free(&t->cpu->env);
    jit_free(t->jit);
    munmap(t->memory, TOY_MEMORY);
}
