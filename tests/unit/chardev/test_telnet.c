// The telnet machine against byte sequences worked out by hand from RFC 854, 855 and 858.
#include "harness.h"

#include "chardev/telnet.h"

static void start(struct telnet *t)
{
    telnet_start(t);
    static const uint8_t offers[] = {255, 251, 1, 255, 251, 3, 255, 251, 0, 255, 253, 0};
    assert_int_equal(t->reply_len, sizeof offers);
    assert_memory_equal(t->reply, offers, sizeof offers);
    t->reply_len = 0;
}

static void check(struct telnet *t, const char *in, size_t n, const char *data, size_t data_len,
                  const char *reply, size_t reply_len)
{
    uint8_t p[64];
    memcpy(p, in, n);
    assert_int_equal(telnet_decode(t, p, n), data_len);
    assert_memory_equal(p, data, data_len);
    assert_int_equal(t->reply_len, reply_len);
    assert_memory_equal(t->reply, reply, reply_len);
    t->reply_len = 0;
}
#define CHECK(t, in, data, reply)                                                                  \
    check(t, in, sizeof(in) - 1, data, sizeof(data) - 1, reply, sizeof(reply) - 1)

static void answers_to_our_offers_are_not_answered(void **state)
{
    struct telnet t;
    start(&t);
    CHECK(&t, "\377\375\001\377\375\003\377\375\000\377\373\000", "", "");
    CHECK(&t, "\377\375\001", "", ""); // once more: already on
}

static void refusals(void **state)
{
    struct telnet t;
    start(&t);
    // DO STATUS, WILL NAWS, WILL TTYPE are refused; WILL SGA is welcome.
    CHECK(&t, "a\377\375\005b\377\373\037c\377\373\030d\377\373\003", "abcd",
          "\377\374\005\377\376\037\377\376\030\377\375\003");
    // DONT ECHO after DO ECHO is acknowledged once.
    CHECK(&t, "\377\375\001\377\376\001\377\376\001", "", "\377\374\001");
    CHECK(&t, "\377\374\042\377\376\042", "", "");
}

static void data_and_commands(void **state)
{
    struct telnet t;
    start(&t);
    CHECK(&t, "x\377\377y", "x\377y", "");
    CHECK(&t, "\r\0z\r\n", "\rz\r\n", "");       // not yet binary
    CHECK(&t, "\377\373\000\r\0z", "\r\0z", ""); // binary
    CHECK(&t, "\377\364\377\367\377\370", "\003\177\025", "");
    CHECK(&t, "1\377\372\037\000\120\377\377\000\030\377\3602", "12", "");
    CHECK(&t, "\377\366", "", "[Yes]\r\n");
    assert_int_equal(t.breaks, 0);
    CHECK(&t, "\377\363\377\363", "", "");
    assert_int_equal(t.breaks, 2);
}

static void split_anywhere(void **state)
{
    static const char in[] = "q\377\375\005w\377\377e\377\372\001\377\377\377\360r";
    struct telnet t;
    start(&t);
    uint8_t out[32];
    size_t len = 0;
    for (size_t i = 0; i < sizeof in - 1; i++) {
        uint8_t ch = (uint8_t)in[i];
        size_t n = telnet_decode(&t, &ch, 1);
        if (n)
            out[len++] = ch;
    }
    assert_int_equal(len, 5);
    assert_memory_equal(out, "qw\377er", 5);
    assert_memory_equal(t.reply, "\377\374\005", 3);
}

static void encode(void **state)
{
    uint8_t out[8];
    size_t n = 3;
    assert_int_equal(telnet_encode((const uint8_t *)"a\377b", &n, out, sizeof out), 4);
    assert_memory_equal(out, "a\377\377b", 4);
    assert_int_equal(n, 3);
    n = 10;
    size_t len = telnet_encode((const uint8_t *)"\377\377\377\377\377\377\377\377\377\377", &n, out,
                               sizeof out);
    assert_int_equal(len, 8);
    assert_int_equal(n, 4);
}

static void a_flood_of_requests_is_bounded(void **state)
{
    struct telnet t;
    start(&t);
    for (int i = 0; i < 1000; i++) {
        uint8_t p[3] = {255, 253, (uint8_t)(4 + i % 200)};
        assert_int_equal(telnet_decode(&t, p, 3), 0);
        assert_true(t.reply_len <= sizeof t.reply);
    }
}

// Random bytes and random chunking against a decoder that sees the whole at once.
static void random_chunks_decode_alike(void **state)
{
    srand(1);
    for (int round = 0; round < 2000; round++) {
        uint8_t in[64], a[64], b[64];
        static const uint8_t hot[] = {255, 250, 240, 251, 253, 0, 13, 10};
        for (size_t i = 0; i < sizeof in; i++)
            in[i] = rand() % 2 ? hot[rand() % 8] : (uint8_t)rand();
        struct telnet ta, tb;
        telnet_start(&ta);
        telnet_start(&tb);
        memcpy(a, in, sizeof in);
        size_t na = telnet_decode(&ta, a, sizeof in), nb = 0;
        for (size_t i = 0; i < sizeof in;) {
            uint8_t chunk[64];
            size_t k = MIN((size_t)(1 + rand() % 5), sizeof in - i);
            memcpy(chunk, in + i, k);
            size_t got = telnet_decode(&tb, chunk, k);
            memcpy(b + nb, chunk, got);
            nb += got;
            i += k;
        }
        assert_int_equal(na, nb);
        assert_memory_equal(a, b, na);
        assert_int_equal(ta.reply_len, tb.reply_len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_to_our_offers_are_not_answered),
        cmocka_unit_test(refusals),
        cmocka_unit_test(data_and_commands),
        cmocka_unit_test(split_anywhere),
        cmocka_unit_test(encode),
        cmocka_unit_test(a_flood_of_requests_is_bounded),
        cmocka_unit_test(random_chunks_decode_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
