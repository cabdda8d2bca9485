// QMP commands that add, change and remove what a machine is made of: devices, back ends, objects.
#include "control/monitor/json.h"
#include <stdio.h>

// An argument object as options: nested members become dotted keys.
bool qmp_to_opts(struct json_object *args, struct opts *o, struct qmp_error *e)
{
    if (opts_parse(o, json_object_to_json_string(args), NULL, &e->err)) {
        e->class = "GenericError";
        return false;
    }
    return true;
}

struct json_object *qmp_outcome(bool ok, struct opts *o, struct qmp_error *e)
{
    opts_free(o);
    if (!ok)
        e->class = "GenericError";
    return NULL;
}

RUN(device_add)
{
    struct opts o = {0};
    if (!qmp_to_opts(args, &o, e))
        return NULL;
    struct device *d = device_create_from_opts(&m->vm->machine->tree, &o, &e->err);
    return qmp_outcome(d != NULL, &o, e);
}

// What is not there is an error of its own class, which clients look at.
static struct json_object *gone(bool known, int result, struct qmp_error *e)
{
    if (result)
        e->class = known ? "GenericError" : "DeviceNotFound";
    return NULL;
}

RUN(device_del)
{
    const char *id = qmp_str(args, "id"), *slash = strrchr(id, '/');
    bool known = device_find(&m->vm->machine->tree, slash ? slash + 1 : id);
    return gone(known, vm_del_device(m->vm, id, &e->err), e);
}

RUN(netdev_add)
{
    struct opts o = {0};
    return qmp_to_opts(args, &o, e) ? qmp_outcome(vm_add_netdev(m->vm, &o, &e->err) != NULL, &o, e)
                                    : NULL;
}

RUN(netdev_del)
{
    const char *id = qmp_str(args, "id");
    bool known = vm_find_netdev(m->vm, id);
    return gone(known, vm_del_netdev(m->vm, id, &e->err), e);
}

RUN(set_link)
{
    struct json_object *up;
    const char *name = qmp_str(args, "name");
    struct netdev *n = vm_find_link(m->vm, name);
    if (!n)
        return qmp_fail(e, "DeviceNotFound", "Device '%s' not found", name);
    json_object_object_get_ex(args, "up", &up);
    netdev_set_link(n, json_object_get_boolean(up));
    return NULL;
}

RUN(chardev_add)
{
    struct opts qmp = {0}, o = {0};
    if (!qmp_to_opts(args, &qmp, e))
        return NULL;
    struct chardev *c = NULL;
    if (!chardev_opts_from_qmp(&qmp, &o, &e->err))
        c = vm_add_chardev(m->vm, &o, &e->err);
    struct json_object *r = c ? json_object_new_object() : NULL;
    const char *text = c ? chardev_describe(c) : "";
    if (c && !strncmp(text, "pty:", 4))
        json_object_object_add(r, "pty", json_object_new_string(text + 4));
    opts_free(&qmp);
    qmp_outcome(c != NULL, &o, e);
    return r;
}

RUN(chardev_remove)
{
    const char *id = qmp_str(args, "id");
    struct chardev *c = vm_find_chardev(m->vm, id);
    if (!c)
        return qmp_fail(e, "GenericError", "Chardev '%s' not found", id);
    if (chardev_is_busy(c))
        return qmp_fail(e, "GenericError", "Chardev '%s' is busy", id);
    for (size_t i = 0; i < m->vm->chardevs.len; i++)
        if (m->vm->chardevs.data[i] == c) {
            vec_remove(&m->vm->chardevs, i);
            break;
        }
    chardev_close(c);
    return NULL;
}

RUN(object_add)
{
    struct opts o = {0};
    return qmp_to_opts(args, &o, e) ? qmp_outcome(!object_add(&m->vm->objects, &o, &e->err), &o, e)
                                    : NULL;
}

RUN(object_del)
{
    return gone(true, vm_del_object(m->vm, qmp_str(args, "id"), &e->err), e);
}
