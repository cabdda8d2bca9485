// Output: a PL011 that needs no setting up.
#include "bare.h"

static void put(char c)
{
    *(volatile uint32_t *)0x09000000 = (uint32_t)c;
}

void text(const char *s)
{
    while (*s)
        put(*s++);
}

void line(const char *name, unsigned n, const uint64_t *v)
{
    text(name);
    put(':');
    for (unsigned k = 0; k < n; k++) {
        put(' ');
        unsigned top = 60;
        while (top && !(v[k] >> top & 15))
            top -= 4;
        for (int at = (int)top; at >= 0; at -= 4)
            put("0123456789abcdef"[v[k] >> at & 15]);
    }
    put('\n');
}
