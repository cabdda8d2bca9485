#!/usr/bin/env python3
"""boot.py PROGRAM-DIR [short | JOB...] [echo]: our program in a nest (nest.py), with the kernel's own KVM under it: Debian's kernel on the microvm board to
a marker and a clean power-off with 1 and 2 vCPUs, a qcow2 disk and a user-mode network with checksums over virtio-mmio and PCI, pause, resume,
reset and SIGTERM, each way to start a kernel, interrupt controllers in and outside the kernel, and the unit guests. `short`: one boot of each
transport; a JOB is a function below. `echo` shows the outer console."""
import hashlib, os, random, re, sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nest
from nest import guests
from machine import tap

DIR = sys.argv[1]
JOBS = [a for a in sys.argv[2:] if a != "echo"]
DATA = random.Random(1).randbytes(4 << 20)
SUM = hashlib.sha256(DATA).hexdigest()
TESTS = ("kvm_cpu", "kvm_facts", "kvm_modes", "kvm_machine")

# Inside the inner guest, after the word do= of its command line. Disk and network work at the same time.
INNER = """
%s
what=$(sed 's/.*do=\\([a-z]*\\).*/\\1/' /proc/cmdline)
case $what in
io)
    ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
    wget -q -O - http://10.0.2.2:8080/data | sha256sum >/tmp/net &
    dd if=/dev/urandom of=/tmp/new bs=4k count=512 2>/dev/null
    { dd if=/tmp/new of=/dev/vda bs=4k seek=1024 2>/dev/null; sync; } &
    echo DISK-SUM $(dd if=/dev/vda bs=4k count=1024 2>/dev/null | sha256sum)
    nc 10.0.2.2 $(sed 's/.*port=\\([0-9]*\\).*/\\1/' /proc/cmdline) </tmp/new
    wait
    echo NET-SUM $(cat /tmp/net)
    echo NEW-SUM $(sha256sum </tmp/new) ;;
count)
    echo COUNTING; i=0; while true; do i=$((i+1)); echo $i; usleep 20000; done ;;
live)
    i=0; while true; do i=$((i+1)); echo 3 >/proc/sys/vm/drop_caches; echo LIVE $i $(dd if=/dev/vda bs=64k count=1 2>/dev/null | sha256sum | cut -c1-64); done ;;
esac
echo %s $(uname -m) $(nproc) $(grep -o 'virtio_mmio.device=512@' /proc/cmdline | wc -l)
[ $what = reboot ] && reboot -f
"""

# Jobs are shell functions. No early PCI: a processor of AMD's would look for its AGP bridge
# in all 256 buses, twice, port by port.
OUTER = r"""
SUM=@SUM@
BLOCK=@BLOCK@
A="console=ttyS0 quiet panic=-1 pci=noearly"
vm() { # NAME ARGUMENTS
    LOG=/tmp/$1; shift
    timeout -s KILL 280 qemu-system-x86_64 -accel kvm -cpu host -m 192 -nodefaults -display none -serial file:$LOG -initrd /guest/inner "$@" >$LOG.err 2>&1
    status=$?
}
verdict() { # NAME CONDITION
    if eval "$2"; then echo "CASE $1: PASS"; else echo "CASE $1: FAIL"; tail -n 15 $LOG $LOG.err; fi
}
until_says() { # TEXT COUNT
    n=0; while [ $n -lt 900 ] && ! { [ -e $LOG ] && [ $(grep -ac "$1" $LOG) -ge $2 ]; }; do usleep 100000; n=$((n+1)); done
}
boots() { # NAME CPUS ARGUMENTS
    name=$1; n=$2; shift 2
    vm boot${n%% *} -no-reboot -smp ${n%% *} "$@"
    verdict "$name" '[ $status = 0 ] && grep -aq "GUEST-IS-UP x86_64 $n" $LOG'
}
io() { # NAME PORT BLK NET ARGUMENTS
    name=$1; port=$2; blk=$3; net=$4; shift 4
    disk=/tmp/disk$port.qcow2
    qemu-img convert -f raw -O qcow2 /guest/data $disk; qemu-img resize -q $disk 16M
    nc -l -p $port </tmp/silence >/tmp/sent$port & listener=$!
    vm io$port -no-reboot -append "$A do=io port=$port" -drive if=none,id=d,file=$disk,format=qcow2 -device $blk,drive=d -netdev user,id=n -device $net,netdev=n "$@"
    kill $listener 2>/dev/null
    verdict "$name: a clean power-off" '[ $status = 0 ] && grep -aq GUEST-IS-UP $LOG'
    verdict "$name: the disk reads as made" 'grep -aq "DISK-SUM $SUM" $LOG'
    verdict "$name: the network brings it whole" 'grep -aq "NET-SUM $SUM" $LOG'
    new=$(grep -a NEW-SUM $LOG | cut -d" " -f2)
    verdict "$name: what was sent arrives" '[ "$(sha256sum </tmp/sent$port | cut -d" " -f1)" = "$new" ]'
    qemu-img convert -f qcow2 -O raw $disk /tmp/raw$port
    verdict "$name: what was written is in the image" '[ "$(dd if=/tmp/raw$port bs=4k skip=1024 count=512 2>/dev/null | sha256sum | cut -d" " -f1)" = "$new" ] && qemu-img check $disk >/dev/null'
}
mmio1() { io "virtio-mmio, 1 vCPU" 9001 virtio-blk-device virtio-net-device -M microvm,pcie=off -smp 1 -kernel /guest/vmlinux; }
pci2() { io "PCI, 2 vCPUs" 9002 virtio-blk-pci virtio-net-pci -M microvm -smp 2 -kernel /guest/vmlinux; }
mmio2() { io "virtio-mmio, 2 vCPUs, split" 9003 virtio-blk-device virtio-net-device -M microvm,pcie=off,kernel-irqchip=split -smp 2 -kernel /guest/vmlinux; }
pci1() { io "PCI, 1 vCPU" 9004 virtio-blk-pci virtio-net-pci -M microvm,kernel-irqchip=on -smp 1 -kernel /guest/vmlinux; }
bzimage() { boots "a bzImage, 1 vCPU" 1 -M microvm -kernel /guest/bzimage -append "$A"; }
linux64() { boots "an ELF file by its 64-bit entry, 2 vCPUs" 2 -M microvm,pcie=off -kernel /guest/linux64 -append "$A"; }
# Without ACPI nothing powers the machine off: it ends by a triple fault.
noacpi() { boots "device nodes on the command line, without ACPI" "1 8" -M microvm,acpi=off,pcie=off -kernel /guest/vmlinux -append "$A do=reboot reboot=t"; }
control() {
    mkfifo /tmp/monitor; sleep 1000 <>/tmp/monitor & holder=$!
    vm control -M microvm -smp 2 -kernel /guest/vmlinux -append "$A do=count" -monitor stdio -pidfile /tmp/pid </tmp/monitor & run=$!
    LOG=/tmp/control
    until_says COUNTING 1; usleep 300000
    echo stop >/tmp/monitor; sleep 1; a=$(tail -n 1 $LOG); sleep 1; b=$(tail -n 1 $LOG)
    verdict "paused, the guest stands still" '[ -n "$a" ] && [ "$a" = "$b" ]'
    echo cont >/tmp/monitor; sleep 1
    verdict "resumed, it goes on" '[ "$(tail -n 1 $LOG)" != "$b" ]'
    echo "info registers" >/tmp/monitor; usleep 200000
    verdict "the monitor shows registers" 'grep -aq "rip" $LOG.err'
    kib=$(awk '$1 == "Size:" { size = $2 } $1 == "Rss:" && size != 196608 { sum += $2 } END { print sum }' /proc/$(cat /tmp/pid)/smaps)
    verdict "at most 10 MiB beside the guest's memory" '[ $kib -le 10240 ]'
    echo system_reset >/tmp/monitor
    until_says COUNTING 2
    verdict "it runs again after a reset" '[ "$(grep -ac COUNTING $LOG)" = 2 ]'
    kill -TERM $(cat /tmp/pid); wait $run
    verdict "SIGTERM ends it" '[ $? = 0 ] && [ ! -e /tmp/pid ]'
    kill $holder
}
# Saved in the midst of disk requests, it goes on in another process.
saved() {
    mkfifo /tmp/monitor2; sleep 1000 <>/tmp/monitor2 & holder=$!
    qemu-img create -f qcow2 /tmp/saved.qcow2 16M >/dev/null; qemu-img convert -n -f raw -O qcow2 /guest/data /tmp/saved.qcow2
    M="-M microvm -smp 2 -kernel /guest/vmlinux -drive if=none,id=d,file=/tmp/saved.qcow2 -device virtio-blk-pci,drive=d -monitor stdio -pidfile /tmp/pid2"
    vm saved $M -append "$A do=live" </tmp/monitor2 & run=$!
    LOG=/tmp/saved
    until_says LIVE 5
    echo "migrate file:/tmp/state" >/tmp/monitor2
    n=0; until grep -aq "Migration status: completed" $LOG.err || [ $n = 60 ]; do echo "info migrate" >/tmp/monitor2; usleep 500000; n=$((n+1)); done
    last=$(grep -ac LIVE $LOG)
    kill -TERM $(cat /tmp/pid2); wait $run
    vm again $M -append "$A do=live" -incoming file:/tmp/state </tmp/monitor2 & run=$!
    LOG=/tmp/again
    until_says "LIVE.*$BLOCK" 20
    first=$(sed -n "s/.*LIVE \\([0-9]*\\) .*/\\1/p" $LOG | head -n 1)
    verdict "saved, it goes on in another process" '[ -n "$first" ] && [ $first -ge $last ] && [ $(grep -ac "LIVE.*$BLOCK" $LOG) -ge 20 ] && ! grep -aq "panic\|Oops\|stall" $LOG'
    kill -TERM $(cat /tmp/pid2); wait $run
    kill $holder
}
unit() {
    LOG=/tmp/unit
    for t in @TESTS@; do
        skip=; [ $t = kvm_machine ] && skip=test_debugger # the emulated SVM does not intercept breakpoints
        timeout 60 /usr/bin/test_$t $skip >$LOG 2>$LOG.err
        status=$?
        verdict "unit guests: $t" '[ $status = 0 ] && ! grep -qi "# skip" $LOG'
    done
}
lane() {
    for job; do
        $job
        echo "TOOK $job $(cut -d" " -f1 /proc/uptime)"
    done
}
echo TOOK outer
httpd -p 8080 -h /guest
mkfifo /tmp/silence; sleep 9999 >/tmp/silence &
"""
# Each lane in an outer machine of its own, side by side.
LANES = ["mmio1 control unit saved", "bzimage pci2 mmio2 pci1 noacpi linux64"]
SHORT = ["mmio1", "pci2"]


def collect(image):
    """The verdicts, each with the lines before it, and the jobs that ended."""
    results, detail, ended = [], [], set()
    for line in nest.run(image, 300, echo="echo" in sys.argv):
        m = re.search(r"CASE (.*): (PASS|FAIL)$", line)
        if m:
            results.append((m.group(1), m.group(2), detail := []))
        elif "TOOK " in line:
            ended.add(line.split("TOOK ")[1].split()[0])
        else:
            detail.append(line)
    return results, ended


def main():
    mods, insmods = guests.modules("amd64", "virtio_mmio", "virtio_pci", "virtio_blk", "virtio_net")
    inner = guests.initrd("amd64", INNER % (insmods, guests.MARKER), mods, "kvm")
    extra = [nest.unpacked(inner, "guest/inner"), ("guest/data", 0o100644, DATA)]
    lanes = SHORT if JOBS == ["short"] else [" ".join(JOBS[::2]), " ".join(JOBS[1::2])] if JOBS else LANES
    if lanes != SHORT:
        tests = [os.path.join(DIR, "tests", "test_" + t) for t in TESTS]
        extra += [("usr/bin/" + os.path.basename(t), 0o100755, nest.stripped(t)) for t in tests]
        extra += [nest.copied(lib, lib.lstrip("/")) for lib in nest.libraries(tests[0]) if "cmocka" in lib]
        extra += [("guest/linux64", 0o100644, nest.without_notes(nest.vmlinux(guests.kernel("amd64"))))]
    script = OUTER.replace("@SUM@", SUM).replace("@BLOCK@", hashlib.sha256(DATA[:1 << 16]).hexdigest()).replace("@TESTS@", " ".join(TESTS))

    def outer(lane):
        image = nest.image(os.path.join(DIR, "myna"), script + "lane %s\n" % lane, extra)
        try:
            results, ended = collect(image)
        except nest.OuterDied as e:
            return [("the outer machine lives", "FAIL", str(e).splitlines())]
        missing = set(lane.split()) - ended
        return results + [("every job ends", "FAIL", ["did not: " + " ".join(sorted(missing))])] * bool(missing)
    with ThreadPoolExecutor() as pool:
        results = sum(pool.map(outer, filter(None, lanes)), [])

    def case(how, text):
        def run():
            assert how == "PASS", "\n".join(text)
        return run
    sys.exit(tap([(name, case(how, text)) for name, how, text in results]))


main()
