// qemu-img info and map: what an image is, and where its data lies.

#include "control/img/img.h"
#include "base/buf.h"
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

// Facts go to a JSON object first; the human form is printed from it.
struct json_sink {
    struct block_info_sink base;
    struct json_object *o;
};

static void put_text(struct block_info_sink *s, const char *key, const char *v)
{
    json_object_object_add(container_of(s, struct json_sink, base)->o, key,
                           json_object_new_string(v));
}

static void put_number(struct block_info_sink *s, const char *key, uint64_t v)
{
    json_object_object_add(container_of(s, struct json_sink, base)->o, key,
                           json_object_new_uint64(v));
}

static void put_flag(struct block_info_sink *s, const char *key, bool v)
{
    json_object_object_add(container_of(s, struct json_sink, base)->o, key,
                           json_object_new_boolean(v));
}

static struct json_object *snapshot_json(const struct block_snapshot *s)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "id", json_object_new_string(s->id));
    json_object_object_add(o, "name", json_object_new_string(s->name));
    json_object_object_add(o, "vm-state-size", json_object_new_uint64(s->vmstate_bytes));
    json_object_object_add(o, "date-sec", json_object_new_uint64(s->date_ns / 1000000000));
    json_object_object_add(o, "date-nsec", json_object_new_uint64(s->date_ns % 1000000000));
    json_object_object_add(o, "vm-clock-sec", json_object_new_uint64(s->clock_ns / 1000000000));
    json_object_object_add(o, "vm-clock-nsec", json_object_new_uint64(s->clock_ns % 1000000000));
    return o;
}

static void add_snapshots(struct json_object *o, struct block_node *n)
{
    struct block_snapshot *list;
    struct err e = {0};
    if (!n->drv->snapshots)
        return;
    int count = block_snapshot_list(n, &list, &e);
    if (count <= 0) {
        if (!count)
            free(list);
        return;
    }
    struct json_object *all = json_object_new_array();
    for (int i = 0; i < count; i++)
        json_object_array_add(all, snapshot_json(&list[i]));
    json_object_object_add(o, "snapshots", all);
    free(list);
}

static void add_backing(struct json_object *o, struct block_node *n, const struct block_facts *f)
{
    if (!f->backing_name)
        return;
    char *full = strncmp(f->backing_name, "json:", 5)
                     ? node_resolve_name(n->filename, f->backing_name)
                     : xstrdup(f->backing_name);
    json_object_object_add(o, "backing-filename", json_object_new_string(f->backing_name));
    json_object_object_add(o, "full-backing-filename", json_object_new_string(full));
    if (f->backing_format)
        json_object_object_add(o, "backing-filename-format",
                               json_object_new_string(f->backing_format));
    free(full);
}

static struct json_object *describe(struct block_node *n)
{
    struct json_object *o = json_object_new_object();
    struct json_sink sink = {{put_text, put_number, put_flag}, json_object_new_object()};
    struct block_facts f;
    struct stat st;
    image_facts(n, &f);
    image_info(n, &sink.base);
    json_object_object_add(o, "virtual-size", json_object_new_uint64(block_size(n)));
    json_object_object_add(o, "filename", json_object_new_string(n->filename ?: "null"));
    if (f.cluster_size)
        json_object_object_add(o, "cluster-size", json_object_new_uint64(f.cluster_size));
    json_object_object_add(o, "format", json_object_new_string(block_driver_name(n)));
    if (n->filename && !stat(n->filename, &st))
        json_object_object_add(o, "actual-size",
                               json_object_new_uint64((uint64_t)st.st_blocks * 512));
    if (json_object_object_length(sink.o)) {
        struct json_object *specific = json_object_new_object();
        json_object_object_add(specific, "type", json_object_new_string(block_driver_name(n)));
        json_object_object_add(specific, "data", sink.o);
        json_object_object_add(o, "format-specific", specific);
    } else {
        json_object_put(sink.o);
    }
    add_backing(o, n, &f);
    add_snapshots(o, n);
    json_object_object_add(o, "dirty-flag", json_object_new_boolean(f.dirty));
    return o;
}

static const char *text_of(struct json_object *o, const char *key)
{
    struct json_object *v = json_object_object_get(o, key);
    return v ? json_object_get_string(v) : NULL;
}

static uint64_t number_of(struct json_object *o, const char *key)
{
    struct json_object *v = json_object_object_get(o, key);
    return v ? json_object_get_uint64(v) : 0;
}

void img_format_snapshot_list(struct buf *out, const struct block_snapshot *list, int count,
                              bool heading)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    if (heading)
        buf_printf(out, "%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
                   "ICOUNT");
    for (const struct block_snapshot *s = list; s < list + count; s++) {
        char date[32] = "", clock[32], size[32];
        time_t when = (time_t)(s->date_ns / 1000000000);
        struct tm tm;
        if (localtime_r(&when, &tm))
            strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
        uint64_t sec = s->clock_ns / 1000000000;
        snprintf(clock, sizeof clock, "%02u:%02u:%02u.%03u", (unsigned)(sec / 3600),
                 (unsigned)(sec / 60 % 60), (unsigned)(sec % 60),
                 (unsigned)(s->clock_ns / 1000000 % 1000));
        double v = (double)s->vmstate_bytes;
        unsigned u = 0;
        for (; v >= 1000 && u + 1 < ARRAY_SIZE(units); u++)
            v /= 1024;
        snprintf(size, sizeof size, "%0.3g %s", v, units[u]);
        buf_printf(out, "%-9s %-16s %7s%20s%13s%11s\n", s->id, s->name, size, date, clock, "");
    }
}

void img_print_snapshot_list(const struct block_snapshot *list, int count, bool heading)
{
    struct buf b = {0};
    img_format_snapshot_list(&b, list, count, heading);
    fputs(buf_str(&b), stdout);
    buf_free(&b);
}

static void print_snapshots(struct json_object *all)
{
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        struct json_object *o = json_object_array_get_idx(all, i);
        struct block_snapshot s = {
            .vmstate_bytes = number_of(o, "vm-state-size"),
            .date_ns = number_of(o, "date-sec") * 1000000000 + number_of(o, "date-nsec"),
            .clock_ns = number_of(o, "vm-clock-sec") * 1000000000 + number_of(o, "vm-clock-nsec")};
        snprintf(s.id, sizeof s.id, "%s", text_of(o, "id"));
        snprintf(s.name, sizeof s.name, "%s", text_of(o, "name"));
        img_print_snapshot_list(&s, 1, !i);
    }
}

static void print_human(struct json_object *o)
{
    printf("image: %s\nfile format: %s\nvirtual size: ", text_of(o, "filename"),
           text_of(o, "format"));
    img_print_size(number_of(o, "virtual-size"));
    printf(" (%llu bytes)\ndisk size: ", (unsigned long long)number_of(o, "virtual-size"));
    if (json_object_object_get(o, "actual-size"))
        img_print_size(number_of(o, "actual-size"));
    else
        printf("unavailable");
    printf("\n");
    if (number_of(o, "cluster-size"))
        printf("cluster_size: %llu\n", (unsigned long long)number_of(o, "cluster-size"));
    if (json_object_get_boolean(json_object_object_get(o, "dirty-flag")))
        printf("cleanly shut down: no\n");
    const char *backing = text_of(o, "backing-filename");
    if (backing) {
        const char *full = text_of(o, "full-backing-filename");
        printf("backing file: %s", backing);
        if (strcmp(full, backing))
            printf(" (actual path: %s)", full);
        printf("\n");
        if (text_of(o, "backing-filename-format"))
            printf("backing file format: %s\n", text_of(o, "backing-filename-format"));
    }
    struct json_object *snapshots = json_object_object_get(o, "snapshots");
    if (snapshots) {
        printf("Snapshot list:\n");
        print_snapshots(snapshots);
    }
    struct json_object *specific = json_object_object_get(o, "format-specific");
    if (!specific)
        return;
    printf("Format specific information:\n");
    json_object_object_foreach(json_object_object_get(specific, "data"), key, value)
    {
        printf("    ");
        for (const char *c = key; *c; c++)
            putchar(*c == '-' ? ' ' : *c);
        printf(": %s\n", json_object_get_string(value));
    }
}

static int collect(const struct img_args *a, const char *name, bool chain, struct json_object *all)
{
    const char *format = a->format;
    char *at = xstrdup(name), *fmt = format ? xstrdup(format) : NULL;
    struct img_args args = *a;
    int r = 0;
    for (unsigned depth = 0; at && !r; depth++) {
        struct block_node *n =
            img_open(&args, at, fmt, IMAGE_READ_ONLY | IMAGE_NO_BACKING | IMAGE_CHECK, NULL);
        args.image_opts = false;
        free(at);
        free(fmt);
        at = fmt = NULL;
        if (!n || depth > 200) {
            if (n)
                img_usage("the backing chain of %s contains a loop", name);
            block_unref(n);
            return 1;
        }
        struct json_object *o = describe(n);
        json_object_array_add(all, o);
        const char *next = text_of(o, "full-backing-filename");
        if (chain && next) {
            at = xstrdup(next);
            const char *next_format = text_of(o, "backing-filename-format");
            fmt = next_format ? xstrdup(next_format) : NULL;
        }
        block_unref(n);
    }
    return r;
}

int img_info(int argc, char **argv)
{
    enum { OPT_CHAIN = OPT_FIRST_OWN };
    static const struct option longs[] = {
        IMG_COMMON_LONG, {"backing-chain", no_argument, NULL, OPT_CHAIN}, {0}};
    struct img_args a = {0};
    bool chain = false;
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "f:t:U", longs, NULL)) != -1) {
        if (opt == OPT_CHAIN)
            chain = true;
        else
            r = img_common(&a, opt, optarg);
    }
    if (r || optind != argc - 1)
        return r ?: img_usage("info: Expecting one image file name");
    struct json_object *all = json_object_new_array();
    r = collect(&a, argv[optind], chain, all);
    if (!r && a.json) {
        struct json_object *shown = chain ? all : json_object_array_get_idx(all, 0);
        printf("%s\n", json_object_to_json_string_ext(shown, JSON_C_TO_STRING_PRETTY |
                                                                 JSON_C_TO_STRING_SPACED |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    for (size_t i = 0; !r && !a.json && i < json_object_array_length(all); i++) {
        if (i)
            printf("\n");
        print_human(json_object_array_get_idx(all, i));
    }
    json_object_put(all);
    return r;
}

struct map_entry {
    uint64_t start, length, offset;
    unsigned depth;
    bool zero, data, present, compressed, offset_valid;
    const char *filename;
};

static bool continues(const struct map_entry *a, const struct map_entry *b)
{
    return a->depth == b->depth && a->zero == b->zero && a->data == b->data &&
           a->present == b->present && a->compressed == b->compressed &&
           a->offset_valid == b->offset_valid &&
           (!a->offset_valid || (a->filename == b->filename && a->offset + a->length == b->offset));
}

static void print_map_entry(const struct img_args *a, const struct map_entry *m, bool *first)
{
    if (!a->json) {
        if (m->data && !m->zero)
            printf("0x%-14llx  0x%-14llx  0x%-14llx  %s\n", (unsigned long long)m->start,
                   (unsigned long long)m->length, (unsigned long long)m->offset, m->filename);
        return;
    }
    printf("%s{ \"start\": %llu, \"length\": %llu, \"depth\": %u, \"present\": %s, \"zero\": %s, "
           "\"data\": %s, \"compressed\": %s",
           *first ? "[" : ",\n", (unsigned long long)m->start, (unsigned long long)m->length,
           m->depth, m->present ? "true" : "false", m->zero ? "true" : "false",
           m->data ? "true" : "false", m->compressed ? "true" : "false");
    if (m->offset_valid)
        printf(", \"offset\": %llu", (unsigned long long)m->offset);
    printf("}");
    *first = false;
}

static int print_map(const struct img_args *a, struct block_node *n)
{
    struct map_entry pending = {0};
    uint64_t size = block_size(n);
    bool first = true;
    if (!a->json)
        printf("%-16s  %-16s  %-16s  %s\n", "Offset", "Length", "Mapped to", "File");
    for (uint64_t off = 0; off < size;) {
        struct block_extent x;
        struct map_entry m = {.start = off};
        if (image_status(n, off, size - off, &x, &m.depth))
            return img_usage("cannot read the mapping at offset %llu", (unsigned long long)off);
        m.length = x.bytes;
        m.zero = x.zero;
        m.data = x.data;
        m.present = x.allocated;
        m.compressed = x.compressed;
        m.offset_valid = x.offset_valid;
        m.offset = x.offset;
        m.filename = x.file && x.file->filename ? x.file->filename : "";
        if (pending.length && continues(&pending, &m)) {
            pending.length += m.length;
        } else {
            if (pending.length)
                print_map_entry(a, &pending, &first);
            pending = m;
        }
        off += x.bytes;
    }
    if (pending.length)
        print_map_entry(a, &pending, &first);
    if (a->json)
        printf("%s]\n", first ? "[" : "");
    return 0;
}

int img_map(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct img_args a = {0};
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "f:U", longs, NULL)) != -1)
        r = img_common(&a, opt, optarg);
    if (r || optind != argc - 1)
        return r ?: img_usage("map: Expecting one image file name");
    struct block_node *n = img_open(&a, argv[optind], a.format, IMAGE_READ_ONLY, NULL);
    if (!n)
        return 1;
    r = print_map(&a, n);
    block_unref(n);
    return r;
}
