// A guest CPU architecture: one folder under isa/ and one line in isas.def. An ISA lifts
// instructions to IR, walks page tables, takes exceptions and knows its registers; it reaches out
// only through address spaces and lines (docs/architecture.md, seam 1).
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/opt.h"
#include "ir/build.h"
#include "memory/irq.h"
#include "memory/space.h"

// One instruction to lift. `code` holds at least the ISA's longest instruction, or as much as is
// readable (`avail`).
struct lift {
    struct ir_build *b;
    struct env *env; // for constant facts only: model, mode comes from `mode`
    uint64_t pc, mode;
    const uint8_t *code;
    unsigned avail;
    bool parallel;   // other CPUs see memory: what is single-copy atomic must be
    unsigned length; // out: bytes consumed; 0 when avail was too short
};

// One register, for gdb, state dumps, save/restore, KVM and tests: the ISA's regs.def makes the
// table.
struct isa_reg {
    const char *name;
    uint8_t bits;  // 8..128
    int16_t gdb;   // number in the target description, -1: none
    uint8_t group; // enum isa_reg_group
    void (*get)(struct env *e, const struct isa_reg *r,
                void *out); // little-endian, (bits + 7) / 8 bytes
    void (*set)(struct env *e, const struct isa_reg *r, const void *in);
    uint32_t arg; // for get and set: an offset or number
};
// For registers that are a field of the CPU's state: `arg` is its offset.
void isa_reg_get_field(struct env *e, const struct isa_reg *r, void *out);
void isa_reg_set_field(struct env *e, const struct isa_reg *r, const void *in);
enum isa_reg_group { REG_GENERAL, REG_FLOAT, REG_VECTOR, REG_SYSTEM };

// A part of a CPU's state, for saving: plain bytes of the host's order in the structure.
struct isa_state {
    const char *name;
    uint32_t offset, bytes;
};

// Power control that a CPU asks of its machine (Arm PSCI, RISC-V SBI HSM). Any vCPU thread.
struct isa_platform {
    void *opaque;
    // Start a halted CPU at `entry` with `arg` in its first argument register. 0, or a negative
    // PSCI-style code given by the ISA's caller.
    enum {
        POWER_OK = 0,
        POWER_NO_SUCH_CPU = -2,
        POWER_ALREADY_ON = -4,
        POWER_ON_PENDING = -5
    } unused_;
    int (*cpu_on)(void *opaque, uint64_t hw_id, uint64_t entry, uint64_t arg, unsigned level);
    int (*cpu_state)(void *opaque, uint64_t hw_id); // 0 off, 1 on, -2 no such CPU
    void (*cpu_off)(void *opaque, struct env *e);   // marks it; the ISA then leaves with LEAVE_STOP
    void (*system_off)(void *opaque);
    void (*system_reset)(void *opaque);
    void (*kick)(void *opaque, struct env *e); // make that vCPU look at env.interrupt (any thread)
    // The guest cannot go on, and `why` (one line) was reported. `host`: the host could not do its
    // part; else the guest brought it about.
    void (*system_failed)(void *opaque, const char *why, bool host);
};

struct isa_config {
    const char *model;           // "cortex-a72", "max"
    struct opts *features;       // rest of -cpu; unknown names are errors; may be NULL
    uint32_t index;              // vCPU number
    uint64_t hw_id;              // MPIDR affinity, hart id
    struct space *memory;        // physical space as this CPU sees it
    struct space *secure_memory; // Arm secure space, or NULL
    struct space *sysregs;       // system registers that belong to devices, or NULL
    struct space *ports;         // x86 I/O ports, or NULL
    unsigned cores, threads;     // of a socket, of a core; 0: one
    const void *host_cpu; // what the processor under the accelerator offers, in the ISA's terms
                          // (x86: struct x86_host), or NULL
    struct clock *clock;
    struct loop *loop; // CPU timers fire here
    enum {
        CONDUIT_NONE,
        CONDUIT_HVC,
        CONDUIT_SMC
    } conduit; // firmware calls the CPU answers itself
    const struct isa_platform *platform;
    struct irq out[8]; // lines the CPU drives: meaning per ISA (Arm: enum arm_out in isa/arm/arm.h)
    bool has_el2, has_el3; // Arm: virtualization=on, secure=on
    bool user_mode;        // no exceptions taken in the CPU: LEAVE_SYSCALL and LEAVE_SIGNAL instead
};

struct isa_model {
    const char *name;
    const char *desc;
};

struct isa {
    const char *name;     // "aarch64": as in qemu-system-NAME and query-target
    uint16_t elf_machine; // EM_*
    bool elf64, big_endian;
    const struct ir_guest *guest;
    size_t cpu_size; // of the state that begins with struct env
    unsigned max_insn_bytes;
    const struct isa_model *models; // ends with .name == NULL
    const char *default_model;
    const struct isa_reg *regs;
    unsigned n_regs;
    // Everything that makes a CPU what it is at the moment; NULL: it cannot be saved. On the
    // vCPU's thread: `state_out` brings it up to date, `state_in` draws the conclusions (the
    // machine's clock and memory are there already); -1 for what cannot be.
    const struct isa_state *state; // ends with .name == NULL
    void (*state_out)(struct env *e);
    int (*state_in)(struct env *e, struct err *err);
    const struct env_isa_ops *ops;

    int (*init)(struct env *e, const struct isa_config *c, struct err *err); // fills e->isa; once
    void (*exit)(struct env *e);
    void (*reset)(struct env *e); // architectural cold reset
    // State to start a program or kernel with: entry point, first argument, privilege level
    // (ISA-defined; Arm: EL 1..3).
    void (*start)(struct env *e, uint64_t entry, uint64_t arg, unsigned level);
    // Emits one instruction; undefined ones raise the guest's exception. NULL: not translated.
    void (*lift)(struct lift *l);
    // Disassembly of one instruction: bytes consumed (0: none). `out` gets text without newline.
    unsigned (*disas)(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n);
    struct irq (*line)(struct env *e, unsigned n); // input line n (Arm: IRQ, FIQ, VIRQ, VFIQ)
    const char *(*gdb_xml)(struct env *e,
                           const char *annex); // "target.xml" and what it includes; NULL: none
    uint64_t (*get_pc)(struct env *e);
    void (*set_pc)(struct env *e, uint64_t pc);
    void (*debug_step)(struct env *e,
                       bool on); // the mode key changes; regions become one instruction long
};

extern const struct isa *const isas[]; // NULL-terminated, from isas.def
const struct isa *isa_find(const char *name);
