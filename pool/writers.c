/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/writers.h"

#include "base/uuid.h"
#include "pool/engine.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define WRITERS_NAME "writers"

enum {
    WAIT_S = 35,                      /* drive-timeout's default, and a margin */
    PAUSE_NS = 50 * 1000,             /* between two tries at first */
    PAUSE_MOST_NS = 20 * 1000 * 1000, /* later */
    PAUSE_GATE_NS = 1000 * 1000,      /* at the gate, which is held for moments, but often */
    LOOKS = 3,
};
/* A look is as good as new for so long. */
static const int64_t look_lasts = MRMR_NS_PER_S / 2;

/* Locks of an open file description (fcntl(2), F_OFD_SETLK), one byte each. */
enum writers_lock { LOCK_GATE, LOCK_IN };

enum writers_number { NUMBER_EPOCH, NUMBER_TURN };

struct pool_writers {
    int fd;
    int64_t wait_most;
    pthread_mutex_t lock;
    pthread_cond_t went; /* with lock: nobody is stopping any more */
    /* Guarded by lock. */
    bool stopping; /* from stop to go: the lock on the file is the handle's, not a thread's */
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

/* Without waiting. *ret_got: it is had. */
static mrmr_err lock_try(const struct pool_writers *writers, enum writers_lock which, bool *ret_got)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = which, .l_len = 1};
    *ret_got = fcntl(writers->fd, F_OFD_SETLK, &lock) == 0;
    if (*ret_got || errno == EAGAIN || errno == EACCES || errno == EINTR)
        return MRMR_OK;
    return mrmr_fail_errno(errno, "lock", WRITERS_NAME);
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
    writers->wait_most = WAIT_S * MRMR_NS_PER_S;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&writers->went, &monotonic);
    pthread_condattr_destroy(&monotonic);
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
    pthread_cond_destroy(&writers->went);
    free(writers);
}

void pool_writers_wait_at_most(struct pool_writers *writers, int64_t ns)
{
    writers->wait_most = ns;
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

mrmr_err pool_writers_epoch(const struct pool_writers *writers, uint64_t *ret_epoch)
{
    return number_get(writers, NUMBER_EPOCH, ret_epoch);
}

void pool_writers_leave(struct pool_writers *writers)
{
    mrmr_locked(&writers->lock);
    if (--writers->in == 0)
        lock_set(writers, LOCK_IN, F_UNLCK);
}

/* --- stopping --- */

struct waiting {
    struct pool_writers *writers;
    const struct pool_job *job;
    int64_t end, pause;
};

/* It goes on, and until when this pause lasts. */
static mrmr_err waiting_pause(struct waiting *waiting, int64_t most, int64_t *ret_until)
{
    int64_t now = mrmr_clock_monotonic();
    MRMR_TRY(pool_job_poll(waiting->job));
    if (now >= waiting->end) {
        mrmr_fail(MRMR_BUSY,
            "something that is written through the pool's mount has not ended for %lld s: a drive "
            "hangs, or is very slow",
            (long long)(waiting->writers->wait_most / MRMR_NS_PER_S));
        return mrmr_err_hint(MRMR_BUSY,
            "nothing is lost: look with `mrmr drives` which one does not answer, then run the "
            "command again");
    }
    int64_t left = waiting->end - now;
    waiting->pause = waiting->pause < most / 2 ? 2 * waiting->pause : most;
    *ret_until = now + (waiting->pause < left ? waiting->pause : left);
    return MRMR_OK;
}

/* No wait is more than twice as long as it had to be, and 20 ms at most. */
static mrmr_err lock_wait(struct waiting *waiting, enum writers_lock which, int64_t most)
{
    waiting->pause = PAUSE_NS / 2;
    for (;;) {
        bool got;
        int64_t until;
        MRMR_TRY(lock_try(waiting->writers, which, &got));
        if (got)
            return MRMR_OK;
        MRMR_TRY(waiting_pause(waiting, most, &until));
        struct timespec ts = mrmr_clock_to_timespec(until);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
    }
}

/* Another thread that stops them lets them go on first. */
static mrmr_err stopping_begin(struct waiting *waiting)
{
    struct pool_writers *writers = waiting->writers;
    mrmr_locked(&writers->lock);
    while (writers->stopping) {
        int64_t until;
        MRMR_TRY(waiting_pause(waiting, PAUSE_MOST_NS, &until));
        struct timespec ts = mrmr_clock_to_timespec(until);
        pthread_cond_timedwait(&writers->went, &writers->lock, &ts);
    }
    writers->stopping = true;
    return MRMR_OK;
}

static void stopping_end(struct pool_writers *writers)
{
    mrmr_locked(&writers->lock);
    writers->stopping = false;
    pthread_cond_signal(&writers->went);
}

mrmr_err pool_writers_stop(struct pool_writers *writers, const struct pool_job *job)
{
    struct waiting waiting = {writers, job, mrmr_clock_monotonic() + writers->wait_most, PAUSE_NS};
    MRMR_TRY(stopping_begin(&waiting));
    mrmr_err err = lock_wait(&waiting, LOCK_GATE, PAUSE_GATE_NS);
    if (!err) {
        err = lock_wait(&waiting, LOCK_IN, PAUSE_MOST_NS);
        if (err)
            lock_set(writers, LOCK_GATE, F_UNLCK);
    }
    if (err)
        stopping_end(writers);
    return err;
}

void pool_writers_go(struct pool_writers *writers)
{
    lock_set(writers, LOCK_IN, F_UNLCK);
    lock_set(writers, LOCK_GATE, F_UNLCK);
    stopping_end(writers);
}

mrmr_err pool_writers_stop_after(
    struct pool_writers *writers, const struct pool_job *job, pool_writers_look look, void *arg)
{
    for (unsigned looks = 1;; looks++) {
        MRMR_TRY(look(arg));
        int64_t since = mrmr_clock_monotonic();
        MRMR_TRY(pool_writers_stop(writers, job));
        if (mrmr_clock_monotonic() - since < look_lasts)
            return MRMR_OK;
        /* Writers are slow, and what is asked answers. */
        mrmr_err err = looks < LOOKS ? MRMR_OK : look(arg);
        if (!err && looks == LOOKS)
            return MRMR_OK;
        pool_writers_go(writers);
        MRMR_TRY(err);
    }
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
