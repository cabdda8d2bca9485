// The frame queue against a plain list, and the older option forms.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/frames.h"
#include "net/legacy.h"

static void frame_queue_keeps_order(void **state)
{
    struct frame_queue q;
    uint8_t f[300];
    unsigned in = 0, out = 0, refused = 0;
    size_t lens[1000];
    frames_init(&q, 4096);
    srand(3);
    while (out < 100000) {
        size_t len = (size_t)(rand() % 300);
        if (rand() % 2) {
            memset(f, (int)in, len);
            if (frames_put(&q, f, len)) {
                lens[in % 1000] = len;
                in++;
            } else {
                refused++;
                assert_true(q.used + 300 + 8 + 300 + 8 > q.cap);
            }
        } else if (!frames_empty(&q)) {
            size_t got;
            const uint8_t *p = frames_peek(&q, &got);
            assert_int_equal(got, lens[out % 1000]);
            for (size_t i = 0; i < got; i++)
                assert_int_equal(p[i], (uint8_t)out);
            frames_pop(&q);
            out++;
        } else {
            assert_int_equal(in, out);
        }
    }
    assert_true(refused > 0);
    frames_free(&q);
}

static const char *nic(struct net_legacy *l, size_t i, const char *key)
{
    assert_true(i < l->items.len);
    return opts_get(&l->items.data[i].nic, key);
}
static const char *back(struct net_legacy *l, size_t i, const char *key)
{
    assert_true(i < l->items.len);
    return opts_get(&l->items.data[i].netdev, key);
}

static void nic_option(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_nic(&l,
                                    "user,model=e1000,mac=52:54:00:00:00:01,hostfwd=tcp::1-:2,"
                                    "hostfwd=tcp::3-:4",
                                    &e),
                     0);
    assert_int_equal(net_legacy_nic(&l, "tap,id=lan,ifname=tap3,script=no", &e), 0);
    net_legacy_finish(&l);
    assert_int_equal(l.items.len, 2);
    assert_string_equal(nic(&l, 0, "model"), "e1000");
    assert_string_equal(nic(&l, 0, "mac"), "52:54:00:00:00:01");
    assert_string_equal(nic(&l, 0, "netdev"), back(&l, 0, "id"));
    assert_string_equal(back(&l, 0, "type"), "user");
    assert_null(back(&l, 0, "model"));
    unsigned forwards = 0;
    for (size_t i = 0; i < l.items.data[0].netdev.len; i++)
        forwards += !strcmp(l.items.data[0].netdev.data[i].key, "hostfwd");
    assert_int_equal(forwards, 2);
    assert_string_equal(nic(&l, 1, "netdev"), "lan");
    assert_string_equal(back(&l, 1, "ifname"), "tap3");
    assert_false(l.none);
    assert_int_equal(net_legacy_nic(&l, "none", &e), 0);
    assert_true(l.none);
    net_legacy_free(&l);
}

static void net_option_pairs(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_net(&l, "nic,model=virtio,macaddr=52:54:00:00:00:02", &e), 0);
    assert_int_equal(net_legacy_net(&l, "user", &e), 0);
    net_legacy_finish(&l);
    assert_int_equal(l.items.len, 2);
    assert_true(l.items.data[0].has_netdev && l.items.data[1].has_nic);
    assert_string_equal(nic(&l, 1, "netdev"), back(&l, 0, "id"));
    assert_string_equal(nic(&l, 1, "mac"), "52:54:00:00:00:02");
    net_legacy_free(&l);
}

static void net_option_hub(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_net(&l, "nic", &e) | net_legacy_net(&l, "nic,netdev=x", &e) |
                         net_legacy_net(&l, "nic,model=rtl8139", &e) |
                         net_legacy_net(&l, "user,id=u", &e),
                     0);
    net_legacy_finish(&l);
    // The NIC with its own netdev; user and its port; two more ports, each before its NIC.
    assert_int_equal(l.items.len, 7);
    assert_string_equal(nic(&l, 0, "netdev"), "x");
    assert_string_equal(back(&l, 1, "id"), "u");
    assert_string_equal(back(&l, 2, "netdev"), "u");
    assert_string_equal(back(&l, 2, "type"), "hubport");
    assert_string_equal(nic(&l, 4, "netdev"), back(&l, 3, "id"));
    assert_string_equal(nic(&l, 6, "netdev"), back(&l, 5, "id"));
    assert_string_equal(nic(&l, 6, "model"), "rtl8139");
    net_legacy_free(&l);
}

static void net_option_errors(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_net(&l, "nic,modell=x", &e), -1);
    assert_non_null(strstr(e.msg, "did you mean 'model'"));
    assert_int_equal(net_legacy_net(&l, "", &e), -1);
    assert_int_equal(net_legacy_net(&l, "none", &e), 0);
    assert_true(l.none);
    net_legacy_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_queue_keeps_order), cmocka_unit_test(nic_option),
        cmocka_unit_test(net_option_pairs),        cmocka_unit_test(net_option_hub),
        cmocka_unit_test(net_option_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
