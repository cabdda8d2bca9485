#!/usr/bin/env python3
"""verified.py PROGRAM-DIR [PATTERN]: Debian's kernels and a busybox initramfs under -accel dbt,verify=on: host code and interpreter agree in every region."""
import os, re, socket, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
BOARDS = {"arm64": ("qemu-system-aarch64", "virt", "ttyAMA0"), "riscv64": ("qemu-system-riscv64", "virt", "ttyS0")}


def counters(path):
    """What `info jit` says, by name."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(600)
        s.connect(path)
        s.sendall(b"info jit\n")
        text = ""
        while "differences found" not in text or not text.rstrip().endswith("(qemu)"):
            text += s.recv(65536).decode()
    return {m[1]: int(m[2]) for m in re.finditer(r"(\w[\w ()-]*?) +(\d+)\r?\n", text)}


def boot(arch, n, accel):
    def run():
        program, board, console = BOARDS[arch]
        with tempfile.TemporaryDirectory() as d:
            monitor = os.path.join(d, "monitor")
            args = [os.path.join(sys.argv[1], program), "-M", board, "-smp", str(n), "-m", "512", "-display", "none", "-serial", "stdio", "-nic", "none",
                    "-no-reboot", "-no-shutdown", "-monitor", "unix:%s,server=on,wait=off" % monitor, "-accel", "dbt,verify=on" + accel,
                    "-kernel", guests.kernel(arch), "-initrd", guests.initrd(arch), "-append", "console=%s panic=-1 quiet" % console]
            with Machine(args) as m:
                m.expect(guests.MARKER, 7000)
                seen = counters(monitor)
                assert b"verify:" not in m.out, m.out[m.out.find(b"verify:"):].decode(errors="replace")
        assert seen["differences found"] == 0, seen
        assert seen["regions verified"] > 1000000, seen
        return "%d regions compared, %d not" % (seen["regions verified"], seen["regions run unverified"])
    return run


cases = [("%s smp %d, a sample" % (a, n), boot(a, n, ",verify-sample=on")) for a in BOARDS for n in (1, 2)]
cases += [("%s, every run" % a, boot(a, 1, "")) for a in BOARDS]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
