// Writing AML, the byte code of ACPI's definition blocks (ACPI 6.4, chapter 20): as much of it as
// describing fixed devices needs. Terms are written in order; what contains others is opened and
// closed, and closing puts in its length.
#pragma once

#include "base/buf.h"

struct aml {
    struct buf b;
    size_t open[16]; // where the package lengths of open terms go
    unsigned depth;
};

// Until aml_close: what contains others.
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *name);
void aml_method(struct aml *a, const char *name, unsigned args);
void aml_package(struct aml *a, uint8_t n); // of n elements
void aml_if_equal_buffer(struct aml *a, unsigned arg, const void *bytes,
                         size_t n); // If (ArgX == …)
void aml_close(struct aml *a);

void aml_name(struct aml *a, const char *name); // Name(name, …): the value follows
// Values (ACPI 6.5, 20.2.3): where one is expected, each is the whole of it.
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_buffer(struct aml *a, const void *bytes, size_t n);
void aml_path(struct aml *a, const char *path);                  // a reference
void aml_return(struct aml *a);                                  // the value follows
void aml_arg(struct aml *a, unsigned n);                         // a method's argument, as a value
void aml_notify(struct aml *a, const char *path, uint8_t value); // Notify(path, value)
// Common members.
void aml_name_int(struct aml *a, const char *name, uint64_t v);
void aml_name_string(struct aml *a, const char *name, const char *s);
void aml_hid(struct aml *a, const char *name, const char *id); // PNP ids are compressed

// Resource templates (ACPI 6.4, 6.4): open, descriptors, close.
void aml_crs(struct aml *a, const char *name);
void aml_crs_memory32(struct aml *a, uint32_t base, uint32_t size);
void aml_crs_io(struct aml *a, uint16_t base, uint8_t size);
void aml_crs_irq(struct aml *a, uint32_t gsi, bool edge);
enum aml_window { AML_MEMORY = 0, AML_IO = 1, AML_BUS = 2 };
// [min, max] as the bus sees it, `offset` to what the CPU sees.
void aml_crs_window(struct aml *a, enum aml_window kind, uint64_t min, uint64_t max,
                    uint64_t offset);
void aml_crs_gpio_irq(struct aml *a, uint16_t pin, const char *controller);
void aml_crs_close(struct aml *a);
