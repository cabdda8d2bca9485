// Layouts of structures by ABI (layout.h). A field's place follows from the sizes before it and its
// own alignment, as every ABI of Linux has it.
#include "user/abi/layout.h"

#include "user/guest.h"
#include "user/abi/layout_host.h"

enum kind { // of a field
    BYTES,
    U8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    LONG,
    ULONG,
    HIGH,  // where long has 32 bits: the high half of a host's long, whose low half went before
    ALIGN, // nothing, at a multiple of a long's size
    UPTO,  // as many bytes as make `count` in all
};

struct field {
    uint8_t layout, kind, host_size;
    uint16_t host_at, count;
};

static const struct field fields[LAYOUT_FIELDS] = {
#define LAYOUT(...)
#define FIELD(name, kind, member)                                                                  \
    {LAYOUT_##name, kind, sizeof((((union layout_host *)0)->name).member),                         \
     offsetof(union layout_host, name.member), 1},
#define GAP(name, kind, count) {LAYOUT_##name, kind, 0, 0, count},
#include "user/calls/layouts.def"
#undef LAYOUT
#undef FIELD
#undef GAP
};

static const uint16_t host_sizes[LAYOUTS] = {
#define LAYOUT(name, type) sizeof(type),
#define FIELD(...)
#define GAP(...)
#include "user/calls/layouts.def"
#undef LAYOUT
#undef FIELD
#undef GAP
};
_Static_assert(sizeof(union layout_host) <= LAYOUT_MOST, "LAYOUT_MOST");

static unsigned value_size(const struct abi_data *d, enum kind k)
{
    static const uint8_t sizes[] = {
        [U8] = 1, [U16] = 2, [I16] = 2, [U32] = 4, [I32] = 4, [U64] = 8, [I64] = 8};
    if (k == LONG || k == ULONG)
        return d->long_size;
    if (k == HIGH)
        return d->long_size < 8 ? 4 : 0;
    return k < ARRAY_SIZE(sizes) ? sizes[k] : 0;
}

static bool is_signed(enum kind k)
{
    return k == I16 || k == I32 || k == I64 || k == LONG;
}

static unsigned round_to(unsigned n, unsigned align)
{
    return align > 1 ? (n + align - 1) / align * align : n;
}

static unsigned alignment(const struct abi_data *d, const struct field *f)
{
    unsigned size = f->kind == ALIGN ? d->long_size : value_size(d, f->kind);
    return MAX(1u, MIN(size, (unsigned)d->most_align));
}

static unsigned field_size(const struct abi_data *d, const struct field *f, unsigned at)
{
    if (f->kind == BYTES)
        return f->host_size ? f->host_size : f->count;
    if (f->kind == UPTO)
        return f->count > at ? f->count - at : 0;
    return value_size(d, f->kind) * f->count;
}

void layouts_make(struct layouts *l, const struct abi_data *d, bool big_endian)
{
    const uint16_t probe = 1;
    unsigned i = 0;
    l->swap = big_endian == *(const uint8_t *)&probe;
    for (unsigned id = 0; id < LAYOUTS; id++) {
        unsigned at = 0, align = 1;
        bool same = !l->swap;
        for (; i < LAYOUT_FIELDS && fields[i].layout == id; i++) {
            const struct field *f = &fields[i];
            align = MAX(align, alignment(d, f));
            l->at[i] = (uint16_t)(at = round_to(at, alignment(d, f)));
            unsigned size = field_size(d, f, at);
            same &= !f->host_size ||
                    (f->kind == HIGH ? !size : at == f->host_at && size == f->host_size);
            at += size;
        }
        l->size[id] = (uint16_t)round_to(at, align);
        BUG_ON(l->size[id] > LAYOUT_MOST);
        l->same[id] = same && l->size[id] == host_sizes[id];
    }
    BUG_ON(i != LAYOUT_FIELDS);
}

// ---- values ----

static uint64_t load(const uint8_t *p, unsigned size, bool swap, bool sign)
{
    uint8_t b[8] = {0};
    for (unsigned i = 0; i < size; i++)
        b[i] = p[swap ? size - 1 - i : i];
    uint64_t v;
    memcpy(&v, b, sizeof v);
    unsigned unused = 64 - 8 * size;
    return sign && unused ? (uint64_t)((int64_t)(v << unused) >> unused) : v;
}

static void store(uint8_t *p, unsigned size, bool swap, uint64_t v)
{
    uint8_t b[8];
    memcpy(b, &v, sizeof b);
    for (unsigned i = 0; i < size; i++)
        p[swap ? size - 1 - i : i] = b[i];
}

static unsigned first_field(enum layout_id id)
{
    unsigned i = 0;
    while (fields[i].layout != id)
        i++;
    return i;
}

void layout_unpack(const struct user *u, enum layout_id id, void *host, const void *guest)
{
    const struct layouts *l = &u->layouts;
    if (l->same[id]) {
        memcpy(host, guest, host_sizes[id]);
        return;
    }
    memset(host, 0, host_sizes[id]);
    for (unsigned i = first_field(id); i < LAYOUT_FIELDS && fields[i].layout == id; i++) {
        const struct field *f = &fields[i];
        const uint8_t *from = (const uint8_t *)guest + l->at[i];
        uint8_t *to = (uint8_t *)host + f->host_at;
        unsigned size = value_size(&u->abi->data, f->kind);
        if (f->kind == BYTES)
            memcpy(to, from, f->host_size);
        else if (f->kind == HIGH && size)
            store(to, 8, false,
                  (load(to, 8, false, false) & UINT32_MAX) | load(from, 4, l->swap, false) << 32);
        else if (f->host_size && size)
            store(to, f->host_size, false, load(from, size, l->swap, is_signed(f->kind)));
    }
}

void layout_pack(const struct user *u, enum layout_id id, void *guest, const void *host)
{
    const struct layouts *l = &u->layouts;
    if (l->same[id]) {
        memcpy(guest, host, host_sizes[id]);
        return;
    }
    memset(guest, 0, l->size[id]);
    for (unsigned i = first_field(id); i < LAYOUT_FIELDS && fields[i].layout == id; i++) {
        const struct field *f = &fields[i];
        const uint8_t *from = (const uint8_t *)host + f->host_at;
        uint8_t *to = (uint8_t *)guest + l->at[i];
        unsigned size = value_size(&u->abi->data, f->kind);
        if (f->kind == BYTES)
            memcpy(to, from, f->host_size);
        else if (f->host_size && size)
            store(to, size, l->swap,
                  load(from, f->host_size, false, is_signed(f->kind)) >>
                      (f->kind == HIGH ? 32 : 0));
    }
}

// ---- guest memory ----

bool layout_same(const struct thread *t, enum layout_id id)
{
    return t->u->layouts.same[id];
}

size_t layout_size(const struct thread *t, enum layout_id id)
{
    return t->u->layouts.size[id];
}

bool layout_read(struct thread *t, enum layout_id id, uint64_t addr, void *host)
{
    uint8_t bytes[LAYOUT_MOST];
    if (!guest_read(t, addr, bytes, layout_size(t, id)))
        return false;
    if (id == LAYOUT_siginfo) {
        layout_unpack(t->u, id, host, bytes);
        const siginfo_t *s = host;
        id = layout_of_siginfo(s->si_signo, s->si_code);
    }
    layout_unpack(t->u, id, host, bytes);
    return true;
}

bool layout_write(struct thread *t, enum layout_id id, uint64_t addr, const void *host)
{
    uint8_t bytes[LAYOUT_MOST];
    const siginfo_t *s = host;
    if (id == LAYOUT_siginfo)
        id = layout_of_siginfo(s->si_signo, s->si_code);
    layout_pack(t->u, id, bytes, host);
    return guest_write(t, addr, bytes, layout_size(t, id));
}

void words_unpack(const struct user *u, uint64_t *val, const void *guest, size_t n)
{
    unsigned size = u->abi->data.long_size;
    for (size_t i = 0; i < n; i++)
        val[i] = load((const uint8_t *)guest + i * size, size, u->layouts.swap, false);
}

void words_pack(const struct user *u, void *guest, const uint64_t *val, size_t n)
{
    unsigned size = u->abi->data.long_size;
    for (size_t i = 0; i < n; i++)
        store((uint8_t *)guest + i * size, size, u->layouts.swap, val[i]);
}

bool word_read(struct thread *t, uint64_t addr, uint64_t *val)
{
    uint8_t bytes[8];
    if (!guest_read(t, addr, bytes, t->u->abi->data.long_size))
        return false;
    words_unpack(t->u, val, bytes, 1);
    return true;
}

bool word_write(struct thread *t, uint64_t addr, uint64_t val)
{
    uint8_t bytes[8];
    words_pack(t->u, bytes, &val, 1);
    return guest_write(t, addr, bytes, t->u->abi->data.long_size);
}

// Linux, kernel/signal.c says which members a signal's source fills in.
enum layout_id layout_of_siginfo(int sig, int code)
{
    static const uint8_t by_signal[] = {
        [SIGILL] = LAYOUT_siginfo,       [SIGFPE] = LAYOUT_siginfo,
        [SIGSEGV] = LAYOUT_siginfo,      [SIGBUS] = LAYOUT_siginfo,
        [SIGTRAP] = LAYOUT_siginfo,      [SIGCHLD] = LAYOUT_siginfo_child,
        [SIGPOLL] = LAYOUT_siginfo_poll, [SIGSYS] = LAYOUT_siginfo_call};
    if (code == SI_TIMER)
        return LAYOUT_siginfo_timer;
    if (code == SI_SIGIO)
        return LAYOUT_siginfo_poll;
    if (code < 0)
        return LAYOUT_siginfo_value;
    if (code == SI_USER || code >= SI_KERNEL)
        return LAYOUT_siginfo_sender;
    if (sig > 0 && (size_t)sig < ARRAY_SIZE(by_signal) && by_signal[sig])
        return by_signal[sig];
    return LAYOUT_siginfo_sender;
}
