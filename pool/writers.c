/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/writers.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define WRITERS_NAME "writers"

/* Locks of an open file description (fcntl(2), F_OFD_SETLK), one byte each. */
enum writers_lock { LOCK_GATE, LOCK_IN };

enum writers_number { NUMBER_EPOCH, NUMBER_TURN };

struct pool_writers {
    int fd;
    pthread_mutex_t
        stopping; /* from stop to go: the lock on the file is the handle's, not a thread's */
    pthread_mutex_t lock;
    /* Guarded by lock. */
    unsigned in;   /* the threads of this process share one lock on the file */
    uint64_t turn; /* the last of this handle; they begin at random, so that no other has them */
};

static mrmr_err lock_set(const struct pool_writers *writers, enum writers_lock which, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = which, .l_len = 1};
    while (fcntl(writers->fd, F_OFD_SETLKW, &lock) < 0)
        if (errno != EINTR)
            return mrmr_fail_errno(errno, "lock", WRITERS_NAME);
    return MRMR_OK;
}

/* One that was never written is 0. */
static mrmr_err number_get(
    const struct pool_writers *writers, enum writers_number which, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (pread(writers->fd, &number, sizeof number, which * (off_t)sizeof number) < 0)
        return mrmr_fail_errno(errno, "read", WRITERS_NAME);
    *ret_number = number;
    return MRMR_OK;
}

static mrmr_err number_put(
    const struct pool_writers *writers, enum writers_number which, uint64_t number)
{
    ssize_t n = pwrite(writers->fd, &number, sizeof number, which * (off_t)sizeof number);
    if (n == (ssize_t)sizeof number)
        return MRMR_OK;
    return mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", WRITERS_NAME);
}

static mrmr_err writers_start(struct pool_writers *writers, int dirfd)
{
    writers->fd = openat(dirfd, WRITERS_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (writers->fd < 0)
        return mrmr_fail_errno(errno, "open", WRITERS_NAME);
    return mrmr_random(&writers->turn, sizeof writers->turn);
}

mrmr_err pool_writers_open(int dirfd, struct pool_writers **ret_writers)
{
    struct pool_writers *writers = calloc(1, sizeof *writers);
    if (!writers)
        return mrmr_nomem();
    writers->fd = -1;
    pthread_mutex_init(&writers->stopping, NULL);
    pthread_mutex_init(&writers->lock, NULL);
    mrmr_err err = writers_start(writers, dirfd);
    if (err)
        pool_writers_close(writers);
    else
        *ret_writers = writers;
    return err;
}

void pool_writers_close(struct pool_writers *writers)
{
    if (!writers)
        return;
    if (writers->fd >= 0)
        close(writers->fd);
    pthread_mutex_destroy(&writers->lock);
    pthread_mutex_destroy(&writers->stopping);
    free(writers);
}

mrmr_err pool_writers_enter(struct pool_writers *writers, uint64_t *ret_epoch)
{
    /* Through the gate, which a thread of this process may open again while another is in it: that
     * does no harm, it is held for nothing. */
    MRMR_TRY(lock_set(writers, LOCK_GATE, F_RDLCK));
    mrmr_locked(&writers->lock);
    mrmr_err err = writers->in ? MRMR_OK : lock_set(writers, LOCK_IN, F_RDLCK);
    if (!err)
        err = number_put(writers, NUMBER_TURN, ++writers->turn);
    if (!err)
        err = number_get(writers, NUMBER_EPOCH, ret_epoch);
    if (!err)
        writers->in++;
    else if (!writers->in)
        lock_set(writers, LOCK_IN, F_UNLCK);
    lock_set(writers, LOCK_GATE, F_UNLCK);
    return err;
}

void pool_writers_leave(struct pool_writers *writers)
{
    mrmr_locked(&writers->lock);
    if (--writers->in == 0)
        lock_set(writers, LOCK_IN, F_UNLCK);
}

mrmr_err pool_writers_stop(struct pool_writers *writers)
{
    pthread_mutex_lock(&writers->stopping);
    mrmr_err err = lock_set(writers, LOCK_GATE, F_WRLCK);
    if (!err) {
        err = lock_set(writers, LOCK_IN, F_WRLCK);
        if (err)
            lock_set(writers, LOCK_GATE, F_UNLCK);
    }
    if (err)
        pthread_mutex_unlock(&writers->stopping);
    return err;
}

void pool_writers_go(struct pool_writers *writers)
{
    lock_set(writers, LOCK_IN, F_UNLCK);
    lock_set(writers, LOCK_GATE, F_UNLCK);
    pthread_mutex_unlock(&writers->stopping);
}

mrmr_err pool_writers_new_epoch(struct pool_writers *writers)
{
    uint64_t epoch;
    MRMR_TRY(number_get(writers, NUMBER_EPOCH, &epoch));
    return number_put(writers, NUMBER_EPOCH, epoch + 1);
}

mrmr_err pool_writers_turn(const struct pool_writers *writers, uint64_t *ret_turn)
{
    return number_get(writers, NUMBER_TURN, ret_turn);
}
