#!/usr/bin/env python3
"""disk.py PROGRAM-DIR [PATTERN]: a guest writes a qcow2 overlay through virtio-blk; qemu-img and e2fsck then judge, on the host, what is left, after a clean end and after SIGKILL."""
import hashlib, os, re, shutil, signal, subprocess, sys, tempfile, time

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "..", room) for room in ("guests", "control")]
import guests
from client import Qmp
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
n=0; while [ $n -lt 60 ]; do dd if=/tmp/a of=/dev/vda bs=1M seek=$((n % 60 * 4)) conv=fsync 2>/dev/null; n=$((n + 1)); echo ROUND $n.; done
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


def guest(script, drive, device, *options):
    entries, insmod = guests.modules("arm64", "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "sd_mod", "crc32c_generic", "ext4")
    return Machine([PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "512", "-nographic", "-nic", "none", "-no-reboot",
                    "-kernel", guests.kernel("arm64"), "-initrd", guests.initrd("arm64", insmod + script, entries, "disk"), "-append", "console=ttyAMA0 panic=-1 quiet",
                    "-drive", "if=none,id=d," + drive, *options, "-device", device + ",drive=d"])


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
            with guest(ROUNDS.replace("[ $n -lt 60 ]", "true"), "file=%s,aio=%s" % (overlay, aio), "virtio-blk-pci") as m:
                m.expect("SUM ", 120)
                want = m.expect(".\r", 10)
                m.expect("ROUND 7.", 60)
                time.sleep(0.01)
                m.process.send_signal(signal.SIGKILL)
                m.wait(10)
                rounds = int(re.findall(rb"ROUND (\d+)\.", m.out)[-1])
            host("qemu-img", "check", "-r", "leaks", overlay)
            flat = folder + "/flat.raw"
            host("qemu-img", "convert", "-O", "raw", overlay, flat)
            with open(flat, "rb") as f:
                for n in range(min(rounds, 60)):
                    assert hashlib.sha256(f.read(4 << 20)).hexdigest() == want, "round %d of %d was lost" % (n + 1, rounds)
            return "%d rounds kept" % rounds
        finally:
            shutil.rmtree(folder)
    return run


# The 30th write of the image finds no room, once.
FULL = "driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=%s,file.inject-error.0.iotype=write,file.inject-error.0.errno=%d,file.inject-error.0.after=30,file.inject-error.0.once=%s"


def full():
    """The host's file system is full for a while: the machine stops, goes on when told, and nothing is lost."""
    folder = tempfile.mkdtemp()
    try:
        overlay, path = folder + "/image.qcow2", folder + "/qmp"
        host("qemu-img", "create", "-q", "-f", "qcow2", overlay, str(SIZE))
        script = ROUNDS.replace("-lt 60", "-lt 8") + "echo 3 > /proc/sys/vm/drop_caches; for n in 0 1 2 3 4 5 6 7; do echo BACK $(dd if=/dev/vda bs=1M skip=$((n * 4)) count=4 2>/dev/null | sha256sum | cut -c1-64).; done; echo READ-BACK\n"
        with guest(script, FULL % (overlay, 28, "on"), "virtio-blk-pci", "-qmp", "unix:%s,server=on,wait=off" % path) as m:
            q = Qmp(path)
            error = q.event("BLOCK_IO_ERROR", 120)["data"]
            assert error["action"] == "stop" and error["nospace"] and error["operation"] == "write" and error["device"] == "d", error
            q.event("STOP")
            assert q.ok("query-status") == {"status": "io-error", "running": False}, q.ok("query-status")
            assert q.ok("query-block")[0]["io-status"] == "nospace"
            q.ok("cont")
            assert q.ok("query-block")[0]["io-status"] == "ok"
            m.expect("READ-BACK", 120)
            assert m.wait(60) == 0, "exit status %s" % m.process.returncode
            text = m.out.decode(errors="replace")
        want = re.search("SUM (\\w+)", text).group(1)
        assert re.findall("BACK (\\w+)", text) == [want] * 8, text
        assert "I/O error" not in text, text
        host("qemu-img", "check", overlay)
    finally:
        shutil.rmtree(folder)


def broken():
    """A disk that fails for good, reported: the guest sees I/O errors and goes on, so do we."""
    folder = tempfile.mkdtemp()
    try:
        overlay = folder + "/image.qcow2"
        host("qemu-img", "create", "-q", "-f", "qcow2", overlay, str(SIZE))
        with guest(ROUNDS.replace("-lt 60", "-lt 4") + "dmesg | grep -c 'I/O error, dev vda.*WRITE' | sed 's/^/ERRORS /'\n", FULL % (overlay, 5, "off"), "virtio-blk-pci") as m:
            m.expect("ERRORS ", 120)
            assert int(m.expect("\r", 10)) > 0, "the guest saw no error"
            assert m.wait(60) == 0, "exit status %s" % m.process.returncode
    finally:
        shutil.rmtree(folder)


def ran(pid, tid):
    """Times a thread has gone to sleep and come back."""
    return int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", open("/proc/%d/task/%d/status" % (pid, tid)).read()).group(1))


def iothread(disk, device, *options):
    """The disk is served by the thread that was asked for, while monitors ask, pause and snapshot it."""
    folder = tempfile.mkdtemp()
    try:
        overlay, path = folder + "/image.qcow2", folder + "/qmp"
        host("qemu-img", "create", "-q", "-f", "qcow2", overlay, str(SIZE))
        script = ROUNDS.replace("-lt 60", "-lt 24").replace("/dev/vda", disk) + "echo 3 > /proc/sys/vm/drop_caches; dd if=%s bs=1M skip=92 count=4 2>/dev/null | sha256sum | cut -c1-64 | sed 's/^/BACK /'; echo THE-END\n" % disk
        with guest(script, "format=qcow2,node-name=top,file=" + overlay, device, "-object", "iothread,id=t0", "-object", "iothread,id=idle", "-qmp", "unix:%s,server=on,wait=off" % path, *options) as m:
            q = Qmp(path)
            threads = {t["id"]: t["thread-id"] for t in q.ok("query-iothreads")}
            assert open("/proc/%d/task/%d/comm" % (m.process.pid, threads["t0"])).read().strip() == "IO t0"
            q.fails("object-del", id="t0")
            m.expect("ROUND 1.", 120)
            before = {name: ran(m.process.pid, tid) for name, tid in threads.items()}
            for n in range(2, 9):
                m.expect("ROUND %d." % n, 60)
            after = {name: ran(m.process.pid, tid) for name, tid in threads.items()}
            for n in range(30):
                stats = q.ok("query-blockstats")[0]["stats"]
                q.ok("stop")
                q.ok("cont")
            q.ok("blockdev-snapshot-sync", **{"node-name": "top", "snapshot-file": folder + "/snap.qcow2", "snapshot-node-name": "over"})
            m.expect("ROUND 16.", 60)
            q.ok("block-commit", device="over", job_id="c")
            q.event("BLOCK_JOB_READY")
            q.ok("job-complete", id="c")
            q.event("BLOCK_JOB_COMPLETED")
            m.expect("THE-END", 120)
            assert m.wait(60) == 0, "exit status %s" % m.process.returncode
            text = m.out.decode(errors="replace")
        assert stats["wr_bytes"] >= 28 << 20, stats
        worked, idle = after["t0"] - before["t0"], after["idle"] - before["idle"]
        assert worked > 100 and idle <= 2, "the named thread woke %d times, the idle one %d" % (worked, idle)
        assert re.search("BACK (\\w+)", text).group(1) == re.search("SUM (\\w+)", text).group(1), text
        host("qemu-img", "check", overlay)
    finally:
        shutil.rmtree(folder)


cases = [("iothread of virtio-blk", lambda: iothread("/dev/vda", "virtio-blk-pci,iothread=t0")),
         ("iothread of virtio-scsi", lambda: iothread("/dev/sda", "scsi-hd", "-device", "virtio-scsi-pci,iothread=t0")),
         ("files, aio=threads", files("threads")), ("files, aio=io_uring", files("io_uring")), ("files, virtio-blk-device", files("threads", "virtio-blk-device")),
         ("SIGKILL, aio=threads", killed("threads")), ("SIGKILL, aio=io_uring", killed("io_uring")),
         ("the host has no room for a while", full), ("the disk fails for good", broken)]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
