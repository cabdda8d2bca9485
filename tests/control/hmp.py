#!/usr/bin/env python3
"""hmp.py PROGRAM-DIR: the human monitor as scripts use it: banner, prompt, echo, exact texts, and changes to a machine that has no kernel and stands still."""
import os, socket, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
PROMPT = b"(qemu) "


class Hmp:
    """A machine with its monitor on a unix socket, spoken to as a typing script would."""

    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "monitor")
        self.machine = Machine([PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-display", "none", "-nodefaults", "-S",
                                "-monitor", "unix:%s,server=on,wait=off" % path] + list(options))
        end = time.monotonic() + 30
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                assert time.monotonic() < end and self.machine.process.poll() is None, self.machine.tail()
                time.sleep(0.05)
        self.socket.settimeout(30)
        self.banner = self.until_prompt()

    def until_prompt(self):
        data = b""
        while not data.endswith(PROMPT):
            more = self.socket.recv(4096)
            assert more, "the monitor closed after %r" % data
            data += more
        return data[:-len(PROMPT)].decode()

    def run(self, line):
        self.socket.sendall(line.encode() + b"\n")
        text = self.until_prompt()
        assert text.startswith(line + "\r\n"), "no echo of %r in %r" % (line, text)
        return text[len(line) + 2:].replace("\r\n", "\n")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()
        self.machine.close()
        self.folder.cleanup()


def equal(got, want):
    assert got == want, "%r instead of %r" % (got, want)


def texts():
    with Hmp() as h:
        assert "monitor - type 'help' for more information" in h.banner, h.banner
        equal(h.run("info status"), "VM status: paused (prelaunch)\n")
        equal(h.run("cont"), "")
        equal(h.run("info status"), "VM status: running\n")
        equal(h.run("stop"), "")
        equal(h.run("info status"), "VM status: paused\n")
        equal(h.run("nonsense 1"), "unknown command: 'nonsense'\n")
        assert "system_reset" in h.run("help")


def network():
    with Hmp("-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0") as h:
        equal(h.run("set_link n0 off"), "")
        assert "link=down" in h.run("info network")
        equal(h.run("set_link n0 on"), "")
        assert "link=up" in h.run("info network")
        equal(h.run("set_link nobody on"), "Error: Device 'nobody' not found\n")
        equal(h.run("hostfwd_add tcp:127.0.0.1:0-:22"), "")
        assert "22" in h.run("info usernet")


def disks():
    with tempfile.TemporaryDirectory() as folder, Hmp() as h:
        path = os.path.join(folder, "disk")
        open(path, "wb").truncate(1 << 20)
        equal(h.run("drive_add 0 file=%s,if=none,id=d0,format=raw" % path), "OK\n")
        assert path in h.run("info block")
        equal(h.run("device_add virtio-blk-pci,drive=d0,id=disk0"), "")
        assert "disk0" in h.run("info qtree")
        equal(h.run("device_del disk0"), "")
        assert "disk0" not in h.run("info qtree")
        equal(h.run("device_del disk0"), "Error: Device 'disk0' not found\n")
        assert h.run("drive_add 0 file=%s/missing,if=none,id=d1,format=raw" % folder).startswith("Error: ")
        assert h.run("device_add virtio-blk-pco").startswith("Error: ")


sys.exit(tap([("banner, echo and texts", texts), ("links and forwarding", network), ("disks come and go", disks)]))
