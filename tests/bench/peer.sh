#!/bin/sh
# peer.sh FOLDER: the newest QEMU that Debian offers (unstable), in a folder of its own, to be compared with. Prints the folder. Needs root and debootstrap; about 700 MB.
set -eu
dir=$1
if [ ! -e "$dir/.complete" ]; then
    command -v debootstrap >/dev/null || { echo "peer.sh: debootstrap is missing; run: apt-get install debootstrap" >&2; exit 1; }
    mirror=$(sed -n 's/^\(deb\( \[[^]]*\]\)\?\|URIs:\) *\([^ ]*\).*/\3/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1)
    rm -rf "$dir"
    mkdir -p "$dir"
    debootstrap --variant=minbase --include=qemu-system-arm,qemu-system-misc,qemu-system-riscv,qemu-user,qemu-utils sid "$dir" "$mirror" >&2
    touch "$dir/.complete"
fi
echo "$dir"
