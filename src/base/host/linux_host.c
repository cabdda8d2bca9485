// Trying out what this Linux host allows: each probe does in small what the program would do.
#include "base/host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { IO_URING_PARAMS = 120, CAP_NET_ADMIN_BIT = 12 };

static void set(struct host_fact *f, enum host_state s, const char *advice, const char *fmt, ...)
    PRINTF(4, 5);
static void set(struct host_fact *f, enum host_state s, const char *advice, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    f->state = s;
    f->advice = advice;
}

// A file's first line; "" when it cannot be read.
static const char *line_of(const char *path, char *buf, size_t n)
{
    FILE *f = fopen(path, "r");
    buf[0] = 0;
    if (f && fgets(buf, (int)n, f))
        buf[strcspn(buf, "\n")] = 0;
    if (f)
        fclose(f);
    return buf;
}

static void probe_kvm(struct host_fact *f)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        set(f, HOST_NOTE,
            "turn virtualization on in the firmware and load the module kvm_intel or kvm_amd; "
            "guests of another architecture do not need it",
            "no /dev/kvm: guests are translated, not run by the processor");
    else if (fd < 0)
        set(f, HOST_NOTE, "add yourself to the group kvm (adduser NAME kvm) and log in again",
            "/dev/kvm: %s", strerror(errno));
    else if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        set(f, HOST_NOTE, "use a kernel with a current KVM", "/dev/kvm speaks another version");
    else
        set(f, HOST_OK, NULL, "usable; it serves guests of the host's own architecture");
    if (fd >= 0)
        close(fd);
}

// The code cache: one memory object, mapped writable here and executable there.
static void probe_code(struct host_fact *f)
{
    int fd = memfd_create("probe", MFD_CLOEXEC);
    void *p = MAP_FAILED;
    if (fd >= 0 && !ftruncate(fd, 4096))
        p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        set(f, HOST_PROBLEM,
            "allow executable mappings of memory files (SELinux: execmem; sandbox: memfd_create)",
            "cannot map code: %s", strerror(errno));
    else
        set(f, HOST_OK, NULL, "code can be made and run");
    if (p != MAP_FAILED)
        munmap(p, 4096);
    if (fd >= 0)
        close(fd);
}

static void probe_memory(struct host_fact *f)
{
    char line[128], mode[8];
    unsigned long long total = 0, available = 0, v;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemTotal: %llu", &v) == 1)
            total = v;
        if (sscanf(line, "MemAvailable: %llu", &v) == 1)
            available = v;
    }
    if (file)
        fclose(file);
    line_of("/proc/sys/vm/overcommit_memory", mode, sizeof mode);
    if (*mode == '2')
        set(f, HOST_NOTE, "set vm.overcommit_memory=0, or give guests less memory than is free",
            "%llu MiB free of %llu; the host promises no more than it has", available >> 10,
            total >> 10);
    else if (available >> 10 < 1024)
        set(f, HOST_NOTE, "use --memory (-m) below what is free, or end other programs",
            "%llu MiB free of %llu: less than a guest's usual 1 GiB", available >> 10, total >> 10);
    else
        set(f, HOST_OK, NULL, "%llu MiB free of %llu; a guest takes it as it touches it",
            available >> 10, total >> 10);
}

static void probe_hugepages(struct host_fact *f)
{
    char thp[128], pool[32];
    line_of("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof thp);
    line_of("/proc/sys/vm/nr_hugepages", pool, sizeof pool);
    if (strstr(thp, "[never]") || !*thp)
        set(f, HOST_NOTE,
            "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled: large guests run faster",
            "transparent huge pages are off; %s reserved", *pool ? pool : "0");
    else
        set(f, HOST_OK, NULL, "transparent: %s; %s reserved", thp, *pool ? pool : "0");
}

static void probe_uring(struct host_fact *f)
{
    char params[IO_URING_PARAMS] = {0};
    long fd = syscall(SYS_io_uring_setup, 4, params);
    if (fd < 0)
        set(f, HOST_NOTE, "set kernel.io_uring_disabled=0; disks work without it, by threads",
            "io_uring: %s", strerror(errno));
    else
        set(f, HOST_OK, NULL, "io_uring works");
    if (fd >= 0)
        close((int)fd);
}

static void probe_tap(struct host_fact *f)
{
    char line[128];
    unsigned long long effective = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "CapEff: %llx", &effective) == 1)
            break;
    if (file)
        fclose(file);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        set(f, HOST_NOTE, "load the module tun for -netdev tap; -netdev user needs nothing",
            "/dev/net/tun: %s", strerror(errno));
    else if (!(effective >> CAP_NET_ADMIN_BIT & 1))
        set(f, HOST_NOTE,
            "let root make the interface (ip tuntap add NAME mode tap user YOU) and name it with "
            "ifname=; -netdev user needs nothing",
            "/dev/net/tun is there, but making interfaces takes CAP_NET_ADMIN");
    else
        set(f, HOST_OK, NULL, "tap interfaces can be made");
    if (fd >= 0)
        close(fd);
}

static void probe_files(struct host_fact *f)
{
    struct rlimit r = {0};
    getrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_cur < 1024)
        set(f, HOST_NOTE, "raise it with ulimit -n", "%llu files at once: few for many back ends",
            (unsigned long long)r.rlim_cur);
    else
        set(f, HOST_OK, NULL, "%llu files at once", (unsigned long long)r.rlim_cur);
}

static void probe_sandbox(struct host_fact *f)
{
    char actions[128];
    line_of("/proc/sys/kernel/seccomp/actions_avail", actions, sizeof actions);
    if (*actions)
        set(f, HOST_OK, NULL, "-sandbox on can give up system calls (seccomp)");
    else
        set(f, HOST_NOTE, "start it under systemd-run, bubblewrap or libvirt to confine it",
            "kernel has no seccomp, which -sandbox on needs");
}

unsigned host_probe(struct host_fact *facts, unsigned max)
{
    static const struct {
        const char *name;
        void (*probe)(struct host_fact *f);
    } probes[] = {{"KVM", probe_kvm},          {"code cache", probe_code},
                  {"memory", probe_memory},    {"huge pages", probe_hugepages},
                  {"disk I/O", probe_uring},   {"tap network", probe_tap},
                  {"open files", probe_files}, {"sandbox", probe_sandbox}};
    unsigned n = 0;
    for (; n < ARRAY_SIZE(probes) && n < max; n++) {
        facts[n].name = probes[n].name;
        probes[n].probe(&facts[n]);
    }
    return n;
}
