// Entry, the trap vector of machine level, and calls of a function at a lower privilege level. The
// program ends by the host-target interface, or on the virt board (TEST_DEVICE) by its test device:
// 0 passes, anything else is the case that failed.
#if __riscv_xlen == 64
#define LX      ld
#define SX      sd
#define BYTES   8
#define VIRTUAL_STATUS mstatus // where MPV is, and which bit
#define MPV     39
#else
#define LX      lw
#define SX      sw
#define BYTES   4
#define VIRTUAL_STATUS 0x310 // mstatush
#define MPV     7
#endif
    .section .text.start
    .globl _start
_start:
    csrr    t0, mhartid
    bnez    t0, park
    la      sp, stack_top
    la      t0, machine_vector
    csrw    mtvec, t0
    call    main
    j       finish
park:
    wfi
    j       park

    // finish(case)
    .globl finish
finish:
#ifdef TEST_DEVICE
    li      t0, TEST_DEVICE
    li      t1, 0x5555
    beqz    a0, 1f
    slli    a0, a0, 16
    li      t1, 0x3333
    or      t1, t1, a0
1:  sw      t1, 0(t0)
    j       1b
#endif
    slli    a0, a0, 1
    ori     a0, a0, 1
    la      t0, tohost
1:  SX      a0, 0(t0)
#if BYTES == 4
    sw      zero, 4(t0)
#endif
    j       1b

    // Every trap is noted in `seen` (cause, tval, epc). An exception resumes at resume_at, at machine
    // level, or behind its instruction where none was tried; an interrupt is masked and goes on.
    .align 2
machine_vector:
    csrw    mscratch, t0
    la      t0, seen
    SX      t1, 5 * BYTES(t0)
    csrr    t1, mcause
    SX      t1, 0 * BYTES(t0)
    csrr    t1, mtval
    SX      t1, 1 * BYTES(t0)
    csrr    t1, mepc
    SX      t1, 2 * BYTES(t0)
    LX      t1, 4 * BYTES(t0)
    addi    t1, t1, 1
    SX      t1, 4 * BYTES(t0)
    csrr    t1, mcause
    bltz    t1, 2f
    la      t1, resume_at
    LX      t1, 0 * BYTES(t1)
    beqz    t1, 3f
    csrw    mepc, t1
    li      t1, 3 << 11
    csrs    mstatus, t1
    li      t1, 1 << MPV
    csrc    VIRTUAL_STATUS, t1
    mret
3:  csrr    t1, mepc
    addi    t1, t1, 4
    csrw    mepc, t1
    LX      t1, 5 * BYTES(t0)
    csrr    t0, mscratch
    mret
2:  csrw    mie, zero
    LX      t1, 5 * BYTES(t0)
    csrr    t0, mscratch
    mret

    // try(fn, argument, level, virtual): calls fn at that level until it traps to machine level.
    .globl try
try:
    addi    sp, sp, -128
    SX      ra, 0 * BYTES(sp)
    SX      s0, 1 * BYTES(sp)
    SX      s1, 2 * BYTES(sp)
    SX      s2, 3 * BYTES(sp)
    SX      s3, 4 * BYTES(sp)
    SX      s4, 5 * BYTES(sp)
    SX      s5, 6 * BYTES(sp)
    SX      s6, 7 * BYTES(sp)
    SX      s7, 8 * BYTES(sp)
    SX      s8, 9 * BYTES(sp)
    SX      s9, 10 * BYTES(sp)
    SX      s10, 11 * BYTES(sp)
    SX      s11, 12 * BYTES(sp)
    la      t0, saved_sp
    SX      sp, 0 * BYTES(t0)
    la      t0, resume_at
    la      t1, 1f
    SX      t1, 0 * BYTES(t0)
    csrw    mepc, a0
    li      t0, 3 << 11
    csrc    mstatus, t0
    slli    t0, a2, 11
    csrs    mstatus, t0
    beqz    a3, 2f
    li      t0, 1 << MPV
    csrs    VIRTUAL_STATUS, t0
2:  mv      a0, a1
    la      ra, leave
    mret
    .align 2
1:  la      t0, resume_at
    SX      zero, 0(t0)
    la      t0, result // of leave, if it came there: a narrower level could not store it
    SX      t6, 0(t0)
    la      t0, saved_sp
    LX      sp, 0 * BYTES(t0)
    LX      ra, 0 * BYTES(sp)
    LX      s0, 1 * BYTES(sp)
    LX      s1, 2 * BYTES(sp)
    LX      s2, 3 * BYTES(sp)
    LX      s3, 4 * BYTES(sp)
    LX      s4, 5 * BYTES(sp)
    LX      s5, 6 * BYTES(sp)
    LX      s6, 7 * BYTES(sp)
    LX      s7, 8 * BYTES(sp)
    LX      s8, 9 * BYTES(sp)
    LX      s9, 10 * BYTES(sp)
    LX      s10, 11 * BYTES(sp)
    LX      s11, 12 * BYTES(sp)
    addi    sp, sp, 128
    ret
leave:
    mv      t6, a0
    ecall

    .data
    .align 3
    .globl seen, result
seen:      .dword 0, 0, 0, 0, 0, 0
result:    .dword 0
resume_at: .dword 0
saved_sp:  .dword 0

    .section .tohost, "aw", @progbits
    .align 6
    .globl tohost, fromhost
    .type tohost, @object
    .type fromhost, @object
    .size tohost, 8
    .size fromhost, 8
tohost:   .dword 0
    .align 6
fromhost: .dword 0
