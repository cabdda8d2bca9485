#!/usr/bin/env python3
"""traces.py OUTPUT SOURCE...: the names of all trace points in the sources, alphabetical: TRACE_NAME(name)."""
import re, sys

names = set()
for path in sys.argv[2:]:
    if path.endswith((".c", ".h")):
        names.update(re.findall(r"\bTRACE\((\w+)\s*,", open(path, encoding="utf-8").read()))
names.discard("name_")
text = "".join("TRACE_NAME(%s)\n" % n for n in sorted(names))
try:
    same = open(sys.argv[1]).read() == text
except OSError:
    same = False
if not same:
    open(sys.argv[1], "w").write(text)
