// Every reason for which KVM cannot be used gives its own line; falling back to the next
// accelerator says why; CPU models against an invented host.
#include "accel/kvm/facts.h"
#include "rig.h"

#include <linux/kvm.h>
#include <unistd.h>

static const unsigned needs[] = {KVM_CAP_USER_MEMORY, KVM_CAP_IRQCHIP, KVM_FACTS_END};

static struct kvm_facts good(void)
{
    struct kvm_facts f = {.path = "/dev/kvm", .api = 12, .run_size = 12288};
    f.caps[KVM_CAP_USER_MEMORY] = f.caps[KVM_CAP_IRQCHIP] = 1;
    return f;
}

static void refused(struct kvm_facts f, const char *word)
{
    struct err e = {0};
    assert_int_equal(kvm_facts_judge(&f, needs, &e), -1);
    if (!strstr(e.msg, word))
        fail_msg("'%s' does not say '%s'", e.msg, word);
    assert_null(strchr(e.msg, '\n'));
}

static void test_judge(void **state)
{
    struct kvm_facts f = good();
    struct err e = {0};
    assert_int_equal(kvm_facts_judge(&f, needs, &e), 0);
    f = good(), f.open_error = ENOENT;
    refused(f, "kvm_amd module");
    f = good(), f.open_error = EACCES;
    refused(f, "usermod -aG kvm");
    f = good(), f.open_error = EMFILE;
    refused(f, "open files");
    f = good(), f.api = -ENOTTY;
    refused(f, "not a KVM device");
    f = good(), f.api = 10;
    refused(f, "version 10, not 12");
    f = good(), f.caps[KVM_CAP_IRQCHIP] = 0;
    refused(f, "KVM_CAP_IRQCHIP");
    f = good(), f.run_size = 16;
    refused(f, "16 bytes");
}

static struct accel *open_with(const char *first, const char *second, const struct isa *isa,
                               struct err *e)
{
    struct opts o[2] = {0};
    struct space *s = space_new("memory", UINT64_MAX);
    assert_int_equal(opts_parse(&o[0], first, "accel", e), 0);
    if (second)
        assert_int_equal(opts_parse(&o[1], second, "accel", e), 0);
    struct accel *a = accel_open(o, second ? 2 : 1, isa, 1, s, e);
    opts_free(&o[0]);
    opts_free(&o[1]);
    if (!a)
        space_free(s);
    return a;
}

static void close_with_memory(struct accel *a)
{
    struct space *s = a->memory;
    accel_close(a);
    space_free(s);
}

static void test_open(void **state)
{
    struct err e = {0};
    assert_null(open_with("kvm,device=/nonexistent/kvm", NULL, &isa_x86_64, &e));
    assert_non_null(strstr(e.msg, "/nonexistent/kvm: there is no KVM here"));
    assert_null(open_with("kvm,device=/dev/null", NULL, &isa_x86_64, &e));
    assert_non_null(strstr(e.msg, "not a KVM device"));
    assert_null(open_with("kvm", NULL, isa_find("aarch64"), &e));
    assert_non_null(strstr(e.msg, "this host runs x86_64 guests, not aarch64"));
    assert_null(open_with("tcg", NULL, &isa_x86_64, &e));
    assert_non_null(strstr(e.msg, "not translated yet"));
    // The second is taken when the first cannot be.
    struct accel *a = open_with("kvm,device=/dev/null", "tcg", isa_find("aarch64"), &e);
    assert_non_null(a);
    assert_string_equal(a->ops->name, "dbt");
    close_with_memory(a);
    a = open_with("kvm:tcg", NULL, isa_find("aarch64"), &e);
    assert_non_null(a);
    assert_string_equal(a->ops->name, "dbt");
    close_with_memory(a);
}

static void test_options(void **state)
{
    struct err e = {0};
    struct buf b = {0};
    if (access("/dev/kvm", R_OK | W_OK)) {
        print_message("# skipped: no /dev/kvm\n");
        return;
    }
    assert_null(open_with("kvm,kernel-irqchip=maybe", NULL, &isa_x86_64, &e));
    assert_non_null(strstr(e.msg, "must be on, split or off"));
    assert_null(open_with("kvm,dirty-ring-size=1000", NULL, &isa_x86_64, &e));
    assert_null(open_with("kvm,dirtyring=1", NULL, &isa_x86_64, &e));
    assert_non_null(strstr(e.msg, "dirtyring"));
    kvm_facts_report(NULL, &b);
    assert_non_null(strstr(buf_str(&b), "interface version 12"));
    buf_free(&b);
}

// ---- models ----

static struct x86_host host = {
    .cpuid =
        {
            {.leaf = 0, .eax = 0xd, .ebx = 0x68747541, .edx = 0x69746e65, .ecx = 0x444d4163},
            {.leaf = 1, .eax = 0x00800f12, .ecx = 0x80202001, .edx = 0x178bfbff},
            {.leaf = 7, .indexed = true, .ebx = 0x00000128},
            {.leaf = 0x80000000, .eax = 0x80000008},
            {.leaf = 0x80000001, .ecx = 0x1, .edx = 0x20100800},
            {.leaf = 0x80000002},
            {.leaf = 0x80000003},
            {.leaf = 0x80000004},
            {.leaf = 0x80000008, .eax = 0x3028},
        },
    .n = 9,
};

static int model(struct x86_cpu *c, const char *name, const char *features, struct err *e)
{
    struct opts o = {0};
    *c = (struct x86_cpu){.config = {.host_cpu = &host, .cores = 4, .threads = 2, .hw_id = 5}};
    if (features)
        assert_int_equal(opts_parse(&o, features, NULL, e), 0);
    int r = x86_model_apply(c, name, features ? &o : NULL, e);
    opts_free(&o);
    return r;
}

static void test_models(void **state)
{
    struct x86_cpu *c = xalloc(sizeof *c);
    struct err e = {0};
    assert_int_equal(model(c, "host", NULL, &e), 0);
    const struct x86_cpuid *l1 = x86_cpuid_find(c->cpuid, c->n_cpuid, 1, 0);
    assert_int_equal(l1->eax, 0x00800f12);
    assert_int_equal(l1->ebx >> 24, 5);
    assert_int_equal(l1->ebx >> 16 & 0xff, 8);
    assert_int_equal(model(c, "host", "-sse,+ssse3,x2apic=off,check=off", &e), 0);
    l1 = x86_cpuid_find(c->cpuid, c->n_cpuid, 1, 0);
    assert_int_equal(l1->edx >> 25 & 1, 0);
    assert_int_equal(l1->ecx >> 9 & 1, 0); // asked for, but the host has none
    assert_int_equal(l1->ecx >> 21 & 1, 0);
    assert_int_equal(model(c, "Nehalem", "check=off", &e), 0);
    l1 = x86_cpuid_find(c->cpuid, c->n_cpuid, 1, 0);
    assert_int_equal(l1->eax, 0x000106a3); // family 6, model 26, stepping 3
    assert_int_equal(x86_cpuid_find(c->cpuid, c->n_cpuid, 0, 0)->ebx, 0x68747541); // the host's
    assert_int_equal(x86_cpuid_find(c->cpuid, c->n_cpuid, 0x80000001, 0)->eax, 0x000106a3);
    assert_int_equal(model(c, "Nehalem", "check=off,vendor=GenuineIntel,stepping=5", &e), 0);
    assert_int_equal(x86_cpuid_find(c->cpuid, c->n_cpuid, 0, 0)->ebx, 0x756e6547);
    assert_int_equal(x86_cpuid_find(c->cpuid, c->n_cpuid, 1, 0)->eax, 0x000106a5);
    assert_int_equal(model(c, "host", "family=25,model=33", &e), 0);
    assert_int_equal(x86_cpuid_find(c->cpuid, c->n_cpuid, 1, 0)->eax, 0x00a20f12);
    assert_int_equal(model(c, "host", "vendor=Intel", &e), -1);
    assert_non_null(strstr(e.msg, "12 characters"));
    assert_int_equal(model(c, "EPYC-Rome", "check=off", &e), 0);
    l1 = x86_cpuid_find(c->cpuid, c->n_cpuid, 1, 0);
    assert_int_equal(l1->eax, 0x00830f10); // family 23 = 15 + 8, model 49
    assert_int_equal(model(c, "Nehalem", "enforce", &e), -1);
    assert_non_null(strstr(e.msg, "sse4.2"));
    assert_int_equal(model(c, "Nehalam", NULL, &e), -1);
    assert_non_null(strstr(e.msg, "did you mean 'Nehalem'"));
    assert_int_equal(model(c, "host", "+avx3", &e), -1);
    assert_non_null(strstr(e.msg, "avx3"));
    free(c);
}

static void test_apic_ids(void **state)
{
    assert_int_equal(x86_apic_id(4, 2, 7), 7);
    assert_int_equal(x86_apic_id(3, 2, 5), 5);
    assert_int_equal(x86_apic_id(3, 2, 6), 8); // the second socket begins at a power of two
    assert_int_equal(x86_apic_id(1, 1, 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),    cmocka_unit_test(test_open),
        cmocka_unit_test(test_options),  cmocka_unit_test(test_models),
        cmocka_unit_test(test_apic_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
