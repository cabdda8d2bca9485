// Private to src/control/monitor.
#pragma once

#include "control/monitor/monitor.h"
#include <json-c/json.h>

#define HMP_LINE 4096

struct monitor {
    struct vm *vm;
    struct chr_frontend *fe;
    bool control;
    bool mux; // on a shared chardev: the banner waits until it has the focus
    // HMP: the line being typed
    char line[HMP_LINE];
    size_t len;
    enum { KEY_PLAIN, KEY_ESCAPE, KEY_CSI } key_state;
    // QMP
    struct json_tokener *parser;
    size_t parsed; // bytes of the object being read
    bool negotiated;
};

// HMP commands of hmp_change.c and hmp_inspect.c.
#define HMP_RUN(name) void hmp_##name(struct vm *vm, char *args, struct buf *out)
HMP_RUN(balloon);
HMP_RUN(change);
HMP_RUN(delvm);
HMP_RUN(device_add);
HMP_RUN(device_del);
HMP_RUN(drive_add);
HMP_RUN(eject);
HMP_RUN(gdbserver);
HMP_RUN(hostfwd_add);
HMP_RUN(hostfwd_remove);
HMP_RUN(info_balloon);
HMP_RUN(info_guest_errors);
HMP_RUN(info_jit);
HMP_RUN(info_pci);
HMP_RUN(info_roms);
HMP_RUN(info_snapshots);
HMP_RUN(info_trace_events);
HMP_RUN(info_usernet);
HMP_RUN(loadvm);
HMP_RUN(migrate);
HMP_RUN(netdev_add);
HMP_RUN(netdev_del);
HMP_RUN(no_display);
HMP_RUN(print);
HMP_RUN(savevm);
HMP_RUN(sendkey);
HMP_RUN(set_link);
HMP_RUN(trace_event);

// An expression's value (hmp_expr.c); -1 with a line on `out`.
int hmp_eval(struct vm *vm, const char *text, uint64_t *v, struct buf *out);

extern const struct chr_frontend_ops hmp_frontend, qmp_frontend;
void qmp_init(struct monitor *m);
void qmp_exit(struct monitor *m);
void qmp_event(struct monitor *m, const char *name, const char *json_data);

// An error a QMP client sees; `class` is one of the protocol's five.
struct qmp_error {
    const char *class;
    struct err err;
};
// A command: its result (NULL stands for {}), or NULL with error->class set.
typedef struct json_object *qmp_handler(struct monitor *m, struct json_object *args,
                                        struct qmp_error *error);
struct qmp_command {
    const char *name;
    qmp_handler *run;
    const char *args; // member list or type name, as in qmp_schema.h
    const char *ret;  // type name for introspection, or NULL
    bool early;       // allowed before negotiation
};
#define RUN(name)                                                                                  \
    struct json_object *qmp_do_##name(struct monitor *m, struct json_object *args,                 \
                                      struct qmp_error *e)
#define QMP(n, f, a, r, early) qmp_handler qmp_do_##f;
#include "control/monitor/qmp_commands.def"
#undef QMP
extern const struct qmp_command qmp_commands[];
extern const size_t n_qmp_commands;
struct json_object *qmp_fail(struct qmp_error *e, const char *class, const char *fmt, ...)
    PRINTF(3, 4);
const char *qmp_str(struct json_object *args, const char *key); // NULL when absent
