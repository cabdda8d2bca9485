// The device model: properties and their errors, help texts, globals, reset values, buses, the
// register bank.
#include "../virtio/rig.h"

#include "base/buf.h"
#include "device/core/regbank.h"

static struct rig rig;

static int setup(void **state)
{
    rig_init(&rig);
    return 0;
}

static int teardown(void **state)
{
    rig_free(&rig);
    return 0;
}

struct thing {
    struct device dev;
    bool flag;
    uint8_t small;
    uint32_t mode, ctrl, status, table[4];
    uint64_t size;
    uint8_t mac[6];
    char *text;
    unsigned resets, exits, writes, last_index;
    uint64_t last;
};
static const char *const modes[] = {"slow", "fast", NULL};
static const struct field thing_fields[] = {
    FIELD(struct thing, flag, .kind = F_BOOL, .use = FIELD_PROP, .init = true),
    FIELD(struct thing, small, .kind = F_U8, .use = FIELD_PROP, .init = 7, .min = 2, .max = 9),
    FIELD(struct thing, mode, .kind = F_ENUM, .use = FIELD_PROP, .names = modes, .init = 1),
    FIELD(struct thing, size, .kind = F_SIZE, .use = FIELD_PROP),
    FIELD(struct thing, mac, .kind = F_MAC, .use = FIELD_PROP),
    FIELD(struct thing, text, .kind = F_STR, .use = FIELD_PROP, .help = "any words"),
    FIELD(struct thing, ctrl, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET, .init = 0x55),
    FIELD(struct thing, table, .kind = F_U32A, .use = FIELD_STATE | FIELD_RESET, .len = 4,
          .init = 3),
    {0},
};

static void base_reset(struct device *d)
{
    struct thing *t = container_of(d, struct thing, dev);
    assert_int_equal(t->ctrl, 0x55); // the fields come first
    t->resets = 1;
}

static void leaf_reset(struct device *d)
{
    struct thing *t = container_of(d, struct thing, dev);
    assert_int_equal(t->resets, 1); // the family's hook comes first
    t->resets = 2;
}

static const struct device_type thing_base = {
    .name = "thing-base",
    .size = sizeof(struct thing),
    .fields = thing_fields,
    .reset = base_reset,
};
static const struct device_type thing_type = {
    .name = "thing",
    .desc = "a thing",
    .size = sizeof(struct thing),
    .base = &thing_base,
    .reset = leaf_reset,
};

static void refuse(struct device *d, const char *prop, const char *val, const char *why)
{
    struct err e = {0};
    assert_int_equal(device_set(d, prop, val, &e), -1);
    if (!strstr(e.msg, why))
        fail_msg("%s=%s: '%s' does not say '%s'", prop, val, e.msg, why);
}

static void test_properties(void **state)
{
    struct err e = {0};
    struct device *d = device_new(&rig.tree, &thing_type, "t1");
    struct thing *t = container_of(d, struct thing, dev);
    assert_true(t->flag && t->small == 7 && t->mode == 1 && t->ctrl == 0x55);
    assert_int_equal(device_set(d, "flag", "off", &e), 0);
    assert_int_equal(device_set(d, "small", "0x9", &e), 0);
    assert_int_equal(device_set(d, "mode", "slow", &e), 0);
    assert_int_equal(device_set(d, "size", "3M", &e), 0);
    assert_int_equal(device_set(d, "mac", "52:54:00:aB:cd:01", &e), 0);
    assert_int_equal(device_set(d, "text", "one", &e), 0);
    assert_int_equal(device_set(d, "text", "two", &e), 0);
    assert_true(!t->flag && t->small == 9 && t->mode == 0 && t->size == 3 * MiB);
    assert_memory_equal(t->mac, "\x52\x54\x00\xab\xcd\x01", 6);
    assert_string_equal(t->text, "two");
    refuse(d, "flag", "maybe", "on or off");
    refuse(d, "small", "10", "between 2 and 9");
    refuse(d, "small", "1", "between 2 and 9");
    refuse(d, "small", "x", "wants a number");
    refuse(d, "small", "", "wants a number");
    refuse(d, "mode", "fsat", "did you mean 'fast'");
    refuse(d, "mac", "52:54:00:12:34", "52:54:00:12:34:56");
    refuse(d, "mac", "52:54:00:12:34:567", "52:54:00:12:34:56");
    refuse(d, "ctrl", "1", "no property 'ctrl'"); // state is not a property
    refuse(d, "smal", "3", "did you mean 'small'");
    struct buf b = {0};
    assert_int_equal(device_get(d, "mac", &b), 0);
    assert_string_equal(buf_str(&b), "\"52:54:00:ab:cd:01\"");
    buf_free(&b);
    device_discard(d);
}

static void test_reset(void **state)
{
    struct err e = {0};
    struct device *d = device_new(&rig.tree, &thing_type, NULL);
    struct thing *t = container_of(d, struct thing, dev);
    assert_int_equal(device_start(&rig.tree, d, NULL, &e), 0);
    assert_int_equal(t->resets, 2);
    t->ctrl = 9;
    t->table[3] = 8;
    t->small = 4;
    uint32_t before = d->generation;
    device_reset(d);
    assert_true(t->ctrl == 0x55 && t->table[3] == 3 && t->small == 4);
    assert_true(d->generation != before);
}

static void test_globals(void **state)
{
    device_tree_global(&rig.tree, "thing", "small", "5");
    device_tree_global(&rig.tree, "other", "small", "6");
    struct device *d = device_new(&rig.tree, &thing_type, NULL);
    assert_int_equal(container_of(d, struct thing, dev)->small, 5);
    assert_true(rig.tree.globals.data[0].used && !rig.tree.globals.data[1].used);
    device_discard(d);
}

static void test_help(void **state)
{
    struct buf b = {0};
    device_type_print_help(&thing_type, &b);
    assert_string_equal(
        buf_str(&b),
        "thing options:\n"
        "  flag=<bool>            - on/off (default: true)\n"
        "  mac=<str>              - Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56\n"
        "  mode=<str>             - slow/fast (default: \"fast\")\n"
        "  size=<size>            -  (default: 0)\n"
        "  small=<uint8>          -  (default: 7)\n"
        "  text=<str>             - any words\n");
    buf_free(&b);
    device_print_help(&b);
    const char *all = buf_str(&b);
    assert_non_null(strstr(all, "Storage devices:\n"));
    assert_non_null(strstr(all, "name \"virtio-blk-pci\", bus PCI, alias \"virtio-blk\"\n"));
    assert_non_null(
        strstr(all, "name \"pcie-root-port\", bus PCI, desc \"PCI Express Root Port\"\n"));
    assert_null(strstr(all, "gpex")); // not for users to add
    buf_free(&b);
}

// Names and aliases are unique, and a type's own fields do not hide its family's.
static void test_registry(void **state)
{
    for (const struct device_type *const *t = device_types(); *t; t++) {
        assert_ptr_equal(device_type_find((*t)->name), *t);
        if ((*t)->alias)
            assert_ptr_equal(device_type_find((*t)->alias), *t);
        device_for_each_field(*t, b, f)
        {
            unsigned seen = 0;
            device_for_each_field(*t, b2, f2) seen +=
                (f->use & f2->use & FIELD_PROP) && !strcmp(f->name, f2->name);
            if ((f->use & FIELD_PROP) && seen != 1)
                fail_msg("%s: property %s is there %u times", (*t)->name, f->name, seen);
            if (f->offset + 1u > (*t)->size)
                fail_msg("%s: field %s lies outside", (*t)->name, f->name);
        }
    }
    assert_null(device_type_find("virtio"));
}

static void wrote(void *dev, unsigned i, uint64_t v)
{
    struct thing *t = dev;
    t->writes++;
    t->last_index = i;
    t->last = v;
}

static uint64_t read_status(void *dev, unsigned i)
{
    return 0xabcd1234;
}

static const struct reg regs[] = {
    {.offset = 0x0, .name = "id", .size = 4, .access = REG_RO, .value = 0x11223344},
    {.offset = 0x4,
     .name = "ctrl",
     .size = 4,
     .storage = offsetof(struct thing, ctrl),
     .mask = 0xff00ff,
     .write = wrote},
    {.offset = 0x8,
     .name = "status",
     .size = 4,
     .access = REG_W1C,
     .storage = offsetof(struct thing, status),
     .mask = 0xf},
    {.offset = 0x10,
     .name = "table",
     .size = 4,
     .count = 4,
     .storage = offsetof(struct thing, table),
     .mask = ~0u,
     .write = wrote},
    {.offset = 0x30, .name = "live", .size = 4, .access = REG_RO, .read = read_status},
    {.offset = 0x34, .name = "door", .size = 2, .access = REG_WO, .write = wrote},
};
static const struct regbank bank = REGBANK("thing", regs);

static uint64_t in(struct thing *t, gpa_t off, unsigned size)
{
    uint64_t v = ~0ull;
    assert_int_equal(regbank_read(&bank, t, off, size, &v), MEM_OK);
    return v;
}

static void test_regbank(void **state)
{
    struct thing t = {.ctrl = 0x12345678, .status = 0xff};
    assert_int_equal(in(&t, 0, 4), 0x11223344);
    assert_int_equal(in(&t, 1, 1), 0x33);
    assert_int_equal(in(&t, 2, 4), 0); // across two registers
    assert_int_equal(in(&t, 0xc, 4), 0);
    assert_int_equal(in(&t, 0x30, 2), 0x1234);
    assert_int_equal(regbank_write(&bank, &t, 4, 4, 0xffffffff), MEM_OK);
    assert_int_equal(t.ctrl, 0x12ff56ff);
    assert_int_equal(regbank_write(&bank, &t, 6, 1, 0), MEM_OK); // one byte of it
    assert_int_equal(t.ctrl, 0x120056ff);
    assert_int_equal(t.writes, 2);
    assert_int_equal(regbank_write(&bank, &t, 8, 4, 0x13), MEM_OK);
    assert_int_equal(t.status, 0xfc);
    assert_int_equal(regbank_write(&bank, &t, 0x18, 4, 77), MEM_OK);
    assert_true(t.table[2] == 77 && t.last_index == 2 && t.last == 77);
    assert_int_equal(regbank_write(&bank, &t, 0x20, 4, 1), MEM_OK); // past the array
    assert_int_equal(regbank_write(&bank, &t, 0, 4, 1), MEM_OK);    // read-only
    assert_int_equal(t.writes, 3);
    assert_int_equal(regbank_write(&bank, &t, 0x34, 2, 5), MEM_OK);
    assert_true(t.writes == 4 && t.last == 5 && in(&t, 0x34, 2) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_properties, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_globals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_help, setup, teardown),
        cmocka_unit_test_setup_teardown(test_registry, setup, teardown),
        cmocka_unit_test(test_regbank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
