// Virtio network device (virtio 1.2, section 5.1): one pair of queues and a control queue; merged
// receive buffers, receive filters, link state, MTU and speed; checksums and TCP segmentation both
// ways. Not modelled: several queue pairs, RSS, changing the driver's offloads while it runs.
#include "base/bits.h"
#include "base/log.h"
#include "device/virtio/virtio.h"
#include "net/net.h"

#include <stdlib.h>

enum {
    NET_F_CSUM = 0,
    NET_F_GUEST_CSUM = 1,
    NET_F_MTU = 3,
    NET_F_MAC = 5,
    NET_F_GUEST_TSO4 = 7,
    NET_F_GUEST_TSO6 = 8,
    NET_F_HOST_TSO4 = 11,
    NET_F_HOST_TSO6 = 12,
    NET_F_MRG_RXBUF = 15,
    NET_F_STATUS = 16,
    NET_F_CTRL_VQ = 17,
    NET_F_CTRL_RX = 18,
    NET_F_CTRL_VLAN = 19,
    NET_F_CTRL_RX_EXTRA = 20,
    NET_F_GUEST_ANNOUNCE = 21,
    NET_F_CTRL_MAC_ADDR = 23,
    NET_F_SPEED_DUPLEX = 63,
};
enum { Q_RX, Q_TX, Q_CTRL };
enum {
    CFG_STATUS = 6,
    CFG_PAIRS = 8,
    CFG_MTU = 10,
    CFG_SPEED = 12,
    CFG_DUPLEX = 16,
    CFG_SIZE = 17
};
enum { STATUS_LINK_UP = 1, STATUS_ANNOUNCE = 2 };
enum { CTRL_RX = 0, CTRL_MAC = 1, CTRL_VLAN = 2, CTRL_ANNOUNCE = 3 };
enum { CTRL_OK = 0, CTRL_ERR = 1 };
enum { HDR_NEEDS_CSUM = 1, HDR_DATA_VALID = 2 };     // flags of the frame's header
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4 }; // its gso_type
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST, RX_MODES };

#define HDR             12 // with num_buffers; 10 for a legacy driver without merged buffers
#define MACS_MAX        64
#define VLANS           4096
#define TX_PIECES       256
#define MRG_CHAINS      64   // of one frame
#define NET_FRAME_SMALL 1024 // what a driver's merged buffer holds at least

struct virtio_net {
    struct virtio_device v;
    struct netdev *netdev;
    uint8_t mac[6], permanent_mac[6];
    uint16_t rx_queue_size, tx_queue_size, host_mtu;
    uint32_t speed, bootindex;
    char *duplex;
    bool mrg_rxbuf, status, ctrl_vq, ctrl_rx, ctrl_vlan, ctrl_mac_addr, ctrl_rx_extra;
    bool guest_announce, mq, announce_due;
    bool csum, guest_csum, guest_tso4, guest_tso6, host_tso4, host_tso6;
    // Receive filter.
    bool mode[RX_MODES];
    uint16_t n_uni, n_multi; // in macs[]: unicast, then multicast
    bool uni_overflow, multi_overflow;
    uint8_t macs[MACS_MAX][6];
    uint8_t vlans[VLANS / 8];
    bool attached;
    struct loop_work rx_ready;
    uint64_t rx_dropped;
    struct vq_chain tx, rx;
};

static struct virtio_net *of(struct virtio_device *v)
{
    return container_of(v, struct virtio_net, v);
}

static unsigned header_len(const struct virtio_net *n)
{
    return n->v.legacy && !virtio_has(&n->v, NET_F_MRG_RXBUF) ? 10 : HDR;
}

// --- receive ---

static bool listed(const struct virtio_net *n, const uint8_t *mac, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (!memcmp(n->macs[i], mac, 6))
            return true;
    return false;
}

static bool wanted(const struct virtio_net *n, const uint8_t *frame, size_t len)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (n->mode[RX_PROMISC])
        return true;
    if (virtio_has(&n->v, NET_F_CTRL_VLAN) && len >= 18 && ld_be16(frame + 12) == 0x8100) {
        unsigned vid = ld_be16(frame + 14) & (VLANS - 1);
        if (!(n->vlans[vid / 8] >> vid % 8 & 1))
            return false;
    }
    if (!memcmp(frame, broadcast, 6))
        return !n->mode[RX_NOBCAST];
    if (frame[0] & 1)
        return !n->mode[RX_NOMULTI] && (n->mode[RX_ALLMULTI] || n->multi_overflow ||
                                        listed(n, frame, n->n_uni, n->n_uni + n->n_multi));
    return !n->mode[RX_NOUNI] && (n->mode[RX_ALLUNI] || n->uni_overflow ||
                                  !memcmp(frame, n->mac, 6) || listed(n, frame, 0, n->n_uni));
}

// Fills the chain in n->rx with frame bytes from `done`, behind the header of a frame's first chain
// (NULL for the others). Returns the bytes of the chain used, or -1.
static int64_t fill_chain(struct virtio_net *n, const uint8_t *frame, size_t len, size_t *done,
                          const uint8_t *header)
{
    struct virtqueue *q = &n->v.queues[Q_RX];
    unsigned hdr = header ? header_len(n) : 0;
    if (n->rx.in_len <= hdr || n->rx.out_len) {
        virtio_error(&n->v, "a receive buffer has no room or is not writable");
        return -1;
    }
    if (hdr && vq_write(q, &n->rx, 0, header, hdr) < 0)
        return -1;
    int64_t put = vq_write(q, &n->rx, hdr, frame + *done, len - *done);
    if (put < 0)
        return -1;
    *done += put;
    return hdr + put;
}

// The number of buffers is known only at the end; the first chain keeps its place for it.
static bool store_count(struct virtio_net *n, const struct vq_seg *first, unsigned count)
{
    uint8_t le[2];
    st_le16(le, count);
    if (first[0].len >= HDR)
        return !dma_write(n->v.dma, first[0].addr + HDR - 2, le, 2);
    uint32_t off = HDR - 2; // a header in pieces: byte by byte
    for (unsigned i = 0, b = 0; b < 2 && i < 2; i++) {
        for (; b < 2 && off < first[i].len; off++, b++)
            if (dma_write(n->v.dma, first[i].addr + off, le + b, 1))
                return false;
        off -= MIN(off, first[i].len);
    }
    return true;
}

static bool give_frame(struct virtio_net *n, const uint8_t *frame, size_t len,
                       const uint8_t header[HDR])
{
    struct virtqueue *q = &n->v.queues[Q_RX];
    bool merge = virtio_has(&n->v, NET_F_MRG_RXBUF);
    uint16_t back_avail = q->last_avail;
    bool back_wrap = q->avail_wrap;
    struct vq_seg first[2] = {0};
    unsigned chains = 0;
    for (size_t done = 0; done < len; chains++) {
        if (chains == MRG_CHAINS || (chains && !merge)) {
            n->rx_dropped++; // larger than the driver's buffers: what was taken is returned empty
            q->last_avail = back_avail;
            q->avail_wrap = back_wrap;
            return true;
        }
        int got = vq_pop(q, &n->rx);
        if (got <= 0) {
            if (!got) { // not enough buffers yet: as if nothing had been taken
                q->last_avail = back_avail;
                q->avail_wrap = back_wrap;
            }
            return got < 0;
        }
        if (!chains)
            memcpy(first, n->rx.segs, MIN(n->rx.n_in, 2) * sizeof *first);
        int64_t used = fill_chain(n, frame, len, &done, chains ? NULL : header);
        if (used < 0)
            return true;
        vq_stage(q, chains, vq_token(&n->rx), used);
    }
    if (header_len(n) == HDR && !store_count(n, first, chains))
        virtio_error(&n->v, "a receive buffer is not in RAM");
    vq_publish(q, chains);
    vq_notify(q);
    return true;
}

static bool receive_locked(struct virtio_net *n, const uint8_t *frame, size_t len,
                           const uint8_t header[HDR])
{
    if (!virtio_running(&n->v) || !n->v.queues[Q_RX].enabled)
        return true; // no driver: lost, as on a wire
    if (len < NET_FRAME_MIN || len > NET_FRAME_MAX || !wanted(n, frame, len))
        return true;
    return give_frame(n, frame, len, header);
}

static bool receive(void *nic, const uint8_t *frame, size_t len)
{
    struct virtio_net *n = nic;
    uint8_t header[HDR] = {0};
    device_lock(&n->v.dev);
    if (n->netdev->rx_checked && virtio_has(&n->v, NET_F_GUEST_CSUM))
        header[0] = HDR_DATA_VALID;
    bool taken = receive_locked(n, frame, len, header);
    device_unlock(&n->v.dev);
    return taken;
}

static bool receive_large(void *nic, const uint8_t *frame, size_t len, const struct net_offload *o,
                          bool v6)
{
    struct virtio_net *n = nic;
    uint8_t header[HDR] = {HDR_NEEDS_CSUM, v6 ? GSO_TCPV6 : GSO_TCPV4};
    st_le16(header + 2, (uint16_t)(o->csum_start + (frame[o->csum_start + 12] >> 4) * 4));
    st_le16(header + 4, o->segment);
    st_le16(header + 6, o->csum_start);
    st_le16(header + 8, o->csum_offset);
    device_lock(&n->v.dev);
    bool taken = receive_locked(n, frame, len, header);
    device_unlock(&n->v.dev);
    return taken;
}

// Merged buffers hold so much of one frame; a driver without them gives whole ones.
static size_t largest(void *nic, bool v6)
{
    const struct virtio_net *n = nic;
    if (!virtio_has(&n->v, v6 ? NET_F_GUEST_TSO6 : NET_F_GUEST_TSO4))
        return 0;
    return virtio_has(&n->v, NET_F_MRG_RXBUF) ? (size_t)MRG_CHAINS * NET_FRAME_SMALL
                                              : NET_FRAME_MAX;
}

static void rx_ready(void *opaque)
{
    struct virtio_net *n = opaque;
    if (n->attached)
        netdev_rx_ready(n->netdev);
}

// --- transmit ---

// What the header of a frame asks for; false when the driver did not negotiate it.
static bool read_offload(struct virtio_net *n, struct virtqueue *q, struct net_offload *o)
{
    uint8_t h[10];
    if (vq_read(q, &n->tx, 0, h, sizeof h) != sizeof h)
        return false;
    *o = (struct net_offload){
        .csum = h[0] & HDR_NEEDS_CSUM, .csum_start = ld_le16(h + 6), .csum_offset = ld_le16(h + 8)};
    if (h[1] != GSO_NONE) {
        o->segment = ld_le16(h + 4);
        bool tso4 = h[1] == GSO_TCPV4 && virtio_has(&n->v, NET_F_HOST_TSO4);
        bool tso6 = h[1] == GSO_TCPV6 && virtio_has(&n->v, NET_F_HOST_TSO6);
        if (!o->csum || !o->segment || (!tso4 && !tso6))
            return false;
    }
    return !o->csum || virtio_has(&n->v, NET_F_CSUM);
}

static bool send_chain(struct virtio_net *n, struct virtqueue *q)
{
    unsigned hdr = header_len(n), n_iov = 0;
    struct net_offload offload;
    if (n->tx.in_len || n->tx.out_len < hdr + NET_FRAME_MIN ||
        n->tx.out_len > hdr + NET_FRAME_MAX) {
        virtio_error(&n->v, "a frame to send has a bad size");
        return true;
    }
    if (!read_offload(n, q, &offload)) {
        log_guest("virtio-net", "a frame asks for an offload that was not negotiated: dropped");
        return true;
    }
    struct iovec iov[TX_PIECES];
    struct dma_span spans[TX_PIECES];
    if (vq_pin(q, &n->tx, false, hdr, n->tx.out_len - hdr, iov, spans, &n_iov, TX_PIECES))
        return true;
    bool taken = !n->attached || netdev_send_offload(n->netdev, &offload, iov, n_iov);
    dma_unpin(spans, n_iov, false);
    return taken;
}

static bool run_tx(struct virtio_net *n, struct virtqueue *q)
{
    unsigned i = 0;
    for (; i < VIRTIO_RUN_BUDGET && vq_pop(q, &n->tx) > 0; i++) {
        if (!send_chain(n, q)) {
            vq_unpop(q, &n->tx); // can_send kicks the queue again
            i = 0;
            break;
        }
        vq_push(q, vq_token(&n->tx), 0);
    }
    vq_notify(q);
    return i == VIRTIO_RUN_BUDGET;
}

static void can_send(void *nic)
{
    virtio_kick(&((struct virtio_net *)nic)->v, Q_TX);
}

// --- control queue ---

static uint8_t ctrl_rx(struct virtio_net *n, uint8_t cmd, struct virtqueue *q)
{
    uint8_t on;
    if (cmd >= RX_MODES || vq_read(q, &n->tx, 2, &on, 1) != 1)
        return CTRL_ERR;
    n->mode[cmd] = on;
    return CTRL_OK;
}

// One of the two lists of VIRTIO_NET_CTRL_MAC_TABLE_SET at `off`; a list too long for us means
// "all of that kind". -1: malformed.
static int read_macs(struct virtio_net *n, struct virtqueue *q, uint64_t *off, unsigned at,
                     uint16_t *count, bool *overflow)
{
    uint8_t le[4];
    if (vq_read(q, &n->tx, *off, le, 4) != 4)
        return -1;
    uint64_t entries = ld_le32(le);
    *off += 4;
    *count = 0;
    if (entries * 6 > n->tx.out_len - *off)
        return -1;
    *overflow = entries > MACS_MAX - at;
    if (!*overflow && entries) {
        if (vq_read(q, &n->tx, *off, n->macs[at], entries * 6) != (int64_t)entries * 6)
            return -1;
        *count = entries;
    }
    *off += entries * 6;
    return 0;
}

static uint8_t ctrl_mac(struct virtio_net *n, uint8_t cmd, struct virtqueue *q)
{
    if (cmd == 1) {
        uint8_t mac[6];
        if (vq_read(q, &n->tx, 2, mac, 6) != 6)
            return CTRL_ERR;
        memcpy(n->mac, mac, 6);
        return CTRL_OK;
    }
    uint64_t off = 2;
    if (cmd != 0)
        return CTRL_ERR;
    n->n_multi = 0;
    if (read_macs(n, q, &off, 0, &n->n_uni, &n->uni_overflow) ||
        read_macs(n, q, &off, n->n_uni, &n->n_multi, &n->multi_overflow))
        return CTRL_ERR;
    return CTRL_OK;
}

static uint8_t ctrl_vlan(struct virtio_net *n, uint8_t cmd, struct virtqueue *q)
{
    uint8_t le[2];
    if (cmd > 1 || vq_read(q, &n->tx, 2, le, 2) != 2 || ld_le16(le) >= VLANS)
        return CTRL_ERR;
    uint16_t vid = ld_le16(le);
    if (cmd == 0)
        n->vlans[vid / 8] |= 1u << vid % 8;
    else
        n->vlans[vid / 8] &= ~(1u << vid % 8);
    return CTRL_OK;
}

static uint8_t ctrl_command(struct virtio_net *n, struct virtqueue *q)
{
    uint8_t head[2];
    if (vq_read(q, &n->tx, 0, head, 2) != 2)
        return CTRL_ERR;
    switch (head[0]) {
    case CTRL_RX:
        return ctrl_rx(n, head[1], q);
    case CTRL_MAC:
        return ctrl_mac(n, head[1], q);
    case CTRL_VLAN:
        return ctrl_vlan(n, head[1], q);
    case CTRL_ANNOUNCE:
        n->announce_due = false;
        return CTRL_OK;
    default:
        return CTRL_ERR;
    }
}

static bool run_ctrl(struct virtio_net *n, struct virtqueue *q)
{
    unsigned i = 0;
    for (; i < VIRTIO_RUN_BUDGET && vq_pop(q, &n->tx) > 0; i++) {
        if (!n->tx.in_len) {
            virtio_error(&n->v, "a control command has no room for its result");
            break;
        }
        uint8_t ack = ctrl_command(n, q);
        if (vq_write(q, &n->tx, 0, &ack, 1) == 1)
            vq_push(q, vq_token(&n->tx), 1);
    }
    vq_notify(q);
    return i == VIRTIO_RUN_BUDGET;
}

static bool run(struct virtio_device *v, unsigned queue)
{
    struct virtio_net *n = of(v);
    if (queue == Q_TX)
        return run_tx(n, &v->queues[Q_TX]);
    if (queue == Q_CTRL)
        return run_ctrl(n, &v->queues[Q_CTRL]);
    if (n->attached && !vq_empty(&v->queues[Q_RX]))
        loop_defer(&n->rx_ready); // unlocked: the back end delivers at once
    return false;
}

// --- configuration ---

static bool link_up(const struct virtio_net *n)
{
    return !n->attached || n->netdev->link_up;
}

static uint64_t features(struct virtio_device *v)
{
    struct virtio_net *n = of(v);
    uint64_t f = VIRTIO_BIT(NET_F_MAC);
    f |= n->csum ? VIRTIO_BIT(NET_F_CSUM) : 0;
    f |= n->guest_csum ? VIRTIO_BIT(NET_F_GUEST_CSUM) : 0;
    f |= n->guest_csum && n->guest_tso4 ? VIRTIO_BIT(NET_F_GUEST_TSO4) : 0;
    f |= n->guest_csum && n->guest_tso6 ? VIRTIO_BIT(NET_F_GUEST_TSO6) : 0;
    f |= n->csum && n->host_tso4 ? VIRTIO_BIT(NET_F_HOST_TSO4) : 0;
    f |= n->csum && n->host_tso6 ? VIRTIO_BIT(NET_F_HOST_TSO6) : 0;
    f |= n->mrg_rxbuf ? VIRTIO_BIT(NET_F_MRG_RXBUF) : 0;
    f |= n->status ? VIRTIO_BIT(NET_F_STATUS) : 0;
    f |= n->host_mtu ? VIRTIO_BIT(NET_F_MTU) : 0;
    f |= n->speed != UINT32_MAX || n->duplex ? VIRTIO_BIT(NET_F_SPEED_DUPLEX) : 0;
    if (!n->ctrl_vq)
        return f;
    f |= VIRTIO_BIT(NET_F_CTRL_VQ);
    f |= n->ctrl_rx ? VIRTIO_BIT(NET_F_CTRL_RX) : 0;
    f |= n->ctrl_rx_extra ? VIRTIO_BIT(NET_F_CTRL_RX_EXTRA) : 0;
    f |= n->ctrl_vlan ? VIRTIO_BIT(NET_F_CTRL_VLAN) : 0;
    f |= n->ctrl_mac_addr ? VIRTIO_BIT(NET_F_CTRL_MAC_ADDR) : 0;
    f |= n->guest_announce && n->status ? VIRTIO_BIT(NET_F_GUEST_ANNOUNCE) : 0;
    return f;
}

static void read_config(struct virtio_device *v, uint8_t *cfg)
{
    struct virtio_net *n = of(v);
    memcpy(cfg, n->mac, 6);
    st_le16(cfg + CFG_STATUS,
            (link_up(n) ? STATUS_LINK_UP : 0) | (n->announce_due ? STATUS_ANNOUNCE : 0));
    st_le16(cfg + CFG_PAIRS, 1);
    st_le16(cfg + CFG_MTU, n->host_mtu);
    st_le32(cfg + CFG_SPEED, n->speed);
    cfg[CFG_DUPLEX] = !n->duplex ? 0xff : !strcmp(n->duplex, "full");
}

// Only a legacy driver may set the address here.
static void write_config(struct virtio_device *v, const uint8_t *cfg, unsigned off, unsigned len)
{
    if (v->legacy)
        memcpy(of(v)->mac, cfg, 6);
}

static void link_changed(void *nic, bool up)
{
    struct virtio_net *n = nic;
    device_lock(&n->v.dev);
    n->announce_due = up && virtio_has(&n->v, NET_F_GUEST_ANNOUNCE);
    virtio_config_changed(&n->v);
    device_unlock(&n->v.dev);
}

static void gone(void *nic)
{
    struct virtio_net *n = nic;
    device_lock(&n->v.dev);
    n->attached = false;
    n->netdev = NULL;
    virtio_config_changed(&n->v);
    device_unlock(&n->v.dev);
}

static const struct nic_ops nic_ops = {
    .receive = receive,
    .receive_large = receive_large,
    .largest = largest,
    .can_send = can_send,
    .link_changed = link_changed,
    .gone = gone,
};

// 52:54:00:12:34:56 and up, one more for each network device before this one.
static void default_mac(struct virtio_net *n)
{
    static const uint8_t none[6], first[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    if (memcmp(n->mac, none, 6))
        return;
    unsigned before = 0;
    struct device_tree *t = n->v.dev.tree;
    for (size_t i = 0; i < t->devices.len; i++)
        if (t->devices.data[i] != &n->v.dev && !t->devices.data[i]->type->inner &&
            device_type_prop(t->devices.data[i]->type, "mac"))
            before++;
    memcpy(n->mac, first, 6);
    n->mac[5] += before;
}

static int init(struct device *d, struct err *e)
{
    struct virtio_net *n = container_of(d, struct virtio_net, v.dev);
    if (n->mq)
        return err_set(e, "virtio-net: mq=on is not supported; leave it out");
    if (n->duplex && strcmp(n->duplex, "full") && strcmp(n->duplex, "half"))
        return err_set(e, "virtio-net: duplex must be full or half, not '%s'", n->duplex);
    if (!is_pow2(n->rx_queue_size) || !is_pow2(n->tx_queue_size))
        return err_set(e, "virtio-net: rx_queue_size and tx_queue_size must be powers of two");
    default_mac(n);
    memcpy(n->permanent_mac, n->mac, 6);
    loop_work_init(&n->rx_ready, d->env->loop, rx_ready, n);
    if (n->netdev && netdev_attach(n->netdev, &nic_ops, n, e))
        return -1;
    n->attached = n->netdev;
    virtio_add_queue(&n->v, n->rx_queue_size);
    virtio_add_queue(&n->v, n->tx_queue_size);
    if (n->ctrl_vq)
        virtio_add_queue(&n->v, 64);
    return 0;
}

static void reset(struct virtio_device *v)
{
    struct virtio_net *n = of(v);
    memcpy(n->mac, n->permanent_mac, 6);
    memset(n->mode, 0, sizeof n->mode);
    n->mode[RX_PROMISC] = true; // until a driver that filters says otherwise
    n->n_uni = n->n_multi = 0;
    n->uni_overflow = n->multi_overflow = n->announce_due = false;
    memset(n->vlans, 0, sizeof n->vlans);
}

static void leave(struct device *d)
{
    struct virtio_net *n = container_of(d, struct virtio_net, v.dev);
    if (n->attached)
        netdev_detach(n->netdev);
    n->attached = false;
    loop_work_cancel(&n->rx_ready);
}

#define SWITCH(m, on) FIELD(struct virtio_net, m, .kind = F_BOOL, .use = FIELD_PROP, .init = on)
static const struct field fields[] = {
    FIELD(struct virtio_net, netdev, .kind = F_BACKEND_NET, .use = FIELD_PROP),
    FIELD(struct virtio_net, mac, .kind = F_MAC, .use = FIELD_PROP | FIELD_STATE),
    FIELD(struct virtio_net, bootindex, .kind = F_U32, .use = FIELD_PROP, .init = UINT32_MAX),
    FIELD(struct virtio_net, rx_queue_size, .kind = F_U16, .use = FIELD_PROP, .init = 256,
          .min = 64, .max = VQ_SIZE_MAX),
    FIELD(struct virtio_net, tx_queue_size, .kind = F_U16, .use = FIELD_PROP, .init = 256,
          .min = 64, .max = VQ_SIZE_MAX),
    FIELD(struct virtio_net, host_mtu, .kind = F_U16, .use = FIELD_PROP, .min = 68,
          .max = UINT16_MAX),
    FIELD(struct virtio_net, speed, .kind = F_U32, .use = FIELD_PROP, .init = UINT32_MAX,
          .max = INT32_MAX, .help = "link speed in Mb/s"),
    FIELD(struct virtio_net, duplex, .kind = F_STR, .use = FIELD_PROP, .help = "full or half"),
    SWITCH(csum, true),
    SWITCH(guest_csum, true),
    SWITCH(guest_tso4, true),
    SWITCH(guest_tso6, true),
    SWITCH(host_tso4, true),
    SWITCH(host_tso6, true),
    SWITCH(mrg_rxbuf, true),
    SWITCH(status, true),
    SWITCH(ctrl_vq, true),
    SWITCH(ctrl_rx, true),
    SWITCH(ctrl_rx_extra, true),
    SWITCH(ctrl_vlan, true),
    SWITCH(ctrl_mac_addr, true),
    SWITCH(guest_announce, true),
    SWITCH(mq, false),
    FIELD(struct virtio_net, announce_due, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtio_net, mode, .kind = F_U8A, .use = FIELD_STATE, .len = RX_MODES, .max = 1),
    FIELD(struct virtio_net, n_uni, .kind = F_U16, .use = FIELD_STATE, .max = MACS_MAX),
    FIELD(struct virtio_net, n_multi, .kind = F_U16, .use = FIELD_STATE, .max = MACS_MAX),
    FIELD(struct virtio_net, uni_overflow, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtio_net, multi_overflow, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtio_net, macs, .kind = F_BYTES, .use = FIELD_STATE, .len = MACS_MAX * 6),
    FIELD(struct virtio_net, vlans, .kind = F_BYTES, .use = FIELD_STATE, .len = VLANS / 8),
    {0},
};

static int post_load(struct device *d, struct err *e)
{
    struct virtio_net *n = container_of(d, struct virtio_net, v.dev);
    if (n->n_uni + n->n_multi > MACS_MAX)
        return err_set(e, "virtio-net: saved address table is too long");
    return 0;
}

static const struct virtio_type net = {
    .id = VIRTIO_ID_NET,
    .config_size = CFG_SIZE,
    .pci_class = 0x0200,
    .features = features,
    .read_config = read_config,
    .write_config = write_config,
    .run = run,
    .reset = reset,
};

const struct device_type virtio_net_device_type = {
    .name = "virtio-net-device",
    .bus = "virtio-bus",
    .category = "Network",
    .size = sizeof(struct virtio_net),
    .fields = fields,
    .base = &virtio_device_base,
    .user_creatable = true,
    .init = init,
    .exit = leave,
    .post_load = post_load,
    .class_data = &net,
};
