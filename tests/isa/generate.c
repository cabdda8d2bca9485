// See generate.h. Instructions are drawn evenly from the rows of the decode table.
#include "generate.h"

#include "base/bits.h"

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint64_t rng_interesting(struct rng *r)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     ~0ull,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x100000000,
                                     0xff,
                                     0x8000,
                                     0x3ff0000000000000,
                                     0x41dfffffffc00000,
                                     0x43e0000000000000,
                                     0x7ff0000000000000,
                                     0x7ff8000000000001,
                                     0x7ff0000000000001,
                                     0x3f8000007f800000,
                                     0x7fc000017f800001,
                                     0x0000000100000001,
                                     0x7c003c007e017c01};
    switch (rng_below(r, 4)) {
    case 0:
        return edges[rng_below(r, ARRAY_SIZE(edges))];
    case 1:
        return rng_next(r) >> rng_below(r, 64);
    default:
        return rng_next(r);
    }
}

uint64_t rng_fp(struct rng *r, unsigned bits)
{
    unsigned exp_bits = bits == 16 ? 5 : bits == 32 ? 8 : 11, frac_bits = bits - 1 - exp_bits;
    uint64_t max = mask_low(exp_bits), exp = rng_next(r) & max, frac = rng_next(r);
    switch (rng_below(r, 5)) {
    case 0:
        exp = rng_below(r, 2) ? rng_below(r, 3) : max - rng_below(r, 3);
        break;
    case 1:
    case 2:
        exp = max / 2 + rng_below(r, bits == 16 ? 10 : 70) - 5;
        break;
    default:
        break;
    }
    if (rng_below(r, 2))
        frac = rng_below(r, 2) ? ~0ull << rng_below(r, frac_bits + 1) : rng_below(r, 4);
    return (rng_next(r) & 1) << (bits - 1) | (exp & max) << frac_bits |
           (frac & mask_low(frac_bits));
}

uint64_t rng_packed_fp(struct rng *r)
{
    unsigned bits = 16u << rng_below(r, 4);
    uint64_t v = 0;
    if (bits > 64)
        return rng_interesting(r);
    for (unsigned at = 0; at < 64; at += bits)
        v |= rng_fp(r, bits) << at;
    return v;
}

void generate_window(uint8_t *window, struct rng *r)
{
    for (unsigned n = 0; n < WINDOW_SIZE; n += 8)
        st_le64(window + n, rng_below(r, 2) ? rng_interesting(r) : rng_packed_fp(r));
}

// ---- what to draw from ----

static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at && (at = strstr(at, name)); at += n)
        if ((at == list || at[-1] == ',') && (!at[n] || at[n] == ','))
            return true;
    return false;
}

void pool_fill(struct pool *p, const struct diff_guest *g, struct env *e, const char *only,
               const char *without)
{
    p->n = 0;
    for (unsigned id = 1; id < g->ids; id++) {
        const struct decode_info *i = &g->info[id];
        bool wanted =
            !only || strstr(i->name, only) || strstr(i->cls, only) || strstr(i->group, only);
        if (wanted && g->drawn(e, id) && !listed(without, i->name))
            p->ids[p->n++] = (uint16_t)id;
    }
}

// ---- sequences ----

void unit_add(struct unit *u, uint32_t word, unsigned bytes)
{
    BUG_ON(u->size + bytes > UNIT_BYTES);
    for (unsigned n = 0; n < bytes; n++)
        u->code[u->size++] = (uint8_t)(word >> 8 * n);
}

void generate(struct sequence *s, const struct diff_guest *g, struct env *e, const struct pool *p,
              struct rng *r, unsigned units)
{
    memset(s, 0, sizeof *s);
    s->reserved = p->reserved;
    g->begin(e, s, r);
    unsigned room = CODE_STRIDE - 2 * UNIT_BYTES; // for the units themselves
    for (unsigned used = 0; s->n < MIN(units, (unsigned)MAX_UNITS) && used + UNIT_BYTES <= room;) {
        struct unit *u = &s->units[s->n];
        uint64_t config = s->config;
        *u = (struct unit){.id = p->ids[rng_below(r, p->n)]};
        if (!g->unit(e, s, u, u->id, r)) {
            s->config = config;
            continue;
        }
        used += u->size;
        s->n++;
    }
    for (unsigned n = 0; n < s->n; n++)
        s->units[n].target = n + 1 + rng_below(r, MIN(3u, s->n - n));
    if (g->end_with)
        g->end_with(e, s);
    unit_add(&s->after, g->end, 4);
}

static void place_unit(const struct unit *u, const struct diff_guest *g, uint8_t *code, bool drop,
                       int32_t distance)
{
    memcpy(code, u->code, u->size);
    if (u->pointing) {
        uint8_t *at = code + u->pointing - 1;
        st_le32(at, g->point(ld_le32(at), distance - (int32_t)(u->pointing - 1)));
    }
    for (unsigned n = 0; drop && n < u->size; n += g->nop_bytes)
        for (unsigned b = 0; b < g->nop_bytes; b++)
            code[n + b] = (uint8_t)(g->nop >> 8 * b);
}

void sequence_place(const struct sequence *s, const struct diff_guest *g, uint64_t va,
                    uint32_t drop, uint8_t *code)
{
    unsigned start[MAX_UNITS + 1] = {s->before.size};
    for (unsigned n = 0; n < s->n; n++)
        start[n + 1] = start[n] + s->units[n].size;
    memcpy(code, s->before.code, s->before.size);
    for (unsigned n = 0; n < s->n; n++) {
        const struct unit *u = &s->units[n];
        int32_t to = u->literal ? (int32_t)(WINDOW_VA + (int64_t)u->literal - (int64_t)va)
                                : (int32_t)start[u->target];
        place_unit(u, g, code + start[n], drop >> n & 1, to - (int32_t)start[n]);
    }
    memcpy(code + start[s->n], s->after.code, s->after.size);
}
