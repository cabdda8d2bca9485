// System V IPC: shared memory lies in the guest's address space, and struct semid64_ds is laid out
// differently in the host.
#include "user/calls.h"

#include <sys/sem.h>

int64_t sys_shmat(struct thread *t, const uint64_t *a)
{
    robust_needs(t->u, ROBUST_SHARED);
    return mm_shm_attach(&t->u->mm, (int)a[0], a[1], (int)a[2]);
}

int64_t sys_shmdt(struct thread *t, const uint64_t *a)
{
    return mm_shm_detach(&t->u->mm, a[0]);
}

// asm-generic/sembuf.h
struct guest_semid_ds {
    struct {
        int32_t key;
        uint32_t uid, gid, cuid, cgid, mode;
        uint16_t pad1, seq, pad2, pad3;
        uint64_t unused[2];
    } perm;
    uint64_t otime, ctime, nsems, unused[2];
};

static int64_t sem_stat(struct thread *t, const uint64_t *a)
{
    struct semid_ds s = {0};
    int64_t r = CALL_HOST(t, semctl, a[0], a[1], a[2], (uint64_t)(uintptr_t)&s);
    if (r < 0)
        return r;
    struct guest_semid_ds g = {
        .otime = (uint64_t)s.sem_otime, .ctime = (uint64_t)s.sem_ctime, .nsems = s.sem_nsems};
    g.perm.key = s.sem_perm.__key;
    g.perm.uid = s.sem_perm.uid;
    g.perm.gid = s.sem_perm.gid;
    g.perm.cuid = s.sem_perm.cuid;
    g.perm.cgid = s.sem_perm.cgid;
    g.perm.mode = s.sem_perm.mode;
    g.perm.seq = s.sem_perm.__seq;
    return guest_write(t, a[3], &g, sizeof g) ? r : -EFAULT;
}

int64_t sys_semctl(struct thread *t, const uint64_t *a)
{
    struct guest_semid_ds g;
    struct semid_ds s = {0};
    switch ((int)a[2] & ~0x100) { // IPC_64 is implied
    case IPC_STAT:
    case SEM_STAT:
        return sem_stat(t, a);
    case IPC_SET:
        if (!guest_read(t, a[3], &g, sizeof g))
            return -EFAULT;
        s.sem_perm.uid = g.perm.uid;
        s.sem_perm.gid = g.perm.gid;
        s.sem_perm.mode = (unsigned short)g.perm.mode;
        return CALL_HOST(t, semctl, a[0], a[1], a[2], (uint64_t)(uintptr_t)&s);
    case GETALL:
    case SETALL:
    case IPC_INFO:
    case SEM_INFO:
        return CALL_HOST(t, semctl, a[0], a[1], a[2], call_ptr(t, a[3]));
    default:
        return CALL_HOST(t, semctl, a[0], a[1], a[2], a[3]);
    }
}
