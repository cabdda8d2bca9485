// The interrupt files of an IMSIC against a model of theirs under random accesses, and an APLIC's
// domains in direct delivery, statement by statement (RISC-V Advanced Interrupt Architecture 1.0,
// chapters 3 and 4).
#include "../device/rig.h"

#include "device/irqchip/riscv/aplic.h"
#include "device/irqchip/riscv/imsic.h"

// ---- IMSIC ----

enum { IDS = 255, WORDS = 4, PAGES = 0x28000000, GUEST_FILE = 1, OWN_LINE = 0, GUEST_LINE = 1 };
enum { EIDELIVERY = 0x70, EITHRESHOLD = 0x72, EIP = 0x80, EIE = 0xc0, SET = 0x800, CLEAR = 0x1000 };

struct file_model {
    uint64_t pending[WORDS], enabled[WORDS];
    unsigned threshold;
    bool delivery;
};

static unsigned model_top(const struct file_model *m)
{
    for (unsigned id = 1; id <= IDS; id++)
        if (m->pending[id / 64] & m->enabled[id / 64] & 1ull << id % 64)
            return !m->threshold || id < m->threshold ? id : 0;
    return 0;
}

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005 + 1442695040888963407;
    return *seed >> 33;
}

static uint64_t reg_read(struct space *s, unsigned file, unsigned reg)
{
    uint64_t v = 0;
    assert_int_equal(
        space_read(s, file * IMSIC_SYSREG_STRIDE + 8 * reg, 8, &v, (struct mem_attrs){0}), MEM_OK);
    return v;
}
static void reg_write(struct space *s, unsigned file, unsigned at, uint64_t v)
{
    assert_int_equal(space_write(s, file * IMSIC_SYSREG_STRIDE + at, 8, v, (struct mem_attrs){0}),
                     MEM_OK);
}

// One access of any kind, to the file and to its model.
static void step(struct rig *r, struct space *s, unsigned file, struct file_model *m,
                 uint64_t *seed)
{
    const unsigned word = (unsigned)next(seed) % WORDS, id = (unsigned)next(seed) % (IDS + 60);
    const uint64_t bits = 1ull << next(seed) % 64 | 1ull << next(seed) % 64;
    switch (next(seed) % 7) {
    case 0:
    case 1: // a message
        WR32(r, PAGES + file * IMSIC_PAGE, id);
        if (id && id <= IDS)
            m->pending[id / 64] |= 1ull << id % 64;
        break;
    case 2:
        reg_write(s, file, SET + 8 * (EIE + 2 * word), bits);
        m->enabled[word] |= bits;
        break;
    case 3:
        reg_write(s, file, CLEAR + 8 * (EIE + 2 * word), bits);
        m->enabled[word] &= ~bits;
        break;
    case 4:
        reg_write(s, file, CLEAR + 8 * (EIP + 2 * word), bits);
        m->pending[word] &= ~bits;
        break;
    case 5:
        m->threshold = next(seed) % 3 ? 0 : id & 255;
        reg_write(s, file, 8 * EITHRESHOLD, m->threshold);
        m->delivery = next(seed) % 8;
        reg_write(s, file, 8 * EIDELIVERY, m->delivery);
        break;
    default: // the top one is claimed
        if (model_top(m)) {
            reg_write(s, file, 0, model_top(m));
            m->pending[model_top(m) / 64] &= ~(1ull << model_top(m) % 64);
        }
    }
    m->enabled[0] &= ~1ull; // identity 0 is none
    m->pending[0] &= ~1ull;
}

static void test_files(void **state)
{
    struct rig r;
    struct file_model model[2] = {0};
    uint64_t seed = 1;
    rig_open(&r);
    struct device *d = rig_device(&r, &imsic_type);
    struct err e;
    assert_int_equal(device_set(d, "num-guests", "1", &e), 0);
    rig_start(&r, d);
    struct space *s = space_new("sysregs", UINT64_MAX);
    imsic_map(d, r.env.memory, PAGES);
    for (unsigned file = 0; file < 2; file++) {
        imsic_map_sysregs(d, 0, file, s, file);
        imsic_connect(d, 0, file, rig_line(&r, (int)file));
    }
    for (unsigned n = 0; n < 20000; n++) {
        const unsigned file = next(&seed) % 2;
        step(&r, s, file, &model[file], &seed);
        for (unsigned f = 0; f < 2; f++) {
            const struct file_model *m = &model[f];
            const unsigned top = model_top(m);
            assert_int_equal(reg_read(s, f, 0), top << 16 | top);
            assert_int_equal(r.line[f], m->delivery && top);
            assert_int_equal(reg_read(s, f, EITHRESHOLD), m->threshold);
            for (unsigned w = 0; w < WORDS; w++) {
                assert_int_equal(reg_read(s, f, EIP + 2 * w), m->pending[w]);
                assert_int_equal(reg_read(s, f, EIE + 2 * w), m->enabled[w]);
            }
        }
    }
    assert_int_equal(RD32(&r, PAGES), 0); // memory reads give nothing away
    assert_int_equal(reg_read(s, 0, EIP + 2 * WORDS), 0);
    device_tree_free(&r.tree);
    space_free(s);
    rig_close(&r);
}

// ---- APLIC ----

enum {
    ROOT = 0xc000000,
    CHILD = 0xd000000,
    DOMAINCFG = 0,
    SOURCECFG = 0,
    SETIP = 0x1c00,
    SETIPNUM = 0x1cdc,
    IN_CLRIP = 0x1d00
};
enum {
    CLRIPNUM = 0x1ddc,
    SETIE = 0x1e00,
    SETIENUM = 0x1edc,
    CLRIENUM = 0x1fdc,
    TARGET = 0x3000,
    IDC = 0x4000
};
enum {
    IE = 1 << 8,
    DETACHED = 1,
    EDGE1 = 4,
    EDGE0 = 5,
    LEVEL1 = 6,
    LEVEL0 = 7,
    DELEGATE = 1 << 10
};
enum { IDELIVERY = 0, ITHRESHOLD = 8, TOPI = 0x18, CLAIMI = 0x1c };

struct aplic_rig {
    struct rig r;
    struct device *d;
};

static void aplic_open(struct aplic_rig *a)
{
    rig_open(&a->r);
    a->d = rig_device(&a->r, &aplic_type);
    rig_start(&a->r, a->d);
    rig_map(&a->r, a->d, APLIC_MACHINE, ROOT);
    rig_map(&a->r, a->d, APLIC_SUPERVISOR, CHILD);
    aplic_connect(a->d, APLIC_MACHINE, 0, rig_line(&a->r, APLIC_MACHINE));
    aplic_connect(a->d, APLIC_SUPERVISOR, 0, rig_line(&a->r, APLIC_SUPERVISOR));
}

static void wire(struct aplic_rig *a, unsigned source, int level)
{
    const struct irq line = aplic_source(a->d, source);
    irq_set(&line, level);
}

// A source active in the root, for hart 0, with a priority.
static void activate(struct aplic_rig *a, unsigned source, unsigned mode, unsigned priority)
{
    WR32(&a->r, ROOT + SOURCECFG + 4 * source, mode);
    WR32(&a->r, ROOT + TARGET + 4 * source, priority);
    WR32(&a->r, ROOT + SETIENUM, source);
}

static void test_modes(void **state)
{
    struct aplic_rig a;
    aplic_open(&a);
    WR32(&a.r, ROOT + DOMAINCFG, IE);
    WR32(&a.r, ROOT + IDC + IDELIVERY, 1);
    activate(&a, 5, LEVEL1, 3);
    wire(&a, 5, 1);
    assert_int_equal(a.r.line[APLIC_MACHINE], 1);
    assert_int_equal(RD32(&a.r, ROOT + IDC + TOPI), 5 << 16 | 3);
    assert_int_equal(RD32(&a.r, ROOT + IDC + CLAIMI), 5 << 16 | 3);
    assert_int_equal(a.r.line[APLIC_MACHINE], 1); // a level lasts
    wire(&a, 5, 0);
    assert_int_equal(a.r.line[APLIC_MACHINE], 0);
    assert_int_equal(RD32(&a.r, ROOT + IDC + CLAIMI), 0);
    activate(&a, 6, EDGE1, 1);
    wire(&a, 6, 1);
    wire(&a, 6, 0);
    assert_int_equal(RD32(&a.r, ROOT + SETIP), 1 << 6);
    assert_int_equal(RD32(&a.r, ROOT + IDC + CLAIMI), 6 << 16 | 1);
    assert_int_equal(RD32(&a.r, ROOT + SETIP), 0);
    wire(&a, 7, 1);
    activate(&a, 7, EDGE0, 1);
    assert_int_equal(RD32(&a.r, ROOT + SETIP), 0);
    wire(&a, 7, 0);
    assert_int_equal(RD32(&a.r, ROOT + IDC + CLAIMI), 7 << 16 | 1);
    assert_int_equal(RD32(&a.r, ROOT + IN_CLRIP) >> 7 & 1, 1); // rectified: low is asserted
    activate(&a, 8, LEVEL0, 1);
    assert_int_equal(RD32(&a.r, ROOT + IDC + TOPI), 8 << 16 | 1);
    wire(&a, 8, 1);
    assert_int_equal(RD32(&a.r, ROOT + IDC + TOPI), 0);
    activate(&a, 9, DETACHED, 1);
    wire(&a, 9, 1);
    assert_int_equal(RD32(&a.r, ROOT + SETIP), 0);
    WR32(&a.r, ROOT + SETIPNUM, 9);
    assert_int_equal(RD32(&a.r, ROOT + SETIP), 1 << 9);
    WR32(&a.r, ROOT + CLRIPNUM, 9);
    assert_int_equal(RD32(&a.r, ROOT + SETIP), 0);
    rig_close(&a.r);
}

static void test_priorities(void **state)
{
    struct aplic_rig a;
    aplic_open(&a);
    WR32(&a.r, ROOT + DOMAINCFG, IE);
    WR32(&a.r, ROOT + IDC + IDELIVERY, 1);
    activate(&a, 3, DETACHED, 7);
    activate(&a, 4, DETACHED, 2);
    activate(&a, 40, DETACHED, 2);
    WR32(&a.r, ROOT + SETIPNUM, 3);
    WR32(&a.r, ROOT + SETIPNUM, 40);
    WR32(&a.r, ROOT + SETIPNUM, 4);
    assert_int_equal(RD32(&a.r, ROOT + IDC + TOPI), 4 << 16 | 2); // alike: the lower number
    WR32(&a.r, ROOT + CLRIENUM, 4);
    assert_int_equal(RD32(&a.r, ROOT + IDC + TOPI), 40 << 16 | 2);
    WR32(&a.r, ROOT + IDC + ITHRESHOLD, 2);
    assert_int_equal(RD32(&a.r, ROOT + IDC + TOPI), 0);
    assert_int_equal(a.r.line[APLIC_MACHINE], 0);
    WR32(&a.r, ROOT + IDC + ITHRESHOLD, 3);
    assert_int_equal(RD32(&a.r, ROOT + IDC + TOPI), 40 << 16 | 2);
    WR32(&a.r, ROOT + DOMAINCFG, 0);
    assert_int_equal(a.r.line[APLIC_MACHINE], 0);
    WR32(&a.r, ROOT + DOMAINCFG, IE);
    assert_int_equal(a.r.line[APLIC_MACHINE], 1);
    WR32(&a.r, ROOT + IDC + IDELIVERY, 0);
    assert_int_equal(a.r.line[APLIC_MACHINE], 0);
    rig_close(&a.r);
}

static void test_delegation(void **state)
{
    struct aplic_rig a;
    aplic_open(&a);
    WR32(&a.r, ROOT + DOMAINCFG, IE);
    WR32(&a.r, CHILD + DOMAINCFG, IE);
    WR32(&a.r, CHILD + IDC + IDELIVERY, 1);
    WR32(&a.r, CHILD + SOURCECFG + 4 * 5, LEVEL1);
    assert_int_equal(RD32(&a.r, CHILD + SOURCECFG + 4 * 5), 0); // not delegated: read-only zero
    WR32(&a.r, ROOT + SOURCECFG + 4 * 5, DELEGATE);
    WR32(&a.r, ROOT + SETIENUM, 5);
    assert_int_equal(RD32(&a.r, ROOT + SETIE), 0); // inactive where it was
    assert_int_equal(RD32(&a.r, ROOT + TARGET + 4 * 5), 0);
    WR32(&a.r, CHILD + SOURCECFG + 4 * 5, LEVEL1);
    WR32(&a.r, CHILD + TARGET + 4 * 5, 1);
    WR32(&a.r, CHILD + SETIENUM, 5);
    wire(&a, 5, 1);
    assert_int_equal(a.r.line[APLIC_SUPERVISOR], 1);
    assert_int_equal(a.r.line[APLIC_MACHINE], 0);
    WR32(&a.r, ROOT + SOURCECFG + 4 * 5, 0); // taken back
    assert_int_equal(a.r.line[APLIC_SUPERVISOR], 0);
    assert_int_equal(RD32(&a.r, CHILD + SOURCECFG + 4 * 5), 0);
    assert_int_equal(RD32(&a.r, CHILD + SETIE), 0);
    rig_close(&a.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_delegation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
