#!/usr/bin/env python3
"""Runs a bare-metal program and compares what it prints: check.py EMULATOR PROGRAM MODEL EXPECTED [OPTION...].
EXPECTED is a text file, or a program of this host that prints the same; the emulator gets the options.
With --switches as the only option it is run once with each optimisation of the translator off, and once with all."""
import difflib
import re
import subprocess
import sys

emulator, program, model, expected, *options = sys.argv[1:]


def failed(options):
    """Runs it, prints what differs; whether anything is wrong."""
    out = subprocess.run([emulator, "-M", "virt", "-cpu", model, "-smp", "4", "-nic", "none", "-nographic",
                          "-kernel", program, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=900)
    ours, theirs = out.stdout.replace("\r", "").splitlines(), want.splitlines()
    difference = list(difflib.unified_diff(theirs, ours, "expected", "ours", lineterm="", n=0))
    if bad := "verify:" in out.stderr or bool(difference) or not theirs or out.returncode != 0:
        print(" ".join(options), *difference, out.stderr, sep="\n")
    return bad


if expected.endswith(".txt"):
    want = open(expected).read()
else:
    want = subprocess.run([expected], capture_output=True, text=True, check=True).stdout
runs = [options]
if options == ["--switches"]:
    text = subprocess.run([emulator, "-accel", "dbt,help"], capture_output=True, text=True, check=True).stdout
    switches = ["%s=off" % s for s in re.findall(r"^ *(opt-[a-z-]+)=", text, re.M)]
    runs = [["-accel", "dbt," + s] for s in [*switches, ",".join(switches)] if s]
sys.exit(not runs or any([failed(r) for r in runs]))
