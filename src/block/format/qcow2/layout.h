// Names and numbers of the qcow2 format, version 3 (QEMU's docs/interop/qcow2). On-disk values are
// big-endian.
#pragma once

#include "base/base.h"

enum { QCOW2_MAGIC = 0x514649fb }; // "QFI\xfb"
enum {
    QCOW2_V2_HEADER = 72,
    QCOW2_V3_HEADER = 104, // at least
    QCOW2_OUR_HEADER = 112,
    QCOW2_BACKING_NAME_MAX = 1023,
    QCOW2_CLUSTER_BITS_MIN = 9,
    QCOW2_CLUSTER_BITS_MAX = 21,
    QCOW2_SUBCLUSTERS = 32,
    QCOW2_L1_BYTES_MAX = 32 << 20,
    QCOW2_REFTABLE_BYTES_MAX = 8 << 20,
    QCOW2_SNAPSHOTS_MAX = 65536,
    QCOW2_SNAPSHOT_TABLE_MAX = 64 << 20,
    QCOW2_SNAPSHOT_EXTRA_MAX = 1024,
};

// Offsets of header fields that are written in place.
enum {
    QCOW2_AT_BACKING = 8,
    QCOW2_AT_SIZE = 24,
    QCOW2_AT_L1 = 36,        // u32 entries, u64 offset
    QCOW2_AT_REFTABLE = 48,  // u64 offset, u32 clusters
    QCOW2_AT_SNAPSHOTS = 60, // u32 count, u64 offset
    QCOW2_AT_FEATURES = 72,  // three u64: incompatible, compatible, autoclear
};

enum {
    QCOW2_INCOMPAT_DIRTY = 1 << 0,
    QCOW2_INCOMPAT_CORRUPT = 1 << 1,
    QCOW2_INCOMPAT_DATA_FILE = 1 << 2,
    QCOW2_INCOMPAT_COMPRESSION = 1 << 3,
    QCOW2_INCOMPAT_EXTENDED_L2 = 1 << 4,
    QCOW2_INCOMPAT_KNOWN = (1 << 5) - 1,
    QCOW2_COMPAT_LAZY_REFCOUNTS = 1 << 0,
    QCOW2_AUTOCLEAR_BITMAPS = 1 << 0,
    QCOW2_AUTOCLEAR_DATA_FILE_RAW = 1 << 1,
};

enum {
    QCOW2_EXT_END = 0,
    QCOW2_EXT_BACKING_FORMAT = (int)0xe2792aca,
    QCOW2_EXT_FEATURE_NAMES = 0x6803f857,
    QCOW2_EXT_BITMAPS = 0x23852875,
    QCOW2_EXT_CRYPTO = 0x0537be77,
    QCOW2_EXT_DATA_FILE = 0x44415441,
};

enum { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };

#define QCOW2_COPIED      (1ull << 63)
#define QCOW2_COMPRESSED  (1ull << 62)
#define QCOW2_ZERO        1ull
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull
#define QCOW2_L1_RESERVED (~(QCOW2_COPIED | QCOW2_OFFSET_MASK))
