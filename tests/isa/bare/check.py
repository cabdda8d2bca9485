#!/usr/bin/env python3
"""Runs the bare-metal program and compares what it prints: check.py EMULATOR PROGRAM MODEL EXPECTED."""
import difflib
import subprocess
import sys

emulator, program, model, expected = sys.argv[1:]
out = subprocess.run([emulator, "-M", "virt", "-cpu", model, "-smp", "4", "-nic", "none", "-nographic",
                      "-kernel", program], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                     timeout=100)
ours, theirs = out.stdout.replace("\r", "").splitlines(), open(expected).read().splitlines()
difference = list(difflib.unified_diff(theirs, ours, "expected", "ours", lineterm="", n=0))
print("\n".join(difference) + out.stderr)
sys.exit(bool(difference) or out.returncode != 0)
