// Kernel files, good and bad: where they go, and the one line that says what is wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bits.h"
#include "board/boot/kernel.h"

enum { RAM_BASE = 0x40000000, RAM_SIZE = 64 << 20 };
static const struct boot_loading arm64 = {
    .machine = EM_AARCH64, .cpu = "AArch64", .base = RAM_BASE, .raw_offset = 0x80000};
static char path[] = "/tmp/test_kernel_XXXXXX";

static void write_file(const void *data, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static struct machine *machine(void)
{
    struct err e;
    struct machine *m = xalloc(sizeof *m);
    m->ram = ram_new("ram", RAM_SIZE, false, &e);
    m->ram_base = RAM_BASE;
    m->config.ram_size = RAM_SIZE;
    m->isa = isa_find("aarch64");
    return m;
}

static void machine_done(struct machine *m)
{
    machine_free_images(m);
    ram_free(m->ram);
    free(m);
}

static void refused(const char *words)
{
    struct err e;
    struct boot_kernel k;
    struct machine *m = machine();
    assert_int_equal(boot_load_linux(m, path, &arm64, &k, &e), -1);
    if (!strstr(e.msg, words) || strchr(e.msg, '\n'))
        fail_msg("'%s' does not say '%s' in one line", e.msg, words);
    machine_done(m);
}

static void accepted(gpa_t entry, gpa_t low, gpa_t high, bool linux_image)
{
    struct err e;
    struct boot_kernel k;
    struct machine *m = machine();
    if (boot_load_linux(m, path, &arm64, &k, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(k.entry, entry);
    assert_int_equal(k.low, low);
    assert_int_equal(k.high, high);
    assert_int_equal(k.linux_image, linux_image);
    machine_done(m);
}

// What lies in RAM after each of two resets is `want`, and nothing of it is kept beside.
static void placed_twice(const uint8_t *want, size_t len)
{
    struct err e;
    struct boot_kernel k;
    struct machine *m = machine();
    uint8_t *got = xalloc(len);
    if (boot_load_linux(m, path, &arm64, &k, &e))
        fail_msg("%s", e.msg);
    for (unsigned n = 0; n < 2; n++) {
        ram_zero(m->ram, 0, RAM_SIZE);
        assert_int_equal(machine_load_images(m, &e), 0);
        ram_read(m->ram, k.low - RAM_BASE, got, len);
        assert_memory_equal(got, want, len);
        assert_null(m->images.data[0].data);
    }
    free(got);
    machine_done(m);
}

static size_t make_image(uint8_t *b, uint64_t text_offset, uint64_t image_size)
{
    memset(b, 0x5a, 65536);
    memset(b, 0, 64);
    st_le64(b + 8, text_offset);
    st_le64(b + 16, image_size);
    memcpy(b + 56, "ARM\x64", 4);
    return 65536;
}

static void test_image(void **state)
{
    static uint8_t b[65536], packed[65536];
    size_t n = make_image(b, 0, 1 << 20);
    write_file(b, n);
    accepted(RAM_BASE, RAM_BASE, RAM_BASE + (1 << 20), true);
    placed_twice(b, n);
    // Packed with gzip, whole and cut short
    gzFile z = gzopen(path, "wb");
    assert_int_equal(gzwrite(z, b, (unsigned)n), n);
    gzclose(z);
    accepted(RAM_BASE, RAM_BASE, RAM_BASE + (1 << 20), true);
    placed_twice(b, n);
    FILE *f = fopen(path, "r");
    size_t len = fread(packed, 1, sizeof packed, f);
    fclose(f);
    write_file(packed, len / 2);
    refused("truncated");
    packed[len / 2] ^= 0xff;
    packed[len / 2 + 1] ^= 0xff;
    write_file(packed, len);
    refused("gzip");
    // The EFI container around it: offset and size lie beyond the end
    packed[len / 2] ^= 0xff;
    packed[len / 2 + 1] ^= 0xff;
    memmove(packed + 64, packed, len);
    memset(packed, 0, 64);
    memcpy(packed, "MZ\0\0zimg", 8);
    st_le32(packed + 8, 64);
    st_le32(packed + 12, (uint32_t)len);
    write_file(packed, len + 64);
    accepted(RAM_BASE, RAM_BASE, RAM_BASE + (1 << 20), true);
    st_le32(packed + 12, UINT32_MAX);
    write_file(packed, len + 64);
    refused("truncated");
    // Before 3.17 there was no size; too large; big-endian
    make_image(b, 0x1234, 0);
    write_file(b, n);
    accepted(RAM_BASE + 0x80000, RAM_BASE + 0x80000, RAM_BASE + 0x80000 + 65536, true);
    make_image(b, 0, 1ull << 40);
    write_file(b, n);
    refused("RAM");
    make_image(b, UINT64_MAX - 4096, 8192);
    write_file(b, n);
    refused("RAM");
    make_image(b, 0, 1 << 20);
    b[24] = 1;
    write_file(b, n);
    refused("big-endian");
    write_file(b, 100);
    refused("truncated");
    write_file(b, 0);
    refused("empty");
}

static void test_elf(void **state)
{
    static struct {
        Elf64_Ehdr h;
        Elf64_Phdr p;
        uint8_t code[256];
    } f;
    memcpy(f.h.e_ident, ELFMAG, SELFMAG);
    f.h.e_ident[EI_CLASS] = ELFCLASS64;
    f.h.e_ident[EI_DATA] = ELFDATA2LSB;
    f.h.e_machine = EM_AARCH64;
    f.h.e_phoff = sizeof f.h;
    f.h.e_phentsize = sizeof f.p;
    f.h.e_phnum = 1;
    f.h.e_entry = 0xffff000000001010;
    f.p = (Elf64_Phdr){.p_type = PT_LOAD,
                       .p_offset = sizeof f.h + sizeof f.p,
                       .p_vaddr = 0xffff000000001000,
                       .p_paddr = RAM_BASE + 0x1000,
                       .p_filesz = 256,
                       .p_memsz = 4096};
    write_file(&f, sizeof f);
    accepted(RAM_BASE + 0x1010, RAM_BASE + 0x1000, RAM_BASE + 0x2000, false);
    write_file(&f, sizeof f - 1);
    refused("truncated");
    write_file(&f, 20);
    refused("truncated");
    f.h.e_machine = EM_X86_64;
    write_file(&f, sizeof f);
    refused("x86-64");
    f.h.e_machine = EM_AARCH64;
    f.p.p_paddr = 0x1000;
    write_file(&f, sizeof f);
    refused("do not fit");
    f.p.p_paddr = UINT64_MAX - 100;
    write_file(&f, sizeof f);
    refused("do not fit");
    f.p.p_memsz = UINT64_MAX;
    write_file(&f, sizeof f);
    refused("does not fit");
    f.h.e_phoff = UINT64_MAX;
    write_file(&f, sizeof f);
    refused("headers");
}

static void test_foreign(void **state)
{
    static uint8_t b[4096];
    memcpy(b + 0x202, "HdrS", 4);
    write_file(b, sizeof b);
    refused("x86");
    memset(b, 0, sizeof b);
    memcpy(b + 0x38, "RSC\x05", 4);
    write_file(b, sizeof b);
    refused("RISC-V");
    unlink(path);
    refused("No such file");
}

int main(void)
{
    int fd = mkstemp(path);
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
