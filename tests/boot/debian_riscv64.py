#!/usr/bin/env python3
"""debian_riscv64.py PROGRAM-DIR [PATTERN]: Debian's riscv64 kernel under OpenSBI with a busybox initramfs to a marker and a clean power-off, over hart counts and CPU options; virtio disk and network from inside; U-Boot's prompt at machine and supervisor level."""
import os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-riscv64")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
COMMON = ["-m", "512", "-nographic", "-no-reboot"]


def finish(m):
    assert m.wait(60) == 0, "exit status %s" % m.process.returncode


def linux(initrd, extra):
    return Machine([PROGRAM] + COMMON + extra + ["-kernel", guests.kernel("riscv64"), "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet"])


def boot(harts, board, cpu):
    def run():
        with linux(guests.initrd("riscv64"), ["-M", board, "-cpu", cpu, "-smp", str(harts), "-nic", "none"]) as m:
            m.expect(guests.MARKER, 120)
            line = m.expect("\n", 10)
            assert line.split() == ["riscv64", str(harts)], "the guest saw %r" % line
            finish(m)
    return run


def devices(disk, nic, board="virt", interrupts=None):
    """A sector written and read back, and an address by DHCP; the kernel's name for one of the interrupts."""
    def run():
        names = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net"]
        entries, load = guests.modules("riscv64", *names)
        script = load + ("i=0; while [ ! -b /dev/vda ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done\n"
                         "echo kept-on-disk | dd of=/dev/vda bs=512 seek=9 conv=notrunc 2>/dev/null; sync\n"
                         "echo 3 > /proc/sys/vm/drop_caches\necho disk: $(dd if=/dev/vda bs=512 skip=9 count=1 2>/dev/null | head -n 1)\n"
                         "ip link set eth0 up; udhcpc -i eth0 -n -q -t 8 -T 2 -s /bin/true >/tmp/dhcp 2>&1\n"
                         "grep -o 'lease of [0-9.]*' /tmp/dhcp\ncat /proc/interrupts\necho %s" % guests.MARKER)
        initrd = guests.initrd("riscv64", script, entries, "devices")
        with tempfile.NamedTemporaryFile() as image:
            image.truncate(8 << 20)
            with linux(initrd, ["-M", board, "-smp", "2", "-drive", "file=%s,format=raw,if=none,id=d0" % image.name, "-device", disk + ",drive=d0",
                                "-netdev", "user,id=n0", "-device", nic + ",netdev=n0"]) as m:
                m.expect("disk: kept-on-disk", 120)
                m.expect("lease of 10.0.2.15", 60)
                if interrupts:
                    m.expect(interrupts, 10)
                m.expect(guests.MARKER, 30)
                finish(m)
            image.seek(9 * 512)
            assert image.read(12) == b"kept-on-disk", "the host does not see what the guest wrote"
    return run


def counters(cpu):
    """Linux's perf events on the counters that the device tree names: a loop counts its own instructions, overflows come as interrupts."""
    def run():
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "counters")
            subprocess.run(["riscv64-linux-gnu-gcc", "-O2", "-static", "-o", program, os.path.join(os.path.dirname(guests.__file__), "counters.c")], check=True)
            with open(program, "rb") as f:
                initrd = guests.initrd("riscv64", "counters && echo %s" % guests.MARKER, [("bin/counters", 0o100755, f.read())], "counters")
        with linux(initrd, ["-M", "virt", "-cpu", cpu, "-smp", "2", "-nic", "none"]) as m:
            m.expect("counters: ", 120)
            m.expect(guests.MARKER, 30)
            finish(m)
    return run


def uboot(option, level):
    def run():
        image = os.path.join(guests.unpack("all", "u-boot-qemu:all"), "usr/lib/u-boot/qemu-riscv64%s/u-boot.bin" % level)
        with Machine([PROGRAM, "-M", "virt"] + COMMON + ["-nic", "none", option, image]) as m:
            m.expect("Hit any key", 60)
            m.send("\n")
            m.expect("=> ", 30)
    return run


cases = [("smp %d, %s, %s" % (n, b, c), boot(n, b, c)) for n, b, c in [(1, "virt", "max"), (2, "virt", "rv64"), (4, "virt,aclint=on", "max"), (8, "virt", "rv64"),
                                                                   (1, "virt,aia=aplic", "max"), (8, "virt,aia=aplic,aclint=on", "max"), (1, "virt,aia=aplic-imsic", "rv64"),
                                                                   (4, "virt,aia=aplic-imsic,aia-guests=3,aclint=on", "max"), (8, "virt,aia=aplic-imsic", "max"),
                                                                   (1, "virt", "max,sstc=off,svadu=off"), (1, "virt", "max,sv57=off"), (1, "virt", "max,sv48=off")]]
cases += [("virtio-mmio devices", devices("virtio-blk-device", "virtio-net-device")), ("virtio-pci devices", devices("virtio-blk-pci", "virtio-net-pci")),
          ("virtio-mmio devices, APLIC", devices("virtio-blk-device", "virtio-net-device", "virt,aia=aplic")),
          ("virtio-pci devices by MSI-X", devices("virtio-blk-pci", "virtio-net-pci", "virt,aia=aplic-imsic", "PCI-MSIX"))]
cases += [("performance counters, " + c, counters(c)) for c in ("max", "rva23s64")]
cases += [("U-Boot at machine level", uboot("-bios", "")), ("U-Boot under OpenSBI", uboot("-kernel", "_smode"))]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
