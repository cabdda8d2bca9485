"""A real KVM for tests on a machine without hardware virtualization: QEMU emulates a processor with SVM, Debian's kernel with its
own kvm-amd runs on it, and an initramfs holds our program, its libraries and the inner guest. What runs there is a shell script.

Time goes into emulation, so kernels are unpacked here (vmlinux) and not by themselves in there, and inner guests run two at a time."""
import gzip, lzma, os, re, struct, subprocess, sys, tempfile, time

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


def vmlinux(path):
    """The ELF file inside a bzImage (Linux Documentation/arch/x86/boot.rst: payload_offset), without the zeros that end its segments."""
    d = open(path, "rb").read()
    at, size = struct.unpack_from("<II", d, 0x248)
    at += (d[0x1f1] + 1) * 512
    elf = lzma.LZMADecompressor().decompress(d[at:at + size])
    phoff, = struct.unpack_from("<Q", elf, 32)
    count, = struct.unpack_from("<H", elf, 56)
    out, head = bytearray(), bytearray(elf[:phoff + count * 56])
    struct.pack_into("<Q", head, 40, 0)  # no section headers
    struct.pack_into("<HHH", head, 58, 0, 0, 0)
    base = -len(head) % 4096 + len(head)
    for i in range(count):
        kind, _, off, _, _, filesz = struct.unpack_from("<IIQQQQ", elf, phoff + i * 56)
        body = elf[off:off + filesz]
        if kind == 1:
            body = body.rstrip(b"\0")
        struct.pack_into("<Q", head, phoff + i * 56 + 8, base + len(out))
        struct.pack_into("<Q", head, phoff + i * 56 + 32, len(body))
        out += body + b"\0" * (-len(body) % 4096)
    return bytes(head) + b"\0" * (base - len(head)) + bytes(out)


def without_notes(elf):
    """The same kernel without the note that names its PVH entry: what is left is Linux's own 64-bit one."""
    out = bytearray(elf)
    phoff, count = struct.unpack_from("<Q", elf, 32)[0], struct.unpack_from("<H", elf, 56)[0]
    for at in range(phoff, phoff + count * 56, 56):
        if struct.unpack_from("<I", elf, at)[0] == 4:
            struct.pack_into("<I", out, at, 0)
    return bytes(out)


def libraries(program):
    """The shared libraries of a program, by path."""
    out = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {m.group(1) for m in re.finditer(r"(/\S+) \(0x", out)}


def copied(path, name, mode=0o100755):
    return (name, mode, open(path, "rb").read())


def unpacked(path, name):
    return (name, 0o100644, gzip.decompress(open(path, "rb").read()))


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
    """The outer initramfs: /init loads kvm and runs `script`. The inner kernel lies there as /guest/vmlinux, and as /guest/bzimage
    from Debian's package."""
    mods, insmods = guests.modules("amd64", "kvm-amd")
    files = [("usr/bin/myna", 0o100755, stripped(program)), copied(guests.kernel("amd64"), "guest/bzimage", 0o100644)]
    files += [("guest/vmlinux", 0o100644, vmlinux(guests.kernel("amd64")))]
    files += [copied(lib, lib.lstrip("/")) for lib in sorted(libraries(program))]
    files += list(extra)
    init = "#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n/bin/busybox mount -t proc proc /proc\n/bin/busybox mount -t sysfs sys /sys\n" \
        "/bin/busybox --install -s /bin\nexport PATH=/bin:/usr/bin\n" + SETUP + insmods + "for n in qemu-system-x86_64 qemu-img; do ln -s myna /usr/bin/$n; done\n" \
        + script + "\necho NEST-IS-DONE\npoweroff -f\n"
    names = [f[0] for f in files]
    entries = [(d, 0o040755, b"") for d in ("bin", "dev", "proc", "sys")] + [d for d in tree(names) if d[0] not in ("bin",)]
    entries += [("dev/console", 0o020600, (5, 1)), ("init", 0o100755, init.encode()), copied(guests.busybox("amd64"), "bin/busybox")] + mods + files
    return guests.cpio(entries)


def cpu(pid):
    fields = open("/proc/%d/stat" % pid).read().rsplit(")")[-1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class OuterDied(Exception):
    """The outer machine ended by itself before it was done: its kernel panicked ("corrupted stack end" in kvm's vcpu_run was seen) or its
    CPU shut down. The cause is not known."""


def run(data, seconds, cpus=2, memory=1536, echo=False, counted=False):
    """Boots the image; yields the console's lines until it says that it is done. `counted`: time in there is the number of instructions
    executed (a nanosecond each), whatever this host does meanwhile."""
    with tempfile.NamedTemporaryFile(suffix=".cpio") as f, tempfile.NamedTemporaryFile(suffix=".elf") as kernel:
        for file, content in ((f, data), (kernel, vmlinux(guests.kernel("amd64")))):
            file.write(content)
            file.flush()
        speed = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"] if counted else ["-accel", "tcg,thread=multi"]
        args = [QEMU, "-M", "q35"] + speed + ["-cpu", "max", "-smp", "1" if counted else str(cpus), "-m", str(memory), "-nographic", "-nic", "none", "-no-reboot",
                "-kernel", kernel.name, "-initrd", f.name, "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check"]
        with Machine(args) as m:
            while True:
                try:
                    line = m.expect("\n", seconds).strip()
                except Timeout as e:
                    if m.process.poll() == 0:
                        raise OuterDied(str(e))
                    raise
                if echo:
                    print("%6.1f s, %6.1f CPU s: %s" % (time.monotonic() - m.started, cpu(m.process.pid), line), flush=True)
                if line.endswith("NEST-IS-DONE"):
                    return
                yield line
