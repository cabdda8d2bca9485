#!/usr/bin/env python3
"""A real gdb on a real machine without firmware: writes three instructions into RAM, steps through
them, stops at a breakpoint twice, changes registers, asks the monitor. Argument: the machine's
program. Exits with 77 (skipped) where there is no gdb-multiarch."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import PATIENCE, listening, until

COMMANDS = """
info threads
set {int}0x40000000=0x91000400
set {int}0x40000004=0x91000421
set {int}0x40000008=0x17fffffe
set $pc=0x40000000
set $x0=5
x/3i 0x40000000
stepi
p $x0
stepi
p/x $pc
stepi
p/x $pc
break *0x40000004
continue
p $x0
continue
p $x0
delete
set $v3.du[1]=77
p $v3.du[1]
monitor info status
x/x 0x8000000000
kill
"""
WANT = ["CPU#1 [off]", "add\tx0, x0, #0x1", "$1 = 6", "$2 = 0x40000008", "$3 = 0x40000000", "$4 = 7",
        "$5 = 8", "$6 = 77", "VM status: paused (debug)", "Cannot access memory at address 0x8000000000"]


def main():
    if not shutil.which("gdb-multiarch"):
        sys.exit(77)
    with tempfile.TemporaryDirectory() as tmp:
        sock = os.path.join(tmp, "gdb")
        vm = subprocess.Popen([sys.argv[1], "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "64",
                               "-display", "none", "-monitor", "none", "-serial", "none", "-net",
                               "none", "-S", "-gdb", "unix:" + sock], stdin=subprocess.DEVNULL)
        try:
            until(lambda: listening(sock), "nobody listens")
            args = ["gdb-multiarch", "-nx", "-q", "-batch", "-ex", "set architecture aarch64", "-ex",
                    "target remote " + sock]
            for line in COMMANDS.strip().split("\n"):
                args += ["-ex", line]
            out = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, timeout=600,
                                 env=dict(os.environ, HOME=tmp)).stdout
            status = vm.wait(timeout=PATIENCE)  # gdb's kill ends it
        finally:
            vm.kill()
    missing = [w for w in WANT if w not in out]
    for w in missing:
        print(f"not in gdb's output: {w}")
    if missing or status:
        print(out, f"\nexit status {status}")
        sys.exit(1)


main()
