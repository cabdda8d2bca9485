// Internet checksums (RFC 1071) and TCP segmentation: each segment repeats the headers with its own
// length, sequence number, identification and checksums; FIN and PSH belong to the last, CWR to the
// first. Joining is the inverse: only what could have been cut from one segment is joined.
#include "net/segment.h"

#include "base/bits.h"

#define ETH_LEN     14
#define SEGMENT_MIN 48 // payload: bounds how many segments a frame makes

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_ACK = 0x10, TCP_CWR = 0x80 };

// Byte order does not matter to a one's complement sum but at its end.
uint64_t net_sum(const uint8_t *p, size_t n, uint64_t sum)
{
    uint64_t words = 0;
    uint32_t w;
    for (; n >= 4; p += 4, n -= 4) {
        memcpy(&w, p, 4);
        words += w;
    }
    uint8_t tail[4] = {0};
    memcpy(tail, p, n);
    memcpy(&w, tail, 4);
    words += w;
    words = (words & 0xffffffff) + (words >> 32);
    words = (words & 0xffff) + (words >> 16);
    words = (words & 0xffff) + (words >> 16);
    words = (words & 0xffff) + (words >> 16);
    return sum + __builtin_bswap16((uint16_t)words);
}

uint16_t net_sum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

bool net_complete_checksum(uint8_t *frame, size_t len, const struct net_offload *o)
{
    size_t at = (size_t)o->csum_start + o->csum_offset;
    if (o->csum_start < ETH_LEN || o->csum_start >= len || at + 2 > len)
        return false;
    // The field holds the sum of the pseudo header, to be counted in.
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(frame + o->csum_start, len - o->csum_start, 0));
    st_be16(frame + at, sum ? sum : 0xffff); // 0 says "none" to UDP; the two are equal
    return true;
}

// Where the headers of a frame are.
struct headers {
    size_t ip, tcp, end;
    bool v6;
};

// False when it is not TCP over IPv4 or IPv6 with all its headers, and something behind them.
static bool find_headers(struct headers *h, const uint8_t *frame, size_t len)
{
    *h = (struct headers){.ip = ETH_LEN};
    if (len < ETH_LEN + 4)
        return false;
    uint16_t type = ld_be16(frame + 12);
    if (type == 0x8100) {
        type = ld_be16(frame + 16);
        h->ip += 4;
    }
    const uint8_t *ip = frame + h->ip;
    h->v6 = type == 0x86dd;
    if ((type != 0x0800 && !h->v6) || len < h->ip + (h->v6 ? 40 : 20))
        return false;
    size_t ip_len = h->v6 ? 40 : (ip[0] & 15) * 4u;
    h->tcp = h->ip + ip_len;
    if (ip_len < 20 || (h->v6 ? ip[6] : ip[9]) != 6 || len < h->tcp + 20)
        return false;
    size_t tcp_len = (frame[h->tcp + 12] >> 4) * 4u;
    h->end = h->tcp + tcp_len;
    return tcp_len >= 20 && h->end < len;
}

bool net_cut_begin(struct net_cut *c, const uint8_t *frame, size_t len, uint16_t segment)
{
    struct headers h;
    *c = (struct net_cut){.frame = frame, .len = len, .segment = segment};
    if (segment < SEGMENT_MIN || !find_headers(&h, frame, len) || h.end > sizeof c->head)
        return false;
    c->ip = h.ip;
    c->tcp = h.tcp;
    c->headers = h.end;
    c->v6 = h.v6;
    return true;
}

static void set_ip_header(struct net_cut *c, size_t n, unsigned index)
{
    uint8_t *ip = c->head + c->ip;
    size_t ip_len = c->tcp - c->ip, tcp_len = c->headers - c->tcp;
    if (c->v6) {
        st_be16(ip + 4, (uint16_t)(tcp_len + n));
        return;
    }
    st_be16(ip + 2, (uint16_t)(ip_len + tcp_len + n));
    st_be16(ip + 4, (uint16_t)(ld_be16(c->frame + c->ip + 4) + index));
    st_be16(ip + 10, 0);
    st_be16(ip + 10, (uint16_t)~net_sum_fold(net_sum(ip, ip_len, 0)));
}

bool net_cut_peek(struct net_cut *c, struct iovec iov[2])
{
    size_t left = c->len - c->headers - c->done, n = MIN(left, (size_t)c->segment);
    if (!n)
        return false;
    memcpy(c->head, c->frame, c->headers);
    set_ip_header(c, n, (unsigned)(c->done / c->segment));
    uint8_t *tcp = c->head + c->tcp, *addresses = c->head + c->ip + (c->v6 ? 8 : 12);
    const uint8_t *payload = c->frame + c->headers + c->done;
    size_t tcp_len = c->headers - c->tcp;
    st_be32(tcp + 4, ld_be32(tcp + 4) + (uint32_t)c->done);
    if (n < left)
        tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (c->done)
        tcp[13] &= (uint8_t)~TCP_CWR;
    st_be16(tcp + 16, 0);
    uint64_t sum = net_sum(addresses, c->v6 ? 32 : 8, 6 + tcp_len + n);
    sum = net_sum(payload, n, net_sum(tcp, tcp_len, sum));
    st_be16(tcp + 16, (uint16_t)~net_sum_fold(sum));
    iov[0] = (struct iovec){c->head, c->headers};
    iov[1] = (struct iovec){(void *)payload, n};
    return true;
}

void net_cut_next(struct net_cut *c)
{
    c->done += MIN(c->len - c->headers - c->done, (size_t)c->segment);
}

// ---- joining ----

bool net_join_begin(struct net_join *j, const uint8_t *frame, size_t len)
{
    struct headers h;
    j->segment = 0;
    if (!find_headers(&h, frame, len) || len - h.end < SEGMENT_MIN || len - h.end > UINT16_MAX)
        return false;
    const uint8_t *ip = frame + h.ip;
    size_t ip_bytes = h.v6 ? 40 + ld_be16(ip + 4) : ld_be16(ip + 2);
    bool fragment = !h.v6 && (ld_be16(ip + 6) & 0x3fff);
    if (fragment || h.ip + ip_bytes != len || (frame[h.tcp + 13] & ~TCP_PSH) != TCP_ACK)
        return false;
    memcpy(j->frame, frame, len);
    j->len = len;
    j->ip = h.ip;
    j->tcp = h.tcp;
    j->headers = h.end;
    j->v6 = h.v6;
    j->segment = (uint16_t)(len - h.end);
    j->count = 1;
    j->ended = frame[h.tcp + 13] & TCP_PSH;
    return true;
}

// Equal but for what differs from segment to segment: lengths, IPv4's identification, checksums,
// the sequence number, and the push that ends a run.
static bool same_headers(const struct net_join *j, const uint8_t *frame)
{
    const uint8_t *a = j->frame, *b = frame;
    size_t ip = j->ip, tcp = j->tcp;
    if (memcmp(a, b, ip) || memcmp(a + tcp, b + tcp, 4) || memcmp(a + tcp + 8, b + tcp + 8, 5) ||
        (a[tcp + 13] | TCP_PSH) != (b[tcp + 13] | TCP_PSH) ||
        memcmp(a + tcp + 14, b + tcp + 14, 2) || // the window
        memcmp(a + tcp + 18, b + tcp + 18, j->headers - tcp - 18))
        return false;
    if (j->v6)
        return !memcmp(a + ip, b + ip, 4) && !memcmp(a + ip + 6, b + ip + 6, tcp - ip - 6);
    return !memcmp(a + ip, b + ip, 2) && !memcmp(a + ip + 6, b + ip + 6, 4) &&
           !memcmp(a + ip + 12, b + ip + 12, tcp - ip - 12);
}

bool net_join_add(struct net_join *j, const uint8_t *frame, size_t len, size_t most)
{
    if (!j->segment || j->ended || len <= j->headers || len - j->headers > j->segment ||
        j->len + len - j->headers > MIN(most, j->ip + UINT16_MAX) || !same_headers(j, frame))
        return false;
    const uint8_t *ip = frame + j->ip;
    size_t n = len - j->headers, ip_bytes = j->v6 ? 40 + ld_be16(ip + 4) : ld_be16(ip + 2);
    uint32_t seq = ld_be32(j->frame + j->tcp + 4) + (uint32_t)(j->len - j->headers);
    if (ld_be32(frame + j->tcp + 4) != seq || j->ip + ip_bytes != len)
        return false;
    memcpy(j->frame + j->len, frame + j->headers, n);
    j->len += n;
    j->count++;
    j->frame[j->tcp + 13] |= frame[j->tcp + 13] & TCP_PSH;
    j->ended = n < j->segment || (frame[j->tcp + 13] & TCP_PSH);
    return true;
}

void net_join_end(struct net_join *j)
{
    uint8_t *ip = j->frame + j->ip;
    size_t ip_len = j->tcp - j->ip;
    if (j->count < 2)
        return;
    if (j->v6) {
        st_be16(ip + 4, (uint16_t)(j->len - j->tcp));
    } else {
        st_be16(ip + 2, (uint16_t)(j->len - j->ip));
        st_be16(ip + 10, 0);
        st_be16(ip + 10, (uint16_t)~net_sum_fold(net_sum(ip, ip_len, 0)));
    }
    uint64_t sum = net_sum(ip + (j->v6 ? 8 : 12), j->v6 ? 32 : 8, 6 + (j->len - j->tcp));
    st_be16(j->frame + j->tcp + 16, net_sum_fold(sum));
}
