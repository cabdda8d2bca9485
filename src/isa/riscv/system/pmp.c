// Physical memory protection. RISC-V Instruction Set Manual, volume II, 3.7. 16 entries of 4-byte
// granularity. Instructions are fetched, and accesses that cross a page made, in parts, each of
// which is judged by itself.
#include "isa/riscv/csr.h"
#include "isa/riscv/system/system.h"

enum {
    PMP_A_SHIFT = 3, // address matching mode
    PMP_TOR = 1,
    PMP_NA4 = 2,
    PMP_NAPOT = 3,
    PMP_LOCK = 1 << 7,
    PMP_FIELDS = 0x9f,
    PAGE = 4096,
};
_Static_assert(ENV_READ == 1 && ENV_WRITE == 2 && ENV_EXEC == 4, "as in pmpcfg");

static unsigned match_mode(const struct rv_cpu *c, unsigned n)
{
    return c->pmpcfg[n] >> PMP_A_SHIFT & 3;
}

static void set_range(struct rv_cpu *c, unsigned n)
{
    uint64_t addr = c->pmpaddr[n], first = 1, last = 0;
    switch (match_mode(c, n)) {
    case PMP_TOR: {
        uint64_t from = n ? c->pmpaddr[n - 1] : 0;
        if (from < addr) {
            first = from << 2;
            last = (addr << 2) - 1;
        }
        break;
    }
    case PMP_NA4:
        first = addr << 2;
        last = first + 3;
        break;
    case PMP_NAPOT: {
        uint64_t size_mask = addr ^ (addr + 1); // the trailing ones and the zero above them
        first = (addr & ~size_mask) << 2;
        last = first + (size_mask << 2 | 3);
        break;
    }
    }
    c->pmp_range[n].first = first;
    c->pmp_range[n].last = last;
}

void rv_pmp_changed(struct rv_cpu *c)
{
    for (unsigned n = 0; n < RV_PMP_ENTRIES; n++)
        set_range(c, n);
    rv_flush_all(c);
}

unsigned rv_pmp_perms(const struct rv_cpu *c, gpa_t pa, unsigned size, unsigned priv,
                      uint64_t *span)
{
    const unsigned all = ENV_READ | ENV_WRITE | ENV_EXEC;
    const uint64_t page = pa & ~(uint64_t)(PAGE - 1), page_last = page + PAGE - 1;
    *span = PAGE;
    for (unsigned n = 0; n < RV_PMP_ENTRIES; n++) {
        uint64_t first = c->pmp_range[n].first, last = c->pmp_range[n].last;
        if (first > last || first > page_last || last < page)
            continue;
        if (first > page || last < page_last)
            *span = 4;
        if (pa + size - 1 < first || pa > last)
            continue;
        if (pa < first || pa + size - 1 > last) // the entry must match all of it
            return 0;
        return priv == RV_M && !(c->pmpcfg[n] & PMP_LOCK) ? all : c->pmpcfg[n] & all;
    }
    return priv == RV_M ? all : 0;
}

// ---- registers ----

// A 64-bit hart has the even ones.
RV_CHECK(pmpcfg)
{
    return number & 1 && !c->rv32 ? RV_ILLEGAL : RV_ALLOWED;
}

RV_GET(pmpcfg)
{
    uint64_t v = 0;
    if (n & 1 && !c->rv32)
        return 0;
    for (unsigned i = 0; i < (c->rv32 ? 4 : 8); i++)
        v |= (uint64_t)c->pmpcfg[n * 4 + i] << i * 8;
    return v;
}

// Write-only is reserved: nothing is permitted then.
RV_SET(pmpcfg)
{
    if (n & 1 && !c->rv32)
        return;
    for (unsigned i = 0; i < (c->rv32 ? 4 : 8); i++) {
        uint8_t *cfg = &c->pmpcfg[n * 4 + i], b = v >> i * 8 & PMP_FIELDS;
        if ((b & (ENV_READ | ENV_WRITE)) == ENV_WRITE)
            b &= ~(ENV_READ | ENV_WRITE | ENV_EXEC);
        if (!(*cfg & PMP_LOCK))
            *cfg = b;
    }
    rv_pmp_changed(c);
}

RV_GET(pmpaddr)
{
    return c->pmpaddr[n];
}

// Locked, too, is the address below a locked range that begins there.
RV_SET(pmpaddr)
{
    bool next_locked =
        n + 1 < RV_PMP_ENTRIES && c->pmpcfg[n + 1] & PMP_LOCK && match_mode(c, n + 1) == PMP_TOR;
    if (c->pmpcfg[n] & PMP_LOCK || next_locked)
        return;
    c->pmpaddr[n] = v & mask_low(54);
    rv_pmp_changed(c);
}
