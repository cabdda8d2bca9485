// How the devices of a board's slot table start.
#include "board/slot.h"

#include "device/core/sysdev.h"

int board_start(struct machine *m, struct device *d, int failed, struct err *e)
{
    if (!failed)
        return device_start(&m->tree, d, NULL, e);
    device_discard(d);
    return -1;
}

int board_start_slot(struct machine *m, const struct board_slot *s, unsigned n, struct device *d,
                     int failed, struct space *to, struct irq line, struct err *e)
{
    if (board_start(m, d, failed, e))
        return -1;
    struct sys_device *sys = container_of(d, struct sys_device, dev);
    sys_map(sys, 0, to, board_slot_at(s, n));
    if (s->irq >= 0)
        sys_connect(sys, 0, line);
    return 0;
}
