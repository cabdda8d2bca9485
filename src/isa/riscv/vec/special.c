// Vector instructions that are not element by element: masks, permutations, and the moves between
// element 0 and scalar registers.
#include "isa/riscv/vec/vec.h"

#include "isa/riscv/vec/fp.h"

// ---- masks ----

static void mask_logic(struct rv_vec *v, uint32_t id)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw)), *b = rv_vreg(c, rv_vs1(v->raw));
    for (uint64_t i = c->vstart; i < v->vl; i++) {
        bool x = rv_vbit(a, i), y = rv_vbit(b, i), r;
        switch (id) {
        case RV_VMANDN_MM:
            r = x && !y;
            break;
        case RV_VMAND_MM:
            r = x && y;
            break;
        case RV_VMOR_MM:
            r = x || y;
            break;
        case RV_VMXOR_MM:
            r = x != y;
            break;
        case RV_VMORN_MM:
            r = x || !y;
            break;
        case RV_VMNAND_MM:
            r = !(x && y);
            break;
        case RV_VMNOR_MM:
            r = !(x || y);
            break;
        default:
            r = x == y;
            break;
        }
        rv_vset_bit(d, i, r);
    }
}

static bool active(const struct rv_vec *v, uint64_t i)
{
    return !v->masked || rv_vbit(v->c->v, i);
}

// vcpop and vfirst.
static void mask_count(struct rv_vec *v, uint32_t id)
{
    const uint8_t *a = rv_vreg(v->c, rv_vs2(v->raw));
    uint64_t count = 0, first = ~0ull;
    for (uint64_t i = v->vl; i-- > 0;)
        if (active(v, i) && rv_vbit(a, i)) {
            count++;
            first = i;
        }
    if (rv_vd(v->raw))
        v->c->x[rv_vd(v->raw)] = id == RV_VCPOP_M ? count : first;
}

static void mask_first(struct rv_vec *v, uint32_t id)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw));
    bool seen = false;
    for (uint64_t i = 0; i < v->vl; i++) {
        if (!active(v, i))
            continue;
        bool here = !seen && rv_vbit(a, i);
        bool r = id == RV_VMSOF_M ? here : id == RV_VMSIF_M ? !seen : !seen && !here;
        seen |= here;
        rv_vset_bit(d, i, r);
    }
}

static void iota(struct rv_vec *v, uint32_t id)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw));
    uint64_t sum = 0;
    for (uint64_t i = c->vstart; i < v->vl; i++) {
        if (!active(v, i))
            continue;
        rv_vput(d, v->sew, i, id == RV_VID_V ? i : sum);
        sum += id == RV_VIOTA_M && rv_vbit(a, i);
    }
}

// ---- permutations ----

static uint64_t group_elements(const struct rv_vec *v)
{
    return rv_vlmax(v->c, v->c->vtype);
}

static void slide_up(struct rv_vec *v, uint64_t by)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw));
    for (uint64_t i = MAX(c->vstart, by); i < v->vl; i++)
        if (active(v, i))
            rv_vput(d, v->sew, i, rv_vget(a, v->sew, i - by));
}

static void slide_down(struct rv_vec *v, uint64_t by)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw));
    uint64_t max = group_elements(v);
    for (uint64_t i = c->vstart; i < v->vl; i++)
        if (active(v, i))
            rv_vput(d, v->sew, i, by < max && i + by < max ? rv_vget(a, v->sew, i + by) : 0);
}

static void slide_one(struct rv_vec *v, bool up, uint64_t in)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw));
    for (uint64_t i = c->vstart; i < v->vl; i++) {
        if (!active(v, i))
            continue;
        if (up)
            rv_vput(d, v->sew, i, i ? rv_vget(a, v->sew, i - 1) : in);
        else
            rv_vput(d, v->sew, i, i + 1 < v->vl ? rv_vget(a, v->sew, i + 1) : in);
    }
}

// `index_size`: log2 of the bytes of vs1's elements; 4: one index for all.
static void gather(struct rv_vec *v, unsigned index_size, uint64_t index)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw)), *b = rv_vreg(c, rv_vs1(v->raw));
    uint64_t max = group_elements(v);
    for (uint64_t i = c->vstart; i < v->vl; i++) {
        uint64_t k = index_size < 4 ? rv_vget(b, index_size, i) : index;
        if (active(v, i))
            rv_vput(d, v->sew, i, k < max ? rv_vget(a, v->sew, k) : 0);
    }
}

static void compress(struct rv_vec *v)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    const uint8_t *a = rv_vreg(c, rv_vs2(v->raw)), *mask = rv_vreg(c, rv_vs1(v->raw));
    uint64_t n = 0;
    for (uint64_t i = 0; i < v->vl; i++)
        if (rv_vbit(mask, i))
            rv_vput(d, v->sew, n++, rv_vget(a, v->sew, i));
}

// ---- element 0 ----

static void scalar_move(struct rv_vec *v, uint32_t id)
{
    struct rv_cpu *c = v->c;
    uint8_t *d = rv_vreg(c, rv_vd(v->raw));
    unsigned n = rv_vs1(v->raw), to = rv_vd(v->raw);
    uint64_t first = rv_vget(rv_vreg(c, rv_vs2(v->raw)), v->sew, 0);
    bool put = c->vstart < v->vl;
    if (id == RV_VMV_X_S && to)
        c->x[to] = rv_vsext(first, c->narrow ? MIN(v->sew, 2u) : v->sew);
    else if (id == RV_VFMV_F_S)
        c->f[to] = v->sew == 3 ? first : first | ~mask_low(v->bits);
    else if (id == RV_VMV_S_X && put)
        rv_vput(d, v->sew, 0, c->x[n]);
    else if (id == RV_VFMV_S_F && put)
        rv_vput(d, v->sew, 0, rv_vf_scalar(v, n));
}

static void whole_move(struct rv_cpu *c, uint32_t id, uint32_t raw)
{
    size_t n = (size_t)c->vlenb << (id - RV_VMV1R_V);
    unsigned sew = (unsigned)bits(c->vtype, 4, 3);
    size_t from = (size_t)(c->vstart << sew);
    if (from < n)
        memmove(rv_vreg(c, rv_vd(raw)) + from, rv_vreg(c, rv_vs2(raw)) + from, n - from);
}

void rv_vec_special(struct env *e, uint32_t id, uint32_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    struct rv_vec v;
    unsigned n = rv_vs1(raw);
    rv_vec_begin(&v, c, raw);
    switch (id) {
    case RV_VMV1R_V ... RV_VMV8R_V:
        whole_move(c, id, raw);
        break;
    case RV_VMANDN_MM ... RV_VMXNOR_MM:
        mask_logic(&v, id);
        break;
    case RV_VCPOP_M:
    case RV_VFIRST_M:
        mask_count(&v, id);
        break;
    case RV_VMSBF_M:
    case RV_VMSOF_M:
    case RV_VMSIF_M:
        mask_first(&v, id);
        break;
    case RV_VIOTA_M:
    case RV_VID_V:
        iota(&v, id);
        break;
    case RV_VSLIDEUP_VX:
        slide_up(&v, c->x[n]);
        break;
    case RV_VSLIDEUP_VI:
        slide_up(&v, n);
        break;
    case RV_VSLIDEDOWN_VX:
        slide_down(&v, c->x[n]);
        break;
    case RV_VSLIDEDOWN_VI:
        slide_down(&v, n);
        break;
    case RV_VSLIDE1UP_VX:
    case RV_VSLIDE1DOWN_VX:
        slide_one(&v, id == RV_VSLIDE1UP_VX, c->x[n]);
        break;
    case RV_VFSLIDE1UP_VF:
    case RV_VFSLIDE1DOWN_VF:
        slide_one(&v, id == RV_VFSLIDE1UP_VF, rv_vf_scalar(&v, n));
        break;
    case RV_VRGATHER_VV:
        gather(&v, v.sew, 0);
        break;
    case RV_VRGATHEREI16_VV:
        gather(&v, 1, 0);
        break;
    case RV_VRGATHER_VX:
        gather(&v, 4, c->x[n]);
        break;
    case RV_VRGATHER_VI:
        gather(&v, 4, n);
        break;
    case RV_VCOMPRESS_VM:
        compress(&v);
        break;
    default:
        scalar_move(&v, id);
        break;
    }
    rv_vec_end(&v);
}
