#!/usr/bin/env python3
"""direct.py PROGRAM-DIR: guests of a few instructions under this host's own /dev/kvm: each way to start one, what they say through ports, how
they end, what refuses them, gdb. Skips without /dev/kvm."""
import gzip, json, os, re, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", d) for d in ("guests", "control")] + [HERE]
from client import Qmp, Server
from machine import PATIENCE, Skip, free_port, listening, tap, until

PROGRAM = os.path.join(sys.argv[1], "qemu-system-x86_64")
BASE = ["-M", "microvm,pcie=off", "-accel", "kvm", "-m", "64", "-nodefaults", "-display", "none"]
NOTE = '.section .note, "a", @note\n.long 4, 4, 18\n.asciz "Xen"\n.long _start\n.text\n'
SAY = """
say:
    lodsb
    test %al, %al
    jz 1f
    out %al, $0xe9
    jmp say
1:  ret
"""
END = "mov $%d, %%al\nout %%al, $0xf4\n1: hlt\njmp 1b\n"  # by isa-debug-exit: status 2 * n + 1


def build(folder, text, name="guest", at=0x1000000):
    path = os.path.join(folder, name)
    with open(path + ".S", "w") as f:
        f.write(".globl _start\n" + text)
    subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-N,--no-warn-rwx-segments", "-Wl,-Ttext=0x%x" % at, "-o", path, path + ".S"], check=True)
    return path


def pvh(folder, code, name="guest"):
    """32-bit code, entered as the PVH protocol says: EBX points at the start info."""
    return build(folder, NOTE + ".code32\n_start: mov $0x80000, %esp\n" + code, name)


def run(args, status=0, seconds=PATIENCE, **more):
    with tempfile.NamedTemporaryFile() as said:
        r = subprocess.run([PROGRAM] + args + ["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-chardev", "file,id=said,path=" + said.name,
                                               "-device", "isa-debugcon,chardev=said"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=seconds, **more)
        assert r.returncode == status, "status %d, not %d:\n%s" % (r.returncode, status, r.stdout)
        return said.read().decode(errors="replace"), r.stdout


def in_folder(fn):
    def case():
        with tempfile.TemporaryDirectory() as folder:
            return fn(folder)
    return case


# ---- ways to start ----

@in_folder
def start_pvh(folder):
    code = "cmpl $0x336ec578, (%ebx)\njne 2f\nmov 24(%ebx), %esi\ncall say\n" + END % 16 + "2: " + END % 1 + SAY
    kernel = pvh(folder, code)
    said, _ = run(BASE + ["-kernel", kernel, "-append", "one two"], 33)
    assert said == "one two", said
    said, _ = run(BASE + ["-kernel", kernel, "-append", "", "-M", "acpi=off"], 33)
    assert re.findall(r"virtio_mmio\.device=512@0x(\w+):(\d+)", said) == [("feb%05x" % (i * 512), str(5 + i)) for i in range(8)], said


# Boot parameters in RSI: the magic of their header, the command line they point at, RAM by the memory map.
LINUX64 = ".code64\n_start: mov $0x80000, %esp\ncmpl $0x53726448, 0x202(%rsi)\njne 2f\nmov 0x2d8(%rsi), %rax\ncmp $0x9fc00, %eax\njne 2f\n" \
    "mov 0x228(%rsi), %esi\ncall say\n" + END % 16 + "2: " + END % 1 + SAY


@in_folder
def start_linux64(folder):
    kernel = build(folder, LINUX64)
    said, _ = run(BASE + ["-kernel", kernel, "-append", "sixty four"], 33)
    assert said == "sixty four", said
    with open(kernel + ".gz", "wb") as f:
        f.write(gzip.compress(open(kernel, "rb").read()))
    said, _ = run(BASE + ["-kernel", kernel + ".gz", "-append", "packed"], 33)
    assert said == "packed", said


@in_folder
def start_firmware(folder):
    code = ".code16\n_start: mov $'B', %al\nout %al, $0xe9\nmov $'8', %al\nout %al, $0xe9\nmov $0x10, %al\nout %al, $0xf4\n1: hlt\njmp 1b\n" \
        ".org 0xfff0\n.byte 0xea\n.word 0, 0xf000\n.org 0x10000\n"
    elf, rom = build(folder, code, at=0), os.path.join(folder, "rom")
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", elf, rom], check=True)
    said, _ = run(BASE + ["-bios", rom], 33)
    assert said == "B8", said
    with open(rom, "ab") as f:
        f.write(b"x")
    _, out = run(BASE + ["-bios", rom], 1)
    assert "not a multiple of 64 KiB" in out and out.count("\n") == 1, out


@in_folder
def interrupt_controllers(folder):
    kernel = pvh(folder, END % 16)
    for how in ("on", "split"):
        run(BASE + ["-M", "kernel-irqchip=" + how, "-kernel", kernel], 33)
        run(BASE[:2] + ["-accel", "kvm,kernel-irqchip=" + how] + BASE[4:] + ["-kernel", kernel], 33)
    _, out = run(["-accel", "kvm,help"])
    assert "kernel-irqchip=on|split|off" in out, out
    _, out = run(BASE + ["-M", "kernel-irqchip=off", "-kernel", kernel], 1)
    assert out.count("\n") == 1 and "kernel-irqchip=off" in out, out


# ---- what guests do ----

@in_folder
def boot_timer(folder):
    code = "mov $0x5f0, %dx\nmov $1, %eax\nout %eax, %dx\nmov $2, %eax\nout %eax, %dx\nin %dx, %eax\ntest %eax, %eax\njz 2f\n" + END % 16 + "2: " + END % 1
    _, out = run(BASE + ["-kernel", pvh(folder, code), "-device", "isa-boot-timer"], 33)
    points = re.findall(r"boot timer: point (\d) after ([0-9.]+) ms", out)
    assert [p for p, _ in points] == ["1", "2"] and float(points[0][1]) <= float(points[1][1]), out


# RAM beside the images survives a reset: the second time the guest ends by itself.
FAULT = "cmpl $0x600d, 0x70000\nje 2f\nmovl $0x600d, 0x70000\nlidt 3f\nud2\n2: " + END % 16 + "3: .word 0\n.long 0\n"


@in_folder
def triple_fault(folder):
    kernel = pvh(folder, FAULT)
    _, out = run(BASE + ["-kernel", kernel], 33)
    assert re.search(r"CPU 0: triple fault.* cs:rip 0010:0{9}1\w+ .*code 0f 0b", out), out
    _, out = run(BASE + ["-kernel", kernel, "-no-reboot"], 0)
    assert "triple fault" in out, out
    run(BASE + ["-kernel", kernel, "-action", "reboot=shutdown"], 0)


@in_folder
def cannot_emulate(folder):
    kernel = pvh(folder, "mov $0xd0000000, %eax\njmp *%eax\n")
    _, out = run(BASE + ["-kernel", kernel], 1)
    assert re.search(r"CPU 0: KVM cannot go on: .* cs:rip 0010:00000000d0000000 ", out), out
    run(BASE + ["-kernel", kernel, "-action", "panic=shutdown"], 0)
    _, out = run(BASE + ["-kernel", kernel, "-action", "panic=paus"], 1)
    assert out.count("\n") == 1 and "did you mean 'pause'" in out, out
    with Server(PROGRAM, BASE[:6] + ["-kernel", kernel, "-S"]) as vm:
        q = Qmp(vm.path)
        q.ok("set-action", panic="pause")
        q.ok("cont")
        assert q.event("GUEST_PANICKED")["data"] == {"action": "pause"}
        q.event("STOP")
        assert q.ok("query-status") == {"status": "internal-error", "running": False}
        assert "rip=00000000d0000000" in re.sub(" +", "", q.ok("human-monitor-command", command_line="info registers"))
        q.ok("quit")


@in_folder
def kernel_changed(folder):
    """What a reset reads again is not there any more."""
    kernel = pvh(folder, END % 16)
    monitor = subprocess.Popen([PROGRAM] + BASE + ["-kernel", kernel, "-S", "-qmp", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    monitor.stdout.readline()
    os.truncate(kernel, 100)
    out, err = monitor.communicate('{"execute": "qmp_capabilities"}\n{"execute": "system_reset"}\n', timeout=PATIENCE)
    assert monitor.returncode == 1 and "has become shorter" in err, (monitor.returncode, out, err)


# ---- refusals ----

@in_folder
def refused(folder):
    kernel = pvh(folder, END % 16)
    secret = os.path.join(folder, "kvm")
    open(secret, "w").close()
    os.chmod(secret, 0)
    anyones = shutil.copy(PROGRAM, folder)  # the build may lie where only its owner may look

    def accel(options, more=()):
        return BASE[:2] + ["-accel", options] + BASE[4:] + ["-kernel", kernel] + list(more)

    def as_nobody():
        os.chmod(folder, 0o755)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    _, out = run(accel("kvm,device=/nonexistent"), 1)
    assert out.count("\n") == 1 and "there is no KVM here" in out, out
    _, out = run(accel("kvm,device=/dev/null"), 1)
    assert out.count("\n") == 1 and "not a KVM device" in out, out
    if os.getuid() == 0:
        r = subprocess.run([anyones] + accel("kvm,device=" + secret), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=PATIENCE, preexec_fn=as_nobody)
        assert r.returncode == 1 and r.stdout.count("\n") == 1 and "permission denied" in r.stdout, r.stdout
    _, out = run(accel("kvm,device=/dev/null", ["-accel", "kvm"]), 33)  # the next is tried
    assert out.count("\n") == 1 and "; trying kvm" in out, out
    _, out = run(accel("kvm,max-slots=1", ["-m", "4096"]), 33)  # low memory has the slot, high memory is slow
    assert out.count("\n") == 1 and "all 1 memory slots" in out, out
    _, out = run(accel("kvm", ["-cpu", "max,enforce,+vmx,+svm"]), 1)
    assert out.count("\n") == 1 and "enforce: this host does not offer" in out, out


# ---- clients ----

def probe():
    """As libvirt asks what a program can do."""
    asked = ["qmp_capabilities", "query-version", "query-target", "query-kvm", "query-machines", "query-cpu-definitions", "quit"]
    r = subprocess.run([PROGRAM, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg", "-qmp", "stdio"], text=True,
                       input="".join('{"execute": "%s"}\n' % a for a in asked), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
    assert r.returncode == 0, r.stderr
    replies = [json.loads(line) for line in r.stdout.splitlines()]
    answers = [x["return"] for x in replies if "return" in x]
    assert len(answers) == len(asked), r.stdout
    assert answers[2]["arch"] == "x86_64" and answers[3] == {"enabled": True, "present": True}, answers
    assert {"microvm", "none"} <= {m["name"] for m in answers[4]}, answers[4]
    assert {"host", "max", "qemu64", "kvm64", "Haswell", "EPYC"} <= {c["name"] for c in answers[5]}


def gdb(port, commands):
    args = ["gdb-multiarch", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set architecture i386:x86-64", "-ex", "target remote 127.0.0.1:%d" % port]
    for c in commands:
        args += ["-ex", c]
    return subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600).stdout


COUNT = ".code64\n_start: xor %eax, %eax\nagain: inc %rax\nmov %rax, 0x70000\nstore: nop\njmp again\n"


@in_folder
def debugger(folder):
    if not shutil.which("gdb-multiarch"):
        raise Skip("no gdb-multiarch")
    kernel = build(folder, COUNT)
    table = subprocess.run(["nm", kernel], check=True, stdout=subprocess.PIPE, text=True).stdout
    address = {n: int(a, 16) for a, n in re.findall(r"(\w+) \w (\w+)", table)}
    port = free_port()
    vm = subprocess.Popen([PROGRAM] + BASE + ["-kernel", kernel, "-S", "-gdb", "tcp:127.0.0.1:%d" % port], stdin=subprocess.DEVNULL)
    try:
        until(lambda: listening(port) or vm.poll() is not None, "nobody listens")
        say = ['printf "pc = 0x%lx\\n", $rip', 'printf "rax = 0x%lx\\n", $rax']
        out = gdb(port, ["hbreak *0x%x" % address["store"], "continue"] + say + ["continue"] + say + ["delete", "stepi"] + say + ["stepi"] + say + ["stepi"] + say
                  + ["set $rax = 0x1000", "break *0x%x" % address["store"], "continue"] + say
                  + ['printf "count = 0x%lx\\n", *(unsigned long *)0x70000', 'printf "code = 0x%x\\n", *(unsigned char *)$rip', "info registers cr0", "kill"])
        assert re.findall(r"pc = 0x(\w+)", out) == ["%x" % a for a in (address["store"], address["store"], address["store"] + 1, address["again"],
                                                                       address["again"] + 3, address["store"])], out
        assert re.findall(r"rax = 0x(\w+)", out) == ["1", "2", "2", "2", "3", "1000"], out
        assert "count = 0x1000" in out and "code = 0x90" in out and re.search(r"cr0 +0x8000003[0-9]", out), out
        vm.wait(PATIENCE)
    finally:
        if vm.poll() is None:
            vm.kill()
            vm.wait()


CASES = [("a PVH kernel, and device nodes on its command line", start_pvh), ("an ELF kernel by Linux's 64-bit entry, plain and packed", start_linux64),
         ("-bios: a ROM at the reset vector", start_firmware), ("kernel-irqchip=on, split, off", interrupt_controllers),
         ("the boot timer reports points of guest time", boot_timer), ("a triple fault resets the machine, or ends it", triple_fault),
         ("what cannot be emulated is reported with its state", cannot_emulate), ("a kernel that has become shorter ends a reset", kernel_changed),
         ("KVM refused, for each reason in one line", refused), ("-machine none answers a management program", probe), ("gdb stops, steps and goes on", debugger)]

if not os.access("/dev/kvm", os.R_OK | os.W_OK):
    print("1..0 # SKIP no /dev/kvm")
else:
    sys.exit(tap(CASES))
