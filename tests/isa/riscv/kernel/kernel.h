// What the assembler and C parts of the kernel share: the layout of memory and of a trap's frame.
#pragma once

#define PAGE       4096
#define TRAMPOLINE 0x3ffffff000 // the last page of the lower half of Sv39
#define USER_FRAME 0x3fffffe000
#define USER_CODE  0x1000
#define USER_HEAP  0x400000
#define USER_STACK 0x800000 // its end
#define HARTS      8

#define FRAME_X           0
#define FRAME_PC          256
#define FRAME_STATUS      264
#define FRAME_KERNEL_SP   272
#define FRAME_KERNEL_SATP 280
#define FRAME_KERNEL_TRAP 288
#define FRAME_HART        296
#define FRAME_SIZE        304

#ifndef __ASSEMBLER__
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;

struct frame {
    u64 x[32], pc, status, kernel_sp, kernel_satp, kernel_trap, hart;
};

#define READ(csr)                                                                                  \
    ({                                                                                             \
        u64 v_;                                                                                    \
        __asm__ volatile("csrr %0, " #csr : "=r"(v_)::"memory");                                   \
        v_;                                                                                        \
    })
#define WRITE(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define SET(csr, v)   __asm__ volatile("csrs " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define CLEAR(csr, v) __asm__ volatile("csrc " #csr ", %0" ::"r"((u64)(v)) : "memory")

static inline unsigned hart(void)
{
    u64 v;
    __asm__ volatile("mv %0, tp" : "=r"(v));
    return (unsigned)v;
}

struct lock {
    volatile u32 held, owner;
};
struct context {
    u64 x[32];
};

// kernel.c
void panic(unsigned code) __attribute__((noreturn)); // ends the machine with this status
void lock(struct lock *l);                           // interrupts are off while one is held
void unlock(struct lock *l);
void *page_new(void); // zeroed
void wait_for(const void *what, struct lock *l);
void wake(const void *what);
// platform.c
void machine_start(void);
void platform_start(void); // the first hart's: what there is one of
void platform_start_hart(void);
unsigned platform_start_others(volatile u32 *started); // once all have; how many there are
int platform_good(void);                               // has everything happened that should?
int timer_interrupt(u64 cause);                        // false: it was another hart's call
int device_interrupt(void);                            // by the PLIC; false: there was none
extern int console_shared;
void print(const char *text);
void print_number(u64 n);
void end(unsigned code) __attribute__((noreturn));
// disk.c
void disk_start(void);
void disk_interrupt(void);
void disk_move(u64 sector, void *page, int write); // 512 bytes, of kernel memory
extern volatile u64 disk_interrupts;
// user.c
extern const char user_start[], user_end[];
enum { CALL_EXIT, CALL_WHO, CALL_YIELD, CALL_GROW, CALL_READ, CALL_WRITE, CALL_PUT };
#endif
