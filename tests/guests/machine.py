"""A machine under test: our program (or a peer) as a process, its serial console on a pipe."""
import os, select, signal, socket, subprocess, time

PATIENCE = 120  # seconds: what has not come by then never will, however busy the host is


class Timeout(Exception):
    pass


class Skip(Exception):
    """Why a case cannot be tried here."""


def until(condition, what, seconds=PATIENCE):
    """Wait for a condition; `what` is the complaint when it never holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Timeout(what)
        time.sleep(0.02)


def listening(where):
    """Somebody listens at the path of a socket, or at a TCP port of this host; looking does not connect."""
    if isinstance(where, int):
        with open("/proc/net/tcp") as f:
            return any(line.split()[1].endswith(":%04X" % where) and line.split()[3] == "0A" for line in f if ":" in line)
    with open("/proc/net/unix") as f:
        return any(line.split()[-1] == where and int(line.split()[3], 16) & 0x10000 for line in f if line.endswith(where + "\n"))


def free_port(first=5120, ports=4800, asked=[0]):
    """A TCP port of the loopback interface for a program to listen at. None that the kernel gives out by itself, so nobody takes it meanwhile."""
    for _ in range(ports):
        port = first + (os.getpid() * 16 + asked[0]) % ports
        asked[0] += 1
        with socket.socket() as s:
            try:
                s.bind(("", port))
                return port
            except OSError:
                pass
    raise Skip("no port is free")


class Machine:
    def __init__(self, args, env=None, log=None):
        self.args = args
        self.log = open(log, "wb", 0) if log else None  # the console, as it comes
        self.out = b""
        self.started = time.monotonic()
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        os.set_blocking(self.process.stdout.fileno(), False)

    def read(self, seconds):
        """What arrives within the time; None at the end of the stream."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            return b""
        data = os.read(self.process.stdout.fileno(), 65536)
        self.out += data
        if self.log:
            self.log.write(data)
        return data or None

    def expect(self, text, timeout):
        """Wait for text on the console after what was expected before; returns what came up to it. The time is that of an idle host."""
        timeout *= 4
        text = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + timeout
        mark = getattr(self, "mark", 0)
        while True:
            at = self.out.find(text, mark)
            if at >= 0:
                self.mark = at + len(text)
                return self.out[mark:at].decode(errors="replace")
            left = end - time.monotonic()
            if left <= 0:
                raise Timeout("no %r within %d s; the console ended with:\n%s" % (text, timeout, self.tail()))
            if self.read(left) is None:
                raise Timeout("the machine ended (status %s) without %r; the console ended with:\n%s" % (self.process.wait(), text, self.tail()))

    def tail(self):
        return self.out[-1500:].decode(errors="replace")

    def send(self, text):
        self.process.stdin.write(text.encode() if isinstance(text, str) else text)
        self.process.stdin.flush()

    def wait(self, timeout):
        """Exit status; what is printed meanwhile is kept. The time is that of an idle host."""
        timeout *= 4
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.read(min(0.2, timeout)) is None:
                break
        try:
            return self.process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Timeout("still running after %d s; the console ended with:\n%s" % (timeout, self.tail()))

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        if self.log:
            self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def tap(cases):
    """Run (name, function) cases, print TAP, return the exit status."""
    import traceback
    print("1..%d" % len(cases), flush=True)
    failed = 0
    for i, (name, fn) in enumerate(cases, 1):
        t = time.monotonic()
        try:
            note = fn()
            print("ok %d - %s%s (%.1f s)" % (i, name, ": " + note if note else "", time.monotonic() - t), flush=True)
        except Skip as e:
            print("ok %d - %s # SKIP %s" % (i, name, e), flush=True)
        except Exception as e:
            failed += 1
            print("not ok %d - %s" % (i, name), flush=True)
            for line in (str(e) if isinstance(e, (Timeout, AssertionError)) else traceback.format_exc()).splitlines():
                print("# " + line, flush=True)
    return 1 if failed else 0
