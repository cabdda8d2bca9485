// Entry, vectors and the three ways tests leave C: try (a call that may take a synchronous exception),
// enter_el0, and the entry of secondary CPUs. One CPU runs tests; `record` is its last exception.

    .globl _start
_start:
    ldr     x0, =stacks + 0x4000
    mov     sp, x0
    ldr     x0, =vectors
    msr     vbar_el1, x0
    isb
    bl      main
    ldr     x0, =0x84000008 // PSCI SYSTEM_OFF
    hvc     #0
1:  b       1b

// CPU_ON enters here with the stack top in x0.
    .globl secondary
secondary:
    mov     sp, x0
    ldr     x1, =vectors
    msr     vbar_el1, x1
    isb
    bl      secondary_main
    ldr     x0, =0x84000002 // PSCI CPU_OFF
    hvc     #0
1:  b       1b

// A stub names its vector; synchronous exceptions go back to whoever tried, interrupts to C.
    .macro stub number
    .balign 128
    stp     x29, x30, [sp, #-16]!
    mov     x29, #\number
    .if (\number & 3) == 0
    b       synchronous
    .else
    b       interrupt
    .endif
    .endm

    .balign 2048
vectors:
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    stub    \n
    .endr

// Fill `record` and return 1 from try or enter_el0.
synchronous:
    adrp    x30, record
    add     x30, x30, :lo12:record
    str     x29, [x30, #0]
    mrs     x29, esr_el1
    str     x29, [x30, #8]
    mrs     x29, elr_el1
    str     x29, [x30, #16]
    mrs     x29, spsr_el1
    str     x29, [x30, #24]
    mrs     x29, far_el1
    str     x29, [x30, #32]
    str     x0, [x30, #40]
    str     x1, [x30, #48]
    adrp    x30, saved
    add     x30, x30, :lo12:saved
    msr     spsel, #1
    ldp     x19, x20, [x30, #0]
    ldp     x21, x22, [x30, #16]
    ldp     x23, x24, [x30, #32]
    ldp     x25, x26, [x30, #48]
    ldp     x27, x28, [x30, #64]
    ldr     x29, [x30, #80]
    ldr     x0, [x30, #96]
    mov     sp, x0
    ldr     x0, [x30, #104]
    msr     daif, x0
    ldr     x30, [x30, #88]
    mov     x0, #1
    ret

interrupt:
    sub     sp, sp, #176
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, xzr, [sp, #144]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    stp     x0, x1, [sp, #160]
    mov     x0, x29
    bl      on_interrupt
    ldp     x0, x1, [sp, #160]
    msr     elr_el1, x0
    msr     spsr_el1, x1
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldr     x18, [sp, #144]
    add     sp, sp, #176
    ldp     x29, x30, [sp], #16
    eret

    .macro save_context
    adrp    x9, saved
    add     x9, x9, :lo12:saved
    stp     x19, x20, [x9, #0]
    stp     x21, x22, [x9, #16]
    stp     x23, x24, [x9, #32]
    stp     x25, x26, [x9, #48]
    stp     x27, x28, [x9, #64]
    stp     x29, x30, [x9, #80]
    mov     x10, sp
    str     x10, [x9, #96]
    mrs     x10, daif
    str     x10, [x9, #104]
    .endm

// unsigned long try(void (*fn)(unsigned long, unsigned long), a, b): 0 when fn returned.
    .globl try
try:
    save_context
    str     x30, [sp, #-16]!
    mov     x9, x0
    mov     x0, x1
    mov     x1, x2
    blr     x9
    ldr     x30, [sp], #16
    mov     x0, #0
    ret

// unsigned long enter_el0(pc, spsr, x0, x1): until its next synchronous exception.
    .globl enter_el0
enter_el0:
    save_context
    msr     elr_el1, x0
    msr     spsr_el1, x1
    ldr     x10, =stacks + 0x8000
    msr     sp_el0, x10
    mov     x0, x2
    mov     x1, x3
    eret

    .bss
    .balign 4096
    .globl stacks
stacks:
    .skip   0x20000
    .balign 16
    .globl record
record:
    .skip   64
saved:
    .skip   128
