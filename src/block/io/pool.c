// A pool of at most POOL_MAX threads, each started when a job finds no idle one. Finished jobs are
// announced through an eventfd, written once per burst.

#include "block/io/pool.h"
#include "base/thread.h"
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { POOL_MAX = 16 };

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list todo, done;
    pthread_t threads[POOL_MAX];
    unsigned n_threads, n_idle, n_todo;
    bool stop;
    int fd;
};

static void *worker_next(struct pool *p)
{
    while (list_empty(&p->todo) && !p->stop) {
        p->n_idle++;
        pthread_cond_wait(&p->more, &p->lock);
        p->n_idle--;
    }
    if (list_empty(&p->todo))
        return NULL;
    struct pool_job *j = list_entry(p->todo.next, struct pool_job, link);
    list_remove(&j->link);
    p->n_todo--;
    return j;
}

static void worker(void *arg)
{
    struct pool *p = arg;
    struct pool_job *j;
    mutex_lock(&p->lock);
    while ((j = worker_next(p))) {
        mutex_unlock(&p->lock);
        j->run(j->arg);
        mutex_lock(&p->lock);
        bool first = list_empty(&p->done);
        list_append(&p->done, &j->link);
        if (first)
            eventfd_write(p->fd, 1);
    }
    mutex_unlock(&p->lock);
}

struct pool *pool_new(void)
{
    struct pool *p = xalloc(sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    list_init(&p->todo);
    list_init(&p->done);
    p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    BUG_ON(p->fd < 0);
    return p;
}

void pool_free(struct pool *p)
{
    mutex_lock(&p->lock);
    BUG_ON(!list_empty(&p->todo) || !list_empty(&p->done));
    p->stop = true;
    pthread_cond_broadcast(&p->more);
    mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    close(p->fd);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int pool_fd(const struct pool *p)
{
    return p->fd;
}

void pool_submit(struct pool *p, struct pool_job *j)
{
    mutex_lock(&p->lock);
    list_append(&p->todo, &j->link);
    if (++p->n_todo > p->n_idle && p->n_threads < POOL_MAX)
        p->threads[p->n_threads++] = thread_start("block-worker", worker, p);
    pthread_cond_signal(&p->more);
    mutex_unlock(&p->lock);
}

struct pool_job *pool_reap(struct pool *p)
{
    struct pool_job *j = NULL;
    mutex_lock(&p->lock);
    if (list_empty(&p->done)) {
        eventfd_t count;
        eventfd_read(p->fd, &count);
    } else {
        j = list_entry(p->done.next, struct pool_job, link);
        list_remove(&j->link);
    }
    mutex_unlock(&p->lock);
    return j;
}
