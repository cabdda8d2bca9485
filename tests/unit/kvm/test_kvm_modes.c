// Guests of a few instructions in each mode of the processor: ports and registers, memory slots and
// their changes, ROM, a triple fault, what the kernel does not emulate.
#include "rig.h"

PROGRAM(real_mode, ".code16\n"
                   "mov $0xabcd, %ax\n mov %ax, %ds\n mov $0x1234, %eax\n out %eax, $0x10\n"
                   "in $0x20, %eax\n out %eax, $0x10\n"
                   "mov %ds, %ax\n movzwl %ax, %eax\n out %eax, $0x10\n out %al, $0xf4\n"
                   "1: hlt\n jmp 1b");

static void test_real(void **state)
{
    struct rig r;
    rig_open(&r, NULL, 1);
    rig_load(&r, CODE, real_mode, real_mode_end);
    rig_start(&r, CODE, X86_START_REAL);
    assert_true(rig_wait(&r, &r.done, 1));
    assert_int_equal(r.n_said, 3);
    assert_int_equal(r.said[0], 0x1234);
    assert_int_equal(r.said[1], 0x12345678);
    assert_int_equal(r.said[2], 0xabcd);
    rig_close(&r);
}

PROGRAM(protected_mode,
        ".code32\n"
        "mov $0xd0000010, %esi\n mov (%esi), %eax\n out %eax, $0x10\n"
        "movw $0xbeef, 2(%esi)\n mov %ebx, %eax\n out %eax, $0x10\n"
        "movzwl 5(%esi), %eax\n out %eax, $0x10\n out %al, $0xf4\n 1: hlt\n jmp 1b");

static void test_protected(void **state)
{
    struct rig r;
    rig_open(&r, NULL, 1);
    rig_load(&r, CODE, protected_mode, protected_mode_end);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.done, 1));
    assert_int_equal(r.said[0], 0x55667798);
    assert_int_equal(r.said[1], 0x7000); // EBX: the start information
    assert_int_equal(r.said[2], 0x9e9d); // not aligned: a byte each of two reads
    assert_int_equal(r.mmio_writes, 1);
    assert_int_equal(r.mmio_last, 0xbeef);
    rig_close(&r);
}

// Strings over ports, all sizes of register accesses, vector registers.
PROGRAM(long_mode, ".code64\n"
                   "mov %rsi, %rax\n out %eax, $0x10\n"
                   "lea data(%rip), %rsi\n mov $4, %ecx\n mov $0x10, %dx\n cld\n rep outsl\n"
                   "mov $0xd0000000, %ebx\n mov 8(%rbx), %rax\n out %eax, $0x10\n shr $32, %rax\n"
                   "out %eax, $0x10\n mov $0x1122334455667788, %rax\n mov %rax, 0x20(%rbx)\n"
                   "mov %cr4, %rax\n or $0x600, %eax\n mov %rax, %cr4\n"
                   "movups data(%rip), %xmm3\n mov $14, %eax\n out %eax, $0x10\n"
                   "out %al, $0xf4\n 1: hlt\n jmp 1b\n data: .long 1, 2, 3, 4");

static void test_long(void **state)
{
    struct rig r;
    rig_open(&r, NULL, 1);
    rig_load(&r, CODE, long_mode, long_mode_end);
    rig_long_mode(&r);
    rig_start(&r, CODE, X86_START_LINUX64);
    assert_true(rig_wait(&r, &r.done, 1));
    static const uint32_t said[] = {0x7000, 1, 2, 3, 4, 0x55667790, 0x11223344, 14};
    assert_int_equal(r.n_said, ARRAY_SIZE(said));
    assert_memory_equal(r.said, said, sizeof said);
    assert_int_equal(r.mmio_last, 0x1122334455667788);
    vcpus_pause(r.vcpus);
    assert_int_equal(rig_reg(&r, 0, "rax") & 0xffffffff, 14);
    assert_int_equal(rig_reg(&r, 0, "cr4") & 0x620, 0x620);
    const struct x86_cpu *c = x86_cpu(r.vcpus->v[0]->env);
    static const uint32_t data[] = {1, 2, 3, 4};
    assert_memory_equal(c->s.xsave + 160 + 3 * 16, data, sizeof data);
    rig_close(&r);
}

// Says what is at two addresses, writes one of them, and waits to be asked again.
PROGRAM(looker, ".code32\n"
                "1: mov 0x200000, %eax\n out %eax, $0x10\n mov 0x300000, %eax\n out %eax, $0x10\n"
                "movl $0x77, 0x300000\n out %al, $0xf4\n 2: pause\n cmpl $0, 0x100000\n je 2b\n"
                "movl $0, 0x100000\n jmp 1b");

static void test_slots(void **state)
{
    struct rig r;
    struct err e;
    uint32_t v = 0xaaaa, go = 1;
    rig_open(&r, NULL, 1);
    rig_load(&r, CODE, looker, looker_end);
    ram_write(r.ram, 0x200000, &v, 4);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.done, 1));
    // Another block over the first address and, read-only, over the second, while the guest runs.
    struct ram *other = ram_new("other", 0x2000, false, &e);
    v = 0xbbbb;
    ram_write(other, 0, &v, 4);
    v = 0xcccc;
    ram_write(other, 0x1000, &v, 4);
    struct region *a = space_map_ram(r.memory, "a", 0x200000, other, 0, 0x1000, false, 1);
    struct region *b = space_map_ram(r.memory, "b", 0x300000, other, 0x1000, 0x1000, true, 1);
    assert_int_equal(dma_write(r.memory, 0x100000, &go, 4), 0);
    assert_true(rig_wait(&r, &r.done, 2));
    region_move(a, 0x201000); // what was below shows again
    assert_int_equal(dma_write(r.memory, 0x100000, &go, 4), 0);
    assert_true(rig_wait(&r, &r.done, 3));
    region_unmap(b);
    assert_int_equal(dma_write(r.memory, 0x100000, &go, 4), 0);
    assert_true(rig_wait(&r, &r.done, 4));
    static const uint32_t said[] = {0xaaaa, 0, 0xbbbb, 0xcccc, 0xaaaa, 0xcccc, 0xaaaa, 0x77};
    assert_memory_equal(r.said, said, sizeof said);
    region_unmap(a);
    rig_close(&r);
    ram_free(other);
}

// With fewer slots than pieces of memory, what is left over is served access by access.
static void test_out_of_slots(void **state)
{
    struct rig r;
    struct err e;
    uint32_t v = 0xaaaa;
    rig_open(&r, "kvm,max-slots=2", 1);
    rig_load(&r, CODE, looker, looker_end);
    struct ram *other = ram_new("other", 0x1000, false, &e);
    ram_write(other, 0, &v, 4);
    v = 0x1234;
    ram_write(r.ram, 0x300000, &v, 4);
    struct region *a = space_map_ram(r.memory, "a", 0x200000, other, 0, 0x1000, false, 1);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.done, 1));
    assert_int_equal(r.said[0], 0xaaaa);
    assert_int_equal(r.said[1], 0x1234);
    vcpus_pause(r.vcpus);
    ram_read(r.ram, 0x300000, &v, 4);
    assert_int_equal(v, 0x77);
    // When pieces are fewer again, they all have slots.
    region_unmap(a);
    v = 0x5678;
    ram_write(r.ram, 0x200000, &v, 4);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.done, 2));
    assert_int_equal(r.said[2], 0x5678);
    assert_int_equal(r.said[3], 0x77);
    rig_close(&r);
    ram_free(other);
}

PROGRAM(triple, ".code32\n lidt empty - triple + 0x10000\n mov $0x38, %ax\n mov %ax, %ds\n hlt\n"
                "empty: .word 0\n .long 0");

static void test_triple_fault(void **state)
{
    struct rig r;
    rig_open(&r, NULL, 1);
    rig_load(&r, CODE, triple, triple_end);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.resets, 1));
    assert_int_equal(r.failures, 0);
    // After a reset it runs again.
    vcpus_pause(r.vcpus);
    rig_load(&r, CODE, protected_mode, protected_mode_end);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.done, 1));
    rig_close(&r);
}

// Code where there is no memory: the kernel cannot go on, the state is reported.
PROGRAM(lost, ".code32\n mov $0xd0000000, %eax\n jmp *%eax");

static void test_lost(void **state)
{
    struct rig r;
    rig_open(&r, NULL, 1);
    rig_load(&r, CODE, lost, lost_end);
    rig_start(&r, CODE, X86_START_PVH);
    assert_true(rig_wait(&r, &r.failures, 1));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real),         cmocka_unit_test(test_protected),
        cmocka_unit_test(test_long),         cmocka_unit_test(test_slots),
        cmocka_unit_test(test_out_of_slots), cmocka_unit_test(test_triple_fault),
        cmocka_unit_test(test_lost),
    };
    return rig_unavailable() ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
