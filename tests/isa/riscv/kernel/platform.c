// The machine below the kernel: by default the kernel starts at machine level and brings timers by
// Sstc, with CLINT by machine-level interrupts; with SBI it runs on firmware and uses that (RISC-V
// SBI 2.0: base, TIME, IPI, HSM, SRST, DBCN).
#include "kernel.h"

#define PLIC     0xc000000ul
#define TEST     ((volatile u32 *)0x100000)
#define UART     ((volatile unsigned char *)0x10000000)
#define MTIMECMP ((volatile u64 *)0x2004000)
#define MTIME    ((volatile u64 *)0x200bff8)
#define INTERVAL 50000 // 5 ms
enum {
    UART_IRQ = 10,
    DISK_IRQ = 1,
    IER = 1,
    IIR = 2,
    LSR = 5,
    THRE = 2,
    SEIE = 1 << 9,
    STIE = 1 << 5,
    SSIE = 1 << 1
};

static struct lock print_lock;
static volatile u32 uart_interrupts;
int console_shared; // so it is locked

static volatile u32 *plic(u64 offset)
{
    return (volatile u32 *)(PLIC + offset);
}

// ---- interrupts of devices ----

static void plic_start_hart(void)
{
    const unsigned context = 1 + 2 * hart();
    *plic(0x2000 + 0x80 * context) = 1 << UART_IRQ | 0xff << DISK_IRQ;
    *plic(0x200000 + 0x1000 * context) = 0;
}

int device_interrupt(void)
{
    volatile u32 *claim = plic(0x200004 + 0x1000 * (1 + 2 * hart()));
    const u32 irq = *claim;
    if (irq == UART_IRQ) {
        (void)UART[IIR]; // which says so, and takes it back
        UART[IER] = 0;
        uart_interrupts++;
    } else if (irq) {
        disk_interrupt();
    }
    if (irq)
        *claim = irq;
    return 1; // another hart may have had it
}

// ---- firmware ----

#ifdef SBI
enum {
    BASE = 0x10,
    TIME = 0x54494d45,
    IPI = 0x735049,
    HSM = 0x48534d,
    SRST = 0x53525354,
    DBCN = 0x4442434e
};
static volatile u32 calls_got;
static unsigned others;

struct answer {
    long error;
    u64 value;
};
static struct answer sbi(u64 extension, u64 function, u64 a, u64 b, u64 c)
{
    register u64 a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register u64 a6 __asm__("a6") = function, a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct answer){(long)a0, a1};
}

static void again(void)
{
    if (sbi(TIME, 0, READ(time) + INTERVAL, 0, 0).error)
        panic(__LINE__);
}

int timer_interrupt(u64 cause)
{
    if (cause == 1) {
        CLEAR(sip, SSIE);
        __atomic_fetch_add(&calls_got, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    again();
    return 1;
}

static void put(const char *text)
{
    u64 n = 0;
    while (text[n])
        n++;
    while (n) {
        const struct answer a = sbi(DBCN, 0, n, (u64)text, 0);
        if (a.error)
            end(1);
        text += a.value;
        n -= a.value;
    }
}

void end(unsigned code)
{
    if (code) // by the device: firmware's way may not tell the difference
        *TEST = code << 16 | 0x3333;
    else
        sbi(SRST, 0, 0, 0, 0);
    for (;;)
        ;
}

static void firmware_start(void)
{
    static const u32 wanted[] = {TIME, IPI, HSM, SRST, DBCN};
    if (sbi(BASE, 0, 0, 0, 0).value >> 24 < 1 ||
        sbi(BASE, 1, 0, 0, 0).value != 1) // OpenSBI's number
        panic(__LINE__);
    for (unsigned n = 0; n < sizeof wanted / sizeof *wanted; n++)
        if (!sbi(BASE, 3, wanted[n], 0, 0).value)
            panic(100 + n);
    if (sbi(BASE, 3, 0x123456, 0, 0).value || sbi(HSM, 2, hart(), 0, 0).value)
        panic(__LINE__);
}

unsigned platform_start_others(volatile u32 *started)
{
    extern char _start[];
    for (unsigned n = 0; n < HARTS; n++) {
        if (n == hart())
            continue;
        if (sbi(HSM, 2, n, 0, 0).value != 1) // there, and stopped
            continue;
        if (sbi(HSM, 0, n, (u64)_start, 0).error)
            panic(__LINE__);
        others++;
    }
    while (*started != 1 + others)
        ;
    return 1 + others;
}

void platform_start_hart(void)
{
    plic_start_hart();
    SET(sie, SEIE | STIE | SSIE);
    again();
    if (sbi(IPI, 0, (u64)0xff & ~((u64)1 << hart()) & ((2 << others) - 1), 0, 0).error)
        panic(__LINE__);
}

// Every hart has called every other, and at least one call of those came after it listened.
int platform_good(void)
{
    return uart_interrupts && (calls_got || !others);
}

#else

static void put(const char *text)
{
    while (*text) {
        while (!(UART[LSR] & 0x20))
            ;
        UART[0] = (unsigned char)*text++;
    }
}

void end(unsigned code)
{
    *TEST = code ? code << 16 | 0x3333 : 0x5555;
    for (;;)
        ;
}

static u64 scratch[HARTS][5];
static volatile u32 here;

void machine_start(void)
{
    extern char machine_vector[];
    WRITE(mstatus, (READ(mstatus) & ~((u64)3 << 11)) | 1 << 11);
    WRITE(medeleg, 0xffff);
    WRITE(mideleg, SEIE | STIE | SSIE);
    WRITE(pmpaddr0, ~(u64)0 >> 10);
    WRITE(pmpcfg0, 0xf);
#ifdef CLINT
    scratch[hart()][3] = (u64)&MTIMECMP[hart()];
    scratch[hart()][4] = INTERVAL;
    MTIMECMP[hart()] = *MTIME + INTERVAL;
    WRITE(mscratch, scratch[hart()]);
    WRITE(mtvec, machine_vector);
    WRITE(mie, 1 << 7);
#else
    WRITE(mtvec, machine_vector); // where nothing is to come
    SET(0x30a, (u64)1 << 63);     // menvcfg.STCE
    (void)scratch;
#endif
    SET(mcounteren, 2);
    WRITE(satp, 0);
    __asm__ volatile("la t0, 1f\n csrw mepc, t0\n mret\n 1:" ::: "t0", "memory");
}

static void again(void)
{
#ifdef CLINT
    CLEAR(sip, SSIE);
#else
    WRITE(0x14d, READ(time) + INTERVAL); // stimecmp
#endif
}

int timer_interrupt(u64 cause)
{
    again();
    return 1;
}

static void firmware_start(void) {}

unsigned platform_start_others(volatile u32 *started)
{
    const u64 until = READ(time) + 1000000;
    u32 last = 0;
    while (last != *started || READ(time) < until) // all come by themselves, soon
        last = *started;
    return last;
}

void platform_start_hart(void)
{
    plic_start_hart();
    SET(sie, SEIE | STIE | SSIE);
    again();
}

int platform_good(void)
{
    return uart_interrupts;
}
#endif

void platform_start(void)
{
    firmware_start();
    for (unsigned n = 0; n < 8; n++)
        *plic(4 * (DISK_IRQ + n)) = 1;
    *plic(4 * UART_IRQ) = 1;
    UART[IER] = THRE; // the transmitter is ready: an interrupt at once
    console_shared = 1;
}

void print(const char *text)
{
    if (console_shared)
        lock(&print_lock);
    put(text);
    if (console_shared)
        unlock(&print_lock);
}

void print_number(u64 n)
{
    char text[24], *at = text + sizeof text - 1;
    *at = 0;
    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    print(at);
}
