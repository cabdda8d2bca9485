#!/usr/bin/env python3
"""hmp.py PROGRAM-DIR: the human monitor as scripts use it: banner, prompt, echo, exact texts, and changes to a machine that has no kernel and stands still."""
import os, socket, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import PATIENCE, Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
PROMPT = b"(qemu) "


class Hmp:
    """A machine with its monitor on a unix socket, spoken to as a typing script would."""

    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "monitor")
        self.machine = Machine([PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-display", "none", "-nodefaults", "-S",
                                "-monitor", "unix:%s,server=on,wait=off" % path] + list(options))
        end = time.monotonic() + PATIENCE
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                assert time.monotonic() < end and self.machine.process.poll() is None, self.machine.tail()
                time.sleep(0.05)
        self.socket.settimeout(PATIENCE)
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


def values():
    with Hmp("-cpu", "cortex-a72") as h:
        equal(h.run("print 1 + 2 * (3 - 1)"), "0x5\n")
        equal(h.run("print/d -3"), "-3\n")
        equal(h.run("p/u 1 << 4 | 3"), "19\n")
        equal(h.run("print/x $cpsr & 0xf"), "0x5\n")
        assert h.run("print $nothing").startswith("cannot understand 'nothing'")
        assert h.run("print 1 / 0").startswith("cannot understand")
        assert "missing" in h.run("print")
        equal(h.run("xp/1xw 0x3ffffff8 + 4 * 2"), "0000000040000000: 0xedfe0dd0\n")  # a device tree
        assert "X0" in h.run("info registers").upper()


def inspection():
    with Hmp("-device", "virtio-balloon-pci,id=b0", "-device", "pcie-root-port,id=rp,chassis=1", "-name", "the-name") as h:
        pci = h.run("info pci")
        assert "Host bridge: PCI device 1b36:0008" in pci and "PCI bridge" in pci and 'id "b0"' in pci, pci
        equal(h.run("info balloon"), "balloon: actual=512\n")
        equal(h.run("balloon 256"), "")
        assert "Error" in h.run("balloon much")
        equal(h.run("info name"), "the-name\n")
        assert "regions translated" in h.run("info jit")
        h.run("info roms"), h.run("info guest-errors")
        equal(h.run("info trace-events vm_event"), "vm_event : state 0\n")
        equal(h.run("trace-event vm_* on"), "")
        equal(h.run("info trace-events vm_event"), "vm_event : state 1\n")
        equal(h.run("trace-event vm_* off"), "")
        for line in ("savevm x", "loadvm x", "loadvm", "delvm", "migrate tcp:x:1", "screendump x"):
            text = h.run(line)
            assert text.startswith("Error: ") and len(text.splitlines()) == 1, text
        equal(h.run("gdbserver tcp:127.0.0.1:0"), "Waiting for gdb connection on device 'tcp:127.0.0.1:0'\n")
        assert h.run("gdbserver").startswith("Error: ")


def defaults():
    """-global reaches the board's own devices; -nic and -net are one thing."""
    with Hmp("-global", "virtio-mmio.force-legacy=true", "-global", "driver=virtio-net-device,property=host_mtu,value=1400",
             "-net", "nic,macaddr=52:54:00:00:00:07", "-net", "user,hostname=x") as h:
        tree = h.run("info qtree")
        assert "force-legacy = true" in tree and "force-legacy = false" not in tree, tree
        assert "52:54:00:00:00:07" in tree and "host_mtu = 1400" in tree, tree
        assert h.run("info network").count("type=user") == 1
    with Hmp("-nic", "user,id=u0,mac=52:54:00:00:00:08") as h:
        assert "52:54:00:00:00:08" in h.run("info qtree") and "u0: " in h.run("info network")
    with Hmp("-net", "nic", "-net", "nic", "-net", "user") as h:
        assert h.run("info qtree").count("virtio-net-device") == 2 and h.run("info network").count("hub0port") >= 3, h.run("info network")


sys.exit(tap([("banner, echo and texts", texts), ("links and forwarding", network), ("disks come and go", disks), ("values", values), ("inspection", inspection), ("defaults and older options", defaults)]))
