// Entry, the trap vector of machine level, and calls of a function at a lower privilege level. The
// program ends by the host-target interface, or on the virt board (TEST_DEVICE) by its test device:
// 0 passes, anything else is the case that failed.
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
1:  sd      a0, 0(t0)
    j       1b

    // Every trap is noted in `seen` (cause, tval, epc, tval2). An exception resumes at resume_at, at
    // machine level, as does anything while `escape` is set; an interrupt is masked and goes on.
    .align 2
machine_vector:
    csrw    mscratch, t0
    la      t0, seen
    sd      t1, 40(t0)
    csrr    t1, mcause
    sd      t1, 0(t0)
    csrr    t1, mtval
    sd      t1, 8(t0)
    csrr    t1, mepc
    sd      t1, 16(t0)
    ld      t1, 32(t0)
    addi    t1, t1, 1
    sd      t1, 32(t0)
    csrr    t1, mcause
    bltz    t1, 2f
    la      t1, resume_at
    ld      t1, 0(t1)
    csrw    mepc, t1
    li      t1, 3 << 11
    csrs    mstatus, t1
    li      t1, 1 << 39
    csrc    mstatus, t1
    mret
2:  csrw    mie, zero
    ld      t1, 40(t0)
    csrr    t0, mscratch
    mret

    // try(fn, argument, level, virtual): calls fn at that level until it traps to machine level.
    .globl try
try:
    addi    sp, sp, -128
    sd      ra, 0(sp)
    sd      s0, 8(sp)
    sd      s1, 16(sp)
    sd      s2, 24(sp)
    sd      s3, 32(sp)
    sd      s4, 40(sp)
    sd      s5, 48(sp)
    sd      s6, 56(sp)
    sd      s7, 64(sp)
    sd      s8, 72(sp)
    sd      s9, 80(sp)
    sd      s10, 88(sp)
    sd      s11, 96(sp)
    la      t0, saved_sp
    sd      sp, 0(t0)
    la      t0, resume_at
    la      t1, 1f
    sd      t1, 0(t0)
    csrw    mepc, a0
    li      t0, 3 << 11
    csrc    mstatus, t0
    slli    t0, a2, 11
    csrs    mstatus, t0
    beqz    a3, 2f
    li      t0, 1 << 39
    csrs    mstatus, t0
2:  mv      a0, a1
    la      ra, leave
    mret
    .align 2
1:  la      t0, saved_sp
    ld      sp, 0(t0)
    ld      ra, 0(sp)
    ld      s0, 8(sp)
    ld      s1, 16(sp)
    ld      s2, 24(sp)
    ld      s3, 32(sp)
    ld      s4, 40(sp)
    ld      s5, 48(sp)
    ld      s6, 56(sp)
    ld      s7, 64(sp)
    ld      s8, 72(sp)
    ld      s9, 80(sp)
    ld      s10, 88(sp)
    ld      s11, 96(sp)
    addi    sp, sp, 128
    ret
leave:
    mv      t6, a0
    la      t0, result
    sd      a0, 0(t0)
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
