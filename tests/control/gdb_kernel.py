#!/usr/bin/env python3
"""gdb_kernel.py PROGRAM-DIR: gdb-multiarch on a live Debian arm64 kernel: attach, hardware breakpoint, registers, memory, step, continue, detach."""
import os, re, shutil, socket, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import Machine, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
FUNCTION = "__arm64_sys_sysinfo"  # uptime calls it
SCRIPT = ("grep ' %s$' /proc/kallsyms\nwhile ! read -t 1 line; do uptime >/dev/null; done\necho HEARD $line" % FUNCTION)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def gdb(port, commands):
    args = ["gdb-multiarch", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set architecture aarch64", "-ex", "target remote 127.0.0.1:%d" % port]
    for c in commands:
        args += ["-ex", c]
    r = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
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
        while ":%04X 00000000:0000 0A" % port not in open("/proc/net/tcp").read():  # until it listens; connecting would let the machine run
            m.read(0.05)
        out = gdb(port, ["stepi", "printf \"two = 0x%lx\\n\", $pc", "set $x5 = 0x1122334455667788", "printf \"set = 0x%lx\\n\", $x5",
                         "set *(unsigned long *)0x48000000 = 0xdeadbeefcafe", "printf \"mem = 0x%lx\\n\", *(unsigned long *)0x48000000", "monitor info status", "kill"])
        assert number(out, "set") == 0x1122334455667788 and number(out, "mem") == 0xdeadbeefcafe, out
        assert "VM status: paused" in out, out
        assert m.wait(10) == 0, "exit status %s after kill" % m.process.returncode


def port_in_use():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        port = s.getsockname()[1]
        r = subprocess.run([PROGRAM, "-M", "virt", "-display", "none", "-serial", "none", "-gdb", "tcp:127.0.0.1:%d" % port], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=20)
    assert r.returncode == 1 and len(r.stderr.splitlines()) == 1 and str(port) in r.stderr and "in use" in r.stderr, r.stderr


if not shutil.which("gdb-multiarch"):
    print("1..0 # SKIP gdb-multiarch is not installed")
    sys.exit(0)
sys.exit(tap([("live kernel, 1 vCPU", live_kernel(1)), ("live kernel, 2 vCPUs", live_kernel(2)), ("from the first instruction", from_the_start), ("port in use", port_in_use)]))
