// The benchmark set: small kernels in eight classes, compiled for the guest and for the host, run
// with the same work everywhere. Each prints
//     kernel CLASS NAME NANOSECONDS CHECKSUM
// so that results are compared before times are. `kernels [pattern] [scale]`: scale multiplies the
// work. The nanoseconds are of CPU time.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOINLINE __attribute__((noinline))
// A value the compiler knows nothing about, so that no call is done once for all rounds.
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

// ---- integer ----
static uint64_t k_sieve(unsigned n)
{
    static uint8_t composite[1 << 16];
    uint64_t sum = 0;
    for (unsigned r = 0; r < n; r++) {
        memset(composite, 0, sizeof composite);
        for (unsigned i = 2; i < sizeof composite; i++)
            if (!composite[i]) {
                sum += i;
                for (unsigned j = i * 2; j < sizeof composite; j += i)
                    composite[j] = 1;
            }
    }
    return sum;
}

static uint64_t k_sort(unsigned n)
{
    static uint32_t a[4096];
    uint64_t sum = 0;
    for (unsigned r = 0; r < n; r++) {
        for (unsigned i = 0; i < 4096; i++)
            a[i] = (uint32_t)rnd();
        for (unsigned gap = 2048; gap; gap /= 2)
            for (unsigned i = gap; i < 4096; i++) {
                uint32_t v = a[i];
                unsigned j = i;
                for (; j >= gap && a[j - gap] > v; j -= gap)
                    a[j] = a[j - gap];
                a[j] = v;
            }
        sum += a[r % 4096];
    }
    return sum;
}

static uint64_t k_crc(unsigned n)
{
    uint32_t crc = ~0u;
    for (unsigned i = 0; i < n * 4096; i++) {
        crc ^= i & 0xff;
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return crc;
}

static uint64_t k_div(unsigned n)
{
    uint64_t s = 1, x = 0x123456789abcdefull;
    for (unsigned i = 1; i < n * 4096; i++) {
        s += x / (s | 1) + x % (i | 1);
        x = x * 6364136223846793005ull + 1;
    }
    return s;
}

static uint64_t k_hash(unsigned n)
{
    static uint64_t keys[1 << 14], vals[1 << 14];
    uint64_t found = 0;
    memset(keys, 0, sizeof keys);
    for (unsigned i = 0; i < n * 4096; i++) {
        uint64_t k = rnd() % 8192 + 1, h = k * 0x9e3779b97f4a7c15ull >> 50;
        while (keys[h] && keys[h] != k)
            h = (h + 1) & ((1 << 14) - 1);
        keys[h] = k;
        found += vals[h]++;
    }
    return found;
}

static uint64_t k_mix64(unsigned n)
{
    uint64_t a = 1, b = 2, c = 3, d = 4;
    for (unsigned i = 0; i < n * 16384; i++) {
        a += b;
        d = (d ^ a) << 32 | (d ^ a) >> 32;
        c += d;
        b = (b ^ c) << 24 | (b ^ c) >> 40;
        a += b + i;
        d ^= a >> 13;
    }
    return a ^ b ^ c ^ d;
}

// ---- calls ----
static NOINLINE uint64_t fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
static uint64_t k_fib(unsigned n)
{
    unsigned of = 20;
    uint64_t s = 0;
    for (unsigned i = 0; i < n; i++) {
        OPAQUE(of);
        s += fib(of);
    }
    return s;
}

static NOINLINE unsigned ack(unsigned m, unsigned n)
{
    return !m ? n + 1 : !n ? ack(m - 1, 1) : ack(m - 1, ack(m, n - 1));
}
static uint64_t k_ackermann(unsigned n)
{
    unsigned of = 60;
    uint64_t s = 0;
    for (unsigned i = 0; i < n; i++) {
        OPAQUE(of);
        s += ack(2, of);
    }
    return s;
}

struct node {
    struct node *l, *r;
    uint64_t v;
};
static NOINLINE uint64_t walk(const struct node *t)
{
    return t ? walk(t->l) + t->v * 3 + walk(t->r) : 0;
}
static struct node *build(struct node **pool, unsigned depth)
{
    if (!depth)
        return NULL;
    struct node *t = (*pool)++;
    t->v = rnd() & 0xff;
    t->l = build(pool, depth - 1);
    t->r = rnd() & 1 ? build(pool, depth - 1) : NULL;
    return t;
}
static uint64_t k_tree(unsigned n)
{
    static struct node pool[1 << 14];
    struct node *p = pool, *t = build(&p, 13);
    uint64_t s = 0;
    for (unsigned i = 0; i < n; i++) {
        OPAQUE(t);
        s += walk(t);
    }
    return s;
}

// ---- indirect branches ----
typedef uint64_t op_fn(uint64_t, uint64_t);
static NOINLINE uint64_t op_add(uint64_t a, uint64_t b)
{
    return a + b;
}
static NOINLINE uint64_t op_xor(uint64_t a, uint64_t b)
{
    return a ^ b;
}
static NOINLINE uint64_t op_mul(uint64_t a, uint64_t b)
{
    return a * (b | 1);
}
static NOINLINE uint64_t op_rot(uint64_t a, uint64_t b)
{
    return a << 7 | a >> 57 | (b & 0);
}
static uint64_t k_fnptr(unsigned n)
{
    static op_fn *const volatile table[4] = {op_add, op_xor, op_mul, op_rot};
    uint64_t a = 1;
    for (unsigned i = 0; i < n * 4096; i++)
        a = table[(i * 7 + (i >> 3)) & 3](a, i);
    return a;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}
static uint64_t k_qsort(unsigned n)
{
    static uint32_t a[2048];
    uint64_t s = 0;
    for (unsigned r = 0; r < n; r++) {
        for (unsigned i = 0; i < 2048; i++)
            a[i] = (uint32_t)rnd();
        qsort(a, 2048, 4, compare);
        s += a[r % 2048];
    }
    return s;
}

// ---- interpreter loop ----
enum { I_PUSH, I_ADD, I_SUB, I_MUL, I_DUP, I_SWAP, I_LOAD, I_STORE, I_JNZ, I_HALT };
static NOINLINE int64_t interpret(const int32_t *code, int64_t *vars)
{
    int64_t stack[64], *sp = stack;
    for (const int32_t *pc = code;;)
        switch (*pc++) {
        case I_PUSH:
            *sp++ = *pc++;
            break;
        case I_ADD:
            sp--;
            sp[-1] += sp[0];
            break;
        case I_SUB:
            sp--;
            sp[-1] -= sp[0];
            break;
        case I_MUL:
            sp--;
            sp[-1] *= sp[0];
            break;
        case I_DUP:
            sp[0] = sp[-1];
            sp++;
            break;
        case I_SWAP: {
            int64_t t = sp[-1];
            sp[-1] = sp[-2];
            sp[-2] = t;
            break;
        }
        case I_LOAD:
            *sp++ = vars[*pc++];
            break;
        case I_STORE:
            vars[*pc++] = *--sp;
            break;
        case I_JNZ: {
            int32_t to = *pc++;
            if (*--sp)
                pc = code + to;
            break;
        }
        case I_HALT:
            return sp[-1];
        }
}
static uint64_t k_interp(unsigned n)
{
    static const int32_t code[] = {I_PUSH, 0,     I_STORE, 0,      I_PUSH,  2000,  I_STORE,
                                   1, // s = 0, i = 2000
                                   I_LOAD, 0,     I_LOAD,  1,      I_DUP,   I_MUL, I_ADD,
                                   I_PUSH, 3,     I_SWAP,  I_SUB,  I_STORE, 0, // s = 3 - (s + i*i)
                                   I_LOAD, 1,     I_PUSH,  1,      I_SUB,   I_DUP, I_STORE,
                                   1,      I_JNZ, 8,       I_LOAD, 0,       I_HALT};
    int64_t vars[2];
    uint64_t s = 0;
    for (unsigned i = 0; i < n; i++)
        s += (uint64_t)interpret(code, vars);
    return s;
}

// ---- scalar floating point ----
static uint64_t bits_of(double d)
{
    uint64_t u;
    memcpy(&u, &d, 8);
    return u;
}
static uint64_t k_nbody(unsigned n)
{
    double x[5], y[5], z[5], vx[5], vy[5], vz[5], m[5];
    for (int i = 0; i < 5; i++) {
        x[i] = i + 0.5, y[i] = i * 0.3 - 1, z[i] = 0.1 * i, vx[i] = 0.01 * i, vy[i] = 0.02,
        vz[i] = -0.01 * i, m[i] = 1.0 / (i + 1);
    }
    for (unsigned s = 0; s < n * 256; s++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double dx = x[i] - x[j], dy = y[i] - y[j], dz = z[i] - z[j],
                       d2 = dx * dx + dy * dy + dz * dz + 0.01, mag = 0.0001 / (d2 * sqrt(d2));
                vx[i] -= dx * m[j] * mag, vy[i] -= dy * m[j] * mag, vz[i] -= dz * m[j] * mag;
                vx[j] += dx * m[i] * mag, vy[j] += dy * m[i] * mag, vz[j] += dz * m[i] * mag;
            }
        for (int i = 0; i < 5; i++)
            x[i] += 0.001 * vx[i], y[i] += 0.001 * vy[i], z[i] += 0.001 * vz[i];
    }
    return bits_of(x[0]) ^ bits_of(y[3]);
}

static uint64_t k_mandel(unsigned n)
{
    uint64_t s = 0;
    for (unsigned p = 0; p < n * 64; p++) {
        double cr = (p % 64) / 32.0 - 1.5, ci = (p / 64 % 64) / 32.0 - 1, zr = 0, zi = 0;
        int k = 0;
        for (; k < 200 && zr * zr + zi * zi < 4; k++) {
            double t = zr * zr - zi * zi + cr;
            zi = 2 * zr * zi + ci;
            zr = t;
        }
        s += (uint64_t)k;
    }
    return s;
}

static uint64_t k_poly(unsigned n)
{
    double s = 0;
    float f = 0;
    for (unsigned i = 0; i < n * 2048; i++) {
        double x = (i & 1023) / 1024.0;
        s += ((((x * 0.1 + 0.2) * x - 0.3) * x + 0.4) * x - 0.5) * x + (double)(int)(x * 100);
        f = f * 0.99f + (float)x;
    }
    return bits_of(s + f);
}

static uint64_t k_libm(unsigned n)
{
    double s = 0;
    for (unsigned i = 1; i < n * 256; i++)
        s += sin(i * 0.01) + exp(-(double)(i & 255) / 64) + log(i);
    return (uint64_t)(s * 1e6);
}

// ---- vectors ----
#define N 4096
static float fa[N], fb[N];
static double da[N], db[N];
static NOINLINE void saxpy(float *restrict y, const float *restrict x, float a)
{
    for (int i = 0; i < N; i++)
        y[i] = y[i] * 0.5f + a * x[i];
}
static uint64_t k_saxpy(unsigned n)
{
    for (int i = 0; i < N; i++)
        fa[i] = (float)i, fb[i] = 1.0f / (float)(i + 1);
    for (unsigned r = 0; r < n; r++)
        saxpy(fa, fb, (float)r);
    return bits_of(fa[7] + fa[N - 1]);
}
static NOINLINE void triad(double *restrict y, const double *restrict x, double a)
{
    for (int i = 0; i < N; i++)
        y[i] = y[i] * 0.25 + a * x[i] * x[i];
}
static uint64_t k_triad(unsigned n)
{
    for (int i = 0; i < N; i++)
        da[i] = i, db[i] = 1.0 / (i + 1);
    for (unsigned r = 0; r < n; r++)
        triad(da, db, r);
    return bits_of(da[5] + da[N - 1]);
}
static NOINLINE uint32_t vector_sum(const uint8_t *a, const uint8_t *b)
{
    uint32_t s = 0;
    for (int i = 0; i < N; i++)
        s += (uint32_t)(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
    return s;
}
static uint64_t k_sad(unsigned n)
{
    static uint8_t a[N], b[N];
    uint64_t s = 0;
    for (int i = 0; i < N; i++)
        a[i] = (uint8_t)rnd(), b[i] = (uint8_t)rnd();
    for (unsigned r = 0; r < n; r++) {
        a[r % N]++;
        s += vector_sum(a, b);
    }
    return s;
}
static NOINLINE void blend(uint32_t *restrict d, const uint32_t *restrict s, uint32_t k)
{
    for (int i = 0; i < N; i++)
        d[i] = ((d[i] & s[i]) + (d[i] ^ k)) * 3 >> 1;
}
static uint64_t k_blend(unsigned n)
{
    static uint32_t a[N], b[N];
    for (int i = 0; i < N; i++)
        a[i] = (uint32_t)rnd(), b[i] = (uint32_t)rnd();
    for (unsigned r = 0; r < n; r++)
        blend(a, b, r);
    return a[3] ^ a[N - 1];
}

// ---- strings ----
static uint64_t k_strlen(unsigned n)
{
    static char text[8192];
    uint64_t s = 0;
    memset(text, 'x', sizeof text - 1);
    for (unsigned r = 0; r < n; r++) {
        text[r % 4000 + 4000] = 0;
        s += strlen(text);
        text[r % 4000 + 4000] = 'y';
    }
    return s;
}
static uint64_t k_memcpy(unsigned n)
{
    static uint8_t a[65536], b[65536];
    for (unsigned i = 0; i < sizeof a; i++)
        a[i] = (uint8_t)i;
    for (unsigned r = 0; r < n; r++) {
        memcpy(b, a + r % 64, 65000);
        memcpy(a + 1, b + r % 32, 65000);
    }
    return a[100] + b[200] * 256u;
}
static uint64_t k_strings(unsigned n)
{
    char buf[256];
    uint64_t s = 0;
    for (unsigned r = 0; r < n * 16; r++) {
        snprintf(buf, sizeof buf, "%u:%s:%x:%d", r, "the quick brown fox", r * 77, (int)r - 100);
        s += strlen(buf) + (uint64_t)(strchr(buf, 'f') - buf) + (unsigned)atoi(buf) +
             (strstr(buf, "brown") ? 1 : 0);
    }
    return s;
}

// ---- memory ----
static uint64_t k_chase(unsigned n)
{
    enum { COUNT = 1 << 20 };
    uint32_t *next = malloc(COUNT * sizeof *next), at = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        next[i] = i;
    for (uint32_t i = COUNT - 1; i; i--) { // one cycle through everything
        uint32_t j = (uint32_t)(rnd() % i), t = next[i];
        next[i] = next[j];
        next[j] = t;
    }
    uint64_t s = 0;
    for (unsigned i = 0; i < n * 4096; i++)
        s += at = next[at];
    free(next);
    return s;
}
static uint64_t k_stream(unsigned n)
{
    enum { COUNT = 1 << 20 };
    uint64_t *a = calloc(COUNT, 8), s = 0;
    for (unsigned r = 0; r < n; r++)
        for (unsigned i = 0; i < COUNT; i += 8)
            s += a[i] += r;
    free(a);
    return s;
}

static const struct kernel {
    const char *class, *name;
    uint64_t (*run)(unsigned n);
    unsigned n;
} kernels[] = {
    {"integer", "sieve", k_sieve, 60},      {"integer", "shellsort", k_sort, 40},
    {"integer", "crc", k_crc, 120},         {"integer", "division", k_div, 300},
    {"integer", "hash", k_hash, 1000},      {"integer", "mix64", k_mix64, 200},
    {"calls", "fib", k_fib, 600},           {"calls", "ackermann", k_ackermann, 1000},
    {"calls", "tree", k_tree, 8000},        {"indirect", "fnptr", k_fnptr, 1000},
    {"indirect", "qsort", k_qsort, 40},     {"interp", "bytecode", k_interp, 200},
    {"fp", "nbody", k_nbody, 400},          {"fp", "mandelbrot", k_mandel, 300},
    {"fp", "polynomial", k_poly, 2000},     {"fp", "libm", k_libm, 1500},
    {"simd-fp", "saxpy", k_saxpy, 20000},   {"simd-fp", "triad", k_triad, 6000},
    {"simd-int", "sad", k_sad, 20000},      {"simd-int", "blend", k_blend, 10000},
    {"string", "strlen", k_strlen, 100000}, {"string", "memcpy", k_memcpy, 3000},
    {"string", "printf", k_strings, 4000},  {"memory", "chase", k_chase, 60},
    {"memory", "stream", k_stream, 8},
};

int main(int argc, char **argv)
{
    const char *pattern = argc > 1 ? argv[1] : "";
    double scale = argc > 2 ? atof(argv[2]) : 1;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        const struct kernel *k = &kernels[i];
        struct timespec a, b;
        if (!strstr(k->name, pattern) && !strstr(k->class, pattern))
            continue;
        seed = 88172645463325252ull;
        unsigned n = (unsigned)(k->n * scale);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        uint64_t sum = k->run(n ? n : 1);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        long long ns = (b.tv_sec - a.tv_sec) * 1000000000ll + (b.tv_nsec - a.tv_nsec);
        printf("kernel %s %s %lld %016llx\n", k->class, k->name, ns, (unsigned long long)sum);
        fflush(stdout);
    }
    return 0;
}
