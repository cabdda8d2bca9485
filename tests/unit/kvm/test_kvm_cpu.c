// CPU models and features as a guest's own CPUID shows them, and as the kernel was told.
#include "rig.h"

enum { LEAVES = 0x100000, ANSWERS = 0x101000 };

// CPUID of each pair of leaf and subleaf at LEAVES, answers behind each other at ANSWERS.
PROGRAM(ask, ".code32\n cld\n mov $0x100000, %esi\n mov $0x101000, %edi\n"
             "1: lodsl\n cmp $-1, %eax\n je 2f\n mov %eax, %ebp\n lodsl\n mov %eax, %ecx\n"
             "mov %ebp, %eax\n cpuid\n stosl\n mov %ebx, %eax\n stosl\n mov %ecx, %eax\n stosl\n"
             "mov %edx, %eax\n stosl\n jmp 1b\n 2: out %al, $0xf4\n 3: hlt\n jmp 3b");

static const uint32_t leaves[][2] = {{0, 0},          {1, 0},          {0xb, 0},
                                     {0xb, 1},        {0x40000000, 0}, {0x80000000, 0},
                                     {0x80000001, 0}, {0x80000002, 0}, {UINT32_MAX, 0}};
enum { LEAF_0, LEAF_1, LEAF_B_0, LEAF_B_1, LEAF_KVM, LEAF_EXT, LEAF_EXT_1, LEAF_BRAND, N_LEAVES };
struct answers {
    uint32_t leaf[N_LEAVES][4]; // EAX, EBX, ECX, EDX
};

static struct answers seen(const char *model, const char *features, unsigned n_cpus)
{
    struct rig r;
    struct opts o = {0};
    struct err e;
    struct answers a;
    if (features)
        assert_int_equal(opts_parse(&o, features, NULL, &e), 0);
    rig_open_cpu(&r, NULL, n_cpus, model, features ? &o : NULL);
    rig_load(&r, CODE, ask, ask_end);
    ram_write(r.ram, LEAVES, leaves, sizeof leaves);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.done, 1));
    ram_read(r.ram, ANSWERS, &a, sizeof a);
    rig_close(&r);
    opts_free(&o);
    return a;
}

static void test_identity(void **state)
{
    static const struct {
        const char *model;
        uint32_t signature;
        const char *brand;
    } rows[] = {
        {"qemu64", 0x00060fb1, "QEMU Virtual CPU"},
        {"kvm64", 0x00000f61, "Common KVM proce"},
        {"Nehalem", 0x000106a3, "Intel Core i7 9x"},
        {"Haswell", 0x000306c4, "Intel Core Proce"},
        {"Skylake-Server", 0x00050654, "Intel Xeon Proce"},
        {"EPYC", 0x00800f12, "AMD EPYC Process"},
        {"EPYC-Rome", 0x00830f10, "AMD EPYC-Rome Pr"},
        {"EPYC-Milan", 0x00a00f11, "AMD EPYC-Milan P"},
    };
    struct answers host = seen("host", NULL, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct answers a = seen(rows[i].model, "check=off", 1);
        assert_int_equal(a.leaf[LEAF_1][0], rows[i].signature);
        assert_int_equal(a.leaf[LEAF_EXT_1][0], rows[i].signature);
        assert_memory_equal(a.leaf[LEAF_BRAND], rows[i].brand, 16);
        assert_memory_equal(&a.leaf[LEAF_0][1], &host.leaf[LEAF_0][1], 12); // the host's maker
        assert_memory_equal(&a.leaf[LEAF_KVM][1], "KVMKVMKVM\0\0\0", 12);
        // No feature that the host does not have.
        assert_int_equal(a.leaf[LEAF_1][2] & ~host.leaf[LEAF_1][2], 0);
        assert_int_equal(a.leaf[LEAF_1][3] & ~host.leaf[LEAF_1][3] & ~(1u << 28), 0);
    }
}

static void test_features(void **state)
{
    enum { SSE2 = 1 << 26, MMX = 1 << 23, X2APIC = 1 << 21, OSXSAVE = 1 << 27 };
    struct answers plain = seen("max", NULL, 1);
    assert_true(plain.leaf[LEAF_1][3] & SSE2);
    assert_true(plain.leaf[LEAF_1][2] & X2APIC);
    struct answers a = seen("max", "-sse2,x2apic=off", 1);
    if (a.leaf[LEAF_1][3] & SSE2) { // seen on hosts that emulate KVM itself
        print_message("# skipped: this KVM shows guests features of its own\n");
        return;
    }
    assert_int_equal(plain.leaf[LEAF_1][3] & ~a.leaf[LEAF_1][3], SSE2);
    assert_int_equal((plain.leaf[LEAF_1][2] & ~a.leaf[LEAF_1][2]) & ~OSXSAVE, X2APIC);
    a = seen("kvm64", "check=off,-mmx,+x2apic,vendor=GenuineIntel,model-id=Mine", 1);
    assert_false(a.leaf[LEAF_1][3] & MMX);
    assert_true(a.leaf[LEAF_1][2] & X2APIC);
    assert_memory_equal(&a.leaf[LEAF_0][1], "Genu", 4);
    assert_memory_equal(a.leaf[LEAF_BRAND], "Mine\0\0\0", 8);
    a = seen("max", "kvm=off", 1);
    assert_memory_not_equal(&a.leaf[LEAF_KVM][1], "KVMKVMKVM\0\0\0", 12);
}

// Two cores of one socket: how many, and how wide the core's number is in an APIC id.
static void test_topology(void **state)
{
    struct answers a = seen("max", NULL, 2);
    assert_int_equal(a.leaf[LEAF_1][1] >> 16 & 0xff, 2);
    assert_true(a.leaf[LEAF_1][3] >> 28 & 1);
    assert_int_equal(a.leaf[LEAF_B_0][0], 0);
    assert_int_equal(a.leaf[LEAF_B_0][1], 1);
    assert_int_equal(a.leaf[LEAF_B_1][0], 1);
    assert_int_equal(a.leaf[LEAF_B_1][1], 2);
    assert_int_equal(a.leaf[LEAF_B_1][2] >> 8 & 0xff, 2); // cores
}

static void test_enforce(void **state)
{
    struct rig r;
    struct opts o = {0};
    struct err e = {0};
    rig_open(&r, NULL, 1);
    rig_close(&r);
    struct space *s = space_new("memory", UINT64_MAX);
    assert_int_equal(opts_parse(&o, "kvm", "accel", &e), 0);
    struct accel *a = accel_open(&o, 1, &isa_x86_64, 1, s, &e);
    assert_non_null(a);
    opts_free(&o);
    assert_int_equal(opts_parse(&o, "enforce,+vmx,+svm,+mpx,+hle,+avx512f", NULL, &e), 0);
    struct isa_config c = {.model = "max", .features = &o, .cores = 1, .threads = 1};
    assert_null(a->ops->cpu_new(a, &c, &e)); // no processor has both makers' virtualization
    assert_non_null(strstr(e.msg, "-cpu max,enforce: this host does not offer:"));
    opts_free(&o);
    accel_close(a);
    space_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_topology),
        cmocka_unit_test(test_enforce),
    };
    return rig_unavailable() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
