// Entry, and running a case: enter(registers) loads them, goes to the privilege level that mstatus
// names and comes back with the next trap, registers stored again.
#if __riscv_xlen == 64
#define LX ld
#define SX sd
#else
#define LX lw
#define SX sw
#endif
    .macro each_x op, reg
    .irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \op x\n, 8 * \n(\reg)
    .endr
    .endm
    .macro each_f op, reg
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \op f\n, 256 + 8 * \n(\reg)
    .endr
    .endm
    .macro each_saved op
    \op ra, 0(sp)
    .irp n, 3,4,8,9,18,19,20,21,22,23,24,25,26,27
    \op x\n, 8 * \n(sp)
    .endr
    .endm

    .section .text.start, "ax"
    .globl _start
_start:
    csrr    t0, mhartid
    bnez    t0, park
    la      sp, stack_top
    la      t0, vector
    csrw    mtvec, t0
    call    main
    j       finish
park:
    wfi
    j       park

    // finish(status)
    .globl finish
finish:
    slli    a0, a0, 1
    ori     a0, a0, 1
    la      t0, tohost
1:  sw      a0, 0(t0)
    sw      zero, 4(t0)
    j       1b

    .globl enter
enter:
    addi    sp, sp, -256
    each_saved SX
    la      t0, saved_sp
    SX      sp, 0(t0)
    csrw    mscratch, a0
    each_f  fld, a0
    LX      t0, 512(a0)
    csrw    fcsr, t0
    each_x  LX, a0
    LX      a0, 80(a0)
    mret

    .align 2
vector:
    csrrw   a0, mscratch, a0
    each_x  SX, a0
    csrr    t0, mscratch
    SX      t0, 80(a0)
    each_f  fsd, a0
    csrr    t0, fcsr
    SX      t0, 512(a0)
    la      t0, saved_sp
    LX      sp, 0(t0)
    each_saved LX
    addi    sp, sp, 256
    ret

    .data
    .align 3
saved_sp: .dword 0

    .section .cases, "a", @progbits
    .align 3
    .globl cases
cases: .incbin CASES

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
