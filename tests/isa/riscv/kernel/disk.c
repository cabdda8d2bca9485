// A virtio block device behind virtio-mmio (virtio 1.2, 4.2 and 5.2): one request at a time, by
// interrupt.
#include "kernel.h"

#define SLOTS ((volatile u32 *)0x10001000)
enum {
    MAGIC = 0,
    VERSION = 1,
    DEVICE = 2,
    FEATURES = 4,
    FEATURES_SELECT = 5,
    ACCEPTED = 8,
    ACCEPTED_SELECT = 9,
    QUEUE = 12
};
enum {
    QUEUE_MAX = 13,
    QUEUE_SIZE = 14,
    QUEUE_READY = 17,
    NOTIFY = 20,
    ISR = 24,
    ACK = 25,
    STATUS = 28
};
enum { DESCRIPTORS = 32, AVAILABLE = 36, USED = 40, ENTRIES = 8, NEXT = 1, DEVICE_WRITES = 2 };

struct descriptor {
    u64 address;
    u32 length;
    uint16_t flags, next;
};
static struct {
    struct descriptor descriptors[ENTRIES];
    uint16_t available_flags, available_index, available[ENTRIES], pad;
    u32 pad2;
    volatile uint16_t used_flags __attribute__((aligned(8))), used_index;
    struct {
        u32 id, length;
    } used[ENTRIES];
} queue __attribute__((aligned(4096)));
static struct {
    u32 type, reserved;
    u64 sector;
} request;
static volatile unsigned char status;
static struct lock disk_lock;
static volatile u32 *device;
static int busy, done;
static uint16_t seen;
volatile u64 disk_interrupts;

static void set_address(unsigned at, const void *p)
{
    device[at] = (u32)(u64)p;
    device[at + 1] = (u32)((u64)p >> 32);
}

void disk_start(void)
{
    for (unsigned n = 0; n < 8 && !device; n++)
        if (SLOTS[1024 * n + MAGIC] == 0x74726976 && SLOTS[1024 * n + DEVICE] == 2)
            device = &SLOTS[1024 * n];
    if (!device || device[VERSION] != 2)
        panic(__LINE__);
    device[STATUS] = 0;
    device[STATUS] = 1 | 2; // acknowledge, driver
    device[ACCEPTED_SELECT] = 0;
    device[ACCEPTED] = 0;
    device[ACCEPTED_SELECT] = 1;
    device[ACCEPTED] = 1; // VERSION_1
    device[STATUS] |= 8;
    device[QUEUE] = 0;
    if (!(device[STATUS] & 8) || device[QUEUE_MAX] < ENTRIES)
        panic(__LINE__);
    device[QUEUE_SIZE] = ENTRIES;
    set_address(DESCRIPTORS, queue.descriptors);
    set_address(AVAILABLE, &queue.available_flags);
    set_address(USED, (const void *)&queue.used_flags);
    device[QUEUE_READY] = 1;
    device[STATUS] |= 4;
}

void disk_interrupt(void)
{
    lock(&disk_lock);
    device[ACK] = device[ISR];
    __sync_synchronize();
    disk_interrupts++;
    if (queue.used_index != seen) {
        seen = queue.used_index;
        done = 1;
        wake(&done);
    }
    unlock(&disk_lock);
}

void disk_move(u64 sector, void *page, int write)
{
    lock(&disk_lock);
    while (busy)
        wait_for(&busy, &disk_lock);
    busy = 1;
    done = 0;
    request.type = write ? 1 : 0;
    request.sector = sector;
    status = 0xff;
    queue.descriptors[0] = (struct descriptor){(u64)&request, sizeof request, NEXT, 1};
    queue.descriptors[1] =
        (struct descriptor){(u64)page, 512, NEXT | (write ? 0 : DEVICE_WRITES), 2};
    queue.descriptors[2] = (struct descriptor){(u64)&status, 1, DEVICE_WRITES, 0};
    queue.available[queue.available_index % ENTRIES] = 0;
    __sync_synchronize();
    queue.available_index++;
    __sync_synchronize();
    device[NOTIFY] = 0;
    while (!done)
        wait_for(&done, &disk_lock);
    if (status)
        panic(__LINE__);
    busy = 0;
    wake(&busy);
    unlock(&disk_lock);
}
