#!/usr/bin/env python3
"""boot.py PROGRAM-DIR [short]: our program in a nest (nest.py), with the kernel's own KVM under it: Debian's kernel on the microvm board to a
marker and a clean power-off, a qcow2 disk and a user-mode network with checksums over virtio-mmio and PCI, pause, resume, reset and SIGTERM, and
the unit guests. `short` is the first half."""
import hashlib, os, random, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nest
from nest import guests
from machine import tap

DIR = sys.argv[1]
SHORT = "short" in sys.argv[2:]
DATA = random.Random(1).randbytes(4 << 20)
SUM = hashlib.sha256(DATA).hexdigest()

# Inside the inner guest, after the word do= of its command line.
INNER = """
%s
what=$(sed 's/.*do=\\([a-z]*\\).*/\\1/' /proc/cmdline)
case $what in
io)
    ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
    echo DISK-SUM $(dd if=/dev/vda bs=4k count=1024 2>/dev/null | sha256sum)
    dd if=/dev/urandom of=/tmp/new bs=4k count=512 2>/dev/null
    dd if=/tmp/new of=/dev/vda bs=4k seek=1024 2>/dev/null; sync
    echo NEW-SUM $(sha256sum </tmp/new)
    echo NET-SUM $(wget -q -O - http://10.0.2.2:8080/data | sha256sum)
    nc 10.0.2.2 9999 </tmp/new
    echo IRQS $(grep -c virtio /proc/interrupts) ;;
count)
    echo COUNTING; i=0; while true; do i=$((i+1)); echo $i; usleep 20000; done ;;
esac
echo %s $(uname -m) $(nproc)
"""

OUTER = r"""
SUM=@SUM@
vm() { # NAME ARGUMENTS
    LOG=/tmp/$1; shift
    timeout 300 qemu-system-x86_64 -accel kvm -cpu host -m 192 -nodefaults -display none -serial file:$LOG -kernel /guest/kernel -initrd /guest/inner "$@" >$LOG.err 2>&1
    status=$?
}
verdict() { # NAME CONDITION
    if eval "$2"; then echo "CASE $1: PASS"; else echo "CASE $1: FAIL"; tail -n 15 $LOG $LOG.err; fi
}
until_says() { # TEXT COUNT
    n=0; while [ $n -lt 900 ] && [ "$(cat $LOG 2>/dev/null | grep -ac "$1")" -lt $2 ]; do usleep 100000; n=$((n+1)); done
}
A="console=ttyS0 quiet panic=-1"
httpd -p 8080 -h /guest
mkfifo /tmp/silence; sleep 9999 >/tmp/silence &
io() { # NAME BLK NET ARGUMENTS
    name=$1; blk=$2; net=$3; shift 3
    qemu-img convert -f raw -O qcow2 /guest/data /tmp/disk.qcow2; qemu-img resize -q /tmp/disk.qcow2 16M 2>/dev/null || qemu-img resize /tmp/disk.qcow2 16M >/dev/null
    nc -l -p 9999 </tmp/silence >/tmp/sent & listener=$!
    vm io -no-reboot -append "$A do=io" -drive if=none,id=d,file=/tmp/disk.qcow2,format=qcow2 -device $blk,drive=d -netdev user,id=n -device $net,netdev=n "$@"
    kill $listener 2>/dev/null
    verdict "$name: a clean power-off" '[ $status = 0 ] && grep -aq GUEST-IS-UP $LOG'
    verdict "$name: the disk reads as made" 'grep -aq "DISK-SUM $SUM" $LOG'
    verdict "$name: the network brings it whole" 'grep -aq "NET-SUM $SUM" $LOG'
    new=$(grep -a NEW-SUM $LOG | cut -d" " -f2)
    verdict "$name: what was sent arrives" '[ "$(sha256sum </tmp/sent | cut -d" " -f1)" = "$new" ]'
    qemu-img convert -f qcow2 -O raw /tmp/disk.qcow2 /tmp/raw
    verdict "$name: what was written is in the image" '[ "$(dd if=/tmp/raw bs=4k skip=1024 count=512 2>/dev/null | sha256sum | cut -d" " -f1)" = "$new" ] && qemu-img check /tmp/disk.qcow2 >/dev/null'
}
io "virtio-mmio, 1 vCPU" virtio-blk-device virtio-net-device -M microvm,pcie=off -smp 1
"""
LONG = r"""
io "PCI, 2 vCPUs" virtio-blk-pci virtio-net-pci -M microvm -smp 2
mkfifo /tmp/monitor; sleep 1000 >/tmp/monitor & holder=$!
vm control -M microvm -smp 2 -append "$A do=count" -monitor stdio </tmp/monitor & run=$!
LOG=/tmp/control
until_says COUNTING 1; usleep 300000
echo stop >/tmp/monitor; sleep 1; a=$(tail -n 1 $LOG); sleep 1; b=$(tail -n 1 $LOG)
verdict "paused, the guest stands still" '[ -n "$a" ] && [ "$a" = "$b" ]'
echo cont >/tmp/monitor; sleep 1
verdict "resumed, it goes on" '[ "$(tail -n 1 $LOG)" != "$b" ]'
echo "info registers" >/tmp/monitor; usleep 200000
verdict "the monitor shows registers" 'grep -aq "rip" $LOG.err'
echo system_reset >/tmp/monitor
until_says COUNTING 2
verdict "it runs again after a reset" '[ "$(grep -ac COUNTING $LOG)" = 2 ]'
kill -TERM $(pidof qemu-system-x86_64); wait $run; kill $holder
verdict "SIGTERM ends it" '[ $? = 0 ] && [ -z "$(pidof qemu-system-x86_64)" ]'
LOG=/tmp/unit
for t in kvm_facts kvm_modes "kvm_machine test_debugger"; do # the emulated SVM does not intercept breakpoints
    timeout 60 /usr/bin/test_$t >$LOG 2>$LOG.err
    status=$?
    verdict "unit guests: ${t%% *}" '[ $status = 0 ] && ! grep -q ^skipped $LOG'
done
"""


def main():
    mods, insmods = guests.modules("amd64", "virtio_mmio", "virtio_pci", "virtio_blk", "virtio_net")
    inner = guests.initrd("amd64", INNER % (insmods, guests.MARKER), mods, "kvm")
    extra = [nest.copied(inner, "guest/inner", 0o100644), ("guest/data", 0o100644, DATA)]
    script = OUTER.replace("@SUM@", SUM) + ("" if SHORT else LONG)
    if not SHORT:
        tests = [os.path.join(DIR, "tests", "test_" + t) for t in ("kvm_facts", "kvm_modes", "kvm_machine")]
        extra += [("usr/bin/" + os.path.basename(t), 0o100755, nest.stripped(t)) for t in tests]
        extra += [nest.copied(lib, lib.lstrip("/")) for lib in nest.libraries(tests[0]) if "cmocka" in lib]
    results, detail = [], []
    for line in nest.run(nest.image(os.path.join(DIR, "myna"), script, extra), 300, echo="echo" in sys.argv):
        if line.startswith("CASE "):
            name, _, how = line[5:].rpartition(": ")
            results.append((name, how, detail := []))
        else:
            detail.append(line)

    def case(how, text):
        def run():
            assert how == "PASS", "\n".join(text)
        return run
    assert results, "no case ran"
    sys.exit(tap([(name, case(how, text)) for name, how, text in results]))


main()
