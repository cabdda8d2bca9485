#!/usr/bin/env python3
"""A whole Debian system on a disk, as a user would install it.

    debian.py PROGRAM-DIR [ARCH]    prints the path of the disk (raw, GPT: EFI system partition, ext4 root); arm64 or riscv64

debootstrap unpacks the packages on the host; the second stage, which runs their installation scripts, runs as the
first process of a machine of our own, and so do grub-install and the making of the initramfs. The disk is kept beside
the other guests under a name that says by which recipe it was made, so only the first run takes its minutes.
"""
import hashlib, os, shutil, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guests
from machine import Machine

PASSWORD = "guest"
MIB = 1 << 20
SIZE, ESP, ROOT = 4096, (1, 63), (64, 4000)  # MiB: the disk; start and length of its partitions

# The second stage, as process 1. The machine is switched off by the kernel's own key.
SECOND = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive
mounts() { # debootstrap unmounts them when it is done
    mountpoint -q /proc || mount -t proc proc /proc
    mountpoint -q /sys || mount -t sysfs sys /sys
    mountpoint -q /dev || mount -t devtmpfs dev /dev
    mkdir -p /dev/pts /dev/shm
    mountpoint -q /dev/pts || mount -t devpts pts /dev/pts
}
mounts
stage() {
    /debootstrap/debootstrap --second-stage || { tail -n 40 /debootstrap/debootstrap.log; return 1; }
    mounts
    mkfs.vfat -n ESP /dev/vda1 && mkdir -p /boot/efi && mount /dev/vda1 /boot/efi &&
    grub-install --target=%s --efi-directory=/boot/efi --removable --no-nvram && update-grub &&
    umount /boot/efi && echo root:%s | chpasswd && rm -f /var/cache/apt/archives/*.deb /second.sh
}
stage && echo STAGE-DONE || echo STAGE-FAILED
sync; echo u > /proc/sysrq-trigger; sleep 2; echo o > /proc/sysrq-trigger; sleep 60
"""

# Mounts the root and hands over to what the kernel's command line names.
INIT = """mount -t ext4 -o rw /dev/vda2 /mnt && exec switch_root /mnt ${run:-/sbin/init}
echo NO-ROOT
"""


class System:
    """What one architecture's Debian differs in."""

    def __init__(self, arch, suite, program, machine, console, grub):
        self.arch, self.suite, self.program, self.console = arch, suite, program, console
        self.machine = ["-M", machine] + (["-cpu", "cortex-a72"] if arch == "arm64" else [])
        self.grub = grub + "-efi"
        self.folder = os.path.join(guests.ROOT, arch)
        self.packages = ("dosfstools", "e2fsprogs", "gcc", "grub-efi-" + grub, "initramfs-tools", "iproute2", "kmod", "libc6-dev", "linux-image-" + arch,
                         "login", "procps", "python3", "systemd-sysv", "udev")
        self.files = {
            "etc/hostname": "guest\n",
            "etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\nLABEL=ESP /boot/efi vfat umask=0077 0 2\n",
            "etc/default/grub": 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=1\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX="console=%s"\n' % console,
            # What a test image can do without: flushes while packages are unpacked, manuals, translations.
            "etc/dpkg/dpkg.cfg.d/small": "force-unsafe-io\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n",
            # An initramfs for this machine, made once, when all is configured.
            "etc/initramfs-tools/conf.d/small": "MODULES=list\nCOMPRESS=gzip\n",
            "usr/share/initramfs-tools/modules.d/virtio": "virtio_pci\nvirtio_blk\ncrc32c_generic\next4\n",
        }
        self.second = SECOND % (self.grub, PASSWORD)
        recipe = (self.packages, self.files, self.second, INIT, SIZE, ESP, ROOT)
        self.raw = os.path.abspath(os.path.join(self.folder, "debian-%s.raw" % hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]))

    def initrd(self):
        entries, insmod = guests.modules(self.arch, "virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "nls_cp437", "nls_ascii", "vfat")
        return guests.initrd(self.arch, insmod + INIT, entries, "root")

    def unpack(self, tree):
        """debootstrap's first stage, and the files that are ours."""
        key = guests.keyring()
        host("debootstrap", "--arch=" + self.arch, "--foreign", "--variant=minbase", "--include=" + ",".join(self.packages),
             *(["--keyring=" + key] if key else []), self.suite, tree, guests.mirror())
        for name in ("proc", "sys"):  # a first stage that is not to be chrooted into leaves links
            path = os.path.join(tree, name)
            if os.path.islink(path):
                os.unlink(path)
            os.makedirs(path, exist_ok=True)
        for name, text in dict(self.files, **{"second.sh": self.second}).items():
            path = os.path.join(tree, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)
        os.chmod(os.path.join(tree, "second.sh"), 0o755)

    def disk(self, programs):
        """The finished disk; it is to be written through an overlay only."""
        if os.path.exists(self.raw):
            return self.raw
        tree, new = self.raw + ".tree", self.raw + ".new"
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(self.folder, exist_ok=True)
        self.unpack(tree)
        partition(new, tree)
        shutil.rmtree(tree)
        with Machine([os.path.join(programs, self.program), *self.machine, "-smp", "2", "-m", "1024", "-nographic", "-nic", "none", "-no-reboot",
                      "-kernel", guests.kernel(self.arch), "-initrd", self.initrd(), "-append", "console=%s panic=-1 norandmaps run=/second.sh" % self.console,
                      "-drive", "if=none,id=d,format=raw,file=" + new, "-device", "virtio-blk-pci,drive=d"], log=self.raw + ".log") as m:
            m.expect("STAGE-DONE", 3000)
            assert m.wait(120) == 0, "exit status %s" % m.process.returncode
        os.rename(new, self.raw)
        return self.raw


ARM64 = System("arm64", "bookworm", "qemu-system-aarch64", "virt", "ttyAMA0", "arm64")
RISCV64 = System("riscv64", "trixie", "qemu-system-riscv64", "virt,aia=aplic-imsic", "ttyS0", "riscv64")


def host(*argv, **kw):
    env = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, **kw)
    if done.returncode:
        raise AssertionError("%s: status %d:\n%s" % (" ".join(argv), done.returncode, done.stdout[-3000:]))
    return done.stdout


def partition(raw, tree):
    with open(raw, "wb") as f:
        f.truncate(SIZE * MIB)
    table = "label: gpt\n" + "".join("start=%dMiB, size=%dMiB, type=%s\n" % (p + (t,)) for p, t in ((ESP, "uefi"), (ROOT, "linux")))
    host("sfdisk", "-q", raw, input=table)
    host("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, "-E", "offset=%d" % (ROOT[0] * MIB), raw, "%dM" % ROOT[1])


def root_of(raw, out):
    """The root file system of a raw disk as an image of its own, sparse, for e2fsck."""
    host("dd", "if=" + raw, "of=" + out, "bs=1M", "skip=%d" % ROOT[0], "count=%d" % ROOT[1], "conv=sparse", "status=none")
    return out


if __name__ == "__main__":
    print((RISCV64 if sys.argv[2:] == ["riscv64"] else ARM64).disk(sys.argv[1]))
