#!/usr/bin/env python3
"""qmp.py PROGRAM-DIR: the QMP protocol, what management programs ask before and at a start, and hot changes."""
import json, os, socket, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
sys.path.insert(0, os.path.dirname(__file__))
from client import Qmp, Server
from machine import PATIENCE, tap, until

DIR = os.path.abspath(sys.argv[1])
PROGRAM, IMG = os.path.join(DIR, "qemu-system-aarch64"), os.path.join(DIR, "qemu-img")
VIRT = ["-M", "virt", "-S"]


def negotiation():
    with Server(PROGRAM, VIRT) as s:
        q = Qmp(s.path, negotiate=False)
        version = q.greeting["QMP"]["version"]["qemu"]
        assert version["major"] >= 8, version
        assert "qmp_capabilities" in q.fails("query-status", "CommandNotFound")
        q.ok("qmp_capabilities")
        q.fails("qmp_capabilities", "CommandNotFound")
        assert q.ok("query-version")["qemu"] == version
        assert q.ok("query-status") == {"status": "prelaunch", "running": False}


def framing():
    with Server(PROGRAM, VIRT) as s:
        q = Qmp(s.path)
        q.send('{"execute":"query-name","id":1}{"execute":"query-name","id":"two"}')  # no newline between or after
        assert q.reply()["id"] == 1 and q.reply()["id"] == "two"
        q.send('{"execute":"query-name",\r\n "id":{"a":[1,null]}}\r\n')
        assert q.reply()["id"] == {"a": [1, None]}
        q.send(b'{"execute": "query-na\xff{"execute":"query-name","id":3}')  # 0xFF resets the parser
        assert q.reply()["id"] == 3
        q.send("{'execute': 'query-name', 'id': 4}")
        assert q.reply()["id"] == 4
        q.send("{]\n")
        assert q.reply()["error"]["class"] == "GenericError"
        for bad in ('[1]', '{"arguments":{}}', '{"execute":"stop","arguments":[]}', '{"execute":"query-commands","arguments":{"x":1}}'):
            q.send(bad)
            assert q.reply()["error"]["class"] == "GenericError", bad
        assert "no-such" in q.fails("no-such", "CommandNotFound")
        for byte in b'{"execute":"query-name","id":5}':
            q.send(bytes([byte]))
        assert q.reply()["id"] == 5


def reconnect():
    with Server(PROGRAM, VIRT) as s:
        for _ in range(3):
            q = Qmp(s.path)
            q.ok("query-status")
            q.close()


def queued_then_eof():
    """libguestfs: all commands and the end of input are there before the program starts."""
    r = subprocess.run([PROGRAM, "-display", "none", "-machine", "accel=kvm:tcg", "-qmp", "stdio"], timeout=PATIENCE, stdout=subprocess.PIPE, text=True,
                       input='{ "execute": "qmp_capabilities" }\n{ "execute": "query-kvm" }\n{ "execute": "quit" }\n')
    lines = r.stdout.splitlines()
    assert r.returncode == 0 and len(lines) >= 4, r.stdout
    assert "QMP" in json.loads(lines[0]) and json.loads(lines[1]) == {"return": {}} and "enabled" in json.loads(lines[2])["return"], r.stdout


def sandbox():
    """What -sandbox denies fails where it is asked for, and the machine goes on; what it does not deny works."""
    def migrated(spawn):
        with Server(PROGRAM, VIRT + ["-S", "-sandbox", "on,elevateprivileges=deny,resourcecontrol=deny,spawn=" + spawn]) as s:
            q = Qmp(s.path)
            answer = q.call("migrate", uri="exec:cat > /dev/null")
            until(lambda: "error" in answer or q.ok("query-migrate").get("status") in ("completed", "failed"), "the migration never ends")
            status = q.ok("query-migrate").get("status")
            q.ok("object-add", qom_type="iothread", id="t0")  # a thread is no process
            assert q.ok("query-status")
            return answer, status
    answer, status = migrated("deny")
    assert "not permitted" in answer.get("error", {}).get("desc", ""), (answer, status)
    assert migrated("allow")[1] == "completed"


def iothreads():
    """Named threads come and go; a disk that is plugged in works on its own."""
    with tempfile.TemporaryDirectory() as d, Server(PROGRAM, VIRT) as s:
        q = Qmp(s.path)
        name = os.path.join(d, "a.qcow2")
        subprocess.run([IMG, "create", "-q", "-f", "qcow2", name, "16M"], check=True)
        q.ok("object-add", qom_type="iothread", id="t0", poll_max_ns=1000)
        thread = q.ok("query-iothreads")[0]["thread-id"]
        assert os.path.exists("/proc/%d/task/%d" % (s.process.pid, thread)) and thread != s.process.pid
        q.ok("blockdev-add", **{"driver": "file", "filename": name, "node-name": "p"})
        q.ok("blockdev-add", **{"driver": "qcow2", "node-name": "f", "file": "p"})
        q.ok("blockdev-add", **{"driver": "raw", "node-name": "other", "file": "p", "read-only": True})
        assert "shares an image" in q.fails("device_add", driver="virtio-blk-pci", drive="f", iothread="t0", id="d0")
        q.ok("blockdev-del", node_name="other")
        assert "no -object iothread has the id 't1'" in q.fails("device_add", driver="virtio-blk-pci", drive="f", iothread="t1", id="d0")
        q.ok("device_add", driver="virtio-blk-pci", drive="f", iothread="t0", id="d0")
        assert "in use by device 'd0'" in q.fails("object-del", id="t0")
        q.ok("device_del", id="d0")
        q.event("DEVICE_DELETED")
        q.ok("object-del", id="t0")
        assert q.ok("query-iothreads") == []
        until(lambda: not os.path.exists("/proc/%d/task/%d" % (s.process.pid, thread)), "the thread stays")  # it is seen a moment longer than it lives
        q.ok("device_add", driver="virtio-blk-pci", drive="f", id="d0")
        q.ok("quit")
        assert s.process.wait(PATIENCE) == 0


def life():
    with Server(PROGRAM, VIRT) as s:
        q = Qmp(s.path)
        q.ok("cont")
        q.event("RESUME")
        assert q.ok("query-status")["status"] == "running"
        q.ok("stop")
        q.event("STOP")
        assert q.ok("query-status") == {"status": "paused", "running": False}
        q.ok("system_reset")
        assert q.event("RESET")["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
        q.ok("system_powerdown")
        q.event("POWERDOWN")
        q.ok("quit")
        assert q.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}
        assert s.process.wait(PATIENCE) == 0


def probe():
    """libvirt's way to learn what a binary can do: -daemonize returns when the socket exists."""
    with tempfile.TemporaryDirectory() as d:
        sock, pid = os.path.join(d, "qmp.monitor"), os.path.join(d, "qmp.pid")
        r = subprocess.run([PROGRAM, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=tcg", "-qmp", "unix:%s,server=on,wait=off" % sock,
                            "-pidfile", pid, "-daemonize"], stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert r.returncode == 0 and os.path.exists(sock), r
        q = Qmp(sock)
        names = [c["name"] for c in q.ok("query-commands")]
        schema = {e["name"]: e for e in q.ok("query-qmp-schema")}
        for c in names:
            assert schema[c]["meta-type"] == "command" and schema[c]["arg-type"] in schema and schema[c]["ret-type"] in schema, c
        assert q.ok("query-target") == {"arch": "aarch64"}
        machines = {m["name"]: m for m in q.ok("query-machines")}
        assert machines["virt"]["cpu-max"] == 512 and "none" in machines
        assert "cortex-a72" in [c["name"] for c in q.ok("query-cpu-definitions")]
        types = [t["name"] for t in q.ok("qom-list-types")]
        assert "virtio-blk-pci" in types and "rng-random" in types
        assert "drive" in [p["name"] for p in q.ok("device-list-properties", typename="virtio-blk-pci")]
        q.fails("device-list-properties", "DeviceNotFound", typename="virtio-net-ccw")
        assert "gic-version" in [p["name"] for p in q.ok("qom-list-properties", typename="virt-machine")]
        for c in ("qom-list-properties",):
            q.ok(c, typename="memory-backend-file")
            q.ok(c, typename="max-arm-cpu")
            q.ok(c, typename="none-machine")
        for c in ("query-kvm", "query-tpm-models", "query-tpm-types", "query-migrate-capabilities"):
            q.ok(c)
        assert {g["option"] for g in q.ok("query-command-line-options")} >= {"machine", "drive", "netdev"}
        assert {g["version"] for g in q.ok("query-gic-capabilities")} == {2, 3}
        q.ok("query-cpu-model-expansion", type="full", model={"name": "max"})
        number = int(open(pid).read())
        q.ok("quit")
        assert number
        until(lambda: not os.path.exists(pid), "the pid file stays")


def lookup(schema, path):
    """libvirt's way to ask the schema: command/arg-type/member, +branch of a union, ^value of an enumeration, $feature. None: not there."""
    entry, parts = None, path.split("/")
    entry = schema.get(parts.pop(0))
    while entry and parts:
        part = parts.pop(0)
        while entry["meta-type"] == "array":
            entry = schema[entry["element-type"]]
        if part[0] == "$":
            return part[1:] in entry.get("features", [])
        if part[0] == "^":
            return part[1:] in entry["values"]
        if part in ("arg-type", "ret-type"):
            name = entry.get(part)
        elif part[0] == "+":
            name = next((v["type"] for v in entry.get("variants", []) if v["case"] == part[1:]), None)
        else:
            name = next((m["type"] for m in entry.get("members", []) if m["name"] == part), None)
        entry = schema.get(name) if name else None
    return bool(entry)


def introspection():
    with Server(PROGRAM, VIRT) as s:
        q = Qmp(s.path)
        schema = {e["name"]: e for e in q.ok("query-qmp-schema")}
        for e in schema.values():  # every name that is used is explained
            used = [e[k] for k in ("arg-type", "ret-type", "element-type") if k in e] + [m["type"] for m in e.get("members", []) if "type" in m]
            for name in used + [v["type"] for v in e.get("variants", [])]:
                assert name in schema, "%s uses %s" % (e["name"], name)
            if "tag" in e:
                tag = next(m["type"] for m in e["members"] if m["name"] == e["tag"])
                assert set(schema[tag]["values"]) == {v["case"] for v in e["variants"]}, e["name"]
        for path in ("blockdev-add/arg-type/+file/aio/^io_uring", "blockdev-add/arg-type/+qcow2/backing", "netdev_add/arg-type/type/^dgram", "netdev_add/arg-type/+stream",
                     "object-add/arg-type/qom-type/^secret", "object-add/arg-type/+rng-random/filename", "device_add/$json-cli-hotplug", "query-named-block-nodes/arg-type/flat",
                     "chardev-add/arg-type/backend/+socket/data/reconnect", "query-iothreads/ret-type/poll-max-ns", "query-status/ret-type/status/^paused", "DEVICE_DELETED/arg-type/path"):
            assert lookup(schema, path), path
        for path in ("blockdev-add/arg-type/+rbd", "netdev_add/arg-type/+vhost-vdpa", "blockdev-add/arg-type/+file/drop-cache", "screendump"):
            assert not lookup(schema, path), path
        assert "does not accept value 'sometimes'" in q.fails("blockdev-add", driver="null-co", node_name="x", discard="sometimes")
        assert "'type'" in q.fails("netdev_add", id="x")


def objects():
    with Server(PROGRAM, VIRT + ["-m", "128M", "-smp", "2,maxcpus=4,cores=2,sockets=2", "-device", "virtio-balloon-pci,id=b0", "-object", "iothread,id=io1"]) as s:
        q = Qmp(s.path)
        assert q.ok("query-balloon") == {"actual": 128 << 20}
        q.ok("balloon", value=64 << 20)
        q.fails("balloon", value=0)
        path = "/machine/peripheral/b0"
        q.ok("qom-set", path=path, property="guest-stats-polling-interval", value=2)
        q.ok("qom-set", path=path + "/virtio-backend", property="guest-stats-polling-interval", value=0)
        q.fails("qom-set", path=path, property="guest-stats-polling-interval", value="often")
        assert "cannot change" in q.fails("qom-set", path=path, property="vectors", value=2)
        assert q.ok("qom-get", path=path, property="guest-stats")["last-update"] == 0
        assert q.ok("qom-get", path=path, property="type") == "virtio-balloon-pci"
        assert {"guest-stats", "virtio-backend"} <= {p["name"] for p in q.ok("qom-list", path=path)}
        assert {p["name"] for p in q.ok("qom-list", path="/")} == {"machine", "objects"}
        assert [p["name"] for p in q.ok("qom-list", path="/machine/unattached")] == ["device[0]", "device[1]"]
        assert q.ok("qom-list", path="/objects") == [{"name": "io1", "type": "child<iothread>"}]
        q.fails("qom-list", "DeviceNotFound", path="/machine/peripheral/nothing")
        places = q.ok("query-hotpluggable-cpus")
        assert len(places) == 4 and ["qom-path" in p for p in places] == [False, False, True, True], places
        assert [c["props"]["core-id"] for c in q.ok("query-cpus-fast")] == [0, 1]
        assert [t["id"] for t in q.ok("query-iothreads")] == ["io1"]
    with Server(PROGRAM, VIRT) as s:
        Qmp(s.path).fails("query-balloon", "DeviceNotActive")


def start_sequence():
    with tempfile.TemporaryDirectory() as d:
        disk = os.path.join(d, "a.qcow2")
        subprocess.run([IMG, "create", "-f", "qcow2", disk, "16M"], check=True, stdout=subprocess.DEVNULL)
        args = VIRT + ["-smp", "2", "-object", '{"qom-type":"rng-random","id":"objrng0","filename":"/dev/urandom"}', "-device", "virtio-rng-pci,rng=objrng0,id=rng0",
                       "-object", "iothread,id=io1", "-object", "memory-backend-ram,id=mach-virt.ram,size=128M", "-chardev", "pty,id=charserial0", "-serial", "chardev:charserial0",
                       "-blockdev", json.dumps({"driver": "file", "filename": disk, "node-name": "storage"}), "-blockdev", json.dumps({"node-name": "format", "driver": "qcow2", "file": "storage"}),
                       "-device", "virtio-blk-pci,drive=format,id=virtio-disk0"]
        with Server(PROGRAM, args) as s:
            q = Qmp(s.path)
            q.ok("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
            q.fails("migrate-set-capabilities", capabilities=[{"capability": "postcopy-ram", "state": True}])
            serial = [c for c in q.ok("query-chardev") if c["label"] == "charserial0"][0]
            assert serial["filename"].startswith("pty:/dev/pts/"), serial
            assert len(q.ok("query-cpus-fast")) == 2
            names = [c["name"] for c in q.ok("qom-list", path="/machine/peripheral")]
            assert {"rng0", "virtio-disk0"} <= set(names), names
            nodes = {n["node-name"]: n for n in q.ok("query-named-block-nodes", flat=True)}
            assert nodes["format"]["drv"] == "qcow2" and nodes["format"]["image"]["virtual-size"] == 16 << 20, nodes
            block = q.ok("query-block")
            assert [b.get("qdev") for b in block] == ["/machine/peripheral/virtio-disk0/virtio-backend"], block
            assert q.ok("query-blockstats")[0]["stats"]["rd_operations"] >= 0
            q.ok("query-iothreads"), q.ok("query-memory-devices"), q.ok("query-hotpluggable-cpus"), q.ok("query-current-machine")
            assert q.ok("qom-get", path="/machine/peripheral/rng0", property="period") == 65536
            q.fails("qom-get", path="/machine/peripheral/rng0", property="nothing")
            q.ok("block_resize", node_name="format", size=32 << 20)
            assert q.ok("query-block")[0]["inserted"]["image"]["virtual-size"] == 32 << 20


def hot_changes():
    with tempfile.TemporaryDirectory() as d:
        disk = os.path.join(d, "b.raw")
        open(disk, "wb").truncate(1 << 20)
        with Server(PROGRAM, VIRT) as s:
            q = Qmp(s.path)
            q.ok("blockdev-add", **{"driver": "raw", "node-name": "n1", "file": {"driver": "file", "filename": disk}})
            q.fails("blockdev-add", **{"driver": "raw", "node-name": "n1", "file": {"driver": "file", "filename": disk}})
            q.ok("device_add", driver="virtio-blk-pci", drive="n1", id="d1")
            q.fails("device_add", driver="virtio-blk-pic")
            q.ok("device_del", id="d1")
            assert q.event("DEVICE_DELETED")["data"] == {"path": "/machine/peripheral/d1/virtio-backend"}
            assert q.event("DEVICE_DELETED")["data"] == {"device": "d1", "path": "/machine/peripheral/d1"}
            q.ok("blockdev-del", node_name="n1")
            q.fails("device_del", "DeviceNotFound", id="d1")
            q.ok("netdev_add", type="user", id="u1")
            q.ok("device_add", driver="virtio-net-pci", netdev="u1", id="nic1")
            q.ok("set_link", name="u1", up=False)
            q.ok("set_link", name="nic1", up=True)
            assert "nic1" in q.fails("netdev_del", id="u1")
            q.ok("device_del", id="nic1")
            q.ok("netdev_del", id="u1")
            q.fails("netdev_del", "DeviceNotFound", id="u1")
            q.ok("chardev-add", id="c1", backend={"type": "null", "data": {}})
            q.ok("chardev-remove", id="c1")
            q.fails("chardev-remove", id="c1")
            q.ok("object-add", **{"qom-type": "secret", "id": "s1", "data": "x"})
            q.ok("object-del", id="s1")
            q.fails("object-del", id="s1")
            q.ok("object-add", **{"qom-type": "rng-builtin", "id": "r1"})
            q.ok("device_add", driver="virtio-rng-pci", rng="r1", id="rng1")
            assert "rng1" in q.fails("object-del", id="r1")
            q.ok("device_del", id="rng1")
            q.ok("object-del", id="r1")
            assert q.ok("human-monitor-command", command_line="info status").startswith("VM status: paused")


def descriptors():
    with tempfile.TemporaryDirectory() as d:
        path, log = os.path.join(d, "b.raw"), os.path.join(d, "log")
        open(path, "wb").truncate(1 << 20)
        given = os.open(log, os.O_RDWR | os.O_CREAT)
        os.set_inheritable(given, True)
        with Server(PROGRAM, VIRT + ["-add-fd", "fd=%d,set=7,opaque=log" % given, "-chardev", "file,id=c0,path=/dev/fdset/7,append=on", "-serial", "chardev:c0"],
                    pass_fds=[given]) as s:
            assert s.process.poll() is None or s.process.stderr.read() == b""
            q = Qmp(s.path)
            assert "SCM_RIGHTS" in q.fails("getfd", fdname="x") and "SCM_RIGHTS" in q.fails("add-fd")
            theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            q.pass_fd(theirs.fileno(), "getfd", fdname="net0")
            theirs.close()
            q.ok("netdev_add", type="socket", id="n0", fd="net0")
            assert "net0" in q.fails("netdev_add", type="socket", id="n1", fd="net0")  # it went to the first
            q.ok("netdev_del", id="n0")
            try:
                ours.send(b"x" * 60)
                assert False, "the program still holds the descriptor"
            except ConnectionRefusedError:
                pass
            q.pass_fd(given, "getfd", fdname="spare")
            q.ok("closefd", fdname="spare")
            q.fails("closefd", fdname="spare")
            with open(path, "r+b") as f, open(path, "rb") as ro:
                r = q.pass_fd(f.fileno(), "add-fd", opaque="rw:b")
                assert q.pass_fd(ro.fileno(), "add-fd", fdset_id=r["fdset-id"])["fdset-id"] == r["fdset-id"]
            sets = {x["fdset-id"]: x["fds"] for x in q.ok("query-fdsets")}
            assert [x.get("opaque") for x in sets[7]] == ["log"] and len(sets[r["fdset-id"]]) == 2, sets
            os.unlink(path)
            name = "/dev/fdset/%d" % r["fdset-id"]
            q.ok("blockdev-add", **{"driver": "file", "node-name": "f0", "filename": name})
            q.ok("remove-fd", fdset_id=r["fdset-id"])
            q.fails("remove-fd", fdset_id=r["fdset-id"])
            q.fails("blockdev-add", **{"driver": "file", "node-name": "f1", "filename": name})
            assert q.ok("query-named-block-nodes")[0]["image"]["virtual-size"] == 1 << 20
            q.ok("blockdev-del", node_name="f0")
        os.close(given)


sys.exit(tap([("negotiation", negotiation), ("framing", framing), ("reconnecting", reconnect), ("commands and end of input at once", queued_then_eof), ("life and events", life),
              ("libvirt's probe", probe), ("libvirt's start sequence", start_sequence), ("introspection", introspection), ("objects and places", objects), ("hot changes", hot_changes), ("I/O threads", iothreads), ("sandbox", sandbox), ("descriptors", descriptors)]))
