// System V IPC: shared memory lies in the guest's address space; what a command's argument is
// depends on the command, and a message begins with a long.
#include "user/calls.h"
#include "user/abi/layout_host.h"

#include <stdlib.h>
#include <sys/ipc.h>

enum { IPC_64 = 0x100 }; // in a command: implied everywhere today
// Linux's numbers; the C library hides them without _GNU_SOURCE, or lacks them.
enum { ANY_MSG_STAT = 13, ANY_SHM_STAT = 15, ANY_SEM_STAT = 20 };

int64_t sys_shmat(struct thread *t, const uint64_t *a)
{
    robust_shares_memory(t->u);
    return mm_shm_attach(&t->u->mm, (int)a[0], a[1], (int)a[2]);
}

int64_t sys_shmdt(struct thread *t, const uint64_t *a)
{
    return mm_shm_detach(&t->u->mm, a[0]);
}

// A command on structure `id` at guest address a[n - 1], the last of its n arguments.
static int64_t control(struct thread *t, long nr, const uint64_t *a, unsigned n, enum layout_id id,
                       bool sets)
{
    union layout_host s;
    uint64_t args[CALL_ARGS] = {a[0], a[1], a[2]}, addr = a[n - 1];
    memset(&s, 0, sizeof s);
    if (sets && !layout_read(t, id, addr, &s))
        return -EFAULT;
    args[n - 1] = (uint64_t)(uintptr_t)&s;
    int64_t r = call_host(t, nr, args);
    return r >= 0 && !sets && !layout_write(t, id, addr, &s) ? -EFAULT : r;
}

int64_t sys_semctl(struct thread *t, const uint64_t *a)
{
    switch ((int)a[2] & ~IPC_64) {
    case IPC_STAT:
    case SEM_STAT:
    case ANY_SEM_STAT:
    case IPC_SET:
        return control(t, SYS_semctl, a, 4, LAYOUT_semid_ds, ((int)a[2] & ~IPC_64) == IPC_SET);
    case GETALL:
    case SETALL:
    case IPC_INFO:
    case SEM_INFO:
        return CALL_HOST(t, semctl, a[0], a[1], a[2], call_ptr(t, a[3]));
    default:
        return CALL_HOST(t, semctl, a[0], a[1], a[2], a[3]);
    }
}

int64_t sys_shmctl(struct thread *t, const uint64_t *a)
{
    int cmd = (int)a[1] & ~IPC_64;
    switch (cmd) {
    case IPC_STAT:
    case SHM_STAT:
    case ANY_SHM_STAT:
    case IPC_SET:
        return control(t, SYS_shmctl, a, 3, LAYOUT_shmid_ds, cmd == IPC_SET);
    case IPC_INFO:
        return control(t, SYS_shmctl, a, 3, LAYOUT_shminfo, false);
    case SHM_INFO:
        return control(t, SYS_shmctl, a, 3, LAYOUT_shm_info, false);
    default:
        return CALL_HOST(t, shmctl, a[0], a[1], a[2]);
    }
}

int64_t sys_msgctl(struct thread *t, const uint64_t *a)
{
    int cmd = (int)a[1] & ~IPC_64;
    switch (cmd) {
    case IPC_STAT:
    case MSG_STAT:
    case ANY_MSG_STAT:
    case IPC_SET:
        return control(t, SYS_msgctl, a, 3, LAYOUT_msqid_ds, cmd == IPC_SET);
    default:
        return CALL_HOST(t, msgctl, a[0], a[1], call_ptr(t, a[2]));
    }
}

enum { MOST_MESSAGE = 1 << 24 }; // more than kernel.msgmax can be

int64_t sys_msgsnd(struct thread *t, const uint64_t *a)
{
    size_t head = layout_size(t, LAYOUT_message);
    if (layout_same(t, LAYOUT_message))
        return CALL_HOST(t, msgsnd, a[0], call_ptr(t, a[1]), a[2], a[3]);
    if (a[2] > MOST_MESSAGE)
        return -EINVAL;
    struct host_message *m = xalloc(sizeof *m + a[2]);
    int64_t r = -EFAULT;
    if (layout_read(t, LAYOUT_message, a[1], m) && guest_read(t, a[1] + head, m + 1, a[2]))
        r = CALL_HOST(t, msgsnd, a[0], (uint64_t)(uintptr_t)m, a[2], a[3]);
    free(m);
    return r;
}

int64_t sys_msgrcv(struct thread *t, const uint64_t *a)
{
    size_t head = layout_size(t, LAYOUT_message);
    if (layout_same(t, LAYOUT_message))
        return CALL_HOST(t, msgrcv, a[0], call_ptr(t, a[1]), a[2], a[3], a[4]);
    size_t room = MIN(a[2], (uint64_t)MOST_MESSAGE);
    struct host_message *m = xalloc(sizeof *m + room);
    int64_t r = CALL_HOST(t, msgrcv, a[0], (uint64_t)(uintptr_t)m, room, a[3], a[4]);
    if (r >= 0 && (!layout_write(t, LAYOUT_message, a[1], m) ||
                   !guest_write(t, a[1] + head, m + 1, (size_t)r)))
        r = -EFAULT;
    free(m);
    return r;
}

// For SIGEV_THREAD the value is the address of what the C library wants to get back.
int64_t sys_mq_notify(struct thread *t, const uint64_t *a)
{
    struct host_sigevent s;
    if (!a[1])
        return CALL_HOST(t, mq_notify, a[0], 0);
    if (!layout_read(t, LAYOUT_sigevent, a[1], &s))
        return -EFAULT;
    if (s.notify == SIGEV_THREAD)
        s.value = call_ptr(t, s.value);
    return CALL_HOST(t, mq_notify, a[0], (uint64_t)(uintptr_t)&s);
}
