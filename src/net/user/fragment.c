// Reassembly of IPv4 datagrams (RFC 791, section 3.2), stricter than it has to be: fragments never
// overlap (as RFC 5722 demands for IPv6), a few datagrams at a time, the oldest giving way.
#include "net/user/fragment.h"

#include <stdlib.h>

#include "base/bits.h"

#define ETH_LEN     14
#define IP_LEN      20
#define IP_MAX      65535
#define HEADERS_MAX (ETH_LEN + 60)
#define LIFETIME_NS 30000000000ll

bool fragment_is(const uint8_t *frame, size_t len)
{
    return len >= ETH_LEN + IP_LEN && ld_be16(frame + 12) == 0x0800 &&
           (ld_be16(frame + ETH_LEN + 6) & 0x3fff); // more fragments, or an offset
}

static struct fragment_slot *find_slot(struct fragments *f, const uint8_t key[12], int64_t now)
{
    struct fragment_slot *oldest = &f->slots[0];
    for (unsigned i = 0; i < FRAGMENT_SLOTS; i++) {
        struct fragment_slot *s = &f->slots[i];
        if (s->started && now - s->started > LIFETIME_NS)
            s->started = 0;
        if (s->started && !memcmp(s->key, key, sizeof s->key))
            return s;
        if (s->started < oldest->started)
            oldest = s;
    }
    uint8_t *frame = oldest->frame ? oldest->frame : xalloc(HEADERS_MAX + IP_MAX);
    *oldest = (struct fragment_slot){.frame = frame, .started = now};
    memcpy(oldest->key, key, sizeof oldest->key);
    return oldest;
}

// False when some of [off, off + n) is here already.
static bool mark(struct fragment_slot *s, size_t off, size_t n)
{
    for (size_t unit = off / 8; unit < (off + n + 7) / 8; unit++) {
        uint8_t bit = (uint8_t)(1u << (unit & 7));
        if (s->have[unit / 8] & bit)
            return false;
        s->have[unit / 8] |= bit;
    }
    return true;
}

// Puts data in its place; false when it contradicts what is here.
static bool store(struct fragment_slot *s, const uint8_t *data, size_t off, size_t n, bool last)
{
    if (last && s->total)
        return false;
    if (last)
        s->total = off + n;
    if (!mark(s, off, n))
        return false;
    memcpy(s->frame + HEADERS_MAX + off, data, n);
    s->got += n;
    return !s->total || s->got <= s->total;
}

static const uint8_t *finish(struct fragment_slot *s, size_t *whole_len)
{
    uint8_t *frame = s->frame + HEADERS_MAX - s->header_len, *ip = frame + ETH_LEN;
    size_t ip_len = s->header_len - ETH_LEN;
    uint32_t sum = 0;
    s->started = 0;
    if (ip_len + s->total > IP_MAX)
        return NULL;
    st_be16(ip + 2, (uint16_t)(ip_len + s->total));
    st_be16(ip + 6, 0);
    st_be16(ip + 10, 0);
    for (size_t i = 0; i < ip_len; i += 2)
        sum += ld_be16(ip + i);
    sum = (sum & 0xffff) + (sum >> 16);
    st_be16(ip + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
    *whole_len = s->header_len + s->total;
    return frame;
}

const uint8_t *fragment_take(struct fragments *f, const uint8_t *frame, size_t len, int64_t now_ns,
                             size_t *whole_len)
{
    const uint8_t *ip = frame + ETH_LEN;
    size_t ip_len = (ip[0] & 15) * 4u, total = ld_be16(ip + 2);
    size_t off = (ld_be16(ip + 6) & 0x1fff) * 8u;
    bool last = !(ld_be16(ip + 6) & 0x2000);
    if (ip[0] >> 4 != 4 || ip_len < IP_LEN || total <= ip_len || total > len - ETH_LEN)
        return NULL;
    size_t n = total - ip_len;
    if ((!last && n % 8) || off + n > IP_MAX - IP_LEN)
        return NULL;
    uint8_t key[12];
    memcpy(key, ip + 12, 8);
    memcpy(key + 8, ip + 4, 2);
    key[10] = ip[9];
    key[11] = 0;
    struct fragment_slot *s = find_slot(f, key, MAX(now_ns, 1));
    if (!store(s, ip + ip_len, off, n, last)) {
        s->started = 0;
        return NULL;
    }
    if (!off) {
        s->header_len = ETH_LEN + ip_len;
        memcpy(s->frame + HEADERS_MAX - s->header_len, frame, s->header_len);
    }
    return s->total && s->got == s->total && s->header_len ? finish(s, whole_len) : NULL;
}

void fragment_free(struct fragments *f)
{
    for (unsigned i = 0; i < FRAGMENT_SLOTS; i++)
        free(f->slots[i].frame);
}
