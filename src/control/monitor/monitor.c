// What both kinds of monitor share: attachment and the list.
#include "control/monitor/internal.h"
#include <stdlib.h>

struct monitor *monitor_new(struct vm *vm, struct chardev *c, bool control, struct err *e)
{
    struct monitor *m = xalloc(sizeof *m);
    m->vm = vm;
    m->control = control;
    m->mux = chardev_is_mux(c);
    if (control)
        qmp_init(m);
    m->fe = chr_attach(c, control ? &qmp_frontend : &hmp_frontend, m, e);
    if (!m->fe) {
        monitor_free(m);
        return NULL;
    }
    vec_push(&vm->monitors, m);
    return m;
}

void monitor_free(struct monitor *m)
{
    for (size_t i = 0; i < m->vm->monitors.len; i++)
        if (m->vm->monitors.data[i] == m) {
            vec_remove(&m->vm->monitors, i);
            break;
        }
    if (m->fe)
        chr_detach(m->fe);
    if (m->control)
        qmp_exit(m);
    free(m);
}

void monitor_broadcast(struct vm *vm, const char *name, const char *json_data)
{
    for (size_t i = 0; i < vm->monitors.len; i++)
        if (vm->monitors.data[i]->control)
            qmp_event(vm->monitors.data[i], name, json_data);
}
