// Ports of the loopback interface for tests that must know a number before anyone listens there.
#pragma once

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

// A port that nobody uses (type: SOCK_STREAM or SOCK_DGRAM), another one each time. Below those
// that kernels give out themselves and begun from the process's number, so that nobody takes it
// before the caller does, and connecting to it is refused.
static inline uint16_t free_port(int type)
{
    enum { FIRST = 10240, PORTS = 5000, STEP = 16 };
    static unsigned asked;
    for (unsigned i = 0; i < PORTS; i++) {
        unsigned port = FIRST + ((unsigned)getpid() * STEP + asked++) % PORTS;
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        int taken = bind(fd, (struct sockaddr *)&in, sizeof in);
        close(fd);
        if (!taken)
            return (uint16_t)port;
    }
    fail_msg("all ports are in use");
    return 0;
}
