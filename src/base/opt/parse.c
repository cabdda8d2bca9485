// Numbers, sizes and switches as operators write them.
#include "base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

int parse_bool(const char *s, bool *v)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "n", "y"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcmp(s, words[i])) {
            *v = i & 1;
            return 0;
        }
    return -1;
}

// A run of digits of the given base; at least one.
static int digits(const char **s, unsigned base, uint64_t *v)
{
    const char *at = *s;
    uint64_t sum = 0;
    for (;; at++) {
        unsigned d = isdigit((unsigned char)*at) ? (unsigned)(*at - '0')
                     : isxdigit((unsigned char)*at)
                         ? (unsigned)(tolower((unsigned char)*at) - 'a' + 10)
                         : 99;
        if (d >= base)
            break;
        if (__builtin_mul_overflow(sum, base, &sum) || __builtin_add_overflow(sum, d, &sum))
            return -1;
    }
    if (at == *s)
        return -1;
    *s = at;
    *v = sum;
    return 0;
}

static unsigned number_base(const char **s)
{
    if ((*s)[0] != '0')
        return 10;
    if ((*s)[1] == 'x' || (*s)[1] == 'X') {
        *s += 2;
        return 16;
    }
    return 8;
}

int parse_u64(const char *s, uint64_t *v)
{
    uint64_t sum;
    unsigned base = number_base(&s);
    if (digits(&s, base, &sum) || *s)
        return -1;
    *v = sum;
    return 0;
}

// Shift of a suffix; -1 when it is none.
static int suffix_shift(char c)
{
    static const char letters[] = "BKMGTPE";
    const char *at = c ? strchr(letters, toupper((unsigned char)c)) : NULL;
    return at ? (int)(at - letters) * 10 : -1;
}

int parse_size(const char *s, uint64_t unit, uint64_t *v)
{
    uint64_t whole, part = 0, scale = 1;
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    s += hex ? 2 : 0;
    if (digits(&s, hex ? 16 : 10, &whole))
        return -1;
    if (*s == '.' && !hex) {
        s++;
        if (!isdigit((unsigned char)*s))
            return -1;
        for (; isdigit((unsigned char)*s); s++)
            if (scale < 1000000000) { // finer digits are below one byte of any sensible size
                part = part * 10 + (unsigned)(*s - '0');
                scale *= 10;
            }
    }
    if (*s) {
        int shift = suffix_shift(*s);
        if (shift < 0 || s[1])
            return -1;
        unit = 1ull << shift;
    }
    unsigned __int128 sum = (unsigned __int128)whole * unit;
    sum += (unsigned __int128)part * unit / scale;
    if (sum >> 64)
        return -1;
    *v = (uint64_t)sum;
    return 0;
}
