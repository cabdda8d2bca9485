#!/usr/bin/env python3
"""disk.py PROGRAM-DIR [PATTERN]: a guest writes a qcow2 overlay through virtio-blk; qemu-img and e2fsck then judge, on the host, what is left, after a clean end and after SIGKILL."""
import hashlib, os, re, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
SIZE = 256 << 20

# The guest fills a file system with files and prints the checksum of the large one.
FILES = """
dd if=/dev/urandom of=/tmp/a bs=1M count=24 2>/dev/null
mount -t ext4 /dev/vda /mnt || echo NO-MOUNT
cp /tmp/a /mnt/a; mkdir /mnt/d; for i in $(seq 1 200); do echo file $i > /mnt/d/$i; done
rm /mnt/old; sync
echo SUM $(sha256sum < /mnt/a | cut -c1-64).
umount /mnt && echo UNMOUNTED
"""

# For SIGKILL: rounds of data that is synced, each announced once it is on the disk.
ROUNDS = """
dd if=/dev/urandom of=/tmp/a bs=1M count=4 2>/dev/null; echo SUM $(sha256sum < /tmp/a | cut -c1-64).
n=0; while [ $n -lt 60 ]; do dd if=/tmp/a of=/dev/vda bs=1M seek=$((n * 4)) conv=fsync 2>/dev/null; n=$((n + 1)); echo ROUND $n.; done
"""


def host(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    assert done.returncode == 0, "%s: status %d: %s" % (" ".join(argv), done.returncode, done.stdout)
    return done.stdout


def base(folder):
    """A raw ext4 image with a file of known bytes, and an overlay on it."""
    old = os.path.join(folder, "tree")
    os.mkdir(old)
    with open(old + "/old", "wb") as f:
        f.write(os.urandom(3 << 20))
    with open(old + "/kept", "wb") as f:
        f.write(os.urandom(5 << 20))
    raw, overlay = folder + "/base.raw", folder + "/overlay.qcow2"
    host("mke2fs", "-q", "-t", "ext4", "-d", old, raw, str(SIZE >> 10) + "k")
    host("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, overlay)
    return raw, overlay


def guest(script, drive, device):
    entries, insmod = guests.modules("arm64", "virtio_pci", "virtio_mmio", "virtio_blk", "crc32c_generic", "ext4")
    return Machine([PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "512", "-nographic", "-nic", "none", "-no-reboot",
                    "-kernel", guests.kernel("arm64"), "-initrd", guests.initrd("arm64", insmod + script, entries, "disk"), "-append", "console=ttyAMA0 panic=-1 quiet",
                    "-drive", "if=none,id=d," + drive, "-device", device + ",drive=d"])


def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def files(aio, device="virtio-blk-pci"):
    def run():
        folder = tempfile.mkdtemp()
        try:
            raw, overlay = base(folder)
            before = digest(raw)
            with guest(FILES, "file=%s,aio=%s" % (overlay, aio), device) as m:
                m.expect("SUM ", 120)
                want = m.expect(".\r", 10)
                m.expect("UNMOUNTED", 30)
                assert m.wait(60) == 0, "exit status %s" % m.process.returncode
            assert digest(raw) == before, "the backing file changed"
            host("qemu-img", "check", overlay)
            flat = folder + "/flat.raw"
            host("qemu-img", "convert", "-O", "raw", overlay, flat)
            host("e2fsck", "-f", "-n", flat)
            for name in ("a", "kept"):
                host("debugfs", "-R", "dump /%s %s/%s.out" % (name, folder, name), flat)
            assert digest(folder + "/a.out") == want, "the guest's file has other bytes"
            assert digest(folder + "/kept.out") == digest(folder + "/tree/kept"), "a file of the base has other bytes"
            listed = host("debugfs", "-R", "ls -p /d", flat)
            assert len(re.findall(r"^/", listed, re.M)) == 202, listed
        finally:
            shutil.rmtree(folder)
    return run


def killed(aio):
    """SIGKILL while the guest writes: the image opens, leaks at most, and has every round that the guest saw finished."""
    def run():
        folder = tempfile.mkdtemp()
        try:
            overlay = folder + "/image.qcow2"
            host("qemu-img", "create", "-q", "-f", "qcow2", overlay, str(SIZE))
            with guest(ROUNDS, "file=%s,aio=%s" % (overlay, aio), "virtio-blk-pci") as m:
                m.expect("SUM ", 120)
                want = m.expect(".\r", 10)
                m.expect("ROUND 7.", 60)
                time.sleep(0.01)
                m.process.send_signal(signal.SIGKILL)
                m.wait(10)
                rounds = int(re.findall(rb"ROUND (\d+)\.", m.out)[-1])
            assert rounds < 60, "the guest had finished before the signal"
            host("qemu-img", "check", "-r", "leaks", overlay)
            flat = folder + "/flat.raw"
            host("qemu-img", "convert", "-O", "raw", overlay, flat)
            with open(flat, "rb") as f:
                for n in range(rounds):
                    assert hashlib.sha256(f.read(4 << 20)).hexdigest() == want, "round %d of %d was lost" % (n + 1, rounds)
            return "%d rounds kept" % rounds
        finally:
            shutil.rmtree(folder)
    return run


cases = [("files, aio=threads", files("threads")), ("files, aio=io_uring", files("io_uring")), ("files, virtio-blk-device", files("threads", "virtio-blk-device")),
         ("SIGKILL, aio=threads", killed("threads")), ("SIGKILL, aio=io_uring", killed("io_uring"))]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
