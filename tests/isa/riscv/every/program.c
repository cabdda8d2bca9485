// Every instruction that can be drawn at random, on the bare machine: the sequences of cases.c are
// run and what they leave behind is compared, row by row. VIRTUAL=0 runs them at machine level,
// VIRTUAL=1 at user level under Sv39 (Sv32), on pages that do not lie in memory as their addresses
// say. The exit status is 0 or the number of the first row that differs, 255 where that is larger;
// its name goes to the console.
#include "../../case.h"
#include "every.h"

typedef unsigned long word;
#define READ(csr)                                                                                  \
    ({                                                                                             \
        word v_;                                                                                   \
        __asm__ volatile("csrr %0, " #csr : "=r"(v_));                                             \
        v_;                                                                                        \
    })
#define WRITE(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((word)(v)) : "memory")

void enter(uint64_t *registers);
void finish(word status) __attribute__((noreturn));
extern const struct every_header cases;
extern volatile uint32_t tohost[2], fromhost[2];

enum { PAGE = 4096, PAGES = 3, MPP = 3 << 11, MPP_M = 3 << 11, FS_VS = 3 << 13 | 3 << 9 };
#define BEHIND 0x83000000ul // where the pages of the window and the code are, the last one first
static word root[PAGE / sizeof(word)] __attribute__((aligned(PAGE)));
static word middle[PAGE / sizeof(word)] __attribute__((aligned(PAGE)));
static word leaves[PAGE / sizeof(word)] __attribute__((aligned(PAGE)));

static void put(char c)
{
    tohost[0] = (unsigned char)c;
    tohost[1] = 0x01010000;
    for (unsigned n = 0; n < 100000 && tohost[1]; n++)
        ;
}

static void print(const char *s)
{
    while (*s)
        put(*s++);
}

// Where an address of the cases lies in memory.
static uint64_t *place(uint32_t offset)
{
    if (!VIRTUAL)
        return (uint64_t *)(word)(WINDOW_VA + offset);
    return (uint64_t *)(BEHIND + (PAGES - 1 - offset / PAGE) * PAGE + offset % PAGE);
}

static void copy(uint32_t offset, const uint64_t *from, uint32_t size)
{
    for (uint32_t n = 0; n < size; n += 8)
        *place(offset + n) = from[n / 8];
}

static void map(void)
{
    const word pointer = 1, leaf = 1 | 2 | 4 | 8 | 16 | 64 | 128;
    const word first = WINDOW_VA >> 12;
    for (unsigned n = 0; n < PAGES; n++)
        leaves[(first + n) % (PAGE / sizeof(word))] = (word)place(n * PAGE) >> 12 << 10 | leaf;
    if (sizeof(word) == 8) {
        root[WINDOW_VA >> 30] = (word)middle >> 12 << 10 | pointer;
        middle[WINDOW_VA >> 21 & 511] = (word)leaves >> 12 << 10 | pointer;
        WRITE(satp, (uint64_t)8 << 60 | (word)root >> 12);
    } else {
        root[WINDOW_VA >> 22] = (word)leaves >> 12 << 10 | pointer;
        WRITE(satp, (word)1 << 31 | (word)root >> 12);
    }
    __asm__ volatile("sfence.vma" ::: "memory");
}

static void set_up(void)
{
    WRITE(pmpaddr0, ~(word)0);
    WRITE(pmpcfg0, 0x1f);
    WRITE(mcounteren, 7);
    WRITE(scounteren, 7);
    if (VIRTUAL)
        map();
}

// Runs a case; the digest goes on with what it left.
static uint64_t run(const struct every_case *c, const uint64_t *window, uint64_t digest)
{
    uint64_t registers[EVERY_REGISTERS];
    for (unsigned n = 0; n < EVERY_REGISTERS; n++)
        registers[n] = c->registers[n];
    copy(0, window, WINDOW_SIZE);
    copy(WINDOW_SIZE, (const uint64_t *)(c + 1), c->size);
    __asm__ volatile("fence.i" ::: "memory");
    WRITE(mepc, CODE_VA);
    WRITE(mstatus, FS_VS | (VIRTUAL ? 0 : MPP_M));
    enter(registers);
    if (READ(mcause) != 3)
        return 0;
    registers[0] = 0;
    for (unsigned n = 0; n < EVERY_REGISTERS; n++)
        digest = every_digest(digest, n < 32 || n == 64 ? (word)registers[n] : registers[n]);
    digest = every_digest(digest, (word)READ(mepc));
    for (unsigned n = 0; n < WINDOW_SIZE; n += 8)
        digest = every_digest(digest, *place(n));
    return digest;
}

int main(void)
{
    const uint64_t *window = (const uint64_t *)(&cases + 1);
    const struct every_row *rows = (const void *)(window + WINDOW_SIZE / 8);
    const struct every_case *c = (const void *)(rows + cases.rows);
    unsigned failed = 0;
    set_up();
    for (uint32_t row = 0; row < cases.rows; row++) {
        uint64_t digest = 0;
        for (unsigned n = 0; n < EVERY_SEQUENCES; n++) {
            digest = run(c, window, digest);
            c = (const void *)((const char *)(c + 1) + c->size);
        }
        if (digest == rows[row].expected)
            continue;
        print(rows[row].name);
        print(" differs\n");
        failed = failed ? failed : row + 1;
    }
    finish(failed > 255 ? 255 : failed);
}
