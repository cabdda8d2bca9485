// host_call.h on x86-64. The window between looking at `captured` and the syscall instruction is
// known by its addresses: a signal there moves the program counter to the way out. Linux itself
// goes back to the syscall instruction when it would restart the call after the handler; RCX, which
// the instruction sets, tells such a call from one that was not made.
#include "user/host_call.h"

#include "user/proxy.h"

#include <errno.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__)
int64_t host_call_asm(long nr, const uint64_t a[6], _Atomic int *captured);
extern const char host_call_begin[], host_call_end[], host_call_again[], host_call_not_made[];

__asm__(".text\n"
        ".type host_call_asm, @function\n"
        "host_call_asm:\n"
        "    push %rbx\n"
        "    mov %rdx, %rbx\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %r11\n"
        "    mov 0(%r11), %rdi\n"
        "    mov 8(%r11), %rsi\n"
        "    mov 16(%r11), %rdx\n"
        "    mov 24(%r11), %r10\n"
        "    mov 32(%r11), %r8\n"
        "    mov 40(%r11), %r9\n"
        "    xor %ecx, %ecx\n"
        "host_call_begin:\n"
        "    cmpl $0, (%rbx)\n"
        "    jne host_call_not_made\n"
        "    syscall\n"
        "host_call_end:\n"
        "    pop %rbx\n"
        "    ret\n"
        "host_call_again:\n"
        "    mov $-512, %rax\n"
        "    pop %rbx\n"
        "    ret\n"
        "host_call_not_made:\n"
        "    mov $-513, %rax\n"
        "    pop %rbx\n"
        "    ret\n"
        ".size host_call_asm, . - host_call_asm\n");

int64_t host_call(long nr, const uint64_t a[6], _Atomic int *captured)
{
    return host_call_asm(nr, a, captured);
}

int64_t host_call_plain(long nr, const uint64_t a[6])
{
    register uint64_t r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    int64_t r;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}

UNSANITIZED void host_call_interrupt(void *ucontext) // as signal.c's capture, which calls it
{
    ucontext_t *uc = ucontext;
    uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    if (pc >= (uintptr_t)host_call_begin && pc < (uintptr_t)host_call_end)
        uc->uc_mcontext.gregs[REG_RIP] =
            (greg_t)(uintptr_t)(uc->uc_mcontext.gregs[REG_RCX] ? host_call_again
                                                               : host_call_not_made);
}
#else
int64_t host_call(long nr, const uint64_t a[6], _Atomic int *captured)
{
    return atomic_load(captured) ? HOST_CALL_NOT_MADE : host_call_plain(nr, a);
}

int64_t host_call_plain(long nr, const uint64_t a[6])
{
    long r = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    return r == -1 ? -errno : r;
}

void host_call_interrupt(void *ucontext) {}
#endif

int64_t host_do(long nr, const uint64_t a[6])
{
    struct thread *t = user_self;
    return t && t->proxy ? proxy_call(t->proxy, nr, a, NULL) : host_call_plain(nr, a);
}
