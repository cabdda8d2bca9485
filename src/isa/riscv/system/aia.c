// The hart's side of the RISC-V Advanced Interrupt Architecture 1.0 (Smaia, Ssaia): which pending
// interrupt comes first when priorities are configured, interrupts that machine level or a
// hypervisor injects, and the windows onto the interrupt files of an IMSIC. An IMSIC is a device
// the hart reaches through its system-register space, which the board lays out: one interrupt file
// every RV_IMSIC_STRIDE bytes (machine level, supervisor level, guests from number 1). Without one
// the same registers exist as far as chapter 2 says. Not modelled: local interrupts (major
// identities 13 and up), so mvien and hvien offer none of them.
#include "isa/riscv/csr.h"
#include "isa/riscv/system/system.h"

#include <limits.h>

// ---- the IMSIC ----

enum { FILE_M, FILE_S, FILE_GUEST }; // guest n: FILE_GUEST + n - 1
// In a file's part of the space: registers by *iselect number, *topei as number 0; further windows
// where a write sets or clears bits.
enum { WINDOW_SET = 0x800, WINDOW_CLEAR = 0x1000, TOPEI = 0 };
enum {
    IPRIO_FIRST = 0x30,
    IPRIO_LAST = 0x3f,
    IMSIC_FIRST = 0x70,
    EIP_FIRST = 0x80,
    EIE_LAST = 0xff
};

void rv_aia_init(struct rv_cpu *c)
{
    c->guests = RV_GUESTS;
    if (!c->config.sysregs)
        return;
    while (c->imsic_files < FILE_GUEST + RV_GUESTS &&
           space_lookup(c->config.sysregs, (gpa_t)c->imsic_files * RV_IMSIC_STRIDE).kind ==
               SPACE_MMIO)
        c->imsic_files++;
    c->guests = c->imsic_files > FILE_GUEST ? (uint8_t)(c->imsic_files - FILE_GUEST) : 0;
    if (rv_has(c, RV_FEAT_S)) // an IMSIC is reached by these registers alone
        rv_model_add(c, RV_FEAT_SMAIA), rv_model_add(c, RV_FEAT_SSAIA);
}

// The file of the current virtual hart (hstatus.VGEIN), or -1.
static int guest_file(const struct rv_cpu *c)
{
    unsigned guest = (unsigned)bits(c->hstatus, 17, 12), file = FILE_GUEST + guest - 1;
    return guest && file < c->imsic_files ? (int)file : -1;
}

static int file_of(const struct rv_cpu *c, enum rv_aia_level level)
{
    if (level == RV_AIA_VS)
        return guest_file(c);
    return (unsigned)level < c->imsic_files ? (int)level : -1;
}

static uint64_t file_read(struct rv_cpu *c, int file, unsigned reg)
{
    uint64_t v = 0;
    space_read(c->config.sysregs, (gpa_t)file * RV_IMSIC_STRIDE + reg * 8, 8, &v,
               (struct mem_attrs){.requester = c->env.cpu_index});
    return v;
}

static void file_write(struct rv_cpu *c, int file, unsigned at, uint64_t v)
{
    space_write(c->config.sysregs, (gpa_t)file * RV_IMSIC_STRIDE + at, 8, v,
                (struct mem_attrs){.requester = c->env.cpu_index});
}

// Messages arrive while an instruction reads and writes: only bits it names may change.
static void file_modify(struct rv_cpu *c, int file, unsigned reg, uint64_t v, uint64_t mask)
{
    if (reg < EIP_FIRST) {
        file_write(c, file, reg * 8, v);
        return;
    }
    file_write(c, file, WINDOW_CLEAR + reg * 8, ~v & mask);
    file_write(c, file, WINDOW_SET + reg * 8, v & mask);
}

static unsigned top_external(struct rv_cpu *c, int file)
{
    return file < 0 ? 0 : (unsigned)bits(file_read(c, file, TOPEI), 26, 16);
}

static uint64_t topei_read(struct rv_cpu *c, int file)
{
    return file < 0 ? 0 : file_read(c, file, TOPEI);
}

// Claims what the same instruction has read, or else what a read would give now.
static void topei_claim(struct rv_cpu *c, int file)
{
    uint64_t top = c->csr_access.has_old ? c->csr_access.old : topei_read(c, file);
    if (file >= 0 && bits(top, 26, 16))
        file_write(c, file, TOPEI, bits(top, 26, 16));
}

RV_GET(mtopei)
{
    return topei_read(c, file_of(c, RV_AIA_M));
}

RV_SET(mtopei)
{
    topei_claim(c, file_of(c, RV_AIA_M));
}

RV_GET(vstopei)
{
    return topei_read(c, guest_file(c));
}

RV_SET(vstopei)
{
    topei_claim(c, guest_file(c));
}

RV_GET(stopei)
{
    return topei_read(c, file_of(c, c->virt ? RV_AIA_VS : RV_AIA_S));
}

RV_SET(stopei)
{
    topei_claim(c, file_of(c, c->virt ? RV_AIA_VS : RV_AIA_S));
}

// ---- priorities ----

enum { DEFAULT_LOW = INT_MAX }; // no number given: behind every external interrupt
struct top {
    int iid; // -1: none
    int key; // smaller is more urgent: the number, 0 above all numbers
};

// Highest default priority first. External interrupts lead at each level.
static const uint8_t default_order[] = {RV_INT_MEI,  RV_INT_MSI,  RV_INT_MTI,  RV_INT_SEI,
                                        RV_INT_SSI,  RV_INT_STI,  RV_INT_SGEI, RV_INT_VSEI,
                                        RV_INT_VSSI, RV_INT_VSTI, RV_INT_LCOFI};

static unsigned iprio_byte(const uint64_t iprio[2], unsigned n)
{
    return (unsigned)(iprio[n / 8] >> n % 8 * 8 & 0xff);
}

// A controller that supplies no number (PLIC, APLIC, software) counts as 256.
static int external_key(struct rv_cpu *c, enum rv_aia_level level)
{
    unsigned id = top_external(c, file_of(c, level));
    return id ? (int)id : 256;
}

static struct top choose(struct rv_cpu *c, enum rv_aia_level level, uint64_t set)
{
    const uint64_t *iprio = c->aia.iprio[level];
    const unsigned external = level == RV_AIA_M ? RV_INT_MEI : RV_INT_SEI;
    struct top best = {-1, DEFAULT_LOW};
    for (unsigned i = 0; i < ARRAY_SIZE(default_order); i++) {
        unsigned n = default_order[i], number = iprio_byte(iprio, n);
        if (!(set >> n & 1))
            continue;
        if (!iprio[0] && !iprio[1]) // the usual case: default order, without asking the IMSIC
            return (struct top){(int)n, DEFAULT_LOW};
        int key = n == external ? external_key(c, level) : number ? (int)number : DEFAULT_LOW;
        if (best.iid < 0 || key < best.key)
            best = (struct top){(int)n, key};
    }
    return best;
}

uint64_t rv_level_interrupts(struct rv_cpu *c, enum rv_aia_level level)
{
    uint64_t on = rv_pending(c) & c->mie, super = rv_get_mideleg(c, 0);
    if (level == RV_AIA_M)
        return on & ~super;
    return (on & super & ~c->hideleg) | (rv_injected(c) & c->aia.sie);
}

// mvip as supervisor level sees it, where mvien gives it that instead of mip.
uint64_t rv_injected(const struct rv_cpu *c)
{
    uint64_t v = (c->aia.mvip & 1ull << RV_INT_SSI) | (c->mip & 1ull << RV_INT_SEI);
    return v & rv_injectable(c);
}

uint64_t rv_injectable(const struct rv_cpu *c)
{
    return c->aia.mvien & ~c->mideleg;
}

// The candidate for VS level: identity and key; hvictl stands for all but the external interrupt.
static struct top choose_vs(struct rv_cpu *c)
{
    const uint64_t on = (rv_pending(c) & c->mie & c->hideleg & RV_INTS_VS) >> 1;
    const uint64_t hvictl = c->aia.hvictl;
    const unsigned iid = (unsigned)bits(hvictl, 27, 16), iprio = hvictl & 0xff;
    const bool injected = hvictl & RV_HVICTL_VTI;
    struct top best = {-1, DEFAULT_LOW};
    if (on >> RV_INT_SEI & 1) {
        unsigned id = top_external(c, guest_file(c));
        bool emulated = !(c->hstatus & RV_VGEIN) && iid == RV_INT_SEI && iprio;
        best = (struct top){RV_INT_SEI, id ? (int)id : emulated ? (int)iprio : 256};
    }
    if (injected && iid != RV_INT_SEI) {
        bool lower = hvictl & RV_HVICTL_DPR;
        int key = iprio ? (int)iprio : lower ? DEFAULT_LOW : 0;
        if (best.iid < 0 || key < best.key || (key == best.key && !lower))
            best = (struct top){(int)iid, key};
        return best;
    }
    for (unsigned i = 0; !injected && i < 2; i++) {
        static const struct {
            uint8_t iid, shift; // of the number in hviprio1
        } major[] = {{RV_INT_SSI, 8}, {RV_INT_STI, 24}};
        unsigned number = c->aia.hviprio1 >> major[i].shift & 0xff;
        int key = number ? (int)number : DEFAULT_LOW;
        if ((on >> major[i].iid & 1) && (best.iid < 0 || key < best.key))
            best = (struct top){major[i].iid, key};
    }
    return best;
}

static uint64_t report(struct top t)
{
    return t.iid < 0 ? 0 : (uint64_t)t.iid << 16 | (unsigned)MIN(t.key, 255);
}

int rv_first_interrupt(struct rv_cpu *c, enum rv_aia_level level)
{
    if (level != RV_AIA_VS)
        return choose(c, level, rv_level_interrupts(c, level)).iid;
    struct top t = choose_vs(c);
    return rv_get_vstopi(c, 0) ? t.iid : -1;
}

// The external interrupt's number is asked for here alone, when no other has one.
static uint64_t report_level(struct rv_cpu *c, enum rv_aia_level level)
{
    struct top t = choose(c, level, rv_level_interrupts(c, level));
    if (t.iid == (level == RV_AIA_M ? RV_INT_MEI : RV_INT_SEI))
        t.key = external_key(c, level);
    return report(t);
}

RV_GET(mtopi)
{
    return report_level(c, RV_AIA_M);
}

RV_GET(stopi)
{
    return c->virt ? rv_get_vstopi(c, 0) : report_level(c, RV_AIA_S);
}

RV_GET(vstopi)
{
    struct top t = choose_vs(c);
    if (t.iid >= 0 && !(c->aia.hvictl & RV_HVICTL_IPRIOM))
        t.key = 1;
    return report(t);
}

// ---- indirectly accessed registers ----

// Which numbers can be set: those of interrupts that can be enabled at the level, without the
// external one, which has its number from the controller.
static uint64_t iprio_mask(enum rv_aia_level level, unsigned word)
{
    static const uint64_t ints[2] = {
        (RV_INTS_M | RV_INTS_S) & ~(1ull << RV_INT_MEI),
        (RV_INTS_S | RV_INTS_HS) & ~(1ull << RV_INT_SEI),
    };
    uint64_t mask = 0;
    for (unsigned n = 0; n < 8; n++)
        mask |= ints[level] >> (word * 8 + n) & 1 ? 0xffull << n * 8 : 0;
    return mask;
}

static unsigned select_of(const struct rv_cpu *c, enum rv_aia_level level)
{
    return (unsigned)(level == RV_AIA_M   ? c->aia.miselect
                      : level == RV_AIA_S ? c->s.iselect
                                          : c->vs.iselect);
}

// The arrays are of doublewords under even numbers. Where XLEN is 32 an odd number is a high half.
static unsigned half_of(const struct rv_cpu *c, unsigned *reg)
{
    unsigned shift = c->narrow && *reg & 1 && (*reg <= IPRIO_LAST || *reg >= EIP_FIRST) ? 32 : 0;
    *reg -= shift / 32;
    return shift;
}

static uint64_t ireg_read(struct rv_cpu *c, enum rv_aia_level level)
{
    unsigned reg = select_of(c, level), shift = half_of(c, &reg);
    if (reg >= IMSIC_FIRST)
        return file_read(c, file_of(c, level), reg) >> shift;
    return level != RV_AIA_VS && reg - IPRIO_FIRST < 4
               ? c->aia.iprio[level][(reg - IPRIO_FIRST) / 2] >> shift
               : 0;
}

static void ireg_write(struct rv_cpu *c, enum rv_aia_level level, uint64_t v)
{
    unsigned reg = select_of(c, level), shift = half_of(c, &reg), word = (reg - IPRIO_FIRST) / 2;
    const uint64_t mask = mask_low(c->narrow ? 32 : 64) << shift;
    v <<= shift;
    if (reg >= IMSIC_FIRST) {
        file_modify(c, file_of(c, level), reg, v, c->csr_access.touched << shift & mask);
    } else if (level != RV_AIA_VS && word < 2) {
        uint64_t *at = &c->aia.iprio[level][word];
        *at = (*at & ~mask) | (v & mask & iprio_mask(level, word));
    }
    rv_update_interrupts(c);
}

RV_GET(mireg)
{
    return ireg_read(c, RV_AIA_M);
}

RV_SET(mireg)
{
    ireg_write(c, RV_AIA_M, v);
}

RV_GET(sireg)
{
    return ireg_read(c, c->virt ? RV_AIA_VS : RV_AIA_S);
}

RV_SET(sireg)
{
    ireg_write(c, c->virt ? RV_AIA_VS : RV_AIA_S, v);
}

RV_GET(vsireg)
{
    return ireg_read(c, RV_AIA_VS);
}

RV_SET(vsireg)
{
    ireg_write(c, RV_AIA_VS, v);
}

// ---- who may access what ----

static enum rv_access check_file(struct rv_cpu *c, enum rv_aia_level level)
{
    enum rv_access hidden = c->virt ? RV_VIRTUAL : RV_ILLEGAL;
    enum rv_access a = c->imsic_files ? rv_state_enabled(c, RV_STATEEN_IMSIC) : RV_ALLOWED;
    if (a != RV_ALLOWED)
        return a;
    if (file_of(c, level) < 0)
        return level == RV_AIA_VS ? hidden : RV_ILLEGAL;
    bool filtered = level == RV_AIA_S && c->priv == RV_S && c->aia.mvien >> RV_INT_SEI & 1;
    return filtered ? RV_ILLEGAL : RV_ALLOWED;
}

RV_CHECK(topei)
{
    return check_file(c, number == RV_CSR_MTOPEI               ? RV_AIA_M
                         : c->virt || number == RV_CSR_VSTOPEI ? RV_AIA_VS
                                                               : RV_AIA_S);
}

static enum rv_access check_ireg(struct rv_cpu *c, enum rv_aia_level level)
{
    enum rv_access hidden = c->virt ? RV_VIRTUAL : RV_ILLEGAL;
    unsigned reg = select_of(c, level);
    if (reg >= IPRIO_FIRST && reg <= IPRIO_LAST) {
        if (level == RV_AIA_VS)
            return hidden;
        return reg & 1 && !c->narrow ? RV_ILLEGAL : rv_state_enabled(c, RV_STATEEN_AIA);
    }
    if (reg < IMSIC_FIRST || reg > EIE_LAST)
        return RV_ILLEGAL;
    enum rv_access a = check_file(c, level);
    if (a != RV_ALLOWED)
        return a;
    return reg >= EIP_FIRST && reg & 1 && !c->narrow ? hidden : RV_ALLOWED;
}

RV_CHECK(ireg)
{
    enum rv_access a = rv_state_enabled(c, RV_STATEEN_CSRIND);
    if (a != RV_ALLOWED)
        return a;
    return check_ireg(c, number == RV_CSR_MIREG               ? RV_AIA_M
                         : c->virt || number == RV_CSR_VSIREG ? RV_AIA_VS
                                                              : RV_AIA_S);
}

// Whether HS-qualified, as section 2.4 has it for these four; others are by their checks.
enum rv_access rv_aia_qualified(struct rv_cpu *c, const struct rv_csr *r, unsigned number)
{
    if (r->check == rv_check_ireg)
        return rv_state_enabled(c, RV_STATEEN_CSRIND);
    if (r->check == rv_check_topei)
        return c->imsic_files ? rv_state_enabled(c, RV_STATEEN_IMSIC) : RV_ALLOWED;
    return r->check ? r->check(c, number, false) : RV_ALLOWED;
}

RV_CHECK(iselect)
{
    return rv_state_enabled(c, RV_STATEEN_CSRIND);
}

RV_CHECK(aia)
{
    return rv_state_enabled(c, RV_STATEEN_AIA);
}

// While a hypervisor injects by hvictl, what a virtual machine's supervisor sees of its interrupts
// is the hypervisor's to emulate.
RV_CHECK(injected)
{
    return c->virt && c->aia.hvictl & RV_HVICTL_VTI ? RV_VIRTUAL : RV_ALLOWED;
}

// ---- interrupts from above ----

RV_GET(mvien)
{
    return c->aia.mvien;
}

RV_SET(mvien)
{
    c->aia.mvien = v & (1ull << RV_INT_SSI | 1ull << RV_INT_SEI);
    rv_update_interrupts(c);
}

// Bits that mvien does not separate are those of mip.
RV_GET(mvip)
{
    uint64_t ssi = 1ull << RV_INT_SSI;
    uint64_t v = c->mip & (1ull << RV_INT_SEI);
    if (!(c->menvcfg & RV_STCE))
        v |= c->mip & 1ull << RV_INT_STI;
    return v | (c->aia.mvien & ssi ? c->aia.mvip & ssi : rv_pending(c) & ssi);
}

RV_SET(mvip)
{
    uint64_t ssi = 1ull << RV_INT_SSI, mask = 1ull << RV_INT_SEI;
    if (!(c->menvcfg & RV_STCE))
        mask |= 1ull << RV_INT_STI;
    if (c->aia.mvien & ssi)
        c->aia.mvip = v & ssi;
    else
        mask |= ssi;
    rv_set_pending(c, mask, v);
}

RV_GET(hvictl)
{
    return c->aia.hvictl;
}

RV_SET(hvictl)
{
    const uint64_t iid = 0x3full << 16; // of its twelve bits six are there
    c->aia.hvictl = v & (RV_HVICTL_VTI | iid | RV_HVICTL_DPR | RV_HVICTL_IPRIOM | 0xff);
    rv_update_interrupts(c);
}

RV_GET(hviprio1)
{
    return c->aia.hviprio1;
}

RV_SET(hviprio1)
{
    c->aia.hviprio1 = v & 0xff00ff00;
    rv_update_interrupts(c);
}
