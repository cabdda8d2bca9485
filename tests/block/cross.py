#!/usr/bin/env python3
"""cross.py BUILD [ROUNDS]: our disk tool and QEMU's on the same qcow2 images, in both directions.

Each round makes an image with one tool, lets QEMU's qemu-io and our own tool change it in turn
(overlays, snapshots, commits, conversions, resizing), mirrors every change in a flat file, and asks
both tools whether the image is sound and equal to the mirror. The last part kills a writer at random
moments and expects a sound image. Skips (exit status 77) where QEMU's tools are not installed.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

OURS = os.path.abspath(os.path.join(sys.argv[1], "qemu-img"))
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 12
THEIRS, QEMU_IO = shutil.which("qemu-img"), shutil.which("qemu-io")
KINDS = ["", "compat=0.10", "cluster_size=512", "cluster_size=4k,refcount_bits=8", "cluster_size=2M",
         "extended_l2=on", "compression_type=zstd", "lazy_refcounts=on", "cluster_size=16k,refcount_bits=1",
         "preallocation=metadata"]


def run(*args, expect=0):
    r = subprocess.run(args, capture_output=True, text=True, timeout=120)
    if r.returncode != expect:
        sys.exit(f"{' '.join(args)}: exit status {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout


class Image:
    """A qcow2 file and the flat file that says what it must read as."""

    def __init__(self, rng, kind, size):
        self.rng, self.size = rng, size
        self.path, self.model = "a.qcow2", bytearray(size)
        options = ["-o", kind] if kind else []
        run(rng.choice([OURS, THEIRS]), "create", "-q", "-f", "qcow2", *options, self.path, str(size))

    def qemu_io(self, count):
        commands = []
        for _ in range(count):
            length = self.rng.choice([512, 4096, 65536, 200704])
            offset = self.rng.randrange(0, self.size - length) & ~511
            value = self.rng.randrange(1, 255)
            what = self.rng.choice(["write", "write", "write", "zero", "unmap", "flush"])
            if what == "write":
                commands += ["-c", f"write -P {value} {offset} {length}"]
                self.model[offset:offset + length] = bytes([value]) * length
            elif what in ("zero", "unmap"):
                commands += ["-c", f"write {'-z -u' if what == 'unmap' else '-z'} {offset} {length}"]
                self.model[offset:offset + length] = bytes(length)
            else:
                commands += ["-c", "flush"]
        out = run(QEMU_IO, "-f", "qcow2", *commands, self.path)
        if "error" in out:
            sys.exit(out)

    def our_write(self):
        """Our tool writes through dd -n into the middle: a raw piece becomes the whole disk's start."""
        length = self.rng.choice([512, 4096, 100352])
        with open("piece", "wb") as f:
            f.write(self.rng.randbytes(length))
        run(OURS, "dd", "-n", "-f", "raw", "-O", "qcow2", f"bs={length}", "if=piece", f"of={self.path}")
        with open("piece", "rb") as f:
            self.model[:length] = f.read()

    def check(self):
        with open("model", "wb") as f:
            f.write(self.model)
        for tool in (OURS, THEIRS):
            run(tool, "check", "-q", "-f", "qcow2", self.path)
            run(tool, "compare", "-q", "-f", "raw", "-F", "qcow2", "model", self.path)

    def convert(self):
        tool, flags = self.rng.choice([OURS, THEIRS]), self.rng.choice([[], ["-c"]])
        options = self.rng.choice(["cluster_size=64k", "compression_type=zstd", "cluster_size=4k", "compat=0.10"])
        run(tool, "convert", *flags, "-f", "qcow2", "-O", "qcow2", "-o", options, self.path, "b.qcow2")
        os.replace("b.qcow2", self.path)

    def overlay(self):
        """Puts an overlay on top, writes, and merges it by one of the ways there are."""
        run(self.rng.choice([OURS, THEIRS]), "create", "-q", "-f", "qcow2", "-b", self.path, "-F", "qcow2",
            "top.qcow2")
        base, self.path = self.path, "top.qcow2"
        self.qemu_io(6)
        self.check()
        how = self.rng.choice(["commit", "rebase", "convert"])
        tool = self.rng.choice([OURS, THEIRS])
        if how == "commit":
            run(tool, "commit", "-q", "top.qcow2")
            self.check()
            self.path = base
        elif how == "rebase":
            run(tool, "rebase", "-b", "", "top.qcow2")
            os.replace("top.qcow2", base)
            self.path = base
        else:
            run(tool, "convert", "-O", "qcow2", "top.qcow2", "flat.qcow2")
            os.replace("flat.qcow2", base)
            self.path = base

    def snapshots(self):
        kept = bytes(self.model)
        run(self.rng.choice([OURS, THEIRS]), "snapshot", "-c", "one", self.path)
        self.qemu_io(6)
        self.check()
        run(self.rng.choice([OURS, THEIRS]), "snapshot", "-c", "two", self.path)
        self.qemu_io(4)
        names = [s["name"] for s in json.loads(run(OURS, "info", "--output=json", self.path))["snapshots"]]
        if names != ["one", "two"]:
            sys.exit(f"snapshots are {names}")
        run(OURS, "convert", "-l", "one", "-O", "raw", self.path, "one.raw")
        with open("one.raw", "rb") as f:
            if f.read() != kept:
                sys.exit("convert -l does not show what the snapshot kept")
        run(self.rng.choice([OURS, THEIRS]), "snapshot", "-a", "one", self.path)
        self.model[:] = kept
        self.check()
        for name in ("two", "one"):
            run(self.rng.choice([OURS, THEIRS]), "snapshot", "-d", name, self.path)
            self.check()

    def resize(self):
        grown = self.size + 512 * self.rng.randrange(1, 3000)
        run(self.rng.choice([OURS, THEIRS]), "resize", "-q", "-f", "qcow2", self.path, str(grown))
        self.model.extend(bytes(grown - self.size))
        self.size = grown
        self.check()


def one_round(number):
    rng = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    image = Image(rng, kind, 8 << 20)
    steps = [lambda: image.qemu_io(10), image.our_write, image.resize, image.overlay, image.convert]
    if "refcount_bits=1" not in kind:
        steps.append(image.snapshots)
    for _ in range(6):
        rng.choice(steps)()
        image.check()
    for name in os.listdir("."):
        os.unlink(name)


def kill_writers(count):
    """A writer that dies at any moment leaves no corruption, only leaks at worst (status 3)."""
    rng = random.Random(1)
    for _ in range(count):
        run(OURS, "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "k.qcow2", "64M")
        p = subprocess.Popen([OURS, "bench", "-w", "-f", "qcow2", "-c", "1000000", "-d", "16", "-S", "12288",
                              "k.qcow2"], stdout=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.15)
        p.send_signal(signal.SIGKILL)
        p.wait()
        for tool in (OURS, THEIRS):
            r = subprocess.run([tool, "check", "-q", "-f", "qcow2", "k.qcow2"], timeout=60)
            if r.returncode not in (0, 3):
                sys.exit(f"{tool} check after a kill: exit status {r.returncode}")


def main():
    if not THEIRS or not QEMU_IO:
        print("QEMU's disk tools (package qemu-utils) are not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="myna-cross-") as directory:
        os.chdir(directory)
        for number in range(ROUNDS):
            one_round(number)
        kill_writers(max(3, ROUNDS // 2))
        os.chdir("/")
    print(f"{ROUNDS} rounds: both tools agree")


main()
