#!/usr/bin/env python3
"""run.py EMULATOR COMPILER WORK-DIR [OPTION...]: build the guest programs beside this file, run them under user mode with these options, and feed it what is no program."""
import os, struct, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
program, compiler, work = os.path.abspath(sys.argv[1]), sys.argv[2], os.path.abspath(sys.argv[3])
options = sys.argv[4:]
failed = 0


def run(what, *args):
    return subprocess.run([program] + options + list(args), capture_output=True, text=True, timeout=1800 if "SLOW" in os.environ else 900, cwd=work)


def report(ok, what, detail=""):
    global failed
    failed += not ok
    print(("ok " if ok else "FAILED ") + what + (": " + detail if detail and not ok else ""))


os.makedirs(work, exist_ok=True)
# Not every C library has static PIE.
start = subprocess.run([compiler, "-print-file-name=rcrt1.o"], capture_output=True, text=True).stdout.strip()
kinds = (("static", ["-static"]), ("dynamic", [])) + ((("static-pie", ["-static-pie"]),) if os.path.exists(start) else ())


def build(out, flags, *sources):
    sources = [s if s.endswith(".o") else os.path.join(HERE, "programs", s) for s in sources]
    subprocess.run([compiler, "-D_GNU_SOURCE", "-O1", "-pthread", "-w", "-o", out] + flags + sources, check=True)
    return out


def passes(what, name, out, *args):
    r = run(name, out, *args)
    report(r.returncode == 0 and "verify:" not in r.stderr, what, "status %d\n%s%s" % (r.returncode, r.stdout, r.stderr))


for name in ("faults", "memory", "processes", "shared", "signals", "tagged", "threads", "vforks"):
    for kind, flags in kinds:
        out = build(os.path.join(work, name + "-" + kind), flags, name + ".c")
        passes(name + " " + kind, name, out, *(["10000"] if name == "vforks" and "SLOW" in os.environ else []))
# The same by a child of vfork, which has no threads.
for name in ("faults", "memory", "processes", "signals"):
    inner = build(os.path.join(work, name + ".o"), ["-c", "-Dmain=real_main"], name + ".c")
    passes(name + " in vfork", name, build(os.path.join(work, name + "-vfork"), ["-static"], "in_vfork.c", inner))

good = open(os.path.join(work, "memory-static"), "rb").read()
# A segment of zeros takes nothing from the file, wherever its offset points: here the header that describes the stack becomes one.
phoff, = struct.unpack_from("<Q", good, 32)
count, = struct.unpack_from("<H", good, 56)
stack = next(at for at in range(phoff, phoff + count * 56, 56) if struct.unpack_from("<I", good, at)[0] == 0x6474e551)
beyond = bytearray(good)
struct.pack_into("<IIQQQQQQ", beyond, stack, 1, 6, 1 << 30, 1 << 30, 1 << 30, 0, 4096, 4096)
with open(os.path.join(work, "memory-beyond"), "wb") as f:
    f.write(beyond)
os.chmod(f.name, 0o755)
passes("zeros beyond the file", "memory", f.name)
native = os.path.realpath("/proc/self/exe")
bad = {"text": (b"hello\n", 126, "not an ELF"), "short": (good[:40], 126, "truncated"), "cut": (good[:len(good) // 4], 126, "truncated"),
       "class": (good[:4] + b"\1" + good[5:], 126, "32-bit"), "loader": (open(os.path.join(work, "memory-dynamic"), "rb").read().replace(b"/lib/ld-linux-", b"/lib/ld-nobody-"), 127, "-L")}
for name, (data, status, text) in bad.items():
    path = os.path.join(work, "bad-" + name)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o755)
    r = run(name, path)
    report(r.returncode == status and text in r.stderr and r.stderr.count("\n") == 1, "bad " + name, "status %d: %s" % (r.returncode, r.stderr))
for path, status, text in ((native, 126, "x86-64"), ("/nonexistent", 127, "No such file")):
    r = run(path, path)
    report(r.returncode == status and text in r.stderr, "bad " + path, "status %d: %s" % (r.returncode, r.stderr))
sys.exit(failed != 0)
