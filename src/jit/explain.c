// One region in all its forms, for `myna explain` and -d out_asm: IR and host code.
#include "base/buf.h"
#include "base/host/disas.h"
#include "jit/translate.h"

// A disassembly where there is one, else the bytes.
void jit_print_code(const uint8_t *code, size_t n, struct buf *out)
{
    size_t at = 0;
#ifdef __x86_64__
    char text[128];
    for (unsigned len; at < n && (len = disas_x86(code + at, (unsigned)(n - at),
                                                  (uintptr_t)code + at, text, sizeof text));
         at += len)
        buf_printf(out, "  %llx: %s\n", (unsigned long long)(uintptr_t)code + at, text);
#endif
    for (size_t first = at; at < n; at++)
        buf_printf(out, "%02x%s", code[at], (at - first) % 16 == 15 || at == n - 1 ? "\n" : " ");
}

void jit_explain(struct env *e, uint64_t pc, struct buf *out)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    struct jit *j = v->jit;
    jit_mode_enter(v, e->isa->mode(e)); // registers may have been set since it last ran
    uint8_t code[4096];
    unsigned off = (unsigned)(pc & ~PAGE_MASK);
    unsigned avail = jit_fetch(e, pc & PAGE_MASK, code, (unsigned)PAGE_SIZE);
    if (avail <= off) {
        buf_printf(out, "no code at 0x%llx\n", (unsigned long long)pc);
        return;
    }
    ir_region_reset(&v->region, j->c.guest, pc, v->mode & ~JIT_MODE_STRICT_FP);
    if (!j->c.translate(j->c.opaque, e, pc, v->mode & ~JIT_MODE_STRICT_FP, code + off, avail - off,
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
