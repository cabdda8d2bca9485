// Names of system registers, PSTATE fields and system operations in A64 assembly (DDI 0487, C5).
#include "isa/arm/a64/print.h"
#include "isa/arm/arm.h"

#include <ctype.h>

void a64_print_sysreg(struct disas_out *o, unsigned op0, unsigned op1, unsigned crn, unsigned crm,
                      unsigned op2)
{
    static const struct {
        uint32_t key;
        const char *name;
    } regs[] = {
#define REG(name, a, b, c, d, e, ...) {ARM_SYSREG(a, b, c, d, e), #name},
#include "isa/arm/system/sysregs.def"
#undef REG
    };
    uint32_t key = ARM_SYSREG(op0, op1, crn, crm, op2);
    for (unsigned n = 0; n < ARRAY_SIZE(regs); n++)
        if (regs[n].key == key) {
            for (const char *s = regs[n].name; *s; s++)
                disas_printf(o, "%c", tolower((unsigned char)*s));
            return;
        }
    disas_printf(o, "s%u_%u_c%u_c%u_%u", op0, op1, crn, crm, op2);
}

#define OP(op1, crn, crm, op2) ((op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))
static const struct {
    uint16_t key;
    char kind[5], name[13];
} operations[] = {
    {OP(0, 7, 8, 0), "at", "s1e1r"},        {OP(0, 7, 8, 1), "at", "s1e1w"},
    {OP(0, 7, 8, 2), "at", "s1e0r"},        {OP(0, 7, 8, 3), "at", "s1e0w"},
    {OP(0, 7, 9, 0), "at", "s1e1rp"},       {OP(0, 7, 9, 1), "at", "s1e1wp"},
    {OP(4, 7, 8, 0), "at", "s1e2r"},        {OP(4, 7, 8, 1), "at", "s1e2w"},
    {OP(4, 7, 8, 4), "at", "s12e1r"},       {OP(4, 7, 8, 5), "at", "s12e1w"},
    {OP(4, 7, 8, 6), "at", "s12e0r"},       {OP(4, 7, 8, 7), "at", "s12e0w"},
    {OP(6, 7, 8, 0), "at", "s1e3r"},        {OP(6, 7, 8, 1), "at", "s1e3w"},
    {OP(0, 7, 6, 1), "dc", "ivac"},         {OP(0, 7, 6, 2), "dc", "isw"},
    {OP(0, 7, 10, 2), "dc", "csw"},         {OP(0, 7, 14, 2), "dc", "cisw"},
    {OP(3, 7, 4, 1), "dc", "zva"},          {OP(3, 7, 10, 1), "dc", "cvac"},
    {OP(3, 7, 11, 1), "dc", "cvau"},        {OP(3, 7, 12, 1), "dc", "cvap"},
    {OP(3, 7, 13, 1), "dc", "cvadp"},       {OP(3, 7, 14, 1), "dc", "civac"},
    {OP(0, 7, 1, 0), "ic", "ialluis"},      {OP(0, 7, 5, 0), "ic", "iallu"},
    {OP(3, 7, 5, 1), "ic", "ivau"},         {OP(0, 8, 1, 0), "tlbi", "vmalle1os"},
    {OP(0, 8, 1, 1), "tlbi", "vae1os"},     {OP(0, 8, 1, 2), "tlbi", "aside1os"},
    {OP(0, 8, 1, 3), "tlbi", "vaae1os"},    {OP(0, 8, 1, 5), "tlbi", "vale1os"},
    {OP(0, 8, 1, 7), "tlbi", "vaale1os"},   {OP(0, 8, 3, 0), "tlbi", "vmalle1is"},
    {OP(0, 8, 3, 1), "tlbi", "vae1is"},     {OP(0, 8, 3, 2), "tlbi", "aside1is"},
    {OP(0, 8, 3, 3), "tlbi", "vaae1is"},    {OP(0, 8, 3, 5), "tlbi", "vale1is"},
    {OP(0, 8, 3, 7), "tlbi", "vaale1is"},   {OP(0, 8, 7, 0), "tlbi", "vmalle1"},
    {OP(0, 8, 7, 1), "tlbi", "vae1"},       {OP(0, 8, 7, 2), "tlbi", "aside1"},
    {OP(0, 8, 7, 3), "tlbi", "vaae1"},      {OP(0, 8, 7, 5), "tlbi", "vale1"},
    {OP(0, 8, 7, 7), "tlbi", "vaale1"},     {OP(4, 8, 0, 1), "tlbi", "ipas2e1is"},
    {OP(4, 8, 0, 5), "tlbi", "ipas2le1is"}, {OP(4, 8, 4, 0), "tlbi", "ipas2e1os"},
    {OP(4, 8, 4, 1), "tlbi", "ipas2e1"},    {OP(4, 8, 4, 4), "tlbi", "ipas2le1os"},
    {OP(4, 8, 4, 5), "tlbi", "ipas2le1"},   {OP(4, 8, 1, 0), "tlbi", "alle2os"},
    {OP(4, 8, 1, 1), "tlbi", "vae2os"},     {OP(4, 8, 1, 4), "tlbi", "alle1os"},
    {OP(4, 8, 1, 5), "tlbi", "vale2os"},    {OP(4, 8, 1, 6), "tlbi", "vmalls12e1os"},
    {OP(6, 8, 1, 0), "tlbi", "alle3os"},    {OP(6, 8, 1, 1), "tlbi", "vae3os"},
    {OP(6, 8, 1, 5), "tlbi", "vale3os"},    {OP(4, 8, 3, 0), "tlbi", "alle2is"},
    {OP(4, 8, 3, 1), "tlbi", "vae2is"},     {OP(4, 8, 3, 4), "tlbi", "alle1is"},
    {OP(4, 8, 3, 5), "tlbi", "vale2is"},    {OP(4, 8, 3, 6), "tlbi", "vmalls12e1is"},
    {OP(6, 8, 3, 0), "tlbi", "alle3is"},    {OP(6, 8, 3, 1), "tlbi", "vae3is"},
    {OP(6, 8, 3, 5), "tlbi", "vale3is"},    {OP(4, 8, 7, 0), "tlbi", "alle2"},
    {OP(4, 8, 7, 1), "tlbi", "vae2"},       {OP(4, 8, 7, 4), "tlbi", "alle1"},
    {OP(4, 8, 7, 5), "tlbi", "vale2"},      {OP(4, 8, 7, 6), "tlbi", "vmalls12e1"},
    {OP(6, 8, 7, 0), "tlbi", "alle3"},      {OP(6, 8, 7, 1), "tlbi", "vae3"},
    {OP(6, 8, 7, 5), "tlbi", "vale3"},
};

void a64_print_sys(struct disas_out *o, unsigned op1, unsigned crn, unsigned crm, unsigned op2,
                   unsigned rt)
{
    unsigned key = OP(op1, crn, crm, op2);
    for (unsigned n = 0; n < ARRAY_SIZE(operations); n++)
        if (operations[n].key == key) {
            disas_puts(o, operations[n].kind);
            disas_tab(o);
            disas_puts(o, operations[n].name);
            // Those that act on everything take no register.
            bool all = strstr(operations[n].name, "all") && !strstr(operations[n].name, "vaal");
            if (!all) {
                disas_puts(o, ", ");
                a64_print_reg(o, 1, rt);
            }
            return;
        }
    disas_puts(o, "sys");
    disas_tab(o);
    disas_printf(o, "#%u, C%u, C%u, #%u", op1, crn, crm, op2);
    if (rt != 31)
        disas_printf(o, ", x%u", rt);
}
