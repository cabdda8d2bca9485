#!/usr/bin/env python3
"""debian.py BUILD [--arch riscv64] [CASE...]: programs of Debian's packages under user mode.

Each case is a shell script that runs in a chroot with nothing of the host in it but the static user mode, or through -L with the linked
one. What it prints is compared with what the host's own programs print for the same script (those of the same Debian, in a chroot of
their own, where the host's is another), or with what the case says. Without root or a static user mode only -L is used; without an archive
the test is skipped (status 77).
"""
import argparse, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "guests"))
import guests

SMALL = ["apt", "bash", "bzip2", "coreutils", "dash", "diffutils", "dpkg", "file", "findutils", "gawk", "git", "grep", "gzip", "libc-bin",
         "luajit", "make", "openssl", "perl", "procps", "python3", "sed", "sqlite3", "tar", "util-linux", "xz-utils"]
LARGE = ["bash", "coreutils", "dash", "diffutils", "findutils", "g++", "gcc", "git", "golang-go", "grep", "libpython3.11-testsuite", "make", "netbase", "nodejs",
         "openjdk-17-jre-headless", "python3", "sed"]
# What another Debian calls them; None: it has none.
OTHER = {"riscv64": {"luajit": None, "libpython3.11-testsuite": None, "openjdk-17-jre-headless": "openjdk-21-jre-headless"}}
CPU = {"arm64": "aarch64", "riscv64": "riscv64"}

HOST = object()  # the host's programs say what is right
CASES = {}


def case(name, script, want, packages=SMALL):
    CASES[name] = (script, want, packages, 600 if packages is SMALL else 1800)


case("bash", r"""
declare -A a; for i in {1..200}; do a[k$i]=$((i * i)); done; s=0; for k in "${!a[@]}"; do s=$((s + a[$k])); done; echo $s
trap 'echo usr1' USR1; kill -USR1 $$; trap 'echo left $?' EXIT
diff <(seq 1 5) <(seq 2 6); (exit 7); echo $?; echo "${BASH_VERSINFO[0]}" "${PIPESTATUS[@]}"
f() { [ $1 -le 1 ] && echo $1 || echo $(($(f $(($1 - 1))) + $(f $(($1 - 2))))); }; f 9
coproc cat; echo through >&${COPROC[1]}; read -u ${COPROC[0]} x; echo $x; kill $COPROC_PID; wait 2>/dev/null
sh -c 'kill -SEGV $$'; echo $?; sleep 10 & kill -9 $!; wait $!; echo $?
timeout 0.3 sleep 5; echo $?; (ulimit -n 64; ulimit -n); printf '%s\n' *.nothing; exec 5>&1; echo to five >&5
""", HOST)

case("coreutils", r"""
cd $(mktemp -d); seq 1 5000 > n; shuf --random-source=n n > m; sort -n m | cmp - n && echo sorted; sort -R --random-source=n n | md5sum
md5sum n; sha1sum n; sha224sum n; sha256sum n; sha384sum n; sha512sum n; b2sum n; cksum n; sum n; cksum -a sm3 n
wc n; head -n 3 n; tail -n 3 n; tac n | head -n 2; nl n | tail -n 1; od -A x -t x1z n | head -n 3; od -t f8 -N 32 n; base64 n | tail -n 1; base32 n | tail -n 1
cut -c1-2 n | uniq -c | sort -k1,1n -k2 | tail -n 3; paste -d, n m | head -n 2 | wc -l; join n n | wc -l; comm -12 n n | wc -l; tr 0-9 a-j < n | tail -n 1
split -l 1000 n part.; ls part.* | wc -l; csplit -s n 100 200; wc -l xx*; fold -w 10 part.aa | wc -l; fmt part.aa | head -n 1; pr -t -3 part.aa | head -n 2; expand n | unexpand | md5sum
mkdir -p d/e/f; mkfifo p; ln -s n l; ln n h; cp -a l l2; readlink l2; stat -c '%F %h %s %a' n l p; stat -c '%F %h %a' d; touch -d '2001-02-03 04:05:06 UTC' n; stat -c %Y n; date -u -r n +%F_%T
chmod 640 n; stat -c %a n; mv m o; rm -rf d; rmdir nothing 2>&1; test -e o && echo there; truncate -s 12345 t; stat -c %s t; dd if=n of=q bs=7 count=11 2>/dev/null; cksum q
factor 1234567890123456789 18446744073709551557 6; expr 7 '*' 6; expr match abcdef 'a.c'; seq -f %.3e 1 0.5 3; numfmt --to=iec 123456789; printf '%.10g %x %c|%-8s|%b\n' 3.14159265358979 255 q hi '\x41'
env -i A=1 env; nice -n 5 nice; nohup true; stdbuf -o0 echo unbuffered; timeout 60 true; echo $?; tsort <<< 'a b b c a c' | tr '\n' ' '; basename /a/b.c .c; dirname /a/b.c; realpath -m /a/../b; pathchk /a && echo ok
cat n | tee copy | wc -l; cmp n copy && echo same; install -m 700 n inst; stat -c %a inst; shred -u inst; ls; mktemp -u XXXX | wc -c; sync; du -b n; echo a b c | xargs -n1 echo | wc -l
find . -name 'part.*' -size +1k -newer n | sort | head -n 2; grep -c 7 n; grep -E '^(1|2)+$' n | tail -n 1; sed -n 's/^\(.\)\(.\)$/\2\1/p' n | tail -n 2; $(command -v gawk || command -v awk) '{s += $1 * 1.5} END {printf "%.3f %d\n", s, length(s)}' n
gzip -9c n | gunzip | cmp - n; bzip2 -c n | bunzip2 | cmp - n; xz -c n | unxz | cmp - n; tar cf - n o | tar tf -; tar czf x.tgz --mtime=@0 --owner=0 --group=0 part.*; tar xzOf x.tgz | md5sum
""", HOST)

case("coreutils, every program", open(os.path.join(HERE, "coreutils.sh")).read(), HOST)

case("perl", r"""
perl -we 'use strict; use POSIX; use List::Util qw(sum shuffle reduce); use Data::Dumper; use Time::HiRes; use Storable qw(dclone); use Digest::SHA qw(sha256_hex); use Encode; use Math::BigInt; use Socket; use threads;
my %h = map { $_ => $_ ** 2 } 1 .. 1000; print sum(values %h), "\n"; $Data::Dumper::Sortkeys = 1; print Dumper({a => [1, 2, {b => undef}], c => \"x"});
my $t = "the quick brown fox " x 50; my $n = () = $t =~ /\b(\w)(\w*)\b/g; (my $u = $t) =~ s/(\w+)/\u$1/g; print "$n ", substr($u, 0, 20), " ", sha256_hex($u), "\n";
print Math::BigInt->new(2)->bpow(521)->bsub(1), "\n"; printf "%.15g %.3e %s %d\n", atan2(1, 1) * 4, 1 / 3, 1e300 * 1e10, -7 % 3; print join(",", sort { $a <=> $b } map { int(1000 * sin($_)) } 1 .. 20), "\n";
my @k; for my $i (1 .. 8) { my $p = fork; if (!$p) { exit $i } push @k, $p } my $s = 0; for (@k) { waitpid $_, 0; $s += $? >> 8 } print "$s\n"; socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC; syswrite $a, "over\n"; print scalar <$b>;
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select undef, undef, undef, 5; }; print $@; my @th = map { my $i = $_; threads->create(sub { my $s = 0; $s += $_ * $i for 1 .. 5000; $s }) } 1 .. 4; print sum(map { $_->join } @th), "\n";
print encode("UTF-8", decode("latin1", "\xe9")), "\n"; my $d = dclone(\%h); print scalar(keys %$d), "\n"; print strftime("%F %T", gmtime(1e9)), "\n"; print pack("NnCa4w", 1, 2, 3, "four", 300) eq "\0\0\0\1\0\2\3four\x82\x2c" ? "packed\n" : "wrong\n"; eval { my $x = 1 / 0 }; print $@ =~ /division by zero/ ? "caught\n" : "no\n"'
""", HOST)

case("python3", r"""
python3 - <<'P'
import hashlib, json, math, os, random, signal, struct, subprocess, sys, threading, time, zlib, multiprocessing, decimal, fractions, ctypes, mmap, socket, select, collections
random.seed(7); v = [random.random() for _ in range(2000)]; print(math.fsum(v), max(v), sorted(v)[:2], hashlib.sha256(repr(v).encode()).hexdigest())
print(json.dumps({"a": [1.5, None, True, "\u00e9"]}), struct.pack("<dqfe", 1.1, -2, 3.3, 0.1).hex(), zlib.crc32(b"x" * 1000), 3 ** 500 % (2 ** 127 - 1), float("1e-320"), 0.1 + 0.2, round(2.675, 2), 2 ** 0.5, math.gamma(5.5))
decimal.getcontext().prec = 60; print(decimal.Decimal(2).sqrt(), fractions.Fraction(3.14159).limit_denominator(1000), math.erf(0.5), math.fmod(-7, 3), (1e308 * 10, -1e308 * 10), int(1e20))
q = []; ts = [threading.Thread(target=lambda i=i: q.append(sum(range(i * 1000)))) for i in range(8)]; [t.start() for t in ts]; [t.join() for t in ts]; print(sorted(q))
def f(x): return x * x
if True:
    with multiprocessing.get_context("fork").Pool(3) as p: print(sum(p.map(f, range(100))))
print(subprocess.run(["sh", "-c", "echo sub; exit 3"], capture_output=True)); signal.signal(signal.SIGALRM, lambda *a: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2)
m = mmap.mmap(-1, 8192); m[:5] = b"hello"; print(m[:6]); a, b = socket.socketpair(); a.send(b"ping"); print(select.select([b], [], [], 1)[0] == [b], b.recv(9)); libc = ctypes.CDLL(None); print(libc.abs(-5), ctypes.sizeof(ctypes.c_long))
C = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)); arr = (ctypes.c_int * 5)(5, 3, 1, 4, 2); libc.qsort(arr, 5, 4, C(lambda x, y: x[0] - y[0])); print(list(arr)); print(os.cpu_count() > 0, sys.byteorder, os.uname().sysname)
pid = os.fork()
if pid == 0: os.kill(os.getpid(), signal.SIGSEGV)
print(os.waitpid(pid, 0)[1] & 127, collections.Counter("mississippi").most_common(2))
P
""", HOST)

case("sqlite3", r"""
cd $(mktemp -d); sqlite3 t.db "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, x REAL, s TEXT); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) INSERT INTO t SELECT n, n / 7.0, 'row ' || (n * 7919 % 20011) FROM c; CREATE INDEX i ON t(s);
SELECT count(*), round(sum(x), 3), max(s) FROM t; SELECT id FROM t WHERE s = 'row 5'; UPDATE t SET x = x * 2 WHERE id % 3 = 0; DELETE FROM t WHERE id % 5 = 0; SELECT count(*), round(avg(x), 6) FROM t; PRAGMA integrity_check; VACUUM; SELECT printf('%.4f %s', 1.0 / 3, hex('abc'));"
sqlite3 t.db "SELECT count(*) FROM t" ".dump t" | tail -n 2
""", "wal\n20000|28572857.143|row 9999\n5155\n16000|1904.702393\nok\n0.3333 616263\nINSERT INTO t VALUES(19999,2857.0,'row 5027');\nCOMMIT;\n")

case("openssl", r"""
cd $(mktemp -d); seq 1 20000 > in; for d in md5 sha1 sha224 sha256 sha384 sha512 sha3-256 blake2b512 sm3 ripemd160; do openssl dgst -$d -r in; done
for c in aes-128-cbc aes-256-ctr aes-192-ecb chacha20 camellia-256-cbc aria-128-cbc des-ede3-cbc sm4-cbc; do openssl enc -$c -K 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f -iv 000102030405060708090a0b0c0d0e0f -in in 2>/dev/null | md5sum; done
openssl genrsa -out rsa.pem 2048 2>/dev/null; openssl dgst -sha256 -sign rsa.pem -out sig in; openssl rsa -in rsa.pem -pubout -out pub.pem 2>/dev/null; openssl dgst -sha256 -verify pub.pem -signature sig in; openssl rsa -check -noout -in rsa.pem
for c in prime256v1 secp384r1 secp521r1 brainpoolP256r1; do openssl ecparam -name $c -genkey -noout -out ec.pem; openssl dgst -sha256 -sign ec.pem -out sig in; openssl dgst -sha256 -prverify ec.pem -signature sig in; openssl ec -check -noout -in ec.pem 2>&1 | tail -n 1; done
for a in ed25519 ed448 x25519; do openssl genpkey -algorithm $a -out k.pem && openssl pkey -check -noout -in k.pem; done; openssl prime -generate -bits 256 -hex | wc -c; openssl prime 170141183460469231731687303715884105727 2>&1 | grep -c 'is prime'
openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 9 -subj /CN=x 2>/dev/null; openssl verify -CAfile c.pem c.pem; openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:p -kdfopt salt:s -kdfopt iter:2000 PBKDF2; echo text | openssl enc -aes-256-cbc -pbkdf2 -k pw | openssl enc -d -aes-256-cbc -pbkdf2 -k pw
OPENSSL_armcap=0 openssl dgst -sha256 -r in; OPENSSL_armcap=0 openssl dgst -sha512 -r in; OPENSSL_armcap=0 openssl enc -aes-128-cbc -K 00 -iv 00 -in in 2>/dev/null | md5sum
""", HOST)

case("openssl speed", "for a in sha256 '-evp aes-128-gcm'; do openssl speed -seconds 1 -bytes 1024 $a 2>/dev/null | grep -c '[0-9]k *$'; done; openssl speed -seconds 1 rsa2048 ecdsap256 2>/dev/null | grep -c '[0-9]s '", HOST)

case("git", r"""
export HOME=$(mktemp -d) GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z'; cd $(mktemp -d); git config --global user.name n; git config --global user.email e@x; git config --global init.defaultBranch main
git init -q a; cd a; for i in $(seq 1 12); do seq $i 3000 > f$((i % 4)); mkdir -p d$i; echo $i > d$i/x; git add .; git commit -qm "commit $i"; done; git log --oneline; git checkout -qb side HEAD~5; echo s > side; git add side; git commit -qm side; git merge -qm merge main; git log --graph --oneline | head -n 9
git gc -q; git fsck --full; cd ..; git clone -q file://$PWD/a b; cd b; git log -1 --format=%H; git diff --stat HEAD~3; git blame f1 | cut -c1-9 | sort | uniq -c; git archive HEAD | tar t | wc -l; git bisect start -q HEAD HEAD~6 | tail -n 1; git grep -c 2999; git status --short | wc -l
""", HOST)

case("apt and dpkg", r"""
apt-get --version | head -n 1 | sed "s/[0-9.]* ($ARCH)/works/"; apt-config dump | grep -c "^APT::Architecture \"$ARCH\""; dpkg --print-architecture | sed s/$ARCH/ours/; cd $(mktemp -d); mkdir -p p/DEBIAN p/opt/probe; echo data > p/opt/probe/file
printf 'Package: probe\nVersion: 1.0\nArchitecture: %s\nMaintainer: a <a@b>\nDescription: d\n' $ARCH > p/DEBIAN/control; printf '#!/bin/sh\necho configured $1\n' > p/DEBIAN/postinst; printf '#!/bin/sh\necho removing $1\n' > p/DEBIAN/prerm; chmod 755 p/DEBIAN/*
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates; touch /var/lib/dpkg/status /var/lib/dpkg/available; dpkg-deb --root-owner-group -b p probe.deb; dpkg -i probe.deb 2>&1; cat /opt/probe/file; dpkg -s probe | grep Status; dpkg -L probe | tail -n 1; dpkg -V probe; dpkg -r probe 2>&1; ls /opt/probe 2>&1
""", """apt works
1
ours
dpkg-deb: building package 'probe' in 'probe.deb'.
Selecting previously unselected package probe.
(Reading database ... 0 files and directories currently installed.)
Preparing to unpack probe.deb ...
Unpacking probe (1.0) ...
Setting up probe (1.0) ...
configured configure
data
Status: install ok installed
/opt/probe/file
(Reading database ... 4 files and directories currently installed.)
Removing probe (1.0) ...
removing remove
ls: cannot access '/opt/probe': No such file or directory
""")

case("luajit", r"""
luajit -e 'local s = 0; for i = 1, 3e7 do s = (s + i * 3) % 1000003 end print(s); local f = require("ffi"); f.cdef "int abs(int); double sqrt(double); int printf(const char *, ...);"; print(f.C.abs(-3), f.C.sqrt(2)); local t = {} for i = 1, 2e5 do t[i] = (i * 7919) % 100003 end table.sort(t) print(t[1], t[#t]); print(select(2, pcall(error, {1})) ~= nil, (jit.status()))'
""", "12015\n3\t1.4142135623731\n0\t100002\ntrue\ttrue\n")


case("gcc", r"""
cd /tmp; cat > a.c <<'C'
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
static int cmp(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(int c, char **v) { int x[] = {5, 3, 9, 1}; qsort(x, 4, sizeof *x, cmp); printf("%d %d %.12f %s\n", x[0], x[3], sin(1.0) + atof(v[1]), __VERSION__[0] ? "gcc" : ""); return 3; }
C
for o in -O0 -O2 -O3; do gcc $o -Wall -o a a.c -lm && ./a 2.5; echo $?; done; gcc -O2 -c a.c && nm a.o | grep -c ' T main'; gcc -O2 -static -flto -o s a.c -lm && ./s 1; echo 'int main(){return x;}' | gcc -xc - 2>&1 | grep -c error
""", "1 9 3.341470984808 gcc\n3\n" * 3 + "1\n1 9 1.841470984808 gcc\n1\n", LARGE)

case("g++ with threads", r"""
cd /tmp; cat > a.cc <<'C'
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <numeric>
#include <regex>
#include <thread>
#include <vector>
int main() {
    std::atomic<long> sum{0}; std::mutex m; std::condition_variable cv; std::map<int, int> seen; bool go = false; std::vector<std::thread> ts;
    for (int i = 0; i < 8; i++) ts.emplace_back([&, i] { { std::unique_lock<std::mutex> l(m); cv.wait(l, [&] { return go; }); } for (int k = 0; k < 100000; k++) sum += k ^ i; std::lock_guard<std::mutex> l(m); seen[i] = i * i; });
    { std::lock_guard<std::mutex> l(m); go = true; } cv.notify_all(); for (auto &t : ts) t.join();
    std::vector<std::future<int>> fs; for (int i = 0; i < 6; i++) fs.push_back(std::async(std::launch::async, [i] { if (i == 3) throw std::runtime_error("three"); return i; }));
    int ok = 0, thrown = 0; for (auto &f : fs) try { ok += f.get(); } catch (const std::exception &e) { thrown++; }
    std::vector<double> v(1000); std::iota(v.begin(), v.end(), 0.5); std::cout << sum << ' ' << seen.size() << ' ' << ok << ' ' << thrown << ' ' << std::accumulate(v.begin(), v.end(), 0.0) << ' ' << std::regex_replace("a1b22", std::regex("[0-9]+"), "#") << '\n';
    thread_local int tl = 4; std::thread([] { tl++; }).join(); return tl;
}
C
g++ -O2 -pthread -o a a.cc && ./a; echo $?
""", "39999600000 8 12 1 500000 a#b#\n4\n", LARGE)

case("go", r"""
cd $(mktemp -d); export HOME=$PWD GOCACHE=$PWD/cache GOFLAGS=-mod=mod GO111MODULE=off CGO_ENABLED=0
cat > h.go <<'G'
package main
import ("fmt"; "runtime"; "sync"; "sort"; "strings"; "time")
func fib(n int) int { if n < 2 { return n }; return fib(n-1) + fib(n-2) }
func main() {
	c := make(chan int); var wg sync.WaitGroup
	for i := 0; i < 50; i++ { wg.Add(1); go func(i int) { defer wg.Done(); c <- fib(i % 20) }(i) }
	go func() { wg.Wait(); close(c) }()
	var v []int; for x := range c { v = append(v, x); if len(v)%10 == 0 { runtime.GC() } }
	sort.Ints(v); fmt.Println(v[len(v)-3:], runtime.GOARCH, strings.Repeat("go", 2))
	defer func() { fmt.Println(recover()); select { case <-time.After(10 * time.Millisecond): fmt.Println("timer") } }()
	var p *int; *p = 1
}
G
{ go version | cut -d' ' -f1,2,4; go build -o h h.go && ./h; } | sed s/$ARCH/ours/
""", "go version linux/ours\n[2584 4181 4181] ours gogo\nruntime error: invalid memory address or nil pointer dereference\ntimer\n", LARGE)

case("node", r"""
node -e 'let s = 0; for (let i = 0; i < 3e7; i++) s = (s + i * 7) % 1000003; console.log(s, process.arch, [3, 1, 2].sort().join()); const f = n => n < 2 ? n : f(n - 1) + f(n - 2); console.log(f(27), require("crypto").createHash("sha256").update("x".repeat(1e5)).digest("hex").slice(0, 16), JSON.stringify({a: [1.5, null]}), /(\w)\1/.exec("hello")[0]);
const {Worker} = require("worker_threads"); const w = new Worker("require(\"worker_threads\").parentPort.postMessage([...Array(1e5).keys()].reduce((a, b) => a + b))", {eval: true}); w.on("message", m => { console.log(m); setTimeout(() => console.log("end", require("zlib").gunzipSync(require("zlib").gzipSync("text")).toString()), 20); });
const m = new WebAssembly.Module(new Uint8Array([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,0,32,1,106,11])); console.log(new WebAssembly.Instance(m).exports.add(40, 2));' | sed s/$ARCH/ours/
""", "28665 ours 1,2,3\n196418 d69e689881578332 {\"a\":[1.5,null]} ll\n42\n4999950000\nend text\n", LARGE)

case("openjdk", r"""
export PATH=$PATH:$(echo /usr/lib/jvm/java-[1-9][0-9]-openjdk-$ARCH/bin); java -version 2>&1 | grep -c '64-Bit Server VM'; java -XX:+UseSerialGC -Xcomp -version 2>&1 | grep -c 'mixed\|compiled'; java -Xint -version 2>&1 | grep -c interpreted; java -XX:+UseG1GC --list-modules | grep -c '^java.base'
""", "1\n1\n1\n1\n", LARGE)


def root_available(build):
    return os.geteuid() == 0 and os.path.exists(os.path.join(build, "qemu-aarch64-static")) and subprocess.run(
        ["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode == 0


# $3 is a user mode to run the script's shell with, or nothing.
MOUNT = """
set -e
mount -t tmpfs t "$1"; mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay o -o lowerdir="$2",upperdir="$1/up",workdir="$1/work" "$1/root"
mount -t proc p "$1/root/proc"; mount --rbind /dev "$1/root/dev"; mount -t tmpfs t "$1/root/tmp"
printf '127.0.0.1 localhost\n::1 localhost\n' > "$1/root/etc/hosts"
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' > "$1/root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$1/root/etc/group"
[ -z "$3" ] || cp "$3" "$1/root/usr/bin/${3##*/}"
"""
ENTER = """
cd "$1/root"; exec chroot . ${3:+/usr/bin/${3##*/}} /bin/bash -c "$4"
"""
ENV = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin:/usr/lib/go/bin", "LC_ALL": "C", "HOME": "/root", "TERM": "dumb"}


def packages_of(arch, packages):
    renamed = OTHER.get(arch, {})
    return [q for q in (renamed.get(p, p) for p in packages) if q]


def in_chroot(emulator, root, script, timeout, env):
    with tempfile.TemporaryDirectory() as d:
        return subprocess.run(["unshare", "-mpf", "--kill-child", "sh", "-c", MOUNT + ENTER, "sh", d, root, emulator, script], capture_output=True,
                              timeout=timeout, env=env, stdin=subprocess.DEVNULL)


def through_prefix(emulator, root, script, timeout, env):
    with tempfile.TemporaryDirectory() as d:
        return subprocess.run([emulator, "-L", root, os.path.join(root, "usr/bin/bash"), "-c", script], capture_output=True, timeout=timeout,
                              env=dict(env, TMPDIR=d), stdin=subprocess.DEVNULL)


# What the host's programs print; where this host's are of another Debian, those of a root file system of their own.
def reference(arch, script, timeout):
    if guests.SUITE[arch] != "bookworm":
        root = guests.root("amd64", packages_of(arch, SMALL), guests.SUITE[arch])
        return in_chroot("", root, script, timeout, dict(ENV, ARCH="amd64")).stdout
    with tempfile.TemporaryDirectory() as d:
        return subprocess.run(["bash", "-c", script], capture_output=True, env=dict(ENV, TMPDIR=d), stdin=subprocess.DEVNULL).stdout


def judge(name, how, run, want):
    try:
        got = run()
    except subprocess.TimeoutExpired as e:
        print("not ok - %s, %s\n# still running after %d s" % (name, how, e.timeout), flush=True)
        return False
    crash = re.search(rb"^(myna user|qemu-\w+(-static)?): ", got.stderr, re.M) or got.returncode in (-11, -6, -4, 139, 134)
    ok = not crash and (want is None or got.stdout == want)
    print("%s - %s, %s" % ("ok" if ok else "not ok", name, how), flush=True)
    if not ok:
        out, ref = got.stdout.decode(errors="replace").split("\n"), (want or b"").decode(errors="replace").split("\n")
        import difflib
        print("\n".join("# " + l for l in list(difflib.unified_diff(ref, out, "wanted", "got", lineterm=""))[:40]))
        print("# status %d\n# %s" % (got.returncode, got.stderr.decode(errors="replace")[-1500:].replace("\n", "\n# ")), flush=True)
    return ok


def run(build, arch, name):
    script, want, packages, timeout = CASES[name]
    root = guests.root(arch, packages_of(arch, packages))
    env = dict(ENV, ARCH=arch)
    if want is HOST:
        want = reference(arch, script, timeout)
    elif want is not None:
        want = want.encode()
    emulator = os.path.join(build, "qemu-" + CPU[arch])
    if root_available(build):
        return judge(name, "in a chroot", lambda: in_chroot(emulator + "-static", root, script, timeout, env), want)
    if packages is LARGE or name == "apt and dpkg" or guests.SUITE[arch] != "bookworm":
        print("ok - %s # SKIP needs mounts of its own: root, and a / that is a mount point" % name)
        return True
    return judge(name, "by -L", lambda: through_prefix(emulator, root, script, timeout, env), want)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--arch", default="arm64", choices=sorted(CPU))
    p.add_argument("cases", nargs="*")
    o = p.parse_intermixed_args()
    names = o.cases or [n for n, c in CASES.items() if c[2] is SMALL and OTHER.get(o.arch, {}).get(n, n)]
    try:
        guests.root(o.arch, packages_of(o.arch, CASES[names[0]][2]))
    except subprocess.CalledProcessError as e:
        print("1..0 # SKIP no packages: %s" % e)
        sys.exit(77)
    print("1..%d" % len(names))
    sys.exit(0 if all([run(os.path.abspath(o.build), o.arch, n) for n in names]) else 1)


if __name__ == "__main__":
    main()
