#!/usr/bin/env python3
"""front.py PROGRAM-DIR: myna run, explain and doctor: what they choose, print and refuse."""
import os, re, shutil, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import PATIENCE, tap

DIR = os.path.abspath(sys.argv[1])
MYNA, IMG = os.path.join(DIR, "myna"), os.path.join(DIR, "qemu-img")


def myna(*args, status=0):
    r = subprocess.run([MYNA] + list(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert r.returncode == status, "exit status %d\n%s%s" % (r.returncode, r.stdout, r.stderr)
    return r.stdout if status == 0 else r.stderr


def path(name):
    return os.path.join(FOLDER, name)


def kernel(name="Image", code=b"\x00\x00\x00\x14"):
    """An arm64 Image (Documentation/arch/arm64/booting.rst) that loops in its first instruction."""
    with open(path(name), "wb") as f:
        f.write(code + b"\0" * 4 + (0).to_bytes(8, "little") + (4096).to_bytes(8, "little") + (2).to_bytes(8, "little") + b"\0" * 24 + b"ARM\x64" + b"\0" * 4 + b"\0" * 4032)
    return path(name)


def explain_run():
    text = myna("explain", "run", kernel(), "--cpus", "2", "--memory", "256M", "--forward", "2222:22")
    for part in ("-machine virt", "-cpu max", "-smp 2", "-m 256M", "-append console=ttyAMA0", "hostfwd=tcp:127.0.0.1:2222-:22", "CPUs          2 x max", "256 MiB at 0x40000000",
                 "kernel: ", "device tree: ", "virtio-net-pci", "virtio-rng-pci"):
        assert part in text, "%r is not in\n%s" % (part, text)
    assert re.search(r"0009000000-0009000fff +pl011 +arm,pl011 +SPI 1\n", text), text
    why = text.split("Chosen here:\n")[1].split("\n\n")[0]
    assert "arm64 Linux kernel" in why and "memory" not in why and "CPUs" not in why, why
    command = text.split("Command:\n")[1].split("\n\n")[0].replace("\\\n", " ")
    again = myna("explain", "system", "--arch", "aarch64", *command.split()[1:])
    assert again.split("\n\nmachine ")[1] == text.split("\n\nmachine ")[1], "the printed command makes another machine"


def explain_disk():
    subprocess.run([IMG, "create", "-q", "-f", "qcow2", path("d.qcow2"), "16M"], check=True)
    open(path("firmware"), "wb").write(b"\0" * 4096)
    text = myna("explain", "run", path("d.qcow2"), "--firmware", path("firmware"), "--net", "none")
    assert "format=qcow2,if=virtio" in text and "-nic none" in text and "virtio-net-pci" not in text, text
    assert "--arch chooses another" in text, text


def instruction():
    text = myna("explain", "--insn", "8b020020", "--cpu", "cortex-a72")
    assert re.search(r"8b020020 +add +x0, x1, x2\n", text) and re.search(r"add %\d, %\d", text) and "host code" in text, text
    assert myna("explain", "--insn", "20 00 02 8b", "--cpu", "cortex-a72").split("IR:")[1].split("host code")[0] == text.split("IR:")[1].split("host code")[0]
    text = myna("explain", "--insn", "1e622820")  # fadd d0, d1, d2: floating point is not trapped
    assert "fadd" in text and "exception" not in text, text
    text = myna("explain", "--insn", "00c58533", "--arch", "riscv64")
    assert re.search(r"00c58533 +add +a0, a1, a2\n", text) and "x10" in text and "host code" in text, text
    if shutil.which("aarch64-linux-gnu-as"):
        assert "8b020020" in myna("explain", "--insn", "add x0, x1, x2")
        assert "neither hexadecimal" in myna("explain", "--insn", "frobnicate x0", status=1)


def runs():
    """The looping kernel, left by Ctrl-A x."""
    p = subprocess.Popen([MYNA, "run", kernel(), "--cpus", "1", "--memory", "64M", "--net", "none"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = p.communicate(b"\x01x", timeout=PATIENCE)
    assert p.returncode == 0 and b"Ctrl-A x" in err, (p.returncode, out, err)


def refusals():
    open(path("text"), "w").write("hello")
    for args, words in ((["run", "/nonexistent"], ["/nonexistent", "No such file"]), (["run", path("text")], [path("text"), "neither a kernel"]),
                        (["run", "--memry", "1"], ["did you mean '--memory'"]), (["run", kernel(), kernel()], ["one image at a time"]),
                        (["run", kernel(), "--arch", "riscv64"], ["for aarch64"]), (["run", kernel(), "--forward", "22"], ["2222:22"]), (["run"], ["name a kernel", "--help"]), (["rnu"], ["no such command", "did you mean 'run'"]),
                        (["system", "--arch", "aarch46"], ["aarch64", "riscv64", "did you mean"]),
                        (["explain", "--isn", "1"], ["did you mean '--insn'"]), (["explain", "system", "--arch", "aarch64", "-M", "vitr"], ["did you mean 'virt'"])):
        text = myna(*args, status=1)
        assert len(text.splitlines()) == 1 and all(w in text for w in words), text


def doctor():
    text = myna("doctor")
    for name in ("translation", "KVM", "code cache", "memory", "huge pages", "disk I/O", "tap network", "sandbox", "disassembler"):
        assert re.search(r"^(ok|note|PROBLEM) +%s " % re.escape(name), text, re.M), "%s is not in\n%s" % (name, text)
    lines = text.splitlines()
    for i, line in enumerate(lines):  # what is not well comes with what to do
        if line.startswith(("note", "PROBLEM")):
            assert i + 1 < len(lines) and lines[i + 1].strip().startswith("-> "), line
    assert "usage" in myna("doctor", "--help")


def help_texts():
    text = myna("help")
    for word in ("run", "explain", "doctor", "system", "user", "img"):
        assert re.search(r"^ +%s " % word, text, re.M), text
    for verb in (["create", "-f"], ["convert", "-O"], ["measure", "-O"]):
        for format, options in (("qcow2", ("cluster_size=", "compat=", "lazy_refcounts=")), ("raw", ("preallocation=", "size="))):
            text = subprocess.run([IMG] + verb + [format, "-o", "help"], check=True, stdout=subprocess.PIPE, text=True).stdout
            assert all(re.search("^  " + o, text, re.M) for o in options), text
    assert "--memory" in myna("run", "--help") and "--insn" in myna("explain", "--help")


with tempfile.TemporaryDirectory() as FOLDER:
    status = tap([("a kernel explained", explain_run), ("a disk explained", explain_disk), ("an instruction", instruction), ("run and leave", runs), ("refusals", refusals), ("doctor", doctor),
                  ("help", help_texts)])
sys.exit(status)
