// riscv_hwprobe and riscv_flush_icache (Linux, Documentation/arch/riscv/hwprobe.rst and
// uabi.rst; arch/riscv/include/uapi/asm/hwprobe.h). All CPUs are alike, so the set of CPUs that
// hwprobe is asked about matters only where it is to be narrowed.
#include "isa/riscv/riscv.h"
#include "user/calls.h"

enum {
    KEY_VENDOR = 0,
    KEY_ARCH = 1,
    KEY_IMPLEMENTATION = 2,
    KEY_BASE_BEHAVIOR = 3,
    KEY_IMA_EXT_0 = 4,
    KEY_CPUPERF_0 = 5,
    KEY_CBOZ_BLOCK = 6,
    KEY_HIGHEST_ADDRESS = 7,
    KEY_TIME_FREQUENCY = 8,
    KEY_MISALIGNED_SCALAR = 9,
};
enum { BASE_IMA = 1, MISALIGNED_FAST = 3, WHICH_CPUS = 1 };

static uint64_t extensions(const struct rv_cpu *c)
{
    uint64_t v = rv_has(c, RV_FEAT_F) && rv_has(c, RV_FEAT_D);
#define PROBE(bit, feature) v |= rv_has(c, RV_FEAT_##feature) ? 1ull << (bit) : 0;
#include "user/abi/riscv/hwprobe.def"
#undef PROBE
    return v;
}

// False: a key that this kernel does not know.
static bool probe(struct thread *t, int64_t key, uint64_t *v)
{
    const struct rv_cpu *c = rv_cpu(t->env);
    *v = 0;
    switch (key) {
    case KEY_VENDOR:
    case KEY_ARCH:
    case KEY_IMPLEMENTATION:
        return true;
    case KEY_BASE_BEHAVIOR:
        *v = rv_has(c, RV_FEAT_M) && rv_has(c, RV_FEAT_A) ? BASE_IMA : 0;
        return true;
    case KEY_IMA_EXT_0:
        *v = extensions(c);
        return true;
    case KEY_CPUPERF_0:
    case KEY_MISALIGNED_SCALAR:
        *v = MISALIGNED_FAST;
        return true;
    case KEY_CBOZ_BLOCK:
        *v = rv_has(c, RV_FEAT_ZICBOZ) ? 64 : 0;
        return true;
    case KEY_HIGHEST_ADDRESS:
        *v = t->u->mm.size - 1;
        return true;
    case KEY_TIME_FREQUENCY:
        *v = 1000000000;
        return true;
    default:
        return false;
    }
}

int64_t sys_riscv_hwprobe(struct thread *t, const uint64_t *a)
{
    struct {
        int64_t key;
        uint64_t value;
    } pair;
    bool which = a[4] == WHICH_CPUS, none = false;
    if (a[4] & ~(uint64_t)WHICH_CPUS || (which && (!a[2] || !a[3])) || (!which && !a[2] != !a[3]))
        return -EINVAL;
    for (uint64_t i = 0; i < a[1]; i++) {
        uint64_t at = a[0] + i * sizeof pair, value;
        if (!guest_read(t, at, &pair, sizeof pair))
            return -EFAULT;
        bool known = probe(t, pair.key, &value);
        bool bits = pair.key >= KEY_BASE_BEHAVIOR && pair.key <= KEY_IMA_EXT_0;
        none |= !known || (bits ? (value & pair.value) != pair.value : value != pair.value);
        if (!known)
            pair.key = -1;
        if (!which || !known)
            pair.value = value;
        if (!guest_write(t, at, &pair, sizeof pair))
            return -EFAULT;
    }
    static const uint8_t empty[128];
    if (which && none && !guest_write(t, a[3], empty, MIN(a[2], sizeof empty)))
        return -EFAULT;
    return 0;
}

int64_t sys_riscv_flush_icache(struct thread *t, const uint64_t *a)
{
    if (a[2] & ~1ull)
        return -EINVAL;
    t->env->exec->code_flush(t->env, a[0], a[1] > a[0] ? a[1] - a[0] : 0);
    return 0;
}
