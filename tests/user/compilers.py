#!/usr/bin/env python3
"""compilers.py EMULATOR COMPILER WORK-DIR FIRST COUNT: random C programs (cgen.py) with seeds from FIRST, built for the guest by gcc
at -O0, -O2 and -O3 and by clang at -O3, must print what the host's own build at -O1 prints. Loops are vectorised at -O3; for RISC-V only clang
makes vector code (the gcc of Debian 12 makes none), at -O2 and -O3. Where another emulator prints the same as ours, the
difference is the compiler's."""
import os, shutil, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cgen

FLAGS = ["-std=gnu17", "-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing", "-w"]
emulator, cross, work, first, count = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
arch = os.path.basename(cross).split("-")[0]
EXTENDED = {"aarch64": "armv8.2-a+dotprod+fp16+rcpc", "riscv64": "rv64gc_zba_zbb_zbs"}


VECTOR = ["clang", "--target=riscv64-linux-gnu", "-march=rv64gcv", "-mllvm", "-riscv-v-vector-bits-min=128", "-isystem", "/usr/riscv64-linux-gnu/include"]


def build(command, source, out):
    if command[:len(VECTOR)] == VECTOR: # gcc links it
        subprocess.run(command + FLAGS + ["-c", "-o", out + ".o", source], check=True)
        command, source = [cross, "-static"], out + ".o"
    subprocess.run(command + FLAGS + ["-o", out, source, "-lm"] + (["-latomic"] if "riscv64" in command[0] else []), check=True)
    return out


def output(command):
    p = subprocess.run(command, capture_output=True, text=True, timeout=900)
    return "%sstatus %d\n" % (p.stdout, p.returncode) + (p.stderr if p.returncode else "")


def variants():
    yield from (("gcc " + o, [cross, "-static", o]) for o in ("-O0", "-O2", "-O3"))
    yield "gcc -O3 with extensions", [cross, "-static", "-O3", "-march=" + EXTENDED[arch]]
    if shutil.which("clang"):
        yield "clang -O3", ["clang", "--target=%s-linux-gnu" % arch, "-static", "-O3"]
        if arch == "riscv64":
            yield from (("clang %s with vectors" % o, VECTOR + [o]) for o in ("-O2", "-O3"))


os.makedirs(work, exist_ok=True)
names = list(variants())
print("1..%d" % (count * len(names)))
failed = 0
for seed in range(first, first + count):
    source = os.path.join(work, "p%d.c" % seed)
    with open(source, "w") as f:
        f.write(cgen.program(seed))
    want = output([build(["gcc", "-O1"], source, os.path.join(work, "native"))])
    for name, command in names:
        cpu = ["-cpu", "max"] if "vectors" in name else []
        got = output([emulator] + cpu + [build(command, source, os.path.join(work, "guest"))])
        arbiter = shutil.which("qemu-%s-static" % arch) if got != want else None
        note = " (a difference of the compiler's)" if arbiter and output([arbiter] + cpu + [os.path.join(work, "guest")]) == got else ""
        ok = got == want or note
        failed += not ok
        print("%s - program %d, %s%s" % ("ok" if ok else "not ok", seed, name, note), flush=True)
        if not ok:
            wrong = [g for g, w in zip(got.split("\n"), want.split("\n")) if g != w]
            print("# %s: first difference: %s" % (source, wrong[0] if wrong else got[-300:]))
    if not failed:
        os.remove(source)
sys.exit(failed != 0)
