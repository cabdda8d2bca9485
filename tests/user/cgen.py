"""Random C programs without undefined behaviour: a seed gives a program whose output every compiler, level and machine must agree on.

Integers wrap in unsigned types, divisors and shift counts are made safe, floating point converts to integers by clamping, and NaNs are
counted but never printed. Contraction must be off (-ffp-contract=off). Three kinds of functions: scalar expressions, loops over arrays
that invite vectorisation, and calls (structures by value, variable arguments, pointers, long jumps, atomics)."""
import random

INTS = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"]
FPS = ["f32", "f64"]
BITS = {"u8": 8, "s8": 8, "u16": 16, "s16": 16, "u32": 32, "s32": 32, "u64": 64, "s64": 64, "f32": 32, "f64": 64}
LEN = 67  # of every array: no multiple of a vector's lanes

PRELUDE = r"""
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
typedef uint8_t u8; typedef int8_t s8; typedef uint16_t u16; typedef int16_t s16; typedef uint32_t u32; typedef int32_t s32;
typedef uint64_t u64; typedef int64_t s64; typedef float f32; typedef double f64; typedef __int128 s128; typedef unsigned __int128 u128;
static u64 hash = 14695981039346656037u;
static void mix(u64 v) { hash = (hash ^ v) * 1099511628211u; hash ^= hash >> 29; }
static void mix_f64(f64 v) { u64 b; memcpy(&b, &v, 8); mix(v != v ? 0x7ff8 : b); }
static void mix_f32(f32 v) { u32 b; memcpy(&b, &v, 4); mix(v != v ? 0x7fc0 : b); }
static void show(const char *name) { printf("%s %016llx\n", name, (unsigned long long)hash); }
static u64 state = SEED;
static u64 next(void) { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return state * 2685821657736338717u; }
static f64 next_f64(void) { u64 r = next(); f64 v = (f64)(s64)next() / (f64)(1ull << (r & 63)); return r >> 60 == 0 ? 0.0 : r >> 60 == 1 ? (f64)(s32)r : r >> 60 == 2 ? 1.0 / 0.0 * (r & 64 ? 1 : -1) : v; }
#define DIVS(T, U, MIN) static T div_##T(T a, T b) { return b == 0 || (b == -1 && a == MIN) ? a : a / b; } static T rem_##T(T a, T b) { return b == 0 || (b == -1 && a == MIN) ? b : a % b; }
#define DIVU(T) static T div_##T(T a, T b) { return b ? a / b : a; } static T rem_##T(T a, T b) { return b ? a % b : b; }
DIVS(s8, u8, INT8_MIN) DIVS(s16, u16, INT16_MIN) DIVS(s32, u32, INT32_MIN) DIVS(s64, u64, INT64_MIN) DIVU(u8) DIVU(u16) DIVU(u32) DIVU(u64)
#define TO(T, LO, HI) static inline T to_##T(f64 v) { return v != v ? 7 : v <= (f64)LO ? LO : v >= (f64)HI ? HI : (T)v; }
TO(s8, INT8_MIN, INT8_MAX) TO(s16, INT16_MIN, INT16_MAX) TO(s32, INT32_MIN, INT32_MAX) TO(s64, INT64_MIN, INT64_MAX) TO(u8, 0, UINT8_MAX) TO(u16, 0, UINT16_MAX) TO(u32, 0, UINT32_MAX) TO(u64, 0, UINT64_MAX)
static inline f64 plain(f64 v) { return v != v ? 1 : v; }
static u64 rotate(u64 v, unsigned n, unsigned bits) { n %= bits; return n ? v << n | v >> (bits - n) : v; }
"""


class Program:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.out = [PRELUDE.replace("SEED", "%du" % (seed * 2654435761 % 2 ** 31 + 1))]
        self.calls = []

    # ---- expressions ----

    def constant(self, t):
        r = self.r
        if t in FPS:
            return "(%s)%s" % (t, r.choice(["0.0", "-0.0", "1.0", "0.5", "-2.25", "3.14159265358979", "1e10", "-7e-9", "1e-310", "16777217.0"]))
        v = r.choice([0, 1, 2, 3, 5, 7, 255, 256, 0x7f, 0x80, 0xffff, 0x7fffffff, 0x80000000, r.getrandbits(8), r.getrandbits(16), r.getrandbits(64), 2 ** 64 - 1])
        return "(%s)%du" % (t, v) if v < 2 ** 32 else "(%s)%dull" % (t, v)

    def cast(self, to, have, text):
        if to in INTS and have in FPS:
            return "to_%s(%s)" % (to, text)
        return "(%s)(%s)" % (to, text)

    def expr(self, t, names, depth):
        """An expression of type t over names: {type: [text]}."""
        r = self.r
        if depth <= 0 or r.random() < 0.12:
            have = [x for x in names if names[x]]
            if not have or r.random() < 0.2:
                return self.constant(t)
            x = t if names.get(t) and r.random() < 0.6 else r.choice(have)
            return self.cast(t, x, r.choice(names[x])) if x != t else r.choice(names[x])
        sub = lambda u=t: self.expr(u, names, depth - 1)
        if r.random() < 0.12:
            c = r.choice(INTS + FPS)
            return "(%s %s %s ? %s : %s)" % (sub(c), r.choice(["<", "<=", ">", ">=", "==", "!="]), sub(c), sub(), sub())
        if r.random() < 0.15:
            u = r.choice(INTS + FPS)
            return self.cast(t, u, sub(u))
        if t in FPS:
            k = r.random()
            f = "f" if t == "f32" else ""
            if k < 0.6:
                return "(%s)(%s %s %s)" % (t, sub(), r.choice("+-*/"), sub())
            if k < 0.75:
                return "%s%s(%s)" % (r.choice(["fabs", "sqrt", "floor", "ceil", "trunc", "rint"]), f, sub())
            if k < 0.85:
                return "fma%s(%s, %s, %s)" % (f, sub(), sub(), sub())
            return r.choice(["copysign%s(%s, plain(%s))" % (f, sub(), sub()), "(-%s)" % sub()])
        w = "u64" if BITS[t] == 64 else "u32"
        k = r.random()
        if k < 0.5:
            return "(%s)((%s)%s %s (%s)%s)" % (t, w, sub(), r.choice(["+", "-", "*", "&", "|", "^", "+", "-"]), w, sub())
        if k < 0.62:
            return "(%s)((%s)%s << (%s & %d))" % (t, w, sub(), sub("u32"), BITS[t] - 1)
        if k < 0.72:
            return "(%s)(%s >> (%s & %d))" % (t, sub(), sub("u32"), BITS[t] - 1)
        if k < 0.8:
            return "%s_%s(%s, %s)" % (r.choice(["div", "rem"]), t, sub(), sub())
        if k < 0.85:
            return "(%s)rotate(%s, %s, %d)" % (t, sub("u" + t[1:]), sub("u8"), BITS[t])
        if k < 0.9:
            return "(%s)%s" % (t, r.choice(["__builtin_popcountll(%s)", "__builtin_clzll(1 | %s)", "__builtin_ctzll(1ull << 63 | %s)", "__builtin_bswap64(%s)", "__builtin_parityll(%s)"]) % sub("u64"))
        if k < 0.95:
            return "(%s)(((%s)%s * (%s)%s) >> %d)" % (t, "s128" if t[0] == "s" else "u128", sub("s64" if t[0] == "s" else "u64"), "s128" if t[0] == "s" else "u128", sub("s64" if t[0] == "s" else "u64"), r.choice([0, 7, 32, 64, 65]))
        return "(%s)%s%s" % (t, r.choice(["~", "-", "!"]), "(%s)%s" % (w, sub()))

    def mix(self, t, text):
        return "mix%s(%s);" % ("_" + t if t in FPS else "", text if t in FPS else "(u64)(%s)" % text)

    # ---- functions ----

    def scalar(self, n):
        r = self.r
        params = [(r.choice(INTS + FPS), "p%d" % i) for i in range(r.randint(1, 11))]  # more than fit in registers
        t = r.choice(INTS + FPS)
        names = {}
        for pt, p in params:
            names.setdefault(pt, []).append(p)
        body = []
        for i in range(r.randint(2, 6)):
            vt = r.choice(INTS + FPS)
            body.append("%s v%d = %s;" % (vt, i, self.expr(vt, names, 3)))
            names.setdefault(vt, []).append("v%d" % i)
        if r.random() < 0.6:
            body.append("switch (%s) { %s default: v0 = %s; }" % (
                self.expr("u32", names, 1) + " % 9",
                " ".join("case %d: v0 = %s; %s" % (i, self.expr(body[0].split()[0], names, 2), r.choice(["break;", "/* on */"])) for i in range(7)),
                self.expr(body[0].split()[0], names, 2)))
        body.append("return %s;" % self.expr(t, names, 3))
        self.out.append("static __attribute__((noinline)) %s scalar%d(%s) {\n    %s\n}" % (t, n, ", ".join("%s %s" % p for p in params), "\n    ".join(body)))
        args = ", ".join("next_f64()" if pt == "f64" else "(f32)next_f64()" if pt == "f32" else "(%s)next()" % pt for pt, _ in params)
        # Arguments are evaluated in no certain order: one statement each.
        sets = " ".join("%s a%d = %s;" % (pt, i, a) for i, ((pt, _), a) in enumerate(zip(params, args.split(", "))))
        self.calls.append("for (int i = 0; i < 40; i++) { %s %s } show(\"scalar%d\");" % (sets, self.mix(t, "scalar%d(%s)" % (n, ", ".join("a%d" % i for i in range(len(params))))), n))

    def loop(self, n):
        r = self.r
        arrays = [(r.choice(INTS + FPS), "a%d" % i) for i in range(r.randint(2, 4))]
        step = r.choice([1, 1, 1, 2, 3])
        index = r.choice(["i", "i", "i * %d %% LEN" % step, "(LEN - 1 - i)"])
        names = {"s32": ["i"]}
        for at, a in arrays[1:]:
            names.setdefault(at, []).append("%s[%s]" % (a, r.choice(["i", index])))
        t, dst = arrays[0]
        body = []
        acc = r.choice(INTS)
        kind = r.random()
        if kind < 0.25:
            body.append("for (int i = 0; i < n; i++) %s[i] = %s;" % (dst, self.expr(t, names, 2)))
        elif kind < 0.5:
            body.append("for (int i = 0; i < n; i++) { %s v = %s; %s[i] = v < %s[i] ? v : (%s)(%s[i] %s v); }" % (
                t, self.expr(t, names, 2), dst, dst, t, dst, r.choice("+-*")) if t in FPS or BITS[t] < 32 else
                "for (int i = 0; i < n; i++) { %s v = %s; if (%s) %s[i] = v; }" % (t, self.expr(t, names, 2), self.expr("u32", names, 1), dst))
        elif kind < 0.75:
            w = "u64" if BITS[acc] == 64 else "u32"
            body.append("%s sum = 0, least = %s; for (int i = 0; i < n; i++) { %s v = %s; sum = (%s)((%s)sum %s (%s)v); least = v < least ? v : least; } mix((u64)sum); mix((u64)least);" % (
                acc, self.constant(acc), acc, self.expr(acc, names, 2), acc, w, r.choice("+-^+"), w))
        else:
            body.append("for (int i = 0; i + 1 < n; i++) { %s[i] = %s; %s[i + 1] ^= 1; }" % (dst, self.expr(t, names, 1), dst) if t in INTS else
                        "for (int i = 1; i < n; i++) { %s[i] = %s[i - 1] * 0.5f + %s; }" % (dst, dst, self.expr(t, names, 1)))
        self.out.append("static __attribute__((noinline)) void loop%d(%s, int n) {\n    %s\n}" % (n, ", ".join("%s *restrict %s" % a for a in arrays), "\n    ".join(body)))
        fill = " ".join("static %s %s[LEN]; for (int i = 0; i < LEN; i++) %s[i] = %s;" % (at, a, a, "(%s)next_f64()" % at if at in FPS else "(%s)next()" % at) for at, a in arrays)
        self.calls.append("{ %s for (int n = LEN; n > 0; n -= 9) { loop%d(%s, n); for (int i = 0; i < LEN; i++) { %s } } show(\"loop%d\"); }" % (
            fill, n, ", ".join(a for _, a in arrays), self.mix(t, dst + "[i]"), n))

    def structs(self, n):
        r = self.r
        shape = r.choice(["any", "hfa32", "hfa64", "bits", "big"])
        fields = ([("f32", "m%d" % i, "") for i in range(r.randint(1, 4))] if shape == "hfa32" else [("f64", "m%d" % i, "") for i in range(r.randint(1, 4))] if shape == "hfa64" else
                  [(r.choice(["u32", "s32", "u64", "s64"]), "m%d" % i, " : %d" % r.randint(1, 29)) for i in range(r.randint(2, 7))] if shape == "bits" else
                  [(r.choice(INTS + FPS), "m%d" % i, "") for i in range(r.randint(5, 9) if shape == "big" else r.randint(1, 4))])
        fields = [("u64", m, " : 40") if w and t in ("u64",) and r.random() < .3 else (t, m, w) for t, m, w in fields]
        names = {"u32": ["k"]}
        for t, m, _ in fields:
            names.setdefault(t, []).append("a." + m)
        extra = [(r.choice(INTS + FPS), "x%d" % i) for i in range(r.randint(0, 9))]
        for t, x in extra:
            names.setdefault(t, []).append(x)
        self.out.append("struct s%d { %s };" % (n, " ".join("%s %s%s;" % f for f in fields)))
        self.out.append("static __attribute__((noinline)) struct s%d change%d(%s struct s%d a, u32 k) {\n    struct s%d b = a;\n    %s\n    return k %% 5 ? change%d(%s b, k - 1) : b;\n}" % (
            n, n, "".join("%s %s, " % x for x in extra), n, n, "\n    ".join("b.%s = %s;" % (m, self.expr(t, names, 2)) for t, m, _ in fields), n, "".join("%s, " % x for _, x in extra)))
        init = " ".join("a.%s = %s;" % (m, "(%s)next_f64()" % t if t in FPS else "(%s)next()" % t) for t, m, _ in fields)
        args = "".join("(%s)%s, " % (t, "1.5" if t in FPS else "i * 77") for t, _ in extra)
        self.calls.append("for (u32 i = 0; i < 12; i++) { struct s%d a; %s struct s%d (*volatile fn)(%s struct s%d, u32) = change%d; a = fn(%s a, i); %s } show(\"change%d\");" % (
            n, init, n, "".join(t + "," for t, _ in extra), n, n, args, " ".join(self.mix(t, "a." + m) for t, m, _ in fields), n))

    def varargs(self, n):
        r = self.r
        wide = ["s32", "u32", "s64", "u64", "f64"]
        kinds = [r.choice(wide) for _ in range(r.randint(3, 18))]
        self.out.append("static __attribute__((noinline)) void take%d(int count, ...) {\n    va_list l, again; va_start(l, count); va_copy(again, l);\n    %s\n    %s\n    va_end(again); va_end(l);\n}" % (
            n, "\n    ".join(self.mix(k, "va_arg(l, %s)" % k) for k in kinds), "\n    ".join(self.mix(k, "va_arg(again, %s)" % k) for k in kinds[:r.randint(1, len(kinds))])))
        self.calls.append("take%d(%d, %s); show(\"take%d\");" % (n, len(kinds), ", ".join(self.constant(k) for k in kinds), n))

    def jumps(self, n):
        r = self.r
        self.out.append("static jmp_buf env%d;\nstatic __attribute__((noinline)) u64 deep%d(u32 k, f64 f) {\n    volatile char room[%d]; room[k %% %d] = (char)k;\n    if (k %% 13 == %d) longjmp(env%d, (int)k + 1);\n    return k ? deep%d(k - 1, f * 1.5) + (u8)room[k %% %d] : (u64)to_u64(f);\n}" % (
            n, n, *(2 * [r.randint(16, 300)]), r.randint(0, 12), n, n, 16))
        self.calls.append("for (volatile u32 i = 0; i < 30; i++) { f64 keep = i * 0.25; volatile u64 got = 0; int j = setjmp(env%d); if (!j) got = deep%d(i, 1.25); mix(got + (u64)j); mix_f64(keep * 0 + i); } show(\"deep%d\");" % (n, n, n))

    def atomics(self, n):
        r = self.r
        t = r.choice(INTS)
        ops = ["__atomic_%s(&cell, (%s)next(), %s)" % (r.choice(["fetch_add", "fetch_sub", "fetch_and", "fetch_or", "fetch_xor", "fetch_nand", "add_fetch", "exchange_n"]), t, r.choice(["__ATOMIC_RELAXED", "__ATOMIC_SEQ_CST", "__ATOMIC_ACQ_REL"])) for _ in range(8)]
        self.calls.append("{ static %s cell; %s want = cell; for (int i = 0; i < 20; i++) { %s want = (%s)(i %% 3 ? cell : want); mix((u64)__atomic_compare_exchange_n(&cell, &want, (%s)next(), i & 1, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) * 0 + (u64)want); mix((u64)__atomic_load_n(&cell, __ATOMIC_ACQUIRE)); } show(\"atomic%d\"); }" % (
            t, t, " ".join("mix((u64)%s);" % o for o in ops), t, t, n))

    def strings(self, n):
        r = self.r
        size = r.choice([63, 200, 1025])
        moves = []
        for _ in range(10):
            length = r.choice([0, 1, 3, 8, 15, 16, 17, 31, 33, size // 2, r.randint(0, size // 2)])
            a, b = r.randint(0, size - length), r.randint(0, size - length)
            moves.append(r.choice(["memmove(b + %d, b + %d, %d);" % (a, b, length), "memset(b + %d, %d, %d);" % (a, r.randint(0, 255), length),
                                   "mix((u64)(memcmp(b + %d, b + %d, %d) > 0));" % (a, b, length), "mix((u64)((u8 *)memchr(b, %d, %d) != NULL));" % (r.randint(0, 255), size)]))
        self.calls.append("{ static u8 b[%d]; for (int i = 0; i < %d; i++) b[i] = (u8)next(); for (int k = 0; k < 5; k++) { %s } b[%d] = 0; mix(strlen((char *)b)); for (int i = 0; i < %d; i++) mix(b[i]); show(\"string%d\"); }" % (
            size, size, " ".join(moves), size - 1, size, n))

    def text(self):
        makers = [(self.scalar, 14), (self.loop, 16), (self.structs, 5), (self.varargs, 3), (self.jumps, 2), (self.atomics, 3), (self.strings, 2)]
        self.out.append("enum { LEN = %d };" % LEN)
        for make, count in makers:
            for n in range(count):
                make(n)
        self.out.append("int main(void) {\n    %s\n    return 0;\n}" % "\n    ".join(self.calls))
        return "\n".join(self.out) + "\n"


def program(seed):
    return Program(seed).text()
