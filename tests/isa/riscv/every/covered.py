#!/usr/bin/env python3
"""covered.py TOP PROGRAM...: every instruction, control register and extension of src/isa/riscv is reached by a bare-metal
program. An instruction: a row of expected-rv*.txt, or its encoding stands in one of the programs (32- and 64-bit ones apart).
A register: a row of registers-rv*.def, or
an access in a program. An extension: it has instructions or registers of its own, or mechanisms.txt names the
functions that try it. Prints what is missing."""
import os, re, subprocess, sys

TOP, *PROGRAMS = sys.argv[1:]
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(TOP, "scripts"))
import decode_gen

ISA = os.path.join(TOP, "src/isa/riscv")
TABLES = ["rv/rv.decode", "rv/scalar.decode", "rv/vector.decode", "system/priv.decode"]
# Encodings that are reserved where XLEN is 32: indexes of 64 bits. instructions.c tries one.
RESERVED_32 = re.compile(r"V[LS][UO]X(SEG\dEI|EI)64_V$")
missing = []


def lines(path):
    return [l.strip() for l in open(path) if l.strip() and not l.startswith(("#", "//"))]


def words(program):
    """The instructions of a program: (word, bits)."""
    text = subprocess.run(["riscv64-linux-gnu-objdump", "-d", program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ *[0-9a-f]+:\t([0-9a-f]{4}|[0-9a-f]{8}) ", text, re.M)
    return "elf64" in text, {(int(w, 16), 4 * len(w)) for w in found}


def check_instructions(there):
    with_insns = set()
    spec = decode_gen.Spec([os.path.join(ISA, t) for t in TABLES])
    for bits in 64, 32:
        drawn = {l.split()[0] for l in lines(os.path.join(HERE, f"expected-rv{bits}.txt"))}
        for i in spec.insns:
            if i.variant not in (0, bits) or i.name in drawn or (bits == 32 and RESERVED_32.match(i.name)):
                continue
            if not any(w & i.mask == i.value and n == i.width for w, n in there[bits]):
                missing.append(f"instruction {i.name} where XLEN is {bits}")
    for i in spec.insns:
        if i.feature:
            with_insns.add(i.feature.lower())
    return with_insns


def check_registers(there):
    of_extensions = set()
    rows = {}
    for bits in 64, 32:
        text = "\n".join(lines(os.path.join(HERE, f"../bare/registers-rv{bits}.def")))
        rows[bits] = {int(n, 16) for n in re.findall(r"REGISTER\((0x\w+),", text)}
        rows[bits] |= {w >> 20 for w, n in there[bits] if n == 32 and w & 0x7f == 0x73 and w & 0x3000}
    for l in lines(os.path.join(ISA, "csrs.def")):
        kind, number, name, feature, _, *rest = re.split(r"[(), ]+", l)
        number = int(number, 16)
        of_extensions.add(feature.lower())
        for k in range(int(rest[0]) if kind in ("RUN", "HIGH") else 1):
            for bits in (32,) if kind == "HIGH" else (64, 32):
                odd = name == "pmpcfg0" and bits == 64 and (number + k) % 2  # not of 64-bit harts
                if number + k not in rows[bits] and not odd:
                    missing.append(f"register {name} ({number + k:#x}) where XLEN is {bits}")
    return of_extensions


def check_extensions(shown):
    sources = ""
    for folder in ".", "../bare":
        for f in sorted(os.listdir(os.path.join(HERE, folder))):
            if f.endswith((".c", ".S")):
                sources += open(os.path.join(HERE, folder, f)).read()
    named = dict(re.split(r":\s*", l, maxsplit=1) for l in lines(os.path.join(HERE, "mechanisms.txt")))
    properties = re.findall(r'^FEATURE\(\w+, "(\w+)"', open(os.path.join(ISA, "features.def")).read(), re.M)
    for p in properties:
        for f in [] if named.get(p, "").startswith("(") else named.get(p, "").split():
            if not re.search(rf"\b{f}\(", sources):
                missing.append(f"mechanisms.txt: {p}: there is no {f}")
        if p not in shown and not named.get(p):
            missing.append(f"extension {p}: mechanisms.txt says nothing")
    for p in set(named) - set(properties):
        missing.append(f"mechanisms.txt: there is no extension {p}")


of_width = {64: set(), 32: set()}
for program in PROGRAMS:
    wide, found = words(program)
    of_width[64 if wide else 32] |= found
check_extensions(check_instructions(of_width) | check_registers(of_width))
print("\n".join(missing) or "all is reached")
sys.exit(bool(missing))
