// Structures laid out by ABI: sizes that Linux's generic headers give where longs have 64 and 32
// bits (RISC-V), with alignments of 4 (i386) and 2 (m68k), and values on the way there and back.
#include "guest.h"

#include "user/abi/layout_host.h"

static const struct abi_data lp64 = {8, 8, false}, ilp32 = {4, 8, false}, four = {4, 4, false},
                             two = {4, 2, false};

static struct layouts of(const struct abi_data *d, bool big_endian)
{
    struct layouts l;
    layouts_make(&l, d, big_endian);
    return l;
}

static void sizes(void **state)
{
    static const struct {
        enum layout_id id;
        uint16_t lp64, ilp32, four, two;
    } want[] = {
        {LAYOUT_iovec, 16, 8, 8, 8},          {LAYOUT_msghdr, 56, 28, 28, 28},
        {LAYOUT_cmsghdr, 16, 12, 12, 12},     {LAYOUT_epoll_event, 16, 16, 12, 12},
        {LAYOUT_flock64, 32, 32, 24, 24},     {LAYOUT_siginfo, 128, 128, 128, 128},
        {LAYOUT_rusage, 144, 72, 72, 72},     {LAYOUT_sigevent, 64, 64, 64, 64},
        {LAYOUT_shmid_ds, 112, 84, 84, 84},   {LAYOUT_semid_ds, 88, 64, 64, 64},
        {LAYOUT_msqid_ds, 120, 88, 88, 88},   {LAYOUT_stack, 24, 12, 12, 12},
        {LAYOUT_statfs, 120, 88, 84, 84},     {LAYOUT_sysinfo, 112, 64, 64, 64},
        {LAYOUT_robust_list, 24, 12, 12, 12}, {LAYOUT_stat, 128, 80, 80, 80},
    };
    struct layouts a = of(&lp64, false), b = of(&ilp32, false), c = of(&four, false),
                   d = of(&two, true);
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(a.size[want[i].id], want[i].lp64);
        assert_int_equal(b.size[want[i].id], want[i].ilp32);
        assert_int_equal(c.size[want[i].id], want[i].four);
        assert_int_equal(d.size[want[i].id], want[i].two);
    }
}

// What the host's kernel may be given as it is.
static void same(void **state)
{
    struct layouts wide = of(&lp64, false), narrow = of(&ilp32, false), swapped = of(&lp64, true);
    assert_true(wide.same[LAYOUT_iovec] && wide.same[LAYOUT_siginfo] && wide.same[LAYOUT_rusage]);
    assert_true(wide.same[LAYOUT_sigevent] && wide.same[LAYOUT_statfs] &&
                wide.same[LAYOUT_sysinfo]);
    assert_true(!wide.same[LAYOUT_stat] && !wide.same[LAYOUT_epoll_event]); // x86-64's own
    assert_true(narrow.same[LAYOUT_flock64] && !narrow.same[LAYOUT_flock]);
    for (unsigned id = 0; id < LAYOUTS; id++) {
        assert_true(!swapped.same[id]);
        assert_true(id == LAYOUT_flock64 || !narrow.same[id]);
    }
}

static struct user guest(const struct abi_data *d, bool big_endian, struct abi *abi)
{
    struct user u = {.abi = abi};
    abi->data = *d;
    layouts_make(&u.layouts, d, big_endian);
    return u;
}

static void values(void **state)
{
    struct abi abi = {0}, other = {0};
    struct user le = guest(&ilp32, false, &abi), be = guest(&two, true, &other);
    const struct host_flock f = {2, -1, -5, 0x7fffffff, 42};
    struct host_flock back;
    uint8_t bytes[LAYOUT_MOST];
    static const uint8_t want[] = {2,    0,    0xff, 0xff, 0xfb, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0x7f, 42,   0,    0,    0};
    layout_pack(&le, LAYOUT_flock, bytes, &f);
    assert_memory_equal(bytes, want, sizeof want);
    layout_unpack(&le, LAYOUT_flock, &back, bytes);
    assert_int_equal(back.start, -5);
    assert_int_equal(back.whence, -1);
    layout_pack(&be, LAYOUT_flock, bytes, &f);
    assert_int_equal(bytes[1], 2);
    assert_int_equal(bytes[7], 0xfb);
    layout_unpack(&be, LAYOUT_flock, &back, bytes);
    assert_int_equal(back.start, -5);
    assert_int_equal(back.len, 0x7fffffff);
    // A time after 2106 in two words.
    struct shmid_ds s = {.shm_segsz = 9, .shm_atime = 0x123456789a, .shm_nattch = 3}, t;
    layout_pack(&le, LAYOUT_shmid_ds, bytes, &s);
    layout_unpack(&le, LAYOUT_shmid_ds, &t, bytes);
    assert_true(t.shm_atime == s.shm_atime && t.shm_segsz == 9 && t.shm_nattch == 3);
    uint64_t words[2] = {0x11223344, 5}, got[2];
    words_pack(&be, bytes, words, 2);
    assert_true(bytes[0] == 0x11 && bytes[7] == 5);
    words_unpack(&be, got, bytes, 2);
    assert_memory_equal(got, words, sizeof got);
}

static void signals(void **state)
{
    assert_int_equal(layout_of_siginfo(SIGSEGV, SEGV_MAPERR), LAYOUT_siginfo);
    assert_int_equal(layout_of_siginfo(SIGSEGV, SI_USER), LAYOUT_siginfo_sender);
    assert_int_equal(layout_of_siginfo(SIGCHLD, CLD_EXITED), LAYOUT_siginfo_child);
    assert_int_equal(layout_of_siginfo(SIGUSR1, SI_QUEUE), LAYOUT_siginfo_value);
    assert_int_equal(layout_of_siginfo(SIGUSR1, SI_TIMER), LAYOUT_siginfo_timer);
    assert_int_equal(layout_of_siginfo(SIGUSR1, SI_TKILL), LAYOUT_siginfo_value);
    assert_int_equal(layout_of_siginfo(SIGIO, POLL_IN), LAYOUT_siginfo_poll);
    struct layouts l = of(&ilp32, false);
    struct abi abi = {.data = ilp32};
    struct user u = {.abi = &abi, .layouts = l};
    siginfo_t s = {.si_signo = SIGCHLD, .si_code = CLD_EXITED};
    s.si_pid = 77;
    s.si_status = 5;
    int32_t words[32];
    layout_pack(&u, LAYOUT_siginfo_child, words, &s);
    assert_true(words[0] == SIGCHLD && words[2] == CLD_EXITED && words[3] == 77 && words[5] == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(same),
        cmocka_unit_test(values),
        cmocka_unit_test(signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
