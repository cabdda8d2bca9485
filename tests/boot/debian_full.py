#!/usr/bin/env python3
"""debian_full.py PROGRAM-DIR [PATTERN]: a whole Debian system on a qcow2 overlay. Started by -kernel: systemd to a login prompt, the guest's gcc and python3, a minute of stress on
all vCPUs, power-off, file system clean. Then the same disk by UEFI: EDK II, GRUB, the installed kernel, and boot entries that the variable store keeps. For arm64 and riscv64."""
import hashlib, os, re, shutil, sys, tempfile, zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import debian
import guests
from machine import Machine, tap

PROGRAMS = os.path.abspath(sys.argv[1])
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
SECONDS = 60
STRESS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guests", "stress.c")

# What a healthy kernel does not say.
BAD = r"soft lockup|hard LOCKUP|rcu.*(stall|starved)|blocked for more than|BUG:|Oops|WARNING: CPU|EXT4-fs (error|warning)|I/O error|Call trace|Internal error"

HELLO = r"""
#include <math.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    double s = 0;
    for (int i = 1; i <= 1000000; i++)
        s += 1.0 / ((double)i * i);
    printf("hello from %s: %.6f\n", __VERSION__, sqrt(6 * s));
}
"""
PYTHON = "import sys, json, hashlib, zlib, decimal; print('python', sys.version_info[0], json.dumps({'a': [1, 2.5]}), hashlib.sha256(zlib.compress(b'x' * 100000)).hexdigest()[:8], decimal.Decimal(2).sqrt())"
PYTHON_SAYS = "python 3 {\"a\": [1, 2.5]} %s 1.414213562373095048801688724"

# The boot entry by which firmware came here, out of its own variables: attributes, length of the device path, description.
BOOT_ENTRY = """
def variable(name):
    return open('/sys/firmware/efi/efivars/%s-8be4df61-93ca-11d2-aa0d-00e098032b8c' % name, 'rb').read()[4:]
current = variable('Boot%04X' % int.from_bytes(variable('BootCurrent'), 'little'))
print('entry', current[6:].decode('utf-16-le', 'replace').split('\\0')[0])
"""


class Session:
    """A logged-in shell on the serial console."""

    def __init__(self, m, boot_timeout):
        self.m = m
        m.expect("guest login: ", boot_timeout)
        m.send("root\r")
        m.expect("Password: ", 60)
        m.send(debian.PASSWORD + "\r")
        m.expect("# ", 60)
        # No echo and no line editing: what comes back is only what commands print.
        m.send("exec env TERM=dumb PS1=REA''DY bash --norc --noediting\r")
        m.expect("READY", 60)
        m.send("stty -echo; PS1=; dmesg -n 1; echo SI''LENT\r")
        m.expect("SILENT\r\n", 60)

    def run(self, command, timeout=60, status=0):
        self.m.send(command + "\necho ST\"\"ATUS $?.\n")
        out = self.m.expect("STATUS ", timeout)
        got = self.m.expect(".\r", 10)
        assert got == str(status), "%s: status %s: %s" % (command[:60], got, out[-1000:])
        return out.replace("\r", "").strip()

    def put(self, path, text):
        self.run("cat > %s << 'END-OF-FILE'\n%s\nEND-OF-FILE" % (path, text.strip("\n")))

    def healthy(self):
        log = self.run("dmesg")
        assert "Linux version" in log, "no kernel log: " + log[:200]
        bad = [line for line in log.splitlines() if re.search(BAD, line)]
        assert not bad, "the kernel complained:\n" + "\n".join(bad[:20])
        failed = self.run("systemctl --failed --plain --no-legend")
        assert not failed, "units failed: " + failed

    def off(self):
        self.m.send("poweroff\n")
        assert self.m.wait(180) == 0, "exit status %s" % self.m.process.returncode


class Disk:
    """An overlay on a Debian disk, in a folder of its own."""

    def __init__(self, system):
        self.system = system

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        self.path = self.folder + "/disk.qcow2"
        debian.host(os.path.join(PROGRAMS, "qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.system.disk(PROGRAMS), self.path)
        return self

    def machine(self, *args, smp=2):
        board = {"arm64": ["-M", "virt,gic-version=3", "-cpu", "cortex-a72"]}.get(self.system.arch, self.system.machine)
        return Machine([os.path.join(PROGRAMS, self.system.program), *board, "-smp", str(smp), "-m", "1024", "-nographic", "-nic", "none",
                        "-drive", "if=none,id=d,format=qcow2,file=" + self.path, "-device", "virtio-blk-pci,drive=d"] + list(args))

    def clean(self):
        """Judged on the host: the image, and the file system in it, without any repair."""
        debian.host("qemu-img", "check", self.path)
        flat = self.folder + "/flat.raw"
        debian.host(os.path.join(sys.argv[1], "qemu-img"), "convert", "-O", "raw", self.path, flat)
        root = debian.root_of(flat, self.folder + "/root.raw")
        said = debian.host("e2fsck", "-f", "-n", root)
        assert "recovering journal" not in said, said
        os.unlink(flat)
        os.unlink(root)

    def __exit__(self, *exc):
        shutil.rmtree(self.folder)


def direct(system):
    return ["-kernel", guests.kernel(system.arch), "-initrd", system.initrd(), "-append", "console=%s systemd.default_device_timeout_sec=600" % system.console]  # the host may be busy


def work(system, smp):
    """Log in, compile, run, stress, switch off; then fsck."""
    def run():
        with Disk(system) as disk, disk.machine(*direct(system), smp=smp) as m:
            s = Session(m, 600)
            assert s.run("nproc") == str(smp)
            s.put("/root/hello.c", HELLO)
            s.run("gcc -O2 -o /root/hello /root/hello.c -lm", 120)
            said = s.run("/root/hello")
            assert re.fullmatch(r"hello from 1[24]\.\S+ ?\S*: 3\.141592", said), said
            want = PYTHON_SAYS % hashlib.sha256(zlib.compress(b"x" * 100000)).hexdigest()[:8]
            s.put("/root/t.py", PYTHON)
            said = s.run("python3 /root/t.py", 120)
            assert said == want, said
            s.put("/root/stress.c", open(STRESS).read())
            s.run("gcc -O2 -pthread -o /root/stress /root/stress.c", 120)
            said = s.run("/root/stress %d" % SECONDS, SECONDS * 5)
            assert re.match(r"cpus %d .*faults 0$" % smp, said), said
            s.healthy()
            s.off()
            disk.clean()
            return said
    return run


def firmware(system):
    """Code and a variable store, of the architecture's EDK II."""
    if system.arch == "arm64":
        folder = os.path.join(guests.unpack("all", "qemu-efi-aarch64:all"), "usr/share/AAVMF/AAVMF")
    else:
        folder = os.path.join(guests.unpack("riscv64", "qemu-efi-riscv64:all"), "usr/share/qemu-efi-riscv64/RISCV_VIRT")
    return folder + "_CODE.fd", folder + "_VARS.fd"


def bios(system):
    """RISC-V: the OpenSBI of the same suite as the firmware."""
    return ["-bios", os.path.join(guests.unpack("riscv64", "opensbi:all"), "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin")] if system.arch == "riscv64" else []


def uefi(system):
    """The removable-media path first; then the entry that grub-install wrote into the variables."""
    def run():
        with Disk(system) as disk:
            code, variables = firmware(system)
            store = shutil.copy(variables, disk.folder + "/vars.fd")
            flash = bios(system) + ["-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + code, "-drive", "if=pflash,unit=1,format=raw,file=" + store]
            with disk.machine(*flash) as m:
                s = Session(m, 900)
                assert b"GRUB" in m.out, "no GRUB on the console"
                s.run("test -d /sys/firmware/efi && findmnt /boot/efi")
                s.run("grub-install --target=%s --efi-directory=/boot/efi --bootloader-id=kept" % system.grub, 120)
                s.put("/root/entry.py", BOOT_ENTRY)
                said = s.run("python3 /root/entry.py")
                assert said.startswith("entry ") and said != "entry kept", said
                s.healthy()
                s.off()
            with disk.machine(*flash) as m:
                s = Session(m, 900)
                said = s.run("python3 /root/entry.py")
                assert said == "entry kept", said
                s.healthy()
                s.off()
            disk.clean()
    return run


cases = []
for system in (debian.ARM64, debian.RISCV64):
    cases += [("%s by -kernel, smp %d" % (system.arch, n), work(system, n)) for n in (2, 4)] + [("%s by UEFI and GRUB" % system.arch, uefi(system))]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
