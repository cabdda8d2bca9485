#!/usr/bin/env python3
"""debvm.py PROGRAM-DIR: Debian's debvm, unchanged. debvm-create builds an arm64 system (mmdebstrap, whose foreign programs the kernel's
binfmt_misc hands to our static user mode); debvm-run boots it with our qemu-system-aarch64, logs in, switches it off."""
import os, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

DIR = os.path.abspath(sys.argv[1])
BINFMT = "/proc/sys/fs/binfmt_misc"
NAME = "myna-debvm-test"
# An ELF file for AArch64, ABI and padding aside; flags as Debian registers QEMU's.
RULE = r":%s:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:" \
       r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s/qemu-aarch64-static:POCF"


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
    if not os.path.exists(BINFMT + "/register"):
        subprocess.run(["mount", "-t", "binfmt_misc", "none", BINFMT], check=True)
    with tempfile.TemporaryDirectory(prefix="myna-debvm-") as tmp:
        with open(BINFMT + "/register", "w") as f:
            f.write(RULE % (NAME, DIR))
        try:
            image = os.path.join(tmp, "vm.img")
            made = subprocess.run(["debvm-create", "-r", "bookworm", "-o", image, "--", "--architectures=arm64", guests.mirror()],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        finally:
            with open(os.path.join(BINFMT, NAME), "w") as f:
                f.write("-1")
        assert made.returncode == 0, made.stdout[-3000:]
        run(image)


sys.exit(tap([("debvm-create, debvm-run", case)]))
