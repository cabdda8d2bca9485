// QMP: the protocol itself. JSON objects in a stream, one reply each, events in between; a greeting
// and a negotiation first. Replies are one line ended by CR LF. A command is read whole before it
// runs; input is bounded. Commands are listed in qmp_commands.def.
#include "control/monitor/qmp_schema.h"
#include "control/version.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COMMAND_MAX = 1 << 20, DEPTH_MAX = 64 };

static void send(struct monitor *m, struct json_object *o)
{
    struct buf b = {0};
    buf_printf(&b, "%s\r\n",
               json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED |
                                                     JSON_C_TO_STRING_NOSLASHESCAPE));
    chr_write_all(m->fe, b.data, b.len);
    buf_free(&b);
    json_object_put(o);
}

static struct json_object *object(void)
{
    return json_object_new_object();
}

static void greet(struct monitor *m)
{
    struct json_object *o = object(), *q = object(), *v = object(), *n = object();
    json_object_object_add(n, "micro", json_object_new_int(COMPAT_MICRO));
    json_object_object_add(n, "minor", json_object_new_int(COMPAT_MINOR));
    json_object_object_add(n, "major", json_object_new_int(COMPAT_MAJOR));
    json_object_object_add(v, "qemu", n);
    json_object_object_add(v, "package", json_object_new_string("myna " MYNA_VERSION));
    json_object_object_add(q, "version", v);
    json_object_object_add(q, "capabilities", json_object_new_array());
    json_object_object_add(o, "QMP", q);
    send(m, o);
}

struct json_object *qmp_fail(struct qmp_error *e, const char *class, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->err.msg, sizeof e->err.msg, fmt, ap);
    va_end(ap);
    e->class = class;
    return NULL;
}

const char *qmp_str(struct json_object *args, const char *key)
{
    struct json_object *v;
    return args && json_object_object_get_ex(args, key, &v) &&
                   json_object_is_type(v, json_type_string)
               ? json_object_get_string(v)
               : NULL;
}

static void reply_error(struct monitor *m, struct json_object *id, const char *class,
                        const char *desc)
{
    struct json_object *o = object(), *e = object();
    json_object_object_add(e, "class", json_object_new_string(class));
    json_object_object_add(e, "desc", json_object_new_string(desc));
    if (id)
        json_object_object_add(o, "id", json_object_get(id));
    json_object_object_add(o, "error", e);
    send(m, o);
}

static const struct qmp_command *find(const char *name)
{
    for (size_t i = 0; i < n_qmp_commands; i++)
        if (!strcmp(qmp_commands[i].name, name))
            return &qmp_commands[i];
    return NULL;
}

static void run(struct monitor *m, struct json_object *o)
{
    struct json_object *id = NULL, *args = NULL, *result;
    struct qmp_error e = {0};
    char text[256];
    if (!json_object_is_type(o, json_type_object)) {
        reply_error(m, NULL, "GenericError", "QMP input must be a JSON object");
        return;
    }
    json_object_object_get_ex(o, "id", &id);
    const char *name = qmp_str(o, "execute");
    if (!name)
        name = qmp_str(o, "exec-oob");
    if (!name) {
        reply_error(m, id, "GenericError", "QMP input lacks member 'execute'");
        return;
    }
    if (json_object_object_get_ex(o, "arguments", &args) &&
        !json_object_is_type(args, json_type_object)) {
        reply_error(m, id, "GenericError", "QMP input member 'arguments' must be an object");
        return;
    }
    const struct qmp_command *c = find(name);
    if (!m->negotiated && !(c && c->early)) {
        reply_error(m, id, "CommandNotFound",
                    "Expecting capabilities negotiation with 'qmp_capabilities'");
        return;
    }
    if (!c || (m->negotiated && c->early)) {
        snprintf(text, sizeof text,
                 c ? "Capabilities negotiation is already complete, command '%.64s' ignored"
                   : "The command %.64s has not been found",
                 name);
        reply_error(m, id, "CommandNotFound", text);
        return;
    }
    struct vm *vm = m->vm;
    vm_hold_io(vm);
    result = qmp_check_members(c->args, args, &e) ? c->run(m, args, &e) : NULL;
    vm_release_io(vm);
    if (e.class) {
        reply_error(m, id, e.class, e.err.msg);
        return;
    }
    struct json_object *r = object();
    json_object_object_add(r, "return", result ? result : object());
    if (id)
        json_object_object_add(r, "id", json_object_get(id));
    send(m, r);
}

// ---- the stream ----

static void restart(struct monitor *m)
{
    json_tokener_reset(m->parser);
    m->parsed = 0;
}

// Consumes some of the input: up to the end of one object, or to an error.
static size_t parse_some(struct monitor *m, const uint8_t *p, size_t n)
{
    if (*p == 0xff) { // resets the parser
        restart(m);
        return 1;
    }
    const uint8_t *reset = memchr(p, 0xff, n);
    if (reset)
        n = (size_t)(reset - p);
    struct json_object *o = json_tokener_parse_ex(m->parser, (const char *)p, (int)n);
    enum json_tokener_error err = json_tokener_get_error(m->parser);
    size_t used = err == json_tokener_continue ? n : json_tokener_get_parse_end(m->parser);
    m->parsed += used;
    if (err == json_tokener_continue) {
        if (m->parsed > COMMAND_MAX) {
            restart(m);
            reply_error(m, NULL, "GenericError", "JSON parse error, object too large");
        }
        return used;
    }
    restart(m);
    if (err == json_tokener_success) {
        run(m, o);
        json_object_put(o);
        return used;
    }
    char text[128];
    snprintf(text, sizeof text, "JSON parse error, %s", json_tokener_error_desc(err));
    reply_error(m, NULL, "GenericError", text);
    const uint8_t *line = memchr(p, '\n', n); // go on with the next line
    return line ? (size_t)(line - p) + 1 : n;
}

static void receive(void *fe, const uint8_t *p, size_t n)
{
    struct monitor *m = fe;
    while (n) {
        bool space = !m->parsed && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t');
        size_t used = space ? 1 : parse_some(m, p, n);
        p += used;
        n -= used;
    }
}

static size_t can_receive(void *fe)
{
    return 4096;
}

static void event(void *fe, enum chr_event ev)
{
    struct monitor *m = fe;
    if (ev == CHR_OPENED) {
        restart(m);
        m->negotiated = false;
        greet(m);
    }
}

const struct chr_frontend_ops qmp_frontend = {
    .can_receive = can_receive, .receive = receive, .event = event};

void qmp_init(struct monitor *m)
{
    m->parser = json_tokener_new_ex(DEPTH_MAX);
}

void qmp_exit(struct monitor *m)
{
    json_tokener_free(m->parser);
}

void qmp_event(struct monitor *m, const char *name, const char *json_data)
{
    if (!m->negotiated)
        return;
    int64_t now = host_realtime_ns();
    struct json_object *o = object(), *t = object();
    json_object_object_add(t, "seconds", json_object_new_int64(now / 1000000000));
    json_object_object_add(t, "microseconds", json_object_new_int64(now / 1000 % 1000000));
    json_object_object_add(o, "timestamp", t);
    json_object_object_add(o, "event", json_object_new_string(name));
    if (json_data)
        json_object_object_add(o, "data", json_tokener_parse(json_data));
    send(m, o);
}
