/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/drive/detached.h"
#include "pool/drive/drive.h"

#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY = 64, NAME = 64 };

static const char *key_of(const struct mrmr_uuid *drive, char key[KEY])
{
    char uuid[MRMR_UUID_TEXT];
    snprintf(key, KEY, "detached.%s", mrmr_uuid_print(drive, uuid));
    return key;
}

#define UNPLUGGED "unplugged"
#define PLUGGED "plugged"

static const char *name_of(const char *what, const struct mrmr_uuid *mark, char name[NAME])
{
    char uuid[MRMR_UUID_TEXT];
    snprintf(name, NAME, "%s-%s", what, mrmr_uuid_print(mark, uuid));
    return name;
}

static int64_t ns(const struct statx_timestamp *time)
{
    return time->tv_sec * MRMR_NS_PER_S + time->tv_nsec;
}

/* "mark", "mark time", or "mark time device inode birth". */
static bool mark_parse(
    char *text, struct mrmr_uuid *ret_mark, struct pool_detached_stamp *ret_stamp)
{
    struct pool_detached_stamp stamp = {.time = 0};
    char *rest = text, *mark = strsep(&rest, " "), *time = strsep(&rest, " ");
    char *dev = strsep(&rest, " "), *ino = strsep(&rest, " "), *born = strsep(&rest, " ");
    const bool all = dev && ino && born && !rest;
    if (!mrmr_uuid_parse(mark, ret_mark) || (time && !mrmr_text_i64(time, &stamp.time)) ||
        (dev && !(all && mrmr_text_u64(dev, &stamp.dev) && mrmr_text_u64(ino, &stamp.ino) &&
                    mrmr_text_i64(born, &stamp.born))))
        return false;
    *ret_stamp = stamp;
    return true;
}

static mrmr_err mark_get(struct pool *pool, const struct mrmr_uuid *drive, bool *ret_marked,
    struct mrmr_uuid *ret_mark, struct pool_detached_stamp *ret_stamp)
{
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    char key[KEY];
    mrmr_err err = meta_get(pool->meta, key_of(drive, key), &value);
    *ret_marked = !err;
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
    if (!mark_parse(value.data, ret_mark, ret_stamp))
        return mrmr_fail(MRMR_CORRUPT, "the catalog's setting '%s' is no mark", key);
    return MRMR_OK;
}

static bool is_noted(const struct pool *pool, const char *what, const struct mrmr_uuid *mark)
{
    char name[NAME];
    struct stat st;
    return fstatat(pool->dirfd, name_of(what, mark, name), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* In the order in which the file gets its names. */
static enum pool_detached state_of(const struct pool *pool, const struct mrmr_uuid *mark)
{
    return is_noted(pool, UNPLUGGED, mark) ? POOL_DETACHED_WENT
           : is_noted(pool, PLUGGED, mark) ? POOL_DETACHED_BACK
                                           : POOL_DETACHED_HERE;
}

/* A file that is not there may have been removed just now: then the mark is out of the catalog already. */
mrmr_err pool_detached_get(struct pool *pool, const struct mrmr_uuid *drive,
    enum pool_detached *ret_detached, struct mrmr_uuid *ret_mark)
{
    struct mrmr_uuid mark;
    struct pool_detached_stamp stamp;
    bool marked;
    MRMR_TRY(mark_get(pool, drive, &marked, &mark, &stamp));
    const enum pool_detached state = marked ? state_of(pool, &mark) : POOL_DETACHED_NOT;
    if (state == POOL_DETACHED_HERE)
        MRMR_TRY(mark_get(pool, drive, &marked, &mark, &stamp));
    *ret_detached = marked ? state : POOL_DETACHED_NOT;
    if (marked)
        *ret_mark = mark;
    return MRMR_OK;
}

/* The file's own device, which need not be the root's. */
static mrmr_err stamp_of(const char *root, struct pool_detached_stamp *ret_stamp)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct statx st;
    MRMR_TRY(mrmr_bytes_fmt(&path, "%s/%s", root, POOL_IDENTITY_PATH));
    if (statx(AT_FDCWD, path.data, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
        return mrmr_fail_errno(errno, "look for the drive", root);
    *ret_stamp = (struct pool_detached_stamp){.time = ns(&st.stx_mtime),
        .dev = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor,
        .ino = st.stx_ino,
        .born = st.stx_mask & STATX_BTIME ? ns(&st.stx_btime) : 0};
    return MRMR_OK;
}

struct pool_detached_stamp pool_detached_stamp(const struct pool_drive *drive)
{
    struct pool_detached_stamp stamp = {.time = 0};
    struct drv_stat stat;
    if (pool_place_is_local(drive->meta.uri)) {
        if (stamp_of(drive->meta.uri, &stamp))
            mrmr_log_story(MRMR_LOG_INFO, "as what a drive is detached");
    } else if (drive->drv && !drv_stat(drive->drv, POOL_IDENTITY_PATH, &stat)) {
        stamp.time = stat.mtime;
    }
    return stamp;
}

struct pool_detached_stamp pool_detached_stamp_then(
    struct pool *pool, const struct mrmr_uuid *drive)
{
    struct pool_detached_stamp stamp = {.time = 0};
    struct mrmr_uuid mark;
    bool marked;
    if (mark_get(pool, drive, &marked, &mark, &stamp))
        mrmr_log_story(MRMR_LOG_INFO, "as what a drive was detached");
    return stamp;
}

mrmr_err pool_detached_set(struct meta *meta, const struct mrmr_uuid *drive,
    const struct mrmr_uuid *mark, const struct pool_detached_stamp *stamp)
{
    char key[KEY], uuid[MRMR_UUID_TEXT], value[MRMR_UUID_TEXT + 4 * 24];
    if (mark && stamp)
        snprintf(value, sizeof value, "%s %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRId64,
            mrmr_uuid_print(mark, uuid), stamp->time, stamp->dev, stamp->ino, stamp->born);
    else if (mark)
        mrmr_uuid_print(mark, value);
    return meta_set(meta, key_of(drive, key), mark ? value : NULL);
}

void pool_detached_goes(const struct pool *pool, const struct mrmr_uuid *mark)
{
    char name[NAME];
    if (is_noted(pool, PLUGGED, mark))
        return; /* what goes now is none that is detached */
    mrmr_autoclose int fd = openat(pool->dirfd, name_of(UNPLUGGED, mark, name),
        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd >= 0)
        return;
    mrmr_fail_errno(errno, "note that a detached drive is gone", name);
    mrmr_log_story(MRMR_LOG_INFO, "it will not be used when it is there again");
}

mrmr_err pool_detached_back(const struct pool *pool, const struct mrmr_uuid *mark)
{
    char was[NAME], name[NAME];
    if (renameat(pool->dirfd, name_of(UNPLUGGED, mark, was), pool->dirfd,
            name_of(PLUGGED, mark, name)) < 0 &&
        !(errno == ENOENT && is_noted(pool, PLUGGED, mark)))
        return mrmr_fail_errno(errno, "note that a detached drive is back", was);
    if (fsync(pool->dirfd) < 0)
        return mrmr_fail_errno(errno, "sync", pool->dir);
    return MRMR_OK;
}

void pool_detached_over(const struct pool *pool, const struct mrmr_uuid *mark)
{
    static const char *const names[] = {UNPLUGGED, PLUGGED};
    char name[NAME];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (unlinkat(pool->dirfd, name_of(names[i], mark, name), 0) < 0 && errno != ENOENT)
            mrmr_log(MRMR_LOG_INFO, "%s is left in the pool's folder", name);
}

/* --- whether it is there --- */

/* Of one whose time alone is known that tells. */
static bool is_another(
    const struct pool_detached_stamp *then, const struct pool_detached_stamp *now)
{
    return then->time && then->time != now->time &&
           (!then->ino || then->dev != now->dev || then->ino != now->ino ||
               then->born != now->born);
}

/* The device is the root's own: a file may say another, as on an overlayfs. */
static mrmr_err look_local(
    const char *root, const struct pool_detached_stamp *stamp, bool *ret_gone, uint64_t *ret_dev)
{
    struct pool_detached_stamp now = {.time = 0};
    struct stat st;
    mrmr_err err = stamp_of(root, &now);
    const bool there = !err;
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR && err != MRMR_LOOP)
        return err;
    *ret_gone = !there || (stamp && is_another(stamp, &now));
    if (!*ret_gone && stat(root, &st) == 0)
        *ret_dev = st.st_dev;
    return MRMR_OK;
}

static mrmr_err look_elsewhere(const char *uri, bool *ret_gone)
{
    struct drv *drv = NULL;
    struct pool_identity found;
    mrmr_err err = drv_open(uri, &drv);
    if (!err)
        err = pool_identity_read(drv, &found);
    drv_close(drv);
    *ret_gone = mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_OFFLINE;
    return *ret_gone ? MRMR_OK : err;
}

mrmr_err pool_detached_look(
    const char *uri, const struct pool_detached_stamp *stamp, bool *ret_gone, uint64_t *ret_dev)
{
    *ret_dev = 0;
    return pool_place_is_local(uri) ? look_local(uri, stamp, ret_gone, ret_dev)
                                    : look_elsewhere(uri, ret_gone);
}
