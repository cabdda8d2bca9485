#!/bin/sh
# demo.sh BUILD: boots Debian's arm64 installer, kernel and initrd from their Debian package, on the
# serial console. Ctrl-A x leaves. The package (about 125 MB) is fetched once, without installing it.
set -eu

build=$1
dir=$build/demo
name='debian-installer-[0-9]+-netboot-arm64'
mkdir -p "$dir"

# apt with lists of its own, so that this works without root and on a machine with empty lists.
apt_private() {
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    tool=$1
    shift
    "$tool" -q -o Dir::State::lists="$PWD/$dir/apt/lists" -o Dir::Cache="$PWD/$dir/apt/cache" \
        -o APT::Sandbox::User= "$@"
}

if [ ! -d "$dir/files" ]; then
    command -v apt-get >/dev/null || {
        echo "demo.sh: needs apt-get to fetch Debian's installer" >&2
        exit 1
    }
    package=$(apt-cache search --names-only "^$name\$" | awk '{print $1}' | sort | tail -n 1)
    if [ -n "$package" ]; then
        (cd "$dir" && apt-get -q -o APT::Sandbox::User= download "$package")
    else
        apt_private apt-get update
        package=$(apt_private apt-cache search --names-only "^$name\$" | awk '{print $1}' | sort |
            tail -n 1)
        [ -n "$package" ] || { echo "demo.sh: no package named $name in the sources" >&2; exit 1; }
        (cd "$dir" && PWD=$OLDPWD apt_private apt-get download "$package")
    fi
    rm -rf "$dir/files.new"
    dpkg -x "$dir"/debian-installer-*.deb "$dir/files.new"
    mv "$dir/files.new" "$dir/files"
    rm -f "$dir"/*.deb
fi

images=$(echo "$dir"/files/usr/lib/debian-installer/images/*/arm64/text/debian-installer/arm64)
[ -f "$images/linux" ] || { echo "demo.sh: $images/linux is missing; remove $dir" >&2; exit 1; }
echo "Booting Debian's arm64 installer; Ctrl-A x leaves."
exec "$build/qemu-system-aarch64" -M virt -cpu max -smp 2 -m 1G -nographic \
    -kernel "$images/linux" -initrd "$images/initrd.gz" -append "console=ttyAMA0" \
    -netdev user,id=net0 -device virtio-net-pci,netdev=net0
