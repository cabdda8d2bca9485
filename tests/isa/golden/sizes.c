// Sizes of host code: reads lines "name hex-word ...", each a sequence of A64 instructions, and
// prints for each the bytes of its region: in user mode and behind the soft MMU, with every host
// feature the translator knows and with those every supported host has.
#include "../jitted.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, MAX_WORDS = 64 };

static unsigned read_words(char *line, uint8_t *code)
{
    unsigned n = 0;
    for (char *w = strtok(line, " \n"); w && n < MAX_WORDS; w = strtok(NULL, " \n"))
        st_le32(code + 4 * n++, (uint32_t)strtoul(w, NULL, 16));
    return 4 * n;
}

int main(void)
{
    struct err e;
    struct jitted *way[WAYS];
    char line[4096];
    for (unsigned k = 0; k < WAYS; k++)
        if (!(way[k] = jitted_new(&diff_arm, "max", k & 1, k >= 2, NULL, &e))) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
    while (fgets(line, sizeof line, stdin)) {
        uint8_t code[4 * MAX_WORDS];
        char *rest = strchr(line, ' ');
        if (!rest)
            continue;
        *rest++ = 0;
        unsigned n = read_words(rest, code);
        printf("%-17s", line);
        for (unsigned k = 0; k < WAYS; k++)
            printf(" %5u", jitted_size(way[k], code, n));
        printf("\n");
    }
    for (unsigned k = 0; k < WAYS; k++)
        jitted_free(way[k]);
    return 0;
}
