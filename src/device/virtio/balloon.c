// Virtio memory balloon (virtio 1.2, section 5.5): pages the guest gives up go back to the host;
// statistics; free page reporting. Free page hints can be negotiated, but none is ever asked for.
// Not modelled: page poisoning.
#include "device/virtio/balloon.h"

#include "base/bits.h"
#include "device/virtio/virtio.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { B_F_STATS = 1, B_F_DEFLATE_ON_OOM = 2, B_F_FREE_PAGE_HINT = 3, B_F_REPORTING = 5 };
enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_FREE_PAGES };
enum { CFG_TARGET = 0, CFG_ACTUAL = 4, CFG_HINT_COMMAND = 8, CFG_SIZE = 12 };
enum { HINT_STOP = 0 };
#define PAGE      ((uint64_t)4096)
#define PFN_CHUNK 256u
#define RING      128

struct virtio_balloon {
    struct virtio_device v;
    bool deflate_on_oom, free_page_reporting, free_page_hint;
    uint32_t poll_interval;  // seconds
    uint32_t target, actual; // pages
    uint64_t stat[BALLOON_STATS];
    int64_t updated;
    bool stats_held; // the driver's statistics buffer is with us, to be given back to ask again
    struct vq_token stats_token;
    struct loop_timer poll;
    struct vq_chain chain;
};

const char *const balloon_stat_names[BALLOON_STATS] = {
    "stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
    "stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
    "stat-htlb-pgalloc", "stat-htlb-pgfail",
};

static struct virtio_balloon *of(struct virtio_device *v)
{
    return container_of(v, struct virtio_balloon, v);
}

// Gives RAM in [a, a+n) back to the host; anything that is not RAM is the guest's mistake.
static void discard(struct virtio_balloon *b, gpa_t a, uint64_t n)
{
    while (n) {
        struct space_hit h = space_lookup(b->v.dma, a);
        uint64_t part = MIN(n, h.len);
        if (h.kind != SPACE_RAM || h.readonly || !part) {
            log_guest("virtio-balloon", "virtio-balloon: page 0x%" PRIx64 " is not RAM", a);
            return;
        }
        ram_zero(h.ram, h.off, part);
        a += part;
        n -= part;
    }
}

static bool run_pages(struct virtio_balloon *b, struct virtqueue *q)
{
    unsigned n = 0;
    for (; n < VIRTIO_RUN_BUDGET && vq_pop(q, &b->chain) > 0; n++) {
        uint8_t pfns[PFN_CHUNK * 4];
        int64_t got = 0;
        // A driver sends at most 256 pages at a time (5.5.6.1 gives no bound; this is ours).
        for (uint64_t off = 0; off < 16 * sizeof pfns; off += got) {
            got = vq_read(q, &b->chain, off, pfns, sizeof pfns);
            if (got <= 0)
                break;
            for (int64_t i = 0; q->index == Q_INFLATE && i + 4 <= got; i += 4)
                discard(b, ld_le32(pfns + i) * PAGE, PAGE);
        }
        vq_push(q, vq_token(&b->chain), 0);
    }
    vq_notify(q);
    return n == VIRTIO_RUN_BUDGET;
}

static bool run_reporting(struct virtio_balloon *b, struct virtqueue *q)
{
    unsigned n = 0;
    for (; n < VIRTIO_RUN_BUDGET && vq_pop(q, &b->chain) > 0; n++) {
        const struct vq_seg *s = b->chain.segs + b->chain.n_out;
        for (unsigned i = 0; i < b->chain.n_in; i++)
            if (s[i].addr % PAGE == 0 && s[i].len % PAGE == 0)
                discard(b, s[i].addr, s[i].len);
        vq_push(q, vq_token(&b->chain), 0);
    }
    vq_notify(q);
    return n == VIRTIO_RUN_BUDGET;
}

static void take_stats(struct virtio_balloon *b, struct virtqueue *q)
{
    uint8_t raw[10];
    memset(b->stat, 0xff, sizeof b->stat);
    for (unsigned i = 0; i < 32; i++) {
        if (vq_read(q, &b->chain, i * sizeof raw, raw, sizeof raw) != sizeof raw)
            break;
        if (ld_le16(raw) < BALLOON_STATS)
            b->stat[ld_le16(raw)] = ld_le64(raw + 2);
    }
    b->updated = host_realtime_ns() / 1000000000;
}

// The buffer with the numbers stays here until new ones are wanted.
static void run_stats(struct virtio_balloon *b, struct virtqueue *q)
{
    if (b->stats_held || vq_pop(q, &b->chain) <= 0)
        return;
    if (b->chain.out_len)
        take_stats(b, q);
    b->stats_held = true;
    b->stats_token = vq_token(&b->chain);
}

static void arm_poll(struct virtio_balloon *b)
{
    if (b->poll_interval)
        loop_timer_set(&b->poll, clock_now(b->v.dev.env->clock) + b->poll_interval * 1000000000ll);
    else
        loop_timer_cancel(&b->poll);
}

static void poll_stats(void *opaque)
{
    struct virtio_balloon *b = opaque;
    device_lock(&b->v.dev);
    if (b->stats_held && virtio_running(&b->v)) {
        b->stats_held = false;
        vq_push(&b->v.queues[Q_STATS], b->stats_token, 0);
        vq_notify(&b->v.queues[Q_STATS]);
    }
    arm_poll(b);
    device_unlock(&b->v.dev);
}

static bool run(struct virtio_device *v, unsigned queue)
{
    struct virtio_balloon *b = of(v);
    struct virtqueue *q = &v->queues[queue];
    if (queue <= Q_DEFLATE)
        return run_pages(b, q);
    if (queue == Q_STATS)
        run_stats(b, q);
    else if (queue > Q_FREE_PAGES || !b->free_page_hint)
        return run_reporting(b, q);
    return false; // hints are never asked for: the command in the configuration stays STOP
}

static uint64_t features(struct virtio_device *v)
{
    struct virtio_balloon *b = of(v);
    return VIRTIO_BIT(B_F_STATS) | (b->deflate_on_oom ? VIRTIO_BIT(B_F_DEFLATE_ON_OOM) : 0) |
           (b->free_page_hint ? VIRTIO_BIT(B_F_FREE_PAGE_HINT) : 0) |
           (b->free_page_reporting ? VIRTIO_BIT(B_F_REPORTING) : 0);
}

static void read_config(struct virtio_device *v, uint8_t *cfg)
{
    st_le32(cfg + CFG_TARGET, of(v)->target);
    st_le32(cfg + CFG_ACTUAL, of(v)->actual);
    st_le32(cfg + CFG_HINT_COMMAND, HINT_STOP);
}

static void write_config(struct virtio_device *v, const uint8_t *cfg, unsigned off, unsigned len)
{
    struct virtio_balloon *b = of(v);
    uint32_t actual = ld_le32(cfg + CFG_ACTUAL);
    if (actual == b->actual)
        return;
    b->actual = actual;
    struct machine_env *env = v->dev.env;
    char data[64];
    snprintf(data, sizeof data, "{\"actual\": %" PRIu64 "}", actual * PAGE);
    if (env->event)
        env->event(env->opaque, "BALLOON_CHANGE", data);
}

static void reset(struct virtio_device *v)
{
    struct virtio_balloon *b = of(v);
    b->stats_held = false;
    b->actual = 0;
    b->updated = 0;
    memset(b->stat, 0xff, sizeof b->stat);
}

static int init(struct device *d, struct err *e)
{
    struct virtio_balloon *b = container_of(d, struct virtio_balloon, v.dev);
    loop_timer_init(&b->poll, d->env->loop, d->env->clock, poll_stats, b);
    for (unsigned i = 0; i < 3u + b->free_page_hint + b->free_page_reporting; i++)
        virtio_add_queue(&b->v, RING);
    arm_poll(b);
    return 0;
}

static void leave(struct device *d)
{
    loop_timer_cancel(&container_of(d, struct virtio_balloon, v.dev)->poll);
}

static const struct field fields[] = {
    FIELD(struct virtio_balloon, deflate_on_oom, .name = "deflate-on-oom", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct virtio_balloon, free_page_reporting, .name = "free-page-reporting", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct virtio_balloon, free_page_hint, .name = "free-page-hint", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct virtio_balloon, v.iothread, .name = "iothread", .kind = F_BACKEND_LOOP,
          .use = FIELD_PROP),
    FIELD(struct virtio_balloon, poll_interval, .name = "guest-stats-polling-interval",
          .kind = F_U32, .use = FIELD_PROP, .max = 86400),
    FIELD(struct virtio_balloon, target, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct virtio_balloon, actual, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct virtio_balloon, stats_held, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtio_balloon, stats_token.head, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtio_balloon, stats_token.n_desc, .kind = F_U16, .use = FIELD_STATE),
    {0},
};

static const struct virtio_type balloon = {
    .id = VIRTIO_ID_BALLOON,
    .config_size = CFG_SIZE,
    .pci_class = 0x00ff,
    .features = features,
    .read_config = read_config,
    .write_config = write_config,
    .run = run,
    .reset = reset,
};

const struct device_type virtio_balloon_device_type = {
    .name = "virtio-balloon-device",
    .bus = "virtio-bus",
    .size = sizeof(struct virtio_balloon),
    .fields = fields,
    .base = &virtio_device_base,
    .user_creatable = true,
    .init = init,
    .exit = leave,
    .class_data = &balloon,
};

// --- for the control plane ---

bool device_is_balloon(const struct device *d)
{
    return d->type == &virtio_balloon_device_type;
}

static struct virtio_balloon *balloon_of(struct device *d)
{
    return container_of(d, struct virtio_balloon, v.dev);
}

void balloon_set_target(struct device *d, uint64_t ram_bytes, uint64_t target_bytes)
{
    struct virtio_balloon *b = balloon_of(d);
    device_lock(d);
    b->target = (ram_bytes - MIN(ram_bytes, target_bytes)) / PAGE;
    virtio_config_changed(&b->v);
    device_unlock(d);
}

uint64_t balloon_held(struct device *d)
{
    device_lock(d);
    uint64_t n = balloon_of(d)->actual * PAGE;
    device_unlock(d);
    return n;
}

void balloon_get_stats(struct device *d, struct balloon_stats *s)
{
    struct virtio_balloon *b = balloon_of(d);
    device_lock(d);
    memcpy(s->value, b->stat, sizeof s->value);
    s->updated = b->updated;
    device_unlock(d);
}

void balloon_poll_stats(struct device *d, unsigned seconds)
{
    struct virtio_balloon *b = balloon_of(d);
    device_lock(d);
    b->poll_interval = seconds;
    arm_poll(b);
    device_unlock(d);
}
