// The Advanced Interrupt Architecture of 32-bit harts, case by case, on the virt board with
// aia=aplic-imsic and one guest file: the arrays behind the windows have a register for every 32
// bits, and registers of 64 bits have high halves. What is alike at both widths is in aia.c.
#include "aia.h"

CSR_READER(read_siph, 0x154)

static void priorities(void)
{
    for (unsigned n = 0; n < 4; n++)
        m_set(0x30 + n, ~(u64)0);
    expect((m_get(0x30) & 0xff00ff) == 0 && m_get(0x30) >> 24 == 0xff); // 1 and 3
    expect((m_get(0x31) >> 8 & 0xff) == 0xff && (m_get(0x31) & 0xff) == 0);
    expect(m_get(0x32) >> 24 == 0 && (m_get(0x32) >> 8 & 0xff) == 0xff); // 9, not 11
    m_set(0x31, 0); // a half leaves the other alone
    expect(m_get(0x30) >> 24 == 0xff && m_get(0x31) == 0);
    for (unsigned n = 4; n < 16; n++)
        expect(m_get(0x30 + n) == 0);
    for (unsigned n = 0; n < 4; n++)
        m_set(0x30 + n, 0);
    expect_cause(vs_get, 0x31, M, ILLEGAL);
    expect_cause(m_get, 0x20, M, ILLEGAL);
}

static void machine_file(void)
{
    m_set(EIDELIVERY, 1);
    m_set(EITHRESHOLD, 0);
    m_set(EIE0, BIT(5));
    m_set(EIE0 + 1, BIT(40 - 32) | BIT(33 - 32));
    expect(m_get(EIE0) == BIT(5) && m_get(EIE0 + 1) == (BIT(8) | BIT(1)));
    *machine_page = 40;
    *machine_page = 33;
    expect(m_get(EIP0) == 0 && m_get(EIP0 + 1) == (BIT(8) | BIT(1)));
    expect(READ(0x35c) == top(33));
    expect(READ(mip) >> MEI & 1);
    m_set(EIP0, BIT(5)); // a half leaves the other alone
    expect(m_get(EIP0 + 1) == (BIT(8) | BIT(1)));
    u64 v;
    __asm__ volatile("csrrw %0, 0x35c, zero" : "=r"(v));
    expect(v == top(5) && READ(0x35c) == top(33));
    WRITE(0x350, EIP0 + 1);
    CLEAR(0x351, BIT(1));
    expect(READ(0x35c) == top(40));
    SET(0x351, BIT(1));
    expect(READ(0x35c) == top(33));
    m_set(EIP0 + 1, 0);
    expect(READ(0x35c) == 0 && !(READ(mip) >> MEI & 1));
    m_set(EIP0 + 16, ~(u64)0); // beyond 255
    expect(m_get(EIP0 + 16) == 0);
}

static void super_file(void)
{
    WRITE(mideleg, BIT(SSI) | BIT(5) | BIT(SEI));
    s_set(EIDELIVERY, 1);
    s_set(EIE0 + 1, BIT(2));
    *super_page = 34;
    WRITE(mie, BIT(SEI));
    expect_result(stopei, 0, S, 0, top(34));
    expect_result(stopi, 0, S, 0, SEI << 16 | 34);
    expect_result(s_get, EIP0 + 1, S, 0, BIT(2));
    expect_result(read_siph, 0, S, 0, 0);
    s_set(EIP0 + 1, 0);
    WRITE(mie, 0);
}

// A guest's file, vstopi, and an interrupt of the hypervisor's choice.
static void guest_file(void)
{
    WRITE(0x600, 0);
    expect_cause(vs_get, EIP0, M, ILLEGAL);
    expect_virtual(stopei, 0);
    WRITE(0x600, 1 << 12);
    vs_set(EIDELIVERY, 1);
    vs_set(EIE0 + 1, BIT(6));
    *guest_page = 38;
    expect(READ(0xe12) == BIT(1) && READ(0x25c) == top(38));
    WRITE(0x603, BIT(10) | BIT(6) | BIT(2)); // hideleg
    WRITE(0x204, BIT(SEI));
    WRITE(0x609, BIT(8)); // hvictl.IPRIOM
    expect(READ(0xeb0) == (SEI << 16 | 38));
    expect_result(s_get, EIP0 + 1, S, 1, BIT(6));
    expect_result(stopei, 0, S, 1, top(38));
    WRITE(0x609, BIT(30) | 13 << 16 | BIT(8) | 7);
    expect(READ(0xeb0) == (13 << 16 | 7));
    WRITE(vstvec, pause_here);
    WRITE(vscause, 0);
    SET(vsstatus, BIT(1));
    try(pause_here, 0, S, 1);
    expect(READ(vscause) == (BIT(31) | 13));
    CLEAR(vsstatus, BIT(1));
    WRITE(0x609, BIT(8));
    WRITE(0x645, BIT(2) | BIT(6)); // hvip: software and timer
    SET(0x204, BIT(SSI) | BIT(5));
    WRITE(0x646, 5 << 8 | 4u << 24); // hviprio1
    expect(READ(0xeb0) == (5 << 16 | 4));
    WRITE(0x646, 5 << 8);
    expect(READ(0xeb0) == (SSI << 16 | 5));
    WRITE(0x609, 0);
    expect(READ(0xeb0) >> 16 == SSI && (READ(0xeb0) & 0xff) == 1);
    WRITE(0x645, 0);
}

static void state_enable(void)
{
    CLEAR(0x31c, BIT(28)); // mstateen0h: CSRIND
    expect_cause(s_get, 0x31, S, ILLEGAL);
    SET(0x31c, BIT(28));
    CLEAR(0x31c, BIT(27)); // AIA
    expect_cause(stopi, 0, S, ILLEGAL);
    expect_cause(read_siph, 0, S, ILLEGAL);
    SET(0x31c, BIT(27));
    CLEAR(0x61c, BIT(26)); // hstateen0h: IMSIC
    expect_virtual(stopei, 0);
    SET(0x61c, BIT(26));
}

int main(void)
{
    SET(0x31c, BIT(28) | BIT(27) | BIT(26));
    SET(0x61c, BIT(28) | BIT(27) | BIT(26));
    levels();
    priorities();
    machine_file();
    super_file();
    guest_file();
    state_enable();
    own_messages();
    return 0;
}
