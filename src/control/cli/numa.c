// -numa: nodes with their memory and CPUs, and the distances between them. Not there: the
// heterogeneous memory attributes (hmat-lb, hmat-cache).
#include "control/cli/internal.h"

#include <stdio.h>
#include <stdlib.h>

struct reading {
    struct machine_numa *n;
    const struct machine_config *m;
    bool given[NUMA_NODES]; // the node was named
    bool sized;             // some node says how much memory it has
    bool placed[NUMA_CPUS]; // the CPU was named
    bool any_placed, any_dist;
};

static int read_node_number(struct reading *r, struct opts *o, const char *key, uint64_t *node,
                            struct err *e)
{
    if (opts_get_u64(o, key, node, e))
        return -1;
    return *node >= NUMA_NODES ? err_set(e, "%s=%llu: nodes go from 0 to %d", key,
                                         (unsigned long long)*node, NUMA_NODES - 1)
                               : 0;
}

static int place(struct reading *r, uint64_t cpu, uint64_t node, struct err *e)
{
    if (cpu >= r->m->max_cpus)
        return err_set(e, "CPU %llu is beyond the machine's %u", (unsigned long long)cpu,
                       r->m->max_cpus);
    if (r->placed[cpu] && r->n->node_of_cpu[cpu] != node)
        return err_set(e, "CPU %llu is in node %u already", (unsigned long long)cpu,
                       r->n->node_of_cpu[cpu]);
    r->placed[cpu] = r->any_placed = true;
    r->n->node_of_cpu[cpu] = (uint8_t)node;
    return 0;
}

// "3" or "0-3"
static int place_range(struct reading *r, const char *text, uint64_t node, struct err *e)
{
    unsigned first, last;
    int used = 0, n = sscanf(text, "%u%n-%u%n", &first, &used, &last, &used);
    if (n < 1 || text[used] || (n == 2 && last < first))
        return err_set(e, "cpus=%s: give FIRST or FIRST-LAST", text);
    for (unsigned i = first; i <= (n == 2 ? last : first); i++)
        if (place(r, i, node, e))
            return -1;
    return 0;
}

static int read_node_memory(struct reading *r, struct vm *vm, struct opts *o, uint64_t node,
                            struct err *e)
{
    const char *dev = opts_get(o, "memdev");
    if (dev && opts_has(o, "mem"))
        return err_set(e, "give either mem or memdev");
    if (dev) {
        struct object *obj = object_find(&vm->objects, dev);
        const struct memory_backend *b = obj ? object_memory(obj) : NULL;
        if (!b)
            return err_set(e, "memdev=%s: no memory object has this id", dev);
        r->n->mem[node] = b->size;
    }
    r->sized |= dev || opts_has(o, "mem");
    return opts_get_size(o, "mem", &r->n->mem[node], MiB, e);
}

static int read_node(struct reading *r, struct vm *vm, struct opts *o, struct err *e)
{
    static const char *const known[] = {"type", "nodeid", "mem", "memdev", "cpus", NULL};
    uint64_t node = 0;
    while (node < NUMA_NODES && r->given[node])
        node++;
    if (node == NUMA_NODES && !opts_has(o, "nodeid"))
        return err_set(e, "there are at most %d nodes", NUMA_NODES);
    if (read_node_number(r, o, "nodeid", &node, e))
        return -1;
    if (r->given[node])
        return err_set(e, "node %llu is there already", (unsigned long long)node);
    r->given[node] = true;
    r->n->n = MAX(r->n->n, (unsigned)node + 1);
    for (size_t i = 0; i < o->len; i++) {
        if (strcmp(o->data[i].key, "cpus") && strncmp(o->data[i].key, "cpus.", 5))
            continue;
        o->data[i].used = true;
        if (place_range(r, o->data[i].val, node, e))
            return -1;
    }
    return read_node_memory(r, vm, o, node, e) || opts_check_unused(o, "node", known, e) ? -1 : 0;
}

static int read_distance(struct reading *r, struct opts *o, struct err *e)
{
    static const char *const known[] = {"type", "src", "dst", "val", NULL};
    uint64_t src = NUMA_NODES, dst = NUMA_NODES, val = 0;
    if (read_node_number(r, o, "src", &src, e) || read_node_number(r, o, "dst", &dst, e) ||
        opts_get_u64(o, "val", &val, e) || opts_check_unused(o, "dist", known, e))
        return -1;
    if (src >= r->n->n || dst >= r->n->n)
        return err_set(e, "dist: name the nodes src and dst, which are given before");
    if (val < 10 || val > 255 || (src == dst) != (val == 10))
        return err_set(e, "dist: val goes from 11 to 255, and is 10 from a node to itself");
    r->n->distance[src][dst] = (uint8_t)val;
    r->any_dist = true;
    return 0;
}

// Every CPU whose place in the topology agrees with what is said.
static int read_cpu(struct reading *r, struct opts *o, struct err *e)
{
    static const char *const known[] = {"type",    "node-id",   "socket-id", "cluster-id",
                                        "core-id", "thread-id", NULL};
    const struct machine_config *m = r->m;
    uint64_t node = NUMA_NODES;
    const unsigned below[4] = {m->clusters * m->cores * m->threads, m->cores * m->threads,
                               m->threads, 1};
    const unsigned of[4] = {m->sockets, m->clusters, m->cores, m->threads};
    uint64_t want[4];
    for (unsigned i = 0; i < 4; i++) {
        want[i] = UINT64_MAX;
        if (opts_get_u64(o, known[2 + i], &want[i], e))
            return -1;
    }
    if (read_node_number(r, o, "node-id", &node, e) || opts_check_unused(o, "cpu", known, e))
        return -1;
    if (node >= r->n->n)
        return err_set(e, "cpu: give node-id, a node given before");
    bool any = false;
    for (unsigned cpu = 0; cpu < m->max_cpus; cpu++) {
        bool fits = true;
        for (unsigned i = 0; i < 4; i++)
            fits &= want[i] == UINT64_MAX || want[i] == cpu / below[i] % of[i];
        if (fits && place(r, cpu, node, e))
            return -1;
        any |= fits;
    }
    return any ? 0 : err_set(e, "cpu: no CPU has this place");
}

static int read_one(struct reading *r, struct vm *vm, struct opts *o, struct err *e)
{
    static const char *const types[] = {"node", "dist", "cpu", NULL};
    const char *type = opts_get(o, "type");
    if (type && !strcmp(type, "node"))
        return read_node(r, vm, o, e);
    if (type && !strcmp(type, "dist"))
        return read_distance(r, o, e);
    if (type && !strcmp(type, "cpu"))
        return read_cpu(r, o, e);
    err_set(e, "%s: there are node, dist and cpu", type ? type : "");
    return err_did_you_mean(e, type ? type : "", types);
}

// Memory that nobody distributed is in equal parts of whole 8 MiB, the last taking the rest.
static int settle_memory(struct reading *r, struct err *e)
{
    struct machine_numa *n = r->n;
    uint64_t sum = 0, left = r->m->ram_size;
    for (unsigned i = 0; i < n->n; i++) {
        if (!r->sized)
            n->mem[i] = i + 1 == n->n ? left : r->m->ram_size / n->n & ~(8 * MiB - 1);
        left -= MIN(left, n->mem[i]);
        sum += n->mem[i];
    }
    return sum == r->m->ram_size ? 0
                                 : err_set(e,
                                           "the nodes have %llu MiB of memory together, the "
                                           "machine has %llu MiB (-m)",
                                           (unsigned long long)(sum / MiB),
                                           (unsigned long long)(r->m->ram_size / MiB));
}

// CPUs that nobody placed follow their sockets; beside placed ones they are in node 0.
static void settle_cpus(struct reading *r)
{
    const struct machine_config *m = r->m;
    unsigned per_socket = m->clusters * m->cores * m->threads;
    for (unsigned i = 0; i < m->max_cpus; i++)
        if (!r->placed[i])
            r->n->node_of_cpu[i] = r->any_placed ? 0 : (uint8_t)(i / per_socket % r->n->n);
}

static int settle_distances(struct reading *r, struct err *e)
{
    struct machine_numa *n = r->n;
    for (unsigned i = 0; i < n->n; i++)
        for (unsigned k = 0; k < n->n; k++) {
            uint8_t *d = &n->distance[i][k];
            if (!*d)
                *d = i == k ? 10 : n->distance[k][i];
            if (!*d && r->any_dist)
                return err_set(e, "dist: the distance from node %u to %u is missing", i, k);
            if (!*d)
                *d = 20;
        }
    n->has_distances = r->any_dist;
    return 0;
}

int cli_read_numa(struct cmdline *c, struct vm *vm, const struct machine_config *m,
                  struct machine_numa *n, struct err *e)
{
    struct reading *r = xalloc(sizeof *r);
    r->n = n;
    r->m = m;
    int bad = m->max_cpus > NUMA_CPUS ? err_set(e, "there are too many CPUs") : 0;
    for (size_t i = 0; i < c->numas.len && !bad; i++)
        bad = read_one(r, vm, &c->numas.data[i], e);
    for (unsigned i = 0; i < n->n && !bad; i++)
        bad = r->given[i] ? 0 : err_set(e, "node %u is missing below node %u", i, n->n - 1);
    if (!bad && !n->n)
        bad = err_set(e, "give a node first (-numa node)");
    bad = bad || settle_memory(r, e) || settle_distances(r, e);
    if (!bad)
        settle_cpus(r);
    free(r);
    return bad ? err_prefix(e, "-numa") : 0;
}
