#!/usr/bin/env python3
"""firmware.py PROGRAM-DIR [PATTERN]: firmware out of Debian's packages. EDK II to its shell with a variable store that keeps what the shell sets, EDK II to Linux through fw_cfg with the
machine described by ACPI alone, U-Boot to its prompt. For arm64 and riscv64."""
import os, re, shutil, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
COMMON = ["-m", "512", "-nographic", "-no-reboot"]
ARM64 = [os.path.join(sys.argv[1], "qemu-system-aarch64"), "-M", "virt", "-cpu", "cortex-a72", *COMMON]


def aavmf(name):
    return os.path.join(guests.unpack("all", "qemu-efi-aarch64:all"), "usr/share/AAVMF/AAVMF_" + name)


def edk2_riscv(name):
    return os.path.join(guests.unpack("riscv64", "qemu-efi-riscv64:all"), "usr/share/qemu-efi-riscv64/RISCV_VIRT_" + name)


def riscv64(board):
    """The firmware below EDK II is to be of the same suite: with that of Debian 12 the kernel takes its memory, under other emulators, too."""
    bios = os.path.join(guests.unpack("riscv64", "opensbi:all"), "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin")
    return [os.path.join(sys.argv[1], "qemu-system-riscv64"), "-M", board, "-smp", "2", "-bios", bios, *COMMON]


def flash(edk2, store):
    return ["-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + edk2("CODE.fd"), "-drive", "if=pflash,unit=1,format=raw,file=" + store]


class Store:
    """A variable store of its own for each case."""

    def __init__(self, edk2):
        self.template = edk2("VARS.fd")

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        return shutil.copy(self.template, self.folder + "/vars.fd")

    def __exit__(self, *exc):
        shutil.rmtree(self.folder)


def shell(args, command, answer):
    """One run of the UEFI shell: a command, its answer, and off."""
    with Machine(args + ["-nic", "none"]) as m:
        m.expect("any other key to continue", 180)
        m.send("\r")
        m.expect("Shell> ", 60)
        m.send(command + "\r")
        said = m.expect("Shell> ", 60)
        assert answer in said, "the shell said %r" % said
        m.send("reset -s\r")
        assert m.wait(60) == 0, "exit status %s" % m.process.returncode


def variables(machine, edk2):
    def run():
        with Store(edk2) as store:
            name = "setvar Kept -guid 11111111-2222-3333-4444-555555555555"
            args = machine() + flash(edk2, store)
            shell(args, name + " -nv -bs =0x4b455054", "")
            shell(args, name, "54 50 45 4B")
    return run


def linux(arch, machine, edk2, console):
    """The kernel that fw_cfg offers, by its EFI stub: the guest then sees EFI and ACPI, has an address by DHCP over PCI, and powers off."""
    def run():
        entries, load = guests.modules(arch, "virtio_pci", "virtio_net")
        script = load + ("ip link set eth0 up; udhcpc -i eth0 -n -q -t 8 -T 2 -s /bin/true >/tmp/dhcp 2>&1\ngrep -o 'lease of [0-9.]*' /tmp/dhcp\n"
                         "mount -t efivarfs e /sys/firmware/efi/efivars 2>/dev/null; echo %s $(nproc) $([ -d /sys/firmware/efi ] && echo efi).\n" % guests.MARKER)
        with Store(edk2) as store:
            with Machine(machine() + flash(edk2, store) + ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0", "-kernel", guests.kernel(arch),
                         "-initrd", guests.initrd(arch, script, entries, name="efi"), "-append", "console=%s panic=-1" % console]) as m:
                m.expect("lease of 10.0.2.15", 240)
                m.expect(guests.MARKER + " ", 60)
                said = m.expect(".\r", 10)
                assert said == ("2 efi" if arch == "riscv64" else "1 efi"), "no EFI in the guest, or not its CPUs: " + said
                assert b"ACPI: RSDP" in m.out, "no ACPI tables in the guest"
                assert m.wait(60) == 0, "exit status %s" % m.process.returncode
    return run


def uboot():
    image = os.path.join(guests.unpack("all", "u-boot-qemu:all"), "usr/lib/u-boot/qemu_arm64/u-boot.bin")
    with Machine(ARM64 + ["-nic", "none", "-bios", image]) as m:
        m.expect("Hit any key to stop autoboot", 60)
        m.send(" ")
        m.expect("=> ", 30)
        m.send("bdinfo\r")
        m.expect("DRAM bank", 30)
        m.expect("=> ", 30)
        m.send("poweroff\r")
        assert m.wait(30) == 0, "exit status %s" % m.process.returncode


cases = [("U-Boot", uboot), ("arm64, Linux by its EFI stub", linux("arm64", lambda: ARM64, aavmf, "ttyAMA0")),
         ("arm64, EDK II's variables", variables(lambda: ARM64, aavmf))]
for aia in ("none", "aplic", "aplic-imsic"):
    cases.append(("riscv64, Linux by its EFI stub, aia=" + aia, linux("riscv64", lambda aia=aia: riscv64("virt,aia=" + aia), edk2_riscv, "ttyS0")))
cases.append(("riscv64, EDK II's variables", variables(lambda: riscv64("virt"), edk2_riscv)))
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
