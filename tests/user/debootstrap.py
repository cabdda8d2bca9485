#!/usr/bin/env python3
"""debootstrap.py BUILD WORK-DIR ARCH: debootstrap's first stage for another architecture on the host, its second stage in a chroot with nothing but the static
user mode, which leaves a complete Debian: every package configured, nothing for dpkg to complain about."""
import os, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "guests"))
import guests

build, work, arch = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
cpu = {"arm64": "aarch64", "riscv64": "riscv64"}[arch]
static = os.path.join(build, "qemu-%s-static" % cpu)
if os.geteuid() != 0 or not shutil.which("debootstrap") or not os.path.exists(static):
    print("1..0 # SKIP needs root, debootstrap and a static user mode")
    sys.exit(77)
root = os.path.join(work, "root")
shutil.rmtree(work, ignore_errors=True)
os.makedirs(work)
failed = 0


def inside(*command, timeout=5400):
    """Runs a program in the chroot, with a /proc of its own."""
    script = 'mount -t proc p "$0/proc" && exec chroot "$0" /usr/bin/qemu-%s-static "$@"' % cpu
    return subprocess.run(["unshare", "-mpf", "--kill-child", "sh", "-c", script, root, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root"})


def check(name, ok, text=""):
    global failed
    failed += not ok
    print(("ok - " if ok else "not ok - ") + name + ("" if ok else "\n# " + text[-2000:].replace("\n", "\n# ")), flush=True)


print("1..5")
r = subprocess.run(["debootstrap", "--foreign", "--arch=" + arch, "--variant=minbase", guests.SUITE[arch], root, guests.mirror()], stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT, text=True)
check("first stage", r.returncode == 0, r.stdout)
shutil.copy(static, root + "/usr/bin/")
r = inside("/bin/sh", "/debootstrap/debootstrap", "--second-stage")
check("second stage", r.returncode == 0 and "Base system installed successfully" in r.stdout, r.stdout)
r = inside("/usr/bin/dpkg", "-l")
rows = [l for l in r.stdout.split("\n") if l[:1] in "iurph" and len(l) > 2 and l[2] == " "]
check("%d packages, all configured" % len(rows), len(rows) > 60 and all(l.startswith("ii") for l in rows), r.stdout)
r = inside("/usr/bin/dpkg", "--audit")
check("nothing to complain about", r.returncode == 0 and not r.stdout.strip(), r.stdout)
r = inside("/bin/bash", "-c", "apt-get --version | head -n 1; perl -e 'print 6 * 7, qq(\\n)'; id -un; uname -m")
check("programs run", r.stdout.split("\n")[1:4] == ["42", "root", cpu] and r.stdout.startswith("apt "), r.stdout)
if not failed:
    shutil.rmtree(work)
sys.exit(failed != 0)
