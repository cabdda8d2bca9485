// User-creatable objects (-object, object-add): back ends and settings that have an id and no place
// on a bus. A table in object.c lists the types. Main loop thread.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/hostmem.h"
#include "base/opt.h"
#include "base/vec.h"

struct object_type;

struct object {
    const struct object_type *type;
    char *id;
    void *backend; // what devices get for this id, or NULL
};
typedef VEC(struct object) object_list;

// A memory object's backend: the machine's RAM can be made of it.
struct memory_backend {
    uint64_t size;
    struct hostmem_source source;
    char *path;
    bool used; // by the machine's RAM: it stays
};
struct memory_backend *object_memory(const struct object *o); // NULL: it is none

// The type is the option "qom-type". 0, or -1 with one line.
int object_add(object_list *l, struct opts *o, struct err *e) MUST_CHECK;
// The caller has made sure that no device holds it.
int object_del(object_list *l, const char *id, struct err *e) MUST_CHECK;
void object_free_all(object_list *l);
struct object *object_find(object_list *l, const char *id); // or NULL
const char *object_type_name(const struct object *o);
bool object_is_iothread(const struct object *o);  // its backend is a struct loop with a thread
const char *object_type_next(unsigned i);         // the i-th type's name, or NULL
const char *const *object_type_props(unsigned i); // NULL-terminated, with "id" and "qom-type"
void object_print_help(struct buf *out);
