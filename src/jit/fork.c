// fork(2) in user mode. The code cache is shared memory, so the child would write into its
// parent's: it gets a copy instead, mapped at the same two addresses. The copy is made before the
// fork, under the lock, since the parent's other threads go on linking blocks at once.
#include "jit/state.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static int copy_range(int fd, const uint8_t *rw, uint32_t from, uint32_t to)
{
    while (from < to) {
        ssize_t n = pwrite(fd, rw + from, to - from, (off_t)from);
        if (n <= 0)
            return -1;
        from += (uint32_t)n;
    }
    return 0;
}

static int copy_cache(struct jit *j, int fd)
{
    if (ftruncate(fd, (off_t)j->cache_size) || copy_range(fd, j->rw, 0, j->thunk_end))
        return -1;
    for (unsigned k = 0; k < JIT_ARENAS; k++) {
        const struct arena *a = &j->arena[k];
        size_t n = arena_blocks(a);
        if (!n)
            continue;
        const struct block *last = arena_block(a, n - 1);
        if (copy_range(fd, j->rw, a->start, last->code + last->code_size))
            return -1;
    }
    return 0;
}

// Twice, as the cache is. Not by its descriptor, since the child's table need not be the caller's.
static int map_copy(struct jit *j)
{
    int fd = memfd_create("myna-code", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    j->fork_rw = j->fork_rx = MAP_FAILED;
    if (!copy_cache(j, fd)) {
        j->fork_rw = mmap(NULL, j->cache_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        j->fork_rx = mmap(NULL, j->cache_size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    }
    int why = errno;
    close(fd);
    errno = why;
    if (j->fork_rw != MAP_FAILED && j->fork_rx != MAP_FAILED)
        return 0;
    if (j->fork_rw != MAP_FAILED)
        munmap(j->fork_rw, j->cache_size);
    return -1;
}

int jit_fork_prepare(struct jit *j, struct err *e)
{
    jit_lock(j);
    mutex_lock(&j->id_lock);
    if (!map_copy(j))
        return 0;
    int why = errno;
    mutex_unlock(&j->id_lock);
    jit_unlock(j);
    return err_errno(e, why, "translated code: no memory for a child's copy");
}

void jit_fork_parent(struct jit *j)
{
    munmap(j->fork_rw, j->cache_size);
    munmap(j->fork_rx, j->cache_size);
    mutex_unlock(&j->id_lock);
    jit_unlock(j);
}

static void move_copy(void *from, size_t size, const uint8_t *to)
{
    BUG_ON(mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED);
}

void jit_fork_child(struct jit *j, struct env *self)
{
    move_copy(j->fork_rw, j->cache_size, j->rw);
    move_copy(j->fork_rx, j->cache_size, j->rx);
    jit_locks_init(j); // they belong to a thread of the parent
    j->n_waiting = 0;  // those were the parent's, too
    jit_vcpus_forget(j);
    for (unsigned k = 0; k < j->c.max_vcpus; k++)
        if (j->vcpu[k] && j->vcpu[k] != jit_vcpu_of(self))
            jit_vcpu_free(jit_env(j->vcpu[k]));
    pthread_mutex_init(&jit_vcpu_of(self)->queue_lock, NULL);
}
