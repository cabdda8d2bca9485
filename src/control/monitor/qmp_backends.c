// QMP commands that add, change and remove what a machine is made of: devices, back ends, objects,
// and descriptors that come along with a command (SCM_RIGHTS on a UNIX socket).
#include "control/monitor/json.h"
#include <stdio.h>
#include <unistd.h>

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

// ---- descriptors ----

// The descriptor that came with the command, or -1 with the error set.
static int received(struct monitor *m, struct qmp_error *e)
{
    int fd = chr_get_msgfd(m->fe);
    if (fd < 0)
        qmp_fail(e, "GenericError", "No file descriptor supplied via SCM_RIGHTS");
    return fd;
}

RUN(getfd)
{
    const char *name = qmp_str(args, "fdname");
    int fd = received(m, e);
    if (fd < 0)
        return NULL;
    if (!*name || (*name >= '0' && *name <= '9')) {
        close(fd);
        return qmp_fail(e, "GenericError",
                        "Parameter 'fdname' expects a name not starting with a digit");
    }
    fd_store_put(&m->vm->fds, name, fd);
    return NULL;
}

RUN(closefd)
{
    const char *name = qmp_str(args, "fdname");
    int fd = fd_store_take(&m->vm->fds, name);
    if (fd < 0)
        return qmp_fail(e, "GenericError", "File descriptor named '%s' not found", name);
    close(fd);
    return NULL;
}

// A member that is a number, or -1 when it is absent.
static int64_t number(struct json_object *args, const char *key)
{
    struct json_object *v;
    return json_object_object_get_ex(args, key, &v) ? json_object_get_int64(v) : -1;
}

RUN(add_fd)
{
    int64_t set = args ? number(args, "fdset-id") : -1;
    int fd = received(m, e);
    if (fd < 0)
        return NULL;
    if (set < 0 && args && json_object_object_get_ex(args, "fdset-id", NULL)) {
        close(fd);
        return qmp_fail(e, "GenericError", "Parameter 'fdset-id' expects a non-negative value");
    }
    set = fdsets_add(m->vm->fds.sets, set, fd, args ? qmp_str(args, "opaque") : NULL, &e->err);
    if (set < 0) {
        e->class = "GenericError";
        return NULL;
    }
    struct json_object *o = object();
    put_int(o, "fdset-id", set);
    put_int(o, "fd", fd);
    return o;
}

RUN(remove_fd)
{
    if (fdsets_remove(m->vm->fds.sets, number(args, "fdset-id"), (int)number(args, "fd"), &e->err))
        e->class = "GenericError";
    return NULL;
}

RUN(query_fdsets)
{
    struct json_object *a = array(), *fds = NULL;
    const struct fdset_fd *f;
    int64_t set = -1;
    for (size_t i = 0; (f = fdsets_at(m->vm->fds.sets, i)); i++) {
        if (f->set != set) {
            struct json_object *o = object();
            put_int(o, "fdset-id", f->set);
            json_object_object_add(o, "fds", fds = array());
            json_object_array_add(a, o);
            set = f->set;
        }
        struct json_object *o = object();
        put_int(o, "fd", f->fd);
        if (f->opaque)
            put_str(o, "opaque", f->opaque);
        json_object_array_add(fds, o);
    }
    return a;
}
