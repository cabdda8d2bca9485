#!/usr/bin/env python3
"""ilp32.py EMULATOR COMPILER WORK-DIR: 32-bit programs without a C library (none is packaged for riscv32) under user mode.

The compiler is a 64-bit one that also makes 32-bit code; clang is a second one. Each program checks itself; what it finds under Debian's
QEMU is printed for comparison.
"""
import os, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
emulator, compiler, work = os.path.abspath(sys.argv[1]), sys.argv[2], os.path.abspath(sys.argv[3])
MACHINE = ["-march=rv32gc", "-mabi=ilp32d"]
FLAGS = ["-std=gnu17", "-nostdlib", "-ffreestanding", "-static", "-fno-stack-protector", "-fno-pic", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
         "-isystem", "/usr/riscv64-linux-gnu/include"]
compilers = [("gcc", [compiler] + MACHINE)]
if shutil.which("clang") and shutil.which("ld.lld"):
    compilers.append(("clang", ["clang", "--target=riscv32-linux-gnu", "-fuse-ld=lld"] + MACHINE))
number, failed = 0, 0


def run(*command):
    return subprocess.run(list(command), capture_output=True, text=True, timeout=120, cwd=work)


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
            p = run(*command, *FLAGS, level, "-o", out, os.path.join(HERE, name + ".c"), os.path.join(HERE, "bare.c"))
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
p = run(emulator, os.path.join(work, "wide")) if not run(compiler, "-nostdlib", "-static", "-o", os.path.join(work, "wide"), "-xc", os.path.join(HERE, "wide.c")).returncode else p
report(p.returncode == 126 and "64-bit" in p.stderr, "a 64-bit program is none for this CPU", p)
p = run(emulator.replace("riscv32", "riscv64"), program)
report(p.returncode == 126 and "32-bit" in p.stderr, "and a 32-bit one is none for riscv64", p)
p = run(emulator, "-cpu", "rv64", program)
report(p.returncode == 1 and "rv64" in p.stderr, "-cpu rv64", p)
peer = shutil.which("qemu-riscv32-static")
for name in ("calls", "signals") if peer else ():
    p = run(peer, os.path.join(work, name + "-gcc-O2"))
    print("# under %s, %s: %d differences" % (run(peer, "--version").stdout.split("\n")[0], name, p.stdout.count(".c:")))
print("1..%d" % number)
sys.exit(failed != 0)
