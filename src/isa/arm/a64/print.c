// Operands of A64 assembly, in the notation of the Arm ARM (DDI 0487, C1.2) as GNU tools write it.
#include "isa/arm/a64/print.h"

static const char *const conds[16] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc",
                                      "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"};

void a64_print_reg(struct disas_out *o, unsigned sf, unsigned n)
{
    if ((n & 31) == 31)
        disas_puts(o, sf ? "xzr" : "wzr");
    else
        disas_printf(o, "%c%u", sf ? 'x' : 'w', n & 31);
}

void a64_print_regsp(struct disas_out *o, unsigned sf, unsigned n)
{
    if (n == 31)
        disas_puts(o, sf ? "sp" : "wsp");
    else
        a64_print_reg(o, sf, n);
}

void a64_print_imm(struct disas_out *o, uint32_t v)
{
    disas_printf(o, "#0x%x", v);
}

void a64_print_dec(struct disas_out *o, int v)
{
    disas_printf(o, "#%d", v);
}

void a64_print_hex64(struct disas_out *o, uint64_t v)
{
    disas_printf(o, "#0x%llx", (unsigned long long)v);
}

void a64_print_bitmask(struct disas_out *o, unsigned sf, unsigned n, unsigned immr, unsigned imms)
{
    a64_print_hex64(o, a64_bitmask(sf, n, immr, imms));
}

void a64_print_lsl(struct disas_out *o, unsigned amount)
{
    if (amount)
        disas_printf(o, ", lsl #%u", amount);
}

void a64_print_shift(struct disas_out *o, unsigned kind, unsigned amount)
{
    static const char *const names[4] = {"lsl", "lsr", "asr", "ror"};
    if (kind || amount)
        disas_printf(o, ", %s #%u", names[kind & 3], amount);
}

void a64_print_extend(struct disas_out *o, unsigned sf, unsigned option, unsigned amount, bool s,
                      unsigned rd, unsigned rn)
{
    static const char *const names[8] = {"uxtb", "uxth", "uxtw", "uxtx",
                                         "sxtb", "sxth", "sxtw", "sxtx"};
    bool sp = rn == 31 || (rd == 31 && !s);
    if (sp && option == (sf ? 3u : 2u)) {
        a64_print_lsl(o, amount);
        return;
    }
    disas_printf(o, ", %s", names[option & 7]);
    if (amount)
        disas_printf(o, " #%u", amount);
}

void a64_print_cond(struct disas_out *o, unsigned cond)
{
    disas_puts(o, conds[cond & 15]);
}

void a64_print_label(struct disas_out *o, int32_t offset)
{
    disas_printf(o, "0x%llx", (unsigned long long)(o->pc + (uint64_t)(int64_t)offset));
}

void a64_print_page(struct disas_out *o, int32_t pages)
{
    uint64_t page = (o->pc & ~0xfffull) + ((uint64_t)(int64_t)pages << 12);
    disas_printf(o, "0x%llx", (unsigned long long)page);
}

// ---- memory ----

void a64_print_suffix(struct disas_out *o, unsigned size)
{
    static const char *const names[4] = {"b", "h", "", ""};
    disas_puts(o, names[size & 3]);
}

void a64_print_signed_suffix(struct disas_out *o, unsigned size)
{
    static const char *const names[4] = {"b", "h", "w", "x"};
    disas_puts(o, names[size & 3]);
}

void a64_print_letter(struct disas_out *o, unsigned size)
{
    a64_print_signed_suffix(o, size);
}

void a64_print_order(struct disas_out *o, bool acquire, bool release)
{
    disas_puts(o, acquire ? "a" : "");
    disas_puts(o, release ? "l" : "");
}

void a64_print_offset(struct disas_out *o, uint32_t v)
{
    if (v)
        disas_printf(o, ", #%u", v);
}

void a64_print_soffset(struct disas_out *o, int v)
{
    if (v)
        disas_printf(o, ", #%d", v);
}

void a64_print_preoffset(struct disas_out *o, int v)
{
    disas_printf(o, ", #%d", v);
}

void a64_print_index(struct disas_out *o, unsigned size, unsigned option, bool s, unsigned rm)
{
    static const char *const names[8] = {"", "", "uxtw", "lsl", "", "", "sxtw", "sxtx"};
    disas_puts(o, ", ");
    a64_print_reg(o, option & 1, rm);
    if (option == 3 && !s)
        return;
    disas_printf(o, ", %s", names[option & 7]);
    if (s)
        disas_printf(o, " #%u", size);
}

void a64_print_prfop(struct disas_out *o, unsigned op)
{
    static const char *const kinds[4] = {"pld", "pli", "pst", ""};
    unsigned level = op >> 1 & 3;
    if (op >> 3 == 3 || level == 3)
        disas_printf(o, "#0x%02x", op);
    else
        disas_printf(o, "%sl%u%s", kinds[op >> 3 & 3], level + 1, op & 1 ? "strm" : "keep");
}

// ---- vectors ----

static const char scales[] = "bhsdq";

void a64_print_vreg(struct disas_out *o, unsigned scale, unsigned n)
{
    disas_printf(o, "%c%u", scales[MIN(scale, 4u)], n);
}

// Registers n, n + 1 ... with what follows each: from three on as a range.
static void print_list(struct disas_out *o, unsigned count, unsigned n, const char *suffix)
{
    disas_printf(o, "{v%u.%s", n, suffix);
    if (count > 2 && n + count <= 32)
        disas_printf(o, "-v%u.%s", n + count - 1, suffix);
    else
        for (unsigned k = 1; k < count; k++)
            disas_printf(o, ", v%u.%s", (n + k) & 31, suffix);
    disas_puts(o, "}");
}

void a64_print_list(struct disas_out *o, unsigned count, unsigned q, unsigned size, unsigned n)
{
    char suffix[8] = "16b";
    if (!q || size) {
        suffix[0] = (char)('0' + ((8u << q) >> size));
        suffix[1] = scales[size & 3];
        suffix[2] = 0;
    }
    print_list(o, count, n, suffix);
}

void a64_print_lanes(struct disas_out *o, unsigned count, unsigned size, unsigned n)
{
    const char suffix[2] = {scales[size & 3]};
    print_list(o, count, n, suffix);
}

void a64_print_post(struct disas_out *o, unsigned rm, unsigned bytes)
{
    if (rm == 31)
        disas_printf(o, "#%u", bytes);
    else
        disas_printf(o, "x%u", rm);
}

void a64_print_ldst(struct disas_out *o, bool load)
{
    disas_puts(o, load ? "ld" : "st");
}

void a64_print_number(struct disas_out *o, unsigned n)
{
    disas_printf(o, "%u", n);
}

// ---- system ----

void a64_print_ab(struct disas_out *o, unsigned b)
{
    disas_puts(o, b ? "b" : "a");
}

void a64_print_key(struct disas_out *o, unsigned key)
{
    static const char *const names[4] = {"ia", "ib", "da", "db"};
    disas_puts(o, names[key & 3]);
}

void a64_print_zero_key(struct disas_out *o, unsigned key)
{
    static const char *const names[4] = {"iza", "izb", "dza", "dzb"};
    disas_puts(o, names[key & 3]);
}

void a64_print_bti(struct disas_out *o, unsigned targets)
{
    static const char *const names[4] = {"", "c", "j", "jc"};
    if (targets) {
        disas_tab(o);
        disas_puts(o, names[targets & 3]);
    }
}

static const char *const barriers[16] = {"#0x00", "oshld", "oshst", "osh",   "#0x04", "nshld",
                                         "nshst", "nsh",   "#0x08", "ishld", "ishst", "ish",
                                         "#0x0c", "ld",    "st",    "sy"};

void a64_print_barrier(struct disas_out *o, unsigned option)
{
    disas_puts(o, barriers[option & 15]);
}

void a64_print_nxs(struct disas_out *o, unsigned option)
{
    static const char *const names[4] = {"oshnxs", "nshnxs", "ishnxs", "synxs"};
    disas_puts(o, names[option >> 2 & 3]);
}

void a64_print_cr(struct disas_out *o, unsigned n)
{
    disas_printf(o, "C%u", n);
}

void a64_print_pstate(struct disas_out *o, unsigned op1, unsigned op2)
{
    static const struct {
        uint8_t op1, op2;
        const char *name;
    } names[] = {{0, 3, "uao"}, {0, 4, "pan"}, {0, 5, "spsel"},   {3, 1, "ssbs"},
                 {3, 2, "dit"}, {3, 4, "tco"}, {3, 6, "daifset"}, {3, 7, "daifclr"}};
    for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
        if (names[n].op1 == op1 && names[n].op2 == op2) {
            disas_puts(o, names[n].name);
            return;
        }
    disas_printf(o, "s0_%u_c4_cx_%u", op1, op2);
}
