// What is particular to 32-bit harts, case by case: high halves of control registers, Sv32, the
// encodings that only they have. The exit status is the case that failed.
typedef unsigned int u32;

#define READ(csr)                                                                                  \
    ({                                                                                             \
        u32 v_;                                                                                    \
        __asm__ volatile("csrr %0, " #csr : "=r"(v_));                                             \
        v_;                                                                                        \
    })
#define WRITE(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((u32)(v)) : "memory")
#define SET(csr, v)   __asm__ volatile("csrs " #csr ", %0" ::"r"((u32)(v)) : "memory")
#define CLEAR(csr, v) __asm__ volatile("csrc " #csr ", %0" ::"r"((u32)(v)) : "memory")

volatile u32 tohost[2] __attribute__((section(".tohost"), aligned(8)));
volatile u32 fromhost[2] __attribute__((section(".tohost"), aligned(8)));
static u32 root[1024] __attribute__((aligned(4096)));
static u32 leaves[1024] __attribute__((aligned(4096)));
static volatile u32 page[1024] __attribute__((aligned(4096)));
volatile u32 seen_cause, seen_value;
static u32 number;

__asm__(".section .text.start\n"
        ".globl _start\n"
        "_start: la sp, stack_top\n"
        "la t0, vector\n"
        "csrw mtvec, t0\n"
        "call main\n"
        ".align 2\n"
        "vector: csrw mscratch, t0\n" // notes the trap and goes on behind a 4-byte instruction
        "sw t1, -4(sp)\n"
        "la t0, seen_cause\n"
        "csrr t1, mcause\n"
        "sw t1, 0(t0)\n"
        "la t0, seen_value\n"
        "csrr t1, mtval\n"
        "sw t1, 0(t0)\n"
        "csrr t1, mepc\n"
        "addi t1, t1, 4\n"
        "csrw mepc, t1\n"
        "lw t1, -4(sp)\n"
        "csrr t0, mscratch\n"
        "mret\n"
        ".text\n");

static void finish(u32 status)
{
    for (;;) {
        tohost[0] = status << 1 | 1;
        tohost[1] = 0;
    }
}

static void expect(int ok)
{
    number++;
    if (!ok)
        finish(number);
}

static void registers(void)
{
    expect(READ(misa) >> 30 == 1);
    WRITE(mcountinhibit, 1);
    WRITE(mcycle, 0x11111111);
    WRITE(mcycleh, 0x22222222);
    expect(READ(mcycle) == 0x11111111 && READ(mcycleh) == 0x22222222);
    WRITE(mcountinhibit, 0);
    WRITE(mcause, 0x80000007);
    expect(READ(mcause) == 0x80000007);
    WRITE(satp, 1u << 31 | 0x155u << 22 | 0x12345);
    expect(READ(satp) == (1u << 31 | 0x155u << 22 | 0x12345));
    WRITE(satp, 0);
    SET(mstatus, 3 << 13);
    expect(READ(mstatus) >> 31); // SD
    WRITE(pmpaddr4, 0xffffffff);
    __asm__ volatile("csrw 0x3a1, %0" ::"r"(0x1f)); // pmpcfg1: entries 4 to 7
    u32 second;
    __asm__ volatile("csrr %0, 0x3a1" : "=r"(second));
    expect(second == 0x1f);
}

static void instructions(void)
{
    u32 a = 0x80000000, b = 0xffffffff, r;
    __asm__ volatile("mulhsu %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    expect(r == 0x80000000);
    __asm__ volatile("mulhu %0, %1, %2" : "=r"(r) : "r"(b), "r"(b));
    expect(r == 0xfffffffe);
    __asm__ volatile("sltu %0, %1, %2" : "=r"(r) : "r"(a), "r"(1));
    expect(!r);
    __asm__ volatile("srl %0, %1, %2" : "=r"(r) : "r"(a), "r"(33));
    expect(r == 0x40000000);
    __asm__ volatile(".option arch, +c\n jal 1f\n j 2f\n 1: mv %0, ra\n 2:" : "=r"(r)::"ra");
    seen_cause = ~0u;
    __asm__ volatile(".word 0x00053503"); // ld a0, 0(a0)
    expect(seen_cause == 2 && seen_value == 0x00053503);
    seen_cause = ~0u;
    __asm__ volatile(".word 0x02051513"); // slli a0, a0, 32
    expect(seen_cause == 2);
    // Addresses wrap around at 32 bits.
    page[0] = 99;
    __asm__ volatile("lw %0, -16(%1)" : "=r"(r) : "r"((u32)page + 16));
    expect(r == 99);
}

enum { V = 1, R = 2, W = 4, X = 8, A = 64, D = 128 };

static u32 load(const volatile u32 *p) // as supervisor level sees it
{
    u32 v = 0;
    seen_cause = ~0u;
    SET(mstatus, 1 << 11);
    CLEAR(mstatus, 1 << 12);
    SET(mstatus, 1 << 17); // MPRV, with MPP supervisor
    __asm__ volatile(".option push\n .option norvc\n lw %0, 0(%1)\n .option pop"
                     : "+r"(v)
                     : "r"(p)
                     : "memory");
    CLEAR(mstatus, 1 << 17);
    return v;
}

static void translation(void)
{
    root[0x200] = 0x80000u << 10 | V | R | W | X | A | D; // 4 MiB at 0x80000000
    root[1] = (u32)leaves >> 12 << 10 | V;
    leaves[3] = (u32)page >> 12 << 10 | V | R | A;
    leaves[4] = (u32)page >> 12 << 10 | V | X | A;
    WRITE(satp, 1u << 31 | (u32)root >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
    page[5] = 0xabcdef01;
    expect(load((u32 *)(0x403000 + 20)) == 0xabcdef01);
    expect(load(&page[5]) == 0xabcdef01);
    load((u32 *)0x404000);
    expect(seen_cause == 13 && seen_value == 0x404000);
    load((u32 *)0xc0000000);
    expect(seen_cause == 13 && seen_value == 0xc0000000);
    root[2] = 0x80001u << 10 | V | R | A; // not aligned to 4 MiB
    __asm__ volatile("sfence.vma" ::: "memory");
    load((u32 *)0x800000);
    expect(seen_cause == 13);
    WRITE(satp, 0);
}

int main(void)
{
    registers();
    WRITE(pmpaddr0, 0xffffffff);
    WRITE(pmpcfg0, 0x1f);
    instructions();
    translation();
    finish(0);
    return 0;
}
