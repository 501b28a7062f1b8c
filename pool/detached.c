/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/detached.h"
#include "pool/drive.h"

#include <errno.h>
#include <fcntl.h>
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

static const char *name_of(const struct mrmr_uuid *mark, char name[NAME])
{
    char uuid[MRMR_UUID_TEXT];
    snprintf(name, NAME, "unplugged-%s", mrmr_uuid_print(mark, uuid));
    return name;
}

static mrmr_err mark_get(
    struct pool *pool, const struct mrmr_uuid *drive, bool *ret_marked, struct mrmr_uuid *ret_mark)
{
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    char key[KEY];
    mrmr_err err = meta_get(pool->meta, key_of(drive, key), &value);
    *ret_marked = !err;
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
    if (!mrmr_uuid_parse(value.data, ret_mark))
        return mrmr_fail(MRMR_CORRUPT, "the catalog's setting '%s' is no uuid", key);
    return MRMR_OK;
}

static bool went(const struct pool *pool, const struct mrmr_uuid *mark)
{
    char name[NAME];
    struct stat st;
    return fstatat(pool->dirfd, name_of(mark, name), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A file that is not there may have been removed just now: then the mark is out of the catalog already. */
mrmr_err pool_detached_get(struct pool *pool, const struct mrmr_uuid *drive,
    enum pool_detached *ret_detached, struct mrmr_uuid *ret_mark)
{
    struct mrmr_uuid mark;
    bool marked;
    MRMR_TRY(mark_get(pool, drive, &marked, &mark));
    const bool is_back = marked && went(pool, &mark);
    if (marked && !is_back)
        MRMR_TRY(mark_get(pool, drive, &marked, &mark));
    *ret_detached = !marked ? POOL_DETACHED_NOT : is_back ? POOL_DETACHED_WENT : POOL_DETACHED_HERE;
    if (marked)
        *ret_mark = mark;
    return MRMR_OK;
}

mrmr_err pool_detached_set(
    struct meta *meta, const struct mrmr_uuid *drive, const struct mrmr_uuid *mark)
{
    char key[KEY], value[MRMR_UUID_TEXT];
    return meta_set(meta, key_of(drive, key), mark ? mrmr_uuid_print(mark, value) : NULL);
}

void pool_detached_goes(const struct pool *pool, const struct mrmr_uuid *mark)
{
    char name[NAME];
    mrmr_autoclose int fd = openat(pool->dirfd, name_of(mark, name),
        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd >= 0)
        return;
    mrmr_fail_errno(errno, "note that a detached drive is gone", name);
    mrmr_log_story(MRMR_LOG_INFO, "it will not be used when it is there again");
}

void pool_detached_over(const struct pool *pool, const struct mrmr_uuid *mark)
{
    char name[NAME];
    if (unlinkat(pool->dirfd, name_of(mark, name), 0) < 0 && errno != ENOENT)
        mrmr_log(MRMR_LOG_INFO, "%s is left in the pool's folder", name);
}

/* --- whether it is there --- */

/* The device is the root's own: a file may say another, as on an overlayfs. */
static mrmr_err look_local(const char *root, bool *ret_gone, uint64_t *ret_dev)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct stat st;
    MRMR_TRY(mrmr_bytes_fmt(&path, "%s/%s", root, POOL_IDENTITY_PATH));
    const bool there = lstat(path.data, &st) == 0;
    if (!there && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
        return mrmr_fail_errno(errno, "look for the drive", root);
    *ret_gone = !there;
    if (there && stat(root, &st) == 0)
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

mrmr_err pool_detached_look(const char *uri, bool *ret_gone, uint64_t *ret_dev)
{
    *ret_dev = 0;
    return pool_place_is_local(uri) ? look_local(uri, ret_gone, ret_dev)
                                    : look_elsewhere(uri, ret_gone);
}
