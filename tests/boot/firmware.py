#!/usr/bin/env python3
"""firmware.py PROGRAM-DIR [PATTERN]: firmware out of Debian's packages. AAVMF to its shell with a variable store that keeps what the shell sets, AAVMF to Linux through fw_cfg, U-Boot to its prompt."""
import os, re, shutil, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
BOARD = [PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-m", "512", "-nographic", "-nic", "none", "-no-reboot"]


def aavmf(name):
    return os.path.join(guests.unpack("all", "qemu-efi-aarch64:all"), "usr/share/AAVMF", name)


def flash(store):
    return ["-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + aavmf("AAVMF_CODE.fd"), "-drive", "if=pflash,unit=1,format=raw,file=" + store]


def shell(store, command, answer):
    """One run of the UEFI shell: a command, its answer, and off."""
    with Machine(BOARD + flash(store)) as m:
        m.expect("any other key to continue", 180)
        m.send("\r")
        m.expect("Shell> ", 60)
        m.send(command + "\r")
        said = m.expect("Shell> ", 60)
        assert answer in said, "the shell said %r" % said
        m.send("reset -s\r")
        assert m.wait(60) == 0, "exit status %s" % m.process.returncode


def variables():
    folder = tempfile.mkdtemp()
    try:
        store = shutil.copy(aavmf("AAVMF_VARS.fd"), folder + "/vars.fd")
        name = "setvar Kept -guid 11111111-2222-3333-4444-555555555555"
        shell(store, name + " -nv -bs =0x4b455054", "")
        shell(store, name, "54 50 45 4B")
    finally:
        shutil.rmtree(folder)


def linux():
    """AAVMF loads the kernel that fw_cfg offers, by its EFI stub: the guest then sees EFI and ACPI, and powers off through it."""
    script = "mount -t efivarfs e /sys/firmware/efi/efivars 2>/dev/null; echo %s $([ -d /sys/firmware/efi ] && echo efi).\n" % guests.MARKER
    with Machine(BOARD + ["-bios", aavmf("../qemu-efi-aarch64/QEMU_EFI.fd"), "-kernel", guests.kernel("arm64"), "-initrd", guests.initrd("arm64", script, name="efi"),
                          "-append", "console=ttyAMA0 panic=-1"]) as m:
        m.expect(guests.MARKER + " ", 240)
        assert m.expect(".\r", 10) == "efi", "no EFI in the guest"
        assert b"ACPI: RSDP" in m.out, "no ACPI tables in the guest"
        assert m.wait(60) == 0, "exit status %s" % m.process.returncode


def uboot():
    image = os.path.join(guests.unpack("all", "u-boot-qemu:all"), "usr/lib/u-boot/qemu_arm64/u-boot.bin")
    with Machine(BOARD + ["-bios", image]) as m:
        m.expect("Hit any key to stop autoboot", 60)
        m.send(" ")
        m.expect("=> ", 30)
        m.send("bdinfo\r")
        m.expect("DRAM bank", 30)
        m.expect("=> ", 30)
        m.send("poweroff\r")
        assert m.wait(30) == 0, "exit status %s" % m.process.returncode


cases = [("U-Boot", uboot), ("AAVMF, Linux by its EFI stub", linux), ("AAVMF, variables", variables)]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
