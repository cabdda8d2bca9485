// Small kernels of everyday C: integers of every width, calls, recursion, switches, bit fields,
// strings, structures by value, floating point, and loops that compilers turn into vectors. Each
// prints one number. The same source is built for the host and for the guest at several
// optimisation levels; the output must be the same.
#include "kernels.h"

static uint64_t state = 0x853c49e6748fea9b;

static uint64_t random64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint8_t bytes[4096];
static int16_t halves[2048];
static int32_t words[1024], more_words[1024];
static uint64_t longs[512];
static float floats[1024], more_floats[1024];
static double doubles[512], more_doubles[512];

static void fill(void)
{
    for (unsigned n = 0; n < sizeof bytes; n++)
        bytes[n] = (uint8_t)random64();
    for (unsigned n = 0; n < 2048; n++)
        halves[n] = (int16_t)random64();
    for (unsigned n = 0; n < 1024; n++) {
        words[n] = (int32_t)random64();
        more_words[n] = (int32_t)(random64() >> 40);
        floats[n] = (float)(int32_t)random64() / 65536.0f;
        more_floats[n] = (float)(random64() & 0xffff) + 0.5f;
    }
    for (unsigned n = 0; n < 512; n++) {
        longs[n] = random64();
        doubles[n] = (double)(int64_t)random64() / 1048576.0;
        more_doubles[n] = 1.0 / (double)(n + 3);
    }
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    return (h ^ v) * 0x100000001b3 + (h >> 29);
}

static uint64_t bits_of(double d)
{
    union {
        double d;
        uint64_t u;
    } x = {d};
    return x.u;
}

// ---- integers ----

static uint64_t widths(void)
{
    uint64_t h = 1;
    for (unsigned n = 0; n < 512; n++) {
        int8_t a = (int8_t)longs[n];
        uint16_t b = (uint16_t)(longs[n] >> 8);
        int32_t c = (int32_t)(longs[n] >> 16);
        h = mix(h, (uint64_t)(int64_t)(a * b) + (uint64_t)(c >> (n & 31)));
        h = mix(h, (uint64_t)((int64_t)longs[n] >> (n & 63)) ^ (longs[n] << (n % 61)));
    }
    return h;
}

static uint64_t division(void)
{
    uint64_t h = 2;
    for (unsigned n = 1; n < 512; n++) {
        int64_t a = (int64_t)longs[n], b = (int64_t)(longs[n - 1] >> (n % 60)) | 1;
        h = mix(h, (uint64_t)(a / b) ^ (uint64_t)(a % b));
        h = mix(h, (uint64_t)(words[n] / (more_words[n] | 1)) + longs[n] % 1000003);
        h = mix(h, (uint64_t)((unsigned __int128)longs[n] * longs[n - 1] >> 64));
    }
    return h;
}

struct packed {
    unsigned a : 3, b : 7, c : 11, d : 11;
    int e : 5;
};

static struct packed step(struct packed p, unsigned v)
{
    p.a += v;
    p.b ^= p.c;
    p.c = p.d - v;
    p.d += p.a * p.b;
    p.e = (int)v - p.e;
    return p;
}

static uint64_t bit_fields(void)
{
    struct packed p = {0};
    uint64_t h = 3;
    for (unsigned n = 0; n < 1024; n++) {
        p = step(p, (unsigned)words[n]);
        h = mix(h, (uint64_t)p.a + p.b + p.c + p.d + (uint64_t)(int64_t)p.e);
    }
    return h;
}

static uint64_t counting(void)
{
    uint64_t h = 4;
    for (unsigned n = 0; n < 512; n++) {
        h += (uint64_t)__builtin_popcountll(longs[n]) + (uint64_t)__builtin_clzll(longs[n] | 1);
        h += (uint64_t)__builtin_ctzll(longs[n] | 1ull << 63) + __builtin_bswap64(longs[n]);
        h = mix(h, longs[n] >> (n & 63) | longs[n] << (-n & 63));
    }
    return h;
}

// ---- control ----

static unsigned ackermann(unsigned m, unsigned n)
{
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

// A machine of eight instructions: a switch in a loop.
static uint64_t interpreter(void)
{
    uint64_t r[4] = {1, 2, 3, 4};
    for (unsigned n = 0, pc = 0; n < 20000; n++) {
        uint8_t op = bytes[pc];
        unsigned x = op >> 3 & 3, y = op >> 5 & 3;
        pc = (pc + 1) & 4095;
        switch (op & 7) {
        case 0:
            r[x] += r[y];
            break;
        case 1:
            r[x] ^= r[y] << 7;
            break;
        case 2:
            r[x] -= r[y] >> 3;
            break;
        case 3:
            r[x] = r[y] * 5 + op;
            break;
        case 4:
            pc = r[x] & 1 ? (pc + op) & 4095 : pc;
            break;
        case 5:
            r[x] = ~r[y];
            break;
        case 6:
            r[x] = (uint32_t)r[y];
            break;
        default:
            r[x] = (uint64_t)(int64_t)(int8_t)r[y] + 77;
        }
    }
    return r[0] ^ r[1] ^ r[2] ^ r[3];
}

typedef uint64_t operation(uint64_t, uint64_t);
static uint64_t add(uint64_t a, uint64_t b)
{
    return a + b;
}
static uint64_t sub(uint64_t a, uint64_t b)
{
    return a - b;
}
static uint64_t mul(uint64_t a, uint64_t b)
{
    return a * (b | 1);
}
static uint64_t rot(uint64_t a, uint64_t b)
{
    return a << (b & 63) | a >> (-b & 63);
}

static uint64_t pointers(void)
{
    static operation *const volatile table[4] = {add, sub, mul, rot};
    uint64_t h = 5;
    for (unsigned n = 0; n < 4096; n++)
        h = table[bytes[n] & 3](h, longs[n & 511]);
    return h;
}

static uint64_t sorting(void)
{
    static int32_t a[1024];
    uint64_t h = 6;
    for (unsigned n = 0; n < 1024; n++)
        a[n] = words[n];
    for (unsigned gap = 512; gap; gap /= 2)
        for (unsigned n = gap; n < 1024; n++)
            for (unsigned k = n; k >= gap && a[k - gap] > a[k]; k -= gap) {
                int32_t t = a[k];
                a[k] = a[k - gap];
                a[k - gap] = t;
            }
    for (unsigned n = 0; n < 1024; n++)
        h = mix(h, (uint64_t)(int64_t)a[n]);
    return h;
}

static uint64_t crc(void)
{
    uint32_t c = ~0u;
    for (unsigned n = 0; n < sizeof bytes; n++) {
        c ^= bytes[n];
        for (unsigned k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    }
    return c;
}

// ---- loops for vectors ----

static uint64_t vector_integers(void)
{
    static int32_t out[1024];
    static uint8_t pixels[4096];
    int64_t sum = 0;
    int32_t least = 0, most = 0;
    uint64_t h = 7;
    for (unsigned n = 0; n < 1024; n++)
        out[n] = (words[n] >> 3) * more_words[n] + (words[n] > more_words[n] ? 17 : -5);
    for (unsigned n = 0; n < 1024; n++) {
        sum += out[n];
        least = out[n] < least ? out[n] : least;
        most = out[n] > most ? out[n] : most;
    }
    for (unsigned n = 0; n < 4095; n++)
        pixels[n] = (uint8_t)((bytes[n] + bytes[n + 1] + 1) >> 1);
    for (unsigned n = 0; n < 2048; n++)
        sum += halves[n] * (halves[2047 - n] >> 2);
    for (unsigned n = 0; n < 4096; n++)
        h = mix(h, pixels[n]);
    for (unsigned n = 0; n < 1024; n += 2)
        h += (uint64_t)(int64_t)out[n] * 3 - (uint64_t)(int64_t)out[n + 1];
    return h ^ (uint64_t)sum ^ (uint64_t)(uint32_t)least << 32 ^ (uint32_t)most;
}

static uint64_t vector_floats(void)
{
    static float out[1024];
    static double wide[512];
    uint64_t h = 8;
    for (unsigned n = 0; n < 1024; n++)
        out[n] = floats[n] * more_floats[n] - floats[1023 - n] / more_floats[n];
    for (unsigned n = 0; n < 1024; n++)
        out[n] = out[n] > 100.0f ? out[n] * 0.25f : -out[n];
    for (unsigned n = 0; n < 512; n++)
        wide[n] = doubles[n] * more_doubles[n] + (double)out[n] - (double)words[n];
    for (unsigned n = 0; n < 512; n++)
        h = mix(h, bits_of(wide[n]) + (uint64_t)(int64_t)(int32_t)(out[n] / 1e6f));
    for (unsigned n = 0; n < 512; n++)
        h = mix(h, (uint64_t)(int64_t)(wide[n] / 1e4));
    return h;
}

static uint64_t matrix(void)
{
    static double c[16][16];
    uint64_t h = 9;
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 16; j++)
            for (unsigned k = 0; k < 16; k++)
                c[i][j] += doubles[i * 16 + k] * more_doubles[k * 16 + j];
    for (unsigned i = 0; i < 256; i++)
        h = mix(h, bits_of(c[i / 16][i % 16]));
    return h;
}

static uint64_t scalar_floats(void)
{
    double x = 0.5, y = 0.25, sum = 0;
    for (unsigned n = 1; n < 2000; n++) {
        double t = x * x - y * y + 0.1;
        y = 2 * x * y - 0.3;
        x = t;
        if (x * x + y * y > 4)
            x = y = 1.0 / n;
        sum += __builtin_sqrt(__builtin_fabs(x)) + (double)(float)y + (double)(n % 7);
    }
    return bits_of(sum);
}

static uint64_t strings(void)
{
    static char text[512], copy[512];
    uint64_t h = 10;
    for (unsigned n = 0; n < 511; n++)
        text[n] = (char)('a' + bytes[n] % 26);
    for (unsigned length = 1; length < 200; length++) {
        memcpy(copy + length % 7, text + length, length);
        memmove(copy + 3, copy, length);
        memset(copy + length, (int)length, 9);
        h = mix(h, (uint64_t)(memcmp(copy, text, length) > 0) + (uint8_t)copy[length / 2]);
    }
    return h;
}

void run_kernels(void)
{
    fill();
    show("widths", widths());
    show("division", division());
    show("bit fields", bit_fields());
    show("counting", counting());
    show("ackermann", ackermann(2, 300));
    show("interpreter", interpreter());
    show("pointers", pointers());
    show("sorting", sorting());
    show("crc", crc());
    show("vector integers", vector_integers());
    show("vector floats", vector_floats());
    show("matrix", matrix());
    show("scalar floats", scalar_floats());
    show("strings", strings());
}
