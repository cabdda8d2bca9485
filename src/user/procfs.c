// Files of /proc that would describe the emulator: maps, cmdline, auxv, stat, cpuinfo, exe of the
// program itself, in every way a process may name itself. Their text is made when they are opened.
#include "base/buf.h"
#include "user/guest.h"
#include "user/host_call.h"
#include "user/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// ---- names ----

// The rest of the path behind /proc/self/, /proc/PID/ and the like; NULL: not about us.
static const char *own_file(const char *path)
{
    if (strncmp(path, "/proc/", 6))
        return NULL;
    path += 6;
    char *end;
    unsigned long pid = strtoul(path, &end, 10);
    if (!strncmp(path, "self/", 5))
        path += 5;
    else if (!strncmp(path, "thread-self/", 12))
        path += 12;
    else if (end > path && *end == '/' && pid == (unsigned long)HOST_DO(getpid, 0))
        path = end + 1;
    else
        return NULL;
    if (!strncmp(path, "task/", 5)) {
        const char *slash = strchr(path + 5, '/');
        return slash ? slash + 1 : NULL;
    }
    return path;
}

bool path_is_own_exe(const char *path)
{
    const char *f = own_file(path);
    return f && !strcmp(f, "exe");
}

// ---- contents ----

static void put_maps_line(struct user *u, char *line, struct buf *out)
{
    unsigned long long lo, hi;
    int rest = 0;
    uint64_t base = (uint64_t)(uintptr_t)u->mm.base;
    struct mm_area a;
    if (sscanf(line, "%llx-%llx %*4s %n", &lo, &hi, &rest) < 2 || !rest || lo < base ||
        lo - base >= u->mm.size)
        return;
    for (uint64_t at = lo - base, end = hi - base; at < end; at = a.end) {
        if (!mm_area_at(&u->mm, at, &a))
            return;
        a.start = MAX(a.start, lo - base);
        a.end = MIN(a.end, end);
        size_t from = out->len;
        unsigned long long off = 0;
        char tail[4096] = "";
        sscanf(line + rest, "%llx %4095[^\n]", &off, tail);
        bool has_file = strchr(tail, '/') != NULL;
        buf_printf(out, "%08llx-%08llx %c%c%c%c %08llx %s", (unsigned long long)a.start,
                   (unsigned long long)a.end, a.prot & PROT_READ ? 'r' : '-',
                   a.prot & PROT_WRITE ? 'w' : '-', a.prot & PROT_EXEC ? 'x' : '-',
                   a.shared ? 's' : 'p', has_file ? off + (a.start - (lo - base)) : 0, tail);
        const char *name = a.end == u->stack_high         ? "[stack]"
                           : a.start == u->sigreturn_code ? "[vdso]"
                           : a.start < u->mm.brk && a.end > u->mm.brk_start && a.anonymous
                               ? "[heap]"
                               : NULL;
        if (name && !has_file)
            buf_printf(out, "%*s%s", (int)MAX(1, 73 - (int)(out->len - from)), "", name);
        buf_printf(out, "\n");
    }
}

static void put_maps(struct thread *t, struct buf *out)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t cap = 0;
    while (f && getline(&line, &cap, f) > 0)
        put_maps_line(t->u, line, out);
    free(line);
    if (f)
        fclose(f);
}

static void put_memory(struct thread *t, uint64_t from, uint64_t to, struct buf *out)
{
    void *p = buf_grow(out, to - from);
    if (!guest_read(t, from, p, to - from))
        memset(p, 0, to - from);
}

static void put_cmdline(struct thread *t, struct buf *out)
{
    put_memory(t, t->u->arg_start, t->u->arg_end, out);
}

static void put_environ(struct thread *t, struct buf *out)
{
    put_memory(t, t->u->env_start, t->u->env_end, out);
}

static void put_auxv(struct thread *t, struct buf *out)
{
    put_memory(t, t->u->auxv, t->u->auxv + t->u->auxv_size, out);
}

// Field 28 is where the stack starts.
static void put_stat(struct thread *t, struct buf *out)
{
    char text[2048];
    int64_t fd =
        HOST_DO(openat, (uint64_t)AT_FDCWD, HOST_PTR("/proc/self/stat"), O_RDONLY | O_CLOEXEC);
    int64_t n = fd >= 0 ? HOST_DO(read, (uint64_t)fd, HOST_PTR(text), sizeof text - 1) : -1;
    if (fd >= 0)
        HOST_DO(close, (uint64_t)fd);
    if (n <= 0)
        return;
    text[n] = 0;
    char *p = strrchr(text, ')');
    if (!p)
        return;
    buf_put(out, text, (size_t)(p + 1 - text));
    unsigned field = 3;
    for (char *save, *w = strtok_r(p + 1, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
        if (field == 28)
            buf_printf(out, " %llu", (unsigned long long)t->u->stack_high);
        else
            buf_printf(out, " %s", field == 26 || field == 27 ? "0" : w);
        field++;
    }
    buf_printf(out, "\n");
}

static void put_cpuinfo(struct thread *t, struct buf *out)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0; i < n; i++) {
        buf_printf(out, "processor\t: %ld\n", i);
        t->u->abi->cpuinfo(t->env, out);
    }
}

static const struct {
    const char *name;
    bool whole; // a path of its own, not a process's
    void (*put)(struct thread *t, struct buf *out);
} files[] = {
    {"/proc/cpuinfo", true, put_cpuinfo},
    {"auxv", false, put_auxv},
    {"cmdline", false, put_cmdline},
    {"environ", false, put_environ},
    {"maps", false, put_maps},
    {"stat", false, put_stat},
};

static int as_file(struct buf *b, int flags)
{
    int64_t fd = HOST_DO(memfd_create, HOST_PTR("proc"), flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    uint64_t n = b->len;
    if (fd >= 0 && ((n && HOST_DO(write, (uint64_t)fd, HOST_PTR(b->data), n) != (int64_t)n) ||
                    HOST_DO(lseek, (uint64_t)fd, 0, SEEK_SET))) {
        HOST_DO(close, (uint64_t)fd);
        return -EIO;
    }
    return (int)fd;
}

int path_open_proc(struct thread *t, const char *path, int flags)
{
    if (strncmp(path, "/proc/", 6))
        return PATH_NOT_OURS;
    const char *own = own_file(path);
    if (own && !strcmp(own, "exe")) {
        return (int)HOST_DO(openat, (uint64_t)AT_FDCWD, HOST_PTR(t->u->exe), (uint64_t)flags);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
        const char *name = files[i].whole ? path : own;
        if (!name || strcmp(name, files[i].name))
            continue;
        if ((flags & O_ACCMODE) != O_RDONLY)
            return -EACCES;
        if (flags & O_DIRECTORY)
            return -ENOTDIR;
        struct buf b = {0};
        files[i].put(t, &b);
        int fd = as_file(&b, flags);
        buf_free(&b);
        return fd;
    }
    return PATH_NOT_OURS;
}
