#!/usr/bin/env python3
"""debian_arm64.py PROGRAM-DIR [PATTERN]: Debian's arm64 kernel and a busybox initramfs to a marker and a clean power-off, over CPU models, counts and interrupt controllers."""
import os, re, sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
CASES = [(cpu, gic, n) for cpu in ("cortex-a72", "max") for gic in (2, 3) for n in (1, 2, 4, 8)]


def boot(cpu, gic, n, suite=None):
    def run():
        args = [PROGRAM, "-M", "virt,gic-version=%d" % gic, "-cpu", cpu, "-smp", str(n), "-m", "512", "-nographic", "-nic", "none", "-no-reboot",
                "-kernel", guests.kernel("arm64", suite=suite), "-initrd", guests.initrd("arm64"), "-append", "console=ttyAMA0 panic=-1"]
        with Machine(args) as m:
            m.expect(guests.MARKER, 120)
            line = m.expect("\n", 10)
            assert line.split() == ["aarch64", str(n)], "the guest saw %r" % line
            assert m.wait(60) == 0, "exit status %s" % m.process.returncode
    return run


cases = [("%s gicv%d smp %d" % c, boot(*c)) for c in CASES] + [("newest kernel, %s" % cpu, boot(cpu, 3, 2, "sid")) for cpu in ("cortex-a53", "max")]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
