// Writes the cases of the bare-metal program of this folder, the same ones at every run:
//
//     isa_cases riscv64|riscv32 MODEL CASES-FILE EXPECTED.txt    cases, with what that table says
//     isa_cases riscv64|riscv32 MODEL --table                    a new table, to standard output
//
// There are a few random sequences (../../generate.h) for each instruction that can be drawn. A row
// of the table is an instruction's name and the digest of what its sequences leave behind:
// registers, vector registers, memory, where and how they end. A new table holds what the IR
// interpreter computes; it is worth what an independent machine says about the program made with it
// (README.md).
#include "../../flat.h"
#include "../../generate.h"
#include "../state.h"
#include "every.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"

static struct {
    const struct diff_guest *guest;
    struct flat *flat;
    uint8_t window[WINDOW_SIZE];
    struct buf cases;
    struct every_row rows[4096];
    struct every_header header;
} w;

static unsigned code_size(const struct sequence *s)
{
    unsigned n = s->before.size + s->after.size;
    for (unsigned k = 0; k < s->n; k++)
        n += s->units[k].size;
    return (n + 7) & ~7u;
}

// One sequence: in the file, and in the row's digest. False: it does not come to its end.
static bool add(const struct sequence *s, unsigned row, uint64_t *digest)
{
    uint8_t code[CODE_STRIDE] = {0}, window[WINDOW_SIZE];
    struct diff_state start = s->start, end;
    struct every_case c = {.row = row, .size = code_size(s)};
    start.pc = CODE_VA;
    sequence_place(s, w.guest, CODE_VA, 0, code);
    memcpy(window, w.window, sizeof window);
    flat_run(w.flat, false, &start, code, sizeof code, window, &end);
    if (end.signal != SIGTRAP)
        return false;
    memcpy(c.registers, start.r, sizeof c.registers);
    buf_put(&w.cases, &c, sizeof c);
    buf_put(&w.cases, code, c.size);
    w.header.cases++;
    for (unsigned n = 0; n < EVERY_REGISTERS; n++)
        *digest = every_digest(*digest, end.r[n]);
    *digest = every_digest(*digest, end.pc);
    for (unsigned n = 0; n < WINDOW_SIZE; n += 8)
        *digest = every_digest(*digest, ld_le64(window + n));
    return true;
}

static bool add_row(unsigned id)
{
    struct env *e = flat_env(w.flat);
    struct pool pool = {.ids = {(uint16_t)id}, .n = 1};
    struct rng r = {0};
    struct every_row *row = &w.rows[w.header.rows];
    snprintf(row->name, sizeof row->name, "%s", w.guest->info[id].name);
    for (const char *p = row->name; *p; p++) // of the name, so that new rows leave old ones alone
        r.s = r.s * 31 + (unsigned char)*p;
    for (unsigned n = 0, tries = 0; n < EVERY_SEQUENCES; tries++) {
        static struct sequence s;
        if (tries == 1000) {
            fprintf(stderr, "isa_cases: no sequence with %s comes to its end\n", row->name);
            return false;
        }
        generate(&s, w.guest, e, &pool, &r, EVERY_UNITS);
        n += add(&s, w.header.rows, &row->expected);
    }
    w.header.rows++;
    return true;
}

// The digests of a table for the rows that were computed here: the same rows, and no others.
static bool read_table(const char *path)
{
    FILE *f = fopen(path, "r");
    char name[64];
    unsigned long long digest;
    unsigned n = 0;
    for (; f && fscanf(f, "%63s %llx", name, &digest) == 2; n++) {
        if (n == w.header.rows || strcmp(name, w.rows[n].name)) {
            fprintf(stderr, "isa_cases: %s: %s is not where it should be\n", path, name);
            return false;
        }
        w.rows[n].expected = digest;
    }
    if (f)
        fclose(f);
    if (n != w.header.rows)
        fprintf(stderr, "isa_cases: %s has %u instructions of %u\n", path, n, w.header.rows);
    return n == w.header.rows;
}

static bool write_cases(const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return false;
    fwrite(&w.header, sizeof w.header, 1, f);
    fwrite(w.window, sizeof w.window, 1, f);
    fwrite(w.rows, sizeof *w.rows, w.header.rows, f);
    fwrite(w.cases.data, w.cases.len, 1, f);
    return !fclose(f);
}

int main(int argc, char **argv)
{
    static struct pool pool;
    struct err e;
    struct rng r = {0};
    const bool table = argc == 4 && !strcmp(argv[3], "--table");
    w.guest = argc > 1 ? diff_guest_find(argv[1]) : NULL;
    if (!w.guest || (argc != 5 && !table)) {
        fprintf(stderr,
                "usage: isa_cases riscv64|riscv32 MODEL CASES-FILE EXPECTED.txt | --table\n");
        return 2;
    }
    w.flat = flat_new(w.guest, argv[2], &e);
    if (!w.flat) {
        fprintf(stderr, "isa_cases: %s\n", e.msg);
        return 2;
    }
    generate_window(w.window, &r);
    pool_fill(&pool, w.guest, flat_env(w.flat), NULL, NULL);
    for (unsigned n = 0; n < pool.n; n++)
        if (!add_row(pool.ids[n]))
            return 1;
    for (unsigned n = 0; table && n < w.header.rows; n++)
        printf("%-24s %016llx\n", w.rows[n].name, (unsigned long long)w.rows[n].expected);
    bool ok = table || (read_table(argv[4]) && write_cases(argv[3]));
    flat_free(w.flat);
    buf_free(&w.cases);
    return !ok;
}
