// What options say of descriptors, in the terms of the machine that was given them.
#include "control/fds.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void fd_store_init(struct fd_store *s)
{
    s->sets = fdsets_new();
}

void fd_store_free(struct fd_store *s)
{
    for (size_t i = 0; i < s->named.len; i++) {
        close(s->named.data[i].fd);
        free(s->named.data[i].name);
    }
    vec_free(&s->named);
    fdsets_free(s->sets);
}

int fd_store_take(struct fd_store *s, const char *name)
{
    for (size_t i = 0; i < s->named.len; i++) {
        if (strcmp(s->named.data[i].name, name))
            continue;
        int fd = s->named.data[i].fd;
        free(s->named.data[i].name);
        vec_remove(&s->named, i);
        return fd;
    }
    return -1;
}

void fd_store_put(struct fd_store *s, const char *name, int fd)
{
    int old = fd_store_take(s, name);
    if (old >= 0)
        close(old);
    vec_push(&s->named, ((__typeof__(s->named.data[0])){xstrdup(name), fd}));
}

static bool is_number(const char *s)
{
    return *s >= '0' && *s <= '9';
}

static int resolve_name(struct fd_store *s, struct opts *o, const char *key, struct err *e)
{
    char number[16];
    const char *name = opts_has(o, key) ? opts_get(o, key) : NULL;
    if (!name || is_number(name))
        return 0;
    int fd = fd_store_take(s, name);
    if (fd < 0)
        return err_set(e, "%s=%s: no descriptor of this name was handed over (getfd)", key, name);
    snprintf(number, sizeof number, "%d", fd);
    opts_set(o, key, number);
    return 0;
}

int fd_store_resolve_names(struct fd_store *s, struct opts *o, struct err *e)
{
    static const char *const keys[] = {"fd", "vhostfd"};
    static const char *const address[][2] = {
        {"addr.type", "addr.str"}, {"local.type", "local.str"}, {"remote.type", "remote.str"}};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (resolve_name(s, o, keys[i], e))
            return -1;
    for (size_t i = 0; i < ARRAY_SIZE(address); i++)
        if (opts_has(o, address[i][0]) && !strcmp(opts_get(o, address[i][0]), "fd") &&
            resolve_name(s, o, address[i][1], e))
            return -1;
    return 0;
}

static int resolve_file(struct fd_store *s, struct opts *o, const char *key, const char *as,
                        bool append, struct err *e)
{
    char number[16];
    const char *path = opts_has(o, key) ? opts_get(o, key) : NULL;
    if (!path || strncmp(path, "/dev/fdset/", 11))
        return 0;
    int fd = fdsets_open(s->sets, path, O_WRONLY | (append ? O_APPEND : O_TRUNC), 0);
    if (fd < 0)
        return err_errno(e, errno, "%s=%s", key, path);
    snprintf(number, sizeof number, "%d", fd);
    opts_set(o, as, number);
    opts_drop(o, key);
    return 0;
}

int fd_store_resolve_files(struct fd_store *s, struct opts *o, struct err *e)
{
    const char *backend = opts_has(o, "backend") ? opts_get(o, "backend") : "";
    bool append = false;
    if (opts_get_bool(o, "logappend", &append, e) ||
        resolve_file(s, o, "logfile", "logfd", append, e))
        return -1;
    append = false;
    if (strcmp(backend, "file"))
        return 0;
    return opts_get_bool(o, "append", &append, e) ? -1
                                                  : resolve_file(s, o, "path", "fd", append, e);
}
