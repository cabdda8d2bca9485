#!/bin/sh
# packages.sh build|check|full: makes sure that the Debian packages are there which building, or
# building and testing (full: with the slow suites), needs. Installs what is missing when run as
# root; otherwise says which command would.
set -eu

build="gcc libc6-dev meson ninja-build pkg-config python3 libcapstone-dev libcmocka-dev libfdt-dev
    libjson-c-dev libseccomp-dev libslirp-dev liburing-dev libzstd-dev zlib1g-dev"
check="busybox-static bzip2 ca-certificates clang clang-format cpio debootstrap
    device-tree-compiler e2fsprogs
    gawk gcc-aarch64-linux-gnu gcc-riscv64-linux-gnu gdb-multiarch git iproute2 libc6-dev-arm64-cross
    libc6-dev-riscv64-cross
    libclang-rt-14-dev libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu llvm openssl opensbi
    perl procps
    qemu-system-x86 qemu-user-static qemu-utils xz-utils"

full="debootstrap debvm fdisk mmdebstrap"

case "${1:-build}" in
build) want=$build ;;
check) want="$build $check" ;;
full) want="$build $check $full" ;;
*) echo "usage: packages.sh build|check|full" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: not a Debian system; trusting that these are installed:" $want >&2
    exit 0
fi
missing=
for p in $want; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "packages are missing; run: sudo apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends $missing
