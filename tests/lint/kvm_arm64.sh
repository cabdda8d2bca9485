#!/bin/sh
# kvm_arm64.sh SOURCE-DIR: the KVM accelerator compiles for AArch64 hosts: all it shares, and its own half. Skips without the cross compiler.
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null || { echo "1..0 # SKIP no $cc (package gcc-aarch64-linux-gnu)"; exit 0; }
cd "$1" || exit 1
files="arm64 bells chip debug dirty facts kvm run slots"
n=0 failed=0
echo "1..$(echo $files | wc -w)"
for f in $files; do
    n=$((n + 1))
    if out=$($cc -std=gnu17 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers -Isrc "src/accel/kvm/$f.c" 2>&1); then
        echo "ok $n - $f.c"
    else
        echo "not ok $n - $f.c"
        echo "$out" | sed 's/^/# /'
        failed=1
    fi
done
exit $failed
