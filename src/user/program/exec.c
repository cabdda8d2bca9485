// execve. A program for the guest's architecture is run by executing ourselves again with its path;
// a script by its interpreter; anything else (a program for the host) as it is. What decides is the
// file's first bytes, read here, so that it works without binfmt_misc.
#include "user/calls.h"
#include "user/debug/debug.h"
#include "user/path.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_ARGS = 1 << 20, DEPTH = 4, HEAD = 256 };

struct exec_request {
    struct thread *t;
    int dirfd, flags;
    char path[4096];  // as the host opens it
    char name[4096];  // as the program named it
    VEC(char *) argv; // host pointers
    VEC(char *) env;
    VEC(char *) owned;
    struct words {
        char **data;
        size_t len, cap;
    } words; // our own command line
};

static int64_t read_strings(struct thread *t, uint64_t addr, struct exec_request *r, bool env)
{
    for (unsigned n = 0; addr && n < MOST_ARGS; n++) {
        uint64_t at;
        if (!word_read(t, addr + (uint64_t)n * t->u->abi->data.long_size, &at))
            return -EFAULT;
        if (!at)
            return 0;
        if (env)
            vec_push(&r->env, guest_ptr(t, at));
        else
            vec_push(&r->argv, guest_ptr(t, at));
    }
    return addr ? -E2BIG : 0;
}

static char *own(struct exec_request *r, char *text)
{
    vec_push(&r->owned, text);
    return text;
}

// ---- what kind of file ----

// By the effective user's rights, for which old kernels have no call.
static bool may_execute(struct exec_request *r)
{
    int64_t e = HOST_DO(faccessat2, (uint64_t)r->dirfd, HOST_PTR(r->path), X_OK, AT_EACCESS);
    if (e == -ENOSYS)
        e = HOST_DO(faccessat, (uint64_t)r->dirfd, HOST_PTR(r->path), X_OK);
    return !e;
}

// Its first bytes, if it may be executed at all. The number read, or a negative errno.
static int64_t read_head(struct exec_request *r, char head[HEAD + 1])
{
    struct stat st;
    bool at_fd = r->flags & AT_EMPTY_PATH && !r->path[0];
    int flags = O_RDONLY | O_CLOEXEC | (r->flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0);
    int64_t fd =
        at_fd ? r->dirfd : HOST_DO(openat, (uint64_t)r->dirfd, HOST_PTR(r->path), (uint64_t)flags);
    if (fd < 0)
        return fd == -EACCES && may_execute(r) ? 0 : fd;
    int64_t n = HOST_DO(fstat, (uint64_t)fd, HOST_PTR(&st));
    if (!n && (!S_ISREG(st.st_mode) || (!at_fd && !may_execute(r))))
        n = -EACCES;
    else if (!n)
        n = HOST_DO(pread64, (uint64_t)fd, HOST_PTR(head), HEAD, 0);
    if (!at_fd)
        HOST_DO(close, (uint64_t)fd);
    if (n >= 0)
        head[n] = 0;
    return n;
}

static bool for_guest(const struct user *u, const char *head, int64_t n)
{
    const Elf64_Ehdr *eh = (const Elf64_Ehdr *)head;
    // Class, byte order and machine lie alike in both classes.
    return n >= (int64_t)sizeof(Elf32_Ehdr) && !memcmp(head, ELFMAG, 4) &&
           eh->e_machine == u->isa->elf_machine &&
           eh->e_ident[EI_CLASS] == (u->isa->elf64 ? ELFCLASS64 : ELFCLASS32) &&
           eh->e_ident[EI_DATA] == (u->isa->big_endian ? ELFDATA2MSB : ELFDATA2LSB);
}

// "#! interpreter [one argument]": the arguments become interpreter, argument, script, rest.
static int64_t follow_script(struct exec_request *r, char *head)
{
    char *end = strchr(head, '\n');
    if (end)
        *end = 0;
    char *p = head + 2 + strspn(head + 2, " \t");
    size_t n = strcspn(p, " \t");
    char *arg = p + n + strspn(p + n, " \t");
    for (size_t len = strlen(arg); len && strchr(" \t\r", arg[len - 1]) && arg[len - 1] != '\r';)
        arg[--len] = 0;
    if (!n)
        return -ENOEXEC;
    char *interp = own(r, strndup(p, n));
    char *script = own(r, xstrdup(r->name));
    char *extra = *arg ? own(r, xstrdup(arg)) : NULL;
    size_t add = extra ? 2 : 1;
    if (!r->argv.len)
        vec_push(&r->argv, interp);
    for (size_t i = 0; i < add; i++)
        vec_push(&r->argv, NULL);
    memmove(r->argv.data + add + 1, r->argv.data + 1,
            (r->argv.len - add - 1) * sizeof *r->argv.data);
    r->argv.data[0] = interp;
    if (extra)
        r->argv.data[1] = extra;
    r->argv.data[add] = script;
    snprintf(r->name, sizeof r->name, "%s", interp);
    path_lookup(r->t->u, interp, r->path, sizeof r->path, true);
    r->dirfd = AT_FDCWD;
    r->flags = 0;
    return 0;
}

// ---- running ourselves again ----

static void word(struct words *w, const char *text)
{
    vec_push(w, (char *)(uintptr_t)text);
}

static void own_options(struct exec_request *r)
{
    struct words *w = &r->words;
    const struct user_options *o = &r->t->u->opt;
    if (r->t->fds->prefix >= 0) { // not in a root of its own
        word(w, "-L");
        word(w, o->prefix);
    }
    if (o->cpu) {
        word(w, "-cpu");
        word(w, o->cpu);
    }
    if (o->release) {
        word(w, "-r");
        word(w, o->release);
    }
    if (o->debug) {
        word(w, "-d");
        word(w, o->debug);
    }
    if (o->accel) {
        word(w, "-accel");
        word(w, o->accel);
    }
    if (o->strace)
        word(w, "-strace");
    word(w, "-s");
    word(w, own(r, xasprintf("%llu", (unsigned long long)o->stack_size)));
}

// The program as a path that still means it in the new process.
static const char *program_path(struct exec_request *r)
{
    if (r->dirfd == AT_FDCWD || r->path[0] == '/')
        return r->path;
    if (!r->path[0])
        return own(r, xasprintf("/proc/self/fd/%d", r->dirfd));
    return own(r, xasprintf("/proc/self/fd/%d/%s", r->dirfd, r->path));
}

static int64_t run_ourselves(struct exec_request *r)
{
    struct thread *t = r->t;
    struct words *w = &r->words;
    w->len = 0;
    word(w, t->u->personality_name);
    own_options(r);
    char *debugger = debug_exec(t);
    if (debugger) {
        word(w, "-g");
        word(w, own(r, debugger));
    }
    word(w, "-0");
    word(w, r->argv.len ? r->argv.data[0] : "");
    word(w, program_path(r));
    for (size_t i = 1; i < r->argv.len; i++)
        word(w, r->argv.data[i]);
    word(w, NULL);
    // A program given by its descriptor: closed on exec for the program, but not before we have
    // read it.
    bool by_fd = r->flags & AT_EMPTY_PATH && !r->path[0];
    uint64_t fd = (uint64_t)r->dirfd, self = (uint64_t)t->fds->self;
    int64_t flags = by_fd ? HOST_DO(fcntl, fd, F_GETFD) : 0;
    if (by_fd)
        HOST_DO(fcntl, fd, F_SETFD, 0);
    // The descriptor tells the new process where to find its own executable (main.c).
    HOST_DO(fcntl, self, F_SETFD, 0);
    int64_t e = CALL_HOST(t, execveat, self, HOST_PTR(""), HOST_PTR(w->data), HOST_PTR(r->env.data),
                          AT_EMPTY_PATH);
    if (e == HOST_GONE) // the child of vfork is that program now
        return e;
    HOST_DO(fcntl, self, F_SETFD, FD_CLOEXEC);
    if (debugger)
        debug_exec_failed(t->u);
    if (by_fd)
        HOST_DO(fcntl, fd, F_SETFD, (uint64_t)flags);
    return e;
}

static int64_t run_as_it_is(struct exec_request *r)
{
    vec_push(&r->argv, NULL);
    return CALL_HOST(r->t, execveat, (uint64_t)r->dirfd, (uint64_t)(uintptr_t)r->path,
                     (uint64_t)(uintptr_t)r->argv.data, (uint64_t)(uintptr_t)r->env.data,
                     (uint64_t)r->flags);
}

static int64_t run(struct exec_request *r)
{
    for (unsigned depth = 0; depth <= DEPTH; depth++) {
        char head[HEAD + 1];
        int64_t n = read_head(r, head);
        if (n < 0)
            return n;
        bool foreign = for_guest(r->t->u, head, n) && r->t->fds->self >= 0;
        if (foreign || n < 2 || head[0] != '#' || head[1] != '!') {
            bool alone = !r->t->proxy; // else the memory stays the parent's
            if (alone)
                robust_suspend(r->t->u);
            int64_t e = foreign ? run_ourselves(r) : run_as_it_is(r);
            if (alone)
                robust_resume(r->t->u);
            return e;
        }
        int64_t e = follow_script(r, head);
        if (e)
            return e;
    }
    return -ELOOP;
}

static void release(struct exec_request *r)
{
    for (size_t i = 0; i < r->owned.len; i++)
        free(r->owned.data[i]);
    vec_free(&r->owned);
    vec_free(&r->argv);
    vec_free(&r->env);
    free(r->words.data);
    free(r);
}

int64_t exec_program(struct thread *t, int dirfd, const char *path, uint64_t argv, uint64_t env,
                     int flags)
{
    if (!path[0] && !(flags & AT_EMPTY_PATH))
        return -ENOENT;
    struct exec_request *r = xalloc(sizeof *r);
    r->t = t;
    r->dirfd = dirfd;
    r->flags = flags;
    snprintf(r->name, sizeof r->name, "%s", path);
    if (!path[0])
        snprintf(r->name, sizeof r->name, "/dev/fd/%d", dirfd);
    if (path_is_own_exe(path))
        snprintf(r->path, sizeof r->path, "%s", t->u->exe);
    else
        path_lookup(t->u, path, r->path, sizeof r->path, !(flags & AT_SYMLINK_NOFOLLOW));
    int64_t e = read_strings(t, argv, r, false);
    if (!e)
        e = read_strings(t, env, r, true);
    if (!e) {
        vec_push(&r->env, NULL);
        e = run(r);
    }
    release(r);
    return e;
}
