#!/usr/bin/env python3
"""Runs a bare-metal program and compares what it prints: check.py EMULATOR PROGRAM MODEL EXPECTED [OPTION...].
EXPECTED is a text file, or a program of this host that prints the same; the emulator gets the options."""
import difflib
import subprocess
import sys

emulator, program, model, expected, *options = sys.argv[1:]
out = subprocess.run([emulator, "-M", "virt", "-cpu", model, "-smp", "4", "-nic", "none", "-nographic",
                      "-kernel", program, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                     timeout=100)
if expected.endswith(".txt"):
    want = open(expected).read()
else:
    want = subprocess.run([expected], capture_output=True, text=True, check=True).stdout
ours, theirs = out.stdout.replace("\r", "").splitlines(), want.splitlines()
difference = list(difflib.unified_diff(theirs, ours, "expected", "ours", lineterm="", n=0))
print("\n".join(difference) + out.stderr)
sys.exit("verify:" in out.stderr or bool(difference) or not theirs or out.returncode != 0)
