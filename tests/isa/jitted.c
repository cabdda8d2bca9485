// See jitted.h.
#include "jitted.h"
#include "state.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/buf.h"
#include "jit/jit.h"

#define USER_SIZE 0xc0000000ul
#define RAM_BASE  WINDOW_VA
enum { RAM_SIZE = 4 << 20, TABLE = RAM_SIZE - 8192 };

struct jitted {
    struct jit *jit;
    struct env *env;
    struct state_map map;
    struct ir_build build;
    struct ir_switches switches;
    unsigned size; // of the code; 0: to the end of its page
    uint8_t *user; // user mode: guest address 0
    struct ram *ram;
    struct space *space;
};

static bool translate(void *opaque, struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code,
                      unsigned avail, unsigned max_insns, struct ir_region *r)
{
    struct jitted *j = opaque;
    uint8_t crossing[4];
    if (!j->size && avail < sizeof crossing) { // an instruction may run into the next page
        avail = jit_fetch(e, pc, crossing, sizeof crossing);
        code = crossing;
    }
    region_build(&j->build, r, &j->switches, &j->map, pc, mode, code, j->size ? j->size : avail,
                 MIN(max_insns, 64u));
    return true;
}

static void put(struct jitted *j, uint64_t va, const void *from, size_t n)
{
    if (j->user)
        memcpy(j->user + va, from, n);
    else
        ram_write(j->ram, va - RAM_BASE, from, n);
}

// ---- switches ----

#define NAME_JIT_OFF(key) key,
#define NAME_JIT_ON(key)  key,
#define NAME_BUILD(key)   key,
#define NAME_NOTHING(key)
const char *const jitted_switches[] = {
#define OPTION(key, where, field, def, text) NAME_##where(key)
#include "accel/dbt_options.def"
#undef OPTION
    NULL};

#define SET_JIT_OFF(field) c->field = true
#define SET_JIT_ON(field)  c->field = true
#define SET_BUILD(field)   j->switches.field = false
#define SET_NOTHING(field)
static void turn(struct jitted *j, struct jit_config *c, const char *other)
{
#define OPTION(key, where, field, def, text)                                                       \
    if (!strcmp(other, key)) {                                                                     \
        SET_##where(field);                                                                        \
    }
#include "accel/dbt_options.def"
#undef OPTION
}

struct jitted *jitted_new(const struct diff_guest *g, const char *model, bool system,
                          bool plain_host, const char *other, struct err *e)
{
    struct jitted *j = xalloc(sizeof *j);
    struct jit_config c = {.guest = g->isa->guest,
                           .cpu_size = g->isa->cpu_size,
                           .max_vcpus = 1,
                           .user_mode = !system,
                           .translate = translate,
                           .baseline = plain_host,
                           .opaque = j};
    j->switches = ir_switches_all;
    j->switches.spans = system;
    if (other)
        turn(j, &c, other);
    if (system) {
        j->space = space_new("memory", UINT64_MAX);
        j->ram = ram_new("ram", RAM_SIZE, false, e);
        space_map_ram(j->space, "ram", RAM_BASE, j->ram, 0, RAM_SIZE, false, 0);
    } else {
        j->user =
            mmap(NULL, USER_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (j->user == MAP_FAILED ||
            mprotect(j->user + RAM_BASE, RAM_SIZE, PROT_READ | PROT_WRITE)) {
            err_set(e, "no memory for a guest");
            return NULL;
        }
        c.user_base = j->user;
    }
    j->jit = jit_new(&c, e);
    j->env = j->jit ? jit_vcpu_new(j->jit, 0, e) : NULL;
    if (!j->env || state_open(&j->map, g, j->env, model, j->space, e))
        return NULL;
    jit_thread_enter(j->env);
    g->isa->reset(j->env);
    g->isa->start(j->env, 0, 0, 0);
    if (system && g->map)
        g->map(j->env, j->ram, RAM_BASE, TABLE);
    return j;
}

void jitted_free(struct jitted *j)
{
    jit_thread_leave(j->env);
    state_close(&j->map);
    jit_vcpu_free(j->env);
    jit_free(j->jit);
    if (j->user) {
        munmap(j->user, USER_SIZE);
    } else {
        space_free(j->space);
        ram_free(j->ram);
    }
    free(j);
}

void jitted_load(struct jitted *j, const uint8_t *code, size_t code_size)
{
    jit_flush_all(j->jit);
    put(j, CODE_VA, code, code_size);
}

unsigned jitted_size(struct jitted *j, const uint8_t *code, unsigned bytes)
{
    struct jit_stats before, after;
    struct buf text = {0};
    j->size = bytes;
    jitted_load(j, code, bytes);
    jit_get_stats(j->jit, &before);
    jit_explain(j->env, CODE_VA, &text);
    jit_get_stats(j->jit, &after);
    buf_free(&text);
    return (unsigned)(after.host_bytes - before.host_bytes);
}

void jitted_run(struct jitted *j, const struct diff_state *start, uint8_t *window,
                struct diff_state *out)
{
    enum env_leave why = LEAVE_AGAIN;
    put(j, WINDOW_VA, window, WINDOW_SIZE);
    state_load(&j->map, start);
    for (unsigned n = 0; n < 100 && why != LEAVE_SIGNAL && why != LEAVE_SYSCALL; n++)
        why = jit_run(j->env);
    state_store(&j->map, why, out);
    if (j->user)
        memcpy(window, j->user + WINDOW_VA, WINDOW_SIZE);
    else
        ram_read(j->ram, 0, window, WINDOW_SIZE);
}

uint64_t jitted_differences(struct jitted *j)
{
    struct jit_stats s;
    jit_get_stats(j->jit, &s);
    return s.differences;
}
