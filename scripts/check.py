#!/usr/bin/env python3
"""Builds and tests everything, and ends with one line: N passed, N failed[, N skipped].

The numbers are those of meson's JUnit report, one per test case; a build counts as one case and a
build that fails as one failure. Before it stand the names of what failed, and of what was skipped with the reason. --full adds the slow suites and the thread sanitizer.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The builds: folder, compiler, meson options, arguments of the test run (None: build only). The time limits in the meson.build files
# are those of an idle machine; what hangs is found out all the same.
PATIENT = ["--timeout-multiplier", "5"]
MAIN = ("build", "gcc", [], ["--no-suite", "slow", *PATIENT])
CLANG = ("build-clang", "clang", [], None)
UNITS = ["--suite", "unit", *PATIENT]
ASAN = ("build-asan", "clang", ["-Db_sanitize=address,undefined", "-Db_lundef=false"], UNITS)
TSAN = ("build-tsan", "clang", ["-Db_sanitize=thread", "-Db_lundef=false"], ["--suite", "threads", *UNITS])
ENV = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=0:allocator_may_return_null=1:abort_on_error=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


# What a failing test prints is in the report as it is: a console's control characters.
NOT_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


class Count:
    passed = failed = skipped = 0
    failures = []
    skips = []

    def add(self, name, result, reason=None):
        setattr(self, result, getattr(self, result) + 1)
        if result == "failed":
            self.failures.append(name)
        elif result == "skipped":
            self.skips.append(f"{name}: {reason or 'no reason given'}")


def run(*argv, **kw):
    print("+", " ".join(argv), flush=True)
    return subprocess.run(argv, cwd=TOP, **kw).returncode


def build(folder, compiler, options, count):
    env = dict(os.environ, CC=compiler)
    ok = os.path.exists(os.path.join(TOP, folder, "build.ninja")) or not run(
        "meson", "setup", folder, *options, env=env)
    ok = ok and not run("ninja", "-C", folder, "-k0")
    count.add(f"{folder}: the build", "passed" if ok else "failed")
    return ok


def skip_reasons(rows):
    """What the tests say of the cases they skip, which the JUnit report leaves out: by program, and the case's name in it."""
    reasons = {}
    for row in rows:
        said = row.get("stdout") or ""
        for case, reason in re.findall(r"(?m)^ok\b *\d* *(?:- )?(.*?) *# SKIP *(.*)$", said):
            reasons[row["name"], case] = reason
        for reason in re.findall(r"(?m)^1\.\.0 *# SKIP *(.*)$", said):
            reasons[row["name"], None] = reason
    return reasons


def count_report(folder, count, reasons):
    """One case for each cmocka test, or for a program that reports none."""
    with open(os.path.join(TOP, folder, "meson-logs/testlog.junit.xml"), encoding="utf-8", errors="replace") as f:
        text = NOT_XML.sub("?", f.read())
    for suite in ET.fromstring(text).iter("testsuite"):
        for case in suite.iter("testcase"):
            bad = case.find("failure") is not None or case.find("error") is not None
            skip = case.find("skipped") is not None
            name = f"{folder}: {suite.get('name')}: {case.get('name')}"
            title = re.match(r"(?:\d+ )?(?:- )?(.*)", case.get("name")).group(1)
            reason = next((r for (program, said), r in reasons.items()
                           if program in name and said in (title, None)), None) if skip else None
            count.add(name, "failed" if bad else "skipped" if skip else "passed", reason)


def add_unreported(rows, folder, count):
    """Programs that failed though each of their cases passed: a leak found at the end, a crash on the way out."""
    for row in rows:
        if row["result"] in ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT") and not any(row["name"] in f for f in count.failures):
            count.add(f"{folder}: {row['name']}: {row['result'].lower()}", "failed")


def test(folder, arguments, count):
    report, log = (os.path.join(TOP, folder, "meson-logs", f) for f in ("testlog.junit.xml", "testlog.json"))
    for old in (report, log):
        if os.path.exists(old):
            os.unlink(old)
    code = run("meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", *arguments,
               env=dict(ENV, **os.environ))
    before = count.failed
    rows = [json.loads(line) for line in open(log)] if os.path.exists(log) else []
    if os.path.exists(report):
        count_report(folder, count, skip_reasons(rows))
    add_unreported(rows, folder, count)
    if code and count.failed == before:
        count.add(f"{folder}: meson test", "failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    full = parser.parse_args().full
    count, start = Count(), time.time()
    for folder, compiler, options, arguments in [MAIN, CLANG, ASAN] + ([TSAN] if full else []):
        if build(folder, compiler, options, count) and arguments is not None:
            test(folder, PATIENT if full and folder == MAIN[0] else arguments, count)
    for name in count.failures:
        print("FAILED", name)
    for skip in count.skips:
        print("SKIPPED", skip)
    print(f"took {time.time() - start:.0f} s")
    skipped = f", {count.skipped} skipped" if count.skipped else ""
    print(f"{count.passed} passed, {count.failed} failed{skipped}")
    sys.exit(1 if count.failed or not count.passed else 0)


main()
