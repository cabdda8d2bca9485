// Operands of RISC-V assembly, with the register names of the psABI as GNU tools write them.
#include "isa/riscv/rv/print.h"

#include "isa/riscv/riscv.h"

void rv_print_reg(struct disas_out *o, unsigned n)
{
    disas_puts(o, isa_riscv64.regs[RV_X0 + n].name);
}

void rv_print_freg(struct disas_out *o, unsigned n)
{
    disas_puts(o, isa_riscv64.regs[RV_F0 + n].name);
}

void rv_print_label(struct disas_out *o, int32_t offset)
{
    disas_printf(o, "0x%llx", (unsigned long long)(o->pc + (uint64_t)(int64_t)offset));
}

void rv_print_upper(struct disas_out *o, int32_t imm)
{
    disas_printf(o, "0x%x", (uint32_t)imm >> 12);
}

void rv_print_csr(struct disas_out *o, unsigned csr)
{
    const char *name = rv_csr_name(csr);
    if (name)
        disas_puts(o, name);
    else
        disas_printf(o, "0x%x", csr);
}

void rv_print_order(struct disas_out *o, bool aq, bool rl)
{
    disas_puts(o, aq && rl ? ".aqrl" : aq ? ".aq" : rl ? ".rl" : "");
}

void rv_print_rounding(struct disas_out *o, unsigned rm)
{
    static const char *const names[8] = {",rne", ",rtz", ",rdn", ",rup", ",rmm", ",?5", ",?6", ""};
    disas_puts(o, names[rm]);
}

void rv_print_fence(struct disas_out *o, unsigned set)
{
    if (!set)
        disas_puts(o, "unknown");
    for (unsigned n = 0; n < 4; n++)
        if (set >> (3 - n) & 1)
            disas_printf(o, "%c", "iorw"[n]);
}

void rv_print_vreg(struct disas_out *o, unsigned n)
{
    disas_printf(o, "v%u", n);
}

void rv_print_vmask(struct disas_out *o, bool unmasked)
{
    disas_puts(o, unmasked ? "" : ",v0.t");
}

void rv_print_vsegments(struct disas_out *o, unsigned nf)
{
    disas_printf(o, "%u", nf + 1);
}

void rv_print_vtype(struct disas_out *o, unsigned vtype)
{
    static const char *const lmul[8] = {"m1", "m2", "m4", "m8", "?", "mf8", "mf4", "mf2"};
    if (vtype >> 8 || (vtype >> 3 & 7) > 3 || (vtype & 7) == 4)
        disas_printf(o, "%u", vtype);
    else
        disas_printf(o, "e%u,%s,%s,%s", 8u << (vtype >> 3 & 7), lmul[vtype & 7],
                     vtype & 64 ? "ta" : "tu", vtype & 128 ? "ma" : "mu");
}

void rv_print_fli(struct disas_out *o, unsigned n)
{
    disas_printf(o, "%u", n);
}
