// Where each hart begins, how traps enter and leave the kernel, and the switch between contexts.
// In SBI builds a hart comes from the firmware at supervisor level with its number in a0, else from
// reset at machine level.
#include "kernel.h"

    .macro registers op, base
    .irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \op x\n, FRAME_X + 8 * \n(\base)
    .endr
    .endm

    .section .text.start, "ax"
    .globl _start
_start:
#ifdef SBI
    mv      tp, a0
#else
    csrr    tp, mhartid
#endif
    la      sp, stacks
    addi    t0, tp, 1
    slli    t0, t0, 12
    add     sp, sp, t0
#ifdef SBI
    call    main
#else
    call    machine_start // which returns at supervisor level
    call    main
#endif
1:  wfi
    j       1b

    // switch_to(from, to): callee-saved registers, sp and ra.
    .globl switch_to
switch_to:
    .irp n, 1,2,8,9,18,19,20,21,22,23,24,25,26,27
    sd      x\n, 8 * \n(a0)
    ld      x\n, 8 * \n(a1)
    .endr
    ret

    // A trap out of the kernel: all registers on its stack.
    .align 2
    .globl kernel_vector
kernel_vector:
    addi    sp, sp, -FRAME_SIZE
    registers sd, sp
    sd      a0, FRAME_X + 80(sp)
    csrr    t0, sepc
    sd      t0, FRAME_PC(sp)
    csrr    t0, sstatus
    sd      t0, FRAME_STATUS(sp)
    call    kernel_trap
    ld      t0, FRAME_PC(sp)
    csrw    sepc, t0
    ld      t0, FRAME_STATUS(sp)
    csrw    sstatus, t0
    ld      a0, FRAME_X + 80(sp)
    mv      t0, tp // the hart may have changed since
    sd      t0, FRAME_X + 32(sp)
    registers ld, sp
    addi    sp, sp, FRAME_SIZE
    sret

#ifndef SBI
    // The CLINT's timer, at machine level: set again, and passed on as a software interrupt.
    // mscratch: three words to save to, the address of mtimecmp, the interval.
    .align 2
    .globl machine_vector
machine_vector:
    csrrw   a0, mscratch, a0
    sd      a1, 0(a0)
    sd      a2, 8(a0)
    ld      a1, 24(a0)
    ld      a2, 32(a0)
    sd      a3, 16(a0)
    ld      a3, 0(a1)
    add     a3, a3, a2
    sd      a3, 0(a1)
    li      a1, 2
    csrs    mip, a1
    ld      a3, 16(a0)
    ld      a2, 8(a0)
    ld      a1, 0(a0)
    csrrw   a0, mscratch, a0
    mret
#endif

    // The page that lies at the same address in every space. sscratch: the address of the process's
    // frame, in its own space.
    .section .text.trampoline, "ax"
    .align 12
    .globl trampoline, user_vector, user_return
trampoline:
user_vector:
    csrrw   a0, sscratch, a0
    registers sd, a0
    csrr    t0, sscratch
    sd      t0, FRAME_X + 80(a0)
    csrr    t0, sepc
    sd      t0, FRAME_PC(a0)
    ld      sp, FRAME_KERNEL_SP(a0)
    ld      tp, FRAME_HART(a0)
    ld      t0, FRAME_KERNEL_TRAP(a0)
    ld      t1, FRAME_KERNEL_SATP(a0)
    sfence.vma
    csrw    satp, t1
    sfence.vma
    jr      t0

    // user_return(frame, satp)
user_return:
    sfence.vma
    csrw    satp, a1
    sfence.vma
    csrw    sscratch, a0
    ld      t0, FRAME_PC(a0)
    csrw    sepc, t0
    registers ld, a0
    ld      a0, FRAME_X + 80(a0)
    sret
