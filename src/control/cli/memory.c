// How much RAM the machine has and what host memory it is: -m, -mem-path, -mem-prealloc, and the
// memory objects that -machine memory-backend= and -numa memdev= name. Several objects become one
// block of RAM, which is then all as the most demanding of them asks.
#include "control/cli/internal.h"

static const struct memory_backend *find(struct vm *vm, const char *id, struct err *e)
{
    struct object *o = object_find(&vm->objects, id);
    struct memory_backend *b = o ? object_memory(o) : NULL;
    if (!b)
        err_set(e, "no memory object has the id '%s'", id);
    else
        b->used = true;
    return b;
}

static int add_backend(struct machine_config *m, const struct memory_backend *b, struct err *e)
{
    if (b->source.path && m->ram_source.path && strcmp(b->source.path, m->ram_source.path))
        return err_set(e, "the machine's RAM is one block and cannot be in both %s and %s",
                       m->ram_source.path, b->source.path);
    m->ram_source.path = b->source.path ? b->source.path : m->ram_source.path;
    m->ram_source.shared |= b->source.shared;
    m->ram_source.fill |= b->source.fill;
    return 0;
}

static int take_nodes(struct cmdline *c, struct vm *vm, struct machine_config *m, struct err *e)
{
    for (size_t i = 0; i < c->numas.len; i++) {
        const char *id = opts_get(&c->numas.data[i], "memdev");
        const struct memory_backend *b = id ? find(vm, id, e) : NULL;
        if (id && (!b || add_backend(m, b, e)))
            return err_prefix(e, "-numa memdev=%s", id);
    }
    return 0;
}

static int take_machine(struct cmdline *c, struct vm *vm, struct machine_config *m, struct err *e)
{
    const char *id = opts_get(&c->machine, "memory-backend");
    const struct memory_backend *b = id ? find(vm, id, e) : NULL;
    if (!id)
        return 0;
    if (!b || add_backend(m, b, e))
        return err_prefix(e, "-machine memory-backend=%s", id);
    if (m->ram_size && m->ram_size != b->size)
        return err_set(e,
                       "-machine memory-backend=%s: the object has %llu MiB, the machine %llu MiB "
                       "(-m)",
                       id, (unsigned long long)(b->size / MiB),
                       (unsigned long long)(m->ram_size / MiB));
    m->ram_size = b->size;
    return 0;
}

int cli_read_memory(struct cmdline *c, struct vm *vm, struct machine_config *m, struct err *e)
{
    static const char *const known[] = {"size", "slots", "maxmem", NULL};
    uint64_t slots = 0, max = 0;
    if (opts_get_size(&c->memory, "size", &m->ram_size, MiB, e) ||
        opts_get_u64(&c->memory, "slots", &slots, e) ||
        opts_get_size(&c->memory, "maxmem", &max, MiB, e) ||
        opts_check_unused(&c->memory, "-m", known, e))
        return err_prefix(e, "-m");
    m->ram_source.path = c->mem_path;
    m->ram_source.fill = c->mem_prealloc;
    return take_machine(c, vm, m, e) || take_nodes(c, vm, m, e) ? -1 : 0;
}
