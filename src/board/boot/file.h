// Reading boot images from the host: whole files, decompressed where their format says so.
#pragma once

#include "board/board.h"

// A file's bytes. `data` is malloc'ed; free it or hand it to machine_place.
struct boot_file {
    uint8_t *data;
    size_t len;
    int fd;      // the file itself, above the standard ones; 0: closed
    bool packed; // `data` is what was unpacked of it
};
// `what` begins the error line ("kernel"); larger than `max` is an error.
int boot_file_read(const char *what, const char *path, uint64_t max, struct boot_file *f,
                   struct err *e) MUST_CHECK;
// The same; the file stays open.
int boot_file_read_open(const char *what, const char *path, uint64_t max, struct boot_file *f,
                        struct err *e) MUST_CHECK;
// A regular file of at most `max` bytes, open for reading; its size in *len. -1: said why.
int boot_file_open(const char *what, const char *path, uint64_t max, uint64_t *len,
                   struct err *e) MUST_CHECK;
void boot_file_free(struct boot_file *f);

// Undo what wraps a kernel: gzip, zstd, and the EFI zboot container of either. A file that is none
// of these stays as it is. `max` bounds the result.
int boot_file_unpack(const char *path, uint64_t max, struct boot_file *f, struct err *e) MUST_CHECK;

// To be in RAM at every reset: what stayed open is read again then, and no copy is kept. f is empty
// afterwards.
int boot_file_place(struct machine *m, const char *name, gpa_t at, struct boot_file *f,
                    struct err *e) MUST_CHECK;
// What boot_file_read_open and boot_file_unpack made of `fd`, once more.
int boot_file_again(const char *name, int fd, uint64_t max, struct boot_file *f,
                    struct err *e) MUST_CHECK;

// The initial RAM disk of the options goes 128 MiB into RAM, or to the middle of a small RAM, and
// never below `above`, where the kernel ends. Where it lies, and its size.
int boot_place_initrd(struct machine *m, gpa_t above, gpa_t *at, uint64_t *len,
                      struct err *e) MUST_CHECK;
