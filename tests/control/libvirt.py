#!/usr/bin/env python3
"""libvirt.py PROGRAM-DIR [PATTERN]: libvirt itself, a session daemon of its own with a home of its own, runs a domain whose emulator is ours."""
import os, re, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import tap

DIR = os.path.abspath(sys.argv[1])
IMG = os.path.join(DIR, "qemu-img")
NOBODY = 65534
GUEST = """echo 0 > /proc/sys/kernel/printk
echo GUEST-IS-UP
while read line; do eval "$line"; echo "<done>"; done
while true; do sleep 1000; done"""
DOMAIN = """<domain type='qemu'>
 <name>g1</name><uuid>7cc04fa4-6d5c-4a5d-8f9e-3c3f7a1b0001</uuid><memory unit='MiB'>256</memory><vcpu current='1'>2</vcpu>
 <os><type arch='aarch64' machine='virt'>hvm</type><kernel>{work}/Image</kernel><initrd>{work}/initrd</initrd><cmdline>console=ttyAMA0 quiet</cmdline></os>
 <features><gic version='3'/></features><cpu mode='custom'><model>cortex-a72</model></cpu>
 <on_reboot>restart</on_reboot>
 <devices><emulator>{work}/qemu-system-aarch64</emulator>
 <controller type='pci' model='pcie-root'/>{ports}
 <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{work}/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
 <interface type='user'><model type='virtio'/><mac address='52:54:00:12:34:56'/></interface>
 <serial type='pty'><target port='0'/></serial><console type='pty'/>
 <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
 <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
 <memballoon model='virtio'><stats period='1'/></memballoon>
 </devices></domain>"""
DISK = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='%s' bus='virtio'/></disk>"
NIC = "<interface type='user'><model type='virtio'/><mac address='52:54:00:12:34:99'/></interface>"


class Libvirt:
    def __init__(self, work):
        self.work = work
        self.env = dict(os.environ, HOME=work, LIBVIRT_LOG_FILTERS="1:qemu_monitor", LIBVIRT_LOG_OUTPUTS="1:file:%s/daemon.log" % work)
        for name in ("runtime_dir", "config_home", "cache_home", "data_home"):
            self.env["XDG_" + name.upper()] = self.path(name)
            os.mkdir(self.path(name), 0o700)
        shutil.copy(os.path.join(DIR, "myna"), self.path("qemu-system-aarch64"))
        for root, folders, files in os.walk(work):
            for name in [root] + [os.path.join(root, f) for f in files]:
                os.chown(name, NOBODY, NOBODY)
        self.daemon = subprocess.Popen(self.as_user("libvirtd", "--timeout", "600"), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.version()

    def as_user(self, *args):
        own = ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"] if os.getuid() == 0 else []
        return own + list(args)

    def path(self, name):
        return os.path.join(self.work, name)

    def version(self):
        for _ in range(100):
            if subprocess.run(self.as_user("virsh", "-q", "-c", "qemu:///session", "version"), env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.2)
        raise AssertionError("libvirtd does not answer")

    def virsh(self, *args, ok=True):
        r = subprocess.run(self.as_user("virsh", "-q", "-c", "qemu:///session", *args), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=120)
        assert (r.returncode == 0) == ok, "virsh %s: %s\n%s" % (" ".join(args), r.stdout, self.qemu_log())
        return r.stdout

    def file(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chown(self.path(name), NOBODY, NOBODY)
        return self.path(name)

    def image(self, name, size="64M"):
        subprocess.run([IMG, "create", "-q", "-f", "qcow2", self.path(name), size], check=True, stdout=subprocess.DEVNULL)
        os.chown(self.path(name), NOBODY, NOBODY)
        return self.path(name)

    def qemu_log(self):
        for root, _, files in os.walk(self.work):
            for f in files:
                if f == "g1.log":
                    return open(os.path.join(root, f)).read()[-600:]
        return ""

    def process_status(self):
        """/proc/PID/status of the machine."""
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % p) as f, open("/proc/%s/status" % p) as status:
                    if "guest=g1," in f.read() and "Name:\tlibvirtd" not in (text := status.read()):
                        return text
            except OSError:
                pass  # it ended
        return ""

    def refused(self):
        """Commands that were answered with an error since the last call, as "error text"."""
        text = open(self.path("daemon.log"), errors="replace").read()
        asked, found = {}, []
        for m in re.finditer(r'mon=(\S+) (?:msg=\{"execute":"([^"]*)".*?"id":"(libvirt-\d+)"\}|reply=\{ "id": "(libvirt-\d+)", "error": \{.*?"desc": "([^"]*)")', text):
            if m.group(2):
                asked[m.group(1), m.group(3)] = m.group(2)
            else:
                found.append("%s: %s" % (asked.get((m.group(1), m.group(4))), m.group(5)))
        return found

    def close(self):
        subprocess.run(self.as_user("virsh", "-q", "-c", "qemu:///session", "destroy", "g1"), env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(30)


class Console:
    """The guest's shell through the pty that libvirt names."""

    def __init__(self, lv):
        self.fd = os.open(lv.virsh("ttyconsole", "g1").strip(), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.text = ""

    def expect(self, word, seconds=120):
        end = time.monotonic() + seconds
        while word not in self.text:
            assert time.monotonic() < end, "no %r on the console: %s" % (word, self.text[-500:])
            try:
                self.text += os.read(self.fd, 4096).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.05)
        before, self.text = self.text.split(word, 1)
        return before

    def run(self, line):
        os.write(self.fd, line.encode() + b"\n")
        return self.expect("<done>")

    def until(self, line, word, there=True, seconds=60):
        end = time.monotonic() + seconds
        while (word in self.run(line).split()[len(line.split()):]) != there:
            assert time.monotonic() < end, "%r %s in the guest" % (word, "never appeared" if there else "stays")
            time.sleep(0.3)

    def close(self):
        os.close(self.fd)


def capabilities():
    text = LV.virsh("domcapabilities", "--emulatorbin", LV.path("qemu-system-aarch64"), "--arch", "aarch64", "--machine", "virt", "--virttype", "qemu")
    assert "<machine>virt" in text and "<arch>aarch64</arch>" in text, text
    assert re.search(r"<value>3</value>", text), text  # GIC versions
    assert "cortex-a72" in text, text


def start():
    LV.file("g1.xml", DOMAIN.format(work=LV.work, ports="<controller type='pci' model='pcie-root-port'/>" * 10))
    LV.virsh("define", LV.path("g1.xml"))
    LV.virsh("start", "g1")
    assert "running" in LV.virsh("domstate", "g1")
    global CONSOLE
    CONSOLE = Console(LV)
    CONSOLE.expect("GUEST-IS-UP")
    assert "vda" in CONSOLE.run("ls /sys/block") and "eth0" in CONSOLE.run("ls /sys/class/net")
    assert "virtio_rng" in CONSOLE.run("cat /sys/class/misc/hw_random/rng_current")
    assert "Seccomp:\t2\n" in LV.process_status(), "the sandbox that libvirt asks for is not in force"


def statistics():
    CONSOLE.run("dd if=/dev/vda of=/dev/null bs=1M count=4")
    stats = dict(l.strip().split("=", 1) for l in LV.virsh("domstats", "g1").splitlines() if "=" in l)
    assert stats["state.state"] == "1" and stats["vcpu.current"] == "1" and stats["vcpu.maximum"] == "2", stats
    assert int(stats["block.0.rd.bytes"]) >= 4 << 20 and stats["block.0.capacity"] == str(64 << 20), stats
    assert int(stats["block.0.physical"]) < 16 << 20, stats
    assert stats["balloon.maximum"] == str(256 << 10), stats
    for _ in range(40):
        memory = LV.virsh("dommemstat", "g1")
        if "available" in memory:
            break
        time.sleep(0.25)
    assert "available" in memory and "unused" in memory, memory
    assert "vda" in LV.virsh("domblklist", "g1") and "52:54:00:12:34:56" in LV.virsh("domiflist", "g1")
    assert "Capacity:       67108864" in LV.virsh("domblkinfo", "g1", "vda")
    LV.virsh("domblkstat", "g1", "vda")
    assert "running" in LV.virsh("domcontrol", "g1") or "ok" in LV.virsh("domcontrol", "g1")


def memory():
    LV.virsh("setmem", "g1", "192M")
    for _ in range(60):
        if "actual 196608" in LV.virsh("dommemstat", "g1"):
            break
        time.sleep(0.25)
    assert "actual 196608" in LV.virsh("dommemstat", "g1"), LV.virsh("dommemstat", "g1")
    LV.virsh("setmem", "g1", "256M")


def suspend():
    LV.virsh("suspend", "g1")
    assert "paused" in LV.virsh("domstate", "g1")
    LV.virsh("resume", "g1")
    assert "running" in LV.virsh("domstate", "g1")
    CONSOLE.run("true")


def monitor():
    assert "running" in LV.virsh("qemu-monitor-command", "g1", '{"execute":"query-status"}')
    assert "virtio-blk" in LV.virsh("qemu-monitor-command", "g1", "--hmp", "info qtree")


def hot_disk():
    LV.virsh("attach-device", "g1", LV.file("disk.xml", DISK % (LV.image("hot.qcow2", "32M"), "vdb")), "--live")
    CONSOLE.until("ls /sys/block", "vdb")
    assert "8+0 records" in CONSOLE.run("dd if=/dev/zero of=/dev/vdb bs=1M count=8 conv=fsync")
    LV.virsh("detach-device", "g1", LV.path("disk.xml"), "--live")
    CONSOLE.until("ls /sys/block", "vdb", there=False)
    for _ in range(60):
        if "vdb" not in LV.virsh("domblklist", "g1"):
            break
        time.sleep(0.25)
    assert "vdb" not in LV.virsh("domblklist", "g1")
    subprocess.run([IMG, "check", "-q", LV.path("hot.qcow2")], check=True)


def hot_nic():
    LV.virsh("attach-device", "g1", LV.file("nic.xml", NIC), "--live")
    CONSOLE.until("ls /sys/class/net", "eth1")
    LV.virsh("domif-setlink", "g1", "52:54:00:12:34:99", "down")
    CONSOLE.run("ip link set eth1 up")
    CONSOLE.until("cat /sys/class/net/eth1/carrier", "0")
    LV.virsh("domif-setlink", "g1", "52:54:00:12:34:99", "up")
    CONSOLE.until("cat /sys/class/net/eth1/carrier", "1")
    LV.virsh("detach-device", "g1", LV.path("nic.xml"), "--live")
    CONSOLE.until("ls /sys/class/net", "eth1", there=False)


def guest_sum(dev="vda"):
    CONSOLE.run("echo 3 > /proc/sys/vm/drop_caches")
    return re.search(r"([0-9a-f]{32})", CONSOLE.run("md5sum /dev/" + dev)).group(1)


def source(target="vda"):
    return re.search(r"%s\s+(\S+)" % target, LV.virsh("domblklist", "g1")).group(1)


def check(name):
    subprocess.run(["qemu-img" if shutil.which("qemu-img") else IMG, "check", "-q", "-U", name], check=True)


WRITER = "(for i in 1 2 3 4 5 6 7 8 9; do dd if=/dev/urandom of=/dev/vda bs=64k seek=$((i*37)) count=30 conv=fsync 2>/dev/null; done; echo > /tmp/written) &"


def snapshots():
    """External snapshots while the guest writes, then everything back into the first image."""
    first = source()
    for name in ("s1", "s2"):
        CONSOLE.run("rm -f /tmp/written; " + WRITER)
        LV.virsh("snapshot-create-as", "g1", name, "--disk-only", "--no-metadata", "--diskspec", "vda,file=" + LV.path(name + ".qcow2"))
        assert source() == LV.path(name + ".qcow2")
        CONSOLE.until("ls /tmp", "written")
    before = guest_sum()
    LV.virsh("blockcommit", "g1", "vda", "--base", first, "--top", LV.path("s1.qcow2"), "--wait")  # below the active one
    assert guest_sum() == before
    CONSOLE.run("rm -f /tmp/written; " + WRITER)
    LV.virsh("blockcommit", "g1", "vda", "--active", "--pivot", "--wait")
    assert source() == first
    CONSOLE.until("ls /tmp", "written")
    after = guest_sum()
    assert after != before
    image_is(first, after)


def image_is(name, wanted):
    """The image as qemu-img sees it beside the running machine, after a flush, has this checksum."""
    CONSOLE.run("sync")
    check(name)
    raw = LV.path("flat.raw")
    subprocess.run(["qemu-img" if shutil.which("qemu-img") else IMG, "convert", "-U", "-O", "raw", name, raw], check=True)
    assert subprocess.check_output(["md5sum", raw], text=True).split()[0] == wanted, name
    os.unlink(raw)


def copying():
    """A disk moves to another file while the guest writes, and an overlay is filled from below."""
    CONSOLE.run("rm -f /tmp/written; " + WRITER)
    LV.virsh("blockcopy", "g1", "vda", "--dest", LV.path("copy.qcow2"), "--format", "qcow2", "--wait", "--pivot", "--transient-job")
    assert source() == LV.path("copy.qcow2")
    CONSOLE.until("ls /tmp", "written")
    image_is(LV.path("copy.qcow2"), guest_sum())
    LV.virsh("snapshot-create-as", "g1", "s3", "--disk-only", "--no-metadata", "--diskspec", "vda,file=" + LV.path("s3.qcow2"))
    CONSOLE.run("rm -f /tmp/written; " + WRITER)
    LV.virsh("blockpull", "g1", "vda", "--wait")
    CONSOLE.until("ls /tmp", "written")
    os.rename(LV.path("copy.qcow2"), LV.path("gone.qcow2"))
    image_is(LV.path("s3.qcow2"), guest_sum())


BACKUP = "<domainbackup mode='push'>%s<disks><disk name='vda' backup='yes' type='file'><driver type='qcow2'/><target file='%s'/></disk></disks></domainbackup>"


def backup(name, since, checkpoint):
    LV.file("backup.xml", BACKUP % ("<incremental>%s</incremental>" % since if since else "", LV.path(name)))
    LV.virsh("backup-begin", "g1", LV.path("backup.xml"), LV.file("checkpoint.xml", "<domaincheckpoint><name>%s</name></domaincheckpoint>" % checkpoint))
    for _ in range(200):
        if "None" in LV.virsh("domjobinfo", "g1"):
            break
        time.sleep(0.1)
    said = LV.virsh("domjobinfo", "g1", "--completed", "--anystats")
    assert "Backup" in said and "Completed" in said, said


def backups():
    """A full backup, then two increments, each as the disk was; the bitmaps that make them stay with the image."""
    tool = "qemu-img" if shutil.which("qemu-img") else IMG
    sums = []
    for i, name in enumerate(("full.qcow2", "inc1.qcow2", "inc2.qcow2")):
        if i:
            CONSOLE.run("rm -f /tmp/written; " + WRITER)
            CONSOLE.until("ls /tmp", "written")
        sums.append(guest_sum())
        backup(name, "c%d" % (i - 1) if i else None, "c%d" % i)
        if i:
            subprocess.run([tool, "rebase", "-u", "-b", LV.path(("full.qcow2", "inc1.qcow2")[i - 1]), "-F", "qcow2", LV.path(name)], check=True)
            held = subprocess.check_output([tool, "map", "--output=json", LV.path(name)], text=True)
            assert 0 < sum(int(n) for n, data in re.findall(r'"length": (\d+), "depth": 0,.*?"data": (true|false)', held) if data == "true") < 48 << 20, held[:500]
        image_is(LV.path(name), sums[i])
    assert len(set(sums)) == 3 and LV.virsh("checkpoint-list", "g1", "--name").split() == ["c0", "c1", "c2"]
    check(source())
    LV.virsh("checkpoint-delete", "g1", "c1")
    LV.virsh("checkpoint-delete", "g1", "c0", "--children")
    assert LV.virsh("checkpoint-list", "g1", "--name").split() == []


def internal():
    """The machine's state in its disk, and back (libvirt 9 by HMP savevm, and -loadvm in a new process)."""
    global CONSOLE
    CONSOLE.run("echo remembered > /tmp/memo")
    LV.virsh("snapshot-create-as", "g1", "inside")
    CONSOLE.run("echo later > /tmp/memo")
    assert "inside" in LV.virsh("snapshot-list", "g1")
    LV.virsh("snapshot-revert", "g1", "inside", "--running", "--force")
    CONSOLE.close()
    CONSOLE = Console(LV)
    assert "remembered" in CONSOLE.run("cat /tmp/memo")
    LV.virsh("snapshot-delete", "g1", "inside")
    assert "inside" not in LV.virsh("snapshot-list", "g1")


def save_restore():
    global CONSOLE
    CONSOLE.run("echo travelled > /tmp/memo")
    LV.virsh("save", "g1", LV.path("g1.save"))
    assert "shut off" in LV.virsh("domstate", "g1")
    CONSOLE.close()
    LV.virsh("restore", LV.path("g1.save"))
    CONSOLE = Console(LV)
    assert "travelled" in CONSOLE.run("cat /tmp/memo")
    CONSOLE.run("dd if=/dev/vda of=/dev/null bs=1M count=4")


def resize():
    LV.virsh("blockresize", "g1", "vda", "80M")
    CONSOLE.until("cat /sys/block/vda/size", str(80 * 2048))


def reset():
    LV.virsh("reset", "g1")
    CONSOLE.expect("GUEST-IS-UP")


def end():
    LV.virsh("shutdown", "g1")  # this guest does not listen: nothing but the button
    CONSOLE.run("true")
    LV.virsh("destroy", "g1")
    assert "shut off" in LV.virsh("domstate", "g1")
    LV.virsh("start", "g1")
    LV.virsh("destroy", "g1")
    LV.virsh("undefine", "g1")


CASES = [("capabilities", capabilities), ("define and start", start), ("statistics", statistics), ("memory", memory), ("suspend and resume", suspend), ("monitor commands", monitor),
         ("a disk comes and goes", hot_disk), ("a NIC comes and goes", hot_nic), ("snapshots and commits", snapshots), ("backups", backups), ("copy and pull", copying), ("internal snapshot", internal), ("save and restore", save_restore), ("a disk grows", resize), ("reset", reset), ("shut down and destroy", end)]

if not shutil.which("libvirtd") or not shutil.which("virsh"):
    print("1..0 # SKIP libvirt is not installed")
    sys.exit(0)
WORK = tempfile.mkdtemp(prefix="libvirt-")
os.chmod(WORK, 0o755)
extra, load = guests.modules("arm64", "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_balloon", "virtio_console")
shutil.copy(guests.initrd("arm64", load + GUEST, extra, name="libvirt"), os.path.join(WORK, "initrd"))
shutil.copy(guests.kernel("arm64"), os.path.join(WORK, "Image"))
LV = Libvirt(WORK)
CONSOLE = None
LV.image("a.qcow2")
try:
    status = tap(CASES)
    for text in sorted(set(LV.refused())):
        print("# refused: " + text)
finally:
    LV.close()
    shutil.rmtree(WORK, ignore_errors=True)
sys.exit(status)
