#!/usr/bin/env python3
"""check.py EMULATOR GUEST-PROGRAM HOST-PROGRAM [OPTION...]: both must print the same and exit with the same status; the emulator gets the options."""
import difflib
import os
import subprocess
import sys


def run(*command):
    p = subprocess.run([*command, "one argument"], capture_output=True, text=True, timeout=600,
                       env=dict(os.environ, MYNA_TEST="set"))
    return p.stdout.splitlines() + [f"exit status {p.returncode}"], p.stderr


emulator, guest, host, *options = sys.argv[1:]
got, errors = run(emulator, *options, guest)
want, _ = run(host)
if got != want:
    print("\n".join(difflib.unified_diff(want, got, "host", "guest", lineterm="")), errors, sep="\n")
if "verify:" in errors:
    sys.exit(errors)
sys.exit(got != want)
