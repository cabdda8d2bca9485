#!/usr/bin/env python3
"""docs.py TOP PROGRAM-DIR: what the documents say is so. Paths they name exist, options of example commands are options, and the examples of the user's manual are tried: images are made, machines
are made as far as `myna explain` makes them."""
import glob, os, re, shlex, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import tap

TOP, DIR = (os.path.abspath(p) for p in sys.argv[1:3])
PAGES = [os.path.join(TOP, p) for p in ("README.md", "HACKING.md", "SECURITY.md", "SPECIFICATION.md")] + glob.glob(TOP + "/docs/*.md")
READMES = [p for room in ("src", "tests") for p in glob.glob(TOP + "/%s/**/README.md" % room, recursive=True)]


def run(*args, cwd=None):
    return subprocess.run([os.path.join(DIR, args[0])] + list(args[1:]), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)


def examples(page):
    """The commands of a page: indented lines that begin with one of the program's names."""
    for line in open(page):
        m = re.match(r"    (?:build/)?((?:qemu-[\w-]+|myna) .*)", line)
        if m:
            yield shlex.split(re.sub(r"\s#.*|\s{4,}.*", "", m.group(1).strip()))


def paths():
    """Names with capitals stand for any; decoders are generated."""
    missing, sources = [], subprocess.run(["git", "ls-files"], cwd=TOP, stdout=subprocess.PIPE, text=True).stdout.split() or [os.path.relpath(p, TOP) for p in glob.glob(TOP + "/**/*", recursive=True)]
    for page in PAGES + READMES:
        here, text = os.path.dirname(page), open(page).read()
        for name in re.findall(r"`((?:src|tests|docs|scripts)/[\w./-]+)`", text) + re.findall(r"\]\(([\w./-]+)\)", text):
            if not re.search(r"[A-Z]{2}", os.path.splitext(name)[0]) and not any(os.path.exists(os.path.join(d, name)) for d in (TOP, here)):
                missing.append("%s: %s" % (os.path.relpath(page, TOP), name))
        for name in re.findall(r"`([\w./]+\.(?:c|h|def|decode|py|sh|S))`", text):  # as the reader finds it: below here, or by the end of its path
            if not os.path.exists(os.path.join(here, name)) and not any(p == name or p.endswith("/" + name) for p in sources) and not re.search(r"[A-Z]{2}|_decode\.[ch]$", name):
                missing.append("%s: %s" % (os.path.relpath(page, TOP), name))
    assert not missing, "\n".join(missing)


def options():
    """Options in any page's example are in -help; every option of -help is in the manual's page."""
    helps = {n: run(n, "-help").stdout for n in ("qemu-system-aarch64", "qemu-aarch64")}
    known = {n: set(re.findall(r"^\s*(-[\w-]+)", t, re.M)) for n, t in helps.items()}
    wrong = []
    for page in PAGES:
        for words in examples(page):
            kind = "qemu-system-aarch64" if words[0].startswith("qemu-system-") else "qemu-aarch64" if re.fullmatch(r"qemu-(aarch64|riscv\d\d)(-static)?", words[0]) else None
            for w in words[1:] if kind else []:
                if not w.startswith("-") and kind == "qemu-aarch64":
                    break  # the program's own
                if re.match(r"-[A-Za-z]", w) and w not in known[kind]:
                    wrong.append("%s: %s" % (os.path.basename(page), w))
    for kind, name in (("qemu-system-aarch64", "myna-system"), ("qemu-aarch64", "myna-user")):
        text = open(os.path.join(DIR, "docs", "man", name + ".1")).read().replace("\\-", "-")
        wrong += ["%s.1 lacks %s" % (name, o) for o in known[kind] if not re.search(r"^\.BI %s( |$)" % re.escape(o), text, re.M)]
    assert not wrong, "\n".join(wrong)


def image(magic_at, magic):
    data = bytearray(4096)
    data[16:24] = (4096).to_bytes(8, "little")
    data[magic_at:magic_at + 4] = magic
    return bytes(data)


def manual():
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("Image", image(56, b"ARM\x64")), ("Image-riscv", image(56, b"RSC\x05")), ("initrd.gz", b""), ("disk.raw", b"\0" * (1 << 20)), ("firmware.bin", b"\0" * 4096)):
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        run("qemu-img", "create", "-f", "qcow2", "disk.qcow2", "16M", cwd=folder)
        for words in examples(TOP + "/docs/manual.md"):
            tried = words
            if words[0].startswith("qemu-system-"):
                tried = ["myna", "explain", "system", "--arch", words[0][len("qemu-system-"):]] + words[1:]
            elif words[:2] == ["myna", "run"]:
                tried = ["myna", "explain"] + words[1:]
            r = run(*tried, cwd=folder)
            assert r.returncode == 0, "%s\n%s" % (shlex.join(words), r.stdout)


sys.exit(tap([("paths", paths), ("options", options), ("the manual's examples", manual)]))
