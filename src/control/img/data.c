// qemu-img compare, dd and bench: reading and copying plain data.

#include "block/copy.h"
#include "control/img/img.h"
#include "base/clock.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 1 << 20, EXIT_DIFFERENT = 1, EXIT_TROUBLE = 2 };

struct compare {
    struct img_args a;
    struct block_node *n[2];
    char *buf[2];
    bool strict;
};

static bool reads_zero(const struct block_extent *x)
{
    return x->zero || (!x->data && !x->allocated);
}

static int differ(const struct compare *c, const char *what, uint64_t at)
{
    if (!c->a.quiet)
        printf("%s at offset %llu!\n", what, (unsigned long long)at);
    return EXIT_DIFFERENT;
}

// Compares [off, off + *len) or the start of it; *len says how much.
static int compare_piece(struct compare *c, uint64_t off, uint64_t *len)
{
    struct block_extent x[2];
    bool zero[2];
    unsigned depth;
    for (int i = 0; i < 2; i++) {
        uint64_t size = block_size(c->n[i]);
        x[i] = (struct block_extent){.bytes = *len, .zero = true};
        if (off < size && image_status(c->n[i], off, MIN(*len, size - off), &x[i], &depth))
            return EXIT_TROUBLE;
        zero[i] = reads_zero(&x[i]);
        *len = MIN(*len, x[i].bytes);
    }
    if (c->strict && x[0].allocated != x[1].allocated)
        return differ(c, "Strict mode: Allocation mismatch", off);
    if (zero[0] && zero[1])
        return 0;
    *len = MIN(*len, (uint64_t)PIECE);
    for (int i = 0; i < 2; i++) {
        if (zero[i])
            memset(c->buf[i], 0, *len);
        else if (block_pread(c->n[i], off, c->buf[i], *len))
            return EXIT_TROUBLE;
    }
    if (!memcmp(c->buf[0], c->buf[1], *len))
        return 0;
    uint64_t at = 0;
    while (c->buf[0][at] == c->buf[1][at])
        at++;
    return differ(c, "Content mismatch", (off + at) & ~511ull);
}

static int compare_all(struct compare *c)
{
    uint64_t size[2] = {block_size(c->n[0]), block_size(c->n[1])}, all = MAX(size[0], size[1]);
    if (size[0] != size[1]) {
        if (c->strict) {
            if (!c->a.quiet)
                printf("Strict mode: Image size mismatch!\n");
            return EXIT_DIFFERENT;
        }
        if (!c->a.quiet)
            printf("Warning: Image size mismatch!\n");
    }
    for (uint64_t off = 0, len; off < all; off += len) {
        len = all - off;
        int r = compare_piece(c, off, &len);
        if (r)
            return r == EXIT_TROUBLE
                       ? (img_usage("cannot read at offset %llu", (unsigned long long)off),
                          EXIT_TROUBLE)
                       : r;
        img_progress(&c->a, off, all);
    }
    img_progress_end(&c->a);
    if (!c->a.quiet)
        printf("Images are identical.\n");
    return 0;
}

int img_compare(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct compare c = {0};
    const char *second = NULL;
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "f:F:T:pqsU", longs, NULL)) != -1) {
        if (opt == 'F')
            second = optarg;
        else if (opt == 's')
            c.strict = true;
        else
            r = img_common(&c.a, opt, optarg);
    }
    if (r || optind != argc - 2)
        return img_usage("compare: Expecting two image file names"), EXIT_TROUBLE;
    c.n[0] = img_open(&c.a, argv[optind], c.a.format, IMAGE_READ_ONLY, NULL);
    if (c.n[0])
        c.n[1] = img_open(&c.a, argv[optind + 1], second, IMAGE_READ_ONLY, NULL);
    c.buf[0] = xalloc(PIECE);
    c.buf[1] = xalloc(PIECE);
    r = c.n[1] ? compare_all(&c) : EXIT_TROUBLE;
    for (int i = 0; i < 2; i++) {
        block_unref(c.n[i]);
        free(c.buf[i]);
    }
    return r;
}

struct dd {
    struct img_args a;
    const char *in, *out, *out_format;
    uint64_t bs, count, skip, isize;
    bool no_create;
};

static int dd_operand(struct dd *d, const char *text)
{
    const struct {
        const char *key;
        uint64_t *v;
    } numbers[] = {
        {"bs=", &d->bs}, {"count=", &d->count}, {"skip=", &d->skip}, {"isize=", &d->isize}};
    if (!strncmp(text, "if=", 3))
        d->in = text + 3;
    else if (!strncmp(text, "of=", 3))
        d->out = text + 3;
    else
        for (unsigned i = 0;; i++) {
            if (i == ARRAY_SIZE(numbers))
                return img_usage("unrecognized operand '%s'", text);
            size_t len = strlen(numbers[i].key);
            if (!strncmp(text, numbers[i].key, len))
                return img_parse_size(text + len, numbers[i].v, "number");
        }
    return 0;
}

static int dd_copy(struct dd *d, struct block_node *in)
{
    struct err e = {0};
    struct opts o = {0};
    uint64_t size = MIN(block_size(in), d->isize), from, want;
    if (__builtin_mul_overflow(d->skip, d->bs, &from) || from > size)
        from = size;
    if (__builtin_mul_overflow(d->count, d->bs, &want) || want > size - from)
        want = size - from;
    struct block_create create = {.size = want, .opts = &o};
    if (!d->no_create && image_create(d->out_format, d->out, &create, &e))
        return img_fail(&e);
    struct img_args out_args = {.cache = "writeback"};
    struct block_node *out = img_open(&out_args, d->out, d->out_format, IMAGE_NO_BACKING, in);
    if (!out)
        return 1;
    struct block_copy copy = {.src = in,
                              .dst = out,
                              .src_offset = from,
                              .bytes = MIN(want, block_size(out)),
                              .sparse = 4096,
                              .dst_reads_zero = !d->no_create};
    int r = block_copy(&copy) ?: block_flush(out);
    block_unref(out);
    return r ? img_usage("error while copying: %s", strerror(-r)) : 0;
}

int img_dd(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct dd d = {.out_format = "raw", .bs = 512, .count = UINT64_MAX, .isize = UINT64_MAX};
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "f:O:nU", longs, NULL)) != -1) {
        if (opt == 'O')
            d.out_format = optarg;
        else if (opt == 'n')
            d.no_create = true;
        else
            r = img_common(&d.a, opt, optarg);
    }
    for (; !r && optind < argc; optind++)
        r = dd_operand(&d, argv[optind]);
    if (!r && (!d.in || !d.out || !d.bs))
        r = img_usage("Must specify both input and output file names");
    if (r)
        return r;
    struct block_node *in = img_open(&d.a, d.in, d.a.format, IMAGE_READ_ONLY, NULL);
    if (!in)
        return 1;
    r = dd_copy(&d, in);
    block_unref(in);
    return r;
}

struct bench {
    struct block_node *n;
    uint64_t count, depth, size, step, offset, sent, finished;
    bool write;
    int result;
};
struct bench_slot {
    struct bench *b;
    struct block_req req;
    struct iovec iov;
};

static void bench_send(struct bench_slot *s)
{
    struct bench *b = s->b;
    if (b->sent == b->count)
        return;
    b->sent++;
    s->req.offset = b->offset;
    b->offset += b->step;
    if (b->offset + b->size > block_size(b->n))
        b->offset = 0;
    block_submit(b->n, &s->req);
}

static void bench_done(struct block_req *r, int result)
{
    struct bench_slot *s = r->opaque;
    s->b->finished++;
    s->b->result = s->b->result ?: result;
    bench_send(s);
}

static int bench_run(struct bench *b)
{
    struct bench_slot *slots = xcalloc(b->depth, sizeof *slots);
    printf("Sending %llu %s requests, %llu bytes each, %llu in parallel (starting at offset 0, "
           "step size %llu)\n",
           (unsigned long long)b->count, b->write ? "write" : "read", (unsigned long long)b->size,
           (unsigned long long)b->depth, (unsigned long long)b->step);
    int64_t start = host_monotonic_ns();
    for (uint64_t i = 0; i < b->depth; i++) {
        struct bench_slot *s = &slots[i];
        s->b = b;
        s->iov.iov_len = b->size;
        if (posix_memalign(&s->iov.iov_base, 4096, b->size))
            return img_usage("not enough memory for %llu requests", (unsigned long long)b->depth);
        memset(s->iov.iov_base, 0, b->size);
        s->req = (struct block_req){.op = b->write ? BLOCK_WRITE : BLOCK_READ,
                                    .bytes = b->size,
                                    .iov = &s->iov,
                                    .n_iov = 1,
                                    .done = bench_done,
                                    .opaque = s};
    }
    block_plug(b->n);
    for (uint64_t i = 0; i < b->depth; i++)
        bench_send(&slots[i]);
    block_unplug(b->n);
    block_drain(b->n);
    printf("Run completed in %.3f seconds.\n", (double)(host_monotonic_ns() - start) / 1e9);
    for (uint64_t i = 0; i < b->depth; i++)
        free(slots[i].iov.iov_base);
    free(slots);
    return b->result ? img_usage("request failed: %s", strerror(-b->result)) : 0;
}

int img_bench(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct img_args a = {0};
    struct bench b = {.count = 75000, .depth = 64, .size = 4096};
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "c:d:f:qs:S:t:wU", longs, NULL)) != -1) {
        uint64_t *v = opt == 'c'   ? &b.count
                      : opt == 'd' ? &b.depth
                      : opt == 's' ? &b.size
                      : opt == 'S' ? &b.step
                                   : NULL;
        if (v)
            r = img_parse_size(optarg, v, "number");
        else if (opt == 'w')
            b.write = true;
        else
            r = img_common(&a, opt, optarg);
    }
    if (r || optind != argc - 1)
        return r ?: img_usage("bench: Expecting one image file name");
    if (!b.depth || b.depth > 4096 || !b.size || b.size > GiB)
        return img_usage("bench: the depth goes to 4096, the size to 1G");
    b.step = b.step ?: b.size;
    b.n = img_open(&a, argv[optind], a.format, b.write ? 0 : IMAGE_READ_ONLY, NULL);
    if (!b.n)
        return 1;
    r = block_size(b.n) < b.size ? img_usage("the image is smaller than one request")
                                 : bench_run(&b);
    block_unref(b.n);
    return r;
}
