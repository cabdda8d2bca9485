// Throughput of the user-mode network: a guest's TCP connection to a socket of the host and back,
// 1,460 bytes to the segment or, where the guest leaves cutting them up to us, 32 KiB; no device in
// between. Prints MB/s and the CPU time of a gigabyte.
#include "../unit/net/guest.h"

#include <netinet/in.h>
#include <stdio.h>
#include <time.h>

#include "base/thread.h"

static struct loop *loop;
static int listener;
static size_t volume;
static bool host_sends;

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

// The host's end, on a thread of its own.
static void host_end(void *arg)
{
    static uint8_t buf[1 << 18];
    int fd = accept(listener, NULL, NULL);
    size_t done = 0;
    while (done < volume) {
        ssize_t n = host_sends ? send(fd, buf, MIN(sizeof buf, volume - done), MSG_NOSIGNAL)
                               : recv(fd, buf, sizeof buf, 0);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
}

static void report(const char *what, int64_t wall, int64_t cpu)
{
    double mb = (double)volume / 1e6;
    printf("%-14s %8.0f MB/s  %6.2f CPU-s/GB in the loop's thread\n", what, mb * 1e9 / (double)wall,
           (double)cpu / 1e9 * 1000 / mb);
}

static void take_all(struct guest *g, struct tcp *t, size_t *got)
{
    const uint8_t *data;
    while (g->count) {
        struct frame *f = guest_peek(g);
        if (eth_type(f) == ETH_IP && f->data[23] == 6)
            *got += tcp_take(t, f, &data);
        guest_pop(g);
    }
}

static void run(bool from_host, size_t segment, uint16_t port)
{
    struct guest *g = guest_new(loop, "user,id=n0", 0x56);
    struct tcp t;
    static uint8_t data[32768];
    g->ip = 0x0a00020f;
    guest_arp(g, 0x0a000202);
    host_sends = from_host;
    pthread_t peer = thread_start("peer", host_end, NULL);
    tcp_open(&t, g, 0x0a000202, (uint16_t)(40000 + segment + from_host), port);
    t.peer_acked = t.seq;
    int64_t wall = host_monotonic_ns(), cpu = cpu_ns();
    size_t sent = 0, got = 0;
    while (!t.reset && !t.peer_fin && (from_host ? got : sent) < volume) {
        while (!from_host && sent < volume && t.seq - t.peer_acked + 1460 <= t.window) {
            size_t n = MIN(segment, t.window - (t.seq - t.peer_acked));
            if (n > 1460)
                tcp_emit_large(&t, data, n);
            else
                tcp_emit(&t, 16, data, n);
            sent += n;
        }
        loop_run_once(loop, g->count ? 0 : 1);
        take_all(g, &t, &got);
        if (from_host && t.sent_ack != t.ack)
            tcp_emit(&t, 16, NULL, 0);
    }
    report(from_host        ? "host to guest"
           : segment > 1460 ? "guest, large"
                            : "guest to host",
           host_monotonic_ns() - wall, cpu_ns() - cpu);
    guest_free(g);
    pthread_join(peer, NULL);
}

int main(int argc, char **argv)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    volume = (argc > 1 ? strtoul(argv[1], NULL, 0) : 500) * 1000000;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&in, sizeof in) || listen(listener, 1))
        return 1;
    getsockname(listener, (struct sockaddr *)&in, &len);
    loop = loop_new("bench");
    run(false, 1460, ntohs(in.sin_port));
    run(false, 32768, ntohs(in.sin_port));
    run(true, 1460, ntohs(in.sin_port));
    loop_free(loop);
    return 0;
}
