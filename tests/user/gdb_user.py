#!/usr/bin/env python3
"""gdb_user.py EMULATOR COMPILER WORK-DIR: gdb-multiarch on programs run with -g: breakpoints, stepping, registers, memory, threads, signals,
an interrupt, a fault, forks and exec, detaching, and the exit status it reports."""
import os, re, shutil, signal, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import PATIENCE, free_port, listening, until

HERE = os.path.dirname(os.path.abspath(__file__))
emulator, compiler, work = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
if not shutil.which("gdb-multiarch"):
    print("1..0 # SKIP no gdb-multiarch")
    sys.exit(77)
os.makedirs(work, exist_ok=True)
failed = count = 0


def program(name, source=None, flags=()):
    out = os.path.join(work, name)
    if source:
        with open(out + ".c", "w") as f:
            f.write(source)
    subprocess.run([compiler, "-g", "-O0", "-pthread", "-w", "-o", out, out + ".c" if source else os.path.join(HERE, "programs", name + ".c"), *flags], check=True)
    return out


def seconds_of_work(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rsplit(")", 1)[1].split()[11]) / os.sysconf("SC_CLK_TCK")


def session(binary, commands, spec=None, interrupt=0):
    """(what gdb said, the program's output, its exit status). interrupt: once the program has worked for so many seconds, and so runs."""
    path = spec or os.path.join(work, "gdb.socket")
    if os.path.exists(path):
        os.unlink(path)
    guest = subprocess.Popen([emulator, "-g", path, binary], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: listening(int(spec) if spec else path) or guest.poll() is not None, "nobody listens at " + path)
    args = ["gdb-multiarch", "-nx", "-batch", "-ex", "set pagination off", "-ex", "set sysroot /usr/%s-linux-gnu" % os.path.basename(compiler).split("-")[0],
            "-ex", "file " + binary, "-ex", "target remote " + ("127.0.0.1:" + spec if spec else path)]
    for c in commands:
        args += ["-ex", c]
    gdb = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
    if interrupt:
        until(lambda: seconds_of_work(guest.pid) > interrupt or gdb.poll() is not None, "the program does not run")
        gdb.send_signal(signal.SIGINT)
    try:
        said = gdb.communicate(timeout=2 * PATIENCE)[0]
        out, err = guest.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        gdb.kill()
        guest.kill()
        said, out, err = gdb.communicate()[0] or "", *guest.communicate()
        said += "\nTIMEOUT"
    return said, out + err, guest.returncode


def check(name, ok, *details):
    global failed, count
    count += 1
    failed += not ok
    print("%s %d - %s" % ("ok" if ok else "not ok", count, name), flush=True)
    if not ok:
        print("# " + "\n".join(str(d) for d in details).replace("\n", "\n# "))


def has(text, *patterns):
    return all(re.search(p, text, re.M) for p in patterns)


for kind, flags in (("static", ["-static"]), ("dynamic", [])):
    binary = program("debugged", flags=flags)
    said, out, status = session(binary, [
        "break triple", "continue", "print n", "info registers pc", "backtrace", "next", "next", "print twice", "print $pc", "stepi", "print $pc", "finish", "continue", "info threads",
        "print n", "backtrace", "delete", "continue", "print handled", "signal SIGUSR1", "print handled"])
    detail = (said, out, status)
    check(kind + ": breakpoint with argument and caller", has(said, r"^Breakpoint 1, triple \(n=14\)", r"^\$1 = 14$", r"^#1 .* main \(\)"), *detail)
    check(kind + ": next and stepi", has(said, r"^\$2 = 28$") and len(set(re.findall(r"^\$[34] = .*?(0x[0-9a-f]+)", said, re.M))) == 2, *detail)
    check(kind + ": finish", has(said, r"^Value returned is \$5 = 42$"), *detail)
    check(kind + ": threads", has(said, r"Thread.* hit Breakpoint 1, triple \(n=5\)|^Breakpoint 1, triple \(n=5\)", r"^\* 2 +Thread [0-9.]+2 ", r"^  1 +Thread [0-9.]+1 ", r"^#1 .* worker "), *detail)
    check(kind + ": signal stops and is let through", has(said, r"received signal SIGUSR1", r"^\$7 = 0$", r"exited with code 07"), *detail)
    check(kind + ": output and exit status", out == "42 57 10\n" and status == 7, *detail)

loop = program("spinning", "volatile long n; int main(void) { while (n >= 0) n++; return 9; }\n", ["-static"])
said, out, status = session(loop, ["continue", "print n > 1000", "set var n = -5", "continue"], interrupt=1)
check("interrupt and writing memory", has(said, r"received signal SIGINT", r"^\$1 = 1$", r"exited with code 011") and status == 9, said, out, status)
watched = program("watched", """long far[4096], n; char other;
int main(void) { for (int i = 0; i < 20000; i++) far[i & 4095] = i; n = 7; other = n; far[9] += n; n = 8; return other; }
""", ["-static"])
said, out, status = session(watched, ["watch n", "rwatch far[9]", "continue", "continue", "delete 2", "continue", "info breakpoints", "delete", "continue"])
check("watchpoints", has(said, r"^Hardware watchpoint 1: n", r"^Hardware read watchpoint 2: far", r"^Old value = 0\nNew value = 7$", r"^Value = 16393$", r"^Old value = 7\nNew value = 8$",
                         r"already hit 2 times", r"exited with code 07"), said, out, status)
crash = program("crashing", "int main(void) { *(volatile int *)16 = 1; return 0; }\n", ["-static"])
said, out, status = session(crash, ["continue", "continue"])
check("fault", has(said, r"received signal SIGSEGV", r"main \(\)", r"terminated with signal SIGSEGV") and status == -signal.SIGSEGV, said, out, status)
forked = program("forked", flags=["-static"])
stops = ["break in_child", "break in_parent", "continue", "backtrace", "info threads", "continue", "info threads", "print n", "continue"]
said, out, status = session(forked, stops)
check("a fork, following the parent", has(said, r"^\[Detaching after fork from child", r"^Breakpoint 2, in_parent \(n=7\)|hit Breakpoint 2, in_parent \(n=7\)",
                                          r"exited with code 03") and "in_child (" not in said and (out, status) == ("21 15\n", 3), said, out, status)
said, out, status = session(forked, ["set follow-fork-mode child"] + stops)
check("following the child, which executes a program", has(
    said, r"^\[Detaching after fork from parent", r"hit Breakpoint 1, in_child \(n=5\)", r"^#1 .* main \(argc=1", r"is executing new program: .*/forked$",
    r"hit Breakpoint 1, in_child \(n=6\)", r"^\$1 = 6$", r"exited with code 025") and "in_parent (" not in said and (out, status) == ("21 15\n", 3), said, out, status)
after_exec = said.split("executing new program")[-1]
check("one thread after exec", len(re.findall(r"^[* ] +[0-9.]+ +Thread", after_exec, re.M)) == 1, said)
said, out, status = session(forked, ["catch fork", "catch exec", "continue", "info breakpoints", "delete", "continue"])
check("catching a fork", has(said, r"^Catchpoint 1 \(forked process [0-9]+\)", r"exited with code 03") and (out, status) == ("21 15\n", 3), said, out, status)
said, out, status = session(forked, ["set follow-fork-mode child", "catch exec", "continue", "kill"])
check("catching an exec, and kill", has(said, r"^(Thread .* hit )?Catchpoint 1 \(exec'd .*/forked\)") and out == "137 15\n" and status == 3, said, out, status)
vforked = program("vforked", flags=["-static"])
stops = ["break in_child", "break in_parent", "continue", "backtrace", "info threads", "continue", "print n", "continue", "continue"]
said, out, status = session(vforked, stops)
check("a vfork, following the parent", has(said, r"^\[Detaching after vfork from child", r"hit Breakpoint 2, in_parent \(n=7\)|^Breakpoint 2, in_parent \(n=7\)", r"^\$1 = 1$",
                                           r"exited with code 03") and "in_child (" not in said and (out, status) == ("13 21 30\n", 3), said, out, status)
said, out, status = session(vforked, ["set follow-fork-mode child"] + stops)
check("following the child of a vfork", has(
    said, r"^\[Attaching after .* vfork to child", r"hit Breakpoint 1, in_child \(n=5\)", r"^#1 .* main \(argc=1", r"^\[Detaching vfork parent process [0-9]+ after child exec\]",
    r"is executing new program: .*/vforked$", r"hit Breakpoint 1, in_child \(n=6\)", r"^\$1 = 6$", r"exited with code 025") and (out, status) == ("13 21 30\n", 3), said, out, status)
said, out, status = session(vforked, ["catch vfork", "continue", "delete", "set follow-fork-mode child", "break in_parent", "continue", "continue"])
check("catching a vfork", has(said, r"^Catchpoint 1 \(vforked process [0-9]+\)", r"is executing new program") and (out, status) == ("13 21 30\n", 3), said, out, status)
said, out, status = session(vforked, ["break in_parent", "continue", "set follow-fork-mode child", "continue", "continue"])
# gdb 13 takes the program space from a child that ends while it lets the parent go, and at times fails an assertion of its own about that.
if "set_current_program_space: Assertion `pspace != NULL' failed" in said:
    count += 1
    print("ok %d - a vfork child that ends # SKIP gdb failed an assertion of its own" % count, flush=True)
else:
    check("a vfork child that ends", has(said, r"hit Breakpoint 1, in_parent \(n=7\)|^Breakpoint 1, in_parent \(n=7\)", r"^\[Detaching vfork parent process [0-9]+ after child exit\]",
                                         r"exited with code 036") and (out, status) == ("13 21 30\n", 3), said, out, status)
said, out, status = session(binary, ["break triple", "continue", "detach"])
check("detach lets it run", out == "42 57 10\n" and status == 7, said, out, status)
port = str(free_port())
said, out, status = session(binary, ["print/x $pc != 0", "kill"], spec=port)
check("a TCP port, and kill", has(said, r"^\$1 = 0x1$") and status == 137, said, out, status)
r = subprocess.run([emulator, "-g", "/nonexistent/socket", binary], capture_output=True, text=True, timeout=PATIENCE)
check("a bad socket", r.returncode == 1 and r.stderr.count("\n") == 1 and "-g /nonexistent/socket" in r.stderr, r.stderr)
print("1..%d" % count)
sys.exit(failed != 0)
