// Guest memory and registers for the rest of user mode. A bad address is the program's error: the
// functions say false, and a system call answers -EFAULT.
#pragma once

#include "user/user.h"

// Memory at a guest address, as a system call may use it: false where any of it is not mapped, or
// not for that. An address may carry a tag.
bool guest_read(struct thread *t, uint64_t addr, void *dst, size_t n) MUST_CHECK;
bool guest_write(struct thread *t, uint64_t addr, const void *src, size_t n) MUST_CHECK;
// A string of less than `size` bytes with its end. 0 or a negative errno.
int64_t guest_string(struct thread *t, uint64_t addr, char *dst, size_t size);
static inline bool guest_write_u32(struct thread *t, uint64_t addr, uint32_t val)
{
    return guest_write(t, addr, &val, 4);
}
// For the host kernel, which checks by itself; NULL stays NULL.
static inline void *guest_ptr(struct thread *t, uint64_t addr)
{
    return addr ? mm_host(&t->u->mm, addr) : NULL;
}
// A register by its name in the ISA's table (regs.def), which must be there.
const struct isa_reg *guest_reg(const struct isa *isa, const char *name);
// The signal for an access that failed.
void guest_memory_fault(struct thread *t, const struct env_fault *f, bool misaligned,
                        struct guest_fault *out);
