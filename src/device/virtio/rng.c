// Virtio entropy device (virtio 1.2, section 5.4): fills the driver's buffers with random bytes, at
// most max-bytes in each period of milliseconds.
#include "device/virtio/rng_source.h"
#include "device/virtio/virtio.h"

#define CHUNK      1024u
#define RETRY_MS   20
#define PERIOD_MIN 1

struct virtio_rng {
    struct virtio_device v;
    struct rng_source *rng;
    uint64_t max_bytes, quota;
    uint32_t period; // ms
    struct loop_timer refill;
    struct vq_chain chain;
};

static struct virtio_rng *of(struct virtio_device *v)
{
    return container_of(v, struct virtio_rng, v);
}

static void refill(void *opaque)
{
    struct virtio_rng *r = opaque;
    device_lock(&r->v.dev);
    r->quota = r->max_bytes;
    device_unlock(&r->v.dev);
    virtio_kick(&r->v, 0);
}

static void wait_ms(struct virtio_rng *r, uint32_t ms)
{
    if (r->refill.deadline == INT64_MAX)
        loop_timer_set(&r->refill, clock_now(r->v.dev.env->clock) + ms * 1000000ll);
}

// Fills one chain as far as quota and source allow; -1 when nothing at all could be given.
static int64_t fill(struct virtio_rng *r, struct virtqueue *q)
{
    uint8_t bytes[CHUNK];
    uint64_t want = MIN(MIN(r->chain.in_len, r->quota), 64 * KiB), done = 0;
    while (done < want) {
        size_t got = rng_source_read(r->rng, bytes, MIN(want - done, CHUNK));
        if (!got || vq_write(q, &r->chain, done, bytes, got) < 0)
            break;
        done += got;
    }
    r->quota -= done;
    return done || !r->chain.in_len ? (int64_t)done : -1;
}

static bool run(struct virtio_device *v, unsigned queue)
{
    struct virtio_rng *r = of(v);
    struct virtqueue *q = &v->queues[queue];
    unsigned n = 0;
    for (; n < VIRTIO_RUN_BUDGET && vq_pop(q, &r->chain) > 0; n++) {
        int64_t done = fill(r, q);
        if (done < 0) {
            if (virtio_running(v))
                vq_unpop(q, &r->chain);
            wait_ms(r, r->quota ? RETRY_MS : r->period);
            n = 0;
            break;
        }
        vq_push(q, vq_token(&r->chain), done);
    }
    vq_notify(q);
    return n == VIRTIO_RUN_BUDGET;
}

static void read_config(struct virtio_device *v, uint8_t *cfg) {}

static int init(struct device *d, struct err *e)
{
    struct virtio_rng *r = container_of(d, struct virtio_rng, v.dev);
    loop_timer_init(&r->refill, d->env->loop, d->env->clock, refill, r);
    virtio_add_queue(&r->v, 8);
    return 0;
}

static void reset(struct virtio_device *v)
{
    struct virtio_rng *r = of(v);
    loop_timer_cancel(&r->refill);
    r->quota = r->max_bytes;
}

static void leave(struct device *d)
{
    loop_timer_cancel(&container_of(d, struct virtio_rng, v.dev)->refill);
}

static const struct field fields[] = {
    FIELD(struct virtio_rng, rng, .kind = F_BACKEND_OBJ, .use = FIELD_PROP),
    FIELD(struct virtio_rng, max_bytes, .name = "max-bytes", .kind = F_U64, .use = FIELD_PROP,
          .init = INT64_MAX, .min = 1, .max = INT64_MAX),
    FIELD(struct virtio_rng, period, .kind = F_U32, .use = FIELD_PROP, .init = 65536,
          .min = PERIOD_MIN, .max = UINT32_MAX),
    FIELD(struct virtio_rng, quota, .kind = F_U64, .use = FIELD_STATE),
    {0},
};

static const struct virtio_type rng = {
    .id = VIRTIO_ID_RNG,
    .pci_class = 0x00ff,
    .read_config = read_config,
    .run = run,
    .reset = reset,
};

const struct device_type virtio_rng_device_type = {
    .name = "virtio-rng-device",
    .bus = "virtio-bus",
    .size = sizeof(struct virtio_rng),
    .fields = fields,
    .base = &virtio_device_base,
    .user_creatable = true,
    .init = init,
    .exit = leave,
    .class_data = &rng,
};
