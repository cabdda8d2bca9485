#!/usr/bin/env python3
"""manual.py PAGE.in TABLE.def OUTPUT VERSION: a page of the manual. In it a line "@TABLE LAYOUT@" becomes the rows of an option table that the program has its help from, so that no option
is without a word. LAYOUT: system (name, takes a value, function, value, help), user (name, value, variable, function, help), img (name, arguments, help)."""
import re
import sys

FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,\s][^,]*)')


def rows(path):
    for line in open(path):
        m = re.fullmatch(r"[A-Z]+\((.*)\)\n?", line)
        if m:
            yield [None if bare.strip() == "NULL" else text or bare.strip() for text, bare in FIELD.findall(m.group(1))]


def roff(text):
    """Text that roff takes as it is."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("…", "...")


def entry(term, text):
    return ".TP\n%s\n%s\n" % (term, roff(text[0].upper() + text[1:] + "."))


def option(name, value, text):
    return entry(".BI %s%s" % (roff("-" + name), ' " ' + roff(value).replace('"', '\\(dq') + '"' if value else ""), text)


LAYOUTS = {
    "system": lambda name, takes, function, value, text: option(name, value, text),
    "user": lambda name, value, variable, function, text: option(name, value, text + (" (environment: %s)" % variable if variable else "")),
    "img": lambda name, args, text: entry(".BI %s \" %s\"" % (roff(name), roff(args)), text),
}


def main():
    page, table, output, version = sys.argv[1:]
    text = open(page).read().replace("@VERSION@", version)
    for line in set(re.findall(r"^@TABLE \w+@\n", text, re.M)):
        layout = LAYOUTS[line.split()[1].rstrip("@")]
        text = text.replace(line, "".join(layout(*r) for r in rows(table)))
    with open(output, "w") as f:
        f.write(text)


main()
