#!/bin/sh
# The program is built hardened (SECURITY.md, R14): position-independent, its tables read-only after
# start, no executable stack, stack protector and checked string functions in use.
program=$1
fail=0
expect() {
    "$@" >/dev/null || { echo "missing in $program: $*"; fail=1; }
}
file=$(readelf -hldW "$program") || exit 1
symbols=$(readelf -W --dyn-syms "$program")
has() { echo "$file" | grep -E "$1"; }
imports() { echo "$symbols" | grep -E "UND .*$1"; }
expect has 'Type: +DYN'
expect has 'GNU_RELRO'
expect has 'BIND_NOW|Flags: .*NOW'
expect has 'GNU_STACK .* RW +'
expect imports '__stack_chk_fail'
expect imports '__(v?sn?printf|memcpy|vsnprintf)_chk'
exit $fail
