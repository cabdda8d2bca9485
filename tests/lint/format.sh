#!/bin/sh
# Every C file is laid out as .clang-format says. Skipped where clang-format 14 is not to be had,
# since versions differ.
cd "${1:-.}" || exit 1
tool=$(command -v clang-format-14 || command -v clang-format) || exit 77
"$tool" --version | grep -q 'version 14\.' || exit 77
find src tests \( -name '*.c' -o -name '*.h' \) -print0 | xargs -0 "$tool" --dry-run -Werror 2>&1 |
    grep -E 'error:' | cut -d: -f1 | sort | uniq -c | sort -rn >"${TMPDIR:-/tmp}/format.$$"
cat "${TMPDIR:-/tmp}/format.$$"
[ ! -s "${TMPDIR:-/tmp}/format.$$" ]
status=$?
rm -f "${TMPDIR:-/tmp}/format.$$"
exit $status
