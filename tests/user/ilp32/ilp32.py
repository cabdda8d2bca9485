#!/usr/bin/env python3
"""ilp32.py EMULATOR COMPILER WORK-DIR: 32-bit programs without a C library (none is packaged for riscv32) under user mode.

The compiler is a 64-bit one that also makes 32-bit code; clang is a second one. Each program checks itself; what it finds under Debian's
QEMU is printed for comparison. The calls are made natively, too, by a 32-bit program for the host.
"""
import os, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
emulator, compiler, work = os.path.abspath(sys.argv[1]), sys.argv[2], os.path.abspath(sys.argv[3])
MACHINE = ["-march=rv32gc", "-mabi=ilp32d"]
LINK = ["-nostdlib", "-static"]
FLAGS = ["-std=gnu17", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
         "-isystem", "/usr/riscv64-linux-gnu/include"]
compilers = [("gcc", [compiler])] + ([("clang", ["clang", "--target=riscv32-linux-gnu"])] if shutil.which("clang") else [])
number, failed = 0, 0


def run(*command):
    return subprocess.run(list(command), capture_output=True, text=True, timeout=900, cwd=work)


def build(command, level, name, out):
    """Compiled by command, linked by gcc."""
    objects = []
    for source in (name, "bare"):
        objects.append("%s-%s.o" % (out, source))
        p = run(*command, *MACHINE, *FLAGS, level, "-c", "-o", objects[-1], os.path.join(HERE, source + ".c"))
        if p.returncode:
            return p
    return run(compiler, *MACHINE, *LINK, "-o", out, *objects)


def report(ok, what, p):
    global number, failed
    number += 1
    failed += not ok
    print("%sok %d - %s" % ("" if ok else "not ", number, what), flush=True)
    if not ok:
        print("# status %d\n# %s" % (p.returncode, (p.stdout + p.stderr).replace("\n", "\n# ")))


os.makedirs(work, exist_ok=True)
for name in ("calls", "signals"):
    for cc, command in compilers:
        for level in ("-O0", "-O2"):
            out = os.path.join(work, "%s-%s%s" % (name, cc, level))
            p = build(command, level, name, out)
            if p.returncode:
                report(False, "%s, built by %s %s" % (name, cc, level), p)
                continue
            for options in ([], ["-accel", "dbt,verify=on"]):
                p = run(emulator, *options, out)
                report(p.returncode == 0 and "verify:" not in p.stderr, " ".join([name, cc, level] + options), p)
program = os.path.join(work, "signals-gcc-O2")
for word, signal in (("segv", -11), ("illegal", -4)):
    p = run(emulator, program, word)
    report(p.returncode == signal, "dies by signal %d" % -signal, p)
p = run(emulator, "-strace", os.path.join(work, "calls-gcc-O2"))
report("pwrite64(3,\"far away\",8,5368709120) = 8" in p.stderr, "-strace shows a 64-bit argument as one", p)
p = run(emulator, "-R", "8G", program)
report(p.returncode == 1 and "-R" in p.stderr and p.stderr.count("\n") == 1, "no address space above 4 GiB", p)
subprocess.run([compiler] + LINK + ["-o", os.path.join(work, "wide"), os.path.join(HERE, "wide.c")], check=True)
p = run(emulator, os.path.join(work, "wide"))
report(p.returncode == 126 and "64-bit" in p.stderr, "a 64-bit program is none for this CPU", p)
p = run(emulator.replace("riscv32", "riscv64"), program)
report(p.returncode == 126 and "32-bit" in p.stderr, "and a 32-bit one is none for riscv64", p)
p = run(emulator, "-cpu", "rv64", program)
report(p.returncode == 1 and "rv64" in p.stderr, "-cpu rv64", p)
# What the host's kernel says to the same calls of its own 32-bit programs: is it the test that is wrong?
if os.uname().machine == "x86_64":
    native = os.path.join(work, "calls-native")
    p = run("gcc", "-m32", *LINK, *(f for f in FLAGS if "riscv64" not in f and f != "-isystem"), "-I/usr/include/x86_64-linux-gnu", "-O1", "-o", native,
            os.path.join(HERE, "calls.c"), os.path.join(HERE, "bare.c"))
    if p.returncode:
        report(False, "the same calls natively", p)
    else:
        try:
            p = run(native)
            report(p.returncode == 0, "the same calls natively", p)
        except OSError as e:
            print("ok %d - the same calls natively # SKIP %s" % (number + 1, e))
            number += 1
peer = shutil.which("qemu-riscv32-static")
for name in ("calls", "signals") if peer else ():
    p = run(peer, os.path.join(work, name + "-gcc-O2"))
    print("# under %s, %s: %d differences" % (run(peer, "--version").stdout.split("\n")[0], name, p.stdout.count(".c:")))
print("1..%d" % number)
sys.exit(failed != 0)
