#!/usr/bin/env python3
"""isa_cost.py: what the second guest CPU, RISC-V, cost: lines in its own folder, lines of the boards and devices that only it
has, and lines anywhere else in src/ that know of it; then, out of the history, what its commits changed outside its own files.
Run it in a clone with its history; docs/architecture.md has a table made by it."""
import os, re, subprocess, sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
ISA = "src/isa/riscv/"
OWN = re.compile(r"^src/(board/riscv/|device/irqchip/riscv/|device/(serial/htif|power/sifive_test|rtc/goldfish|timer/goldfish)|user/.*riscv)")
TESTS = re.compile(r"^tests/(isa/riscv/|unit/riscv/|boot/(debian_riscv64|kernels)\.py)")
NAMES = re.compile(r"riscv|\brv_|\bRV_", re.I)


def git(*args):
    return subprocess.run(["git", "-C", TOP, *args], capture_output=True, text=True, check=True).stdout


def lines(path):
    return open(os.path.join(TOP, path), errors="replace").read().splitlines()


def now():
    inside = own = tests = known = 0
    places = []
    for path in git("ls-files", "src", "tests").splitlines():
        if path.startswith(ISA):
            inside += len(lines(path))
        elif OWN.match(path):
            own += len(lines(path))
        elif TESTS.match(path):
            tests += len(lines(path))
        elif path.startswith("src/"):
            n = sum(bool(NAMES.search(l)) for l in lines(path))
            known += n
            if n:
                places.append((n, path))
    print(f"{inside:7} lines in {ISA}")
    print(f"{own:7} lines of boards, devices and system-call tables that only RISC-V has")
    print(f"{tests:7} lines of its own tests")
    print(f"{known:7} lines elsewhere in src/ that name it:")
    for n, path in sorted(places, reverse=True):
        print(f"{n:15} {path}")


def then():
    """Commits that say RISC-V: lines added and removed in src/ outside what is its own."""
    added = removed = commits = 0
    for line in git("log", "--no-merges", "--numstat", "--format=commit %s").splitlines():
        if line.startswith("commit "):
            counts = bool(re.search(r"RISC-V|riscv", line))
            commits += counts
            continue
        parts = line.split("\t")
        if not counts or len(parts) != 3 or not parts[0].isdigit():
            continue
        path = re.sub(r"\{.* => (.*)\}", r"\1", parts[2])
        if path.startswith("src/") and not path.startswith(ISA) and not OWN.match(path):
            added += int(parts[0])
            removed += int(parts[1])
    print(f"{commits:7} commits that say RISC-V: {added} lines added and {removed} removed in the rest of src/")


now()
then()
