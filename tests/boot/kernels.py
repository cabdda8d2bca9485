#!/usr/bin/env python3
"""kernels.py PROGRAM-DIR [PATTERN]: our own small riscv64 kernel (tests/isa/riscv/kernel) from reset at machine level with each kind of timer, and as payload of OpenSBI: fw_dynamic and fw_jump, as ELF and as raw image. It checks itself; the exit status says how it went."""
import os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-riscv64")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "isa", "riscv", "kernel")
FLAGS = ["-O1", "-Wall", "-Werror", "-ffreestanding", "-fno-builtin", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector", "-fno-jump-tables",
         "-mcmodel=medany", "-march=rv64imac_zicsr_zifencei", "-mabi=lp64", "-Wl,--build-id=none", "-Wl,--no-relax", "-Wl,--no-warn-rwx-segments"]


def build(folder, base, *defines):
    elf = os.path.join(folder, "kernel.elf")
    files = [os.path.join(SOURCES, f) for f in ("entry.S", "kernel.c", "user.c", "platform.c", "disk.c")]
    subprocess.run(["riscv64-linux-gnu-gcc", *FLAGS, *defines, "-Wl,--defsym=base=%#x" % base, "-T", os.path.join(SOURCES, "link.ld"), "-o", elf, *files], check=True)
    return elf


def boot(folder, kernel, harts, *options):
    disk = os.path.join(folder, "disk.raw")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    with Machine([PROGRAM, "-M", "virt", "-m", "128", "-smp", str(harts), "-nographic", "-nic", "none", "-global", "virtio-mmio.force-legacy=false",
                  "-drive", "file=%s,format=raw,if=none,id=d" % disk, "-device", "virtio-blk-device,drive=d", *options, "-kernel", kernel]) as m:
        m.expect("kernel: all is well", 60)
        assert m.wait(30) == 0, "exit status %s" % m.process.returncode
    with open(disk, "rb") as f:
        assert len(set(f.read(12 * 4096))) > 200, "the processes' sectors are not on the disk"


def bare(harts, cpu, *defines):
    def run():
        with tempfile.TemporaryDirectory() as folder:
            boot(folder, build(folder, 0x80000000, *defines), harts, "-bios", "none", "-cpu", cpu)
    return run


def payload(harts, firmware, raw):
    def run():
        bios = os.path.join(guests.unpack("riscv64", "opensbi:all"), "usr/lib/riscv64-linux-gnu/opensbi/generic", firmware)
        with tempfile.TemporaryDirectory() as folder:
            kernel = build(folder, 0x80200000, "-DSBI")
            if raw:
                subprocess.run(["riscv64-linux-gnu-objcopy", "-O", "binary", kernel, kernel + ".bin"], check=True)
                kernel += ".bin"
            boot(folder, kernel, harts, "-bios", bios)
    return run


cases = [("from reset, Sstc, smp %d" % n, bare(n, "max")) for n in (1, 4, 8)]
cases += [("from reset, CLINT, smp %d" % n, bare(n, "max,sstc=off", "-DCLINT")) for n in (1, 4)]
cases += [("OpenSBI %s, %s, smp %d" % (f, "raw" if raw else "ELF", n), payload(n, f, raw)) for f, raw, n in (("fw_dynamic.bin", False, 4), ("fw_dynamic.bin", True, 8), ("fw_jump.bin", False, 2), ("fw_jump.bin", True, 4))]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
