// -strace: one line for each system call, arguments by their kinds.
#include "user/calls.h"

#include "base/buf.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void put_text(struct buf *b, struct thread *t, uint64_t addr, size_t max, bool string)
{
    char text[64];
    size_t n = MIN(max, sizeof text);
    if (!addr) {
        buf_printf(b, "NULL");
        return;
    }
    if (string ? guest_string(t, addr, text, sizeof text) == -EFAULT
               : !guest_read(t, addr, text, n)) {
        buf_printf(b, "0x%llx", (unsigned long long)addr);
        return;
    }
    if (string)
        n = strnlen(text, sizeof text);
    buf_printf(b, "\"");
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == '\n')
            buf_printf(b, "\\n");
        else if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (isprint(c))
            buf_printf(b, "%c", c);
        else
            buf_printf(b, "\\%03o", c);
    }
    buf_printf(b, n == sizeof text ? "\"..." : "\"");
}

static void put_arg(struct buf *b, struct thread *t, const struct call *c, const uint64_t *a,
                    unsigned i)
{
    unsigned long long v = a[i];
    switch (c->kinds[i]) {
    case K_INT:
    case K_FD:
    case K_SIG:
        buf_printf(b, "%d", (int)v);
        break;
    case K_DIRFD:
        buf_printf(b, (int)v == AT_FDCWD ? "AT_FDCWD" : "%d", (int)v);
        break;
    case K_LONG:
    case K_OFF:
    case K_POS:
        buf_printf(b, "%lld", (long long)v);
        break;
    case K_SIZE:
        buf_printf(b, "%llu", v);
        break;
    case K_MODE:
        buf_printf(b, "%#llo", v);
        break;
    case K_NAME:
    case K_PATH:
        put_text(b, t, v, 64, true);
        break;
    case K_BUF:
        put_text(b, t, v, a[i + 1], false);
        break;
    default:
        buf_printf(b, v ? "0x%llx" : "0", v);
    }
}

static void put_call(struct buf *b, struct thread *t, const struct call *c, const uint64_t *a)
{
    buf_printf(b, "%d %s(", t->tid, c->name);
    for (unsigned i = 0; i < CALL_ARGS && c->kinds[i]; i++) {
        buf_printf(b, i ? "," : "");
        put_arg(b, t, c, a, i);
    }
    buf_printf(b, ")");
}

static void write_out(struct buf *b)
{
    ssize_t n = write(STDERR_FILENO, b->data, b->len);
    (void)n;
    buf_free(b);
}

void strace_begin(struct thread *t, const struct call *c, uint64_t number, const uint64_t *a)
{
    if (strncmp(c->name, "exit", 4) && strncmp(c->name, "exec", 4))
        return;
    struct buf b = {0};
    put_call(&b, t, c, a);
    buf_printf(&b, "\n");
    write_out(&b);
}

void strace_call(struct thread *t, const struct call *c, uint64_t number, const uint64_t *a,
                 int64_t result)
{
    struct buf b = {0};
    put_call(&b, t, c, a);
    if (result == HOST_CALL_RESTART || result == HOST_CALL_NOT_MADE)
        buf_printf(&b, " = ? (interrupted)\n");
    else if (result < 0 && result > -4096)
        buf_printf(&b, " = -1 errno=%d (%s)\n", (int)-result, strerror((int)-result));
    else if (result < 100000)
        buf_printf(&b, " = %lld\n", (long long)result);
    else
        buf_printf(&b, " = 0x%llx\n", (unsigned long long)result);
    write_out(&b);
}
