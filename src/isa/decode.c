// The text buffer of disassemblers.
#include "isa/decode.h"

#include <stdarg.h>
#include <stdio.h>

void disas_puts(struct disas_out *o, const char *s)
{
    while (*s && o->used + 1 < o->size)
        o->text[o->used++] = *s++;
    if (o->size)
        o->text[o->used] = 0;
}

void disas_printf(struct disas_out *o, const char *fmt, ...)
{
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    disas_puts(o, text);
}

void disas_tab(struct disas_out *o)
{
    do
        disas_puts(o, " ");
    while (o->used < 8 && o->used + 1 < o->size);
}
