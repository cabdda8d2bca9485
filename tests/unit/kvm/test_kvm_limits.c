// The kernel's own limits, reached for real: takes a minute of the kernel's time.
#include "rig.h"

#include <unistd.h>

// Reads a page that has a slot and one beyond the kernel's last.
PROGRAM(far_pages, ".code32\n mov 0x10000000, %eax\n out %eax, $0x10\n mov 0x20162000, %eax\n"
                   "out %eax, $0x10\n out %al, $0xf4\n 1: hlt\n jmp 1b");

// More pieces of memory than the kernel has slots: the kernel's own refusal ends it, one line says
// so, and the rest is served access by access.
static void test_out_of_kernel_slots(void **state)
{
    enum { ROWS = 182, PITCH = 0x2000, FIRST = 0x10000000 }; // 33124 pieces; the kernel has 32764
    struct rig r;
    struct err e = {0};
    char line[512] = "", more[8];
    FILE *said = tmpfile();
    int real_stderr = dup(2);
    struct space *row = space_new("row", 0xffffffff);
    struct ram *page = ram_new("page", 4096, false, &e);
    uint32_t mark = 0xfeedbeef;
    assert_non_null(page);
    ram_write(page, 0, &mark, 4);
    for (unsigned i = 0; i < ROWS; i++)
        space_map_ram(row, "page", i * PITCH, page, 0, 4096, false, 0);
    dup2(fileno(said), 2);
    rig_open_in(&r, "kvm,max-slots=40000", row, FIRST, ROWS, ROWS * PITCH);
    rig_load(&r, CODE, far_pages, far_pages_end);
    rig_start(&r, CODE, X86_START_PVH);
    bool through = rig_wait(&r, &r.done, 1);
    dup2(real_stderr, 2);
    close(real_stderr);
    assert_true(through);
    assert_int_equal(r.said[0], mark);
    assert_int_equal(r.said[1], mark);
    rewind(said);
    assert_non_null(fgets(line, sizeof line, said));
    assert_non_null(strstr(line, "memory slots of the kernel are in use"));
    assert_null(fgets(more, sizeof more, said));
    fclose(said);
    rig_close(&r);
    space_free(row);
    ram_free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_out_of_kernel_slots)};
    if (rig_unavailable())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
