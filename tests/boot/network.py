#!/usr/bin/env python3
"""network.py PROGRAM-DIR [PATTERN]: a guest on -netdev user. DHCP and DNS from the stack, TCP in bulk both ways against checksums, and what restrict=on keeps out."""
import hashlib, os, re, socket, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
import guests
from machine import PATIENCE, Machine, Skip, free_port, tap

PROGRAM = os.path.join(sys.argv[1], "qemu-system-aarch64")
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
BYTES = 32 << 20

# udhcpc calls this with the lease in the environment.
LEASE = b"""#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev $interface
ip route add default via $router
echo "nameserver $dns" > /etc/resolv.conf
echo LEASE $ip $router $dns.
"""

# After a server was started: until it listens at port 7000.
SERVING = "\nuntil cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ':1B58 [0:]* 0A '; do usleep 10000; done; echo LISTENING; "

DHCP = "ip link set lo up; ip link set eth0 up; udhcpc -i eth0 -s /lease -n -q -t 5 -T 2 2>/dev/null || echo NO-LEASE\n"


def guest(netdev, script, device="virtio-net-pci"):
    """A machine with one user-mode network whose guest has a lease and then runs the script."""
    entries, insmod = guests.modules("arm64", "virtio_pci", "virtio_mmio", "virtio_net")
    entries += [("lease", 0o100755, LEASE), ("etc", 0o040755, b"")]
    initrd = guests.initrd("arm64", insmod + DHCP + script, entries, "network")
    return Machine([PROGRAM, "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "512", "-nographic", "-no-reboot", "-kernel", guests.kernel("arm64"),
                    "-initrd", initrd, "-append", "console=ttyAMA0 panic=-1 quiet",
                    "-netdev", "user,id=n" + netdev, "-device", device + ",netdev=n"])


def finish(m):
    assert m.wait(60) == 0, "exit status %s" % m.process.returncode


def leased(m):
    """The address, router and name server that the guest was given."""
    m.expect("LEASE ", 120)
    return m.expect(".\r", 10).split()


def listener():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(4)
    s.settimeout(PATIENCE)
    return s, s.getsockname()[1]


def dhcp(device):
    def run():
        with guest("", "echo ADDR $(ip -4 addr show eth0 | grep -c 10.0.2.15/24) DONE\n", device) as m:
            got = leased(m)
            assert got == ["10.0.2.15", "10.0.2.2", "10.0.2.3"], "leased %r" % got
            m.expect("ADDR 1 DONE", 20)
            finish(m)
    return run


def dhcp_options():
    with guest(",net=192.168.76.0/24,dhcpstart=192.168.76.9", "") as m:
        got = leased(m)
        assert got == ["192.168.76.9", "192.168.76.2", "192.168.76.3"], "leased %r" % got
        finish(m)


def host_is_answered():
    """The host's own name server answers the question that the guest will ask."""
    servers = re.findall(r"^nameserver\s+([0-9.]+)\s*$", open("/etc/resolv.conf").read(), re.M) if os.path.exists("/etc/resolv.conf") else []
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\x09localhost\x0blocaldomain\0\0\1\0\1"
    for _ in range(3 if servers else 0):
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.settimeout(3)
            try:
                s.connect((servers[0], 53))
                s.send(query)
                if s.recv(512)[:2] == query[:2]:
                    return True
            except OSError:
                pass
    return False


def dns():
    """The stack relays to the host's name server; whatever that says (even a refusal) is an answer, silence is none."""
    if not host_is_answered():
        raise Skip("this host's name server does not answer")
    with guest("", "nslookup -type=a localhost.localdomain 10.0.2.3 2>&1 | grep -v '^$' | tr '\\n' ' '; echo END-DNS\n") as m:
        leased(m)
        said = m.expect("END-DNS", 60)
        assert "10.0.2.3" in said or "can't find" in said, "nslookup said %r" % said
        assert "timed out" not in said and "no servers" not in said, "nslookup said %r" % said
        finish(m)


def to_guest():
    """Bytes from the host into the guest through hostfwd, and the guest's checksum of them back on the console."""
    port, data = free_port(), os.urandom(BYTES)
    with guest(",hostfwd=tcp:127.0.0.1:%d-:7000" % port, "nc -l -p 7000 > /tmp/in </dev/null &" + SERVING + "wait; echo SUM $(sha256sum < /tmp/in | cut -c1-64).\n") as m:
        leased(m)
        m.expect("LISTENING", 30)
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), 30) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            m.expect("SUM ", 120)
            taken = time.monotonic() - started
        got = m.expect(".\r", 20)
        assert got == hashlib.sha256(data).hexdigest(), "the guest received other bytes: %r" % got
        finish(m)
        return "%.0f MiB/s" % (BYTES / 2**20 / taken)


def from_guest():
    """Bytes from the guest to a server on the host, and the guest's own checksum of them on the console."""
    server, port = listener()
    got, error = bytearray(), []

    def receive():
        try:
            peer = server.accept()[0]
            with peer:
                peer.settimeout(PATIENCE)
                while chunk := peer.recv(1 << 18):
                    got.extend(chunk)
        except OSError as e:
            error.append(e)

    script = ("dd if=/dev/urandom of=/tmp/out bs=1M count=%d 2>/dev/null; nc 10.0.2.2 %d < /tmp/out; echo SUM $(sha256sum < /tmp/out | cut -c1-64).\n"
              % (BYTES >> 20, port))
    with server, guest("", script) as m:
        leased(m)
        t = threading.Thread(target=receive, daemon=True)
        t.start()
        m.expect("SUM ", 120)
        want = m.expect(".\r", 20)
        t.join(PATIENCE)
        assert not error, str(error)
        assert hashlib.sha256(got).hexdigest() == want, "%d of %d bytes arrived, or others" % (len(got), BYTES)
        finish(m)


def restricted():
    """restrict=on: a lease still, nothing outward, yet a forwarded port works."""
    server, outward = listener()
    port = free_port()
    script = ("nc -w 3 10.0.2.2 %d </dev/null && echo OUTWARD-OPEN; echo TRIED; echo hello-from-guest | nc -l -p 7000 &" % outward + SERVING + "wait; sleep 1\n")
    with server, guest(",restrict=on,hostfwd=tcp:127.0.0.1:%d-:7000" % port, script) as m:
        m.expect("LEASE 10.0.2.15", 120)
        said = m.expect("TRIED", 30)
        assert "OUTWARD-OPEN" not in said, "the guest reached the host through restrict=on"
        server.settimeout(0.2)
        try:
            server.accept()
            raise AssertionError("a connection arrived on the host through restrict=on")
        except socket.timeout:
            pass
        m.expect("LISTENING", 30)
        with socket.create_connection(("127.0.0.1", port), 30) as s:
            s.settimeout(PATIENCE)
            heard = s.recv(100)
            assert heard == b"hello-from-guest\n", "heard %r" % heard
        finish(m)


cases = [("DHCP, virtio-net-pci", dhcp("virtio-net-pci")), ("DHCP, virtio-net-device", dhcp("virtio-net-device")), ("DHCP, another network", dhcp_options),
         ("DNS", dns), ("32 MiB into the guest", to_guest), ("32 MiB out of the guest", from_guest), ("restrict=on", restricted)]
sys.exit(tap([c for c in cases if re.search(PATTERN, c[0])]))
