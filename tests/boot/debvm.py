#!/usr/bin/env python3
"""debvm.py PROGRAM-DIR: Debian's debvm, unchanged. debvm-create builds an arm64 system (mmdebstrap, whose foreign programs the kernel's
binfmt_misc hands to our static user mode); debvm-run boots it with our qemu-system-aarch64, logs in, switches it off."""
import os, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import binfmt_misc
import guests
from machine import Machine, tap

DIR = os.path.abspath(sys.argv[1])
AARCH64 = b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\xb7\0"  # an ELF file's first bytes


def run(image):
    with Machine(["debvm-run", "-i", image], dict(os.environ, PATH=DIR + ":" + os.environ["PATH"])) as m:
        m.expect("login: ", 400)
        m.send("root\n")
        m.expect("# ", 120)
        m.send("uname -m; id -un; systemctl is-system-running --wait; echo do''ne\n")
        said = m.expect("done", 300)
        assert "aarch64" in said and "root" in said and "running" in said, said
        m.send("systemctl poweroff\n")
        m.expect("Powering off", 120)
        status = m.wait(60)
        assert status == 0, status


def case():
    assert binfmt_misc.available(), "this kernel has no binfmt_misc"
    with tempfile.TemporaryDirectory(prefix="myna-debvm-") as tmp:
        image = os.path.join(tmp, "vm.img")
        with binfmt_misc.Registered(AARCH64, DIR + "/qemu-aarch64-static", "POCF"):  # as Debian registers QEMU's
            made = subprocess.run(["debvm-create", "-r", "bookworm", "-o", image, "--", "--architectures=arm64", guests.mirror()],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        assert made.returncode == 0, made.stdout[-3000:]
        run(image)


sys.exit(tap([("debvm-create, debvm-run", case)]))
