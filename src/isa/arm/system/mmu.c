// Address translation: VMSAv8-64 with 4, 16 and 64 KiB granules, stages 1 and 2, regimes EL1&0,
// EL2, EL2&0 and EL3. DDI 0487, D5 (D8 in later issues) "The AArch64 Virtual Memory System
// Architecture". 52-bit addresses with the 64 KiB granule. Not modelled: hardware
// management of the access flag and dirty state, 52-bit addresses with 4 and 16 KiB granules,
// memory tagging.
#include "isa/arm/arm_bits.h"
#include "base/log.h"

enum regime { REGIME_EL10, REGIME_EL2, REGIME_EL20, REGIME_EL3 };

// Fault status codes, ISS bits 5:0 of an abort; levels are added.
enum {
    FSC_ADDR_SIZE = 0x00,
    FSC_TRANSLATION = 0x04,
    FSC_ACCESS_FLAG = 0x08,
    FSC_PERMISSION = 0x0c,
    FSC_EXTERNAL = 0x10,
    FSC_EXTERNAL_WALK = 0x14,
    FSC_ALIGNMENT = 0x21,
    FSC_DEBUG = 0x22
};
// env_fault.kind
enum {
    FAULT_FSC = 0x3f,
    FAULT_S2 = 1 << 6,
    FAULT_S1PTW = 1 << 7,
    FAULT_VALID = 1 << 8,
    FAULT_CM = 1 << 9,
    FAULT_WATCH = 1 << 10,
    FAULT_AGAIN = 1 << 11, // nothing is wrong: what code means has changed, fetch it anew
};

struct walk {
    struct arm_cpu *c;
    enum regime regime;
    bool user, pan, secure, s2;
    bool guarded; // out: the page found is
    struct space *space;
};

static bool host_mode(const struct arm_cpu *c)
{
    return (arm_hcr(c) & (HCR_E2H | HCR_TGE)) == (HCR_E2H | HCR_TGE);
}

static enum regime regime_of(const struct arm_cpu *c, unsigned el)
{
    if (el == 3)
        return REGIME_EL3;
    if (el == 2)
        return c->hcr_el2 & HCR_E2H ? REGIME_EL20 : REGIME_EL2;
    return el == 0 && host_mode(c) ? REGIME_EL20 : REGIME_EL10;
}

static unsigned regime_el(enum regime r)
{
    return r == REGIME_EL10 ? 1 : r == REGIME_EL3 ? 3 : 2;
}

unsigned arm_regime_el(const struct arm_cpu *c)
{
    return regime_el(regime_of(c, c->el));
}

static bool regime_two_halves(enum regime r)
{
    return r == REGIME_EL10 || r == REGIME_EL20;
}

// ---- contexts: what the executor's address cache is keyed by ----

// Layout of the 64-bit context id.
enum {
    CTX_ASID = 0,
    CTX_VMID = 16,
    CTX_REGIME = 32,
    CTX_USER = 34,
    CTX_PAN = 35,
    CTX_OFF = 36,
    CTX_SECURE = 37,
    CTX_S2 = 38,
    CTX_VALID = 39
};

static uint64_t current_asid(const struct arm_cpu *c, enum regime r)
{
    if (!regime_two_halves(r))
        return 0;
    unsigned el = regime_el(r);
    uint64_t ttbr = bit(c->tcr[el], 22) ? c->ttbr1[el] : c->ttbr0[el];
    uint64_t asid = ttbr >> 48;
    return bit(c->tcr[el], 36) ? asid : asid & 0xff;
}

static bool stage2_on(const struct arm_cpu *c, enum regime r)
{
    return r == REGIME_EL10 && (arm_hcr(c) & (HCR_VM | HCR_DC));
}

static uint64_t current_vmid(const struct arm_cpu *c)
{
    return bit(c->vtcr_el2, 19) ? c->vttbr_el2 >> 48 : bits(c->vttbr_el2, 55, 48);
}

static bool stage1_on(const struct arm_cpu *c, enum regime r)
{
    if (r == REGIME_EL10 && (arm_hcr(c) & (HCR_DC | HCR_TGE)))
        return false;
    return c->sctlr[regime_el(r)] & SCTLR_M;
}

static uint64_t make_context(const struct arm_cpu *c, unsigned el, bool user, bool pan)
{
    enum regime r = regime_of(c, user && el < 2 ? 0 : el);
    bool s2 = stage2_on(c, r), secure = !arm_nonsecure(c);
    return current_asid(c, r) << CTX_ASID |
           (r == REGIME_EL10 && arm_el2_enabled(c) ? current_vmid(c) << CTX_VMID : 0) |
           (uint64_t)r << CTX_REGIME | (uint64_t)user << CTX_USER | (uint64_t)pan << CTX_PAN |
           (uint64_t)!stage1_on(c, r) << CTX_OFF | (uint64_t)secure << CTX_SECURE |
           (uint64_t)s2 << CTX_S2 | 1ull << CTX_VALID;
}

// Unprivileged loads and stores behave as EL0's unless UAO is set, or where the level has no EL0.
static bool unprivileged_is_user(const struct arm_cpu *c)
{
    return c->el == 0 || (!c->uao && (c->el == 1 || (c->el == 2 && host_mode(c))));
}

void arm_mmu_set_contexts(struct arm_cpu *c)
{
    if (!c->env.exec || !c->env.exec->set_context)
        return;
    c->env.exec->set_context(&c->env, 0, make_context(c, c->el, c->el == 0, c->pan && c->el));
    bool user = unprivileged_is_user(c);
    c->env.exec->set_context(&c->env, 1, make_context(c, c->el, user, !user && c->pan));
}

// ---- table walks ----

static int fault(struct env_fault *f, gva_t va, enum env_access access, uint32_t kind, uint64_t ipa)
{
    f->va = va;
    f->access = access;
    f->kind = kind | FAULT_VALID;
    f->info[0] = ipa;
    return -1;
}

struct s2_result {
    uint64_t pa, size;
    bool read, write, exec_priv, exec_user, device;
};

static const uint8_t pa_size_table[8] = {32, 36, 40, 42, 44, 48, 52, 52};

static unsigned granule_shift_tg0(unsigned tg0)
{
    return tg0 == 0 ? 12 : tg0 == 2 ? 14 : 16;
}

static unsigned granule_shift_tg1(unsigned tg1)
{
    return tg1 == 2 ? 12 : tg1 == 1 ? 14 : 16;
}

static int read_descriptor(struct walk *w, uint64_t pa, uint64_t *d)
{
    struct mem_attrs a = {.requester = w->c->env.cpu_index, .secure = w->secure};
    return space_read(w->space, pa, 8, d, a) == MEM_OK ? 0 : -1;
}

// FEAT_LPA: 52-bit addresses, with the 64 KiB granule alone.
static bool wide(const struct arm_cpu *c, unsigned granule)
{
    return granule == 16 && c->pa_bits == 52;
}

// The output address bits of a table or block descriptor.
static uint64_t descriptor_address(const struct arm_cpu *c, uint64_t d, unsigned shift,
                                   unsigned granule)
{
    uint64_t a = d & mask_low(48) & ~mask_low(shift);
    return wide(c, granule) ? a | bits(d, 15, 12) << 48 : a;
}

// Where the first table lies, of so many entries (log2).
static uint64_t root_address(uint64_t ttbr, unsigned entries, bool is_wide)
{
    uint64_t a = ttbr & mask_low(48) & ~mask_low(MAX(entries + 3, is_wide ? 6u : 4u));
    return is_wide ? a | bits(ttbr, 5, 2) << 48 : a;
}

static bool is_block(const struct arm_cpu *c, uint64_t d, int level, unsigned granule)
{
    return (d & 3) == 1 && (level == 2 || (level == 1 && (granule == 12 || wide(c, granule))));
}

// Bits 54 and 53 of a stage 2 descriptor: for EL1, or for EL0, which FEAT_XNX tells apart.
static bool stage2_executable(const struct arm_cpu *c, uint64_t d, bool el0)
{
    unsigned xn = bits(d, 54, 53);
    if (!arm_has(c, ARM_FEAT_XNX))
        return !(xn & 2);
    return xn == 0 || xn == (el0 ? 1 : 3);
}

// The first level VTCR asks for, or -1 where that does not go with the size of addresses: up to
// sixteen tables may lie side by side.
static int stage2_first_level(unsigned sl0, unsigned g, unsigned ia)
{
    int level = g == 12 ? 2 - (int)sl0 : 3 - (int)sl0;
    if (sl0 == 3 && g != 14)
        return -1;
    unsigned below = g + (3 - (unsigned)level) * (g - 3);
    return ia > below && ia <= below + g - 3 + 4 ? level : -1;
}

// One entry of a table of either stage.
struct entry {
    uint64_t d, next; // the descriptor; the address in it
    bool leaf;        // a block or page, else a table
};

static int entry_fault(uint32_t *fsc, uint32_t what, int level)
{
    *fsc = what | (uint32_t)level;
    return -1;
}

// Reads the entry at `pa`; -1 and the fault to take.
static int read_entry(struct walk *w, uint64_t pa, int level, unsigned shift, unsigned g,
                      unsigned pa_max, struct entry *out, uint32_t *fsc)
{
    const struct arm_cpu *c = w->c;
    uint64_t d;
    if (read_descriptor(w, pa, &d))
        return entry_fault(fsc, FSC_EXTERNAL_WALK, level);
    bool block = is_block(c, d, level, g);
    if (!block && (d & 3) != 3)
        return entry_fault(fsc, FSC_TRANSLATION, level);
    bool leaf = block || level == 3;
    *out = (struct entry){d, descriptor_address(c, d, leaf ? shift : g, g), leaf};
    if (out->next >> pa_max)
        return entry_fault(fsc, FSC_ADDR_SIZE, level);
    return leaf && !bit(d, 10) ? entry_fault(fsc, FSC_ACCESS_FLAG, level) : 0;
}

static int stage2(struct walk *w, uint64_t ipa, struct s2_result *out, uint32_t *fsc)
{
    struct arm_cpu *c = w->c;
    uint64_t vtcr = c->vtcr_el2;
    unsigned g = granule_shift_tg0(bits(vtcr, 15, 14)), bits_per = g - 3;
    unsigned ia = 64 - (unsigned)bits(vtcr, 5, 0);
    int level = stage2_first_level(bits(vtcr, 7, 6), g, ia);
    unsigned pa_max = MIN(c->pa_bits, pa_size_table[bits(vtcr, 18, 16)]);
    if (ia > 52 || ia < 25 || level < 0 || ipa >> ia) {
        *fsc = FSC_TRANSLATION;
        return -1;
    }
    unsigned shift = g + (3 - (unsigned)level) * bits_per;
    uint64_t table = root_address(c->vttbr_el2, ia - shift, wide(c, g) && pa_max == 52);
    uint64_t index = ipa >> shift;
    for (;; level++) {
        struct entry t;
        if (read_entry(w, table + index * 8, level, shift, g, pa_max, &t, fsc))
            return -1;
        if (!t.leaf) {
            table = t.next;
            shift -= bits_per;
            index = (ipa >> shift) & mask_low(bits_per);
            continue;
        }
        *out = (struct s2_result){.pa = t.next | (ipa & mask_low(shift)),
                                  .size = 1ull << shift,
                                  .read = bit(t.d, 6),
                                  .write = bit(t.d, 7),
                                  .exec_priv = stage2_executable(c, t.d, false),
                                  .exec_user = stage2_executable(c, t.d, true),
                                  .device = bits(t.d, 5, 4) == 0};
        *fsc = FSC_PERMISSION | (uint32_t)level;
        return 0;
    }
}

// The physical address of a stage 1 table: through stage 2 where that is on.
static int table_address(struct walk *w, uint64_t *table, uint32_t *kind)
{
    struct s2_result s;
    uint32_t fsc;
    if (!w->s2)
        return 0;
    if (stage2(w, *table, &s, &fsc) || !s.read || ((w->c->hcr_el2 & HCR_PTW) && s.device)) {
        *kind = fsc | FAULT_S2 | FAULT_S1PTW;
        return -1;
    }
    *table = s.pa;
    return 0;
}

struct s1_result {
    uint64_t pa, size;
    uint8_t perms;
    bool global, device, guarded, ns;
    uint32_t level;
};

static uint8_t stage1_perms(const struct walk *w, bool el0_capable, uint64_t d, unsigned ap_table,
                            bool xn_table, bool pxn_table)
{
    const struct arm_cpu *c = w->c;
    bool ro = bit(d, 7) || (ap_table & 2), user_ok = bit(d, 6) && !(ap_table & 1);
    bool xn = bit(d, 54) || xn_table, pxn = bit(d, 53) || pxn_table;
    bool wxn = c->sctlr[regime_el(w->regime)] & SCTLR_WXN;
    uint8_t p = 0;
    if (!el0_capable) {
        p = ENV_READ | (ro ? 0 : ENV_WRITE) | (xn || (wxn && !ro) ? 0 : ENV_EXEC);
        return p;
    }
    if (w->user) {
        if (user_ok)
            p = ENV_READ | (ro ? 0 : ENV_WRITE);
        if (!xn && !(wxn && !ro && user_ok))
            p |= ENV_EXEC;
        return p;
    }
    p = ENV_READ | (ro ? 0 : ENV_WRITE);
    // Code that EL0 may write is never executable at EL1.
    if (!pxn && !(user_ok && !ro) && !(wxn && !ro))
        p |= ENV_EXEC;
    if (w->pan && user_ok)
        p &= ENV_EXEC;
    return p;
}

static int stage1(struct walk *w, gva_t va, struct s1_result *out, uint32_t *kind, uint64_t *ipa)
{
    struct arm_cpu *c = w->c;
    unsigned el = regime_el(w->regime);
    uint64_t tcr = c->tcr[el];
    bool two = regime_two_halves(w->regime), high = two && bit(va, 55);
    bool tbi = two ? bit(tcr, high ? 38 : 37) : bit(tcr, 20);
    unsigned tsz = high ? bits(tcr, 21, 16) : bits(tcr, 5, 0);
    unsigned g = high ? granule_shift_tg1(bits(tcr, 31, 30)) : granule_shift_tg0(bits(tcr, 15, 14));
    unsigned ps = two ? bits(tcr, 34, 32) : bits(tcr, 18, 16);
    unsigned min_tsz = g == 16 && arm_has(c, ARM_FEAT_LVA) ? 12 : 16;
    tsz = MIN(MAX(tsz, min_tsz), 39u);
    unsigned ia = 64 - tsz, bits_per = g - 3, pa_max = MIN(c->pa_bits, pa_size_table[ps]);
    uint64_t top = tbi ? bits(va, 55, 0) >> ia : va >> ia,
             want = high ? mask_low((tbi ? 56 : 64) - ia) : 0;
    bool disabled = two && bit(tcr, high ? 23 : 7);
    *kind = FSC_TRANSLATION;
    if (top != want || disabled)
        return -1;
    unsigned levels = (ia - g + bits_per - 1) / bits_per;
    int level = 4 - (int)levels;
    unsigned shift = g + (levels - 1) * bits_per;
    uint64_t ttbr = high ? c->ttbr1[el] : c->ttbr0[el];
    uint64_t table = root_address(ttbr, ia - shift, g == 16 && pa_max == 52);
    if (table >> pa_max) {
        *kind = FSC_ADDR_SIZE;
        return -1;
    }
    uint64_t input = va & mask_low(ia);
    unsigned ap_table = 0;
    bool xn_table = false, pxn_table = false;
    for (;; level++, shift -= bits_per) {
        struct entry t;
        uint64_t index =
            (input >> shift) & mask_low(level == 4 - (int)levels ? ia - shift : bits_per);
        *ipa = table;
        if (table_address(w, &table, kind))
            return -1;
        if (read_entry(w, table + index * 8, level, shift, g, pa_max, &t, kind))
            return -1;
        uint64_t d = t.d;
        if (!t.leaf) {
            bool hpd = two ? bit(tcr, high ? 42 : 41) : bit(tcr, 24);
            if (!hpd) {
                ap_table |= bits(d, 62, 61);
                xn_table |= bit(d, 60);
                pxn_table |= bit(d, 59);
            }
            table = t.next;
            continue;
        }
        unsigned attr = bits(c->mair[el], bits(d, 4, 2) * 8 + 7, bits(d, 4, 2) * 8);
        *out = (struct s1_result){.pa = t.next | (input & mask_low(shift)),
                                  .size = 1ull << shift,
                                  .global = two && !bit(d, 11),
                                  .device = !(attr & 0xf0),
                                  .guarded = bit(d, 50),
                                  .ns = bit(d, 5),
                                  .level = (uint32_t)level,
                                  .perms = stage1_perms(w, two, d, ap_table, xn_table, pxn_table)};
        return 0;
    }
}

// Stage 1 off: the address is the output address, within what the CPU can address.
static int flat(struct walk *w, gva_t va, struct s1_result *out, uint32_t *kind)
{
    struct arm_cpu *c = w->c;
    uint64_t tcr = c->tcr[regime_el(w->regime)];
    bool two = regime_two_halves(w->regime);
    bool tbi = two ? bit(tcr, bit(va, 55) ? 38 : 37) : bit(tcr, 20);
    uint64_t a = tbi ? va & mask_low(56) : va;
    *kind = FSC_ADDR_SIZE;
    if (a >> c->pa_bits)
        return -1;
    bool dc = w->regime == REGIME_EL10 && (arm_hcr(c) & HCR_DC);
    *out = (struct s1_result){.pa = a,
                              .size = 1ull << 21,
                              .perms = ENV_READ | ENV_WRITE | ENV_EXEC,
                              .device = !dc,
                              .ns = arm_nonsecure(c)};
    return 0;
}

static int walk_both(struct walk *w, gva_t va, enum env_access access, struct env_xlat *out,
                     struct env_fault *f)
{
    struct s1_result s1;
    uint32_t kind = 0;
    uint64_t ipa = 0;
    bool on = stage1_on(w->c, w->regime);
    if (on ? stage1(w, va, &s1, &kind, &ipa) : flat(w, va, &s1, &kind))
        return fault(f, va, access, kind, ipa);
    if (!(s1.perms & access))
        return fault(f, va, access, FSC_PERMISSION | s1.level, 0);
    w->guarded = s1.guarded;
    struct s2_result s2 = {.pa = s1.pa,
                           .size = s1.size,
                           .read = true,
                           .write = true,
                           .exec_priv = true,
                           .exec_user = true};
    if (w->s2 && (w->c->hcr_el2 & HCR_VM)) {
        uint32_t fsc = 0;
        bool missing = stage2(w, s1.pa, &s2, &fsc);
        bool ok = !missing && (access == ENV_READ    ? s2.read
                               : access == ENV_WRITE ? s2.write
                               : w->user             ? s2.exec_user
                                                     : s2.exec_priv);
        if (!ok)
            return fault(f, va, access, fsc | FAULT_S2, s1.pa);
    }
    uint8_t perms = s1.perms & ((s2.read ? ENV_READ : 0) | (s2.write ? ENV_WRITE : 0) |
                                ((w->user ? s2.exec_user : s2.exec_priv) ? ENV_EXEC : 0));
    bool secure = w->secure && !(on && s1.ns);
    // Maintenance by address covers what stage 1 maps, however small stage 2's pages are; changes
    // of stage 2 are followed by maintenance of all addresses.
    *out = (struct env_xlat){.pa = s2.pa,
                             .page_size = on ? s1.size : MIN(s1.size, s2.size),
                             .perms = perms,
                             .global = s1.global && on,
                             .device = s1.device || s2.device,
                             .attrs = {.requester = w->c->env.cpu_index, .secure = secure},
                             .space = w->space};
    // Without stage 1 all data accesses are to Device memory architecturally; the alignment check
    // that follows from it is kept only with the MMU on, as other implementations of virtual
    // machines do and firmware has come to expect.
    if (!on)
        out->device = false;
    return 0;
}

static struct walk walk_for(struct arm_cpu *c, enum regime r, bool user, bool pan)
{
    bool secure = !arm_nonsecure(c);
    return (struct walk){.c = c,
                         .regime = r,
                         .user = user,
                         .pan = pan,
                         .secure = secure,
                         .s2 = stage2_on(c, r),
                         .space = secure && c->config.secure_memory ? c->config.secure_memory
                                                                    : c->config.memory};
}

bool arm_page_guarded(struct arm_cpu *c, gva_t va)
{
    struct env_xlat out;
    struct env_fault f;
    struct walk w = walk_for(c, regime_of(c, c->el), c->el == 0, false);
    return !walk_both(&w, va, ENV_EXEC, &out, &f) && w.guarded;
}

int arm_translate(struct env *e, gva_t va, enum env_access access, unsigned mmu,
                  struct env_xlat *out, struct env_fault *f)
{
    struct arm_cpu *c = arm_cpu(e);
    bool user = mmu == 1 ? unprivileged_is_user(c) : c->el == 0;
    enum regime r = regime_of(c, user && c->el < 2 ? 0 : c->el);
    struct walk w = walk_for(c, r, user, c->pan && !user);
    if (walk_both(&w, va, access, out, f)) {
        if (log_on(LOG_MMU))
            log_debug("cpu %u: EL%u access %u at 0x%016llx: fault 0x%x", e->cpu_index, c->el,
                      access, (unsigned long long)va, f->kind);
        return -1;
    }
    if (access == ENV_EXEC && w.guarded && !c->guarded && arm_has(c, ARM_FEAT_BTI)) {
        c->guarded = true;
        arm_state_changed(c);
        return fault(f, va, access, FAULT_AGAIN, 0);
    }
    if ((c->mdscr_el1 & MDSCR_MDE) && access != ENV_EXEC)
        for (unsigned i = 0; i < ARRAY_SIZE(c->dbgwcr); i++)
            if ((c->dbgwcr[i] & 1) && (c->dbgwvr[i] ^ va) < 4096)
                out->watched = true;
    return 0;
}

// ---- faults become exceptions ----

void arm_bus_fault(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                   struct env_fault *f)
{
    fault(f, va, access, FSC_EXTERNAL, 0);
}

void arm_align_fault(struct env *e, gva_t va, enum env_access access, unsigned mo,
                     struct env_fault *f)
{
    fault(f, va, access, FSC_ALIGNMENT, 0);
}

// The syndrome a hypervisor emulates an access from: only for the plain loads and stores of one
// general register. D17, ISS of a data abort.
static uint64_t access_syndrome(struct arm_cpu *c)
{
    uint32_t insn;
    if (c->env.exec->peek(&c->env, c->pc, &insn, 4))
        return 0;
    bool plain = (insn & 0x3b000000) == 0x39000000 || (insn & 0x3b200000) == 0x38000000 ||
                 (insn & 0x3b200c00) == 0x38200800;
    if (!plain || (insn & 1u << 26) ||
        (insn & 0x3b200400) == 0x38000400) // SIMD, or with write-back
        return 0;
    unsigned size = insn >> 30, opc = bits(insn, 23, 22);
    if (size == 3 && opc >= 2)
        return 0; // PRFM
    bool sf = opc == 0 || opc == 1 ? size == 3 : opc == 2;
    return 1ull << 24 | (uint64_t)size << 22 | (uint64_t)(opc >= 2) << 21 |
           (uint64_t)(insn & 31) << 16 | (uint64_t)sf << 15;
}

void arm_fault_take(struct env *e, const struct env_fault *f)
{
    struct arm_cpu *c = arm_cpu(e);
    if (f->kind & FAULT_AGAIN)
        return;
    bool fetch = f->access == ENV_EXEC, s2 = f->kind & FAULT_S2;
    unsigned target = s2 ? 2 : arm_sync_target(c);
    unsigned fsc = f->kind & FAULT_FSC;
    if ((fsc == FSC_EXTERNAL || (fsc & 0x3c) == FSC_EXTERNAL_WALK) && c->has_el3 &&
        (c->scr_el3 & SCR_EA))
        target = 3;
    target = MAX(target, c->el);
    bool lower = target > c->el;
    uint64_t iss = fsc | (f->kind & FAULT_S1PTW ? 1 << 7 : 0) |
                   (f->access == ENV_WRITE ? 1 << 6 : 0) |
                   (f->kind & FAULT_CM ? 1 << 8 | 1 << 6 : 0);
    unsigned ec =
        fetch ? (lower ? EC_IABORT_LOWER : EC_IABORT) : (lower ? EC_DABORT_LOWER : EC_DABORT);
    if (f->kind & FAULT_WATCH) {
        target = MAX(arm_debug_target(c), c->el);
        ec = target > c->el ? EC_WATCH_LOWER : EC_WATCH;
    }
    if (s2) {
        if (!fetch && !(f->kind & FAULT_S1PTW))
            iss |= access_syndrome(c);
        c->hpfar_el2 = bits(f->info[0], 51, 12) << 4;
    }
    arm_take_exception(c, target, ESR_MAKE(ec, iss), &f->va, c->pc);
}

int arm_watch(struct env *e, gva_t va, unsigned size, enum env_access access, struct env_fault *f)
{
    struct arm_cpu *c = arm_cpu(e);
    if (!(c->mdscr_el1 & MDSCR_MDE) || (c->oslsr_el1 & 2))
        return 0;
    unsigned target = arm_debug_target(c);
    if (c->el > target || (c->el == target && (!(c->mdscr_el1 & MDSCR_KDE) || c->daif_d)))
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(c->dbgwcr); i++) {
        uint64_t wcr = c->dbgwcr[i], lsc = bits(wcr, 4, 3), pac = bits(wcr, 2, 1), base, len;
        if (!(wcr & 1) || !(lsc & (access == ENV_WRITE ? 2 : 1)) || !(pac & (c->el == 0 ? 2 : 1)))
            continue;
        unsigned mask = bits(wcr, 28, 24), bas = bits(wcr, 12, 5);
        if (mask) {
            base = c->dbgwvr[i] & ~mask_low(mask);
            len = 1ull << mask;
        } else if (bas) {
            unsigned lo = (unsigned)__builtin_ctz(bas);
            base = (c->dbgwvr[i] & ~7ull) + lo;
            len = (unsigned)__builtin_popcount(bas);
        } else {
            continue;
        }
        if (va < base + len && va + size > base)
            return fault(f, va, access, FSC_DEBUG | FAULT_WATCH, 0);
    }
    return 0;
}

// ---- AT and TLBI ----

void arm_address_translate(struct arm_cpu *c, uint32_t key, uint64_t va)
{
    unsigned op1 = bits(key, 13, 11), crm = bits(key, 6, 3), op2 = key & 7;
    bool write = op2 & 1, user = op2 == 2 || op2 == 3 || op2 == 6 || op2 == 7;
    bool s12 = op2 >= 4 && op1 == 4;
    unsigned el = op1 == 6 ? 3 : op1 == 4 && !s12 ? 2 : 1;
    enum regime r = el == 1 ? (host_mode(c) && c->el == 2 && op1 == 0 ? REGIME_EL20 : REGIME_EL10)
                            : regime_of(c, el);
    struct walk w = walk_for(c, r, user && regime_two_halves(r), crm == 9 && c->pan);
    if (op1 == 0 && c->el < 2 && stage2_on(c, r))
        w.s2 = true; // tables are IPAs; the result is one too: only the final step is left out
    struct env_xlat x;
    struct env_fault f;
    struct s1_result s1;
    uint32_t kind = 0;
    uint64_t ipa = 0;
    enum env_access access = write ? ENV_WRITE : ENV_READ;
    if (s12 ? walk_both(&w, va, access, &x, &f)
            : (stage1_on(c, r) ? stage1(&w, va, &s1, &kind, &ipa) : flat(&w, va, &s1, &kind)) ||
                  (!(s1.perms & access) && ((kind = FSC_PERMISSION | s1.level), true))) {
        if (s12)
            kind = f.kind;
        c->par_el1 = 1 | (uint64_t)(kind & FAULT_FSC) << 1 | (kind & FAULT_S1PTW ? 1ull << 8 : 0) |
                     (kind & FAULT_S2 ? 1ull << 9 : 0) | 1ull << 11;
        return;
    }
    uint64_t pa = s12 ? x.pa : s1.pa;
    bool device = s12 ? x.device : s1.device;
    c->par_el1 = (pa & 0x000ffffffffff000ull) | 1ull << 11 |
                 (device ? 0 : 0xffull << 56 | 3ull << 7) | (arm_nonsecure(c) ? 1ull << 9 : 0);
}

// D8.12: op1 names the regime, CRm the shareability and range form, op2 the kind.
void arm_tlbi(struct arm_cpu *c, uint32_t key, uint64_t arg)
{
    unsigned op1 = bits(key, 13, 11), crm = bits(key, 6, 3), op2 = key & 7, crn = bits(key, 10, 7);
    bool broadcast = crm == 1 || crm == 2 || crm == 3 || crm == 5 || crm == 0;
    bool ipa = op1 == 4 && (crm == 0 || crm == 4);
    struct env_flush f = {0};
    uint64_t regime = op1 == 6                     ? REGIME_EL3
                      : op1 == 4                   ? regime_of(c, 2)
                      : c->el == 2 && host_mode(c) ? REGIME_EL20
                                                   : REGIME_EL10;
    if (op1 == 4 && (op2 == 4 || op2 == 6 || ipa))
        regime = REGIME_EL10;
    (void)crn;
    f.ctx_mask = 3ull << CTX_REGIME | 1ull << CTX_VALID;
    f.ctx_value = regime << CTX_REGIME | 1ull << CTX_VALID;
    if (regime == REGIME_EL10 && arm_el2_enabled(c)) {
        f.ctx_mask |= 0xffffull << CTX_VMID;
        f.ctx_value |= current_vmid(c) << CTX_VMID;
    }
    bool by_va = !ipa && (op2 == 1 || op2 == 3 || op2 == 5 || op2 == 7),
         by_asid = !ipa && op1 == 0 && (op2 == 1 || op2 == 2 || op2 == 5);
    if (regime == REGIME_EL20 && (op2 == 1 || op2 == 5))
        by_asid = true;
    if (op1 == 4 && op2 == 4) // ALLE1: every VMID
        f.ctx_mask &= ~(0xffffull << CTX_VMID), f.ctx_value &= f.ctx_mask;
    if (by_va) {
        f.va = (uint64_t)(sign_extend(arg & mask_low(44), 44) << 12);
        f.len = 4096;
        // A larger granule, or a block mapping, is cached in 4 KiB pieces: invalidate the whole of
        // what one entry could cover.
        uint64_t tcr = c->tcr[regime_el((enum regime)regime)];
        bool high = regime_two_halves((enum regime)regime) && bit(f.va, 55);
        f.len = 1ull << (high ? granule_shift_tg1(bits(tcr, 31, 30))
                              : granule_shift_tg0(bits(tcr, 15, 14)));
        f.va &= ~(f.len - 1);
        f.last_level_only = op2 >= 5;
    }
    if (by_asid) {
        uint64_t asid = arg >> 48;
        if (!bit(c->tcr[regime_el((enum regime)regime)], 36))
            asid &= 0xff;
        // Global entries match every ASID: the executor keeps them under the context that loaded
        // them, so by-VA forms go to all contexts.
        if (!by_va) {
            f.ctx_mask |= 0xffffull << CTX_ASID;
            f.ctx_value |= asid << CTX_ASID;
        }
    }
    c->env.exec->flush(&c->env, &f, broadcast);
}
