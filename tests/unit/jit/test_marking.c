// The first translation from a page while another CPU keeps storing to it: a store that was checked
// before the page was marked must be made before the page's bytes are read. The other CPU is held
// up at random instructions by a signal, so that some stores hang between check and store.
#include "base/clock.h"
#include "jit/state.h"
#include "machine.h"

#include <signal.h>
#include <time.h>

enum { P_FIRST = 0x20, P_END = 0xfe, WANTED = 0x3000, PAUSE_NS = 150000 };
static const int64_t LOST_NS = 30000000000; // what was not seen after that never will be

static void sleep_ns(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static void on_signal(int sig)
{
    sleep_ns(PAUSE_NS);
}

// The page is marked: the other CPU is sent on to the next one, and has all the time to make the
// store it may be at, which was its last one to this page.
static struct ram *ram;
static void look(uint64_t pc, const uint8_t *code)
{
    if (pc < (uint64_t)P_FIRST << 12)
        return;
    ram_write(ram, WANTED, &(uint64_t){(pc | 4095) + 1}, 8);
}

static void writer_main(void *machine)
{
    m_run(machine, 1, 0x1000);
}

static _Atomic bool stop;
static void nuisance_main(void *thread)
{
    while (!atomic_load(&stop)) {
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
        sleep_ns(2 * PAUSE_NS);
    }
}

// What the other CPU stores to meanwhile.
static uint32_t look_at(const struct machine *m, uint64_t page)
{
    return __atomic_load_n((const uint32_t *)(ram_host(m->ram) + (page << 12)), __ATOMIC_RELAXED);
}

static void stores_under_way(void **state)
{
    struct machine *m = m_open(2, (struct jit_config){0});
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART}, old;
    sigaction(SIGUSR1, &sa, &old);
    m->on_translate = look;
    ram = m->ram;
    // x1: page stored to, until the one wanted is another: then the next
    LOAD(m, 0x1000, I(M_ST4, 3, 1, 0), I(M_ADD, 3, 3, 5), I(M_LD, 0, 6, 0), I(M_BLT, 1, 0, 2),
         I(M_BNE, 5, 4, -4), I(M_ADD, 1, 1, 2), I(M_BNE, 1, 7, -6), I(M_HALT, 0, 0, 0));
    struct test_cpu *w = m->cpu[1];
    w->x[1] = (uint64_t)P_FIRST << 12;
    w->x[2] = 0x1000;
    w->x[3] = I(M_LI, 0, 0, 0);
    w->x[5] = 0x10000;
    w->x[6] = WANTED;
    w->x[7] = (uint64_t)P_END << 12;
    pthread_t writer = thread_start("writer", writer_main, m);
    pthread_t nuisance = thread_start("nuisance", nuisance_main, &writer);
    for (uint64_t p = P_FIRST; p < P_END; p++) {
        uint32_t now = 0;
        while (!now) { // until the writer is there
            sleep_ns(PAUSE_NS);
            now = look_at(m, p);
        }
        m_run(m, 0, p << 12);
        int64_t started = host_monotonic_ns();
        do { // on a busy host the writer's last store may come late; one that is lost never comes
            assert_true(host_monotonic_ns() - started < LOST_NS);
            sleep_ns(2 * PAUSE_NS);
            m_run(m, 0, p << 12);
            now = look_at(m, p);
        } while (m->cpu[0]->x[0] != now >> 16);
    }
    atomic_store(&stop, true);
    pthread_join(nuisance, NULL);
    ram_write(m->ram, WANTED, &(uint64_t){M_RAM}, 8);
    pthread_join(writer, NULL);
    sigaction(SIGUSR1, &old, NULL);
    m_close(m);
}

// A CPU notes where a computed jump leads and finds that the block has died meanwhile, so takes the
// note back; then the thread that killed it comes by and takes back what it finds, too.
static void taken_back_twice(void **state)
{
    struct machine *m = m_open(1, (struct jit_config){0});
    LOAD(m, 0x1000, I(M_LI, 1, 0, 0x20), I(M_JR, 1, 0, 0));
    LOAD(m, 0x2000, I(M_LI, 0, 7, 0), I(M_HALT, 0, 0, 0));
    m_run(m, 0, 0x1000);
    size_t n = jump_index(0x2000);
    struct jit_vcpu *v = m->jit->vcpu[0];
    struct jump_entry *e = &v->jump[n];
    assert_int_equal(e->pc, 0x2000);
    atomic_store(&e->pc, jump_nowhere(n));
    ram_write(m->ram, 0x2000, &(uint32_t){I(M_LI, 0, 8, 0)}, 4); // kills it
    assert_int_not_equal(jump_index(e->pc), n);
    m_run(m, 0, 0x1000);
    assert_int_equal(m->cpu[0]->x[0], 8);
    m_close(m);
}

// Two pages that share a line of the TLB push each other out with every store, while another CPU
// makes code of one of them: it may not keep its permission to store unseen by being on the move.
static void permissions_on_the_move(void **state)
{
    enum { ROUNDS = 3000, P = 0x20, OTHER = 0x60, STOP = 0x3000 };
    struct machine *m = m_open(2, (struct jit_config){0});
    _Static_assert(TLB_SIZE % M_PAGES == 0, "the second address is that of a global page");
    LOAD(m, P << 12, I(M_LI, 0, 0, 0), I(M_HALT, 0, 0, 0));
    LOAD(m, 0x1000, I(M_ST4, 3, 1, 0), I(M_ADD, 3, 3, 5), I(M_ST4, 3, 2, 0), I(M_ADD, 3, 3, 5),
         I(M_LD, 0, 6, 0), I(M_BNE, 0, 5, -5), I(M_HALT, 0, 0, 0));
    struct test_cpu *w = m->cpu[1];
    m->reach = ~0ull;
    w->w = 1;
    m->map[1][P].page = OTHER;
    w->x[1] = P << 12;
    w->x[2] = w->x[1] + (uint64_t)TLB_SIZE * 4096; // page P, which is global there
    w->x[3] = I(M_LI, 0, 0, 0);
    w->x[5] = 0x10000;
    w->x[6] = STOP;
    pthread_t writer = thread_start("writer", writer_main, m);
    for (unsigned k = 0; k < ROUNDS; k++) {
        uint32_t before = look_at(m, P);
        int64_t started = host_monotonic_ns();
        // A store is in memory a little before the code there is known to have changed; the writer
        // may lose its host CPU in between.
        for (;;) {
            m_run(m, 0, P << 12);
            if ((uint16_t)(m->cpu[0]->x[0] - (before >> 16)) < 0x8000)
                break;
            assert_true(host_monotonic_ns() - started < LOST_NS);
            sleep_ns(PAUSE_NS);
        }
    }
    ram_write(m->ram, STOP, &(uint64_t){0x10000}, 8);
    pthread_join(writer, NULL);
    m_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stores_under_way),
                                       cmocka_unit_test(taken_back_twice),
                                       cmocka_unit_test(permissions_on_the_move)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
