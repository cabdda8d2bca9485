"""A real KVM for tests on a machine without hardware virtualization: QEMU emulates a processor with SVM, Debian's kernel with its
own kvm-amd runs on it, and an initramfs holds our program, its libraries and the inner guest. What runs there is a shell script.

The outer kernel is told how fast the TSC runs: by itself it counts ticks between two readings of an emulated timer, and on a busy host it then
believes in a fifth or a fourteenth of the rate. Its clock runs as many times too fast, for good, and every time limit in there comes too early.

The outer machine has one CPU. With more, each on a thread of its own, QEMU 7.2's may go on running what they translated before another changed
it: KVM has the outer kernel switch a hook in __schedule on with the first virtual machine and off after the last, and about one switch in forty
went wrong (seen: a CPU for ever at a breakpoint that memory no longer had; kernel, programs and guests with each other's registers).

Time goes into emulation, so kernels are unpacked here (vmlinux) and not by themselves in there."""
import ctypes, gzip, lzma, mmap, os, re, struct, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine

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


def tsc_khz(seconds=0.25):
    """What this host's TSC, which the emulated processor shows, counts in a millisecond. Of many readings beside the clock the closest
    counts, so it does not matter that the host is busy."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))  # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
        entry = ctypes.c_char.from_buffer(code)
        rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(entry))

        def reading():
            best = None
            for _ in range(100):
                before, ticks, after = time.monotonic_ns(), rdtsc(), time.monotonic_ns()
                if best is None or after - before < best[0]:
                    best = (after - before, before, ticks)
            return best[1:]
        ns0, ticks0 = reading()
        time.sleep(seconds)
        ns1, ticks1 = reading()
        del entry, rdtsc, reading  # the mapping is closed only when nothing points there
    return round((ticks1 - ticks0) * 1000000 / (ns1 - ns0))


class OuterDied(Exception):
    """The outer machine started anew by itself before it was done: its kernel panicked or its CPU shut down. Says what its console and its
    CPUs showed last."""


def last_words(console, resets):
    """The console's last lines, and the registers of each CPU that ran 64-bit code, as QEMU logs them at a reset."""
    records = re.split(r"(?m)^CPU Reset ", open(resets, errors="replace").read())
    return "\n".join(console[-30:] + [r.split("FCW")[0] for r in records if "RIP=" in r])


def run(data, seconds, memory=1536, echo=False, counted=False):
    """Boots the image; yields the console's lines until it says that it is done. `counted`: time in there is the number of instructions
    executed (a nanosecond each), whatever this host does meanwhile."""
    with tempfile.NamedTemporaryFile(suffix=".cpio") as f, tempfile.NamedTemporaryFile(suffix=".elf") as kernel, tempfile.NamedTemporaryFile() as resets:
        for file, content in ((f, data), (kernel, vmlinux(guests.kernel("amd64")))):
            file.write(content)
            file.flush()
        speed = ["-icount", "shift=0,sleep=off"] if counted else []
        rate = "" if counted else " tsc_early_khz=%d" % tsc_khz()
        args = [QEMU, "-M", "q35", "-accel", "tcg"] + speed + ["-cpu", "max", "-m", str(memory), "-nographic", "-nic", "none",
                "-d", "cpu_reset", "-D", resets.name, "-kernel", kernel.name, "-initrd", f.name,
                "-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check" + rate]
        console = []
        with Machine(args) as m:
            while True:
                line = m.expect("\n", seconds).strip()
                if "SeaBIOS (version" in line and console:
                    raise OuterDied(last_words(console, resets.name))
                console.append(line)
                if echo:
                    print("%6.1f s, %6.1f CPU s: %s" % (time.monotonic() - m.started, cpu(m.process.pid), line), flush=True)
                if line.endswith("NEST-IS-DONE"):
                    return
                yield line
