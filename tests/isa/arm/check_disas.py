#!/usr/bin/env python3
"""Compares our A64 disassembly with objdump's over the text of ELF files: check_disas.py TOOL OBJDUMP ELF...

Only spelling that carries no meaning is levelled out: spaces, symbol names and comments. Words the
decoder does not know are counted apart from words it prints differently. Exit status 1 if anything
that both know is printed differently.
"""
import collections
import re
import subprocess
import sys


def sections(objdump, elf):
    out = subprocess.run([objdump, "-h", elf], capture_output=True, text=True, check=True).stdout
    for m in re.finditer(r"^\s*\d+ (\S+)\s+(\w+)\s+(\w+)\s+\w+\s+(\w+)\s.*\n\s+(.*)$", out, re.M):
        if "CODE" in m[5]:
            yield m[1], int(m[2], 16), int(m[3], 16), int(m[4], 16)


def level(text):
    text = re.sub(r"\s*//.*| <.*>", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    m = re.fullmatch(r"((?:b|bl|b\.\w+|cbn?z|tbn?z|adrp?|ldr|ldrsw|prfm) .*?)\b([0-9a-f]+)", text)
    if m and not m[1].endswith("#") and not re.search(r"[xw]$", m[1]):
        text = f"{m[1]}0x{m[2]}"
    return text


# A register or operation one side has no name for.
UNNAMED = re.compile(r"\bs\d_\d_c\d+_c\w+_\d\b|^sys #|hint #")


def main():
    tool, objdump, *elves = sys.argv[1:]
    total = same = unknown = 0
    different, missing = collections.Counter(), collections.Counter()
    for elf in elves:
        theirs = {}
        dump = subprocess.Popen([objdump, "-d", "-z", elf], stdout=subprocess.PIPE, text=True)
        for line in dump.stdout:
            if m := re.match(r"\s*([0-9a-f]+):\t([0-9a-f]{8}) \t(.*)", line):
                theirs[int(m[1], 16)] = level(m[3])
        for _, size, address, offset in sections(objdump, elf):
            out = subprocess.run([tool, elf, str(offset), str(size), str(address)],
                                 capture_output=True, text=True, check=True).stdout
            for line in out.splitlines():
                pc, word, text = line.split(" ", 2)
                text, their = level(text), theirs.get(int(pc, 16))
                if their is None or their.startswith(".word") or their.startswith(".inst"):
                    continue
                if ".inst" in their or "undefined" in their:
                    continue
                total += 1
                if text == their or UNNAMED.search(text) or UNNAMED.search(their):
                    same += 1
                elif text == ".undefined":
                    unknown += 1
                    missing[their.split()[0]] += 1
                else:
                    different[f"{word} ours {text!r} theirs {their!r}"] += 1
    bad = sum(different.values())
    print(f"{total} instructions: {same} alike, {unknown} unknown to us, {bad} different")
    for text, n in different.most_common(40):
        print(f"  {n}x {text}")
    print("  unknown:", ", ".join(f"{k} {n}" for k, n in missing.most_common(60)))
    return bad != 0


sys.exit(main())
