// Guest memory from C: what translated code's inline accesses do not cover (misses, registers,
// page crossings, alignment, byte order, atomics), and the operations helpers are offered. A store
// into code that is translated is made by interpreting its instruction alone, so that a block that
// changes itself goes on with what it wrote.
#include "jit/access.h"

#include "base/bits.h"
#include "jit/host_atomic.h"
#include "memory/dirty.h"

#include <setjmp.h>

void jit_leave(struct env *e, enum env_leave why)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    v->probe = NULL;
    if (atomic_load_explicit(&v->in_code, memory_order_relaxed))
        v->jit->host->unwind(v, why);
    siglongjmp(v->leave_to, (int)why + 1);
}

_Noreturn static void take(struct jit_vcpu *v, const struct env_fault *f)
{
    struct env *e = jit_env(v);
    struct env_fault copy = *f;
    e->fault = copy;
    if (!v->jit->c.user_mode)
        e->isa->take_fault(e, &copy);
    jit_leave(e, v->jit->c.user_mode ? LEAVE_SIGNAL : LEAVE_AGAIN);
}

// ---- one access, any kind ----

struct op {
    struct jit_vcpu *v;
    gva_t va;
    unsigned mo, size; // bytes
    struct env_fault f;
    bool slow;  // from translated code: state is not yet exact
    bool guest; // by an instruction that is interpreted
};

// The guest's exception for o->f: state first, where it is still in registers.
_Noreturn static void fail(struct op *o)
{
    if (o->slow)
        BUG_ON(!jit_state_rebuild(o->v, (const void *)o->v->slow_ra));
    take(o->v, &o->f);
}

_Noreturn static void step(struct op *o)
{
    if (o->slow)
        BUG_ON(!jit_state_rebuild(o->v, (const void *)o->v->slow_ra));
    o->v->step = true;
    jit_leave(jit_env(o->v), LEAVE_AGAIN);
}

static unsigned mmu_of(unsigned mo)
{
    return (mo & MO_MMU) >> MO_MMU_SHIFT;
}

// The debugger wants to see this access before it is made.
static void stop_at_watchpoint(struct op *o, enum env_access access)
{
    struct env *e = jit_env(o->v);
    const struct env_watchpoint *w = env_watched(e, o->va, o->size, access);
    if (!w)
        return;
    if (o->slow)
        BUG_ON(!jit_state_rebuild(o->v, (const void *)o->v->slow_ra));
    e->watch_hit = w;
    jit_leave(e, LEAVE_DEBUG);
}

// User mode. The host does not say which address it was where its processor has none like it.
static void resolve_user(struct op *o, gva_t va, enum env_access access, struct access *a)
{
    enum { HOST_BITS = 47 };
    struct jit_vcpu *v = o->v;
    uint8_t *base = v->jit->c.user_base;
    if (unlikely(o->guest && jit_env(v)->n_watchpoints))
        stop_at_watchpoint(o, access);
    *a = (struct access){.host = base + (v->mode & IR_MODE_TAGGED ? va & IR_ADDRESS_BITS : va)};
    if (likely(!((uintptr_t)a->host >> HOST_BITS)))
        return;
    struct env *e = jit_env(v);
    e->isa->bus_fault(e, va, access, MEM_UNMAPPED, &e->fault);
    sigjmp_buf *to = v->probe;
    v->probe = NULL;
    siglongjmp(*to, 1);
}

static void resolve(struct op *o, gva_t va, enum env_access access, struct access *a)
{
    if (o->v->jit->c.user_mode) {
        resolve_user(o, va, access, a);
        return;
    }
    if (jit_resolve(o->v, va, access, mmu_of(o->mo), a, &o->f))
        fail(o);
}

static void check_align(struct op *o, enum env_access access)
{
    unsigned align = 1u << ((o->mo & MO_ALIGN) >> MO_ALIGN_SHIFT);
    if (likely(!(o->va & (align - 1))))
        return;
    struct env *e = jit_env(o->v);
    e->isa->align_fault(e, o->va, access, o->mo, &o->f);
    fail(o);
}

// What only a walk knows: device memory refuses unaligned accesses, watchpoints trap.
static void check_page(struct op *o, const struct access *a, enum env_access access)
{
    struct env *e = jit_env(o->v);
    if (!a->hit.ram && a->host)
        return; // from the TLB: neither
    if (a->x.device && o->va & (o->size - 1) & 0xf) {
        e->isa->align_fault(e, o->va, access, o->mo, &o->f);
        fail(o);
    }
    if (a->x.watched)
        stop_at_watchpoint(o, access);
    if (a->x.watched && e->isa->watch && e->isa->watch(e, o->va, o->size, access, &o->f))
        fail(o);
}

static void swap_bytes(union ir_val *v, unsigned size)
{
    for (unsigned k = 0; k < size / 2; k++) {
        uint8_t t = v->u8[k];
        v->u8[k] = v->u8[size - 1 - k];
        v->u8[size - 1 - k] = t;
    }
}

static void mmio_read(struct op *o, const struct access *a, gpa_t pa, void *dst, unsigned size)
{
    for (unsigned k = 0; k < size; k += 8) {
        uint64_t val = 0;
        enum mem_result r = space_read(a->x.space, pa + k, MIN(size, 8u), &val, a->x.attrs);
        if (r != MEM_OK) {
            struct env *e = jit_env(o->v);
            e->isa->bus_fault(e, o->va + k, ENV_READ, r, &o->f);
            fail(o);
        }
        memcpy((uint8_t *)dst + k, &val, MIN(size, 8u));
    }
}

static bool crosses(gva_t va, unsigned size)
{
    return (va & ~PAGE_MASK) + size > PAGE_SIZE;
}

static void load(struct op *o, union ir_val *out)
{
    struct access a;
    *out = (union ir_val){0};
    check_align(o, ENV_READ);
    if (unlikely(crosses(o->va, o->size)) && !o->v->jit->c.user_mode) {
        unsigned first = (unsigned)(PAGE_SIZE - (o->va & ~PAGE_MASK));
        for (unsigned k = 0; k < o->size; k++)
            if (k == 0 || k == first) {
                struct op part = *o;
                part.va = o->va + k;
                resolve(&part, part.va, ENV_READ, &a);
                check_page(o, &a, ENV_READ);
                unsigned n = k ? o->size - first : first;
                for (unsigned b = 0; b < n; b++)
                    if (a.host)
                        out->u8[k + b] = a.host[b];
                    else
                        mmio_read(&part, &a, a.x.pa + b, &out->u8[k + b], 1);
            }
    } else {
        resolve(o, o->va, ENV_READ, &a);
        check_page(o, &a, ENV_READ);
        if (a.host)
            host_load(out, a.host, o->size);
        else
            mmio_read(o, &a, a.x.pa, out, o->size);
    }
    if (o->mo & MO_BE)
        swap_bytes(out, o->size);
}

// RAM that may not be written unseen: ROM, translated code, pages whose writes are tracked.
static bool written_in_place(struct op *o, const struct access *a, const void *src, unsigned size)
{
    if (!a->hit.ram)
        return true; // from the TLB, or user mode
    if (a->hit.readonly)
        return false;
    if (src && ram_code_marked(a->hit.ram, a->hit.off & PAGE_MASK) &&
        memcmp(a->host, src, size) != 0 && jit_code_overlaps(o->v->jit, a->host, size) && o->slow)
        step(o);
    return true;
}

static void put(struct op *o, const struct access *a, gpa_t pa, const void *src, unsigned size)
{
    if (a->host && written_in_place(o, a, src, size)) {
        host_store(a->host, src, size);
        if (a->hit.ram)
            ram_wrote(a->hit.ram, a->hit.off, size);
        return;
    }
    for (unsigned k = 0; k < size; k += 8) {
        uint64_t val = 0;
        memcpy(&val, (const uint8_t *)src + k, MIN(size, 8u));
        enum mem_result r = space_write(a->x.space, pa + k, MIN(size, 8u), val, a->x.attrs);
        if (r != MEM_OK) {
            struct env *e = jit_env(o->v);
            e->isa->bus_fault(e, o->va + k, ENV_WRITE, r, &o->f);
            fail(o);
        }
    }
}

static void store(struct op *o, union ir_val val)
{
    struct access a, b;
    check_align(o, ENV_WRITE);
    if (o->mo & MO_BE)
        swap_bytes(&val, o->size);
    if (likely(!crosses(o->va, o->size)) || o->v->jit->c.user_mode) {
        resolve(o, o->va, ENV_WRITE, &a);
        check_page(o, &a, ENV_WRITE);
        put(o, &a, a.x.pa, &val, o->size);
        if ((o->mo & MO_SEQ) == MO_SEQ)
            atomic_thread_fence(memory_order_seq_cst);
        return;
    }
    unsigned first = (unsigned)(PAGE_SIZE - (o->va & ~PAGE_MASK));
    resolve(o, o->va, ENV_WRITE, &a); // both pages before any byte is written
    check_page(o, &a, ENV_WRITE);
    struct op second = *o;
    second.va = o->va + first;
    resolve(&second, second.va, ENV_WRITE, &b);
    if (a.host)
        written_in_place(o, &a, &val, first);
    if (b.host)
        written_in_place(o, &b, &val.u8[first], o->size - first);
    for (unsigned k = 0; k < o->size; k++) {
        struct access *side = k < first ? &a : &b;
        struct access byte = *side;
        unsigned off = k < first ? k : k - first;
        if (byte.host)
            byte.host += off;
        byte.hit.off += off;
        put(o, &byte, side->x.pa + off, &val.u8[k], 1);
    }
}

// ---- atomics ----

static uint64_t rmw(unsigned op, void *host, unsigned size, uint64_t x)
{
    switch (size) {
    case 1:
        return host_rmw8(op, host, (uint8_t)x);
    case 2:
        return host_rmw16(op, host, (uint16_t)x);
    case 4:
        return host_rmw32(op, host, (uint32_t)x);
    default:
        return host_rmw64(op, host, x);
    }
}

static uint64_t extend(uint64_t val, unsigned type, unsigned mo)
{
    unsigned w = 8u << (mo & MO_SIZE);
    val = mo & MO_SIGN ? (uint64_t)sign_extend(val, w) : val & mask_low(w);
    return type == IR_I32 ? (uint32_t)val : val;
}

// Memory that atomics can work on directly; else registers or ROM, where they are a load and a
// store.
static bool atomic_target(struct op *o, struct access *a)
{
    check_align(o, ENV_WRITE);
    if (crosses(o->va, o->size)) {
        struct env *e = jit_env(o->v);
        e->isa->align_fault(e, o->va, ENV_WRITE, o->mo, &o->f);
        fail(o);
    }
    resolve(o, o->va, ENV_WRITE, a);
    check_page(o, a, ENV_WRITE);
    if (!a->host)
        return false;
    if (!a->hit.ram)
        return true;
    if (a->hit.readonly)
        return false;
    if (o->slow && ram_code_marked(a->hit.ram, a->hit.off & PAGE_MASK) &&
        jit_code_overlaps(o->v->jit, a->host, o->size))
        step(o);
    return true;
}

static void after_atomic(const struct op *o, const struct access *a)
{
    if (a->hit.ram)
        ram_wrote(a->hit.ram, a->hit.off, o->size);
}

static void load_linked(struct op *o, union ir_val *out)
{
    struct env *e = jit_env(o->v);
    e->monitor.addr = MONITOR_NONE;
    load(o, out);
    e->monitor.addr = o->va;
    e->monitor.size = o->size;
    e->monitor.val[0] = out->u64[0];
    e->monitor.val[1] = out->u64[1];
}

static bool swap_if_same(struct op *o, union ir_val expect, union ir_val fresh, union ir_val *old)
{
    struct access a;
    bool swap = o->mo & MO_BE;
    if (!atomic_target(o, &a)) {
        load(o, old);
        bool same = !memcmp(old, &expect, o->size);
        if (same)
            store(o, fresh);
        return same;
    }
    if (swap) {
        swap_bytes(&expect, o->size);
        swap_bytes(&fresh, o->size);
    }
    *old = expect;
    bool done = host_cas(a.host, o->size, old, &fresh);
    after_atomic(o, &a);
    if (swap)
        swap_bytes(old, o->size);
    return done;
}

// What the store would fault for it faults for, whether it is made or not.
static bool store_conditional(struct op *o, const union ir_val *val)
{
    struct env *e = jit_env(o->v);
    union ir_val expect = {.u64 = {e->monitor.val[0], e->monitor.val[1]}}, old;
    struct access a;
    bool held = e->monitor.addr == o->va && e->monitor.size == o->size, done = false;
    if (held)
        done = swap_if_same(o, expect, *val, &old);
    else
        atomic_target(o, &a);
    e->monitor.addr = MONITOR_NONE;
    return done;
}

static uint64_t read_modify_write(struct op *o, unsigned op, uint64_t x)
{
    struct access a;
    bool swap = o->mo & MO_BE;
    if (atomic_target(o, &a) && !swap) {
        uint64_t old = rmw(op, a.host, o->size, x);
        after_atomic(o, &a);
        return old;
    }
    union ir_val old, fresh;
    do {
        load(o, &old);
        fresh = old;
        rmw(op, &fresh, o->size, x);
    } while (!swap_if_same(o, old, fresh, &(union ir_val){0}));
    return old.u64[0];
}

// ---- from translated code ----

static void set_result(struct jit_vcpu *v, unsigned reg, unsigned type, union ir_val val)
{
    if (type == IR_V128 || type == IR_F32 || type == IR_F64)
        v->regs.xmm[reg & 15] = val.v;
    else
        v->regs.gpr[reg] = val.u64[0];
}

static union ir_val get_value(const struct jit_vcpu *v, unsigned reg, unsigned type)
{
    union ir_val val = {0};
    if (type == IR_V128 || type == IR_F32 || type == IR_F64)
        val.v = v->regs.xmm[reg & 15];
    else
        val.u64[0] = v->regs.gpr[reg];
    return val;
}

void jit_user_fault(struct env *e)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    BUG_ON(!jit_state_rebuild(v, (const void *)v->slow_ra));
    v->step = v->address_lost;
    v->address_lost = false;
    jit_leave(e, v->step ? LEAVE_AGAIN : LEAVE_SIGNAL);
}

// ---- the executor's operations ----

// In user mode host memory may not be there: the signal handler then comes back here, with
// e->fault filled. The handler blocks nothing, but the thread sanitizer's does.
static bool guarded(struct op *o, void (*fn)(struct op *o, void *arg), void *arg)
{
    sigjmp_buf at;
    if (!o->v->jit->c.user_mode) {
        fn(o, arg);
        return true;
    }
    struct jit_vcpu *outer = jit_current; // the debugger's thread has none
    jit_current = o->v;
    o->v->probe = &at;
    bool ok = !sigsetjmp(at, THREAD_SANITIZER);
    if (ok)
        fn(o, arg);
    o->v->probe = NULL;
    jit_current = outer;
    return ok;
}

static void slow_access(struct op *o, void *arg)
{
    uint32_t info = *(const uint32_t *)arg;
    struct jit_vcpu *v = o->v;
    unsigned mo = info & 0x1fff, reg = info >> 17 & 31, op = (info >> 22 & 15) + IR_load,
             type = info >> 26 & 7;
    *o = (struct op){v, v->regs.gpr[info >> 13 & 15], mo, MO_SIZE_BYTES(mo), {0}, true};
    union ir_val val, b, c;
    switch (op) {
    case IR_load:
        v->stats.slow_loads++;
        load(o, &val);
        if (type == IR_I32 || type == IR_I64)
            val.u64[0] = extend(val.u64[0], type, mo);
        set_result(v, reg, type, val);
        return;
    case IR_store:
        v->stats.slow_stores++;
        store(o, get_value(v, reg, type));
        return;
    case IR_ll:
        load_linked(o, &val);
        if (type == IR_I32 || type == IR_I64)
            val.u64[0] = extend(val.u64[0], type, mo);
        set_result(v, reg, type, val);
        return;
    case IR_sc:
        v->regs.gpr[reg] = store_conditional(o, &v->scratch[0]);
        return;
    case IR_cas:
        b = v->scratch[0];
        c = v->scratch[1];
        swap_if_same(o, b, c, &val);
        if (type != IR_V128)
            val.u64[0] = extend(val.u64[0], type, mo);
        set_result(v, reg, type, val);
        return;
    default:
        v->regs.gpr[reg] = extend(read_modify_write(o, op, v->scratch[0].u64[0]), type, mo);
    }
}

void jit_slow_access(struct env *e, uint32_t info)
{
    struct op o = {.v = jit_vcpu_of(e)};
    if (!guarded(&o, slow_access, &info))
        jit_user_fault(e);
    o.v->slow_ra += info >> 29;
}

static void do_load(struct op *o, void *val)
{
    load(o, val);
}

static void do_store(struct op *o, void *val)
{
    store(o, *(union ir_val *)val);
}

static void access_or_signal(struct env *e, gva_t va, unsigned mo,
                             void (*fn)(struct op *o, void *arg), void *arg)
{
    struct op o = {jit_vcpu_of(e), va, mo, MO_SIZE_BYTES(mo), {0}, false, true};
    if (!guarded(&o, fn, arg))
        jit_leave(e, LEAVE_SIGNAL);
}

static uint64_t exec_load(struct env *e, gva_t va, unsigned mo)
{
    union ir_val val;
    access_or_signal(e, va, mo, do_load, &val);
    return val.u64[0];
}

static void exec_store(struct env *e, gva_t va, uint64_t x, unsigned mo)
{
    union ir_val val = {.u64 = {x, 0}};
    access_or_signal(e, va, mo, do_store, &val);
}

static v128 exec_load128(struct env *e, gva_t va, unsigned mo)
{
    union ir_val val;
    access_or_signal(e, va, (mo & ~(unsigned)MO_SIZE) | MO_128, do_load, &val);
    return val.v;
}

static void exec_store128(struct env *e, gva_t va, v128 x, unsigned mo)
{
    union ir_val val = {.v = x};
    access_or_signal(e, va, (mo & ~(unsigned)MO_SIZE) | MO_128, do_store, &val);
}

struct atomic_args {
    unsigned op;
    union ir_val b, c, old;
};

static void do_atomic(struct op *o, void *arg)
{
    struct atomic_args *a = arg;
    switch (a->op) {
    case IR_ll:
        load_linked(o, &a->old);
        break;
    case IR_sc:
        a->old = (union ir_val){.u64 = {store_conditional(o, &a->b), 0}};
        break;
    case IR_cas:
        swap_if_same(o, a->b, a->c, &a->old);
        break;
    default:
        a->old = (union ir_val){.u64 = {read_modify_write(o, a->op, a->b.u64[0]), 0}};
    }
}

static void exec_atomic(struct env *e, unsigned op, gva_t va, unsigned mo, const void *b,
                        const void *c, void *old)
{
    struct atomic_args a = {.op = op};
    memcpy(&a.b, b, sizeof a.b);
    memcpy(&a.c, c, sizeof a.c);
    access_or_signal(e, va, mo, do_atomic, &a);
    memcpy(old, &a.old, sizeof a.old);
}

static void do_zero(struct op *o, void *arg)
{
    unsigned size = *(const unsigned *)arg;
    struct access a;
    resolve(o, o->va, ENV_WRITE, &a);
    check_page(o, &a, ENV_WRITE);
    if (a.host && written_in_place(o, &a, NULL, size)) {
        for (unsigned k = 0; k < size; k += 8)
            host_store(a.host + k, &(uint64_t){0}, 8);
        if (a.hit.ram)
            ram_wrote(a.hit.ram, a.hit.off, size);
        return;
    }
    for (unsigned k = 0; k < size; k += 8)
        put(o, &a, a.x.pa + k, &(uint64_t){0}, 8);
}

static void exec_zero(struct env *e, gva_t va, unsigned size, unsigned mo)
{
    BUG_ON(!is_pow2(size) || size < 8 || size > PAGE_SIZE);
    access_or_signal(e, va & ~(gva_t)(size - 1), (mo & ~(unsigned)(MO_SIZE | MO_ALIGN)) | MO_64,
                     do_zero, &size);
}

struct debug_copy {
    uint8_t *buf;
    size_t n;
    bool write;
};

static void do_debug_copy(struct op *o, void *arg)
{
    struct debug_copy *d = arg;
    uint8_t *host = o->v->jit->c.user_base + o->va;
    if (d->n == 4 || d->n == 8) { // a word as a whole: the program's threads may look at it
        union ir_val word;
        if (d->write) {
            memcpy(&word, d->buf, d->n);
            host_store(host, &word, (unsigned)d->n);
        } else {
            host_load(&word, host, (unsigned)d->n);
            memcpy(d->buf, &word, d->n);
        }
        return;
    }
    host_copy(d->write ? host : d->buf, d->write ? d->buf : host, d->n);
}

static int debug_access(struct env *e, gva_t va, void *buf, size_t n, bool write)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    struct debug_copy d = {buf, n, write};
    if (v->jit->c.user_mode) {
        struct op o = {v, va, MO_8, 1, {0}, false};
        return guarded(&o, do_debug_copy, &d) ? 0 : -1;
    }
    while (d.n) {
        size_t k = MIN(d.n, PAGE_SIZE - (va & ~PAGE_MASK));
        struct env_xlat x;
        struct env_fault f;
        if (e->isa->translate(e, va, ENV_READ, MMU_MAIN, &x, &f))
            return -1;
        struct space_hit h = space_lookup(x.space, x.pa);
        if (h.kind != SPACE_RAM || h.len < k)
            return -1;
        if (write)
            ram_write(h.ram, h.off, d.buf, k);
        else
            ram_read(h.ram, h.off, d.buf, k);
        va += k;
        d.buf += k;
        d.n -= k;
    }
    return 0;
}

static int exec_peek(struct env *e, gva_t va, void *dst, size_t n)
{
    return debug_access(e, va, dst, n, false);
}

static int exec_poke(struct env *e, gva_t va, const void *src, size_t n)
{
    return debug_access(e, va, (void *)(uintptr_t)src, n, true);
}

const struct env_exec_ops jit_exec_ops = {
    .leave = jit_leave,
    .load = exec_load,
    .store = exec_store,
    .load128 = exec_load128,
    .store128 = exec_store128,
    .atomic = exec_atomic,
    .zero = exec_zero,
    .peek = exec_peek,
    .poke = exec_poke,
    .set_context = jit_set_context,
    .flush = jit_flush,
    .sync = jit_sync,
    .code_flush = jit_code_flush,
    .fp_sync = jit_fp_sync,
    .fp_changed = jit_fp_changed,
};
