#!/usr/bin/env python3
"""bitmaps.py PROGRAM-DIR: dirty bitmaps, backups, transactions and snapshot jobs by QMP; what is left in the images is read by QEMU's own tools where they are installed."""
import json, os, shutil, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
sys.path.insert(0, os.path.dirname(__file__))
from client import Qmp, Server
from machine import PATIENCE, listening, tap, until

DIR = os.path.abspath(sys.argv[1])
PROGRAM, IMG = os.path.join(DIR, "qemu-system-aarch64"), os.path.join(DIR, "qemu-img")
PEER = shutil.which("qemu-img", path="/usr/bin")
SIZE, GRANULE = 24 << 20, 1 << 16
RANGES = [(0, 1), (131072, 65536), (1000000, 300000), (SIZE - 512, 512)]


def run(*argv):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert r.returncode == 0, "%s: %s" % (" ".join(argv), r.stdout)
    return r.stdout


def write(name, ranges, byte=7):
    run("qemu-io", "-f", "qcow2", *[x for at, n in ranges for x in ("-c", "write -q -P %d %d %d" % (byte, at, n))], name)


def granules(ranges, size=GRANULE):
    return sorted({g for at, n in ranges for g in range(at // size, (at + n - 1) // size + 1)})


def peer_bitmaps(name, *more):
    info = json.loads(run(PEER, "info", *more, "--output=json", name))
    return {b["name"]: b for b in info.get("format-specific", {}).get("data", {}).get("bitmaps", [])}


def peer_bits(folder, name, bitmap):
    """The dirty granules of a bitmap in an image, as QEMU's NBD server tells them."""
    sock = os.path.join(folder, "nbd")
    server = subprocess.Popen(["qemu-nbd", "-r", "-f", "qcow2", "-B", bitmap, "-k", sock, name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listening(sock), "qemu-nbd does not listen")
        # Read as the allocation, a dirty range is one without data.
        text = run(PEER, "map", "--output=json", "--image-opts", "driver=nbd,server.type=unix,server.path=%s,x-dirty-bitmap=qemu:dirty-bitmap:%s" % (sock, bitmap))
        return granules([(e["start"], e["length"]) for e in json.loads(text) if not e["data"]])
    finally:
        server.kill()
        server.wait()
        if os.path.exists(sock):
            os.unlink(sock)


class Disk:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.image = self.path("a.qcow2")
        run(IMG, "create", "-q", "-f", "qcow2", self.image, str(SIZE))

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def args(self):
        return ["-M", "virt", "-S", "-blockdev", json.dumps({"driver": "file", "filename": self.image, "node-name": "p", "discard": "unmap"}),
                "-blockdev", json.dumps({"driver": "qcow2", "file": "p", "node-name": "f"}), "-device", "virtio-blk-pci,drive=f,id=d0"]

    def target(self, q, name, fmt="raw"):
        run(IMG, "create", "-q", "-f", fmt, self.path(name), str(SIZE))
        q.ok("blockdev-add", **{"driver": fmt, "node-name": name, "file": {"driver": "file", "filename": self.path(name)}})

    def change(self, q, ranges, byte):
        """The node gets data while the machine is there: an overlay with it is put on top and committed."""
        over = self.path("over%d" % byte)
        run(IMG, "create", "-q", "-f", "qcow2", over, str(SIZE))
        write(over, ranges, byte)
        q.ok("blockdev-add", **{"driver": "qcow2", "node-name": "over", "backing": None, "file": {"driver": "file", "filename": over}})
        q.ok("blockdev-snapshot", node="f", overlay="over")
        q.ok("block-commit", device="over", job_id="c", auto_dismiss=False)
        finish(q, "c", complete=True)
        q.ok("blockdev-del", node_name="over")
        os.unlink(over)


def finish(q, job, complete=False, error=None):
    while True:
        e = q.event("JOB_STATUS_CHANGE", 30)["data"]
        if e == {"id": job, "status": "ready"} and complete:
            q.ok("job-complete", id=job)
        if e == {"id": job, "status": "concluded"}:
            break
    found = [j for j in q.ok("query-jobs") if j["id"] == job]
    assert found and (error or "") in found[0].get("error", "") and bool(error) == ("error" in found[0]), found
    q.ok("job-dismiss", id=job)


def bitmaps(q, node="f"):
    n = next(n for n in q.ok("query-named-block-nodes", flat=True) if n["node-name"] == node)
    return {b["name"]: b for b in n.get("dirty-bitmaps", [])}


def do(kind, **data):
    return {"type": kind, "data": {k.replace("_", "-"): v for k, v in data.items()}}


def from_peer():
    """QEMU's tools make bitmaps and write; we know what they wrote, go on, and give them back."""
    if not PEER:
        return "skipped: no qemu-img of QEMU"
    disk = Disk()
    for options, name in (("-g65536",), "b0"), (("-g512",), "fine"), (("-g1M", "--disable"), "off"):
        run(PEER, "bitmap", "--add", *options, disk.image, name)
    write(disk.image, RANGES)
    with Server(PROGRAM, disk.args()) as s:
        q = Qmp(s.path)
        have = bitmaps(q)
        assert have["b0"]["count"] == len(granules(RANGES)) * GRANULE and have["b0"]["recording"] and have["b0"]["persistent"] and have["b0"]["granularity"] == GRANULE, have
        assert have["fine"]["count"] == len(granules(RANGES, 512)) * 512 and not have["off"]["recording"] and have["off"]["count"] == 0, have
        assert all("in-use" in b["flags"] for b in peer_bitmaps(disk.image, "-U").values())
        more = [(8 << 20, 70000)]
        disk.change(q, more, 9)
        assert bitmaps(q)["b0"]["count"] == len(granules(RANGES + more)) * GRANULE
        q.ok("quit")
        assert s.process.wait(PATIENCE) == 0
    for tool in (IMG, PEER):
        run(tool, "check", disk.image)
    after = peer_bitmaps(disk.image)
    assert after["b0"]["flags"] == ["auto"] and after["off"]["flags"] == [] and after["fine"]["granularity"] == 512, after
    assert peer_bits(disk.folder.name, disk.image, "b0") == granules(RANGES + more)
    assert peer_bits(disk.folder.name, disk.image, "off") == []


def life():
    disk = Disk()
    with Server(PROGRAM, disk.args()) as s:
        q = Qmp(s.path)
        q.ok("block-dirty-bitmap-add", node="f", name="p0", persistent=True, granularity=GRANULE)
        q.ok("block-dirty-bitmap-add", node="f", name="t0", granularity=1 << 20)
        q.ok("block-dirty-bitmap-add", node="f", name="sleeps", disabled=True, persistent=True)
        assert "already exists" in q.fails("block-dirty-bitmap-add", node="f", name="p0")
        for bad in ({"granularity": 1000}, {"granularity": 256}, {"name": ""}, {"name": "x" * 1024}):
            q.fails("block-dirty-bitmap-add", **dict({"node": "f", "name": "bad"}, **bad))
        q.fails("block-dirty-bitmap-add", node="p", name="bad", persistent=True)
        q.fails("block-dirty-bitmap-clear", node="f", name="nothing")
        disk.change(q, RANGES, 3)
        have = bitmaps(q)
        assert have["p0"]["count"] == len(granules(RANGES)) * GRANULE and have["sleeps"]["count"] == 0, have
        assert have["t0"]["count"] == len(granules(RANGES, 1 << 20)) << 20 and not have["t0"]["persistent"], have
        q.ok("block-dirty-bitmap-disable", node="f", name="p0")
        q.ok("block-dirty-bitmap-enable", node="f", name="sleeps")
        disk.change(q, [(5 << 20, 1)], 4)
        have = bitmaps(q)
        assert have["p0"]["count"] == len(granules(RANGES)) * GRANULE and have["sleeps"]["count"] == GRANULE, have
        q.ok("block-dirty-bitmap-merge", node="f", target="sleeps", bitmaps=["p0", {"node": "f", "name": "t0"}])
        assert bitmaps(q)["sleeps"]["count"] == len(granules([(g << 20, 1 << 20) for g in granules(RANGES + [(5 << 20, 1)], 1 << 20)])) * GRANULE
        q.ok("block-dirty-bitmap-clear", node="f", name="p0")
        q.ok("block-dirty-bitmap-remove", node="f", name="t0")
        assert set(bitmaps(q)) == {"p0", "sleeps"}
        q.ok("block_resize", node_name="f", size=SIZE + (4 << 20))
    if PEER:
        have = peer_bitmaps(disk.image)
        assert have["p0"]["flags"] == [] and have["sleeps"]["flags"] == ["auto"], have
        run(PEER, "check", disk.image)
    with Server(PROGRAM, disk.args()) as s:
        q = Qmp(s.path)
        have = bitmaps(q)
        assert have["p0"]["count"] == 0 and not have["p0"]["recording"] and have["sleeps"]["count"] == 4 << 20, have
        s.process.kill()  # nobody writes them again
        s.process.wait()
    with Server(PROGRAM, disk.args()) as s:
        q = Qmp(s.path)
        assert all(b["inconsistent"] for b in bitmaps(q).values())
        assert "inconsistent" in q.fails("block-dirty-bitmap-enable", node="f", name="sleeps")
        q.ok("block-dirty-bitmap-remove", node="f", name="sleeps")
        q.ok("block-dirty-bitmap-remove", node="f", name="p0")
    for tool in {IMG, PEER or IMG}:
        run(tool, "check", disk.image)
    assert not PEER or peer_bitmaps(disk.image) == {}


def undone():
    """A transaction whose last action fails leaves nothing behind."""
    disk = Disk()
    write(disk.image, RANGES)
    with Server(PROGRAM, disk.args()) as s:
        q = Qmp(s.path)
        q.ok("block-dirty-bitmap-add", node="f", name="b0")
        q.ok("block-dirty-bitmap-add", node="f", name="b1")
        disk.change(q, RANGES, 1)
        disk.target(q, "t")
        before = bitmaps(q)
        snap, copy = disk.path("snap"), disk.path("copy")
        actions = [do("block-dirty-bitmap-add", node="f", name="fresh", persistent=True), do("block-dirty-bitmap-clear", node="f", name="b0"),
                   do("block-dirty-bitmap-disable", node="f", name="b0"), do("block-dirty-bitmap-remove", node="f", name="b1"),
                   do("block-dirty-bitmap-merge", node="f", target="fresh", bitmaps=["b0"])]
        jobs = [do("blockdev-backup", device="f", target="t", sync="full", job_id="j"), do("drive-backup", device="f", target=copy, format="raw", sync="full", job_id="k")]
        last = [do("blockdev-snapshot-sync", node_name="f", snapshot_file=snap, snapshot_node_name="over")]
        for steps in (actions, last, actions + jobs[:1], actions + jobs[1:], actions + last):
            for wrong in ([do("abort")], [do("block-dirty-bitmap-clear", node="f", name="none")], [{"type": "what", "data": {}}]):
                q.fails("transaction", actions=steps + wrong)
                assert bitmaps(q) == before, bitmaps(q)
                assert not os.path.exists(snap) and not os.path.exists(copy) and q.ok("query-jobs") == []
                assert "over" not in [n["node-name"] for n in q.ok("query-named-block-nodes", flat=True)]
        q.fails("transaction", actions=[do("abort")], properties={"completion-mode": "grouped"})
        q.ok("transaction", actions=actions + last, properties={"completion-mode": "individual"})
        have = bitmaps(q)
        assert set(have) == {"b0", "fresh"} and have["b0"]["count"] == 0 and have["fresh"]["count"] == 0, have
        assert os.path.exists(snap)


def backups():
    """Full, then what changed since; each copy is what the disk was."""
    disk = Disk()
    write(disk.image, [(0, 1 << 20), (3 << 20, 2 << 20)], 5)
    with Server(PROGRAM, disk.args()) as s:
        q = Qmp(s.path)
        disk.target(q, "full", "qcow2")
        q.ok("transaction", actions=[do("block-dirty-bitmap-add", node="f", name="since", persistent=True), do("blockdev-backup", device="f", target="full", sync="full", job_id="j0", auto_dismiss=False)])
        finish(q, "j0")
        q.ok("blockdev-del", node_name="full")
        run(IMG, "compare", "-U", disk.image, disk.path("full"))
        disk.change(q, RANGES, 6)
        # An increment goes on top of the full one, and holds nothing but the change.
        run(IMG, "create", "-q", "-f", "qcow2", "-b", disk.path("full"), "-F", "qcow2", disk.path("inc"))
        q.ok("blockdev-add", **{"driver": "qcow2", "node-name": "inc", "file": {"driver": "file", "filename": disk.path("inc")}})
        q.fails("blockdev-backup", device="f", target="inc", sync="incremental", job_id="j1")
        q.fails("blockdev-backup", device="f", target="inc", sync="incremental", bitmap="none", job_id="j1")
        q.fails("blockdev-backup", device="f", target="inc", sync="incremental", bitmap="since", bitmap_mode="never", job_id="j1")
        q.ok("blockdev-backup", device="f", target="inc", sync="bitmap", bitmap="since", bitmap_mode="never", job_id="j1", auto_dismiss=False)
        finish(q, "j1")
        assert bitmaps(q)["since"]["count"] == len(granules(RANGES)) * GRANULE
        q.ok("blockdev-backup", device="f", target="inc", sync="incremental", bitmap="since", job_id="j1", auto_dismiss=False, speed=1 << 14)
        assert "in use" in q.fails("block-dirty-bitmap-remove", node="f", name="since")
        q.ok("block-job-set-speed", device="j1", speed=0)
        finish(q, "j1")
        assert bitmaps(q)["since"]["count"] == 0
        q.ok("blockdev-del", node_name="inc")
        run(IMG, "compare", "-U", disk.image, disk.path("inc"))
        held = [e["start"] for e in json.loads(run(IMG, "map", "--output=json", disk.path("inc"))) if e["depth"] == 0 for e in [e] if e["data"]]
        assert held and all(any(at >= a // GRANULE * GRANULE and at < a + n for a, n in RANGES) for at in held), held
        # A target that fails: the bitmap keeps what was not copied.
        disk.change(q, RANGES[:2], 8)
        open(disk.path("bad"), "wb").truncate(SIZE)
        q.ok("blockdev-add", **{"driver": "raw", "node-name": "bad", "file": {"driver": "blkdebug", "inject-error": [{"iotype": "write", "errno": 5}], "image": {"driver": "file", "filename": disk.path("bad")}}})
        q.ok("blockdev-backup", device="f", target="bad", sync="incremental", bitmap="since", job_id="j2", auto_dismiss=False)
        finish(q, "j2", error="Input/output")
        assert bitmaps(q)["since"]["count"] == len(granules(RANGES[:2])) * GRANULE
        q.ok("drive-backup", device="f", target=disk.path("packed"), format="qcow2", sync="full", compress=True, job_id="j3", auto_dismiss=False)
        finish(q, "j3")
        run(IMG, "compare", "-U", disk.image, disk.path("packed"))
        q.ok("drive-mirror", device="f", target=disk.path("mirrored"), format="qcow2", sync="full", node_name="m", job_id="j4", auto_dismiss=False)
        finish(q, "j4", complete=True)
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "m"
    run(IMG, "compare", disk.image, disk.path("mirrored"))
    for name in ("full", "inc", "packed", "mirrored"):
        run(PEER or IMG, "check", disk.path(name))


def reopened():
    disk = Disk()
    with Server(PROGRAM, disk.args()) as s:
        q = Qmp(s.path)
        base = {"driver": "qcow2", "node-name": "x", "file": "xp"}
        run(IMG, "create", "-q", "-f", "qcow2", disk.path("x"), str(SIZE))
        q.ok("blockdev-add", **{"driver": "file", "node-name": "xp", "filename": disk.path("x"), "read-only": True, "auto-read-only": False})
        q.fails("blockdev-reopen", options=[{"driver": "file", "node-name": "nothing", "filename": "/x"}])
        q.fails("blockdev-reopen", options=[{"driver": "file", "node-name": "xp", "filename": "/elsewhere"}])
        q.fails("blockdev-reopen", options=[{"driver": "raw", "node-name": "xp", "file": "p"}])
        q.ok("blockdev-add", **dict(base, **{"read-only": True}))
        q.fails("block-dirty-bitmap-add", node="x", name="b", persistent=True)
        q.ok("blockdev-reopen", options=[{"driver": "file", "node-name": "xp", "filename": disk.path("x")}, base])
        q.ok("block-dirty-bitmap-add", node="x", name="b", persistent=True)
        q.ok("blockdev-reopen", options=[dict(base, **{"read-only": True})])
        if PEER:  # it was written when writing ended
            assert peer_bitmaps(disk.path("x"), "-U")["b"]["flags"] == ["auto"]
        assert "readonly" in q.fails("block-dirty-bitmap-clear", node="x", name="b")
        q.ok("blockdev-reopen", options=[dict(base, backing="f")])
        assert "backing-image" in next(n for n in q.ok("query-named-block-nodes", flat=True) if n["node-name"] == "x")["image"]
        q.ok("blockdev-reopen", options=[dict(base, backing=None)])
        q.ok("blockdev-del", node_name="x")


def snapshot_jobs():
    disk = Disk()
    with Server(PROGRAM, disk.args() + ["-m", "64"]) as s:
        q = Qmp(s.path)
        q.fails("snapshot-save", job_id="s", tag="one", vmstate="f", devices=[])
        q.fails("snapshot-save", job_id="s", tag="one", vmstate="f", devices=["nothing"])
        for verb, error in (("save", None), ("save", "already exists"), ("load", None), ("delete", None), ("load", "does not have")):
            q.ok("snapshot-" + verb, job_id="s", tag="one", devices=["f"], **({} if verb == "delete" else {"vmstate": "f"}))
            finish(q, "s", error=error)
            tags = [x["name"] for x in json.loads(run(IMG, "info", "-U", "--output=json", disk.image)).get("snapshots", [])]
            assert tags == ([] if verb == "delete" or error == "does not have" else ["one"]), (verb, tags)
        assert q.ok("query-status")["status"] in ("prelaunch", "paused")


sys.exit(tap([("bitmaps from QEMU's tools and back", from_peer), ("bitmaps by QMP, kept, and lost", life), ("a failed transaction", undone), ("backups", backups), ("reopening", reopened),
              ("snapshots as jobs", snapshot_jobs)]))
