#!/usr/bin/env python3
"""bench.py PROGRAM-DIR [--arch arm64|riscv64] [--peer DIR] [--older] [--runs N] [--only boot|idle|system|user|translate]: our speed as ratios beside the newest QEMU of Debian's suites, with --older
in user mode also beside that of Debian 13, and the host itself, in one run.

Each figure is the median over interleaved runs. `system` boots Debian's kernel with the benchmark set in its initramfs and runs every kernel there; `user` runs the same program
under user mode. Checksums must agree everywhere before a time counts. `idle` is a machine that has been made and not started: how long until its control socket greets, what it holds in memory. `translate` runs code once, so that next to all of the time is translation (arm64 alone). For riscv64 the set runs a second time in user mode with loops made into vector code, which wants clang.
"""
import argparse, math, os, re, resource, socket, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "user"), os.path.join(HERE, "..", "guests")]
import debian, guests
from machine import Machine

FLAGS = ["-O3", "-ffp-contract=off", "-static", "-Wall"]
LINE = re.compile(r"kernel (\S+) (\S+) (\d+) ([0-9a-f]{16})")


class Arch:
    """What a guest architecture differs in."""

    def __init__(self, name, cpu, triple, machine, console):
        self.name, self.cpu, self.triple, self.machine, self.console = name, cpu, triple, machine, console
        self.system, self.user = "qemu-system-" + cpu, "qemu-" + cpu


ARCHES = {"arm64": Arch("arm64", "aarch64", "aarch64-linux-gnu", ["-M", "virt,gic-version=3", "-cpu", "cortex-a72"], "ttyAMA0"),
          "riscv64": Arch("riscv64", "riscv64", "riscv64-linux-gnu", ["-M", "virt", "-cpu", "max"], "ttyS0")}


def stale(out, source):
    return not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source)


def compiled(build, compiler, name):
    out = os.path.join(build, "bench-" + name)
    source = os.path.join(HERE, "kernels.c")
    if stale(out, source):
        subprocess.run([compiler] + FLAGS + ["-o", out, source, "-lm"], check=True)
    return out


def compiled_vector(build):
    """RISC-V vector code: the cross gcc of Debian 12 makes none, clang does; gcc links it."""
    out = os.path.join(build, "bench-riscv64-vector")
    source = os.path.join(HERE, "kernels.c")
    if stale(out, source):
        subprocess.run(["clang", "--target=riscv64-linux-gnu", "-march=rv64gcv", "-mllvm", "-riscv-v-vector-bits-min=128", "-isystem", "/usr/riscv64-linux-gnu/include"] +
                       FLAGS[:2] + ["-c", "-o", out + ".o", source], check=True)
        subprocess.run(["riscv64-linux-gnu-gcc", "-static", "-o", out, out + ".o", "-lm"], check=True)
    return out


def kernels(text):
    return {m[2]: (m[1], int(m[3]), m[4]) for m in LINE.finditer(text)}


def geomean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else float("nan")


class Peer:
    """QEMU out of a folder with its own libraries."""

    def __init__(self, folder):
        self.folder = folder

    def command(self, name):
        lib = os.path.join(self.folder, "usr/lib/x86_64-linux-gnu")
        loader = next(p for p in (lib + "/ld-linux-x86-64.so.2", self.folder + "/lib64/ld-linux-x86-64.so.2") if os.path.exists(p))
        paths = [lib] + [os.path.join(lib, d) for d in sorted(os.listdir(lib)) if os.path.isdir(os.path.join(lib, d))]
        return [loader, "--library-path", ":".join(paths), os.path.join(self.folder, "usr/bin", name)]

    def system_args(self):
        return ["-L", os.path.join(self.folder, "usr/share/qemu")]

    def version(self):
        text = subprocess.run(self.command("qemu-img") + ["--version"], capture_output=True, text=True).stdout
        return text.split("\n")[0]


def boot(arch, command, extra, initrd, smp, timeout=300):
    """Seconds to the marker, and everything printed up to power-off."""
    args = command + arch.machine + ["-smp", str(smp), "-m", "512", "-nographic", "-nic", "none", "-no-reboot",
                                     "-kernel", guests.kernel(arch.name), "-initrd", initrd, "-append", "console=%s quiet panic=-1" % arch.console] + extra
    with Machine(args) as m:
        m.expect(guests.MARKER, timeout)
        took = time.monotonic() - m.started
        m.wait(timeout)
        return took, m.out.decode(errors="replace")


def bench_boot(arch, contenders, runs):
    """To the marker by the clock, which a busy machine stretches; and CPU time to power-off, which it hardly does."""
    for smp in (1, 2):
        times, cpu = ({name: [] for name, _, _ in contenders} for _ in range(2))
        initrd = guests.initrd(arch.name)
        for _ in range(runs):
            for name, command, extra in contenders:
                before = children_ms()
                times[name].append(boot(arch, command, extra, initrd, smp)[0])
                cpu[name].append((children_ms() - before) / 1e3)
        for what, figures in (("boot to marker", times), ("boot to power-off, CPU time", cpu)):
            base = statistics.median(figures[contenders[0][0]])
            print("%s, %d vCPU: " % (what, smp) + ", ".join("%s %.2f s" % (n, statistics.median(t)) for n, t in figures.items()) +
                  "".join("; %s takes %.2fx ours" % (n, statistics.median(t) / base) for n, t in list(figures.items())[1:]))


def table(title, native, results):
    """results: name -> kernel -> (class, ns, checksum); the first is ours. A ratio says how much longer another takes."""
    names = list(results)
    head = ["%s / %s" % (n, names[0]) for n in names[1:]]
    print("\n%s\n%-12s %-10s %10s" % (title, "kernel", "class", "native ms") + "".join("%14s" % n for n in names) + "".join("%18s" % h for h in head) + "%12s" % "of native")
    classes, bad = {}, []
    for k, (cls, ns, sum_) in native.items():
        row = [results[n].get(k) for n in names]
        if any(r is None for r in row):
            bad.append(k + " is missing")
            continue
        wrong = [n for n, r in zip(names, row) if r[2] != sum_]
        if wrong:
            bad.append("%s: checksum of %s differs" % (k, ", ".join(wrong)))
        ratios = [r[1] / row[0][1] for r in row[1:]]
        share = ns / row[0][1]
        print("%-12s %-10s %10.2f" % (k, cls, ns / 1e6) + "".join("%14.2f" % (r[1] / 1e6) for r in row) + "".join("%17.2fx" % r for r in ratios) + "%11.0f%%" % (100 * share))
        classes.setdefault(cls, []).append((ratios, share))
    for cls, v in list(classes.items()) + [("all", [x for c in classes.values() for x in c])]:
        means = [geomean([ratios[i] for ratios, _ in v]) for i in range(len(names) - 1)]
        print("%-34s" % ("geomean " + cls) + " " * 14 * len(names) + "".join("%17.2fx" % m for m in means) + "%11.0f%%" % (100 * geomean([s for _, s in v])))
    for b in bad:
        print("WRONG: " + b)
    return not bad


def medians(lists):
    out = {}
    for k in lists[0]:
        rows = [l[k] for l in lists if k in l]
        out[k] = (rows[0][0], int(statistics.median(r[1] for r in rows)), rows[0][2])
    return out


def bench_system(arch, build, contenders, native, runs, pattern):
    binary = compiled(build, arch.triple + "-gcc", arch.cpu)
    script = "echo %s\n/bench '%s'" % (guests.MARKER, pattern)
    initrd = guests.initrd(arch.name, script, [("bench", 0o100755, open(binary, "rb").read())], "bench")
    got = {name: [] for name, _, _ in contenders}
    for _ in range(runs):
        for name, command, extra in contenders:
            got[name].append(kernels(boot(arch, command, extra, initrd, 1, 900)[1]))
    return table("inside the guest (1 vCPU)", native, {n: medians(v) for n, v in got.items()})


def bench_user(title, binary, contenders, native, runs, pattern):
    got = {name: [] for name, _ in contenders}
    for _ in range(runs):
        for name, command in contenders:
            got[name].append(kernels(subprocess.run(command + [binary, pattern], capture_output=True, text=True).stdout))
    return table(title, native, {n: medians(v) for n, v in got.items()})


def children_ms():
    """User and system time of all that ended so far."""
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (r.ru_utime + r.ru_stime)


def cpu_ms(command):
    """User and system time of a run that must succeed."""
    before = children_ms()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return children_ms() - before


def bench_start(arch, build, contenders, runs):
    """What it costs to start a program that prints a line: CPU time."""
    source = os.path.join(build, "bench-hello.c")
    with open(source, "w") as f:
        f.write("#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n")
    print("\nstart of hello-world, ms of CPU: median of %d" % (runs * 7))
    for kind, flags in (("static", ["-static"]), ("dynamic", [])):
        binary = os.path.join(build, "bench-hello-" + kind)
        subprocess.run([arch.triple + "-gcc", "-O2", "-o", binary, source] + flags, check=True)
        times = {name: [] for name, _ in contenders}
        for _ in range(runs * 7):
            for name, command in contenders:
                times[name].append(cpu_ms(command + ["-L", "/usr/" + arch.triple, binary]))
        print("%-8s" % kind + "".join("%14s %6.1f" % (n, statistics.median(t)) for n, t in times.items()))


def idle_machine(command, socket_path):
    """A paused machine: seconds and CPU ms until QMP greets, MiB resident of its own (guest RAM is untouched)."""
    began = time.monotonic()
    with subprocess.Popen(command + ["-m", "512", "-S", "-display", "none", "-nodefaults", "-qmp", "unix:%s,server=on,wait=off" % socket_path]) as process:
        with socket.socket(socket.AF_UNIX) as s:
            while s.connect_ex(socket_path):
                time.sleep(0.0005)
            greeted = s.recv(4096)
            took = time.monotonic() - began
            fields = open("/proc/%d/stat" % process.pid).read().rsplit(")", 1)[1].split()
            private = sum(int(n) for n in re.findall(r"^Private_\S+:\s+(\d+)", open("/proc/%d/smaps_rollup" % process.pid).read(), re.M))
            s.sendall(b'{"execute": "qmp_capabilities"}{"execute": "quit"}')
            while s.recv(4096):
                pass
            assert b"QMP" in greeted
    os.path.exists(socket_path) and os.unlink(socket_path)
    return 1e3 * took, 1e3 * sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK"), private / 1024


def bench_idle(arch, contenders, runs):
    print("\na machine of 512 MiB, made and not started: median of %d\n%-10s%18s%12s%22s" % (runs * 5, "", "QMP greets, ms", "CPU, ms", "private memory, MiB"))
    figures = {name: [] for name, _, _ in contenders}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs * 5):
            for name, command, extra in contenders:
                figures[name].append(idle_machine(command + extra + arch.machine, folder + "/qmp"))
    for name, rows in figures.items():
        print("%-10s%18.1f%12.1f%22.1f" % ((name,) + tuple(statistics.median(r[k] for r in rows) for k in range(3))))


def interleaved(contenders, args, runs):
    """name -> median of CPU time in ms."""
    times = {name: [] for name, _ in contenders}
    for _ in range(runs):
        for name, command in contenders:
            times[name].append(cpu_ms(command + args))
    return {name: statistics.median(t) for name, t in times.items()}


def row(title, unit, figures):
    base = next(iter(figures.values()))
    print("%-34s" % title + "".join("%14.1f" % v for v in figures.values()) + " %-6s" % unit + "".join("%9.2fx" % (v / base) for v in list(figures.values())[1:]))


UNITS = 40000
STARTS = [["usr/bin/perl", "-MPOSIX", "-MData::Dumper", "-MMath::BigInt", "-e", "1"], ["usr/bin/python3", "-S", "-E", "-c", "import argparse, decimal, json"],
          ["usr/bin/git", "--version"], ["usr/bin/openssl", "version"], ["usr/bin/sqlite3", ":memory:", "select 1"]]


def bench_translate(build, contenders, runs):
    """Cold code, net of a program with next to none of it; then the start of large programs, less that of a small one."""
    source = os.path.join(HERE, "cold.S")
    for name, units in (("cold", UNITS), ("cold-empty", 1)):
        subprocess.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-DUNITS=%d" % units, "-o", os.path.join(build, "bench-" + name), source], check=True)
    cold = os.path.join(build, "bench-cold")
    symbols = subprocess.run(["aarch64-linux-gnu-nm", cold], capture_output=True, text=True, check=True).stdout
    executed = int(re.search(r"^(\S+) A executed$", symbols, re.M)[1], 16)
    print("\ntranslation, CPU time: median of %d\n%-34s" % (runs * 3, "") + "".join("%14s" % n for n, _ in contenders))
    whole, empty = interleaved(contenders, [cold], runs * 3), interleaved(contenders, [cold + "-empty"], runs * 3)
    row("%d instructions, each once" % executed, "ns", {n: 1e6 * (whole[n] - empty[n]) / executed for n in whole})
    root = guests.root("arm64", debian.SMALL)
    small = interleaved(contenders, ["-L", root, os.path.join(root, "usr/bin/true")], runs * 3)
    for args in STARTS:
        took = interleaved(contenders, ["-L", root, os.path.join(root, args[0])] + args[1:], runs * 3)
        row(" ".join([os.path.basename(args[0])] + args[1:2]), "ms", {n: took[n] - small[n] for n in took})


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("build")
    p.add_argument("--arch", choices=sorted(ARCHES), default="arm64")
    p.add_argument("--peer", help="folder that peer.sh made")
    p.add_argument("--older", action="store_true", help="user mode: also Debian 13's")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--only", choices=("boot", "idle", "system", "user", "translate"))
    p.add_argument("--pattern", default="")
    a = p.parse_args()
    build = os.path.abspath(a.build)
    arch = ARCHES[a.arch]
    contenders = [("ours", [os.path.join(build, arch.system)], [])]
    users = [("ours", [os.path.join(build, arch.user)])]
    if a.peer:
        peer = Peer(os.path.abspath(a.peer))
        print("peer: " + peer.version())
        contenders.append(("qemu", peer.command(arch.system), peer.system_args()))
        users.append(("qemu", peer.command(arch.user)))
    if a.older:
        folder = guests.unpack("amd64", "qemu-user", "trixie")  # linked statically
        users.append(("qemu 10", [os.path.join(folder, "usr/bin", arch.user)]))
    native = {}
    if a.only in (None, "system", "user"):
        native_binary = compiled(build, "gcc", "native")
        native = medians([kernels(subprocess.run([native_binary, a.pattern], capture_output=True, text=True).stdout) for _ in range(a.runs)])
    ok = True
    if a.only in (None, "boot"):
        bench_boot(arch, contenders, a.runs)
    if a.only in (None, "idle"):
        bench_idle(arch, contenders, a.runs)
    if a.only in (None, "system"):
        ok &= bench_system(arch, build, contenders, native, a.runs, a.pattern)
    if a.only in (None, "user"):
        ok &= bench_user("user mode", compiled(build, arch.triple + "-gcc", arch.cpu), users, native, a.runs, a.pattern)
        if arch.name == "riscv64":
            ok &= bench_user("user mode, vector code", compiled_vector(build), [(n, c + ["-cpu", "max"]) for n, c in users], native, a.runs, a.pattern)
        bench_start(arch, build, users, a.runs)
    if a.only in (None, "translate") and arch.name == "arm64":
        bench_translate(build, users, a.runs)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
