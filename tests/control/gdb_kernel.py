#!/usr/bin/env python3
"""gdb_kernel.py PROGRAM-DIR: gdb-multiarch on a live Debian arm64 kernel: attach, hardware breakpoint, registers, memory, step, continue, detach."""
import os, re, shutil, socket, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import PATIENCE, Machine, free_port, listening, tap, until

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
FUNCTION = "__arm64_sys_sysinfo"  # uptime calls it
SCRIPT = ("grep ' %s$' /proc/kallsyms\nwhile ! read -t 1 line; do uptime >/dev/null; done\necho HEARD $line" % FUNCTION)


def gdb(port, commands):
    args = ["gdb-multiarch", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set architecture aarch64", "-ex", "target remote 127.0.0.1:%d" % port]
    for c in commands:
        args += ["-ex", c]
    r = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    return r.stdout


def number(text, name):
    m = re.search(name + r" = (0x[0-9a-f]+)", text)
    assert m, "no %s in:\n%s" % (name, text)
    return int(m.group(1), 16)


def live_kernel(cpus):
    def run():
        port = free_port()
        args = [PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-smp", str(cpus), "-m", "512", "-nographic", "-nic", "none", "-gdb", "tcp:127.0.0.1:%d" % port,
                "-kernel", guests.kernel("arm64"), "-initrd", guests.initrd("arm64", SCRIPT, name="gdb"), "-append", "console=ttyAMA0 panic=-1 nokaslr quiet"]
        with Machine(args) as m:
            m.expect(" T " + FUNCTION, 120)
            address = int(m.out[:m.mark].split(b"\n")[-1].split()[0], 16)
            out = gdb(port, ["hbreak *0x%x" % address, "continue", "printf \"at = 0x%lx\\n\", $pc", "printf \"arg = 0x%lx\\n\", $x0", "printf \"sp = 0x%lx\\n\", $sp",
                             "printf \"insn = 0x%x\\n\", *(unsigned int *)$pc", "printf \"stack = 0x%lx\\n\", *(unsigned long *)$sp", "info threads", "info registers cpsr",
                             "delete", "stepi", "printf \"next = 0x%lx\\n\", $pc", "hbreak *$x30", "continue", "printf \"returned = 0x%lx\\n\", $pc", "detach"])
            assert number(out, "at") == address, out
            assert number(out, "arg") >> 48 == 0xffff and number(out, "sp") >> 48 == 0xffff, out  # pointers into the kernel
            assert number(out, "insn") not in (0, 0xffffffff), out
            assert number(out, "next") == address + 4, out
            assert number(out, "returned") >> 48 == 0xffff and "Breakpoint 2" in out, out
            assert len(re.findall(r"Thread \d+", out)) >= cpus, out
            m.send("aloud\n")
            m.expect("HEARD aloud", 30)
            assert m.wait(60) == 0, "exit status %s" % m.process.returncode
    return run


def from_the_start():
    """-S: nothing has run; the first instruction is the loader's, and stepping advances."""
    port = free_port()
    args = [PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-m", "512", "-nographic", "-nic", "none", "-S", "-gdb", "tcp:127.0.0.1:%d" % port, "-kernel", guests.kernel("arm64")]
    with Machine(args) as m:
        until(lambda: listening(port), "nobody listens")  # connecting would let the machine run
        out = gdb(port, ["stepi", "printf \"two = 0x%lx\\n\", $pc", "set $x5 = 0x1122334455667788", "printf \"set = 0x%lx\\n\", $x5",
                         "set *(unsigned long *)0x48000000 = 0xdeadbeefcafe", "printf \"mem = 0x%lx\\n\", *(unsigned long *)0x48000000", "monitor info status", "kill"])
        assert number(out, "set") == 0x1122334455667788 and number(out, "mem") == 0xdeadbeefcafe, out
        assert "VM status: paused" in out, out
        assert m.wait(10) == 0, "exit status %s after kill" % m.process.returncode


WATCHED = """
.globl _start
_start:
    mrs x5, mpidr_el1
    and x5, x5, #3
    ldr x0, =0x40100000
    add x6, x0, x5, lsl #4
    mov x1, #0
loop:
    add x1, x1, #1
    str x1, [x6, #8]
    and x2, x1, #0xfff
    cbnz x2, loop
    str x1, [x0]
    ldr x3, [x0, #64]
    b loop
"""


def small_guest(folder):
    for name, text in (("w.s", WATCHED),):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    for tool in (["as", "-o", "w.o", "w.s"], ["ld", "-Ttext=0", "-o", "w.elf", "w.o"], ["objcopy", "-O", "binary", "w.elf", "w.bin"]):
        subprocess.run(["aarch64-linux-gnu-" + tool[0]] + tool[1:], cwd=folder, check=True)
    return os.path.join(folder, "w.bin")


def watchpoints():
    """A loop that writes its counter to one place 4096 times, then to another: only the watched place stops it, before the store; gdb shows old and new."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        args = [PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-m", "64", "-nographic", "-nic", "none", "-S", "-gdb", "tcp:127.0.0.1:%d" % port, "-bios", small_guest(folder)]
        with Machine(args) as m:
            until(lambda: listening(port), "nobody listens")
            out = gdb(port, ["watch *(unsigned long *)0x40100000", "continue", "printf \"first = 0x%lx\\n\", $x1", "continue", "printf \"second = 0x%lx\\n\", $x1", "delete",
                             "rwatch *(unsigned long *)0x40100040", "continue", "printf \"third = 0x%lx\\n\", $x1", "delete", "monitor info cpus", "kill"])
            assert number(out, "first") == 0x1000 and number(out, "second") == 0x2000 and number(out, "third") == 0x2000, out
            assert "New value = 4096" in out and "Old value = 4096" in out and "New value = 8192" in out, out
            assert "CPU #0" in out, out


def port_in_use():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        port = s.getsockname()[1]
        r = subprocess.run([PROGRAM, "-M", "virt", "-display", "none", "-serial", "none", "-gdb", "tcp:127.0.0.1:%d" % port], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert r.returncode == 1 and len(r.stderr.splitlines()) == 1 and str(port) in r.stderr and "in use" in r.stderr, r.stderr


if not shutil.which("gdb-multiarch"):
    print("1..0 # SKIP gdb-multiarch is not installed")
    sys.exit(0)
sys.exit(tap([("live kernel, 1 vCPU", live_kernel(1)), ("live kernel, 2 vCPUs", live_kernel(2)), ("from the first instruction", from_the_start), ("watchpoints", watchpoints), ("port in use", port_in_use)]))
