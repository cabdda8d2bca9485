#!/usr/bin/env python3
"""logging.py PROGRAM-DIR: what -d and -trace print about a guest of a few instructions, and where it goes."""
import os, re, shutil, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import PATIENCE, tap

PROGRAM = os.path.join(os.path.abspath(sys.argv[1]), "qemu-system-aarch64")
# Firmware at address 0: it adds, calls the kernel level's own vector, turns the MMU on over empty tables, and so faults on its next instruction.
SOURCE = """
.globl _start
_start:
    mov x0, #41
    add x0, x0, #1
    svc #7
.org 0x200
    ldr x1, =(25 | 25 << 16)
    msr tcr_el1, x1
    ldr x1, =0x40000000
    msr ttbr0_el1, x1
    mrs x1, sctlr_el1
    orr x1, x1, #1
    msr sctlr_el1, x1
    isb
    nop
"""


def firmware(folder):
    def tool(name, *args):
        subprocess.run(["aarch64-linux-gnu-" + name] + list(args), cwd=folder, check=True)

    with open(os.path.join(folder, "f.s"), "w") as f:
        f.write(SOURCE)
    tool("as", "-o", "f.o", "f.s")
    tool("ld", "-Ttext=0", "-o", "f.elf", "f.o")
    tool("objcopy", "-O", "binary", "f.elf", "f.bin")
    return os.path.join(folder, "f.bin")


def log(*args, until=None, seconds=PATIENCE):
    """The debug log of that guest until this is all in it; None: for so long."""
    path = os.path.join(FOLDER, "log")
    if os.path.exists(path):
        os.remove(path)
    p = subprocess.Popen([PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-m", "64M", "-nodefaults", "-display", "none", "-bios", FIRMWARE, "-D", path] + list(args),
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (until and os.path.exists(path) and all(re.search(u, open(path).read(), re.M) for u in until)):
        time.sleep(0.05)
    p.terminate()
    errors = p.communicate(timeout=PATIENCE)[1]
    assert not errors, errors
    return open(path).read() if os.path.exists(path) else ""


def wanted(category, *patterns):
    text = log("-d", category, until=patterns)
    for p in patterns:
        assert re.search(p, text, re.M), "no %r in\n%s" % (p, text[:2000])
    return text


def guest_code():
    text = wanted("in_asm", r"\bmov\s+x0, #0x29", r"\badd\s+x0, x0, #0x1", r"\bsvc\s+#0x7")
    assert not re.search(r"\bgoto\b|\brax\b", text), "more than in_asm: " + text[:500]


def intermediate():
    text = wanted("ir", r"const 0x2[9a]")
    assert not re.search(r"\brax\b", text), text[:500]


def host_code():
    text = wanted("out_asm", r"\br14\b|^[0-9a-f]{8}")
    assert "const 0x29" not in text, text[:500]


def exceptions():
    wanted("int", r"EC 0x15, ESR 0x56000007, ELR 0x000000000000000c", r"EC 0x21")


def walks():
    text = wanted("mmu", r"EL1 access \d at 0x0000000000000\w+: fault")
    assert "exception" not in text, text[:500]


def nothing():
    assert log("-d", "unimp", seconds=1) == "", "a log nobody asked for"


def traces():
    r = subprocess.run([PROGRAM, "-trace", "help"], stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    names = [l.split(" : ")[0] for l in r.stdout.splitlines()]
    assert r.returncode == 0 and "vm_event" in names and names == sorted(names), r.stdout
    text = log("-trace", "vm_event", "-trace", "vcpu_*", until=["vm_event RESUME"])
    assert "vm_event RESUME" in text and "regbank" not in text, text
    assert "vm_event" not in log("-trace", "*", "-trace", "-vm_event", seconds=2)
    r = subprocess.run([PROGRAM, "-M", "virt", "-trace", "vm_evnet"], stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert r.returncode == 1 and "vm_evnet" in r.stderr and "-trace help" in r.stderr, r.stderr


if not shutil.which("aarch64-linux-gnu-as"):
    print("1..0 # SKIP no assembler for the guest")
    sys.exit(0)
with tempfile.TemporaryDirectory() as FOLDER:
    FIRMWARE = firmware(FOLDER)
    status = tap([("guest code", guest_code), ("IR", intermediate), ("host code", host_code), ("exceptions", exceptions), ("table walks", walks), ("no more than asked", nothing),
                  ("trace points", traces)])
sys.exit(status)
