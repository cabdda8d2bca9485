"""A QMP client over a unix socket, and the machine it talks to."""
import json, os, socket, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
from machine import PATIENCE, listening, until


class Qmp:
    def __init__(self, path, negotiate=True):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(PATIENCE)
        until(lambda: listening(path), "nobody listens at " + path)
        self.s.connect(path)
        self.data, self.events = b"", []
        self.greeting = self.receive()
        if negotiate:
            self.ok("qmp_capabilities")

    def receive(self):
        while b"\r\n" not in self.data:
            more = self.s.recv(65536)
            if not more:
                raise EOFError("the monitor closed the connection")
            self.data += more
        line, self.data = self.data.split(b"\r\n", 1)
        return json.loads(line)

    def reply(self):
        while True:
            o = self.receive()
            if "event" not in o:
                return o
            self.events.append(o)

    def send(self, raw):
        self.s.sendall(raw.encode() if isinstance(raw, str) else raw)

    def call(self, command, **arguments):
        arguments = {k.replace("_", "-") if k != "command_line" else "command-line": v for k, v in arguments.items()}
        self.send(json.dumps({"execute": command, "arguments": arguments} if arguments else {"execute": command}))
        return self.reply()

    def pass_fd(self, fd, command, **arguments):
        """A command that a descriptor comes along with."""
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        socket.send_fds(self.s, [json.dumps({"execute": command, "arguments": arguments}).encode()], [fd])
        r = self.reply()
        assert "return" in r, "%s: %s" % (command, r)
        return r["return"]

    def ok(self, command, **arguments):
        r = self.call(command, **arguments)
        assert "return" in r, "%s: %s" % (command, r)
        return r["return"]

    def fails(self, command, cls="GenericError", **arguments):
        r = self.call(command, **arguments)
        assert r.get("error", {}).get("class") == cls, "%s: %s" % (command, r)
        return r["error"]["desc"]

    def event(self, name, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for e in self.events:
                if e["event"] == name:
                    self.events.remove(e)
                    return e
            o = self.receive()
            assert "event" in o, o
            self.events.append(o)
        raise AssertionError("no event " + name)

    def close(self):
        self.s.close()


class Server:
    """The program with a QMP socket."""

    def __init__(self, program, args, **more):
        self.dir = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.dir.name, "qmp")
        self.process = subprocess.Popen([program, "-display", "none", "-nodefaults", "-qmp", "unix:%s,server=on,wait=off" % self.path] + args,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)
        until(lambda: listening(self.path) or self.process.poll() is not None, "no socket")
        assert self.process.poll() is None, self.process.stderr.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)
        self.process.stderr.close()
        self.dir.cleanup()
