// What translating costs: UNITS copies of a function that are each called once, so that hardly an
// instruction runs twice. The mix is that of compiled code: a frame, loads and stores, arithmetic,
// five conditional branches of which two are taken, a call and a return. `executed` tells how many
// instructions run.
    .text
    .global _start
_start:
    adrp x19, data
    add x19, x19, :lo12:data
    mov x20, #1
    bl all
    mov x0, #0
    mov x8, #93
    svc #0
all:
    stp x29, x30, [sp, #-16]!
first:
    .rept UNITS
    bl 1f
    b 6f
1:  stp x29, x30, [sp, #-48]!
    mov x29, sp
    stp x19, x20, [sp, #16]
    str x21, [sp, #32]
    mov x22, x19
    ldr x0, [x22, #8]
    ldr w1, [x22, #16]
    add x2, x0, x1, lsl #2
    and w3, w1, #0xff
    cmp w3, #7
    b.hi 3f             // taken: skips 4
    ubfx x4, x2, #4, #12
    eor x5, x4, x0
    str x5, [x22, #24]
    cbz x5, 4f
3:  ldrb w6, [x22, #1]
    sub x7, x2, #24
    orr w6, w6, #16
    strb w6, [x22, #2]
    cbz x2, 4f
    cmp x7, x20
    csel x9, x7, x20, lt
    madd x10, x9, x20, x0
    tbnz w6, #4, 4f     // taken: skips 2
    lsl x11, x10, #3
    add x11, x11, x20
4:  ldp x12, x13, [x22, #32]
    adds x12, x12, x13
    cset w14, eq
    adrp x15, data
    ldr x15, [x15, :lo12:data]
    stp x12, x15, [x22, #32]
    mov w0, w14
    ldr x21, [sp, #32]
    ldp x19, x20, [sp, #16]
    ldp x29, x30, [sp], #48
    ret
6:  cbz w0, 7f
    add x20, x20, #1
7:
    .endr
last:
    ldp x29, x30, [sp], #16
    ret
    .global executed
    .set executed, (last - first) / 4 - 6 * UNITS
    .data
    .balign 64
data:
    .quad 0, 0, 0x55, 0, 0, 0, 0, 0
