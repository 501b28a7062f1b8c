/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/writers.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "drivers/hold.h"
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
enum writers_lock { LOCK_GATE, LOCK_IN, LOCK_LATE /* on a drive that is not known */ };

/* Of those that are late on a drive: the byte of its medium. */
#define LOCK_DRIVE ((off_t)1 << 32)
/* A scan is under way: the owner's, who alone asks for all that are late, and whom no lock of his own is in the way of. */
#define LOCK_SCAN ((off_t)1 << 31)

/* Bytes of the file; n 0: to the end of all. */
struct range {
    off_t start, n;
};
static const struct range range_late = {LOCK_LATE, 0};
static const struct range range_scan = {LOCK_SCAN, 1};

static struct range range_of_drive(int64_t drive)
{
    bool has = drive > 0 && (uint64_t)drive < POOL_WRITERS_DRIVES;
    return (struct range){has ? LOCK_DRIVE + drive : LOCK_LATE, 1};
}

enum writers_number { NUMBER_EPOCH, NUMBER_TURN };

struct pool_writers {
    atomic_uint refs; /* the handle itself, and each change that is late */
    int fd;
    int64_t wait_most;
    pthread_mutex_t lock;
    pthread_cond_t went; /* with lock: nobody is stopping any more */
    /* Guarded by lock. */
    bool stopping; /* from stop to go: the lock on the file is the handle's, not a thread's */
    unsigned in;   /* the threads of this process share one lock on the file */
    struct late {  /* likewise, one a drive */
        int64_t drive;
        unsigned n;
    } * late;
    size_t nlate;
    uint64_t turn; /* the last of this handle; they begin at random, so that no other has them */

    /* Staying in; guarded by lock, but for stay, which is set before others use the handle. */
    int64_t stay;        /* ns */
    bool has;            /* the lock LOCK_IN; if anybody is in */
    int64_t until;       /* monotonic: until then nobody goes through the gate */
    uint64_t epoch;      /* as long as it has */
    uint64_t stays;      /* times that it was taken */
    pthread_cond_t left; /* nobody is in, and it has the lock; or it ends */
    bool leaver_runs, leaver_waits, ends;
    pthread_t leaver;
};

static mrmr_err range_set(const struct pool_writers *writers, struct range range, short type)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = range.start, .l_len = range.n};
    while (fcntl(writers->fd, F_OFD_SETLKW, &lock) < 0)
        if (errno != EINTR)
            return mrmr_fail_errno(errno, "lock", WRITERS_NAME);
    return MRMR_OK;
}

static mrmr_err lock_set(const struct pool_writers *writers, enum writers_lock which, short type)
{
    return range_set(writers, (struct range){which, 1}, type);
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

/* By another handle. */
static mrmr_err range_is_had(int fd, struct range range, bool *ret_had)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = range.start, .l_len = range.n};
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return mrmr_fail_errno(errno, "look at a lock of", WRITERS_NAME);
    *ret_had = lock.l_type != F_UNLCK;
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

/* --- staying in, and going --- */

static void in_give_locked(struct pool_writers *writers)
{
    writers->has = false;
    lock_set(writers, LOCK_IN, F_UNLCK);
}

static bool stays_locked(const struct pool_writers *writers)
{
    return writers->has && mrmr_clock_monotonic() < writers->until;
}

/* Gives the lock back, if nobody comes who does. */
static void *leaver_run(void *arg)
{
    struct pool_writers *writers = arg;
    mrmr_locked(&writers->lock);
    while (!writers->ends) {
        if (!writers->has || writers->in) {
            writers->leaver_waits = true;
            pthread_cond_wait(&writers->left, &writers->lock);
            writers->leaver_waits = false;
        } else if (stays_locked(writers)) {
            struct timespec ts = mrmr_clock_to_timespec(writers->until);
            pthread_cond_timedwait(&writers->left, &writers->lock, &ts);
        } else {
            in_give_locked(writers);
        }
    }
    return NULL;
}

/* False: there is no thread for it. */
static bool leaver_ready_locked(struct pool_writers *writers)
{
    if (!writers->leaver_runs)
        writers->leaver_runs = pthread_create(&writers->leaver, NULL, leaver_run, writers) == 0;
    if (writers->leaver_waits)
        pthread_cond_signal(&writers->left);
    return writers->leaver_runs;
}

/* Nobody uses the handle any more. */
static void leaver_end(struct pool_writers *writers)
{
    {
        mrmr_locked(&writers->lock);
        writers->ends = true;
        pthread_cond_signal(&writers->left);
    }
    if (writers->leaver_runs)
        pthread_join(writers->leaver, NULL);
}

/* --- life --- */

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
    writers->refs = 1;
    writers->fd = -1;
    writers->wait_most = WAIT_S * MRMR_NS_PER_S;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&writers->went, &monotonic);
    pthread_cond_init(&writers->left, &monotonic);
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
    if (!writers || atomic_fetch_sub(&writers->refs, 1) != 1)
        return;
    leaver_end(writers);
    if (writers->fd >= 0)
        close(writers->fd);
    free(writers->late);
    pthread_cond_destroy(&writers->left);
    pthread_mutex_destroy(&writers->lock);
    pthread_cond_destroy(&writers->went);
    free(writers);
}

void pool_writers_wait_at_most(struct pool_writers *writers, int64_t ns)
{
    writers->wait_most = ns;
}

/* --- coming and going --- */

void pool_writers_stay(struct pool_writers *writers, int64_t ns)
{
    writers->stay = ns;
}

/* With the gate passed. */
static mrmr_err in_take_locked(struct pool_writers *writers)
{
    if (writers->has)
        return MRMR_OK;
    uint64_t epoch;
    MRMR_TRY(lock_set(writers, LOCK_IN, F_RDLCK));
    mrmr_err err = number_put(writers, NUMBER_TURN, ++writers->turn);
    if (!err)
        err = number_get(writers, NUMBER_EPOCH, &epoch);
    if (err) {
        lock_set(writers, LOCK_IN, F_UNLCK);
        return err;
    }
    writers->has = true;
    writers->epoch = epoch;
    writers->stays++;
    return MRMR_OK;
}

/* Who is in, or was a moment ago, asks nobody. */
static bool enter_at_once(struct pool_writers *writers, uint64_t *ret_epoch)
{
    if (!writers->stay)
        return false;
    mrmr_locked(&writers->lock);
    if (!writers->has || mrmr_clock_monotonic() >= writers->until)
        return false;
    writers->in++;
    *ret_epoch = writers->epoch;
    return true;
}

mrmr_err pool_writers_enter(struct pool_writers *writers, uint64_t *ret_epoch)
{
    if (enter_at_once(writers, ret_epoch))
        return MRMR_OK;
    /* Through the gate, which a thread of this process may open again while another is in it: that
     * does no harm, it is held for nothing. */
    MRMR_TRY(lock_set(writers, LOCK_GATE, F_RDLCK));
    mrmr_locked(&writers->lock);
    mrmr_err err = in_take_locked(writers);
    if (!err) {
        writers->in++;
        writers->until = mrmr_clock_monotonic() + writers->stay;
        *ret_epoch = writers->epoch;
    }
    lock_set(writers, LOCK_GATE, F_UNLCK);
    return err;
}

mrmr_err pool_writers_epoch(struct pool_writers *writers, uint64_t *ret_epoch)
{
    {
        mrmr_locked(&writers->lock);
        if (writers->has) {
            *ret_epoch = writers->epoch;
            return MRMR_OK;
        }
    }
    return number_get(writers, NUMBER_EPOCH, ret_epoch);
}

uint64_t pool_writers_stays(struct pool_writers *writers)
{
    mrmr_locked(&writers->lock);
    return writers->stays;
}

void pool_writers_leave(struct pool_writers *writers)
{
    mrmr_locked(&writers->lock);
    if (--writers->in > 0)
        return;
    if (!stays_locked(writers) || !leaver_ready_locked(writers))
        in_give_locked(writers);
}

/* --- changes that may be late --- */

struct change {
    struct drv_hold hold; /* first */
    struct pool_writers *writers;
    bool outlives; /* its caller: an op of it goes on */
    bool beside;   /* it never was in */
    size_t nlate;  /* drives whose locks it has; none: it is in still, or beside */
    int64_t *late; /* owned */
};

static struct late *late_find_locked(struct pool_writers *writers, int64_t drive)
{
    for (size_t i = 0; i < writers->nlate; i++)
        if (writers->late[i].drive == drive)
            return &writers->late[i];
    return NULL;
}

static void late_leave(struct pool_writers *writers, int64_t drive)
{
    mrmr_locked(&writers->lock);
    struct late *late = late_find_locked(writers, drive);
    if (--late->n)
        return;
    range_set(writers, range_of_drive(drive), F_UNLCK);
    *late = writers->late[--writers->nlate];
}

static mrmr_err late_enter(struct pool_writers *writers, int64_t drive)
{
    mrmr_locked(&writers->lock);
    struct late *late = late_find_locked(writers, drive);
    if (late) {
        late->n++;
        return MRMR_OK;
    }
    struct late *more = reallocarray(writers->late, writers->nlate + 1, sizeof *more);
    if (!more)
        return mrmr_nomem();
    writers->late = more;
    MRMR_TRY(range_set(writers, range_of_drive(drive), F_RDLCK));
    more[writers->nlate++] = (struct late){drive, 1};
    return MRMR_OK;
}

/* On each drive that gave an op of it up; drive 0: on one that nobody knows. */
static void change_late_leave(struct change *change)
{
    while (change->nlate)
        late_leave(change->writers, change->late[--change->nlate]);
}

static mrmr_err change_late_on(struct change *change, int64_t drive)
{
    MRMR_TRY(late_enter(change->writers, drive));
    change->late[change->nlate++] = drive;
    return MRMR_OK;
}

static mrmr_err change_late_enter(struct change *change)
{
    const struct drv_hold *hold = &change->hold;
    mrmr_err err = MRMR_OK;
    change->late = calloc(hold->ndrives + 1, sizeof *change->late);
    if (!change->late)
        return mrmr_nomem();
    for (size_t i = 0; !err && i < hold->ndrives; i++)
        err = change_late_on(change, hold->drive[i]);
    if (!err && (hold->more || !hold->ndrives))
        err = change_late_on(change, 0);
    if (err)
        change_late_leave(change);
    return err;
}

/* On the caller's thread, or on that of the last op that was given up. */
static void change_ended(struct drv_hold *hold)
{
    struct change *change = (struct change *)hold;
    if (change->nlate)
        change_late_leave(change);
    else if (!change->beside)
        pool_writers_leave(change->writers);
    if (change->outlives)
        pool_writers_close(change->writers);
    free(change->late);
    free(change);
}

/* It is late before it leaves: whoever stops the writers sees one or the other. */
static void change_goes_on(struct change *change)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    atomic_fetch_add(&change->writers->refs, 1);
    change->outlives = true;
    const mrmr_err err = change_late_enter(change);
    if (!err && !change->beside)
        pool_writers_leave(change->writers);
    if (err)
        mrmr_log_story(MRMR_LOG_WARN,
            change->beside ? "that a drive does not answer is not known to others"
                           : "a change that a drive does not answer keeps all others from it");
    mrmr_story_restore(&story);
}

mrmr_err pool_writers_begin(struct pool_writers *writers, uint64_t *ret_epoch)
{
    struct change *change = calloc(1, sizeof *change);
    mrmr_err err = change ? pool_writers_enter(writers, ret_epoch) : mrmr_nomem();
    if (err) {
        free(change);
        return err;
    }
    change->writers = writers;
    drv_hold_begin(&change->hold, change_ended);
    return MRMR_OK;
}

mrmr_err pool_writers_beside(struct pool_writers *writers)
{
    struct change *change = calloc(1, sizeof *change);
    if (!change)
        return mrmr_nomem();
    change->writers = writers;
    change->beside = true;
    drv_hold_begin(&change->hold, change_ended);
    return MRMR_OK;
}

void pool_writers_end(void)
{
    struct change *change = (struct change *)drv_hold_own();
    if (drv_hold_goes_on(&change->hold))
        change_goes_on(change);
    drv_hold_end();
}

bool pool_writers_inside(void)
{
    return drv_hold_own();
}

/* --- stopping --- */

struct waiting {
    struct pool_writers *writers;
    const struct pool_job *job;
    const struct pool_writers_of *drives; /* NULL: all */
    int64_t end, pause;
    bool late; /* it is those that are late who are waited for */
};

static mrmr_err waited_enough(const struct waiting *waiting)
{
    const long long seconds = waiting->writers->wait_most / MRMR_NS_PER_S;
    if (waiting->late) {
        mrmr_fail(MRMR_BUSY,
            "a drive has not answered to something that was written through the pool's mount, and "
            "was given up: it may be written yet, and what is done now could count on what was "
            "there before");
        return mrmr_err_hint(MRMR_BUSY,
            "nothing is lost: look with `mrmr drives` which drive does not answer, put it right or "
            "unplug it, so that the kernel gives up, too; then run the command again");
    }
    mrmr_fail(MRMR_BUSY,
        "something that is written through the pool's mount has not ended for %lld s: a drive "
        "hangs, or is very slow",
        seconds);
    return mrmr_err_hint(MRMR_BUSY,
        "nothing is lost: look with `mrmr drives` which one does not answer, then run the "
        "command again");
}

/* It goes on, and until when this pause lasts. */
static mrmr_err waiting_pause(struct waiting *waiting, int64_t most, int64_t *ret_until)
{
    int64_t now = mrmr_clock_monotonic();
    MRMR_TRY(pool_job_poll(waiting->job));
    if (now >= waiting->end)
        return waited_enough(waiting);
    int64_t left = waiting->end - now;
    waiting->pause = waiting->pause < most / 2 ? 2 * waiting->pause : most;
    *ret_until = now + (waiting->pause < left ? waiting->pause : left);
    return MRMR_OK;
}

static mrmr_err waiting_sleep(struct waiting *waiting, int64_t most)
{
    int64_t until;
    MRMR_TRY(waiting_pause(waiting, most, &until));
    struct timespec ts = mrmr_clock_to_timespec(until);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
    return MRMR_OK;
}

/* No wait is more than twice as long as it had to be, and 20 ms at most. */
static mrmr_err lock_wait(struct waiting *waiting, enum writers_lock which, int64_t most)
{
    waiting->pause = PAUSE_NS / 2;
    for (;;) {
        bool got;
        MRMR_TRY(lock_try(waiting->writers, which, &got));
        if (got)
            return MRMR_OK;
        MRMR_TRY(waiting_sleep(waiting, most));
    }
}

mrmr_err pool_writers_late_on(int dirfd, int64_t drive, bool *ret_late)
{
    mrmr_autoclose int fd =
        openat(dirfd, WRITERS_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    *ret_late = false;
    if (fd < 0)
        return errno == ENOENT ? MRMR_OK : mrmr_fail_errno(errno, "open", WRITERS_NAME);
    return range_is_had(fd, range_of_drive(drive), ret_late);
}

static mrmr_err late_is_there(const struct waiting *waiting, bool *ret_late)
{
    const struct pool_writers_of *drives = waiting->drives;
    const int fd = waiting->writers->fd;
    if (!drives)
        return range_is_had(fd, range_late, ret_late);
    MRMR_TRY(range_is_had(fd, range_of_drive(0), ret_late));
    for (size_t i = 0; !*ret_late && i < drives->n; i++)
        MRMR_TRY(range_is_had(fd, range_of_drive(drives->drive[i]), ret_late));
    return MRMR_OK;
}

/* With the gate open. */
static mrmr_err late_wait(struct waiting *waiting)
{
    waiting->pause = PAUSE_NS / 2;
    for (;;) {
        MRMR_TRY(late_is_there(waiting, &waiting->late));
        if (!waiting->late)
            return MRMR_OK;
        MRMR_TRY(waiting_sleep(waiting, PAUSE_MOST_NS));
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

static void locks_give_back(const struct pool_writers *writers)
{
    lock_set(writers, LOCK_IN, F_UNLCK);
    lock_set(writers, LOCK_GATE, F_UNLCK);
}

/* *ret_late: they stand still, but for one that became late meanwhile. */
static mrmr_err locks_take(struct waiting *waiting, bool *ret_late)
{
    MRMR_TRY(lock_wait(waiting, LOCK_GATE, PAUSE_GATE_NS));
    mrmr_err err = lock_wait(waiting, LOCK_IN, PAUSE_MOST_NS);
    if (!err)
        err = late_is_there(waiting, ret_late);
    if (err)
        locks_give_back(waiting->writers);
    return err;
}

/* *ret_late: nobody is stopped, for a change became late meanwhile. */
static mrmr_err stop_try(struct waiting *waiting, bool *ret_late)
{
    MRMR_TRY(stopping_begin(waiting));
    mrmr_err err = locks_take(waiting, ret_late);
    if (!err && *ret_late)
        locks_give_back(waiting->writers);
    if (err || *ret_late)
        stopping_end(waiting->writers);
    return err;
}

mrmr_err pool_writers_stop(struct pool_writers *writers, const struct pool_job *job)
{
    return pool_writers_stop_of(writers, job, NULL);
}

mrmr_err pool_writers_stop_of(
    struct pool_writers *writers, const struct pool_job *job, const struct pool_writers_of *drives)
{
    struct waiting waiting = {
        writers, job, drives, mrmr_clock_monotonic() + writers->wait_most, PAUSE_NS, false};
    bool late;
    do { /* who waits for those that are late keeps no other thread from stopping for other drives */
        MRMR_TRY(late_wait(&waiting));
        MRMR_TRY(stop_try(&waiting, &late));
    } while (late);
    return MRMR_OK;
}

void pool_writers_go(struct pool_writers *writers)
{
    locks_give_back(writers);
    stopping_end(writers);
}

mrmr_err pool_writers_stop_after(struct pool_writers *writers, const struct pool_job *job,
    const struct pool_writers_of *drives, pool_writers_look look, void *arg)
{
    for (unsigned looks = 1;; looks++) {
        MRMR_TRY(look(arg));
        int64_t since = mrmr_clock_monotonic();
        MRMR_TRY(pool_writers_stop_of(writers, job, drives));
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

mrmr_err pool_writers_scan_begin(struct pool_writers *writers)
{
    MRMR_TRY(range_set(writers, range_scan, F_RDLCK));
    mrmr_err err = pool_writers_new_epoch(writers);
    if (err)
        pool_writers_scan_end(writers);
    return err;
}

void pool_writers_scan_end(struct pool_writers *writers)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (range_set(writers, range_scan, F_UNLCK))
        mrmr_log_story(MRMR_LOG_WARN, "the end of a scan");
    mrmr_story_restore(&story);
}

bool pool_writers_scanned(const struct pool_writers *writers)
{
    bool had;
    return range_is_had(writers->fd, range_scan, &had) || had;
}

mrmr_err pool_writers_turn(const struct pool_writers *writers, uint64_t *ret_turn)
{
    return number_get(writers, NUMBER_TURN, ret_turn);
}
