#!/usr/bin/env python3
"""bench.py PROGRAM-DIR PEER-ROOT [RUNS]: our program beside QEMU in one nest (nest.py), turn about: boot to a marker, start to the first guest
instruction, port exits, virtio kicks, random 4 KiB disk requests, network throughput, resident memory beside guest RAM. PEER-ROOT is what
tests/bench/peer.sh makes; QEMU's x86 program comes from the same suite. The nest is emulated: ratios count, not figures."""
import os, re, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import nest
from nest import guests

DIR, PEER = sys.argv[1:3]
RUNS = int(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3].isdigit() else 3
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
 out %al, $0xf4
1: hlt
 jmp 1b
"""
INNER = """
%s
echo %s
dmesg -n 1
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
at=$(grep " : $(basename $(dirname $(dirname $(dirname $(readlink -f /sys/block/vda)))))" /proc/iomem | sed 's/^ *//;s/-.*//;q')
/bin/kvm_guest $at /dev/vda
s=$(cut -d" " -f1 /proc/uptime); wget -q -O /dev/null http://10.0.2.2:8080/big; e=$(cut -d" " -f1 /proc/uptime)
echo BENCH net-MB/s $(echo "$s $e" | awk '{ printf "%%.2f", 16 / ($2 - $1) }')
"""
OUTER = r"""
mkdir /tmp/www; httpd -p 8080 -h /tmp/www
dd if=/dev/urandom of=/tmp/www/big bs=1M count=16 2>/dev/null
qemu-img create -f qcow2 /tmp/disk.qcow2 16M >/dev/null
up() { cut -d" " -f1 /proc/uptime; }
ours() { /usr/bin/qemu-system-x86_64 "$@"; }
theirs() { /peer/ld.so --library-path /peer/lib --argv0 qemu-system-x86_64 /peer/qemu -L /peer/share "$@"; }
bench() { # WHO
    a=$(up); for i in 1 2 3 4 5; do $1 -M microvm -accel kvm -cpu host -m 192 -nodefaults -display none -kernel /guest/tiny -device isa-debug-exit,iobase=0xf4,iosize=4; done >/tmp/tiny.log 2>&1
    echo "BENCH $1 first-instruction-s $(echo "$a $(up)" | awk '{ printf "%.3f", ($2 - $1) / 5 }')"
    rm -f /tmp/out; touch /tmp/out
    a=$(up)
    $1 -M microvm -accel kvm -cpu host -m 192 -nodefaults -display none -serial file:/tmp/out -no-reboot -kernel /guest/bzimage -initrd /guest/inner \
        -append "console=ttyS0 quiet panic=-1 iomem=relaxed" -drive if=none,id=d,file=/tmp/disk.qcow2,format=qcow2 -device virtio-blk-device,drive=d \
        -netdev user,id=n -device virtio-net-device,netdev=n >/tmp/err 2>&1 &
    run=$!
    until grep -q GUEST-IS-UP /tmp/out || ! [ -d /proc/$run ]; do usleep 20000; done
    echo "BENCH $1 boot-s $(echo "$a $(up)" | awk '{ printf "%.2f", $2 - $1 }')"
    for p in $(ls /proc | grep '^[0-9]*$'); do
        grep -qa 'accel' /proc/$p/cmdline 2>/dev/null && [ -e /proc/$p/smaps ] && awk -v who=$1 '/ kB$/ && $1 == "Size:" { size = $2 } $1 == "Rss:" { if (size != @RAM@) sum += $2 }
            END { if (sum > 2000) printf "BENCH %s rss-MiB %.1f\n", who, sum / 1024 }' /proc/$p/smaps
    done
    wait $run
    sed -n "s/.*BENCH /BENCH $1 /p; s/.*FAILED /FAILED $1 /p" /tmp/out
    grep -q GUEST-IS-UP /tmp/out || cat /tmp/err
}
"""


def tiny():
    with tempfile.TemporaryDirectory() as d:
        open(d + "/t.S", "w").write(TINY)
        subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x1000000,--build-id=none", "-Wl,-estart", "-o", d + "/t", d + "/t.S"], check=True)
        return open(d + "/t", "rb").read()


def compiled():
    with tempfile.NamedTemporaryFile() as t:
        subprocess.run(["gcc", "-O2", "-static", "-o", t.name, os.path.join(HERE, "kvm_guest.c")], check=True)
        return open(t.name, "rb").read()


def peer_files():
    qemu = guests.unpack("amd64", "qemu-system-x86", "sid") + "/usr/bin/qemu-system-x86_64"
    bios = guests.unpack("all", "seabios:all", "sid") + "/usr/share/seabios/"
    share = PEER + "/usr/share/qemu/"
    loader, path = PEER + "/lib64/ld-linux-x86-64.so.2", ":".join(PEER + p for p in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu"))
    out = subprocess.run([loader, "--library-path", path, "--list", qemu], check=True, stdout=subprocess.PIPE, text=True).stdout
    libs = re.findall(r"(\S+) => (\S+)", out)
    files = [nest.copied(loader, "peer/ld.so"), nest.copied(qemu, "peer/qemu")] + [nest.copied(os.path.realpath(p), "peer/lib/" + os.path.basename(n)) for n, p in libs]
    for name in ("linuxboot_dma.bin", "pvh.bin"):
        if os.path.exists(share + name):
            files.append(nest.copied(share + name, "peer/share/" + name))
    return files + [nest.copied(bios + n, "peer/share/" + n) for n in ("bios-microvm.bin", "bios-256k.bin")]


def main():
    mods, insmods = guests.modules("amd64", "virtio_mmio", "virtio_blk", "virtio_net")
    inner = guests.initrd("amd64", INNER % (insmods, guests.MARKER), mods + [("bin/kvm_guest", 0o100755, compiled())], "kvmbench")
    extra = [nest.copied(inner, "guest/inner", 0o100644), ("guest/tiny", 0o100644, tiny())] + peer_files()
    script = OUTER.replace("@RAM@", str(RAM_KB)) + "bench ours; bench theirs\n" * RUNS
    figures = {}
    for line in nest.run(nest.image(os.path.join(DIR, "myna"), script, extra), 300, memory=2048, echo="echo" in sys.argv):
        m = re.match(r"BENCH (ours|theirs) (\S+) ([0-9.]+)", line)
        if m:
            figures.setdefault(m.group(2), {}).setdefault(m.group(1), []).append(float(m.group(3)))
    for name, f in figures.items():
        if len(f) == 2:
            a, b = statistics.median(f["ours"]), statistics.median(f["theirs"])
            ratio = (b / a if name.endswith(("-s", "MiB")) else a / b) if a and b else 0
            print("%-20s ours %10.2f  QEMU %10.2f  %.2fx  (%s | %s)" % (name, a, b, ratio, f["ours"], f["theirs"]))
        else:
            print(name, f)


main()
