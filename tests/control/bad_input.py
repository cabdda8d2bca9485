#!/usr/bin/env python3
"""bad_input.py PROGRAM-DIR: what an operator can get wrong: one line on stderr that names the thing, exit status 1."""
import os, socket, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import PATIENCE, tap

DIR = os.path.abspath(sys.argv[1])
PROGRAM, IMG = os.path.join(DIR, "qemu-system-aarch64"), os.path.join(DIR, "qemu-img")
BASE = ["-M", "virt", "-display", "none", "-nodefaults"]


def path(name):
    return os.path.join(WORK, name)


def img(*args):
    subprocess.run([IMG] + list(args), check=True, stdout=subprocess.DEVNULL)


def refuse(args, *words):
    """The machine must not start; every word appears in the one line."""
    r = subprocess.run([PROGRAM] + BASE + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    lines = [l for l in r.stderr.splitlines() if " warning: " not in l]
    assert r.returncode == 1, "exit status %d\n%s" % (r.returncode, r.stderr)
    assert len(lines) == 1 and lines[0].startswith("qemu-system-aarch64: "), r.stderr
    for w in words:
        assert w in lines[0], "no %r in: %s" % (w, lines[0])


def case(args, *words):
    return lambda: refuse(args, *words)


def image_header(machine_size):
    """An arm64 Image header (Documentation/arm64/booting.rst) that claims a size."""
    return b"\0" * 16 + machine_size.to_bytes(8, "little") + b"\0" * 32 + b"ARM\x64" + b"\0" * 4


def nothing_to_run():
    """It starts, since clients make such machines; but it says so, unless its state comes from elsewhere."""
    for args, lines in (([], 1), (["-bios", "/bin/true"], 0), (["-incoming", "defer"], 0)):
        r = subprocess.run([PROGRAM] + BASE + args + ["-S", "-monitor", "stdio"], input="quit\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        said = [l for l in r.stderr.splitlines() if "nothing to run" in l]
        assert r.returncode == 0 and len(said) == lines and len(r.stderr.splitlines()) == lines, (args, r.returncode, r.stderr)


def truncated_kernel():
    with open(path("Image"), "wb") as f:
        f.write(image_header(1 << 20)[:62])
    with open(path("elf"), "wb") as f:
        f.write(open("/bin/true", "rb").read()[:40])
    refuse(["-kernel", path("elf")], path("elf"))


def corrupt_qcow2():
    img("create", "-f", "qcow2", path("bad.qcow2"), "16M")
    with open(path("bad.qcow2"), "r+b") as f:
        f.seek(40)  # l1_table_offset
        f.write(b"\xff" * 8)
    refuse(["-drive", "file=%s,format=qcow2,if=virtio" % path("bad.qcow2")], "bad.qcow2")
    with open(path("not.qcow2"), "wb") as f:
        f.write(b"x" * 4096)
    refuse(["-drive", "file=%s,format=qcow2,if=virtio" % path("not.qcow2")], "not.qcow2")


def backing_gone():
    img("create", "-f", "qcow2", path("base.qcow2"), "16M")
    img("create", "-f", "qcow2", "-b", path("base.qcow2"), "-F", "qcow2", path("over.qcow2"))
    os.remove(path("base.qcow2"))
    refuse(["-drive", "file=%s,format=qcow2,if=virtio" % path("over.qcow2")], "base.qcow2", "No such file")


def locked():
    img("create", "-f", "qcow2", path("held.qcow2"), "16M")
    drive = ["-drive", "file=%s,format=qcow2,if=virtio" % path("held.qcow2")]
    first = subprocess.Popen([PROGRAM] + BASE + ["-S", "-qmp", "stdio"] + drive, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert b"QMP" in first.stdout.readline()
        refuse(drive, "lock", "held.qcow2")
    finally:
        first.terminate()
        first.wait()


def subprocess_refuse(program, args, *words):
    r = subprocess.run([os.path.join(DIR, program), "-display", "none", "-nodefaults"] + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert r.returncode == 1 and all(w in r.stderr for w in words) and r.stderr.count("\n") == 1, r.stderr


def image_refuse(args, *words):
    r = subprocess.run([IMG] + args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert r.returncode == 1 and all(w in r.stderr for w in words) and r.stderr.count("\n") == 1, r.stderr


def bad_config():
    for text, words in (("[device]\nnonsense\n", ("config:2", "KEY")), ("key = \"v\"\n", ("config:1", "[GROUP]")), ("[gadget \"x\"]\na = \"b\"\n", ("gadget",)),
                        ("[device \"x\"]\n  driver = \"virtio-rng-pic\"\n", ("did you mean",)), ("[device \"x\"\n", ("config:1", "[GROUP]"))):
        with open(path("config"), "w") as f:
            f.write(text)
        refuse(["-readconfig", path("config")], *words)


def port_in_use():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        port = s.getsockname()[1]
        refuse(["-serial", "telnet:127.0.0.1:%d,server,nowait" % port], "in use", str(port))
        refuse(["-qmp", "tcp:127.0.0.1:%d,server=on,wait=off" % port], "in use", str(port))
        refuse(["-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:%d-:22" % port], str(port))


CASES = [
    ("missing kernel", case(["-kernel", "/nonexistent"], "kernel", "/nonexistent", "No such file")),
    ("truncated kernel", truncated_kernel),
    ("nothing to run", nothing_to_run),
    ("kernel for another architecture", case(["-kernel", "/bin/true"], "/bin/true", "AArch64")),
    ("missing initrd", case(["-kernel", "/bin/true", "-initrd", "/nonexistent"], "")),
    ("missing firmware", case(["-bios", "/nonexistent"], "/nonexistent")),
    ("missing device tree", case(["-dtb", "/nonexistent"], "/nonexistent")),
    ("missing disk", case(["-drive", "file=/nonexistent,format=raw,if=virtio"], "/nonexistent", "No such file")),
    ("corrupt qcow2", corrupt_qcow2),
    ("backing file gone", backing_gone),
    ("image locked", locked),
    ("unknown option", case(["-kernal", "x"], "-kernal", "did you mean", "kernel")),
    ("option without its value", case(["-append"], "-append", "argument")),
    ("unknown device", case(["-device", "virtio-blk-pic"], "virtio-blk-pic", "did you mean 'virtio-blk-pci'")),
    ("unknown property", case(["-device", "virtio-rng-pci,max-byte=3"], "max-byte", "did you mean 'max-bytes'")),
    ("bad value", case(["-device", "virtio-rng-pci,max-bytes=much"], "max-bytes", "much")),
    ("unknown machine", case(["-M", "vitr"], "vitr", "did you mean 'virt'")),
    ("unknown machine property", case(["-M", "virt,gic-versio=3"], "gic-versio", "did you mean 'gic-version'")),
    ("unknown CPU", case(["-cpu", "cortex-a73"], "cortex-a73", "did you mean 'cortex-a")),
    ("unknown CPU feature", case(["-cpu", "cortex-a72,pmuu=on"], "pmuu", "did you mean 'pmu'")),
    ("unknown accelerator", case(["-accel", "foo"], "foo")),
    ("unknown object", case(["-object", "rng-randum,id=r"], "rng-randum", "did you mean 'rng-random'")),
    ("unknown back end", case(["-netdev", "usr,id=n"], "usr", "did you mean 'user'")),
    ("unknown back end, the old way", case(["-net", "usr"], "-net: ", "usr", "did you mean 'user'")),
    ("unknown option of a new image", lambda: image_refuse(["create", "-f", "raw", "-o", "sze=1M", path("new"), "1M"], "sze", "did you mean 'size'")),
    ("unknown drive", case(["-device", "virtio-blk-pci,drive=zz"], "zz")),
    ("unknown log category", case(["-d", "in_asn"], "in_asn", "did you mean 'in_asm'")),
    ("missing entropy source", case(["-object", "rng-random,id=r,filename=/nonexistent"], "/nonexistent")),
    ("no CPUs", case(["-smp", "0"], "-smp")),
    ("too many CPUs", case(["-smp", "600"], "-smp", "600")),
    ("RAM larger than the host", case(["-m", "100T"], "host")),
    ("malformed size", case(["-m", "12x"], "12x")),
    ("port in use", port_in_use),
    ("floppy on a machine without", case(["-fda", "/etc/hostname"], "-fda floppy0", "no interface 'floppy'", "if=virtio")),
    ("a disk by an old option", case(["-hda", "/nonexistent"], "-hda: ", "/nonexistent", "No such file")),
    ("a disk without an option", case(["/nonexistent"], "disk image: ", "/nonexistent", "No such file")),
    ("a CD-ROM that is not there", case(["-cdrom", "/nonexistent"], "-cdrom: ", "/nonexistent")),
    ("a sandbox without on", case(["-sandbox", "spawn=deny"], "-sandbox", "begin with on or off")),
    ("a sandbox that denies what", case(["-sandbox", "on,spawn=never"], "spawn=never", "allow or deny")),
    ("a sandbox group misspelt", case(["-sandbox", "on,spwan=deny"], "spwan", "did you mean 'spawn'")),
    ("USB devices on a machine without", case(["-usb", "-usbdevice", "tablet"], "-usbdevice tablet", "no USB controller")),
    ("instruction counting", case(["-icount", "auto"], "-icount auto", "leave it out")),
    ("an old watchdog", case(["-watchdog", "i6300esb"], "-device i6300esb")),
    ("old options, and one that never was", case(["-localtime", "-nodefconfig", "-realtime", "mlock=off", "-balloon", "none", "-no-hpet", "-no-acpi", "-soundhw", "hda", "-no-kvm", "-bogus"], "-bogus")),
    ("a date that is none", case(["-rtc", "base=2020-13-01"], "-rtc", "base=2020-13-01")),
    ("a clock that stops", case(["-rtc", "clock=vm"], "clock=vm", "clock=host")),
    ("boot order misspelt", case(["-boot", "oder=c"], "did you mean 'order'")),
    ("nodes with too little memory", case(["-numa", "node,mem=100M"], "-numa", "100 MiB", "512 MiB")),
    ("a CPU in two nodes", case(["-smp", "2", "-numa", "node,cpus=0-1", "-numa", "node,cpus=1"], "CPU 1", "node 0 already")),
    ("a CPU that is not there", case(["-numa", "node,cpus=7"], "CPU 7")),
    ("a distance without nodes", case(["-numa", "node", "-numa", "dist,src=0,dst=1,val=20"], "dist")),
    ("nodes where there are none", lambda: subprocess_refuse("qemu-system-riscv64", ["-M", "spike", "-numa", "node"], "spike", "no NUMA")),
    ("memory of another size", case(["-object", "memory-backend-ram,id=m,size=1G", "-M", "memory-backend=m", "-m", "512"], "1024 MiB", "512 MiB")),
    ("memory in no folder", case(["-mem-path", "/nonexistent/ram"], "/nonexistent/ram")),
    ("-set of nothing", case(["-set", "device.x.y=1"], 'no device "x"')),
    ("no configuration file", case(["-readconfig", "/nonexistent"], "/nonexistent", "No such file")),
    ("a bad configuration file", bad_config),
    ("no such user", case(["-run-with", "user=nobody-at-all"], "nobody-at-all")),
    ("another root that is not there", case(["-run-with", "chroot=/nonexistent"], "/nonexistent") if os.getuid() == 0 else lambda: "only root can"),
    ("no such policy", case(["-compat", "deprecated-input=hide"], "-compat", "hide")),
    ("what cannot be saved", lambda: subprocess_refuse("qemu-system-x86_64", ["-M", "none", "-only-migratable"], "-only-migratable", "cannot be saved")),
    ("a value that is none of those there are", case(["-drive", "file=/dev/null,format=raw,aio=foo"], "aio=foo", "threads, native or io_uring")),
    ("a cache mode that is none", case(["-drive", "file=/dev/null,format=raw,cache=foo"], "cache=foo", "writeback")),
    ("a device without its disk", case(["-device", "virtio-blk-pci"], "'virtio-blk-pci' needs drive=ID")),
    ("a device with another's network", case(["-device", "virtio-net-pci,netdev=nope"], "'virtio-net-pci'", "-netdev", "'nope'")),
    ("a boot order of no such letters", case(["-boot", "x"], "-boot order=x")),
    ("a structure SMBIOS has not", case(["-smbios", "type=300"], "type=300", "17")),
    ("a monitor nowhere", case(["-monitor", "foo"], "-monitor", "'foo'", "stdio")),
    ("a debugger's port that is none", case(["-gdb", "tcp::99999"], "-gdb tcp::99999", "65535")),
    ("a chardev of no kind", case(["-chardev", "foo,id=a"], "-chardev", "'foo'")),
    ("a process option that is none", case(["-run-with", "usr=1"], "-run-with: unknown option 'usr'", "did you mean 'user'")),
    ("firmware that is not packaged", lambda: subprocess_refuse("qemu-system-riscv32", ["-M", "virt"], "riscv32", "-bios FILE")),
    ("pid file cannot be written", case(["-pidfile", "/nonexistent/pid"], "/nonexistent/pid")),
]

with tempfile.TemporaryDirectory() as WORK:
    status = tap(CASES)
sys.exit(status)
