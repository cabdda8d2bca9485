// Control and status registers of the unprivileged architecture (Zicsr, F, Zicntr).
#include "isa/riscv/riscv.h"

#include <time.h>

// fflags, from bit 0: inexact, underflow, overflow, division by zero, invalid.
static const uint8_t flag_of[5] = {FP_INEXACT, FP_UNDERFLOW, FP_OVERFLOW, FP_DIVZERO, FP_INVALID};

static uint64_t get_fflags(struct rv_cpu *c)
{
    uint64_t v = 0;
    c->env.exec->fp_sync(&c->env);
    for (unsigned n = 0; n < ARRAY_SIZE(flag_of); n++)
        v |= c->env.fp.flags & flag_of[n] ? 1u << n : 0;
    return v;
}

static void set_fflags(struct rv_cpu *c, uint64_t v)
{
    c->env.exec->fp_sync(&c->env);
    c->env.fp.flags = 0;
    for (unsigned n = 0; n < ARRAY_SIZE(flag_of); n++)
        c->env.fp.flags |= v >> n & 1 ? flag_of[n] : 0;
    c->env.exec->fp_changed(&c->env);
}

static void set_frm(struct rv_cpu *c, uint64_t v)
{
    c->env.exec->fp_sync(&c->env);
    c->frm = v & 7;
    c->env.fp.rounding = c->frm <= FP_RMM ? c->frm : FP_RNE;
    c->env.exec->fp_changed(&c->env);
}

// Ticks of a 1 GHz counter; user mode has no board that would say otherwise.
static uint64_t host_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

const char *rv_csr_name(unsigned csr)
{
    switch (csr) {
    case RV_CSR_FFLAGS:
        return "fflags";
    case RV_CSR_FRM:
        return "frm";
    case RV_CSR_FCSR:
        return "fcsr";
    case RV_CSR_CYCLE:
        return "cycle";
    case RV_CSR_TIME:
        return "time";
    case RV_CSR_INSTRET:
        return "instret";
    default:
        return NULL;
    }
}

bool rv_csr_read(struct rv_cpu *c, unsigned csr, uint64_t *v)
{
    if (csr <= RV_CSR_FCSR && !rv_has(c, RV_FEAT_F))
        return false;
    switch (csr) {
    case RV_CSR_FFLAGS:
        *v = get_fflags(c);
        return true;
    case RV_CSR_FRM:
        *v = c->frm;
        return true;
    case RV_CSR_FCSR:
        *v = get_fflags(c) | (uint64_t)c->frm << 5;
        return true;
    case RV_CSR_CYCLE:
    case RV_CSR_TIME:
    case RV_CSR_INSTRET:
        *v = host_time();
        return rv_has(c, RV_FEAT_ZICNTR);
    default:
        return false;
    }
}

bool rv_csr_write(struct rv_cpu *c, unsigned csr, uint64_t v)
{
    if (csr <= RV_CSR_FCSR && !rv_has(c, RV_FEAT_F))
        return false;
    switch (csr) {
    case RV_CSR_FFLAGS:
        set_fflags(c, v);
        return true;
    case RV_CSR_FRM:
        set_frm(c, v);
        return true;
    case RV_CSR_FCSR:
        set_fflags(c, v);
        set_frm(c, v >> 5);
        return true;
    default:
        return false;
    }
}
