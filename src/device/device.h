// The device model: one `const struct device_type` per device, one `fields[]` table per type. The
// table drives `-device X,help`, properties, reset, save and restore, introspection and the fuzzer.
// Types are listed in devices.def, boards create instances from their slot tables.
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "base/vec.h"
#include "memory/dma.h"
#include "memory/irq.h"
#include "memory/mmio.h"
#include "memory/msi.h"
#include "memory/space.h"

struct device;
struct bus;

enum field_kind {
    F_BOOL,
    F_U8,
    F_U16,
    F_U32,
    F_U64,   // stored as their C type
    F_STR,   // char *, owned
    F_ENUM,  // uint32_t, names in `names`
    F_MAC,   // uint8_t[6]
    F_SIZE,  // uint64_t with a suffix
    F_BYTES, // uint8_t[len]
    F_U8A,
    F_U16A,
    F_U32A,
    F_U64A, // arrays of `len` elements
    F_BACKEND_BLOCK,
    F_BACKEND_NET,
    F_BACKEND_CHR,
    F_BACKEND_OBJ,
    F_BACKEND_LOOP, // pointers, resolved from an id at creation (LOOP: an I/O thread's loop)
    F_STRUCT,       // `len` structures of `stride` bytes, each described by `sub`
};
enum field_use {
    FIELD_PROP = 1,  // settable from -device
    FIELD_STATE = 2, // saved and restored
    FIELD_RESET = 4, // set to `init` on reset
};
struct field {
    const char *name;
    uint16_t offset; // offsetof in the device's structure
    uint8_t kind, use;
    uint16_t len;             // elements, for arrays
    uint64_t init;            // default (property) or reset value
    uint64_t min, max;        // range of a valid value; 0,0: the whole type
    const char *const *names; // F_ENUM: NULL-terminated
    const char *help;
    const struct field *sub; // F_STRUCT
    uint16_t stride;
};
#define FIELD(type, member, ...)                                                                   \
    {                                                                                              \
        .name = #member, .offset = offsetof(type, member), __VA_ARGS__                             \
    }

struct device_type {
    const char *name;  // as in -device
    const char *alias; // or NULL
    const char *desc;
    const char
        *bus; // bus kind it plugs into: "system", "PCI", "virtio-bus", "virtio-serial-bus", "SCSI"
    const char *category;       // heading in -device help
    size_t size;                // of the structure that begins with struct device
    const struct field *fields; // ends with .name == NULL; type-specific; may be NULL
    const struct device_type
        *base; // shared fields and hooks of a family (e.g. PCI functions): its hooks run first
    const struct device_type
        *inner; // a device this one carries on a bus of its own (virtio-blk-pci has a
                // virtio-blk-device): made with it, its properties are this one's too
    bool user_creatable;
    int (*init)(
        struct device *d,
        struct err *e); // properties are set; create regions, queues; no side effects on failure
    void (*reset)(struct device *d); // after FIELD_RESET values are put back; device locked
    // Wait until nothing is in flight (requests to back ends). Main loop thread, device not locked;
    // runs before reset, save and exit.
    void (*drain)(struct device *d);
    // Unplug begins: take the registers out of the guest's reach; what is below goes next, then
    // exit.
    void (*hide)(struct device *d);
    void (*exit)(struct device *d); // unplug and end of machine; release everything, not locked
    int (*post_load)(struct device *d, struct err *e);
    // State that no table can describe: beside the fields, the device locked. `load` changes only
    // the structure; what follows from it is for post_load, when every device has been loaded.
    void (*save)(struct device *d, struct buf *out);
    int (*load)(struct device *d, struct reader *r, struct err *e);
    const void *class_data; // family-specific, e.g. struct virtio_type
};

// What a machine offers its devices. Owned by the board; outlives them.
struct machine_env {
    struct space *memory; // DMA address space of system devices
    struct clock *clock;
    struct loop *loop; // main loop: default event loop of devices
    // Requests to the machine, any thread.
    void (*request_reset)(void *opaque, const char *reason);
    void (*request_shutdown)(void *opaque, const char *reason, int exit_status);
    void (*event)(void *opaque, const char *name,
                  const char *json_data); // QMP event; data may be NULL
    void *opaque;
};

struct device {
    const struct device_type *type;
    const char *name; // for messages: the type that was asked for (of an inner device the outer's)
    char *id;         // or NULL
    struct device_tree *tree;
    struct device *inner;   // of type->inner
    struct device *host;    // the device whose guard also protects this one (a virtio device under
                            // its transport), or NULL
    struct bus *parent_bus; // or NULL for fixed board devices
    struct machine_env *env;
    struct mmio_guard guard; // its lock; registers, timers and deferred work all run under it
    uint32_t generation; // bumped by reset and unplug; requests carry it so stale completions are
                         // dropped (R6)
    bool initialised, hotplugged;
    struct list siblings; // on parent_bus
    VEC(struct bus *) child_buses;
};

struct bus_type {
    const char *name;     // matches device_type.bus
    unsigned max_devices; // 0: no limit of its own
    size_t size;          // of the structure that begins with struct bus; 0: struct bus itself
    // Assign the address ("addr" etc. are properties already set) and connect; called before
    // type->init / after exit.
    int (*plug)(struct bus *b, struct device *d, struct err *e);
    void (*unplug)(struct bus *b, struct device *d);
    // Ask the guest to let go of a device; true: it was asked, and device_remove follows when it
    // does. NULL or false: the device can go at once.
    bool (*ask)(struct bus *b, struct device *d);
};
struct bus {
    const struct bus_type *type;
    char *name;           // "pcie.0"
    struct device *owner; // the bridge; NULL for the machine's root
    struct machine_env *env;
    struct list devices;
    struct list link; // in the tree's list of buses
};

// -global DRIVER.PROP=VALUE: applied to each new device of that type.
struct device_global {
    char *driver, *prop, *val;
    bool used;
};

// Every device and bus of one machine. Not thread-safe: main loop thread only.
struct device_tree {
    struct machine_env *env;
    struct list buses;
    VEC(struct device *) devices; // creation order
    VEC(struct device_global) globals;
    // Resolves back-end ids for F_BACKEND_*: set by control. Returns NULL and fills e when there is
    // none.
    void *(*find_backend)(void *opaque, enum field_kind kind, const char *id, struct device *d,
                          struct err *e);
    void *opaque;
};
// `env` outlives the tree.
void device_tree_init(struct device_tree *t, struct machine_env *env);
void device_tree_free(struct device_tree *t); // unplugs everything, last created first
// -global: a default for every device of that type made from now on. Copies its strings.
void device_tree_global(struct device_tree *t, const char *driver, const char *prop,
                        const char *val);

const struct device_type *device_type_find(const char *name);         // by name or alias; NULL
const struct device_type *const *device_types(void);                  // NULL-terminated
struct bus *device_find_bus(struct device_tree *t, const char *name); // NULL: none of that name
struct device *device_find(struct device_tree *t, const char *id);    // by id=; NULL
// Two steps: make the structure with defaults; set properties; then plug and init. On failure the
// device is freed.
struct device *device_new(struct device_tree *t, const struct device_type *type, const char *id);
int device_set(struct device *d, const char *prop, const char *val, struct err *e) MUST_CHECK;
void device_set_ptr(struct device *d, const char *prop, void *p); // F_BACKEND_* set by a board
int device_start(struct device_tree *t, struct device *d, struct bus *bus,
                 struct err *e) MUST_CHECK;
void device_discard(struct device *d); // a device_new that was not started
void device_unplug(struct device_tree *t, struct device *d);
// device_del: at once, or when the guest agrees. device_remove is the second half: the event
// DEVICE_DELETED and the end.
int device_request_unplug(struct device_tree *t, struct device *d, struct err *e) MUST_CHECK;
void device_remove(struct device_tree *t, struct device *d);
void device_reset(struct device *d);
void device_tree_reset(struct device_tree *t);
// -device: driver, id, bus, and properties; picks the first bus of the right kind when none is
// named.
struct device *device_create_from_opts(struct device_tree *t, struct opts *o, struct err *e);
struct bus *bus_new(struct device_tree *t, const struct bus_type *type, const char *name,
                    struct device *owner);
void bus_free(struct bus *b); // empty of devices; the owner's exit hook calls it
struct mmio_guard *device_guard(struct device *d); // its own or its host's
void device_lock(struct device *d);                // mmio_guard_enter/leave of its guard
void device_unlock(struct device *d);

// The fields of a type, its families' after its own: for (b…) for (f…).
#define device_for_each_field(t, b, f)                                                             \
    for (const struct device_type *b = (t); b; b = b->base)                                        \
        for (const struct field *f = b->fields; f && f->name; f++)
// A property by name, in the type, its families or its inner type; NULL.
const struct field *device_type_prop(const struct device_type *t, const char *name);
void *device_field_ptr(struct device *d, const struct field *f);
// A property's present value as text ("true", "0x1000", a MAC, an id); -1 when there is none of
// that name.
int device_get(struct device *d, const char *prop, struct buf *out);

void device_print_help(struct buf *out);                                   // -device help
void device_type_print_help(const struct device_type *t, struct buf *out); // -device X,help
void device_print_tree(struct device_tree *t, struct buf *out);            // info qtree

// Saved state (state.c). Main loop thread, the machine paused; a device is drained before it is
// saved, and reset before it is loaded.
void device_drain(struct device *d);
void device_save(struct device *d, struct buf *out);
int device_load(struct device *d, struct reader *r, struct err *e) MUST_CHECK;
int device_loaded(struct device *d, struct err *e) MUST_CHECK; // after all were loaded
// A table's FIELD_STATE entries of any structure, for `save` and `load` hooks.
void fields_save(const struct field *fields, const void *base, struct buf *out);
int fields_load(const struct field *fields, void *base, struct reader *r, struct err *e) MUST_CHECK;
