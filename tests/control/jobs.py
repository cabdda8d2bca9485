#!/usr/bin/env python3
"""jobs.py PROGRAM-DIR: block jobs and external snapshots by QMP; the results are looked at by qemu-img and, where it is installed, by QEMU's own."""
import json, os, random, shutil, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "guests"))
sys.path.insert(0, os.path.dirname(__file__))
from client import Qmp, Server
from machine import PATIENCE, tap, until

DIR = os.path.abspath(sys.argv[1])
PROGRAM, IMG = os.path.join(DIR, "qemu-system-aarch64"), os.path.join(DIR, "qemu-img")
PEER = "/usr/bin/qemu-img" if os.path.exists("/usr/bin/qemu-img") else IMG
SIZE = 24 << 20


def img(*args):
    subprocess.run([IMG] + list(args), check=True, stdout=subprocess.DEVNULL)


class Disks:
    """A folder with a chain of images: base.raw under mid.qcow2 under top.qcow2, each with some data of its own, and what the whole reads as."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        rng = random.Random(5)
        self.whole = bytearray(SIZE)
        self.layers = [self.path("base.raw"), self.path("mid.qcow2"), self.path("top.qcow2")]
        open(self.layers[0], "wb").truncate(SIZE)
        for i, name in enumerate(self.layers):
            if i:
                img("create", "-f", "qcow2", "-b", self.layers[i - 1], "-F", "qcow2" if i > 1 else "raw", name)
            pieces = []
            for k in range(40):
                at, n = rng.randrange(SIZE - 200000) & ~511, (rng.randrange(1, 200) * 512)
                pieces.append((at, bytes(n) if k % 5 == 4 else rng.randbytes(n)))
                self.whole[at:at + n] = pieces[-1][1]
            self.put(name, pieces)

    def put(self, name, pieces):
        if name.endswith(".raw"):
            with open(name, "r+b") as f:
                for at, data in pieces:
                    f.seek(at)
                    f.write(data)
            return
        commands = []
        for i, (at, data) in enumerate(pieces):
            with open(self.path("piece%d" % i), "wb") as f:
                f.write(data)
            commands += ["-c", "write -q -s %s %d %d" % (self.path("piece%d" % i), at, len(data))]
        subprocess.run(["qemu-io", "-f", "qcow2"] + commands + [name], check=True, stdout=subprocess.DEVNULL)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def nodes(self):
        """-blockdev options as libvirt writes them."""
        args, below = [], None
        for i, name in enumerate(self.layers):
            fmt = "raw" if i == 0 else "qcow2"
            last = i == len(self.layers) - 1
            node = {"node-name": "f%d" % i, "read-only": not last, "driver": fmt, "file": "s%d" % i}
            if i:
                node["backing"] = below
            args += ["-blockdev", json.dumps({"driver": "file", "filename": name, "node-name": "s%d" % i, "auto-read-only": True, "discard": "unmap"}), "-blockdev", json.dumps(node)]
            below = "f%d" % i
        return args + ["-device", "virtio-blk-pci,drive=%s,id=d0" % below]

    def reads_as_before(self, name):
        want = self.path("want.raw")
        with open(want, "wb") as f:
            f.write(self.whole)
        for tool in {IMG, PEER}:
            subprocess.run([tool, "compare", "-U", "-F", "raw", name, want], check=True, stdout=subprocess.DEVNULL)
        for layer in self.layers:
            if layer.endswith("qcow2") and os.path.exists(layer):
                subprocess.run([PEER, "check", "-q", "-U", layer], check=True)


def wait_for(q, job, status, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        e = q.event("JOB_STATUS_CHANGE", seconds)
        if e["data"] == {"id": job, "status": status}:
            return
    raise AssertionError("job %s never became %s" % (job, status))


def states(q, job):
    found = [e["data"]["status"] for e in q.events if e["event"] == "JOB_STATUS_CHANGE" and e["data"]["id"] == job]
    q.events = [e for e in q.events if e["event"] != "JOB_STATUS_CHANGE"]
    return found


def create():
    with tempfile.TemporaryDirectory() as d, Server(PROGRAM, ["-M", "virt", "-S"]) as s:
        q = Qmp(s.path)
        name = os.path.join(d, "a.qcow2")
        q.ok("blockdev-create", job_id="c0", options={"driver": "file", "filename": name, "size": 0})
        assert q.fails("job-dismiss", id="nothing")
        until(lambda: q.ok("query-jobs")[0]["status"] == "concluded", "the file is never made")
        job = q.ok("query-jobs")
        assert [j["id"] for j in job] == ["c0"] and job[0]["type"] == "create" and "error" not in job[0], job
        q.ok("job-dismiss", id="c0")
        assert states(q, "c0") == ["created", "running", "waiting", "pending", "concluded", "null"]
        assert q.ok("query-jobs") == []
        q.ok("blockdev-add", **{"driver": "file", "filename": name, "node-name": "s"})
        q.ok("blockdev-create", job_id="c1", options={"driver": "qcow2", "file": "s", "size": 1 << 30, "cluster-size": 1 << 20, "lazy-refcounts": True, "backing-file": "b.img", "backing-fmt": "raw"})
        wait_for(q, "c1", "concluded")
        q.ok("job-dismiss", id="c1")
        info = json.loads(subprocess.check_output([PEER, "info", "-U", "--output=json", name]))
        assert info["virtual-size"] == 1 << 30 and info["cluster-size"] == 1 << 20 and info["backing-filename"] == "b.img", info
        q.ok("blockdev-create", job_id="c2", options={"driver": "qcow2", "file": "s", "size": 1 << 20, "cluster-size": 1000})
        wait_for(q, "c2", "concluded")
        assert "Cluster size" in q.ok("query-jobs")[0]["error"]
        q.ok("job-dismiss", id="c2")
        q.fails("blockdev-create", job_id="c3", options={"driver": "vmdk", "file": "s", "size": 1})
        q.fails("blockdev-create", job_id="c3", options={"driver": "qcow2", "file": "t", "size": 1})


def snapshot_then_commit():
    """As libvirt does it: an overlay made and put on top, then committed back and pivoted."""
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
        q = Qmp(s.path)
        snap = disks.path("snap.qcow2")
        q.ok("blockdev-create", job_id="a", options={"driver": "file", "filename": snap, "size": 0})
        wait_for(q, "a", "concluded")
        q.ok("job-dismiss", id="a")
        q.ok("blockdev-add", **{"driver": "file", "filename": snap, "node-name": "s3", "auto-read-only": True})
        q.ok("blockdev-create", job_id="b", options={"driver": "qcow2", "file": "s3", "size": SIZE, "backing-file": disks.layers[2], "backing-fmt": "qcow2"})
        wait_for(q, "b", "concluded")
        q.ok("job-dismiss", id="b")
        q.ok("blockdev-add", **{"driver": "qcow2", "node-name": "f3", "file": "s3", "backing": None})
        assert "no-such" in q.fails("transaction", actions=[{"type": "blockdev-snapshot", "data": {"node": "no-such", "overlay": "f3"}}])
        q.ok("transaction", actions=[{"type": "blockdev-snapshot", "data": {"node": "f2", "overlay": "f3"}}])
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "f3"
        q.fails("blockdev-snapshot", node="f3", overlay="f3")
        assert "in use" in q.fails("blockdev-del", node_name="f2")
        q.ok("block-commit", job_id="commit", device="f3", base_node="f2", auto_dismiss=False)
        wait_for(q, "commit", "ready")
        q.event("BLOCK_JOB_READY")
        jobs = q.ok("query-block-jobs")
        assert jobs[0]["ready"] and jobs[0]["type"] == "commit" and jobs[0]["len"] == jobs[0]["offset"], jobs
        assert "f3" in q.fails("blockdev-snapshot", node="f3", overlay="f3")
        q.ok("job-complete", id="commit")
        q.event("BLOCK_JOB_COMPLETED")
        wait_for(q, "commit", "concluded")
        q.ok("job-dismiss", id="commit")
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "f2"
        q.ok("blockdev-del", node_name="f3")
        q.ok("blockdev-del", node_name="s3")
    disks.reads_as_before(disks.layers[2])


def commit_everything():
    """From the active layer through two others to a raw base; the base takes the chain's place."""
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
        q = Qmp(s.path)
        q.fails("block-commit", device="f2", base_node="f2")
        q.fails("block-commit", device="f2", base_node="elsewhere")
        q.ok("block-commit", job_id="c", device="f2", base_node="f0")
        wait_for(q, "c", "ready")
        q.ok("block-job-complete", device="c")
        assert q.event("BLOCK_JOB_COMPLETED")["data"]["type"] == "commit"
        wait_for(q, "c", "null")
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "f0"
        for n in ("f2", "s2", "f1", "s1"):
            q.ok("blockdev-del", node_name=n)
        assert not q.ok("query-block")[0]["inserted"]["ro"]
    disks.reads_as_before(disks.layers[0])


def commit_below():
    """A layer below the active one: the overlay gets the base as its backing file, in the header too."""
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
        q = Qmp(s.path)
        q.ok("block-commit", job_id="c", device="f2", top_node="f1", base_node="f0", backing_file="base.raw", auto_finalize=False)
        wait_for(q, "c", "pending")
        assert q.event("BLOCK_JOB_PENDING")["data"]["id"] == "c"
        q.ok("job-finalize", id="c")
        wait_for(q, "c", "null")
        q.ok("blockdev-del", node_name="f1")
    info = json.loads(subprocess.check_output([PEER, "info", "--output=json", disks.layers[2]]))
    assert info["backing-filename"] == "base.raw", info
    disks.reads_as_before(disks.layers[2])


def stream():
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
        q = Qmp(s.path)
        q.ok("block-stream", job_id="s", device="f2", base_node="f0")
        wait_for(q, "s", "null")
        assert json.loads(subprocess.check_output([PEER, "info", "-U", "--output=json", disks.layers[2]]))["full-backing-filename"] == disks.layers[0]
        q.ok("block-stream", job_id="s", device="f2")
        wait_for(q, "s", "null")
        assert not q.fails("block-stream", job_id="s", device="f2").startswith("Job")
    assert "backing-filename" not in json.loads(subprocess.check_output([PEER, "info", "--output=json", disks.layers[2]]))
    disks.reads_as_before(disks.layers[2])


def mirror():
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
        q = Qmp(s.path)
        for name in ("m0", "m1"):
            img("create", "-f", "qcow2", disks.path(name), str(SIZE))
            q.ok("blockdev-add", **{"driver": "qcow2", "node-name": name, "file": {"driver": "file", "filename": disks.path(name)}})
        q.ok("blockdev-mirror", job_id="m", device="f2", target="m0", sync="full")
        wait_for(q, "m", "ready")
        assert "busy" in q.fails("blockdev-mirror", job_id="m2", device="f2", target="m1", sync="full")
        q.ok("block-job-cancel", device="m")  # once ready, that leaves a good copy
        q.event("BLOCK_JOB_COMPLETED")
        wait_for(q, "m", "null")
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "f2"
        q.ok("blockdev-del", node_name="m0")
        disks.reads_as_before(disks.path("m0"))
        q.ok("blockdev-mirror", job_id="m", device="f2", target="m1", sync="full", speed=1 << 20)
        started = time.monotonic()
        time.sleep(0.3)
        done = q.ok("query-jobs")[0]["current-progress"]
        assert done < min(SIZE, (4 + time.monotonic() - started) * (1 << 20)), done
        q.ok("job-pause", id="m")
        wait_for(q, "m", "paused")
        q.fails("job-complete", id="m")
        q.ok("job-resume", id="m")
        q.ok("block-job-set-speed", device="m", speed=0)
        wait_for(q, "m", "ready")
        q.ok("job-complete", id="m")
        wait_for(q, "m", "null")
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "m1"
    disks.reads_as_before(disks.path("m1"))


def cancel():
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
        q = Qmp(s.path)
        q.ok("block-commit", job_id="c", device="f2", base_node="f1", speed=1 << 14)
        q.ok("job-cancel", id="c")
        assert q.event("BLOCK_JOB_CANCELLED")["data"]["device"] == "c"
        wait_for(q, "c", "null")
        assert "DeviceNotActive" and q.fails("block-job-cancel", "DeviceNotActive", device="c")
        q.ok("block-stream", job_id="s", device="f2", speed=1 << 14)  # still there when the machine ends
        q.ok("quit")
        assert s.process.wait(PATIENCE) == 0
    disks.reads_as_before(disks.layers[2])


def failing():
    """The copy's writes fail: the job ends with the error, or stops until the cause is gone."""
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
        q = Qmp(s.path)
        for name, rule in (("b0", {"iotype": "write", "errno": 5, "after": 3}), ("b1", {"iotype": "write", "errno": 28, "after": 2, "once": True})):
            open(disks.path(name), "wb").truncate(SIZE)
            q.ok("blockdev-add", **{"driver": "raw", "node-name": name, "file": {"driver": "blkdebug", "inject-error": [rule], "image": {"driver": "file", "filename": disks.path(name)}}})
        q.ok("blockdev-mirror", job_id="m", device="f2", target="b0", sync="full", auto_dismiss=False)
        wait_for(q, "m", "concluded")
        assert q.event("BLOCK_JOB_ERROR")["data"] == {"device": "m", "operation": "write", "action": "report"}
        assert "Input/output" in q.event("BLOCK_JOB_COMPLETED")["data"]["error"] and "Input/output" in q.ok("query-jobs")[0]["error"]
        q.ok("job-dismiss", id="m")
        q.ok("blockdev-mirror", job_id="m", device="f2", target="b1", sync="full", on_target_error="enospc")
        wait_for(q, "m", "paused")
        assert q.event("BLOCK_JOB_ERROR")["data"]["action"] == "stop"
        q.ok("job-resume", id="m")
        wait_for(q, "m", "ready")
        q.ok("job-complete", id="m")
        wait_for(q, "m", "null")
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "b1"
    with open(disks.path("b1"), "rb") as f:
        assert f.read() == bytes(disks.whole)


def snapshot_sync():
    disks = Disks()
    with Server(PROGRAM, ["-M", "virt", "-S", "-drive", "if=virtio,id=v,format=qcow2,file=" + disks.layers[2]]) as s:
        q = Qmp(s.path)
        q.ok("blockdev-snapshot-sync", device="v", snapshot_file=disks.path("x.qcow2"), snapshot_node_name="x")
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "x"
        q.fails("transaction", actions=[{"type": "blockdev-snapshot-sync", "data": {"device": "v", "snapshot-file": disks.path("y.qcow2")}},
                                        {"type": "blockdev-snapshot-sync", "data": {"device": "v", "snapshot-file": disks.path("z.qcow2")}}])
        assert q.ok("query-block")[0]["inserted"]["node-name"] == "x"
        q.ok("block-commit", device="v", base=disks.layers[1])  # by file name; the job goes by the device's id
        wait_for(q, "v", "ready")
        q.ok("block-job-complete", device="v")
        wait_for(q, "v", "null")
    disks.reads_as_before(disks.layers[1])
    disks.reads_as_before(disks.path("x.qcow2"))


def shared_base():
    """Two machines on one base image, as libvirt opens it."""
    disks = Disks()
    img("create", "-f", "qcow2", "-b", disks.layers[1], "-F", "qcow2", disks.path("other.qcow2"))
    with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()):
        disks.layers[2] = disks.path("other.qcow2")
        with Server(PROGRAM, ["-M", "virt", "-S"] + disks.nodes()) as s:
            q = Qmp(s.path)
            q.ok("block-commit", job_id="c", device="f2", base_node="f1", auto_dismiss=False)
            wait_for(q, "c", "concluded")
            assert "lock" in q.ok("query-jobs")[0]["error"]


if not shutil.which("qemu-io"):
    print("1..0 # SKIP qemu-io (package qemu-utils) is not installed")
    sys.exit(0)
sys.exit(tap([("images are made", create), ("snapshot, commit, pivot", snapshot_then_commit), ("commit through the chain", commit_everything), ("commit below the top", commit_below),
              ("stream", stream), ("mirror", mirror), ("cancel", cancel), ("failing writes", failing), ("snapshots with -drive", snapshot_sync), ("a base for two", shared_base)]))
