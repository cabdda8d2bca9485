// A vCPU's state as bytes: the parts that its ISA's table names, each with its size, and whether it
// is switched on. The ISA's own functions bring the table's bytes up to date and take them in, on
// the vCPU's thread. What an accelerator itself holds is kept in the same form.
#include "accel/vcpu.h"
#include "base/buf.h"

struct call {
    struct buf *out;
    struct reader *in;
    struct err *e;
    int result;
};

static int check_isa(const struct isa *isa, struct err *e)
{
    return isa->state ? 0
                      : err_set(e,
                                "a machine with %s CPUs cannot be saved; give it snapshots of its "
                                "disks while it is off (qemu-img snapshot)",
                                isa->name);
}

void accel_parts_save(const struct isa_state *parts, const void *of, struct buf *out)
{
    for (const struct isa_state *s = parts; s->name; s++) {
        size_t record = buf_record_begin(out, s->name);
        buf_put(out, (const char *)of + s->offset, s->bytes);
        buf_record_end(out, record);
    }
    buf_u8(out, 0);
}

static void save(struct vcpu *v, void *arg)
{
    struct call *c = arg;
    v->isa->state_out(v->env);
    accel_parts_save(v->isa->state, v->env, c->out);
}

int vcpu_save(struct vcpu *v, struct buf *out, struct err *e)
{
    struct call c = {.out = out};
    if (check_isa(v->isa, e))
        return -1;
    buf_u8(out, vcpu_power_state(v) == VCPU_ON);
    vcpu_call(v, save, &c);
    return 0;
}

static const struct isa_state *find(const struct isa_state *parts, const struct record *rec)
{
    for (const struct isa_state *s = parts; s->name; s++)
        if (record_named(rec, s->name))
            return s;
    return NULL;
}

int accel_parts_load(const struct isa_state *parts, void *of, struct reader *r, struct err *e)
{
    for (struct record rec; rd_record(r, &rec);) {
        const struct isa_state *s = find(parts, &rec);
        if (!s || s->bytes != reader_left(&rec.value))
            return err_set(e, "saved register '%.*s' is not one of this CPU", rec.name_len,
                           rec.name);
        rd_bytes(&rec.value, (char *)of + s->offset, s->bytes);
    }
    if (r->bad)
        return err_set(e, "the saved state is cut short");
    return reader_left(r) ? err_set(e, "the saved state has another size") : 0;
}

int accel_save(struct accel *a, struct buf *out, struct err *e)
{
    if (!a->ops->save)
        return 0;
    size_t n = strlen(a->ops->name);
    buf_u8(out, (uint8_t)n);
    buf_put(out, a->ops->name, n);
    return a->ops->save(a, out, e) ? err_prefix(e, "-accel %s", a->ops->name) : 0;
}

int accel_load(struct accel *a, struct reader *r, struct err *e)
{
    uint8_t n = rd_u8(r);
    const char *name = rd_skip(r, n);
    if (!name || n != strlen(a->ops->name) || memcmp(name, a->ops->name, n) || !a->ops->load)
        return err_set(e, "the saved machine ran under -accel %.*s; this one does not",
                       name ? n : 1, name ? name : "?");
    return a->ops->load(a, r, e) ? err_prefix(e, "-accel %s", a->ops->name) : 0;
}

static void load(struct vcpu *v, void *arg)
{
    struct call *c = arg;
    c->result = accel_parts_load(v->isa->state, v->env, c->in, c->e);
    if (!c->result)
        c->result = v->isa->state_in(v->env, c->e);
}

int vcpu_load(struct vcpu *v, struct reader *r, struct err *e)
{
    struct call c = {.in = r, .e = e};
    if (check_isa(v->isa, e))
        return -1;
    bool on = rd_u8(r);
    vcpu_call(v, load, &c);
    if (c.result)
        return err_prefix(e, "CPU %u", v->index);
    vcpu_set_power(v, on);
    return 0;
}
