// QMP commands about descriptors that come along with a command (SCM_RIGHTS on a UNIX socket).
#include "control/monitor/json.h"
#include <unistd.h>

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
