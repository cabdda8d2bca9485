#!/usr/bin/env python3
"""binfmt.py STATIC-EMULATOR COMPILER WORK-DIR: programs that the kernel hands to user mode by binfmt_misc, with each of its flags.

The programs carry a mark in an unused byte of their ELF header that only the registrations made here match, so the host's own are not
touched and do not help."""
import os, shutil, subprocess, sys

emulator, compiler, work = os.path.abspath(sys.argv[1]), sys.argv[2], os.path.abspath(sys.argv[3])
HERE = os.path.dirname(os.path.abspath(__file__))
FS = "/proc/sys/fs/binfmt_misc"
arch = os.path.basename(compiler).split("-")[0]
CASES = ("the kernel's plain words", "P keeps argv[0]", "Debian's name for it", "scripts and programs run by programs", "F in a chroot",
         "O reads what the caller may not")


def leave(reason):
    print("1..%d" % len(CASES))
    for n, name in enumerate(CASES, 1):
        print("ok %d - %s # SKIP %s" % (n, name, reason))
    sys.exit(0)


if os.geteuid():
    leave("registering needs root")
if not os.path.exists(FS + "/register"):
    subprocess.run(["mount", "-t", "binfmt_misc", "none", FS], capture_output=True)
if not os.path.exists(FS + "/register"):
    leave("this kernel has no binfmt_misc")

shutil.rmtree(work, ignore_errors=True)
os.makedirs(work + "/root/bin")
probe = work + "/probe"
subprocess.run([compiler, "-D_GNU_SOURCE", "-O1", "-w", "-pthread", "-static", "-o", probe, os.path.join(HERE, "probe.c")], check=True)
mark = os.urandom(1)[0] % 200 + 20
image = bytearray(open(probe, "rb").read())
image[9] = mark  # the first byte of e_ident's padding
magic = bytes(image[:20])
for path in (probe, work + "/root/bin/probe"):
    open(path, "wb").write(image)
    os.chmod(path, 0o755)


def text(data):
    return "".join("\\x%02x" % b for b in data)


class Registered:
    """An interpreter for the marked programs, for as long as the block runs."""

    def __init__(self, flags, interpreter):
        self.flags, self.interpreter, self.name = flags, interpreter, "myna-test-%d" % os.getpid()

    def __enter__(self):
        mask = bytes(0xff if i not in (7, 8) else 0 for i in range(20))
        with open(FS + "/register", "w") as f:
            f.write(":%s:M::%s:%s:%s:%s" % (self.name, text(magic), text(mask), self.interpreter, self.flags))

    def __exit__(self, *_):
        with open("%s/%s" % (FS, self.name), "w") as f:
            f.write("-1")


def run(*words, argv0=None, **more):
    return subprocess.run([argv0 or words[0], *words[1:]], executable=words[0], capture_output=True, text=True, timeout=60, **more)


count = failed = 0
print("1..%d" % len(CASES))


def check(name, *results):
    """Results: pairs of what came out and what should have."""
    global count, failed
    count += 1
    assert name == CASES[count - 1]
    ok = all(r.returncode == 0 and r.stdout == want and not r.stderr for r, want in results)
    failed += not ok
    print("%s %d - %s" % ("ok" if ok else "not ok", count, name))
    for r, want in results if not ok else ():
        print("# status %d, %r, wanted %r\n# %s" % (r.returncode, r.stdout, want, r.stderr[-500:].replace("\n", "\n# ")))


with Registered("", emulator):
    check(CASES[0], (run(probe, "argv", "-h", "", argv0="other"), probe + "\nargv\n-h\n\n"))
with Registered("P", emulator):
    check(CASES[1], (run(probe, "argv", "-h", "", argv0="other"), "other\nargv\n-h\n\n"), (run(probe, "argv", argv0="-sh"), "-sh\nargv\n"))
debians = os.path.join(work, arch + "-binfmt-P")
os.symlink(emulator, debians)
with Registered("P", debians):
    check(CASES[2], (run(probe, "argv", argv0="other"), "other\nargv\n"))
script = work + "/script"
open(script, "w").write("#!%s argv\n" % probe)
os.chmod(script, 0o755)
with Registered("PF", emulator):
    check(CASES[3], (run(script, "x"), "%s\nargv\n%s\nx\n" % (probe, script)), (run(probe, "exec", probe, "argv", "y"), probe + "\nargv\ny\n"))
    check(CASES[4], (run("/bin/probe", "argv", "z", preexec_fn=lambda: (os.chroot(work + "/root"), os.chdir("/"))), "/bin/probe\nargv\nz\n"))
hidden = "/run/myna-test-%d" % os.getpid()
shutil.copy(probe, hidden)
os.chmod(hidden, 0o711)
with Registered("POCF", emulator):
    check(CASES[5], (run(hidden, "argv", "w", user=65534), hidden + "\nargv\nw\n"))
os.unlink(hidden)
sys.exit(failed > 0)
