// Guest program: code that changes, mappings that move and grow, and the errors of bad requests.
#include "check.h"
#include "cpu.h"

#include <sys/mman.h>
#include <unistd.h>

static uint32_t call(uint32_t *code)
{
    return ((uint32_t(*)(void))code)();
}

static void changing_code(void)
{
    int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    uint32_t *c = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, anonymous, -1, 0);
    for (uint32_t i = 0; i < 100; i++) {
        put_function(c, i);
        __builtin___clear_cache((char *)c, (char *)(c + 2));
        CHECK(call(c) == i);
    }
    for (uint32_t i = 0; i < 20; i++) {
        mprotect(c, 4096, PROT_READ | PROT_WRITE);
        put_function(c, i);
        mprotect(c, 4096, PROT_READ | PROT_EXEC);
        CHECK(call(c) == i);
    }
    munmap(c, 4096);
    CHECK(mmap(c, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, anonymous | MAP_FIXED, -1, 0) == c);
    put_function(c, 77);
    __builtin___clear_cache((char *)c, (char *)(c + 2));
    CHECK(call(c) == 77);
}

int main(void)
{
    const size_t mib = 1 << 20;
    int rw = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    changing_code();
    char *p = mmap(NULL, mib, rw, anonymous, -1, 0);
    memset(p, 1, mib);
    p = mremap(p, mib, 4 * mib, MREMAP_MAYMOVE);
    CHECK(p != MAP_FAILED && p[mib - 1] == 1 && p[4 * mib - 1] == 0);
    CHECK(!munmap(p, 4 * mib));
    CHECK(mmap((void *)1, 10, rw, anonymous | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 0, rw, anonymous, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(madvise((void *)0x10000000000, 4096, MADV_DONTNEED) == -1 && errno == ENOMEM);
    CHECK(write(1, (void *)0x10000000000, 1) == -1 && errno == EFAULT);
    CHECK(write(1, (void *)-4096l, 1) == -1 && errno == EFAULT);
    char *b = sbrk(0);
    CHECK(sbrk(100000) == b && sbrk(0) == b + 100000);
    memset(b, 1, 100000);
    return failures != 0;
}
