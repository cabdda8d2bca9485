#!/usr/bin/env python3
"""Real guests for the tests, out of Debian packages, without installing them.

    guests.py kernel ARCH      prints the path of Debian's kernel image
    guests.py initrd ARCH      prints the path of an initramfs with busybox: says MARKER, then powers off
    guests.py unpack ARCH PKG  unpacks a package of that architecture, prints the folder
    guests.py root ARCH PKG... unpacks packages and all they depend on over each other, prints the folder: a root file system whose
                               packages are not configured

Everything is kept under build/guests (or $GUESTS), so a second run needs no network. Packages come from the machine's own
mirror, through a private apt state; an architecture that this suite lacks comes from a later one.
"""
import gzip, glob, hashlib, lzma, os, re, shutil, subprocess, sys

ROOT = os.environ.get("GUESTS") or os.path.join(os.path.dirname(__file__), "..", "..", "build", "guests")
SUITE = {"arm64": "bookworm", "riscv64": "trixie"}
MARKER = "GUEST-IS-UP"


def mirror():
    """The archive that this machine's own sources name."""
    for path in ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*")):
        for line in open(path) if os.path.isfile(path) else []:
            m = re.match(r"\s*(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(\S+)", line)
            if m and "security" not in m.group(1):
                return m.group(1).rstrip("/")
    sys.exit("guests.py: no Debian archive in /etc/apt/sources.list; add one")


def keyring():
    for path in ("/usr/share/keyrings/debian-archive-keyring.gpg", "/etc/apt/trusted.gpg"):
        if os.path.exists(path):
            return path
    return None


def apt(suite, *args):
    base = os.path.abspath(os.path.join(ROOT, "apt-" + suite))
    for d in ("state/lists/partial", "cache/archives/partial", "etc"):
        os.makedirs(os.path.join(base, d), exist_ok=True)
    sources = os.path.join(base, "etc", "sources.list")
    key = keyring()
    option = "[signed-by=%s] " % key if key else ""
    with open(sources, "w") as f:
        f.write("deb %s%s %s main\n" % (option, mirror(), suite))
    config = ["-q", "-o", "Dir::State=" + base + "/state", "-o", "Dir::Cache=" + base + "/cache", "-o", "Dir::Etc::sourcelist=" + sources,
              "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::status=/dev/null", "-o", "APT::Sandbox::User=",
              "-o", "APT::Architecture=amd64"]
    for a in ("amd64", "arm64", "armhf", "riscv64", "ppc64el", "s390x", "i386"):
        if not (a == "riscv64" and suite == "bookworm"):
            config += ["-o", "APT::Architectures::=" + a]
    return subprocess.run([args[0]] + config + list(args[1:]), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=base).stdout, base


def updated(suite):
    stamp = os.path.join(ROOT, "apt-" + suite, "updated")
    if not os.path.exists(stamp):
        apt(suite, "apt-get", "update")
        open(stamp, "w").close()


def unpack(arch, package, suite=None):
    """Folder with the package's files."""
    suite = suite or SUITE.get(arch, "bookworm")
    out = os.path.abspath(os.path.join(ROOT, arch, package.split(":")[0]))
    if os.path.isdir(out):
        return out
    updated(suite)
    name = package if ":" in package else package + ":" + arch
    _, base = apt(suite, "apt-get", "download", name)
    debs = glob.glob(base + "/" + package.split(":")[0] + "_*.deb")
    os.makedirs(os.path.dirname(out), exist_ok=True)
    subprocess.run(["dpkg", "-x", debs[0], out + ".new"], check=True)
    os.rename(out + ".new", out)
    for d in debs:
        os.remove(d)
    return out


def root(arch, packages, suite=None):
    """Folder with the files of the packages and of everything they need, as one root file system with a merged /usr. Nothing in it has
    been configured: no maintainer script ran, /var/lib/dpkg is empty."""
    suite = suite or SUITE.get(arch, "bookworm")
    tag = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    out = os.path.abspath(os.path.join(ROOT, arch, "root-" + tag))
    if os.path.isdir(out):
        return out
    updated(suite)
    debs = os.path.join(os.path.abspath(ROOT), "debs-" + tag)
    os.makedirs(debs + "/partial", exist_ok=True)
    apt(suite, "apt-get", "-y", "--no-install-recommends", "--download-only", "-o", "APT::Architecture=" + arch,
        "-o", "Dir::Cache::archives=" + debs, "install", *packages)
    new = out + ".new"
    shutil.rmtree(new, ignore_errors=True)
    for d in ("bin", "sbin", "lib"):
        os.makedirs(os.path.join(new, "usr", d))
        os.symlink("usr/" + d, os.path.join(new, d))
    for deb in sorted(glob.glob(debs + "/*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
            subprocess.run(["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", new], stdin=tar.stdout, check=True)
    for d in ("dev", "proc", "sys", "tmp", "run", "root", "etc"):
        os.makedirs(os.path.join(new, d), exist_ok=True)
    shutil.rmtree(debs)
    os.rename(new, out)
    return out


def kernel_package(arch, meta=None, suite=None):
    """The package behind a metapackage: linux-image-ARCH, unless another is named."""
    cached = os.path.join(ROOT, arch, "-".join(["kernel-package"] + [x for x in (meta, suite) if x]))
    if not os.path.exists(cached):
        suite, meta = suite or SUITE.get(arch, "bookworm"), meta or "linux-image-" + arch
        updated(suite)
        text, _ = apt(suite, "apt-cache", "depends", "%s:%s" % (meta, arch))
        name = re.search(r"Depends: (linux-image-[^ :\n]+)", text).group(1)
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        with open(cached, "w") as f:
            f.write(name)
    return open(cached).read()


def kernel(arch, meta=None, suite=None):
    package = kernel_package(arch, meta, suite)
    found = glob.glob(unpack(arch, package, suite) + "/boot/vmlinu?-*")
    if not found:  # from Linux 7 on the image's package only names others
        found = glob.glob(unpack(arch, package.replace("-image-", "-binary-"), suite) + "/usr/lib/modules/*/vmlinu?")
    return found[0]


def module_bytes(path):
    """A kernel module, unpacked where the package has it compressed."""
    data = open(path, "rb").read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def depends(path):
    """What a kernel module's own .modinfo names as its dependencies."""
    m = re.search(rb"\0depends=([^\0]*)", module_bytes(path))
    return [d for d in m.group(1).decode().split(",") if d] if m else []


def modules(arch, *names):
    """(initramfs entries, shell lines) for the modules and all that they need, in order. A name that is built in is left out."""
    root = unpack(arch, kernel_package(arch))
    paths = {os.path.basename(p).split(".ko")[0].replace("-", "_"): p for p in glob.glob(root + "/**/*.ko", recursive=True) + glob.glob(root + "/**/*.ko.xz", recursive=True)}
    order = []

    def add(name):
        name = name.replace("-", "_")
        if name in paths and name not in order:
            for d in depends(paths[name]):
                add(d)
            order.append(name)

    for n in names:
        add(n)
    entries = [("mod", 0o040755, b"")] + [("mod/%s.ko" % n, 0o100644, module_bytes(paths[n])) for n in order]
    return entries, "".join("insmod /mod/%s.ko\n" % n for n in order)


def busybox(arch):
    root = unpack(arch, "busybox-static")
    return next(p for p in (root + "/bin/busybox", root + "/usr/bin/busybox") if os.path.exists(p))


def cpio(entries):
    """A newc archive of (name, mode, data) entries; device nodes give (major, minor) for data."""
    out = bytearray()
    for ino, (name, mode, data) in enumerate(entries + [("TRAILER!!!", 0, b"")], 1):
        dev = data if isinstance(data, tuple) else (0, 0)
        body = b"" if isinstance(data, tuple) else data
        fields = (ino, mode, 0, 0, 1, 0, len(body), 0, 0, dev[0], dev[1], len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + body
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initrd(arch, script=None, extra=(), name="initrd"):
    """An initramfs whose /init runs `script` (shell) and powers off. `extra`: more (path, mode, bytes)."""
    path = os.path.abspath(os.path.join(ROOT, arch, name + ".gz"))
    script = script or "echo %s $(uname -m) $(nproc)" % MARKER
    init = ("#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null\n/bin/busybox mount -t proc proc /proc\n"
            "/bin/busybox mount -t sysfs sys /sys\n/bin/busybox --install -s /bin\nexport PATH=/bin\n%s\npoweroff -f\n" % script)
    dirs = ["bin", "dev", "proc", "sys", "tmp", "mnt"]
    entries = [(d, 0o040755, b"") for d in dirs]
    entries += [("dev/console", 0o020600, (5, 1)), ("init", 0o100755, init.encode()), ("bin/busybox", 0o100755, open(busybox(arch), "rb").read())]
    entries += list(extra)
    data = gzip.compress(cpio(entries), 6, mtime=0)
    if not os.path.exists(path) or open(path, "rb").read() != data:
        with open(path, "wb") as f:
            f.write(data)
    return path


if __name__ == "__main__":
    what, arch = sys.argv[1:3]
    if what == "root":
        print(root(arch, sys.argv[3:]))
    else:
        print({"kernel": kernel, "initrd": initrd}[what](arch) if what != "unpack" else unpack(arch, sys.argv[3]))
