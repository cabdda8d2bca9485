// Address translation: Sv32, Sv39, Sv48 and Sv57, the same as second stage (Sv39x4, …), with
// Svnapot, Svpbmt (accepted; memory types make no difference here) and Svadu. RISC-V Instruction
// Set Manual, volume II, chapters 10.3 to 10.6, 11 to 14, and 15.5.
#include "isa/riscv/system/system.h"
#include "base/log.h"

enum {
    PTE_V = 1 << 0,
    PTE_R = 1 << 1,
    PTE_W = 1 << 2,
    PTE_X = 1 << 3,
    PTE_U = 1 << 4,
    PTE_G = 1 << 5,
    PTE_A = 1 << 6,
    PTE_D = 1 << 7,
    PTE_PPN_SHIFT = 10,
    PAGE_SHIFT = 12,
    NAPOT_BITS = 4,
};
#define PTE_RESERVED (mask_low(7) << 54)
#define PTE_PBMT     (3ull << 61)
#define PTE_N        (1ull << 63)

// Whose memory is looked at, as an access sees it.
struct view {
    unsigned priv;
    bool virt, sum, mxr, guest_mxr; // guest_mxr: of the second stage
    bool code;                      // pages are read that may be executed
};

// One stage of translation.
struct stage {
    uint64_t atp;
    bool second; // of two: guest-physical to physical
    bool nested; // its tables lie in guest-physical memory
    bool pbmte, adue;
    unsigned priv;
    bool sum, mxr, code; // as in struct view
};

struct leaf {
    uint64_t pa, size;
    unsigned perms;
    bool global;
};

enum walk_result { WALK_OK, WALK_PAGE, WALK_ACCESS, WALK_GUEST };
struct walk_fault {
    uint64_t gpa;      // WALK_GUEST
    unsigned implicit; // RV_FAULT_IMPLICIT bits
};

bool rv_atp_mode_valid(const struct rv_cpu *c, unsigned mode)
{
    return mode == RV_BARE || (mode == RV_SV32 && rv_has(c, RV_FEAT_SV32)) ||
           (mode == RV_SV39 && rv_has(c, RV_FEAT_SV39)) ||
           (mode == RV_SV48 && rv_has(c, RV_FEAT_SV48)) ||
           (mode == RV_SV57 && rv_has(c, RV_FEAT_SV57));
}

// ---- views and contexts ----

static bool data_elsewhere(const struct rv_cpu *c)
{
    return c->priv == RV_M && (c->mstatus & RV_MPRV);
}

static struct view view_of(const struct rv_cpu *c, enum env_access access, unsigned mmu)
{
    struct view v = {.priv = c->priv, .virt = c->virt};
    if (mmu != MMU_CURRENT) {
        v.code = mmu == MMU_GUEST_CODE;
        v.priv = c->hstatus & RV_HSPVP ? RV_S : RV_U;
        v.virt = true;
    } else if (access != ENV_EXEC && data_elsewhere(c)) {
        v.priv = (unsigned)bits(c->mstatus, 12, 11);
        v.virt = (c->mstatus & RV_MPV) && v.priv != RV_M;
    }
    uint64_t status = v.virt ? c->vsstatus : c->mstatus;
    v.sum = status & RV_SUM;
    v.guest_mxr = c->mstatus & RV_MXR;
    v.mxr = v.guest_mxr || (status & RV_MXR);
    return v;
}

static uint64_t first_atp(const struct rv_cpu *c, const struct view *v)
{
    return v->priv == RV_M ? 0 : v->virt ? c->vs.atp : c->s.atp;
}

// Layout of the 64-bit context id. Global mappings are the same for every ASID; and whether SUM is
// set makes no difference to those the walk calls global, which no user page is.
enum {
    CTX_ASID = 0,
    CTX_SUM = 16,
    CTX_VMID = 17,
    CTX_PRIV = 31,
    CTX_VIRT = 33,
    CTX_MXR = 34, // two bits
    CTX_ATP = 36, // mode, 4 bits
    CTX_GATP = 40,
    CTX_MPRV = 44, // instructions are fetched from elsewhere
    CTX_VALID = 45,
};
#define CTX_SPACE_MASK ((1ull << CTX_VMID) - 1)

static uint64_t context(const struct rv_cpu *c, unsigned mmu)
{
    struct view v = view_of(c, ENV_READ, mmu);
    uint64_t atp = first_atp(c, &v), mode = RV_ATP_MODE(atp);
    uint64_t id = 1ull << CTX_VALID | (uint64_t)v.priv << CTX_PRIV | mode << CTX_ATP |
                  (uint64_t)v.virt << CTX_VIRT;
    if (mmu == MMU_CURRENT && data_elsewhere(c))
        id |= 1ull << CTX_MPRV;
    if (mode != RV_BARE)
        id |= bits(atp, 59, 44) << CTX_ASID | (uint64_t)(v.sum && v.priv == RV_S) << CTX_SUM |
              (uint64_t)v.mxr << CTX_MXR;
    if (v.virt)
        id |= bits(c->hgatp, 57, 44) << CTX_VMID | (uint64_t)RV_ATP_MODE(c->hgatp) << CTX_GATP |
              (uint64_t)v.guest_mxr << (CTX_MXR + 1);
    return id;
}

void rv_mmu_set_contexts(struct rv_cpu *c)
{
    c->env.exec->set_context(&c->env, MMU_CURRENT, context(c, MMU_CURRENT));
    if (rv_has(c, RV_FEAT_H))
        c->env.exec->set_context(&c->env, MMU_GUEST, context(c, MMU_GUEST));
}

// ---- walks ----

static enum walk_result walk(struct rv_cpu *c, const struct stage *s, uint64_t va,
                             enum env_access access, struct leaf *out, struct walk_fault *f);

static struct stage second_stage(const struct rv_cpu *c, const struct view *v)
{
    return (struct stage){.atp = c->hgatp,
                          .second = true,
                          .pbmte = c->menvcfg & RV_PBMTE,
                          .adue = c->menvcfg & RV_ADUE,
                          .priv = RV_U,
                          .mxr = v && v->guest_mxr,
                          .code = v && v->code};
}

// The shape of a mode's tables.
struct shape {
    unsigned levels, level_bits, entry; // bytes
};

static struct shape shape_of(unsigned mode)
{
    if (mode == RV_SV32)
        return (struct shape){2, 10, 4};
    return (struct shape){mode - RV_SV39 + 3, 9, 8};
}

// The physical address of a table entry, which a walk is to read or to write.
static enum walk_result entry_address(struct rv_cpu *c, const struct stage *s, uint64_t *at,
                                      enum env_access access, struct walk_fault *f)
{
    uint64_t span;
    if (s->nested) {
        struct stage g = second_stage(c, NULL);
        struct leaf l;
        enum walk_result r = walk(c, &g, *at, access, &l, f);
        if (r == WALK_PAGE) {
            f->gpa = *at;
            f->implicit = access == ENV_WRITE ? RV_FAULT_IMPLICIT_WRITE : RV_FAULT_IMPLICIT;
            return WALK_GUEST;
        }
        if (r != WALK_OK)
            return r;
        *at = l.pa;
    }
    return rv_pmp_perms(c, *at, shape_of(RV_ATP_MODE(s->atp)).entry, RV_S, &span) & access
               ? WALK_OK
               : WALK_ACCESS;
}

static bool reserved(const struct stage *s, const struct rv_cpu *c, uint64_t pte, bool leaf)
{
    if (pte & PTE_RESERVED || ((pte & PTE_W) && !(pte & PTE_R)))
        return true;
    if (!leaf)
        return pte & (PTE_D | PTE_A | PTE_U | PTE_N | PTE_PBMT);
    if (pte & PTE_PBMT && (!s->pbmte || (pte & PTE_PBMT) == PTE_PBMT))
        return true;
    return pte & PTE_N && !rv_has(c, RV_FEAT_SVNAPOT);
}

static unsigned leaf_perms(const struct stage *s, uint64_t pte)
{
    unsigned p =
        (pte & PTE_R ? ENV_READ : 0) | (pte & PTE_W ? ENV_WRITE : 0) | (pte & PTE_X ? ENV_EXEC : 0);
    if (s->code)
        p = pte & PTE_X ? ENV_READ : 0;
    else if (s->mxr && pte & PTE_X)
        p |= ENV_READ;
    if (s->priv == RV_U)
        return pte & PTE_U ? p : 0;
    if (!(pte & PTE_U))
        return p;
    return s->sum ? p & ~(unsigned)ENV_EXEC : 0;
}

// Sets the accessed and dirty bits, unless the entry has changed meanwhile: then *pte is what it is
// now, and the caller looks again.
static enum walk_result update(struct rv_cpu *c, const struct stage *s, uint64_t gpa, uint64_t *pte,
                               uint64_t want, struct walk_fault *f)
{
    enum walk_result r = entry_address(c, s, &gpa, ENV_WRITE, f);
    if (r != WALK_OK)
        return r;
    uint64_t old = *pte;
    unsigned size = shape_of(RV_ATP_MODE(s->atp)).entry;
    if (space_compare_exchange(c->config.memory, gpa, size, &old, want) != MEM_OK)
        return WALK_ACCESS;
    *pte = old == *pte ? want : old;
    return WALK_OK;
}

// One table entry that ends the walk. WALK_OK with size 0: it changed, read it again.
static enum walk_result take_leaf(struct rv_cpu *c, const struct stage *s, uint64_t va,
                                  enum env_access access, unsigned level, uint64_t at, uint64_t pte,
                                  struct leaf *out, struct walk_fault *f)
{
    unsigned shift = PAGE_SHIFT + level * shape_of(RV_ATP_MODE(s->atp)).level_bits;
    uint64_t base = bits(pte, 53, PTE_PPN_SHIFT) << PAGE_SHIFT;
    if (pte & PTE_N) {
        if (level || bits(pte, 13, 10) != 8)
            return WALK_PAGE;
        shift = PAGE_SHIFT + NAPOT_BITS;
        base &= ~mask_low(shift);
    } else if (base & mask_low(shift)) {
        return WALK_PAGE;
    }
    unsigned perms = leaf_perms(s, pte);
    if (!(perms & access))
        return WALK_PAGE;
    uint64_t need = PTE_A | (access == ENV_WRITE ? PTE_D : 0);
    if (~pte & need) {
        if (!s->adue)
            return WALK_PAGE;
        uint64_t want = pte | need;
        enum walk_result r = update(c, s, at, &pte, want, f);
        out->size = 0;
        if (r != WALK_OK || pte != want)
            return r;
    }
    if (!(pte & PTE_D))
        perms &= ~(unsigned)ENV_WRITE; // a store must be seen
    out->pa = base | (va & mask_low(shift));
    out->size = 1ull << shift;
    out->perms = perms;
    out->global = (out->global || pte & PTE_G) && !(pte & PTE_U) && !s->second;
    return WALK_OK;
}

static bool in_range(const struct stage *s, uint64_t va, unsigned width)
{
    if (s->second)
        return !(va >> (width + 2));
    return width == 32 || (uint64_t)sign_extend(va & mask_low(width), width) == va;
}

static enum walk_result walk(struct rv_cpu *c, const struct stage *s, uint64_t va,
                             enum env_access access, struct leaf *out, struct walk_fault *f)
{
    unsigned mode = RV_ATP_MODE(s->atp);
    if (mode == RV_BARE) {
        *out = (struct leaf){
            .pa = va, .size = 1ull << 30, .perms = ENV_READ | ENV_WRITE | ENV_EXEC, .global = true};
        return WALK_OK;
    }
    struct shape t = shape_of(mode);
    unsigned width = PAGE_SHIFT + t.levels * t.level_bits;
    if (!in_range(s, va, width))
        return WALK_PAGE;
    uint64_t table = RV_ATP_PPN(s->atp) << PAGE_SHIFT;
    unsigned level = t.levels - 1;
    *out = (struct leaf){0};
    for (;;) {
        bool root = level == t.levels - 1;
        uint64_t index = va >> (PAGE_SHIFT + level * t.level_bits) &
                         mask_low(t.level_bits + (root && s->second ? 2 : 0));
        uint64_t at = table + index * t.entry, real = at, pte;
        struct mem_attrs attrs = {.requester = c->env.cpu_index};
        enum walk_result r = entry_address(c, s, &real, ENV_READ, f);
        if (r != WALK_OK)
            return r;
        if (space_read(c->config.memory, real, t.entry, &pte, attrs) != MEM_OK)
            return WALK_ACCESS;
        bool leaf = pte & (PTE_R | PTE_X);
        if (!(pte & PTE_V) || reserved(s, c, pte, leaf))
            return WALK_PAGE;
        if (leaf) {
            r = take_leaf(c, s, va, access, level, at, pte, out, f);
            if (r != WALK_OK || out->size)
                return r;
            continue;
        }
        if (!level)
            return WALK_PAGE;
        out->global |= pte & PTE_G;
        table = bits(pte, 53, PTE_PPN_SHIFT) << PAGE_SHIFT;
        level--;
    }
}

static enum walk_result walk_view(struct rv_cpu *c, const struct view *v, uint64_t va,
                                  enum env_access access, struct leaf *out, struct walk_fault *f)
{
    struct stage s = {.atp = first_atp(c, v),
                      .nested = v->virt && RV_ATP_MODE(c->hgatp) != RV_BARE,
                      .pbmte = (v->virt ? c->henvcfg : c->menvcfg) & RV_PBMTE,
                      .adue = (v->virt ? c->henvcfg : c->menvcfg) & RV_ADUE,
                      .priv = v->priv,
                      .sum = v->sum,
                      .mxr = v->mxr,
                      .code = v->code};
    enum walk_result r = walk(c, &s, va, access, out, f);
    if (r != WALK_OK || !s.nested)
        return r;
    struct stage g = second_stage(c, v);
    struct leaf second;
    uint64_t gpa = out->pa;
    r = walk(c, &g, gpa, access, &second, f);
    if (r == WALK_PAGE) {
        f->gpa = gpa;
        return WALK_GUEST;
    }
    out->pa = second.pa;
    // A fence of one address covers what the first stage maps there, however small the second one's
    // pages are; a fence of the second stage covers everything.
    if (RV_ATP_MODE(s.atp) == RV_BARE)
        out->size = second.size;
    out->perms &= second.perms;
    return r;
}

// ---- faults ----

static const uint8_t access_cause[3] = {RV_CAUSE_LOAD_ACCESS, RV_CAUSE_STORE_ACCESS,
                                        RV_CAUSE_FETCH_ACCESS};
static const uint8_t page_cause[3] = {RV_CAUSE_LOAD_PAGE, RV_CAUSE_STORE_PAGE, RV_CAUSE_FETCH_PAGE};
static const uint8_t guest_cause[3] = {RV_CAUSE_LOAD_GUEST_PAGE, RV_CAUSE_STORE_GUEST_PAGE,
                                       RV_CAUSE_FETCH_GUEST_PAGE};

static unsigned kind_of(enum env_access access)
{
    return access == ENV_EXEC ? 2 : access == ENV_WRITE ? 1 : 0;
}

static void fill(struct env_fault *f, gva_t va, enum env_access access, unsigned cause)
{
    *f = (struct env_fault){
        .va = va, .access = (uint8_t)access, .kind = 1 + cause, .info = {cause, va}};
}

void rv_bus_fault(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                  struct env_fault *f)
{
    struct rv_cpu *c = rv_cpu(e);
    fill(f, va, access, access_cause[kind_of(access)]);
    if (c->for_guest || view_of(c, access, MMU_CURRENT).virt)
        f->kind |= RV_FAULT_GVA;
}

void rv_align_fault(struct env *e, gva_t va, enum env_access access, unsigned mo,
                    struct env_fault *f)
{
    fill(f, va, access, access == ENV_WRITE ? RV_CAUSE_STORE_MISALIGNED : RV_CAUSE_LOAD_MISALIGNED);
    if (view_of(rv_cpu(e), access, MMU_CURRENT).virt)
        f->kind |= RV_FAULT_GVA;
}

void rv_take_fault(struct env *e, const struct env_fault *f)
{
    struct rv_cpu *c = rv_cpu(e);
    if (c->config.user_mode) {
        e->fault = *f;
        e->exec->leave(e, LEAVE_SIGNAL);
    }
    struct rv_trap t = {
        .cause = (unsigned)f->info[0], .tval = f->va, .gva = f->kind & RV_FAULT_GVA};
    if (f->kind & (RV_FAULT_IMPLICIT | RV_FAULT_IMPLICIT_WRITE)) // by the size of a table's entry
        t.tinst = (c->rv32 ? 0x2000 : 0x3000) | (f->kind & RV_FAULT_IMPLICIT_WRITE ? 0x20 : 0);
    if (t.cause >= RV_CAUSE_FETCH_GUEST_PAGE)
        t.gpa = f->info[1];
    rv_trap_enter(c, &t);
}

int rv_translate(struct env *e, gva_t va, enum env_access access, unsigned mmu,
                 struct env_xlat *out, struct env_fault *f)
{
    struct rv_cpu *c = rv_cpu(e);
    if (c->config.user_mode) {
        *out = (struct env_xlat){.pa = va,
                                 .page_size = 1ull << 30,
                                 .perms = ENV_READ | ENV_WRITE | ENV_EXEC,
                                 .global = true,
                                 .space = c->config.memory};
        return 0;
    }
    struct view v = view_of(c, access, mmu);
    struct leaf l;
    struct walk_fault why = {0};
    enum walk_result r = walk_view(c, &v, va, access, &l, &why);
    uint64_t span = 0;
    if (r == WALK_OK) {
        unsigned allowed = rv_pmp_perms(c, l.pa, 1, v.priv, &span);
        l.perms &= allowed;
        if (!(allowed & access))
            r = WALK_ACCESS;
    }
    if (r != WALK_OK) {
        const uint8_t *cause = r == WALK_PAGE    ? page_cause
                               : r == WALK_GUEST ? guest_cause
                                                 : access_cause;
        fill(f, va, access, cause[kind_of(access)]);
        f->kind |= (v.virt ? RV_FAULT_GVA : 0) | why.implicit;
        if (r == WALK_GUEST)
            f->info[1] = why.gpa;
        if (log_on(LOG_MMU))
            log_debug("hart %u: %c%s access %u at 0x%016llx: exception %u", e->cpu_index,
                      "US?M"[v.priv], v.virt ? " (virtual)" : "", access, (unsigned long long)va,
                      (unsigned)f->info[0]);
        return -1;
    }
    c->judged.pa = l.pa;
    c->judged.priv = v.priv;
    *out = (struct env_xlat){.pa = l.pa,
                             .page_size = span < 4096 ? span : l.size,
                             .watched = span < 4096,
                             .perms = (uint8_t)l.perms,
                             .global = l.global,
                             .attrs = {.requester = e->cpu_index},
                             .space = c->config.memory};
    return 0;
}

// ---- fences ----

void rv_fence(struct rv_cpu *c, enum rv_fence kind, bool by_va, uint64_t va, bool by_id,
              uint64_t id)
{
    struct env_flush f = {.ctx_mask = 1ull << CTX_VALID, .ctx_value = 1ull << CTX_VALID};
    bool virt = kind != RV_FENCE_VMA || c->virt;
    f.ctx_mask |= 1ull << CTX_VIRT;
    f.ctx_value |= (uint64_t)virt << CTX_VIRT;
    if (kind == RV_FENCE_GVMA) { // by guest-physical address: which mappings use it is not known
        if (by_id) {
            f.ctx_mask |= mask_low(14) << CTX_VMID;
            f.ctx_value |= (id & mask_low(14)) << CTX_VMID;
        }
        c->env.exec->flush(&c->env, &f, false);
        return;
    }
    if (virt) {
        f.ctx_mask |= mask_low(14) << CTX_VMID;
        f.ctx_value |= bits(c->hgatp, 57, 44) << CTX_VMID;
    }
    if (by_va) { // whatever its address space
        f.va = va & ~4095ull;
        f.len = 4096;
    } else if (by_id) {
        f.ctx_mask |= 0xffffull << CTX_ASID;
        f.ctx_value |= (id & 0xffff) << CTX_ASID;
    }
    c->env.exec->flush(&c->env, &f, false);
}

// An access in a page of which not all is protected alike: its first byte was translated just now.
static int rv_watch(struct env *e, gva_t va, unsigned size, enum env_access access,
                    struct env_fault *f)
{
    struct rv_cpu *c = rv_cpu(e);
    uint64_t span;
    size = MIN(size, (unsigned)(4096 - (va & 4095)));
    if (rv_pmp_perms(c, c->judged.pa, size, c->judged.priv, &span) & access)
        return 0;
    rv_bus_fault(e, va, access, MEM_ERROR, f);
    return -1;
}

const struct env_isa_ops rv_ops = {
    .translate = rv_translate,
    .bus_fault = rv_bus_fault,
    .align_fault = rv_align_fault,
    .take_fault = rv_take_fault,
    .watch = rv_watch,
    .mode = rv_mode,
    .take_interrupt = rv_take_interrupt,
    .has_work = rv_has_work,
    .ctx_space_mask = CTX_SPACE_MASK,
};
