// Boards: what a machine consists of. A board is a slot table and a few functions; this file is
// what the control plane sees of it: the configuration that options add up to, and the machine made
// from it. Everything here is called on the main loop's thread with the vCPUs paused unless stated.
#pragma once

#include "accel/vcpu.h"
#include "base/hostmem.h"
#include "base/buf.h"
#include "base/opt.h"
#include "device/device.h"

struct block_node;
struct chardev;
struct machine;

struct board_prop {
    const char *name; // as in -machine NAME=…
    const char *help; // values and meaning
};

struct board {
    const char *name, *desc;
    const char *arch; // isa name
    unsigned max_cpus;
    uint64_t default_ram;
    bool numa;   // it tells the guest of nodes
    bool no_nic; // there is no bus for a network card: none is made unless asked for
    const struct board_prop *props; // ends with .name == NULL
    // Check the configuration, make spaces, RAM, vCPUs, devices and buses. -1 with one line.
    int (*create)(struct machine *m, struct err *e);
    // All -device are there: images, device tree, tables.
    int (*finish)(struct machine *m, struct err *e);
    void (*reset)(struct machine *m); // devices are reset and images placed: power on the boot CPU
    void (*powerdown)(struct machine *m); // press the power button
    void (*destroy)(struct machine *m);
};
extern const struct board *const boards[]; // NULL-terminated, from boards.def
// By name, or by name and version ("virt-7.2"); NULL.
const struct board *board_find(const char *arch, const char *name);

// NUMA nodes: memory is laid out in their order from the start of RAM.
enum { NUMA_NODES = 64, NUMA_CPUS = 512 };
struct machine_numa {
    unsigned n;
    uint64_t mem[NUMA_NODES];
    uint8_t node_of_cpu[NUMA_CPUS];
    uint8_t distance[NUMA_NODES][NUMA_NODES]; // 10 to itself
    bool has_distances;                       // the operator gave them
};

struct machine_config {
    const struct board *board;
    struct loop *loop;
    struct clock *clock; // the machine's own when NULL

    const char *cpu;                            // model; NULL: the ISA's default
    struct opts *cpu_features;                  // rest of -cpu, or NULL
    unsigned cpus, max_cpus;                    // -smp; 0: 1, and as many as cpus
    unsigned sockets, clusters, cores, threads; // 0: computed
    uint64_t ram_size;                          // 0: the board's default
    struct hostmem_source ram_source;
    const struct machine_numa *numa; // or NULL

    struct opts *props; // -machine, all but the type; unknown ones are errors; or NULL
    const struct device_global *globals; // -global, for the board's own devices, too
    unsigned n_globals;
    struct opts *accels; // -accel in order of preference
    unsigned n_accels;

    const char *kernel, *initrd, *append, *dtb, *bios;
    struct block_node *pflash[2];
    struct chardev *serial[4];
    struct opts *smbios; // -smbios, with type=N
    unsigned n_smbios;
    struct opts *fw_cfg; // -fw_cfg name=,file= or string=
    unsigned n_fw_cfg;
    uint64_t rtc_base;      // seconds since the epoch, 0: the host's time
    const char *name;       // -name
    const uint8_t *uuid;    // 16 bytes or NULL
    const char *boot_order; // "order" of -boot, or NULL

    // What devices and the guest ask of the machine. Any thread; may be NULL.
    void (*on_reset)(void *opaque, const char *reason);
    void (*on_shutdown)(void *opaque, const char *reason, int exit_status);
    void (*on_event)(void *opaque, const char *name, const char *json_data);
    void *opaque;
};

struct machine {
    const struct board *board;
    struct machine_config config; // strings are the caller's and outlive the machine
    struct machine_env env;
    struct loop
        *timers; // CPU timers, on a thread of its own: work on the main loop must not delay them
    struct device_tree tree;
    const struct isa *isa;
    struct accel *accel;
    struct vcpus *vcpus;
    struct space *memory;        // physical memory; with TrustZone the non-secure one
    struct space *secure_memory; // or NULL
    struct ram *ram;
    struct ram *secure_ram; // or NULL; the board's
    gpa_t ram_base;
    bool own_clock;
    bool nothing_to_run; // the board's: neither a kernel nor firmware was given
    void *priv;          // the board's
    VEC(struct machine_image) images;
};

// RAM and topology as far as they were not said; machine_new does it, too.
int machine_complete_config(struct machine_config *c, struct err *e) MUST_CHECK;
// Makes the machine and its fixed devices; -device may follow, then machine_finish.
struct machine *machine_new(const struct machine_config *c, struct err *e);
// Loads images, resets; the machine can run. Once.
int machine_finish(struct machine *m, struct err *e) MUST_CHECK;
void machine_reset(struct machine *m);
void machine_run(struct machine *m); // vCPUs and clock go
// The same, but of the n vCPUs only those whose `run` is set (a debugger holds the others).
void machine_run_some(struct machine *m, const bool *run, unsigned n);
void machine_pause(struct machine *m); // nothing of the guest runs when this returns
void machine_powerdown(struct machine *m);
void machine_free(struct machine *m); // NULL is fine
void machine_print_mtree(struct machine *m, struct buf *out);
void board_print_help(const struct board *b, struct buf *out); // -machine NAME,help

// ---- for boards ----

// Bytes that belong in RAM: put there at every reset (image.c).
struct machine_image {
    char *name;
    gpa_t at;
    size_t len;
    uint8_t *data; // or NULL: a file's, and zeros after them
    int fd;        // -1: none
    uint64_t off;
    size_t file_len;
    bool packed; // all of the file, unpacked
};
// Takes over `data` (malloc). -1 when it does not lie in RAM or overlaps another image.
int machine_place(struct machine *m, const char *name, gpa_t at, uint8_t *data, size_t len,
                  struct err *e) MUST_CHECK;
// The same of `file_len` bytes of a file from `off` on, which are read at each reset, and zeros up
// to `len`. `fd` stays the caller's.
int machine_place_file(struct machine *m, const char *name, gpa_t at, int fd, uint64_t off,
                       size_t file_len, size_t len, struct err *e) MUST_CHECK;
// The same of what a whole file unpacks to (boot/file.h): `data`, taken over, are for the first
// reset.
int machine_place_packed(struct machine *m, const char *name, gpa_t at, int fd, uint8_t *data,
                         size_t len, struct err *e) MUST_CHECK;
int machine_load_images(struct machine *m, struct err *e) MUST_CHECK; // for machine_reset
void machine_free_images(struct machine *m);
// RAM at `base`, mapped in `memory`; sets ram and ram_base.
int machine_add_ram(struct machine *m, gpa_t base, struct err *e) MUST_CHECK;
// Accelerator and vCPUs; `config` as for vcpus_new.
int machine_add_cpus(struct machine *m,
                     void (*config)(void *opaque, unsigned i, struct isa_config *c), void *opaque,
                     struct err *e) MUST_CHECK;
