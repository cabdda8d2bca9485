#!/bin/bash
# images.sh [BUILD] [MIB]: times our disk image tool beside QEMU's on the same image in the same run:
# raw to qcow2, compressed (zlib, zstd), back to raw, check and compare. Half of the image is random,
# a quarter text, the rest holes. Each figure is the best of three; files are in the page cache.
set -e
build=$(realpath "${1:-build}")
mib=${2:-512}
peer=$(command -v qemu-img || true)
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/myna-bench-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"
head -c "$((mib / 2))M" /dev/urandom > raw
seq 1 100000000 | head -c "$((mib / 4))M" >> raw
truncate -s "${mib}M" raw

best() { # best of three, in milliseconds
    local best=999999999 start ms
    for _ in 1 2 3; do
        start=$(date +%s%N)
        timeout 600 "$@" > /dev/null
        ms=$((($(date +%s%N) - start) / 1000000))
        [ "$ms" -lt "$best" ] && best=$ms
    done
    echo "$best"
}

row() { # row TITLE ARGUMENTS...
    local title=$1 ours theirs=-
    shift
    ours=$(best "$build/qemu-img" "$@")
    [ -n "$peer" ] && theirs=$(best "$peer" "$@")
    if [ "$theirs" = - ]; then
        printf '%-24s %8d ms\n' "$title" "$ours"
    else
        printf '%-24s %8d ms %8d ms   %s\n' "$title" "$ours" "$theirs" \
            "$(awk "BEGIN { printf \"%.2fx\", $theirs / ($ours ? $ours : 1) }")"
    fi
}

printf '%-24s %11s %11s   %s\n' "$mib MiB image" ours "${peer:+QEMU}" "${peer:+ratio}"
row 'raw to qcow2' convert -f raw -O qcow2 raw a.qcow2
row 'raw to qcow2, zlib' convert -c -f raw -O qcow2 raw z.qcow2
row 'raw to qcow2, zstd' convert -c -o compression_type=zstd -f raw -O qcow2 raw s.qcow2
row 'qcow2 to raw' convert -f qcow2 -O raw a.qcow2 back
row 'zlib qcow2 to raw' convert -f qcow2 -O raw z.qcow2 back
row 'zstd qcow2 to raw' convert -f qcow2 -O raw s.qcow2 back
row 'check' check -f qcow2 a.qcow2
row 'compare' compare -f raw -F qcow2 raw a.qcow2
"$build/qemu-img" compare -q -f raw -F raw raw back || echo 'images.sh: the copies differ' >&2
