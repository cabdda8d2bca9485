// The table-like estimates of DDI 0487's shared pseudocode (J1.3): operands and results have an
// implied point, with 9 significant bits.
#pragma once

// RecipEstimate: a in 256..511.
static inline unsigned estimate_reciprocal(unsigned a)
{
    unsigned b = (1u << 19) / (a * 2 + 1);
    return (b + 1) / 2;
}

// RecipSqrtEstimate: a in 128..511.
static inline unsigned estimate_root(unsigned a)
{
    unsigned long b = 512;
    a = a < 256 ? a * 2 + 1 : ((a >> 1) * 2 + 1) * 2;
    while (a * (b + 1) * (b + 1) < 1ul << 28)
        b++;
    return (unsigned)(b + 1) / 2;
}
