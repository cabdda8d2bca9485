#!/usr/bin/env python3
"""Turns .decode files into a decoder, a disassembler and the table random instructions come from.

Several files make one instruction set; the first says which. A .decode file has one line per
instruction that looks like the manual's own diagram:

    isa a64 isa/arm             prefix of everything generated; its folder, as includes name it,
                                whose a64/print.h declares how operands are printed
    include "isa/arm/arm.h"     for the generated .c files
    feature-prefix ARM_         what an @feature becomes: @lse is ARM_LSE
    field Rd 5                  width of a field; s9 is signed; what a bare name in a diagram means
    variants 32 64              of the architecture (a register's width, say): an instruction that
                                only one has is marked %32 or %64, and decoders ask for which
    operand Rd|SP  regsp(sf, Rd)    what <Rd|SP> prints: PREFIX_print_regsp(out, i->sf, i->Rd)

    == Data processing: immediate ==
    addsub_imm:
    ADD_imm   sf op=0 S=0 100010 sh imm12 Rn Rd    add <Rd|SP>, <Rn|SP>, #<imm12><sh>  @feat %64 where COND
        mov <Rd|SP>, <Rn|SP>   if COND

'== ... ==' names a group, 'name:' a class: the instructions one lift function PREFIX_lift_name
serves. A diagram is read from the most significant bit:

    0110        fixed bits                      (1)  ignored, should be 1       x  ignored
    Rd          a declared field                imm:5  a field of that width
    opc=01      fixed bits that are also a field
    imm[4:2]  imm[1]  imm[0]=1                  pieces of a field, the last one fixed

It ends when the word is full (16 bits for a line whose name ends in '.16' in files that say
'widths 16 32'). After it comes the assembler syntax, in which <x> is an operand, or a field printed
in decimal. Indented lines are preferred disassemblies with their condition. Conditions are C over
field names. An earlier line wins over a later one; a line that an earlier one hides completely is
an error.
"""
import re
import sys


def fail(where, text):
    sys.exit(f"{where}: {text}")


class Insn:
    def __init__(self, where, name, group, cls, width):
        self.where, self.name, self.group, self.cls, self.width = where, name, group, cls, width
        self.mask = self.value = self.ones = self.zeros = 0
        self.pieces = {}  # field -> [(bit of the word, bits, bit of the field)]
        self.bits = {}  # field -> total width
        self.syntax, self.aliases, self.feature, self.cond = "", [], None, None
        self.variant = 0  # 0: of every variant

    def format(self):
        return tuple((f, tuple(p)) for f, p in sorted(self.pieces.items()))


class Spec:
    def __init__(self, paths):
        self.prefix = self.folder = None
        self.includes, self.feature_prefix = [], ""
        self.widths = [32]
        self.variants = []
        self.fields = {}  # name -> (bits of the widest use, signed)
        self.declared = {}  # name -> bits of a bare name
        self.operands = {}
        self.insns, self.groups, self.classes = [], [], []
        for path in paths:
            self.read(path)
        self.check()

    def read(self, path):
        group = cls = None
        for number, line in enumerate(open(path), 1):
            where = f"{path}:{number}"
            text = re.sub(r"(^|\s)#\s.*$", "", line.rstrip("\n")).rstrip()
            if not text.strip() or text.strip() == "#":
                continue
            if text[0].isspace():
                if not self.insns:
                    fail(where, "an alias before the first instruction")
                self.insns[-1].aliases.append(self.alias(where, text.strip()))
            elif m := re.fullmatch(r"== (.*) ==", text):
                group = m[1]
                self.groups.append(group)
            elif m := re.fullmatch(r"(\w+):", text):
                cls = m[1]
                self.classes.append(cls)
            elif not self.directive(where, text.split(None, 1)):
                if group is None or cls is None:
                    fail(where, "an instruction outside every group and class")
                self.insns.append(self.insn(where, text, group, cls))

    def directive(self, where, words):
        word, rest = words[0], (words[1] if len(words) > 1 else "")
        if word == "isa":
            self.prefix, self.folder = rest.split()
        elif word == "include":
            self.includes.append(rest)
        elif word == "feature-prefix":
            self.feature_prefix = rest
        elif word == "widths":
            self.widths = [int(w) for w in rest.split()]
        elif word == "variants":
            self.variants = [int(v) for v in rest.split()]
        elif word == "field":
            *names, bits = rest.split()
            for name in names:
                self.declared[name] = int(bits.lstrip("s"))
                self.fields[name] = (int(bits.lstrip("s")), bits.startswith("s"))
        elif word == "operand":
            name, _, how = rest.partition(" ")
            m = re.fullmatch(r"\s*(\w+)\((.*)\)", how)
            if not m:
                fail(where, f"operand {name}: expected function(arguments)")
            self.operands[name] = (m[1], m[2])
        else:
            return False
        return True

    def alias(self, where, text):
        m = re.fullmatch(r"(.*?)\s+if\s+(.*)", text)
        if not m:
            fail(where, "an alias needs 'if'")
        return m[1], m[2]

    def insn(self, where, text, group, cls):
        name, rest = text.split(None, 1)
        width = self.widths[-1]
        if m := re.fullmatch(r"(\w+)\.(\d+)", name):
            name, width = m[1], int(m[2])
        i = Insn(where, name, group, cls, width)
        left = width
        while left > 0:
            if not rest:
                fail(where, f"{name}: {width - left} bits of {width}")
            token, _, rest = rest.partition(" ")
            if token:
                left = self.place(where, i, token, left)
            rest = rest.lstrip()
        if left < 0:
            fail(where, f"{name}: {width - left} bits of {width}")
        if m := re.fullmatch(r"(.*?)(?:^|\s+)where\s+(.*)", rest):
            rest, i.cond = m[1], m[2]
        if m := re.fullmatch(r"(.*?)\s*%(\d+)", rest):
            rest, i.variant = m[1], int(m[2])
            if i.variant not in self.variants:
                fail(where, f"{name}: no variant {i.variant}")
        if m := re.fullmatch(r"(.*?)\s*@(\w+)", rest):
            rest, i.feature = m[1], m[2]
        i.syntax = rest.strip()
        return i

    def place(self, where, i, token, left):
        """Put one token of a diagram below bit `left`; returns the bits left."""
        if re.fullmatch(r"[01x]+", token):
            for c in token:
                left -= 1
                if c != "x":
                    i.mask |= 1 << left
                    i.value |= int(c) << left
            return left
        if m := re.fullmatch(r"\(([01]+)\)", token):
            for c in m[1]:
                left -= 1
                i.ones |= int(c) << left
                i.zeros |= (1 - int(c)) << left
            return left
        if m := re.fullmatch(r"(\w+)=([01]+)", token):
            self.piece(where, i, m[1], left, len(m[2]), 0)
            return self.place(where, i, m[2], left)
        if m := re.fullmatch(r"(\w+)\[(\d+)(?::(\d+))?\](?:=([01]+))?", token):
            hi, lo = int(m[2]), int(m[3] or m[2])
            at = self.piece(where, i, m[1], left, hi - lo + 1, lo)
            return self.place(where, i, m[4], left) if m[4] else at
        if m := re.fullmatch(r"(\w+):(\d+)", token):
            return self.piece(where, i, m[1], left, int(m[2]), 0)
        if token not in self.declared:
            fail(where, f"{i.name}: unknown field {token}")
        return self.piece(where, i, token, left, self.declared[token], 0)

    def piece(self, where, i, name, left, bits, lo):
        left -= bits
        i.pieces.setdefault(name, []).append((left, bits, lo))
        i.bits[name] = max(i.bits.get(name, 0), lo + bits)
        old = self.fields.get(name)
        if old is None or old[0] < i.bits[name]:
            self.fields[name] = (i.bits[name], old[1] if old else False)
        return left

    def check(self):
        names = {}
        for n, b in enumerate(self.insns):
            if b.name in names:
                fail(b.where, f"{b.name} is defined twice")
            names[b.name] = b
            for a in self.insns[:n]:
                hides = (a.mask & b.mask) == a.mask and (b.value & a.mask) == a.value
                if hides and not a.cond and a.width == b.width and a.variant in (0, b.variant):
                    fail(b.where, f"{b.name} can never match: {a.name} hides it")


class Tree:
    """A look-up table per decision: an entry is a list of candidates or another table."""

    NODE = 0x8000

    def __init__(self, insns, width, numbers):
        self.table, self.nodes, self.lists, self.known = [], [], [0], {}
        self.numbers = numbers
        self.width = width
        self.root = self.build(insns, 0, 11 if width > 16 else 9)

    def leaf(self, insns):
        key = tuple(self.numbers[i.name] for i in insns)
        if not key:
            return 0
        if key not in self.known:
            self.known[key] = len(self.lists)
            self.lists.extend(key + (0,))
        return self.known[key]

    @staticmethod
    def split(insns, lo, bits):
        parts = [[] for _ in range(1 << bits)]
        mask = (1 << bits) - 1
        for i in insns:
            m, v = i.mask >> lo & mask, i.value >> lo & mask
            free = [b for b in range(bits) if not m >> b & 1]
            for n in range(1 << len(free)):
                parts[v | sum((n >> k & 1) << b for k, b in enumerate(free))].append(i)
        return parts

    def build(self, insns, seen, most):
        insns = self.prune(insns, seen)
        if len(insns) <= 2:
            return self.leaf(insns)
        best = None
        for bits in range(1, most + 1):
            for lo in range(0, self.width - bits + 1):
                if seen >> lo & ((1 << bits) - 1):
                    continue
                if any(bin(~i.mask >> lo & ((1 << bits) - 1)).count("1") > 8 for i in insns):
                    continue
                parts = self.split(insns, lo, bits)
                longest = max(len(p) for p in parts)
                if longest == len(insns):
                    continue
                cost = sum(len(p) ** 2 for p in parts) / len(parts) + longest + 0.01 * len(parts)
                if best is None or cost < best[0]:
                    best = (cost, lo, bits, parts)
        if best is None:
            return self.leaf(insns)
        _, lo, bits, parts = best
        base = len(self.table)
        self.table.extend([0] * len(parts))
        node = len(self.nodes)
        self.nodes.append((base, lo, (1 << bits) - 1))
        seen |= ((1 << bits) - 1) << lo
        cache = {}
        for n, p in enumerate(parts):
            key = tuple(i.name for i in p)
            if key not in cache:
                cache[key] = self.build(p, seen, 6)
            self.table[base + n] = cache[key]
        return self.NODE | node

    @staticmethod
    def prune(insns, seen):
        out = []
        for i in insns:
            out.append(i)
            if not i.cond and not i.variant and not i.mask & ~seen:
                break
        return out


class Writer:
    def __init__(self, spec):
        self.s = spec
        self.p, self.P = spec.prefix, spec.prefix.upper()
        self.formats = {}
        for i in spec.insns:
            self.formats.setdefault(i.format(), len(self.formats))
        self.numbers = {i.name: n for n, i in enumerate(spec.insns, 1)}

    def ctype(self, bits, signed):
        size = next(n for n in (8, 16, 32, 64) if bits <= n)
        return ("int" if signed else "uint") + f"{size}_t"

    def sub(self, expr):
        return re.sub(r"\b[A-Za-z_]\w*\b",
                      lambda m: "i->" + m[0] if m[0] in self.s.fields else m[0], expr)

    def header(self):
        s, p, P = self.s, self.p, self.P
        yield f'#pragma once\n#include "isa/decode.h"\n'
        yield f"enum {p}_id {{\n    {P}_UNDEFINED,"
        yield from (f"    {P}_{i.name}," for i in s.insns)
        yield f"    {P}_IDS,\n}};\n"
        yield f"// One decoded instruction: only the fields its diagram names are filled."
        yield f"struct {p}_insn {{\n    uint32_t raw;\n    uint16_t id; // enum {p}_id"
        order = sorted(s.fields.items(), key=lambda f: (-f[1][0], f[0]))
        yield from (f"    {self.ctype(*w)} {name};" for name, w in order)
        yield "};\n"
        variant = "unsigned variant, " if s.variants else ""
        for w in s.widths:
            yield f"// False: no instruction has this encoding."
            yield f"bool {p}_decode{w}(uint32_t raw, {variant}struct {p}_insn *i);"
        yield f"struct disas_out;\nvoid {p}_disas(struct disas_out *out, const struct {p}_insn *i);"
        yield f"extern const struct decode_info {p}_info[{P}_IDS];"
        yield f"struct lift;\ntypedef void {p}_lift_fn(struct lift *l, const struct {p}_insn *i);"
        yield f"extern {p}_lift_fn *const {p}_lifts[{P}_IDS];"
        yield from (f"{p}_lift_fn {p}_lift_{c};" for c in sorted(set(s.classes)))

    def decode(self):
        s, p, P = self.s, self.p, self.P
        yield f'#include "{self.s.folder}/{p}_decode.h"'
        yield from (f"#include {i}" for i in s.includes)
        yield f"\nconst struct decode_info {p}_info[{P}_IDS] = {{"
        for i in s.insns:
            feature = "1 + " + s.feature_prefix + i.feature.upper() if i.feature else "0"
            yield (f'    [{P}_{i.name}] = {{"{i.name}", "{i.cls}", "{i.group}", {i.mask:#x}, {i.value:#x}, '
                   f"{i.ones:#x}, {i.zeros:#x}, {i.width}, {self.formats[i.format()]}, {int(bool(i.cond))}, {feature}, {i.variant}}},")
        yield "};\n"
        yield from self.extract()
        yield from self.where()
        for w in s.widths:
            yield from self.tree(w)

    def lifts(self):
        s, p, P = self.s, self.p, self.P
        yield f'#include "{self.s.folder}/{p}_decode.h"\n'
        yield f"{p}_lift_fn *const {p}_lifts[{P}_IDS] = {{"
        yield from (f"    [{P}_{i.name}] = {p}_lift_{i.cls}," for i in s.insns)
        yield "};"

    def extract(self):
        p = self.p
        yield f"static void extract(unsigned format, uint32_t w, struct {p}_insn *i)\n{{"
        yield "    switch (format) {"
        for f, n in self.formats.items():
            yield f"    case {n}:"
            for name, pieces in f:
                yield f"        i->{name} = {self.field(name, pieces)};"
            yield "        break;"
        yield "    }\n}\n"

    def field(self, name, pieces):
        terms = []
        for at, bits, lo in pieces:
            t = f"(w >> {at} & {(1 << bits) - 1:#x})" if at else f"(w & {(1 << bits) - 1:#x})"
            terms.append(f"{t} << {lo}" if lo else t)
        value = " | ".join(terms)
        if self.s.fields[name][1]:
            width = max(lo + bits for _, bits, lo in pieces)
            value = f"(int32_t)(({value}) << {32 - width}) >> {32 - width}"
        return value

    def where(self):
        p, P = self.p, self.P
        yield f"static bool where(const struct {p}_insn *i)\n{{\n    switch (i->id) {{"
        for i in self.s.insns:
            if i.cond:
                yield f"    case {P}_{i.name}:\n        return {self.sub(i.cond)};"
        yield "    default:\n        return true;\n    }\n}\n"

    def tree(self, w):
        p = self.p
        t = Tree([i for i in self.s.insns if i.width == w], w, self.numbers)
        yield f"static const uint16_t table{w}[] = {{{', '.join(map(str, t.table)) or '0'}}};"
        yield f"static const uint16_t lists{w}[] = {{{', '.join(map(str, t.lists))}}};"
        nodes = ", ".join(f"{{{b}, {lo}, {m}}}" for b, lo, m in t.nodes)
        yield f"static const struct decode_node nodes{w}[] = {{{nodes or '{0}'}}};"
        variant = "unsigned variant, " if self.s.variants else ""
        other = "(info->variant && info->variant != variant) || " if self.s.variants else ""
        yield f"""
bool {p}_decode{w}(uint32_t raw, {variant}struct {p}_insn *i)
{{
    unsigned e = {t.root};
    while (e & {Tree.NODE:#x}) {{
        const struct decode_node *n = &nodes{w}[e & {Tree.NODE - 1:#x}];
        e = table{w}[n->base + (raw >> n->shift & n->mask)];
    }}
    i->raw = raw;
    for (const uint16_t *c = &lists{w}[e]; *c; c++) {{
        const struct decode_info *info = &{p}_info[*c];
        if ({other}(raw & info->mask) != info->value)
            continue;
        i->id = *c;
        extract(info->format, raw, i);
        if (!info->conditional || where(i))
            return true;
    }}
    i->id = {self.P}_UNDEFINED;
    return false;
}}
"""

    def disas(self):
        s, p, P = self.s, self.p, self.P
        yield f'#include "{self.s.folder}/{p}/print.h"\n'
        yield f"void {p}_disas(struct disas_out *out, const struct {p}_insn *i)\n{{\n    switch (i->id) {{"
        for i in s.insns:
            yield f"    case {P}_{i.name}:"
            for text, cond in i.aliases:
                yield f"        if ({self.sub(cond)}) {{"
                yield from ("    " + x for x in self.text(i, text))
                yield "            break;\n        }"
            yield from self.text(i, i.syntax)
            yield "        break;"
        yield "    }\n}"

    def text(self, insn, syntax):
        head, space, tail = syntax.partition(" ")
        parts = re.split(r"(<[^>]*>)", head)
        if space:
            parts += [None] + re.split(r"(<[^>]*>)", tail.strip())
        for part in parts:
            if part is None:
                yield "        disas_tab(out);"
            elif part.startswith("<"):
                yield f"        {self.operand(insn, part[1:-1])};"
            elif part:
                text = part.replace("\\", "\\\\").replace('"', '\\"')
                yield f'        disas_puts(out, "{text}");'

    def operand(self, insn, name):
        if name in self.s.operands:
            fn, args = self.s.operands[name]
            for word in re.findall(r"\b[A-Za-z_]\w*\b", args):
                if word in self.s.fields and word not in insn.pieces:
                    fail(insn.where, f"{insn.name}: operand <{name}> needs field {word}")
            args = ", ".join(filter(None, ["out", self.sub(args)]))
            return f"{self.p}_print_{fn}({args})"
        if name in insn.pieces:
            return f'disas_printf(out, "%d", (int)i->{name})'
        fail(insn.where, f"{insn.name}: unknown operand <{name}>")


def main():
    what, *paths, out = sys.argv[1:]
    w = Writer(Spec(paths))
    lines = {"header": w.header, "decode": w.decode, "disas": w.disas,
             "lifts": w.lifts}[what]
    text = "".join(line + "\n" for line in lines())
    with open(out, "w") as f:
        names = ", ".join(path.split("/")[-1] for path in paths)
        f.write(f"// Made by scripts/decode_gen.py from {names}.\n" + text)


if __name__ == "__main__":
    main()
