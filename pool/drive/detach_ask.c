/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/drive/detach_ask.h"
#include "pool/records/mounted.h"

#include "base/durable.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ASK_NAME "detach-ask"
#define ANSWER_NAME "detach-answer"
#define FREE "free"
#define BUSY "busy"
#define MAY "may\n"
#define NOW "now\n"
enum {
    UUIDS = 2 * MRMR_UUID_TEXT,
    WORD = sizeof NOW - 1,
    ASK_SIZE = UUIDS + WORD,
    ANSWER_MOST = 2000
};

static void nap(void)
{
    const struct timespec moment = {0, 20 * 1000000};
    nanosleep(&moment, NULL);
}

/* --- who asks --- */

/* In one write, of which whoever reads sees all or nothing. */
static mrmr_err ask_write(int fd, const struct pool_detach_question *question)
{
    char ask[MRMR_UUID_TEXT], drive[MRMR_UUID_TEXT];
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_fmt(&text, "%s %s %s", mrmr_uuid_print(&question->ask, ask),
        mrmr_uuid_print(&question->drive, drive), question->now ? NOW : MAY));
    if (pwrite(fd, text.data, text.size, 0) != (ssize_t)text.size)
        return mrmr_fail_errno(errno ? errno : ENOSPC, "write", ASK_NAME);
    return MRMR_OK;
}

/* Locked, and then written: what is there before the lock is nobody's question. */
static mrmr_err ask_open(int dirfd, int *ret_fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    mrmr_autoclose int fd =
        openat(dirfd, ASK_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", ASK_NAME);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        return mrmr_fail_errno(errno, "lock", ASK_NAME);
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

/* What it says, if it is an answer to this question; NULL: there is none yet. */
static const char *answer_read(
    int dirfd, const struct pool_detach_question *question, struct mrmr_bytes *text)
{
    struct mrmr_uuid ask;
    mrmr_bytes_clear(text);
    if (mrmr_durable_read(dirfd, ANSWER_NAME, ANSWER_MOST, text) || text->size < MRMR_UUID_TEXT)
        return NULL;
    text->data[MRMR_UUID_TEXT - 1] = '\0';
    return mrmr_uuid_parse(text->data, &ask) && mrmr_uuid_equal(&ask, &question->ask)
               ? text->data + MRMR_UUID_TEXT
               : NULL;
}

static mrmr_err ask_busy(const struct pool_drive *drive, const char *why)
{
    mrmr_err err = mrmr_fail(MRMR_BUSY, "it is in use through the pool's mount: %s", why);
    mrmr_err_drive(err, drive->meta.name);
    return mrmr_err_hint(err, "it stays in service; close that (fuser shows who has it open), "
                              "then run the command again");
}

static mrmr_err ask_wait(struct pool *pool, const struct pool_job *job,
    const struct pool_drive *drive, const struct pool_detach_question *question, int64_t until)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    for (bool mounted;; nap()) {
        const char *answer = answer_read(pool->dirfd, question, &text);
        if (answer && strcmp(answer, FREE) == 0)
            return MRMR_OK;
        if (answer)
            return ask_busy(
                drive, strncmp(answer, BUSY " ", 5) == 0 ? answer + 5 : "it does not say by what");
        MRMR_TRY(pool_mounted_is(pool->dirfd, &mounted));
        if (!mounted)
            return MRMR_OK;
        MRMR_TRY(pool_job_poll(job));
        if (mrmr_clock_monotonic() >= until)
            return ask_busy(drive, "its process has not let go of it in time");
    }
}

static mrmr_err ask(struct pool *pool, const struct pool_job *job, const struct pool_drive *drive,
    bool now, int64_t timeout, int fd)
{
    struct pool_detach_question question = {.drive = drive->meta.uuid, .now = now};
    MRMR_TRY(mrmr_uuid_make(&question.ask));
    MRMR_TRY(ask_write(fd, &question));
    return ask_wait(pool, job, drive, &question, mrmr_clock_monotonic() + timeout);
}

mrmr_err pool_detach_ask(struct pool *pool, const struct pool_job *job,
    const struct pool_drive *drive, int64_t timeout, int *ret_fd)
{
    mrmr_autoclose int fd = -1;
    MRMR_TRY(ask_open(pool->dirfd, &fd));
    MRMR_TRY(ask(pool, job, drive, false, timeout, fd));
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

mrmr_err pool_detach_ask_now(struct pool *pool, const struct pool_job *job,
    const struct pool_drive *drive, int64_t timeout, int fd)
{
    return ask(pool, job, drive, true, timeout, fd);
}

/* --- who is asked --- */

bool pool_detach_asked(int dirfd, struct pool_detach_question *ret_question)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[ASK_SIZE];
    mrmr_autoclose int fd = openat(dirfd, ASK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK ||
        pread(fd, text, sizeof text, 0) != (ssize_t)sizeof text)
        return false;
    text[MRMR_UUID_TEXT - 1] = text[UUIDS - 1] = '\0';
    ret_question->now = memcmp(text + UUIDS, NOW, WORD) == 0;
    return mrmr_uuid_parse(text, &ret_question->ask) &&
           mrmr_uuid_parse(text + MRMR_UUID_TEXT, &ret_question->drive);
}

mrmr_err pool_detach_answer(
    int dirfd, const struct pool_detach_question *question, const char *busy)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    char ask[MRMR_UUID_TEXT];
    MRMR_TRY(mrmr_bytes_fmt(&text, "%s %s%s%.1500s", mrmr_uuid_print(&question->ask, ask),
        busy ? BUSY : FREE, busy ? " " : "", busy ? busy : ""));
    return mrmr_durable_replace(dirfd, ANSWER_NAME, text.data, text.size, 0600);
}
