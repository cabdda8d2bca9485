#!/usr/bin/env python3
"""binfmt.py STATIC-EMULATOR COMPILER WORK-DIR: programs that the kernel hands to user mode by binfmt_misc, with each of its flags.

The programs carry a mark in an unused byte of their ELF header that only the registrations made here match, so the host's own are not
touched and do not help."""
import os, shutil, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import binfmt_misc

emulator, compiler, work = os.path.abspath(sys.argv[1]), sys.argv[2], os.path.abspath(sys.argv[3])
HERE = os.path.dirname(os.path.abspath(__file__))
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
if not binfmt_misc.available():
    leave("this kernel has no binfmt_misc")

shutil.rmtree(work, ignore_errors=True)
os.makedirs(work + "/root/bin")
probe = work + "/probe"
subprocess.run([compiler, "-D_GNU_SOURCE", "-O1", "-w", "-pthread", "-static", "-o", probe, os.path.join(HERE, "programs", "probe.c")], check=True)
mark = os.urandom(1)[0] % 200 + 20
image = bytearray(open(probe, "rb").read())
image[9] = mark  # the first byte of e_ident's padding
magic = bytes(image[:20])
for path in (probe, work + "/root/bin/probe"):
    open(path, "wb").write(image)
    os.chmod(path, 0o755)


def registered(flags, interpreter):
    return binfmt_misc.Registered(magic, interpreter, flags)


def run(*words, argv0=None, **more):
    return subprocess.run([argv0 or words[0], *words[1:]], executable=words[0], capture_output=True, text=True, timeout=600, **more)


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


with registered("", emulator):
    check(CASES[0], (run(probe, "argv", "-h", "", argv0="other"), probe + "\nargv\n-h\n\n"))
with registered("P", emulator):
    check(CASES[1], (run(probe, "argv", "-h", "", argv0="other"), "other\nargv\n-h\n\n"), (run(probe, "argv", argv0="-sh"), "-sh\nargv\n"))
debians = os.path.join(work, arch + "-binfmt-P")
os.symlink(emulator, debians)
with registered("P", debians):
    check(CASES[2], (run(probe, "argv", argv0="other"), "other\nargv\n"))
script = work + "/script"
open(script, "w").write("#!%s argv\n" % probe)
os.chmod(script, 0o755)
with registered("PF", emulator):
    check(CASES[3], (run(script, "x"), "%s\nargv\n%s\nx\n" % (probe, script)), (run(probe, "exec", probe, "argv", "y"), probe + "\nargv\ny\n"))
    check(CASES[4], (run("/bin/probe", "argv", "z", preexec_fn=lambda: (os.chroot(work + "/root"), os.chdir("/"))), "/bin/probe\nargv\nz\n"))
hidden = "/run/myna-test-%d" % os.getpid()
shutil.copy(probe, hidden)
os.chmod(hidden, 0o711)
with registered("POCF", emulator):
    check(CASES[5], (run(hidden, "argv", "w", user=65534), hidden + "\nargv\nw\n"))
os.unlink(hidden)
sys.exit(failed > 0)
