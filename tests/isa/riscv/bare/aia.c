// The Advanced Interrupt Architecture, case by case, on the virt board with aia=aplic-imsic and one
// guest file: interrupt files, priorities, injected interrupts, who may reach what, the APLIC's
// domains and messages. Cases follow the specification (version 1.0).
#include "aia.h"

static volatile unsigned *const msip = (volatile unsigned *)0x2000000;
static volatile unsigned *const aplic_m = (volatile unsigned *)0xc000000;
static volatile unsigned *const aplic_s = (volatile unsigned *)0xd000000;

CSR_READER(read_sip, sip)
CSR_READER(read_vsireg, 0x251)
INSN(write_stimecmp, "csrw 0x14d, %0")
static u64 claim_stopei(u64 a)
{
    u64 v;
    __asm__ volatile("csrrw %0, 0x15c, zero" : "=r"(v));
    return v;
}

static void windows(void)
{
    WRITE(0x350, 0xff);
    expect(READ(0x350) == 0xff);
    WRITE(0x250, 0x1ff);
    expect(READ(0x250) == 0x1ff);
    expect_cause(m_get, 0x20, M, ILLEGAL); // reserved
    expect_cause(m_get, 0x31, M, ILLEGAL); // odd
    expect_cause(m_get, 0x40, M, ILLEGAL);
    expect_cause(m_get, 0x81, M, ILLEGAL);
    expect_cause(vs_get, 0x30, M, ILLEGAL); // there is no such array
    expect(m_get(0x71) == 0);
    m_set(0x30, ~0ul);
    expect((m_get(0x30) & 0xff00ff00fful) == 0); // interrupts 0, 2 and 4
    m_set(0x32, ~0ul);
    expect((m_get(0x32) >> 24 & 0xff) == 0); // machine external
    m_set(0x30, 0);
    m_set(0x32, 0);
}

static void machine_file(void)
{
    m_set(EIDELIVERY, 1);
    m_set(EITHRESHOLD, 0);
    m_set(EIE0, BIT(5) | BIT(9));
    *machine_page = 9;
    *machine_page = 5;
    *machine_page = 300; // no such identity
    *machine_page = 0;
    expect(*machine_page == 0);
    expect(READ(mip) >> MEI & 1);
    expect(READ(0x35c) == top(5));
    u64 v;
    __asm__ volatile("csrrw %0, 0x35c, zero" : "=r"(v));
    expect(v == top(5));
    expect(READ(0x35c) == top(9));
    m_set(EITHRESHOLD, 9);
    expect(READ(0x35c) == 0);
    expect(!(READ(mip) >> MEI & 1));
    m_set(EITHRESHOLD, 10);
    expect(READ(0x35c) == top(9));
    m_set(EIDELIVERY, 0);
    expect(READ(0x35c) == top(9)); // which delivery does not change
    expect(!(READ(mip) >> MEI & 1));
    m_set(EITHRESHOLD, 0);
    m_set(EIDELIVERY, 1);
    WRITE(0x350, EIP0);
    SET(0x351, BIT(7) | 1);
    expect(READ(0x351) == (BIT(7) | BIT(9)));
    CLEAR(0x351, BIT(7));
    expect(READ(0x351) == BIT(9));
    m_set(EIP0 + 8, ~0ul); // beyond 255
    expect(m_get(EIP0 + 8) == 0);
}

// Identity 9 is pending at machine level.
static void machine_priorities(void)
{
    CLEAR(mstatus, BIT(3));
    WRITE(mie, BIT(MEI) | BIT(MSI));
    *msip = 1;
    expect(READ(0xfb0) == (MEI << 16 | 9));
    m_set(0x30, 8ul << 24);
    expect(READ(0xfb0) == (MSI << 16 | 8));
    seen.cause = 0;
    SET(mstatus, BIT(3));
    expect(seen.cause == (BIT(63) | MSI));
    CLEAR(mstatus, BIT(3));
    WRITE(mie, BIT(MEI) | BIT(MSI));
    m_set(0x30, 9ul << 24); // alike: the default order decides
    expect(READ(0xfb0) == (MEI << 16 | 9));
    m_set(0x30, 10ul << 24);
    expect(READ(0xfb0) == (MEI << 16 | 9));
    seen.cause = 0;
    SET(mstatus, BIT(3));
    expect(seen.cause == (BIT(63) | MEI));
    CLEAR(mstatus, BIT(3));
    m_set(0x30, 0);
    m_set(EIP0, 0);
    WRITE(mie, BIT(MSI));
    expect(READ(0xfb0) == (MSI << 16 | 255));
    *msip = 0;
    WRITE(mie, 0);
    expect(READ(0xfb0) == 0);
}

static void super_file(void)
{
    WRITE(mideleg, BIT(SSI) | BIT(STI) | BIT(SEI));
    s_set(EIDELIVERY, 1);
    s_set(EIE0, BIT(3));
    *super_page = 3;
    expect(READ(mip) >> SEI & 1);
    expect_result(stopei, 0, S, 0, top(3));
    WRITE(mie, BIT(SEI));
    expect(READ(0xdb0) == (SEI << 16 | 3));
    expect(READ(0xfb0) == 0);
    WRITE(0x308, BIT(SEI)); // mvien: machine level filters them
    expect(READ(0x308) == BIT(SEI));
    expect_cause(stopei, 0, S, ILLEGAL);
    expect_cause(s_get, EIP0, S, ILLEGAL);
    expect_cause(s_get, 0x30, S, ECALL_S);
    WRITE(0x308, 0);
    expect_result(claim_stopei, 0, S, 0, top(3));
    expect(!(READ(mip) >> SEI & 1));
    WRITE(mie, 0);
}

// Machine level gives the supervisor a software interrupt of its own making.
static void injected_by_machine(void)
{
    WRITE(mideleg, 0);
    WRITE(0x308, BIT(SSI));
    WRITE(0x309, BIT(SSI));
    expect(!(READ(mip) >> SSI & 1));
    expect(READ(sip) == BIT(SSI));
    WRITE(sie, BIT(SSI));
    expect(READ(sie) == BIT(SSI) && READ(mie) == 0);
    expect(READ(0xdb0) == (SSI << 16 | 255));
    WRITE(stvec, pause_here); // whatever comes after the trap ends by its ecall
    WRITE(scause, 0);
    CLEAR(sstatus, BIT(1));
    try(pause_here, 0, U, 0);
    expect(READ(scause) == (BIT(63) | SSI));
    CLEAR(sip, BIT(SSI));
    expect(READ(0x309) == 0);
    WRITE(sie, 0);
    WRITE(0x308, 0);
    WRITE(0x309, BIT(SSI)); // now an alias
    expect(READ(mip) >> SSI & 1);
    WRITE(0x309, 0);
}

static void guest_file(void)
{
    WRITE(mideleg, BIT(SSI) | BIT(STI) | BIT(SEI));
    WRITE(0x600, 0); // hstatus.VGEIN
    expect_cause(vs_get, EIP0, M, ILLEGAL);
    expect_virtual(stopei, 0);
    expect_virtual(s_get, EIP0);
    expect_virtual(s_get, 0x30);
    expect_virtual(read_vsireg, 0);
    WRITE(0x600, 1 << 12);
    expect((READ(0x600) >> 12 & 63) == 1);
    vs_set(EIDELIVERY, 1);
    vs_set(EIE0, BIT(6));
    expect(READ(0xe12) == 0);
    *guest_page = 6;
    expect(READ(0xe12) == BIT(1));
    expect(READ(0x25c) == top(6));
    expect(READ(mip) >> 10 & 1);
    WRITE(0x607, ~0ul); // hgeie: one guest
    expect(READ(0x607) == BIT(1));
    expect(READ(mip) >> 12 & 1);
    WRITE(0x607, 0);
    WRITE(0x603, BIT(10) | BIT(6) | BIT(2)); // hideleg
    WRITE(0x204, BIT(SEI));                  // vsie
    WRITE(0x609, BIT(8));                    // hvictl.IPRIOM
    expect(READ(0xeb0) == (SEI << 16 | 6));
    WRITE(0x609, 0);
    expect(READ(0xeb0) == (SEI << 16 | 1));
    expect_result(stopi, 0, S, 1, SEI << 16 | 1);
    expect_result(stopei, 0, S, 1, top(6));
    expect_result(s_get, EIP0, S, 1, BIT(6));
    expect_virtual(s_get, EIP0 + 1);
    expect_result(claim_stopei, 0, S, 1, top(6));
    expect(READ(0xe12) == 0 && READ(0xeb0) == 0);
}

// hvictl: an interrupt of the hypervisor's choice.
static void injected_by_hypervisor(void)
{
    WRITE(0x609, BIT(30) | SEI << 16);
    expect(READ(0xeb0) == 0); // this says: none
    expect_virtual(read_sip, 0);
    expect_virtual(write_stimecmp, 0);
    WRITE(0x609, BIT(30) | 13 << 16 | BIT(8) | 7);
    expect(READ(0xeb0) == (13 << 16 | 7));
    WRITE(vstvec, pause_here);
    WRITE(vscause, 0);
    SET(vsstatus, BIT(1));
    try(pause_here, 0, S, 1);
    expect(READ(vscause) == (BIT(63) | 13));
    CLEAR(vsstatus, BIT(1));
    *guest_page = 6;
    expect(READ(0xeb0) == (SEI << 16 | 6));
    WRITE(0x609, BIT(30) | 13 << 16 | BIT(8) | 6);
    expect(READ(0xeb0) == (13 << 16 | 6)); // alike: DPR puts it first
    WRITE(0x609, BIT(30) | 13 << 16 | BIT(9) | BIT(8) | 6);
    expect(READ(0xeb0) == (SEI << 16 | 6)); // ... or last
    WRITE(0x609, BIT(8));
    WRITE(0x645, BIT(2)); // hvip: a software interrupt
    SET(0x204, BIT(SSI));
    expect(READ(0xeb0) == (SEI << 16 | 6));
    WRITE(0x646, 5 << 8); // hviprio1
    expect(READ(0xeb0) == (SSI << 16 | 5));
    WRITE(0x646, 0);
    WRITE(0x645, 0);
    WRITE(0x204, 0);
    WRITE(0x609, 0);
    vs_set(EIP0, 0);
}

static void state_enable(void)
{
    CLEAR(0x30c, BIT(60));
    expect_cause(s_get, 0x30, S, ILLEGAL);
    SET(0x30c, BIT(60));
    CLEAR(0x30c, BIT(58));
    expect_cause(stopei, 0, S, ILLEGAL);
    expect_cause(s_get, EIP0, S, ILLEGAL);
    expect_cause(s_get, 0x30, S, ECALL_S);
    SET(0x30c, BIT(58));
    CLEAR(0x30c, BIT(59));
    expect_cause(stopi, 0, S, ILLEGAL);
    expect_cause(s_get, 0x30, S, ILLEGAL);
    SET(0x30c, BIT(59));
    expect_cause(stopi, 0, S, ECALL_S);
    CLEAR(0x60c, BIT(58) | BIT(59) | BIT(60));
    expect_virtual(stopi, 0);
    expect_virtual(stopei, 0);
    expect_virtual(s_get, EIP0);
    SET(0x60c, BIT(58) | BIT(59) | BIT(60));
    expect_result(s_get, EIP0, S, 1, 0);
}

enum { SOURCECFG = 0, MMSI = 0x1bc0, SETIP = 0x1c00, SETIPNUM = 0x1cdc, IN_CLRIP = 0x1d00 };
enum { SETIE = 0x1e00, SETIENUM = 0x1edc, CLRIENUM = 0x1fdc, GENMSI = 0x3000 };
enum { DETACHED = 1, LEVEL1 = 6, LEVEL0 = 7, DELEGATE = 1 << 10 };
#define REG(domain, offset) (domain)[(offset) / 4]

// Source 20 has no device, so its wire is low.
static void aplic(void)
{
    expect(REG(aplic_m, SOURCECFG) == 0x80000004);
    REG(aplic_m, SOURCECFG) = 0x100;
    expect(REG(aplic_m, SOURCECFG) == 0x80000104);
    REG(aplic_m, MMSI) = 0x24000;
    REG(aplic_m, MMSI + 4) = 0;
    REG(aplic_m, MMSI + 8) = 0x28000;
    REG(aplic_m, MMSI + 12) = 1 << 20;
    expect(REG(aplic_m, MMSI + 12) == 1 << 20 && REG(aplic_s, MMSI) == 0);
    REG(aplic_m, 4 * 20) = 3; // reserved mode
    expect(REG(aplic_m, 4 * 20) == 0);
    REG(aplic_m, GENMSI + 4 * 20) = 9;
    expect(REG(aplic_m, GENMSI + 4 * 20) == 0); // inactive
    REG(aplic_m, 4 * 20) = DETACHED;
    REG(aplic_m, GENMSI + 4 * 20) = 9 | 1 << 12;
    expect(REG(aplic_m, GENMSI + 4 * 20) == 9); // no guests at machine level
    REG(aplic_m, SETIPNUM) = 20;
    expect(REG(aplic_m, SETIP) == 1 << 20);
    m_set(EIP0, 0);
    REG(aplic_m, SETIENUM) = 20;
    expect(REG(aplic_m, SETIP) == 0); // sent
    expect(m_get(EIP0) == BIT(9));
    REG(aplic_m, GENMSI) = 5;
    expect(m_get(EIP0) == (BIT(9) | BIT(5)));
    m_set(EIP0, 0);
    REG(aplic_m, 4 * 20) = LEVEL1;
    REG(aplic_m, SETIPNUM) = 20;
    expect(REG(aplic_m, SETIP) == 0 && m_get(EIP0) == 0); // low: nothing to ask for
    REG(aplic_m, 4 * 20) = LEVEL0;
    expect(REG(aplic_m, IN_CLRIP) == 1 << 20);
    expect(m_get(EIP0) == BIT(9));
    m_set(EIP0, 0);
    REG(aplic_m, SETIPNUM) = 20; // still asserted
    expect(m_get(EIP0) == BIT(9));
    m_set(EIP0, 0);

    REG(aplic_s, SOURCECFG) = 0x100;
    REG(aplic_s, 4 * 20) = DETACHED;
    expect(REG(aplic_s, 4 * 20) == 0); // not its own yet
    REG(aplic_m, 4 * 20) = DELEGATE;
    expect(REG(aplic_m, SETIE) == 0);
    REG(aplic_s, 4 * 20) = DELEGATE;
    expect(REG(aplic_s, 4 * 20) == 0); // it has no child
    REG(aplic_s, 4 * 20) = DETACHED;
    REG(aplic_s, GENMSI + 4 * 20) = 6 | 1 << 12; // the guest's file
    REG(aplic_s, SETIENUM) = 20;
    vs_set(EIP0, 0);
    s_set(EIP0, 0);
    REG(aplic_s, SETIPNUM) = 20;
    expect(vs_get(EIP0) == BIT(6) && s_get(EIP0) == 0);
    REG(aplic_s, CLRIENUM) = 20;
    REG(aplic_s, SETIPNUM) = 20;
    expect(REG(aplic_s, SETIP) == 1 << 20);
    REG(aplic_m, 4 * 20) = 0; // taken back
    expect(REG(aplic_s, SETIP) == 0 && REG(aplic_s, 4 * 20) == 0);
    REG(aplic_m, MMSI + 4) = 0x80000000;
    REG(aplic_m, MMSI) = 0x1234; // locked
    expect(REG(aplic_m, MMSI) == 0x24000);
}

int main(void)
{
    SET(0x306, ~0ul); // mcounteren, menvcfg: the timer
    SET(0x30a, BIT(63));
    SET(0x606, ~0ul);
    SET(0x60a, BIT(63));
    SET(0x30c, BIT(58) | BIT(59) | BIT(60));
    SET(0x60c, BIT(58) | BIT(59) | BIT(60));
    levels();
    windows();
    machine_file();
    machine_priorities();
    super_file();
    injected_by_machine();
    guest_file();
    injected_by_hypervisor();
    state_enable();
    own_messages();
    aplic();
    return 0;
}
