// Entry at EL2 with its own translation off, and the way down to EL1 and back: `descend` runs code there until it
// calls or faults. `window` is what EL1 runs: one access after the other, and its vectors.

    .globl _start
_start:
    ldr     x0, =stack_top
    mov     sp, x0
    ldr     x0, =vectors
    msr     vbar_el2, x0
    isb
    bl      main
    ldr     x0, =0x84000008 // PSCI SYSTEM_OFF
    smc     #0
1:  b       1b

// void descend(struct outcome *out, pc, x0, x1)
    .globl descend
descend:
    stp     x19, x20, [sp, #-112]!
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    str     x0, [sp, #96]
    msr     elr_el2, x1
    mov     x9, #0x3c5 // EL1h, everything masked
    msr     spsr_el2, x9
    mov     x0, x2
    mov     x1, x3
    eret

    .balign 2048
vectors:
    .skip   0x400
    ldr     x30, [sp, #96]
    mrs     x29, esr_el2
    mrs     x28, far_el2
    stp     x29, x28, [x30]
    mrs     x29, hpfar_el2
    mrs     x28, elr_el2
    stp     x29, x28, [x30, #16]
    mrs     x29, esr_el1
    mrs     x28, far_el1
    stp     x29, x28, [x30, #32]
    str     x0, [x30, #48]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     x19, x20, [sp], #112
    ret

    .section .text.window
    .balign 65536
    .globl window
window:
    ldr     x0, [x0] // each at a multiple of 32
    hvc     #0
    .balign 32
    str     x1, [x0]
    hvc     #0
    .balign 32
    br      x0
    .balign 32
    at      s1e1r, x0
    isb
    mrs     x0, par_el1
    hvc     #0
    .balign 32
    ldp     x0, x1, [x0]
    hvc     #0
    .balign 32
    tlbi    vae1is, x0
    dsb     ish
    isb
    hvc     #0
    .balign 32
    tlbi    vmalle1is
    dsb     ish
    isb
    hvc     #0
    .skip   0x800 - (. - window)
    .rept   16
    hvc     #1
    .balign 128
    .endr
    .balign 65536

    .bss
    .balign 16
    .skip   0x4000
stack_top:
