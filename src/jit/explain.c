// One region in all its forms, for `myna explain` and -d out_asm: IR and host code.
#include "base/buf.h"
#include "jit/translate.h"

#if defined(HAVE_CAPSTONE) && defined(__x86_64__)
#include <capstone/capstone.h>

void jit_print_code(const uint8_t *code, size_t n, struct buf *out)
{
    csh h;
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &h) != CS_ERR_OK)
        return;
    cs_insn *insn;
    size_t count = cs_disasm(h, code, n, (uintptr_t)code, 0, &insn);
    for (size_t k = 0; k < count; k++)
        buf_printf(out, "  %llx: %s %s\n", (unsigned long long)insn[k].address, insn[k].mnemonic,
                   insn[k].op_str);
    if (count)
        cs_free(insn, count);
    cs_close(&h);
}
#else
void jit_print_code(const uint8_t *code, size_t n, struct buf *out)
{
    for (size_t k = 0; k < n; k++)
        buf_printf(out, "%02x%s", code[k], k % 16 == 15 || k == n - 1 ? "\n" : " ");
}
#endif

void jit_explain(struct env *e, uint64_t pc, struct buf *out)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    struct jit *j = v->jit;
    if (!v->mode_known)
        jit_mode_enter(v, e->isa->mode(e));
    uint8_t code[4096];
    unsigned avail = jit_fetch(e, pc, code, (unsigned)(PAGE_SIZE - (pc & ~PAGE_MASK)));
    if (!avail) {
        buf_printf(out, "no code at 0x%llx\n", (unsigned long long)pc);
        return;
    }
    ir_region_reset(&v->region, j->c.guest, pc, v->mode & ~JIT_MODE_STRICT_FP);
    if (!j->c.translate(j->c.opaque, e, pc, v->mode & ~JIT_MODE_STRICT_FP, code, avail,
                        JIT_MAX_INSNS, &v->region))
        return;
    if (!j->c.no_loops) {
        jit_lock(j);
        ir_form_loop(&j->loop_pass, &v->region);
        jit_unlock(j);
    }
    buf_printf(out, "IR:\n");
    ir_print(&v->region, out);
    if (!j->host || j->c.interpret)
        return;
    struct block *b = jit_find(v, pc);
    if (!b)
        return;
    buf_printf(out, "host code, %u bytes for %u guest instructions, side table %zu bytes:\n",
               b->code_size, b->n_guest_insns, b->sites_size);
    jit_print_code(j->rx + b->code, b->code_size, out);
}
