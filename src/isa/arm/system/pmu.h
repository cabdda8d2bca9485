// The performance monitor's registers, for the system-register table. On the vCPU's thread, at an
// instruction whose state is exact.
#pragma once

#include "isa/arm/arm_bits.h"

uint64_t arm_pmu_events(void); // PMCEID0: what can be counted
// PMCR, PMCNTENSET and -CLR, PMOVSSET and -CLR, PMINTENSET and -CLR, PMCCNTR, PMCCFILTR (DDI 0487,
// D13), as the current level may see and change them.
uint64_t arm_pmu_get_cr(struct arm_cpu *c);
void arm_pmu_set_cr(struct arm_cpu *c, uint64_t v);
uint64_t arm_pmu_get_enabled(struct arm_cpu *c);
void arm_pmu_set_enabled(struct arm_cpu *c, uint64_t v);
void arm_pmu_clear_enabled(struct arm_cpu *c, uint64_t v);
uint64_t arm_pmu_get_overflowed(struct arm_cpu *c);
void arm_pmu_set_overflowed(struct arm_cpu *c, uint64_t v);
void arm_pmu_clear_overflowed(struct arm_cpu *c, uint64_t v);
uint64_t arm_pmu_get_interrupts(struct arm_cpu *c);
void arm_pmu_set_interrupts(struct arm_cpu *c, uint64_t v);
void arm_pmu_clear_interrupts(struct arm_cpu *c, uint64_t v);
uint64_t arm_pmu_get_cycles(struct arm_cpu *c);
void arm_pmu_set_cycles(struct arm_cpu *c, uint64_t v);
uint64_t arm_pmu_get_cycle_filter(struct arm_cpu *c);
void arm_pmu_set_cycle_filter(struct arm_cpu *c, uint64_t v);
void arm_pmu_increment(struct arm_cpu *c, uint64_t which); // PMSWINC
// Of event counter n; one that this level does not have reads as zero and ignores writes.
uint64_t arm_pmu_get_count(struct arm_cpu *c, unsigned n);
void arm_pmu_set_count(struct arm_cpu *c, unsigned n, uint64_t v);
uint64_t arm_pmu_get_type(struct arm_cpu *c, unsigned n);
void arm_pmu_set_type(struct arm_cpu *c, unsigned n, uint64_t v);
