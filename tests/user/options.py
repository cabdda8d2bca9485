#!/usr/bin/env python3
"""options.py EMULATOR COMPILER WORK-DIR: every option and environment variable of user mode, what a program sees of itself, and how it dies."""
import os, re, signal, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
emulator, compiler, work = os.path.abspath(sys.argv[1]), sys.argv[2], os.path.abspath(sys.argv[3])
arch = os.path.basename(compiler).split("-")[0]
os.makedirs(work, exist_ok=True)
failed = count = 0


def build(name, *flags):
    out = os.path.join(work, name)
    subprocess.run([compiler, "-D_GNU_SOURCE", "-O1", "-w", "-pthread", "-o", out, os.path.join(HERE, "programs", "probe.c"), *flags], check=True)
    return out


static, dynamic = build("probe", "-static"), build("probe-dynamic")


def run(*args, program=static, env={}, before=()):
    return subprocess.run([*before, emulator, *(args[0] if args and isinstance(args[0], list) else []), program,
                           *(args[1:] if args and isinstance(args[0], list) else args)], capture_output=True, text=True, timeout=600,
                          env=dict({"PATH": os.environ["PATH"], "HOME": "/"}, **env), cwd=work)


def bare(*args, env={}):
    return subprocess.run([emulator, *args], capture_output=True, text=True, timeout=600, env=dict({"PATH": os.environ["PATH"]}, **env))


def check(name, ok, r):
    global failed, count
    count += 1
    failed += not ok
    print("%s %d - %s" % ("ok" if ok else "not ok", count, name), flush=True)
    if not ok:
        print("# status %d\n# %s\n# %s" % (r.returncode, r.stdout[-600:].replace("\n", "\n# "), r.stderr[-600:].replace("\n", "\n# ")))


def says(name, want, r):
    check(name, r.stdout == want and r.returncode == 0 and not r.stderr, r)


def refused(name, pattern, r):
    check(name, r.returncode == 1 and r.stderr.count("\n") == 1 and re.search(pattern, r.stderr), r)


# ---- options, and the variable that stands for each ----
says("arguments", static + "\nargv\na b\n\n--c\n", run("argv", "a b", "", "--c"))
says("-0", "other\nargv\n", run(["-0", "other"], "argv"))
says("QEMU_ARGV0", "other\nargv\n", run("argv", env={"QEMU_ARGV0": "other"}))
says("-E", "x=y\n", run(["-E", "MYNA_A=x=y"], "env", "MYNA_A"))
says("-U", "unset\n", run(["-U", "MYNA_B"], "env", "MYNA_B", env={"MYNA_B": "1"}))
says("QEMU_SET_ENV", "2\n", run("env", "MYNA_D", env={"QEMU_SET_ENV": "MYNA_C=1,MYNA_D=2"}))
says("QEMU_UNSET_ENV", "unset\n", run("env", "MYNA_D", env={"QEMU_UNSET_ENV": "MYNA_C,MYNA_D", "MYNA_D": "2"}))
says("environment passes", "v\n", run("env", "MYNA_E", env={"MYNA_E": "v"}))
refused("-E without a value", "NAME=VALUE", run(["-E", "MYNA_A"], "argv"))
says("-r", arch + " 9.8.7-x\n", run(["-r", "9.8.7-x"], "uname"))
says("QEMU_UNAME", arch + " 9.8.7\n", run("uname", env={"QEMU_UNAME": "9.8.7"}))
says("-s", "3072\n", run(["-s", "3145728"], "stack"))
says("QEMU_STACK_SIZE", "2048\n", run("stack", env={"QEMU_STACK_SIZE": "2M"}))
refused("-s too small", "128K", run(["-s", "1000"], "stack"))
for size in ("4096", "16384", "65536") if arch == "aarch64" else ("4096",):  # programs for RISC-V are aligned for 4096 alone
    says("-p " + size, size + " 0\n", run(["-p", size], "page"))
    says("-p %s, dynamic" % size, size + " 0\n", run(["-p", size], "page", program=dynamic))
    says("QEMU_PAGESIZE " + size, size + " 0\n", run("page", env={"QEMU_PAGESIZE": size}))
refused("-p 5000", "65536", run(["-p", "5000"], "page"))
says("-R", "1\n", run(["-R", "0x40000000"], "address", "0x40000000"))
says("QEMU_RESERVED_VA", "1\n", run("address", "0x40000000", env={"QEMU_RESERVED_VA": "0x40000000"}))
refused("-R 1", "multiple of 4096", run(["-R", "1"], "argv"))
says("-B with -R", "1\n", run(["-B", "0x100000000000", "-R", "0x80000000"], "address", "0x80000000"))
says("QEMU_GUEST_BASE", "1\n", run("address", "0x80000000", env={"QEMU_GUEST_BASE": "0x100000000000", "QEMU_RESERVED_VA": "0x80000000"}))
refused("-B 5", "multiple of 4096", run(["-B", "5"], "argv"))
check("-cpu help", bare("-cpu", "help").stdout.count("\n") >= 1, bare("-cpu", "help"))
says("-cpu max", "1\n", run(["-cpu", "max"], "rseq"))
refused("-cpu nonsense", "nonsense", run(["-cpu", "nonsense"], "argv"))
refused("QEMU_CPU", "nonsense", run("argv", env={"QEMU_CPU": "nonsense"}))
if arch == "aarch64":
    one, other = run(["-cpu", "cortex-a53"], "hwcap"), run(["-cpu", "max"], "hwcap")
    check("-cpu decides AT_HWCAP", one.stdout != other.stdout and one.returncode == other.returncode == 0, one)
r = run(["-strace"], "uname")
check("-strace", re.search(r"^\d+ uname\(0x[0-9a-f]+\) = 0$", r.stderr, re.M) and re.search(r"write\(1,\".*\\n\",\d+\) = \d+", r.stderr) and r.stdout.startswith(arch), r)
r = run("uname", env={"QEMU_STRACE": "1"})
check("QEMU_STRACE", " uname(" in r.stderr, r)
log = os.path.join(work, "log")
r = run(["-d", "in_asm", "-D", log], "uname")
check("-d and -D", r.returncode == 0 and not r.stderr and "0x0" in open(log).read(), r)
r = run("uname", env={"QEMU_LOG": "in_asm", "QEMU_LOG_FILENAME": log + "2"})
check("QEMU_LOG and QEMU_LOG_FILENAME", r.returncode == 0 and not r.stderr and "0x0" in open(log + "2").read(), r)
refused("-d nonsense", "nonsense", run(["-d", "nonsense"], "argv"))
check("-version", bare("-version").stdout.startswith("myna-%s version " % arch) and bare("-version").returncode == 0, bare("-version"))
check("-h", "-strace" in bare("-h").stdout and bare("-h").returncode == 0, bare("-h"))
refused("an unknown option", "did you mean", bare("-strac", "x"))
refused("no program", "no program", bare())
prefix = "/usr/%s-linux-gnu" % arch
says("-L", "0\n", run(["-L", prefix], "address", "1", program=dynamic))
says("QEMU_LD_PREFIX", "0\n", run("address", "1", program=dynamic, env={"QEMU_LD_PREFIX": prefix}))
if work.split("/")[1] not in ("dev", "proc", "run", "sys", "tmp"):  # which are the host's, prefix or not
    for name in (work, os.path.join(work, "prefix") + work):  # the same folder, there and here
        os.makedirs(os.path.join(name, "either"), exist_ok=True)
        open(os.path.join(name, "either", "here" if name == work else "there"), "w").close()
    says("-L lists the prefix's folders", "there\n", run(["-L", os.path.join(work, "prefix")], "list", os.path.join(work, "either")))
    if os.geteuid() == 0:
        says("chroot / keeps -L", "there\n", run(["-L", os.path.join(work, "prefix")], "rooted", "/", os.path.join(work, "either")))
        os.makedirs(os.path.join(work, "alone", "here"), exist_ok=True)
        says("another root has none", "here\n", run(["-L", os.path.join(work, "prefix")], "rooted", os.path.join(work, "alone"), "/"))
        says("another root, in the prefix", "there\n", run(["-L", os.path.join(work, "prefix")], "rooted", work, "/either"))
r = run(["-L", "/nonexistent"], "argv", program=dynamic)
check("-L without a loader", r.returncode == 127 and "/nonexistent" in r.stderr and "-L" in r.stderr and "libc6-" in r.stderr, r)

# ---- what a program sees of itself ----
for name, program in (("static", static), ("dynamic", dynamic)):
    says("/proc/self/exe, " + name, program + "\n", run("exe", program=program))
    says("/proc/self/cmdline, " + name, "%s|file|/proc/self/cmdline|" % program, run("file", "/proc/self/cmdline", program=program))
    says("/proc/self/auxv, " + name, "1\n", run("auxv", program=program))
    r = run("file", "/proc/self/maps", program=program)
    check("/proc/self/maps, " + name, r.returncode == 0 and re.search(r"^[0-9a-f]+-[0-9a-f]+ r-xp .* %s$" % program, r.stdout, re.M) and "qemu" not in r.stdout and "myna" not in r.stdout.replace(program, ""), r)
r = run("file", "/proc/self/stat")
check("/proc/self/stat", r.returncode == 0 and r.stdout.split()[1] == "(probe)" and len(r.stdout.split()) >= 44, r)
r = run("file", "/proc/cpuinfo")
check("/proc/cpuinfo", ("CPU implementer" if arch == "aarch64" else "isa") in r.stdout, r)
says("exec of a foreign program", "%s\nargv\nz\n" % static, run("exec", static, "argv", "z"))
says("exec of a dynamic foreign program", "%s\nargv\n" % dynamic, run("exec", dynamic, "argv"))
says("exec of a native program", "native\n", run("exec", "/bin/echo", "native"))
script = os.path.join(work, "script")
with open(script, "w") as f:
    f.write("#!%s argv\n" % static)
os.chmod(script, 0o755)
says("exec of a script for a foreign program", "%s\nargv\n%s\nmore\n" % (static, script), run("exec", script, "more"))
r = run("exec", "/nonexistent")
check("exec of nothing", r.returncode == 0 and "No such file" in r.stderr, r)
says("options reach the next program", arch + " 5.5.5\n", run(["-r", "5.5.5"], "exec", static, "uname"))
says("robust mutex of a dead owner", "owner died\n", run("robust"))
says("rseq is answered", "1\n", run("rseq"))
says("rewritten code", "1225\n", run("rewritten"))

# ---- the end ----
for status in (0, 1, 77, 255):
    r = run("status", str(status))
    check("exit status %d" % status, r.returncode == status and not r.stderr, r)
for how, sig in (("read", "SEGV"), ("write", "SEGV"), ("jump", "SEGV"), ("illegal", "ILL"), ("overflow", "SEGV"), ("abort", "ABRT"), ("term", "TERM"), ("rt", None), ("bus", "BUS")):
    number = getattr(signal, "SIG" + sig) if sig else signal.SIGRTMIN + 3
    for name, program in (("static", static), ("dynamic", dynamic)):
        r = run(how, program=program)
        check("death by %s, %s" % (how, name), r.returncode == -number and "internal error" not in r.stderr, r)
    r = subprocess.run(["sh", "-c", '"$0" "$1" %s; echo $?' % how, emulator, static], capture_output=True, text=True, timeout=600)
    check("a shell sees 128 + %d" % number, r.stdout.split("\n")[-2] == str(128 + number), r)
print("1..%d" % count)
sys.exit(failed != 0)
