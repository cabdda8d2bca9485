#!/usr/bin/env python3
"""saved.py PROGRAM-DIR [PATTERN]: a running Debian kernel is saved into its disk and goes on from there, in the same process and in new ones, with all its memory and its devices."""
import hashlib, os, re, subprocess, sys, tempfile, time

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "..", room) for room in ("guests", "control")]
import guests
from client import Qmp
from machine import Machine, listening, tap, until

DIR = os.path.abspath(sys.argv[1])
IMG = os.path.join(DIR, "qemu-img")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
RAM = 256 << 20
GUEST = """
ip link set eth0 up; udhcpc -i eth0 -n -q -s /bin/true >/dev/null 2>&1 && echo NET-OK
dd if=/dev/urandom of=/tmp/a bs=1M count=24 2>/dev/null; echo SUM $(md5sum < /tmp/a | cut -c1-32).
(i=0; while true; do i=$((i + 1)); echo $i > /tmp/c; mv /tmp/c /tmp/count; usleep 20000; done) &
(while true; do md5sum < /tmp/a | cut -c1-32 > /tmp/new; mv /tmp/new /tmp/again; done) &
(while true; do dd if=/tmp/a of=/dev/vda bs=64k seek=$((0x$(dd if=/dev/urandom bs=1 count=1 2>/dev/null | od -An -tx1 | tr -d ' '))) count=16 conv=notrunc,fsync 2>/dev/null; done) &
echo GUEST-IS-UP
while read line; do eval "$line"; echo "<done>"; done
"""
BOARDS = {
    "GICv3, PCI, 2 CPUs": ["-M", "virt,gic-version=3", "-smp", "2"],
    "GICv2, one CPU": ["-M", "virt,gic-version=2", "-smp", "1"],
    "no ITS": ["-M", "virt,gic-version=3,its=off", "-smp", "2"],
    "EL2 and EL3": ["-M", "virt,gic-version=3,virtualization=on,secure=on", "-smp", "2"],
    "riscv64, PLIC": ["-M", "virt", "-smp", "2"],
    "riscv64, APLIC": ["-M", "virt,aia=aplic,aclint=on", "-smp", "1"],
    "riscv64, IMSIC": ["-M", "virt,aia=aplic-imsic", "-smp", "2"],
}


class Saved:
    """A machine with a QMP socket and its console."""

    def __init__(self, folder, board, *options, mmio=False, disk=True):
        self.path = os.path.join(folder, "qmp%d" % time.monotonic_ns())
        arch = "riscv64" if board.startswith("riscv64") else "arm64"
        program, cpu, console = ("qemu-system-riscv64", "max", "ttyS0") if arch == "riscv64" else ("qemu-system-aarch64", "cortex-a72", "ttyAMA0")
        self.ram = 0x80000000 if arch == "riscv64" else 0x40000000
        entries, insmod = guests.modules(arch, "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "virtio_balloon")
        kind = "-device" if mmio else "-pci"
        self.m = Machine([os.path.join(DIR, program)] + BOARDS[board] + ["-cpu", cpu, "-m", str(RAM >> 20), "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
                         "-qmp", "unix:%s,server=on,wait=off" % self.path, "-kernel", guests.kernel(arch), "-initrd", guests.initrd(arch, insmod + GUEST, entries, "saved"),
                         "-append", "console=%s panic=-1 quiet" % console, *(["-drive", "if=none,id=d,format=qcow2,file=" + os.path.join(folder, "a.qcow2"),
                         "-device", "virtio-blk%s,drive=d" % kind] if disk else []), "-netdev", "user,id=n", "-device", "virtio-net%s,netdev=n" % kind,
                         "-device", "virtio-rng" + kind, "-device", "virtio-balloon" + kind, *options])
        until(lambda: listening(self.path) or self.m.process.poll() is not None, "no monitor")
        assert self.m.process.poll() is None, self.m.read(1) and self.m.tail()
        self.q = Qmp(self.path)

    def hmp(self, line):
        return self.q.ok("human-monitor-command", command_line=line)

    def run(self, line, seconds=60):
        self.m.send(line + "\n")
        return self.m.expect("<done>", seconds)

    def number(self):
        while True:  # the file is empty for a moment whenever it is written
            found = re.search(r"C(\d+)\.", self.run("echo C$(cat /tmp/count).").split("\n", 1)[1])
            if found:
                return int(found.group(1))

    def lives(self, total, disk=True):
        """Its counter counts, memory is what it was, the disk and the network answer."""
        before = self.number()
        until(lambda: self.number() > before, "time stands still")
        assert total in self.run("rm -f /tmp/again /tmp/new; while [ ! -s /tmp/again ]; do usleep 50000; done; cat /tmp/again"), "memory is another"
        assert not disk or "records" in self.run("dd if=/dev/vda of=/dev/null bs=1M count=16 iflag=direct 2>&1")
        assert "NET-OK" in self.run("udhcpc -i eth0 -n -q -s /bin/true >/dev/null 2>&1 && echo NET-OK").split("\n", 1)[1]
        assert "C24" in self.run("echo C$(( $(stat -c %s /tmp/a) >> 20 )); head -c 65536 /dev/hwrng | wc -c")

    def memory(self, folder):
        name = os.path.join(folder, "ram")
        self.q.ok("pmemsave", val=self.ram, size=RAM, filename=name)
        data = open(name, "rb").read()
        os.unlink(name)
        return hashlib.sha256(data).hexdigest()

    def migrated(self, how="completed"):
        """Waits for the end; how often memory was gone through."""
        passes = 0
        while True:
            status = self.q.event("MIGRATION", 120)["data"]["status"]
            if status in ("completed", "failed", "cancelled"):
                assert status == how, self.q.ok("query-migrate")
                return len([e for e in self.q.events if e["event"] == "MIGRATION_PASS"])

    def close(self):
        self.q.close()
        self.m.close()


def case(board, mmio=False):
    def run():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([IMG, "create", "-q", "-f", "qcow2", os.path.join(folder, "a.qcow2"), "64M"], check=True)
            one = Saved(folder, board, mmio=mmio)
            try:
                total = re.search(r"SUM (\w+)\.", one.m.expect("GUEST-IS-UP", 120)).group(1)
                assert "no snapshot" in one.hmp("info snapshots")
                assert one.hmp("savevm first") == "", "savevm"
                one.lives(total)
                one.run("sleep 3")
                late = one.number()
                one.q.ok("stop")
                digest = one.memory(folder)
                assert one.hmp("savevm second") == ""
                assert one.memory(folder) == digest, "saving changed the memory"
                table = one.hmp("info snapshots")
                assert "first" in table and "second" in table and "VM CLOCK" in table, table
                assert "nothing" in one.hmp("loadvm nothing")
                assert one.hmp("loadvm first") == ""
                one.q.ok("cont")
                assert one.number() < late, "the machine went back, its counter did not"
                one.lives(total)
            finally:
                one.close()
            two = Saved(folder, board, "-loadvm", "second", "-S", mmio=mmio)
            try:
                assert two.memory(folder) == digest, "the memory is not what was saved"
                two.q.ok("cont")
                two.lives(total)
                assert two.hmp("delvm first") == "" and "first" not in two.hmp("info snapshots")
                two.q.ok("system_reset")
                two.m.expect("GUEST-IS-UP", 120)
            finally:
                two.close()
            subprocess.run([IMG, "check", "-q", os.path.join(folder, "a.qcow2")], check=True)
    return run


def travel():
    """From one process to the next: a file, a command's pipe, and a socket that the next one listens on."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([IMG, "create", "-q", "-f", "qcow2", os.path.join(folder, "a.qcow2"), "64M"], check=True)
        board, name = "GICv3, PCI, 2 CPUs", os.path.join(folder, "state")
        one, here = Saved(folder, board, "-drive", "if=none,id=unused"), None
        try:
            total = re.search(r"SUM (\w+)\.", one.m.expect("GUEST-IS-UP", 120)).group(1)
            assert "migration protocol" in one.q.fails("migrate", uri="carrier-pigeon:1")
            assert one.q.ok("query-status")["running"]
            one.q.events.clear()
            one.q.ok("migrate", uri="exec:cat > " + name)
            one.migrated()
            assert one.q.ok("query-migrate")["ram"]["transferred"] > 1 << 20
            assert one.q.ok("query-status")["status"] == "postmigrate"
            digest = one.memory(folder)
        finally:
            one.close()
        two = Saved(folder, board, "-drive", "if=none,id=unused", "-incoming", "defer", "-S")
        try:
            assert two.q.ok("query-status")["status"] == "inmigrate"
            assert "No such file" in two.q.fails("migrate-incoming", uri="file:" + name + "x")
            two.q.ok("migrate-incoming", uri="file:" + name)
            assert two.memory(folder) == digest and two.q.ok("query-status")["status"] == "paused"
            two.q.ok("cont")
            two.lives(total)
        finally:
            two.close()
        with open(name, "r+b") as f:
            f.truncate(os.path.getsize(name) // 2)
        r = subprocess.run(two.m.args[:-3] + ["-incoming", "file:" + name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        assert r.returncode == 1 and "-incoming file:" in r.stderr and len(r.stderr.splitlines()) == 1, r


CHURN = "(i=0; while true; do i=$((i + 1)); yes $i | head -c 3000000 > /tmp/churn$((i % 5)); done) &"


def live(board):
    """To another process while the guest runs and fills memory; then every byte is there."""
    def run():
        with tempfile.TemporaryDirectory() as folder:
            there = os.path.join(folder, "there")
            one = Saved(folder, board, disk=False)
            try:
                total = re.search(r"SUM (\w+)\.", one.m.expect("GUEST-IS-UP", 240)).group(1)
                one.run(CHURN)
                # Too slow to end: the guest goes on meanwhile, and after it is given up.
                one.q.ok("migrate-set-parameters", max_bandwidth=1 << 20)
                one.q.ok("migrate", uri="exec:cat > /dev/null")
                before = one.number()
                assert one.q.ok("query-migrate")["status"] == "active" and one.q.ok("query-status")["running"]
                assert "in progress" in one.q.fails("migrate", uri="exec:true")
                until(lambda: one.number() > before, "the guest stands still")
                one.q.ok("migrate_cancel")
                one.migrated("cancelled")
                assert one.q.ok("query-migrate")["status"] == "cancelled" and one.q.ok("query-status")["running"]
                one.q.ok("migrate", uri="exec:false")  # one that does not listen
                one.migrated("failed")
                one.lives(total, disk=False)
                one.q.ok("migrate-set-parameters", max_bandwidth=0, downtime_limit=30)
                two = Saved(folder, board, "-incoming", "unix:" + there, "-S", disk=False)
                try:
                    one.q.ok("migrate", uri="unix:" + there)
                    passes = one.migrated()
                    info = one.q.ok("query-migrate")
                    assert passes >= 1 and info["ram"]["dirty-sync-count"] > 1 and info["ram"]["remaining"] == 0, (passes, info)
                    two.migrated()
                    assert two.q.ok("query-status")["status"] == "paused"
                    assert one.memory(folder) == two.memory(folder), "the memory is not what was sent"
                    one.q.ok("quit")
                    two.q.ok("cont")
                    two.lives(total, disk=False)
                    return "%d passes, stood still for %d ms" % (info["ram"]["dirty-sync-count"], info["downtime"])
                finally:
                    two.close()
            finally:
                one.close()
    return run


CASES = [("live, arm64", live("GICv3, PCI, 2 CPUs")), ("live, riscv64", live("riscv64, PLIC"))] + [(board, case(board)) for board in BOARDS] + [("travels", travel), ("virtio-mmio", case("GICv3, PCI, 2 CPUs", mmio=True))]
sys.exit(tap([c for c in CASES if re.search(PATTERN, c[0])]))
