#!/bin/sh
# kvm_arm64.sh SOURCE-DIR: the KVM accelerator compiles for AArch64 hosts: every file of it but those of x86, which are another half of
# the same interface. That half is whole when all that the shared files call is defined. Skips without the cross compiler.
cc=aarch64-linux-gnu-gcc nm=aarch64-linux-gnu-nm
command -v $cc >/dev/null || { echo "1..0 # SKIP no $cc (package gcc-aarch64-linux-gnu)"; exit 0; }
cd "$1" || exit 1
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
files=$(cd src/accel/kvm && ls ./*.c | grep -v '/x86')
n=0 failed=0
result() { # STATUS NAME DETAIL
    n=$((n + 1))
    [ "$1" = 0 ] && { echo "ok $n - $2"; return; }
    echo "not ok $n - $2"
    echo "$3" | sed 's/^/# /'
    failed=1
}
echo "1..$(($(echo "$files" | wc -l) + 1))"
for f in $files; do
    said=$($cc -std=gnu17 -D_GNU_SOURCE -O1 -c -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers -Isrc \
        -o "$out/$(basename "$f").o" "src/accel/kvm/$f" 2>&1)
    result $? "$f" "$said"
done
$nm "$out"/*.o 2>/dev/null | awk '$1 == "U" { print $2 }' | grep '^kvm_' | sort -u >"$out/wanted"
$nm "$out"/*.o 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >"$out/there"
missing=$(comm -23 "$out/wanted" "$out/there")
[ -s "$out/wanted" ] && [ -z "$missing" ]
result $? "what the shared files call is there" "missing: $missing"
exit $failed
