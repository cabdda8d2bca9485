#!/usr/bin/env python3
"""python_tests.py BUILD [--emulator PROGRAM | --native] [--timeout SECONDS] [--log DIR] [--all] [MODULE...]: Python's own tests under user mode.

Each module of Debian's libpython3.11-testsuite runs in a chroot of its own, with a time limit. What fails for a reason that is known is
listed, by case and reason, in python_tests.txt; every other case must pass, and no module may crash or hang. --emulator compares with another
program (a static one: it is registered with binfmt_misc in the chroot's own user namespace, ours needs no such help), --native with the
host's own architecture; --all runs the listed cases as well.
"""
import argparse, glob, os, re, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import debian

LIST = os.path.join(HERE, "python_tests.txt")
# The chroot's whole world: users, mounts and processes are its own. The users are mapped from outside, before the script goes on.
OUTSIDE = ["unshare", "--user", "sh", "-c", "echo; read line; exec unshare -mpf --kill-child \"$@\"", "sh"]
SETUP = debian.MOUNT + """
if [ -n "$5" ]; then
    mkdir -p "$1/binfmt"; mount -t binfmt_misc b "$1/binfmt"
    printf '%s%s:F' ':foreign:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:' "$3" > "$1/binfmt/register"
fi
""" + debian.ENTER


def listed():
    """{module: [case pattern]} of what is known to fail; the pattern * stands for the whole module."""
    known = {}
    for line in open(LIST):
        line = line.split("#")[0].strip()
        if line:
            module, case, _ = [w.strip() for w in line.split("|", 2)]
            known.setdefault(module, []).append(case)
    return known


def modules(root):
    """Names of the modules, in the order of their names."""
    at = os.path.join(root, "usr/lib/python3.11/test")
    return sorted(os.path.splitext(os.path.basename(p))[0] for p in glob.glob(at + "/test_*") if p.endswith(".py") or os.path.exists(p + "/__init__.py"))


def command(module, skip, timeout):
    words = ["cd /tmp; export HOME=/tmp; exec python3 -m test -W --timeout %d" % timeout]
    return " ".join(words + ["-i '*%s'" % case for case in skip] + [module]) + " 2>&1"


def verdict(status, text, timed_out):
    """What became of a module, and the cases that failed."""
    cases = sorted(set(re.findall(r"^(?:FAIL|ERROR): (.*)$", text, re.M)))
    if timed_out or "Timeout (" in text:
        return "hangs", cases
    if re.search(r"^(myna user|qemu-\w+(-static)?): ", text, re.M) or status < 0 or status >= 128:
        return "crashes", cases
    if status == 0:
        return "skipped" if re.search(r"\d+ tests? skipped", text) and "All" not in text else "passes", cases
    return "fails", cases


def run(emulator, root, module, skip, timeout, foreign):
    """(verdict, cases, output, CPU seconds) of one module."""
    before = os.times()
    with tempfile.TemporaryDirectory() as d:
        p = subprocess.Popen(OUTSIDE + ["sh", "-c", SETUP, "sh", d, root, emulator, command(module, skip, timeout), "1" if foreign else ""],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.PIPE, env=debian.ENV, start_new_session=True)
        p.stdout.readline()
        for kind in ("uid_map", "gid_map"):
            with open("/proc/%d/%s" % (p.pid, kind), "w") as f:
                f.write("0 0 4294967295")
        timed_out = False
        try:
            out = p.communicate(b"\n", timeout=timeout + 60)[0]
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(p.pid, signal.SIGKILL)
            out = p.communicate()[0]
    after = os.times()
    what, cases = verdict(p.returncode, out.decode(errors="replace"), timed_out)
    return what, cases, out, after.children_user + after.children_system - before.children_user - before.children_system


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--emulator")
    p.add_argument("--native", action="store_true")
    p.add_argument("--timeout", type=int, default=1800)
    p.add_argument("--log")
    p.add_argument("--all", action="store_true")
    p.add_argument("modules", nargs="*")
    o = p.parse_intermixed_args()
    own = os.path.join(os.path.abspath(o.build), "qemu-aarch64-static")
    if not debian.root_available(o.build):
        print("1..0 # SKIP needs root and a static user mode")
        sys.exit(77)
    root = debian.guests.root("amd64" if o.native else "arm64", debian.LARGE)
    known = {} if o.all else listed()
    names = o.modules or modules(root)
    print("1..%d" % len(names), flush=True)
    bad = 0
    for name in names:
        skip = known.get(name, [])
        if "*" in skip:
            print("ok - %s # SKIP known" % name, flush=True)
            continue
        what, cases, out, cpu = run("" if o.native else o.emulator or own, root, name, skip, o.timeout, bool(o.emulator))
        ok = what in ("passes", "skipped")
        bad += not ok
        print("%sok - %s %s, %.1f s%s" % ("" if ok else "not ", name, what, cpu, ", ".join([""] + cases)), flush=True)
        if o.log:
            os.makedirs(o.log, exist_ok=True)
            with open(os.path.join(o.log, name + ".log"), "wb") as f:
                f.write(out)
        elif not ok:
            print("# " + out.decode(errors="replace")[-3000:].replace("\n", "\n# "), flush=True)
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
