// The short forms of -serial, -monitor and -qmp, and the nested form of QMP's chardev-add, turned
// into -chardev options.
#include "chardev/chardev.h"

#include <stdlib.h>

#include "base/sock.h"

// The part before the first single comma (",," stands for one); *rest is what follows it, or "".
static char *cut_head(const char *text, const char **rest)
{
    char *head = xalloc(strlen(text) + 1);
    size_t n = 0;
    while (*text && !(text[0] == ',' && text[1] != ',')) {
        text += text[0] == ',';
        head[n++] = *text++;
    }
    *rest = *text ? text + 1 : text;
    return head;
}

static void set_if(struct opts *o, const char *key, const char *val)
{
    if (val && *val)
        opts_set(o, key, val);
}

static int set_hostport(struct opts *o, const char *text, const char *host_key,
                        const char *port_key, struct err *e)
{
    char *host, *port;
    if (sock_split_hostport(text, &host, &port, e))
        return -1;
    set_if(o, host_key, host);
    set_if(o, port_key, port);
    free(host);
    free(port);
    return 0;
}

static int parse_socket(const char *addr, const char *kind, struct opts *o, struct err *e)
{
    const char *rest;
    char *head = cut_head(addr, &rest);
    int r = opts_parse(o, rest, NULL, e);
    opts_set(o, "backend", "socket");
    if (r) {
        free(head);
        return -1;
    }
    if (!strcmp(kind, "unix"))
        opts_set(o, "path", head);
    else
        r = set_hostport(o, head, "host", "port", e);
    if (!strcmp(kind, "telnet"))
        opts_set(o, "telnet", "on");
    if (!strcmp(kind, "websocket"))
        opts_set(o, "websocket", "on");
    free(head);
    return r;
}

// udp:[host]:port[@[localaddr]:localport]
static int parse_udp(const char *addr, struct opts *o, struct err *e)
{
    char *remote = xstrdup(addr), *local = strchr(remote, '@');
    if (local)
        *local++ = 0;
    opts_set(o, "backend", "udp");
    int r = set_hostport(o, remote, "host", "port", e);
    if (!r && local)
        r = set_hostport(o, local, "localaddr", "localport", e);
    free(remote);
    return r;
}

static const char *after(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) ? NULL : s + n;
}

static int parse_path(const char *backend, const char *path, struct opts *o)
{
    opts_set(o, "backend", backend);
    opts_set(o, "path", path);
    return 0;
}

static int parse_plain(const char *spec, struct opts *o, struct err *e)
{
    static const char *const words[] = {"stdio", "null", "none", "pty", "ringbuf", "vc"};
    static const char *const sockets[] = {"tcp", "telnet", "unix", "websocket"};
    const char *rest;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if ((rest = after(spec, words[i])) && (!*rest || *rest == ',')) {
            int r = *rest ? opts_parse(o, rest + 1, NULL, e) : 0;
            opts_set(o, "backend", words[i]);
            return r;
        }
    for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
        if ((rest = after(spec, sockets[i])) && *rest == ':')
            return parse_socket(rest + 1, sockets[i], o, e);
    if ((rest = after(spec, "udp:")))
        return parse_udp(rest, o, e);
    if ((rest = after(spec, "file:")))
        return parse_path("file", rest, o);
    if ((rest = after(spec, "pipe:")))
        return parse_path("pipe", rest, o);
    if ((rest = after(spec, "pty:")))
        return parse_path("pty", rest, o);
    if (after(spec, "/dev/"))
        return parse_path("serial", spec, o);
    if (after(spec, "vc:")) {
        opts_set(o, "backend", "vc");
        return 0;
    }
    return err_set(e,
                   "'%s' is not a character device; use stdio, mon:stdio, null, none, pty, "
                   "file:PATH, pipe:PATH, unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT, "
                   "udp:HOST:PORT or chardev:ID",
                   spec);
}

int chardev_opts_from_legacy(const char *spec, struct opts *o, bool *mux, struct err *e)
{
    const char *rest = after(spec, "mon:");
    *mux = rest;
    if (parse_plain(rest ? rest : spec, o, e))
        return -1;
    if (rest) {
        const char *backend = opts_get(o, "backend");
        if (!strcmp(backend, "stdio") && !opts_has(o, "signal"))
            opts_set(o, "signal", "off");
        opts_set(o, "mux", "on");
    }
    return 0;
}

// Where QMP's names differ. A dgram address is "remote" and "local" instead of "addr".
static const struct {
    const char *qmp, *key;
} qmp_names[] = {
    {"addr.data.str", "fd"},
    {"device", "path"},
    {"in", "input-path"},
    {"local.data.host", "localaddr"},
    {"local.data.port", "localport"},
    {"out", "path"},
    {"remote.data.host", "host"},
    {"remote.data.port", "port"},
};

static const char *key_of_qmp(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(qmp_names); i++)
        if (!strcmp(name, qmp_names[i].qmp))
            return qmp_names[i].key;
    const char *member = after(name, "addr.data.");
    return member ? member : name;
}

static bool is_address_type(const char *name)
{
    return !strcmp(name, "addr.type") || !strcmp(name, "remote.type") ||
           !strcmp(name, "local.type");
}

int chardev_opts_from_qmp(const struct opts *qmp, struct opts *o, struct err *e)
{
    for (size_t i = 0; i < qmp->len; i++) {
        const char *key = qmp->data[i].key, *val = qmp->data[i].val;
        const char *member = after(key, "backend.data.");
        if (!strcmp(key, "id"))
            opts_set(o, "id", val);
        else if (!strcmp(key, "backend.type"))
            opts_set(o, "backend", val);
        else if (!member)
            return err_set(e, "unexpected argument '%s'", key);
        else if (!is_address_type(member))
            opts_set(o, key_of_qmp(member), val);
    }
    const char *backend = opts_get(o, "backend");
    if (!backend || !opts_has(o, "id"))
        return err_set(e, "arguments 'id' and 'backend' are needed");
    if (!strcmp(backend, "socket")) { // other defaults than on the command line
        if (!opts_has(o, "server"))
            opts_set(o, "server", "on");
        if (!opts_has(o, "wait"))
            opts_set(o, "wait", "off");
    }
    return 0;
}
