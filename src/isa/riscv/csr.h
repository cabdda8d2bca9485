// The table of control and status registers, as csr.c builds it from csrs.def and rv/lift.c and
// system/lift_system.c read it.
#pragma once

#include "isa/riscv/riscv.h"

enum rv_access { RV_ALLOWED, RV_ILLEGAL, RV_VIRTUAL }; // the last two: which exception

struct rv_csr {
    uint16_t number, count; // of a run of like registers
    const char *name;
    uint8_t feature; // 1 + the feature it belongs to; 0: always there
    uint8_t kind;
    uint16_t offset; // PLAIN, BANKED: from struct rv_cpu; HIGH: the number of the low half
    uint64_t mask;   // writable bits
    bool code;       // an address of instructions: aligned as they are
    // What decides beside the number's own privilege level; NULL: nothing.
    enum rv_access (*check)(struct rv_cpu *c, unsigned number, bool write);
    // CALL: `n` is the position in a run.
    uint64_t (*get)(struct rv_cpu *c, unsigned n);
    void (*set)(struct rv_cpu *c, unsigned n, uint64_t v); // NULL: writes are ignored
};
enum rv_csr_kind {
    RV_CSR_PLAIN,  // storage without side effects
    RV_CSR_BANKED, // in struct rv_super: a virtual machine sees its own
    RV_CSR_CALL,
    RV_CSR_HIGH, // the high half of another, where XLEN is 32
};

// By number; NULL when this hart has none.
const struct rv_csr *rv_csr_find(const struct rv_cpu *c, unsigned number);
// May the hart in its present state access it so? Existence is not asked here.
enum rv_access rv_csr_check(struct rv_cpu *c, const struct rv_csr *r, unsigned number, bool write);
// As registers of the hart's present XLEN.
uint64_t rv_csr_get(struct rv_cpu *c, const struct rv_csr *r, unsigned number);
void rv_csr_set(struct rv_cpu *c, const struct rv_csr *r, unsigned number, uint64_t v);
// Where a PLAIN or BANKED register lies.
unsigned rv_csr_offset(const struct rv_csr *r, bool virt);

// ---- accessors named in csrs.def: get_X, set_X, check_X (system/csr_*.c) ----
#define RV_GET(name)   uint64_t rv_get_##name(struct rv_cpu *c, unsigned n)
#define RV_SET(name)   void rv_set_##name(struct rv_cpu *c, unsigned n, uint64_t v)
#define RV_CHECK(name) enum rv_access rv_check_##name(struct rv_cpu *c, unsigned number, bool write)
#define RV_CSR(name)                                                                               \
    RV_GET(name);                                                                                  \
    RV_SET(name)
RV_GET(zero);
RV_CSR(fflags);
RV_CSR(frm);
RV_CSR(fcsr);
RV_CSR(vstart);
RV_CSR(vxsat);
RV_CSR(vxrm);
RV_CSR(vcsr);
RV_GET(vlenb);
RV_GET(time);
RV_CSR(mcycle);
RV_CSR(mhpmcounter);
RV_CSR(mhpmevent);
RV_GET(scountovf);
RV_CSR(minstret);
RV_CSR(mcountinhibit);
RV_CSR(mstatus);
RV_GET(misa);
RV_CSR(medeleg);
RV_CSR(mideleg);
RV_CSR(mie);
RV_CSR(mip);
RV_CSR(menvcfg);
RV_CSR(mseccfg);
RV_CSR(senvcfg);
RV_GET(mhartid);
RV_CSR(pmpcfg);
RV_CSR(pmpaddr);
RV_CSR(mstateen);
RV_CSR(sstatus);
RV_CSR(sie);
RV_CSR(sip);
RV_CSR(satp);
RV_CSR(stimecmp);
RV_CSR(hstateen);
RV_CSR(sstateen);
RV_CSR(hstatus);
RV_CSR(hideleg);
RV_CSR(hie);
RV_CSR(hip);
RV_CSR(hvip);
RV_GET(hgeip);
RV_CSR(henvcfg);
RV_CSR(htimedelta);
RV_CSR(hgatp);
RV_CSR(hgeie);
RV_CSR(vsstatus);
RV_CSR(vsie);
RV_CSR(vsip);
RV_CSR(vsatp);
RV_CSR(vstimecmp);
RV_CSR(mvien);
RV_CSR(mvip);
RV_CSR(mireg);
RV_CSR(mtopei);
RV_GET(mtopi);
RV_CSR(sireg);
RV_CSR(stopei);
RV_GET(stopi);
RV_CSR(hvictl);
RV_CSR(hviprio1);
RV_CSR(vsireg);
RV_CSR(vstopei);
RV_GET(vstopi);
RV_CHECK(fp);
RV_CHECK(vector);
RV_CHECK(counter);
RV_CHECK(satp);
RV_CHECK(stimecmp);
RV_CHECK(hgatp);
RV_CHECK(senvcfg);
RV_CHECK(henvcfg);
RV_CHECK(stateen);
RV_CHECK(aia);
RV_CHECK(injected);
RV_CHECK(ireg);
RV_CHECK(iselect);
RV_CHECK(topei);
RV_CHECK(pmpcfg);
RV_CHECK(hedelegh);
// Whether the supervisor of the machine could: what decides between a virtual and an illegal
// instruction.
enum rv_access rv_aia_qualified(struct rv_cpu *c, const struct rv_csr *r, unsigned number);
