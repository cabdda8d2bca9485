#!/usr/bin/env python3
"""golden.py SIZES-PROGRAM [--update]: host code of common guest sequences (idioms.txt) must not be larger than sizes.txt says.

With --update the table is written anew and what changed is shown. Columns: bytes in user mode and behind the soft MMU, each with all the host's features and with the least every
supported host has; the first two are compared only on hosts with AVX2, BMI and FMA, as the table's was.
"""
import os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = os.path.join(HERE, "sizes.txt")
COLUMNS = ("user", "system", "user, plain host", "system, plain host")
HEAD = "# Bytes of host code: sequence, user, system, user on a plain host, system on a plain host. Written by golden.py --update.\n"


def idioms():
    lines = (l for l in open(os.path.join(HERE, "idioms.txt")) if l.strip() and not l.startswith("#"))
    return [tuple(s.strip() for s in l.split(None, 1)) for l in lines]


def words(assembler):
    """The instructions of each sequence: all assembled at once, each in a section of its own."""
    source = "".join('.section .t%d,"ax"\n%s\n' % (k, asm.replace("; ", "\n")) for k, (_, asm) in enumerate(assembler))
    with tempfile.TemporaryDirectory() as d:
        s, o = os.path.join(d, "a.s"), os.path.join(d, "a.o")
        open(s, "w").write(".arch armv8.4-a+crypto+crc\n" + source)
        subprocess.run(["aarch64-linux-gnu-gcc", "-c", "-o", o, s], check=True)
        text = subprocess.run(["aarch64-linux-gnu-objdump", "-d", o], capture_output=True, text=True, check=True).stdout
    got, at = {}, None
    for l in text.split("\n"):
        if m := re.match(r"Disassembly of section \.t(\d+):", l):
            at = got.setdefault(int(m[1]), [])
        elif m := re.match(r"\s+[0-9a-f]+:\t([0-9a-f]{8})", l):
            at.append(m[1])
    return got


def measure(program):
    list_ = idioms()
    code = words(list_)
    text = "".join("%s %s\n" % (name, " ".join(code[k])) for k, (name, _) in enumerate(list_))
    out = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout
    return {l.split()[0]: [int(n) for n in l.split()[1:]] for l in out.split("\n") if l}


def table():
    if not os.path.exists(TABLE):
        return {}
    return {l.split()[0]: [int(n) for n in l.split()[1:]] for l in open(TABLE) if l.strip() and not l.startswith("#")}


def main():
    now, want = measure(sys.argv[1]), table()
    flags = open("/proc/cpuinfo").read()
    rich = all(" %s " % f in flags.replace("\n", " ") for f in ("avx2", "bmi2", "fma", "abm"))
    larger = 0
    for name in sorted(set(now) | set(want)):
        n, w = now.get(name), want.get(name)
        if not n or not w:
            print("%-17s %s" % (name, "is new" if n else "is gone"))
            larger += 1
            continue
        for k, column in enumerate(COLUMNS):
            if n[k] != w[k] and (rich or k >= 2):
                print("%-17s %s: %d bytes, was %d (%+d)" % (name, column, n[k], w[k], n[k] - w[k]))
                larger += n[k] > w[k]
    if "--update" in sys.argv:
        with open(TABLE, "w") as f:
            f.write(HEAD)
            for name, _ in idioms():
                f.write("%-17s%s\n" % (name, "".join(" %5d" % v for v in now[name])))
        return
    if larger:
        sys.exit("%d entries grew or have no size: tests/isa/golden/golden.py PROGRAM --update if that is meant" % larger)
    print("%d sequences are no larger than the table says" % len(now))


main()
