// Telnet for consoles: we echo, both sides suppress go-ahead and send binary; every other option is
// refused. BREAK becomes an event, IP, EC and EL the control characters they stand for. Option
// state is kept so that an answer to our own offer is not answered again (RFC 854's loop rule).
#include "chardev/telnet.h"

enum {
    SE = 240,
    BREAK = 243,
    INTERRUPT = 244,
    ARE_YOU_THERE = 246,
    ERASE_CHAR = 247,
    ERASE_LINE = 248,
    SB = 250,
    WILL = 251,
    WONT = 252,
    DO = 253,
    DONT = 254,
    IAC = 255,
};
enum { OPT_BINARY = 0, OPT_ECHO = 1, OPT_SGA = 3 };
enum telnet_option_state { OFF, OFFERED, ON, REFUSED };

static void reply(struct telnet *t, const void *p, size_t n)
{
    if (n > sizeof t->reply - t->reply_len)
        return;
    memcpy(t->reply + t->reply_len, p, n);
    t->reply_len += n;
}

static void say(struct telnet *t, uint8_t verb, uint8_t option)
{
    reply(t, (uint8_t[]){IAC, verb, option}, 3);
}

void telnet_start(struct telnet *t)
{
    *t = (struct telnet){0};
    static const uint8_t ours[] = {OPT_ECHO, OPT_SGA, OPT_BINARY};
    for (size_t i = 0; i < sizeof ours; i++) {
        t->us[ours[i]] = OFFERED;
        say(t, WILL, ours[i]);
    }
    t->him[OPT_BINARY] = OFFERED;
    say(t, DO, OPT_BINARY);
}

// The peer asks for (`on`) or declines an option on one side. `yes` and `no` are our two answers.
static void negotiate(struct telnet *t, uint8_t *side, bool known, bool on, uint8_t option,
                      uint8_t yes, uint8_t no)
{
    if (!known) {
        if (on)
            say(t, no, option);
        return;
    }
    uint8_t was = side[option];
    side[option] = on ? ON : REFUSED;
    if (on && was != ON && was != OFFERED)
        say(t, yes, option);
    else if (!on && was == ON)
        say(t, no, option);
}

static void option_received(struct telnet *t, uint8_t option)
{
    bool binary_or_sga = option == OPT_BINARY || option == OPT_SGA;
    switch (t->verb) {
    case DO:
    case DONT:
        negotiate(t, t->us, binary_or_sga || option == OPT_ECHO, t->verb == DO, option, WILL, WONT);
        break;
    default:
        negotiate(t, t->him, binary_or_sga, t->verb == WILL, option, DO, DONT);
        break;
    }
}

// The byte after IAC. True when *data is a byte of data after all.
static bool command(struct telnet *t, uint8_t ch, uint8_t *data)
{
    t->state = TELNET_DATA;
    switch (ch) {
    case WILL:
    case WONT:
    case DO:
    case DONT:
        t->verb = ch;
        t->state = TELNET_OPTION;
        return false;
    case SB:
        t->state = TELNET_SUB;
        return false;
    case BREAK:
        t->breaks++;
        return false;
    case ARE_YOU_THERE:
        reply(t, "[Yes]\r\n", 7);
        return false;
    case INTERRUPT:
        *data = 0x03;
        return true;
    case ERASE_CHAR:
        *data = 0x7f;
        return true;
    case ERASE_LINE:
        *data = 0x15;
        return true;
    case IAC:
        *data = IAC;
        return true;
    default:
        return false;
    }
}

size_t telnet_decode(struct telnet *t, uint8_t *p, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t ch = p[i];
        switch (t->state) {
        case TELNET_DATA:
            if (ch == IAC) {
                t->state = TELNET_IAC;
                break;
            }
            // Outside binary mode a lone CR travels as CR NUL.
            if (!(ch == 0 && t->after_cr && t->him[OPT_BINARY] != ON))
                p[len++] = ch;
            t->after_cr = ch == '\r';
            break;
        case TELNET_IAC:
            if (command(t, ch, &ch)) {
                p[len++] = ch;
                t->after_cr = false;
            }
            break;
        case TELNET_OPTION:
            t->state = TELNET_DATA;
            option_received(t, ch);
            break;
        case TELNET_SUB:
            if (ch == IAC)
                t->state = TELNET_SUB_IAC;
            break;
        case TELNET_SUB_IAC:
            t->state = ch == SE ? TELNET_DATA : TELNET_SUB;
            break;
        }
    }
    return len;
}

size_t telnet_encode(const uint8_t *p, size_t *n, uint8_t *out, size_t room)
{
    size_t len = 0, i;
    for (i = 0; i < *n && len + 2 <= room; i++) {
        out[len++] = p[i];
        if (p[i] == IAC)
            out[len++] = IAC;
    }
    *n = i;
    return len;
}
