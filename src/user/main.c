// `myna user`, `qemu-aarch64` and the like: options as QEMU's users know them, and the start of the
// program. Each option may also come from an environment variable.
#include "base/err.h"
#include "base/log.h"
#include "user/debug/debug.h"
#include "user/main.h"
#include "user/path.h"
#include "user/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 1024, FAILED = 1, NOT_FOUND = 127, NOT_RUNNABLE = 126 };

#define ABI(s) extern const struct abi s;
#include "user/abi/abis.def"
#undef ABI
const struct abi *const abis[] = {
#define ABI(s) &s,
#include "user/abi/abis.def"
#undef ABI
    NULL,
};

struct start {
    struct user *u;
    const char *isa;
    VEC(char *) env;
    bool done; // -version, -h
};

// ---- environment ----

static void env_set(struct start *s, char *assignment)
{
    size_t n = strcspn(assignment, "=");
    for (size_t i = 0; i < s->env.len; i++)
        if (!strncmp(s->env.data[i], assignment, n) && s->env.data[i][n] == '=') {
            s->env.data[i] = assignment;
            return;
        }
    vec_push(&s->env, assignment);
}

static void env_unset(struct start *s, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = s->env.len; i-- > 0;)
        if (!strncmp(s->env.data[i], name, n) && s->env.data[i][n] == '=')
            vec_remove(&s->env, i);
}

// A comma-separated list; for QEMU_SET_ENV and QEMU_UNSET_ENV.
static void env_each(struct start *s, const char *list, bool set)
{
    char *copy = xstrdup(list), *save;
    for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save))
        if (set)
            env_set(s, xstrdup(w));
        else
            env_unset(s, w);
    free(copy);
}

// ---- options ----

static int opt_prefix(struct start *s, const char *v, struct err *e)
{
    s->u->opt.prefix = v;
    return 0;
}
static int opt_argv0(struct start *s, const char *v, struct err *e)
{
    s->u->opt.argv0 = v;
    return 0;
}
static int opt_cpu(struct start *s, const char *v, struct err *e)
{
    const struct isa *isa = isa_find(s->isa);
    if (strcmp(v, "help") && strcmp(v, "?")) {
        s->u->opt.cpu = v;
        return 0;
    }
    for (unsigned i = 0; isa && isa->models[i].name; i++)
        printf("%-16s %s\n", isa->models[i].name, isa->models[i].desc);
    s->done = true;
    return 0;
}
static int opt_set_env(struct start *s, const char *v, struct err *e)
{
    if (!strchr(v, '='))
        return err_set(e, "-E %s: give NAME=VALUE", v);
    env_set(s, xstrdup(v));
    return 0;
}
static int opt_unset_env(struct start *s, const char *v, struct err *e)
{
    env_unset(s, v);
    return 0;
}
static int opt_set_envs(struct start *s, const char *v, struct err *e)
{
    env_each(s, v, true);
    return 0;
}
static int opt_unset_envs(struct start *s, const char *v, struct err *e)
{
    env_each(s, v, false);
    return 0;
}
static int opt_stack(struct start *s, const char *v, struct err *e)
{
    if (parse_size(v, 1, &s->u->opt.stack_size) || s->u->opt.stack_size < 128 * KiB ||
        s->u->opt.stack_size > 64 * GiB)
        return err_set(e, "-s %s: give a stack size from 128K to 64G, in bytes or with a suffix",
                       v);
    return 0;
}
static int opt_base(struct start *s, const char *v, struct err *e)
{
    if (parse_u64(v, &s->u->opt.base) || s->u->opt.base & 4095)
        return err_set(e, "-B %s: give the host address for guest address 0, a multiple of 4096",
                       v);
    s->u->opt.base_given = true;
    return 0;
}
static int opt_reserve(struct start *s, const char *v, struct err *e)
{
    if (parse_size(v, 1, &s->u->opt.reserve) || s->u->opt.reserve & 4095 ||
        s->u->opt.reserve > 1ull << 46)
        return err_set(e, "-R %s: give the size of the address space, a multiple of 4096", v);
    return 0;
}
static int opt_page(struct start *s, const char *v, struct err *e)
{
    uint64_t *p = &s->u->opt.page_size;
    if (parse_size(v, 1, p) || *p < 4096 || *p > 65536 || *p & (*p - 1))
        return err_set(e, "-p %s: give 4096, 8192, 16384, 32768 or 65536", v);
    return 0;
}
static int opt_release(struct start *s, const char *v, struct err *e)
{
    s->u->opt.release = v;
    return 0;
}
static int opt_debug(struct start *s, const char *v, struct err *e)
{
    s->u->opt.debug = v;
    if (strstr(v, "strace"))
        s->u->opt.strace = true;
    return log_set_mask(v, e);
}
static int opt_log_file(struct start *s, const char *v, struct err *e)
{
    return log_set_file(v, e);
}
static int opt_gdb(struct start *s, const char *v, struct err *e)
{
    s->u->opt.gdb = v;
    return 0;
}
static int opt_strace(struct start *s, const char *v, struct err *e)
{
    s->u->opt.strace = true;
    return 0;
}
static int opt_accel(struct start *s, const char *v, struct err *e)
{
    s->u->opt.accel = v;
    return 0;
}
static int opt_version(struct start *s, const char *v, struct err *e)
{
    printf("myna-%s version %s\n", s->isa, MYNA_VERSION);
    s->done = true;
    return 0;
}
static int opt_help(struct start *s, const char *v, struct err *e);

static const struct option {
    const char *name, *arg, *env;
    int (*set)(struct start *s, const char *v, struct err *e);
    const char *help;
} options[] = {
#define OPTION(name, arg, env, set, help) {name, arg, env, set, help},
#include "user/options.def"
#undef OPTION
};

static int opt_help(struct start *s, const char *v, struct err *e)
{
    printf("usage: myna user [OPTIONS] PROGRAM [ARGUMENTS]\n"
           "Run a Linux program built for %s.\n\n",
           s->isa);
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
        printf("  -%-16s %-12s %s%s%s%s\n", options[i].name, options[i].arg ? options[i].arg : "",
               options[i].help, options[i].env ? " (" : "", options[i].env ? options[i].env : "",
               options[i].env ? ")" : "");
    s->done = true;
    return 0;
}

static const struct option *find_option(const char *name, struct err *e)
{
    const char *names[ARRAY_SIZE(options) + 1] = {0};
    if (*name == '-' && name[1])
        name++;
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        names[i] = options[i].name;
        if (!strcmp(name, options[i].name))
            return &options[i];
    }
    err_set(e, "-%s: unknown option (-h lists them)", name);
    err_did_you_mean(e, name, names);
    return NULL;
}

// Index of the program in argv, argc when there is none; -1 with a line.
static int parse(struct start *s, int argc, char **argv, struct err *e)
{
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        const char *v = options[i].env ? getenv(options[i].env) : NULL;
        if (v && options[i].set(s, v, e))
            return err_prefix(e, "%s", options[i].env);
    }
    int i = 1;
    while (i < argc && argv[i][0] == '-' && argv[i][1] && !s->done) {
        if (!strcmp(argv[i], "--"))
            return i + 1;
        const struct option *o = find_option(argv[i] + 1, e);
        if (!o)
            return -1;
        const char *v = NULL;
        if (o->arg && !(v = argv[++i]))
            return err_set(e, "-%s: needs %s", o->name, o->arg);
        if (o->set(s, v, e))
            return -1;
        i++;
    }
    return i;
}

// ---- start ----

// Out of the way of the descriptors the program will use.
static int high_fd(int fd)
{
    if (fd < 0)
        return -1;
    struct rlimit l;
    int from = USER_OWN_FDS;
    if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < USER_OWN_FDS + 20)
        from = l.rlim_cur > 40 ? (int)l.rlim_cur - 20 : 3;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, from);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

// Our own executable. Where /proc is missing, exec.c's descriptor or the kernel's name for us.
static int open_self(void)
{
    const char *name = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    int fd;
    if (name && sscanf(name, "/dev/fd/%d", &fd) == 1 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
        return fd;
    fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (fd < 0 && name)
        fd = open(name, O_PATH | O_CLOEXEC);
    return high_fd(fd);
}

static void code_changed(void *opaque, uint64_t addr, uint64_t len)
{
    struct thread *t = user_self;
    if (t)
        t->env->exec->code_flush(t->env, addr, len);
}

// Called by translating threads, which hold the translator's lock: no more than a look.
static bool may_execute(void *opaque, uint64_t pc)
{
    struct user *u = opaque;
    struct mm_area a;
    return mm_area_at(&u->mm, pc, &a) && a.prot & 4;
}

static void fetch_refused(void *opaque, struct env *e)
{
    user_self->fetch_fault = true;
}

static int setup(struct start *s, struct err *e)
{
    struct user *u = s->u;
    for (unsigned i = 0; abis[i]; i++)
        if (!strcmp(abis[i]->isa, s->isa))
            u->abi = abis[i];
    u->isa = isa_find(s->isa);
    BUG_ON(!u->abi || !u->isa);
    layouts_make(&u->layouts, &u->abi->data, u->isa->big_endian);
    if (!u->opt.prefix && access(u->abi->library_prefix, F_OK) == 0)
        u->opt.prefix = u->abi->library_prefix;
    u->fds.prefix = -1;
    if (u->opt.prefix && strcmp(u->opt.prefix, "/"))
        u->fds.prefix = high_fd(open(u->opt.prefix, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (u->abi->space && u->opt.reserve > u->abi->space)
        return err_set(e, "-R: the address space of %s has no more than %llu GiB", s->isa,
                       (unsigned long long)(u->abi->space / GiB));
    uint64_t space = u->opt.reserve ? u->opt.reserve : u->abi->space;
    if (mm_init(&u->mm, u->opt.base, u->opt.base_given, space, u->opt.page_size, e))
        return -1;
    u->mm.code_changed = code_changed;
    u->mm.map_file = proxy_map_file;
    struct opts accel = {0};
    if (opts_parse(&accel, u->opt.accel ? u->opt.accel : "dbt", "accel", e))
        return -1;
    const struct dbt_user du = {
        .base = u->mm.base, .may_execute = may_execute, .refused = fetch_refused, .opaque = u};
    u->accel = dbt_open_user(u->isa, MAX_THREADS, &du, &accel, e);
    opts_free(&accel);
    u->max_threads = MAX_THREADS;
    u->threads = xcalloc(MAX_THREADS, sizeof(struct thread *));
    pthread_mutex_init(&u->threads_lock, NULL);
    return u->accel ? 0 : -1;
}

// Started by binfmt_misc with flag P, which the kernel tells in AT_FLAGS (since 5.12) and Debian by
// our name: the words are our name, the program's path, its own argv[0], its arguments.
static bool keeps_argv0(const char *name)
{
    const unsigned long preserve_argv0 = 1; // AT_FLAGS_PRESERVE_ARGV0 of linux/binfmts.h
    static const char suffix[] = "-binfmt-P";
    size_t n = strlen(name), k = sizeof suffix - 1;
    return getauxval(AT_FLAGS) & preserve_argv0 || (n > k && !strcmp(name + n - k, suffix));
}

// The program as binfmt_misc's flag O opened it for us, which may be the only way to it; -1.
static int program_of_kernel(void)
{
    errno = 0;
    unsigned long fd = getauxval(AT_EXECFD);
    return errno || fcntl((int)fd, F_SETFD, FD_CLOEXEC) ? -1 : (int)fd;
}

static int open_program(struct user *u, const char *name, int *status, struct err *e)
{
    char found[4096];
    path_lookup(u, name, found, sizeof found, true);
    int fd = program_of_kernel();
    if (fd < 0)
        fd = open(found, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *status = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : NOT_RUNNABLE;
        return err_errno(e, errno, "%s", name);
    }
    u->exe = realpath(found, NULL);
    if (!u->exe)
        u->exe = xstrdup(found);
    return fd;
}

// Maps the program and makes its first thread. NULL with a line, and *status for a shell.
static struct thread *load(struct user *u, char **argv, int *status, struct err *e)
{
    struct image im;
    int fd = open_program(u, argv[0], status, e);
    if (fd < 0)
        return NULL;
    int r = stack_map(u, e) || elf_load(u, fd, argv[0], &im, status, e);
    close(fd);
    if (!r)
        *status = FAILED;
    struct thread *t = r ? NULL : thread_new(u, e);
    if (!t)
        return NULL;
    if (u->opt.argv0)
        argv[0] = (char *)(uintptr_t)u->opt.argv0;
    uint64_t sp = stack_build(u, &im, argv, u->opt.env, t->env, e);
    if (!sp)
        return NULL;
    t->is_main = true;
    t->sighand = xalloc(sizeof *t->sighand);
    u->abi->start(t->env, im.entry, sp);
    const char *slash = strrchr(u->exe, '/');
    prctl(PR_SET_NAME, slash ? slash + 1 : u->exe);
    return t;
}

static void read_limits(struct user *u)
{
    for (unsigned i = 0; i < ARRAY_SIZE(u->limits); i++)
        syscall(SYS_prlimit64, 0, i, NULL, &u->limits[i]);
    u->limits[RLIMIT_STACK].soft = u->opt.stack_size;
}

static int fail(const struct err *e, int status)
{
    log_error("%s", e->msg);
    return status;
}

// "/usr/bin/qemu-aarch64-static", "aarch64-binfmt-P": aarch64. The name becomes ours for programs
// run later.
static int guest_from_name(struct start *s, const char *argv0, struct err *e)
{
    const char *known[ARRAY_SIZE(abis)] = {0};
    char name[32];
    const char *slash = strrchr(argv0, '/'), *base = slash ? slash + 1 : argv0;
    const char *arch = !strncmp(base, "qemu-", 5) ? base + 5
                       : strstr(base, "-binfmt")  ? base
                                                  : "aarch64";
    snprintf(name, sizeof name, "%s", arch);
    name[strcspn(name, "-")] = 0;
    for (unsigned i = 0; abis[i]; i++) {
        known[i] = abis[i]->isa;
        if (!strcmp(abis[i]->isa, name)) {
            s->isa = abis[i]->isa;
            s->u->personality_name = xasprintf("qemu-%s", name);
            return 0;
        }
    }
    err_set(e, "no guest CPU '%s' for user mode", name);
    return err_did_you_mean(e, name, known);
}

int user_main(int argc, char **argv)
{
    struct err e = {0};
    struct user *u = xalloc(sizeof *u);
    struct start s = {.u = u};
    int status = FAILED;
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    log_set_name(strcmp(name, "user") ? name : "myna user");
    if (guest_from_name(&s, argv[0], &e))
        return fail(&e, FAILED);
    u->opt.stack_size = 8 * MiB;
    u->opt.page_size = 4096;
    u->fds.log = -1;
    for (char **p = environ; *p; p++)
        vec_push(&s.env, *p);
    bool by_kernel = argc > 2 && keeps_argv0(argv[0]);
    int first = parse(&s, by_kernel ? 1 : argc, argv, &e);
    if (by_kernel) {
        u->opt.argv0 = argv[2];
        argv[2] = argv[1];
        first = 2;
    }
    if (first < 0)
        return fail(&e, FAILED);
    if (s.done)
        return 0;
    if (first >= argc) {
        err_set(&e, "no program given (-h for help)");
        return fail(&e, FAILED);
    }
    vec_push(&s.env, NULL);
    u->opt.env = s.env.data;
    if (setup(&s, &e))
        return fail(&e, FAILED);
    u->fds.self = open_self();
    read_limits(u);
    struct thread *t = load(u, argv + first, &status, &e);
    if (!t)
        return fail(&e, status);
    user_self = t;
    u->accel->ops->thread_enter(u->accel, t->env);
    signal_take_faults();
    t->tid = u->pid = getpid();
    if (u->opt.gdb && debug_open(u, u->opt.gdb, &e))
        return fail(&e, FAILED);
    signal_init(u, t);
    thread_run(t);
}
