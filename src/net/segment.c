// Internet checksums (RFC 1071) and TCP segmentation (the inverse of what a receiver joins): each
// segment repeats the headers with its own length, sequence number, identification and checksums;
// FIN and PSH belong to the last, CWR to the first.
#include "net/segment.h"

#include "base/bits.h"

#define ETH_LEN     14
#define SEGMENT_MIN 48 // payload: bounds how many segments a frame makes

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

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

bool net_cut_begin(struct net_cut *c, const uint8_t *frame, size_t len, uint16_t segment)
{
    *c = (struct net_cut){.frame = frame, .len = len, .segment = segment, .ip = ETH_LEN};
    if (len < ETH_LEN + 4 || segment < SEGMENT_MIN)
        return false;
    uint16_t type = ld_be16(frame + 12);
    if (type == 0x8100) {
        type = ld_be16(frame + 16);
        c->ip += 4;
    }
    const uint8_t *ip = frame + c->ip;
    c->v6 = type == 0x86dd;
    if ((type != 0x0800 && !c->v6) || len < c->ip + (c->v6 ? 40 : 20))
        return false;
    size_t ip_len = c->v6 ? 40 : (ip[0] & 15) * 4u;
    c->tcp = c->ip + ip_len;
    if (ip_len < 20 || (c->v6 ? ip[6] : ip[9]) != 6 || len < c->tcp + 20)
        return false;
    size_t tcp_len = (frame[c->tcp + 12] >> 4) * 4u;
    c->headers = c->tcp + tcp_len;
    return tcp_len >= 20 && c->headers < len && c->headers <= sizeof c->head;
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
