#!/usr/bin/env python3
"""machines.py PROGRAM-DIR [PATTERN]: Debian's kernel on the machines that the matrix of debian_arm64.py leaves out. All CPU models, the secure side, EL2 with a KVM guest in it, 16 KiB
pages, and sizes: 512 vCPUs, 255 GiB."""
import base64, os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
HERE = os.path.dirname(os.path.abspath(__file__))


def boot(machine, cpu, smp, memory, script, name, kernel=None, extra=(), timeout=120, options=()):
    """Boots, runs the script in the initramfs, and returns what the console said; the guest must power off by itself."""
    with Machine([PROGRAM, "-M", "virt" + machine, "-cpu", cpu, "-smp", str(smp), "-m", memory, "-nographic", "-nic", "none", "-no-reboot", "-kernel", kernel or guests.kernel("arm64"),
                  "-initrd", guests.initrd("arm64", script + "\necho SCRIPT-END", extra, name), "-append", "console=ttyAMA0 panic=-1"] + list(options)) as m:
        m.expect("SCRIPT-END", timeout)
        assert m.wait(60) == 0, "exit status %s" % m.process.returncode
        said = m.out.decode(errors="replace").replace("\r", "")
        # Hundreds of vCPUs on a few host CPUs do wait for each other: only that is forgiven.
        late = r"soft lockup|rcu.*stall|" if smp <= 16 else ""
        bad = re.findall(r".*(?:%sWARNING: CPU|Oops|(?<!watchdog: )BUG:).*" % late, said)
        assert not bad, "the kernel complained: " + "\n".join(bad)
        return said


def has(said, *patterns):
    for p in patterns:
        assert re.search(p, said), "no %r on the console, which ended with:\n%s" % (p, said[-1500:])


def model(cpu):
    def run():
        has(boot("", cpu, 2, "512", "echo CPUS $(nproc).", "model"), r"CPUS 2\.")
    return run


def secure():
    """Without firmware the kernel starts on the non-secure side, and PSCI answers an SMC."""
    has(boot(",secure=on", "cortex-a72", 2, "512", "echo CPUS $(nproc).", "model"), r"CPUS 2\.", "psci: PSCIv1")


def nested(cpu, mode):
    """KVM in our guest runs a guest of its own: stage 2, the virtual CPU interface, the virtual timer."""
    def run():
        with tempfile.TemporaryDirectory() as folder:
            program = folder + "/kvm_guest"
            subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-static", "-o", program, os.path.join(HERE, "..", "guests", "kvm_guest.c")], check=True)
            data = open(program, "rb").read()
        said = boot(",virtualization=on,gic-version=3", cpu, 2, "512", "/kvm_guest", "kvm", extra=[("kvm_guest", 0o100755, data)])
        has(said, "started at EL2", mode + " mode initialized successfully")
        steps = re.findall(r"^KVM-GUEST.*", said, re.M)
        assert steps == ["KVM-GUEST 0 %d" % (100000 * 100001 // 2 % 2**32), "KVM-GUEST 8 42", "KVM-GUEST 12 27", "KVM-GUEST-DONE"], "the inner guest said %r" % steps
    return run


def pages_16k():
    said = boot("", "max", 2, "1024", "grep -m 1 KernelPageSize /proc/self/smaps; echo CPUS $(nproc).", "model16k", guests.kernel("arm64", "linux-image-arm64-16k", "trixie"))
    has(said, r"KernelPageSize: +16 kB", r"CPUS 2\.")


def many_cpus():
    """Debian's kernel uses 256 of them, and says so; the device tree has all, the redistributors lie in two places."""
    said = boot(",gic-version=3", "cortex-a72", 512, "2048", "echo CPUS $(nproc) $(ls -d /proc/device-tree/cpus/cpu@* | wc -l).", "cpus", timeout=900)
    has(said, r"CPUS 256 512\.", r"CPU122: found redistributor \S+ region 0:", r"CPU123: found redistributor \S+ region 1:", r"CPU255: found redistributor \S+ region 1:")


def all_cpus():
    """A kernel that takes as many as the machine may have, with 16 KiB pages."""
    said = boot(",gic-version=3", "max", 512, "8192", "echo CPUS $(nproc) $(cat /sys/devices/system/cpu/online).", "cpus512", guests.kernel("arm64", "linux-image-arm64-16k", "trixie"), timeout=900)
    has(said, r"CPUS 512 0-511\.", r"CPU511: found redistributor \S+ region 1:")


def many_cpus_acpi():
    """By firmware the kernel finds the same in ACPI's MADT, which the guest prints."""
    firmware = os.path.join(guests.unpack("all", "qemu-efi-aarch64:all"), "usr/share/qemu-efi-aarch64/QEMU_EFI.fd")
    said = boot(",gic-version=3", "cortex-a72", 512, "2048", "echo CPUS $(nproc).; echo MADT; base64 /sys/firmware/acpi/tables/APIC; echo END-MADT", "acpi", timeout=900,
                options=["-bios", firmware])
    has(said, r"CPUS 256\.", r"CPU122: found redistributor \S+ region 0:", r"CPU123: found redistributor \S+ region 1:")
    table = base64.b64decode("".join(re.search(r"^MADT\n(.*?)END-MADT", said, re.M | re.S).group(1).split()))
    kinds, at = [], 44
    while at < len(table):
        kinds.append(table[at])
        at += table[at + 1]
    GICC, GICD, GICR, ITS = 0x0b, 0x0c, 0x0e, 0x0f
    assert [kinds.count(k) for k in (GICC, GICD, GICR, ITS)] == [512, 1, 2, 1], "the MADT has entries of types %r" % sorted(kinds)


def much_memory(smp):
    """Sparse, whatever the host has: one warning where that is less."""
    def run():
        said = boot(",gic-version=3", "cortex-a72", smp, "255G", "grep MemTotal /proc/meminfo", "memory", timeout=900)
        kib = int(re.search(r"MemTotal: +(\d+) kB", said).group(1))
        assert 245 << 20 < kib < 255 << 20, "the guest has %d KiB" % kib
        warnings = re.findall(r".*: warning: .*", said)
        have = sum(int(n) for n in re.findall(r"^(?:MemTotal|SwapTotal): +(\d+)", open("/proc/meminfo").read(), re.M))
        assert len(warnings) == (1 if have < 255 << 20 else 0), "warnings: %r" % warnings
    return run


NODES = """
[memory]
  size = "512M"

[object "m0"]
  qom-type = "memory-backend-file"
  size = "384M"
  mem-path = "%s/ram"
  share = "on"
[object "m1"]
  qom-type = "memory-backend-ram"
  size = "128M"

# the same as -numa node,...
[numa]
  type = "node"
  cpus = "0-2"
  memdev = "m0"
[numa]
  type = "node"
  cpus = "3"
  memdev = "m1"
[numa]
  type = "dist"
  src = "0"
  dst = "1"
  val = "31"
[rtc]
  base = "2031-05-06T07:08:09"
"""
LOOK = "cd /sys/devices/system/node; for n in 0 1; do echo NODE $n CPUS $(cat node$n/cpulist) DISTANCE $(cat node$n/distance) $(grep MemTotal node$n/meminfo).; done; date '+DATE %Y-%m-%d'; echo of-this-guest-alone"


def nodes(firmware):
    """NUMA nodes from a configuration file, in memory that is a file outside; and the date that was asked for."""
    def run():
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/nodes.cfg", "w") as f:
                f.write(NODES % folder)
            extra = ["-bios", os.path.join(guests.unpack("all", "qemu-efi-aarch64:all"), "usr/share/qemu-efi-aarch64/QEMU_EFI.fd")] if firmware else []
            said = boot("", "cortex-a72", 4, "512", LOOK + ("; dmesg | grep -E 'SRAT|SLIT'" if firmware else ""), "nodes", timeout=240, options=["-readconfig", folder + "/nodes.cfg"] + extra)
            # By ACPI this kernel reads the nodes and then drops them, for this firmware calls the flash memory that is in none (so it is on QEMU, too).
            has(said, "DATE 2031-05-06", *([r"SRAT: Node 0 PXM 0 \[mem 0x40000000-0x57ffffff\]", r"SRAT: Node 1 PXM 1 \[mem 0x58000000-0x5fffffff\]", r"SRAT: PXM 1 -> MPIDR 0x3", "SLIT"] if firmware else
                [r"NODE 0 CPUS 0-2 DISTANCE 10 31 Node 0 MemTotal: 3[0-9]{5} kB", r"NODE 1 CPUS 3 DISTANCE 31 10 Node 1 MemTotal: 1[0-9]{5} kB"]))
            assert os.path.getsize(folder + "/ram") == 512 << 20 and b"of-this-guest-alone" in open(folder + "/ram", "rb").read(), "RAM is not in the file"
    return run


DENIED = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def sandbox():
    """All of -sandbox: the machine runs with a disk on an I/O thread and a network, and not one of its threads is left out."""
    entries, insmod = guests.modules("arm64", "virtio_pci", "virtio_blk", "virtio_net")
    script = insmod + 'echo UP; read a; dd if=/dev/zero of=/dev/vda bs=1M count=8 conv=fsync && echo WRIT""TEN'
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/disk", "wb") as f:
            f.truncate(8 << 20)
        options = ["-sandbox", DENIED, "-object", "iothread,id=t", "-drive", "if=none,id=d,format=raw,file=%s/disk" % folder, "-device", "virtio-blk-pci,drive=d,iothread=t",
                   "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]
        with Machine([PROGRAM, "-M", "virt", "-cpu", "max", "-smp", "2", "-m", "512", "-nographic", "-no-reboot", "-kernel", guests.kernel("arm64"),
                      "-initrd", guests.initrd("arm64", script, entries, "sandbox"), "-append", "console=ttyAMA0 panic=-1"] + options) as m:
            m.expect("UP", 120)
            tasks = "/proc/%d/task/" % m.process.pid
            for t in os.listdir(tasks):
                with open(tasks + t + "/status") as f:
                    status = f.read()
                assert re.search(r"^Seccomp:\s+2$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M), status
            m.send("\n")
            m.expect("WRITTEN", 60)
            assert m.wait(60) == 0, "exit status %s" % m.process.returncode


cases = [("sandbox", sandbox), ("NUMA by device tree", nodes(False)), ("NUMA by ACPI", nodes(True))]
cases += [("cpu " + c, model(c)) for c in ("cortex-a53", "cortex-a57", "cortex-a76", "neoverse-n1")]
cases += [("secure=on", secure), ("KVM guest, cortex-a72", nested("cortex-a72", "Hyp")), ("KVM guest, max", nested("max", "VHE")), ("16 KiB pages", pages_16k),
          ("512 vCPUs", many_cpus), ("512 vCPUs, all of them", all_cpus), ("512 vCPUs, ACPI", many_cpus_acpi), ("255 GiB", much_memory(4)), ("512 vCPUs and 255 GiB", much_memory(512))]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
