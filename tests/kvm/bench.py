"""bench.py PROGRAM-DIR PEER-ROOT [RUNS] [counted] [echo]: our program beside QEMU in one nest (nest.py), turn about: boot to a marker, start to the
first guest instruction, port exits, virtio kicks, random 4 KiB disk requests, network throughput, resident memory beside guest RAM. PEER-ROOT is
what tests/bench/peer.sh makes; QEMU's x86 program comes from the same suite, and both run over that suite's libraries.

The nest is emulated: ratios count, not figures. With `counted`, time in the nest is the number of instructions executed there by everyone: what
a request costs altogether, the same at every run, whatever this host does meanwhile; switches between worlds cost nothing then. Without it time
is the host's: run it on an idle machine."""
import os, re, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import nest
from nest import guests

DIR, PEER = sys.argv[1:3]
RUNS = int(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3].isdigit() else 3
COUNTED = "counted" in sys.argv
RAM_KB = 192 * 1024
TINY = r"""
.section .note, "a", @note
.long 4, 4, 18
.asciz "Xen"
.long start
.text
.code32
.global start
start: mov $0x21, %al
 out %al, $0xe9
1: hlt
 jmp 1b
"""
# The same as firmware: QEMU's machine starts nothing without one.
TINY_BIOS = r"""
.code16
.globl start
.org 0xfff0
start: mov $0x21, %al
 out %al, $0xe9
1: hlt
 jmp 1b
.org 0x10000
"""
INNER = """
%s
dmesg -n 1
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
at=$(grep " : $(basename $(dirname $(dirname $(dirname $(readlink -f /sys/block/vda)))))" /proc/iomem | sed 's/^ *//;s/-.*//;q')
echo %s
sleep 1
/bin/kvm_guest $at /dev/vda
s=$(cut -d" " -f1 /proc/uptime); wget -q -O /dev/null http://10.0.2.2:8080/big; e=$(cut -d" " -f1 /proc/uptime)
echo BENCH net-MB/s $(echo "$s $e" | awk '{ printf "%%.2f", 48 / ($2 - $1) }')
"""
OUTER = r"""
mkdir /tmp/www; httpd -p 8080 -h /tmp/www
dd if=/dev/urandom of=/tmp/www/big bs=1M count=48 2>/dev/null
qemu-img create -f qcow2 /tmp/disk.qcow2 16M >/dev/null
up() { cut -d" " -f1 /proc/uptime; }
LD="/peer/ld.so --library-path /peer/lib --argv0 qemu-system-x86_64"
A="-M microvm -accel kvm -cpu host -m 192 -nodefaults -display none"
ours="$LD /usr/bin/myna"
theirs="$LD /peer/qemu -L /peer/share"
ours_tiny="-kernel /guest/tiny"
theirs_tiny="-bios /guest/tiny.bin"
bench() { # WHO
    eval run=\$$1 tiny=\$$1_tiny
    /bin/kvm_guest first 5 $run $A $tiny -chardev stdio,id=c -device isa-debugcon,iobase=0xe9,chardev=c | sed "s/BENCH /BENCH $1 /"
    rm -f /tmp/out; touch /tmp/out
    a=$(up)
    $run $A -serial file:/tmp/out -no-reboot -kernel /guest/bzimage -initrd /guest/inner \
        -append "console=ttyS0 quiet panic=-1 iomem=relaxed" -drive if=none,id=d,file=/tmp/disk.qcow2,format=qcow2 -device virtio-blk-device,drive=d \
        -netdev user,id=n -device virtio-net-device,netdev=n >/tmp/err 2>&1 &
    p=$!
    until grep -q GUEST-IS-UP /tmp/out || ! [ -d /proc/$p ]; do usleep 20000; done
    echo "BENCH $1 boot-s $(echo "$a $(up)" | awk '{ printf "%.2f", $2 - $1 }')"
    awk -v who=$1 '/ kB$/ && $1 == "Size:" { size = $2 } $1 == "Rss:" { if (size != @RAM@) sum += $2 }
        END { printf "BENCH %s rss-MiB %.1f\n", who, sum / 1024 }' /proc/$p/smaps
    wait $p
    sed -n "s/.*BENCH /BENCH $1 /p; s/.*FAILED /FAILED $1 /p" /tmp/out
    grep -q GUEST-IS-UP /tmp/out || cat /tmp/err
}
"""


def assembled(source, *options):
    with tempfile.TemporaryDirectory() as d:
        open(d + "/t.S", "w").write(source)
        subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-estart", "-o", d + "/t", d + "/t.S"] + list(options), check=True)
        return open(d + "/t", "rb").read()


def compiled():
    with tempfile.NamedTemporaryFile() as t:
        subprocess.run(["gcc", "-O2", "-static", "-o", t.name, os.path.join(HERE, "kvm_guest.c")], check=True)
        return open(t.name, "rb").read()


def libraries(program):
    """A program's libraries, the suite's first: (name, path)."""
    loader, path = PEER + "/lib64/ld-linux-x86-64.so.2", ":".join(PEER + p for p in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu"))
    out = subprocess.run([loader, "--library-path", path, "--list", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {n: os.path.realpath(p) for n, p in re.findall(r"(\S+) => (\S+)", out)}


def peer_files():
    qemu = guests.unpack("amd64", "qemu-system-x86", "sid") + "/usr/bin/qemu-system-x86_64"
    bios = guests.unpack("all", "seabios:all", "sid") + "/usr/share/seabios/"
    share = PEER + "/usr/share/qemu/"
    libs = {**libraries(qemu), **libraries(os.path.join(DIR, "myna"))}
    files = [nest.copied(os.path.realpath(PEER + "/lib64/ld-linux-x86-64.so.2"), "peer/ld.so"), nest.copied(qemu, "peer/qemu")]
    files += [nest.copied(p, "peer/lib/" + os.path.basename(n)) for n, p in libs.items()]
    for name in ("linuxboot_dma.bin", "pvh.bin"):
        if os.path.exists(share + name):
            files.append(nest.copied(share + name, "peer/share/" + name))
    return files + [nest.copied(bios + n, "peer/share/" + n) for n in ("bios-microvm.bin", "bios-256k.bin")]


def print_figure(name, ours, theirs):
    """Medians, their ratio, and how far the ratios of neighbouring runs go."""
    less = name.endswith(("-s", "MiB"))
    ratios = sorted(b / a if less else a / b for a, b in zip(ours, theirs))
    print("%-20s ours %10.3f  QEMU %10.3f  %.2fx  (%.2f to %.2f in %d pairs)" %
          (name, statistics.median(ours), statistics.median(theirs), statistics.median(ratios), ratios[0], ratios[-1], len(ratios)), flush=True)


def main():
    mods, insmods = guests.modules("amd64", "virtio_mmio", "virtio_blk", "virtio_net")
    guest = ("bin/kvm_guest", 0o100755, compiled())
    inner = guests.initrd("amd64", INNER % (insmods, guests.MARKER), mods + [guest], "kvmbench")
    extra = [nest.copied(inner, "guest/inner", 0o100644), guest, ("guest/tiny", 0o100644, assembled(TINY, "-Wl,-Ttext=0x1000000")),
             ("guest/tiny.bin", 0o100644, assembled(TINY_BIOS, "-Wl,-Ttext=0", "-Wl,--oformat=binary"))] + peer_files()
    script = OUTER.replace("@RAM@", str(RAM_KB)) + "bench ours; bench theirs\n" * RUNS
    figures = {}
    for line in nest.run(nest.image(os.path.join(DIR, "myna"), script, extra), 600, memory=2048, echo="echo" in sys.argv, counted=COUNTED):
        m = re.match(r".*BENCH (ours|theirs) (\S+) ([0-9.]+)", line)
        if m:
            figures.setdefault(m.group(2), {}).setdefault(m.group(1), []).append(float(m.group(3)))
        elif "FAILED" in line:
            print(line)
    for name, f in figures.items():
        if len(f) == 2:
            print_figure(name, f["ours"], f["theirs"])
        else:
            print(name, f)


main()
