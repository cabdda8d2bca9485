#!/usr/bin/env python3
"""check.py EMULATOR GUEST-PROGRAM HOST-PROGRAM: both must print the same and exit with the same status."""
import difflib
import os
import subprocess
import sys


def run(*command):
    p = subprocess.run([*command, "one argument"], capture_output=True, text=True, timeout=60,
                       env=dict(os.environ, MYNA_TEST="set"))
    return p.stdout.splitlines() + [f"exit status {p.returncode}"], p.stderr


emulator, guest, host = sys.argv[1:]
got, errors = run(emulator, guest)
want, _ = run(host)
if got != want:
    print("\n".join(difflib.unified_diff(want, got, "host", "guest", lineterm="")), errors, sep="\n")
sys.exit(got != want)
