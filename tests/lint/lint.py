#!/usr/bin/env python3
"""The laws of the house that a script can check: who may include whom, what may not be called where,
the size of files and folders, and the look of the text. Prints one line for each breach."""
import glob
import os
import re
import sys

TOP = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".")

# Who may know whom (docs/architecture.md): a room, or one header of it.
BACK_ENDS = ["block/block.h", "net/net.h", "chardev/chardev.h", "ui/ui.h", "audio/audio.h"]
LAW = {
    "base": [],
    "softfloat": ["base"],
    "memory": ["base"],
    "ir": ["softfloat", "memory", "base"],
    "jit": ["ir", "memory", "base"],
    "isa": ["ir", "memory", "softfloat", "base"],
    "accel": ["isa", "jit", "ir", "memory", "base"],
    "device": ["memory", "base"] + BACK_ENDS,
    "block": ["base"], "net": ["base"], "chardev": ["base"], "ui": ["base"], "audio": ["base"],
    "board": ["device", "isa/isa.h", "accel/accel.h", "accel/vcpu.h",
              "isa/arm/arm.h", "isa/riscv/riscv.h", "isa/x86/x86.h", "memory", "base"] + BACK_ENDS,
    "gdb": ["chardev/chardev.h", "base"],
    "snapshot": ["memory", "device/core", "device/device.h", "block", "base"],
    "sandbox": ["base"],
    "user": ["gdb/gdb.h", "isa", "accel", "ir", "memory", "base"],
}
LAW["control"] = [r for r in LAW if r != "user"]
LAW["main"] = list(LAW)
# Headers that few may see, whatever their room is allowed.
PRIVATE = [
    (r"memory/ram_host\.h", r"(memory|jit|accel|user)/"),
    (r"memory/\w+_internal\.h", r"memory/"),
    (r"base/(os|loop|opt)/\w+\.h", r"base/"),
    (r"net/(user|wire)/\w+\.h", r"net/\1/"),
    (r"isa/(\w+)/(?!\1\.h).*", r"isa/\1/"),  # a guest CPU shows the header of its own name alone
]
# Rooms within a room that know only what is below them there.
BELOW = {
    "block/io": ["block/io", "block/block.h"],
    "block/node": ["block/node", "block/io", "block/block.h", "block/drivers.def"],
}
# R8: nothing a guest, an image, the wire or a stream sends ends the process.
NEVER_DIE = ("device", "block", "net", "snapshot", "isa")
DEADLY = re.compile(r"(?<![\w.>])(abort|exit|_exit|_Exit|assert)\s*\(")
DEADLY_ALLOWED = {"block/io/co.c"}  # the host has no memory left for a stack, as in xalloc
# A child of vfork is not the process that runs its code: what the program is to see of the kernel is
# asked for by call_host or HOST_DO, in all of user mode but where the emulator starts or speaks for itself.
BY_LIBRARY = re.compile(r"(?<![\w.>])(open|openat|close|fcntl|read|pread|dup\d?|f?statf?s?|fstatat|readlink(at)?|faccessat|getpid|syscall)\s*\(")
BY_LIBRARY_ALLOWED = re.compile(r"user/(main|proxy|thread|host_call)\.c|user/debug/.*|user/program/(elf|robust|stack)\.c")
WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|/work/")
KINDS = (".c", ".h", ".def", ".decode", ".py", ".sh", ".md", ".build")

breaches = []


def breach(path, line, what):
    breaches.append(f"{path}:{line}: {what}" if line else f"{path}: {what}")


def allowed(room, target):
    rules = LAW[room] + [room]
    return any(target == r or target.startswith(r + "/") for r in rules)


def check_includes(path, inside, lines):
    """`inside` is the path below src/."""
    room = inside.split("/")[0]
    if room not in LAW:
        breach(path, 0, "a room that tests/lint/lint.py does not know")
        return
    for n, text in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', text)
        target = m.group(1) if m else ""
        if "/" not in target or target.split("/")[0] not in LAW:
            continue
        if not allowed(room, target):
            breach(path, n, f"{room} may not include {target}")
        below = BELOW.get(os.path.dirname(inside))
        if below and target.startswith(room + "/") and not any(target == b or target.startswith(b + "/") for b in below):
            breach(path, n, f"{target} is above this folder")
        for header, users in PRIVATE:
            m = re.fullmatch(header, target)
            if m and not re.match(m.expand(users), inside):
                breach(path, n, f"{target} is not for this folder")


def check_source(path, inside, lines):
    if lines and not lines[0].startswith(("//", "/*")):
        breach(path, 1, "does not open with what it is for")
    dies = inside.startswith(tuple(r + "/" for r in NEVER_DIE)) and inside not in DEADLY_ALLOWED
    ordered = inside.startswith("user/") and not BY_LIBRARY_ALLOWED.match(inside)
    for n, text in enumerate(lines, 1):
        if dies and DEADLY.search(text.split("//")[0]):
            breach(path, n, "ends the process (R8)")
        if ordered and BY_LIBRARY.search(text.split("//")[0]):
            breach(path, n, "a call of the C library that is not the child's of vfork (user/proxy.h)")
        if re.match(r"\s*typedef\s+(struct|union|enum)\b[^(]*$", text):
            breach(path, n, "typedef of a struct, union or enum")
        if "__attribute__((constructor" in text:
            breach(path, n, "constructor: use a .def table")
        if "\t" in text:
            breach(path, n, "tab")


def check_table(path, lines):
    head = "".join(l for l in lines[:4] if l.startswith("//"))
    names = re.findall(r"^[A-Z_0-9]+\(\s*\"?([^,\")]+)", "".join(lines), re.M)
    for a, b in zip(names, names[1:]):
        if "alphabetical" in head and a.lower() > b.lower():
            breach(path, 0, f"not alphabetical: {b} after {a}")


def check_text(path, lines):
    if len(lines) > 1000:
        breach(path, 0, f"{len(lines)} lines; 1,000 is the limit")
    if lines and not lines[-1].endswith("\n"):
        breach(path, len(lines), "no newline at the end")
    for n, text in enumerate(lines, 1):
        if text.rstrip("\n") != text.rstrip():
            breach(path, n, "trailing space")
        if WORDS.search(text) and not path.startswith("tests/lint/"):
            breach(path, n, "a mark or a machine's path left in the text")


def check_folder(folder, names):
    if len(names) > 25:
        breach(folder, 0, f"{len(names)} files; 25 is the limit")
    if not any(n.endswith((".c", ".decode")) for n in names):
        return
    if "README.md" not in names:
        breach(folder, 0, "no README.md")
    elif len(open(os.path.join(TOP, folder, "README.md")).readlines()) > 40:
        breach(folder, 0, "README.md is over 40 lines")


def main():
    paths = [p for d in ("src", "tests", "scripts", "docs") for p in glob.glob(
        os.path.join(TOP, d, "**"), recursive=True)] + glob.glob(os.path.join(TOP, "*"))
    for full in sorted(set(paths)):
        path = os.path.relpath(full, TOP)
        if os.path.isdir(full):
            if path.startswith("src"):
                check_folder(path, [n for n in os.listdir(full) if "." in n])
            continue
        if not path.endswith(KINDS) and os.path.basename(path) not in ("Makefile", "run"):
            continue
        lines = open(full, encoding="utf-8").readlines()
        check_text(path, lines)
        if path.endswith((".c", ".h")):
            check_source(path, path.removeprefix("src/"), lines)
            if path.startswith("src/"):
                check_includes(path, path.removeprefix("src/"), lines)
        if path.endswith(".def"):
            check_table(path, lines)
    print("\n".join(breaches) or "clean")
    sys.exit(1 if breaches else 0)


main()
