"""A real KVM for tests on a machine without hardware virtualization: QEMU emulates a processor with SVM, Debian's kernel with its
own kvm-amd runs on it, and an initramfs holds our program, its libraries and the inner guest. What runs there is a shell script."""
import os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, Timeout

QEMU = "qemu-system-x86_64"
SETUP = """
mkdir -p /tmp /dev/shm /run /var/tmp
mount -t tmpfs tmp /tmp
ip link set lo up
exec </dev/null
dmesg -n 1
"""


def libraries(program):
    """The shared libraries of a program, as (path in the image, path here)."""
    out = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {m.group(1) for m in re.finditer(r"(/\S+) \(0x", out)}


def copied(path, name, mode=0o100755):
    return (name, mode, open(path, "rb").read())


def stripped(path):
    with tempfile.NamedTemporaryFile() as t:
        subprocess.run(["strip", "-o", t.name, path], check=True)
        return open(t.name, "rb").read()


def tree(paths):
    """Entries for the folders above the given names."""
    dirs = set()
    for p in paths:
        parts = p.split("/")[:-1]
        dirs |= {"/".join(parts[:i + 1]) for i in range(len(parts))}
    return [(d, 0o040755, b"") for d in sorted(dirs)]


def image(program, script, extra=()):
    """The outer initramfs: /init loads kvm and runs `script`."""
    mods, insmods = guests.modules("amd64", "kvm-amd")
    kernel, initrd = guests.kernel("amd64"), guests.initrd("amd64")
    files = [("usr/bin/myna", 0o100755, stripped(program)), copied(kernel, "guest/kernel", 0o100644), copied(initrd, "guest/initrd", 0o100644)]
    files += [copied(lib, lib.lstrip("/")) for lib in sorted(libraries(program))]
    files += list(extra)
    init = "#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n/bin/busybox mount -t proc proc /proc\n/bin/busybox mount -t sysfs sys /sys\n" \
        "/bin/busybox --install -s /bin\nexport PATH=/bin:/usr/bin\n" + SETUP + insmods + "for n in qemu-system-x86_64 qemu-img; do ln -s myna /usr/bin/$n; done\n" \
        + script + "\necho NEST-IS-DONE\npoweroff -f\n"
    names = [f[0] for f in files]
    entries = [(d, 0o040755, b"") for d in ("bin", "dev", "proc", "sys")] + [d for d in tree(names) if d[0] not in ("bin",)]
    entries += [("dev/console", 0o020600, (5, 1)), ("init", 0o100755, init.encode()), copied(guests.busybox("amd64"), "bin/busybox")] + mods + files
    return guests.cpio(entries)


def run(data, seconds, cpus=2, memory=1536, echo=False):
    """Boots the image; yields the console's lines until it says that it is done."""
    with tempfile.NamedTemporaryFile(suffix=".cpio") as f:
        f.write(data)
        f.flush()
        args = [QEMU, "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(cpus), "-m", str(memory), "-nographic", "-nic", "none", "-no-reboot",
                "-kernel", guests.kernel("amd64"), "-initrd", f.name, "-append", "console=ttyS0 quiet panic=-1 mitigations=off"]
        with Machine(args) as m:
            while True:
                line = m.expect("\n", seconds).strip()
                if echo:
                    print(line, flush=True)
                if line.endswith("NEST-IS-DONE"):
                    return
                yield line
