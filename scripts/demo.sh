#!/bin/sh
# demo.sh BUILD: builds the program and boots Debian's arm64 installer, kernel and initrd from their
# Debian package, on the serial console; Ctrl-A x leaves. The package (about 125 MB) is fetched once,
# without installing it, while the program is built. Says at the end how long the first screen took.
set -eu

build=$1
dir=$build/demo
name='debian-installer-[0-9]+-netboot-arm64'
began=$(date +%s)

# apt with lists of its own, so that this works without root and on a machine with empty lists.
apt_private() {
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    tool=$1
    shift
    "$tool" -q -o Dir::State::lists="$PWD/$dir/apt/lists" -o Dir::Cache="$PWD/$dir/apt/cache" \
        -o APT::Sandbox::User= "$@"
}

# The newest installer's package into $dir/files, of which only the text installer is unpacked.
fetch() {
    command -v apt-get >/dev/null || {
        echo "demo.sh: needs apt-get to fetch Debian's installer" >&2
        return 1
    }
    package=$(apt-cache search --names-only "^$name\$" | awk '{print $1}' | sort | tail -n 1)
    if [ -n "$package" ]; then
        (cd "$dir" && apt-get -q -o APT::Sandbox::User= download "$package")
    else
        apt_private apt-get update
        package=$(apt_private apt-cache search --names-only "^$name\$" | awk '{print $1}' | sort |
            tail -n 1)
        [ -n "$package" ] || { echo "demo.sh: no package named $name in the sources" >&2; return 1; }
        (cd "$dir" && PWD=$OLDPWD apt_private apt-get download "$package")
    fi
    rm -rf "$dir/files.new"
    mkdir "$dir/files.new"
    dpkg-deb --fsys-tarfile "$dir"/debian-installer-*.deb |
        tar -x -C "$dir/files.new" --wildcards --strip-components=10 \
            '*/text/debian-installer/arm64/linux' '*/text/debian-installer/arm64/initrd.gz'
    rm -f "$dir"/debian-installer-*.deb
    mv "$dir/files.new" "$dir/files"
}

scripts/packages.sh build
mkdir -p "$dir"
fetching=
if [ ! -d "$dir/files" ]; then
    fetch >"$dir/fetch.log" 2>&1 &
    fetching=$!
    trap 'kill $fetching 2>/dev/null || :' EXIT INT TERM
fi
make all BUILD="$build"
if [ -n "$fetching" ]; then
    echo "Waiting for Debian's installer."
    wait "$fetching" || { cat "$dir/fetch.log" >&2; exit 1; }
    trap - EXIT INT TERM
fi

built=$(($(date +%s) - began))
echo "Built and fetched in $built s. Booting Debian's arm64 installer; Ctrl-A x leaves."
console=$dir/console.log
rm -f "$console" "$dir/first-screen"
(
    until grep -q 'Select a language' "$console" 2>/dev/null; do sleep 0.3; done
    date +%s >"$dir/first-screen"
) &
watching=$!
status=0
"$build/qemu-system-aarch64" -M virt -cpu max -smp 2 -m 1G -display none \
    -chardev stdio,id=console,mux=on,signal=off,logfile="$console" \
    -serial chardev:console -mon chardev=console \
    -kernel "$dir/files/linux" -initrd "$dir/files/initrd.gz" -append "console=ttyAMA0" \
    -netdev user,id=net0 -device virtio-net-pci,netdev=net0 || status=$?
{ kill "$watching" && wait "$watching"; } 2>/dev/null || :
printf '\033[0m\n' # the guest's colours
if [ -f "$dir/first-screen" ]; then
    shown=$(($(cat "$dir/first-screen") - began))
    echo "The installer's first screen was there after $shown s: $built s to build and fetch, the" \
        "rest to boot."
fi
exit "$status"
