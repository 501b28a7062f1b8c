/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool's life: create, open, close, and the lock that makes one process its owner.
 *
 * In the pool's folder: catalog.sqlite (with SQLite's -wal and -shm), lock, whose flock is the
 * ownership, and writers, touched, moved and noted (writers.h, touched.h, moved.h, noted.h). The text of lock ("pid who") is for people only. The kernel
 * gives the flock back when the process ends, however it ends.
 *
 * Crash argument of create. The catalog is made, then its uuid is set in one transaction. A catalog
 * without a uuid is an interrupted create: open refuses it, the next create finishes it.
 */
#include "pool/drive/drive.h"
#include "pool/engine.h"
#include "pool/events/noted.h"
#include "pool/events/told.h"
#include "pool/records/moved.h"
#include "pool/writers.h"

#include "base/durable.h"
#include "base/ours.h"
#include "base/text.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define CATALOG_NAME POOL_CATALOG_NAME
#define LOCK_NAME "lock"
#define UUID_KEY "pool.uuid"

enum { EVENTS_KEPT = 10000, WHO_MAX = 200 };

/* --- The lock --- */

mrmr_err pool_busy(const struct pool *pool)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    if (mrmr_durable_read(pool->dirfd, LOCK_NAME, WHO_MAX + 32, &text))
        mrmr_bytes_clear(&text);
    char pid[24] = "unknown", who[WHO_MAX + 1] = "unknown";
    if (text.size)
        sscanf(text.data, "%23[0-9] %200[^\n]", pid, who);
    mrmr_fail(MRMR_BUSY, "the pool %s is in use by '%s' (process %s)", pool->dir, who, pid);
    return mrmr_err_hint(MRMR_BUSY,
        "wait until it has ended, or end it; it can be interrupted and goes on "
        "where it was the next time");
}

static mrmr_err lock_take(struct pool *pool, const char *who)
{
    mrmr_autoclose int fd =
        openat(pool->dirfd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        mrmr_err err = mrmr_fail_errno(errno, "open lock of", pool->dir);
        return mrmr_err_hint(err, "the pool's folder must be writable for whoever works with it");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? pool_busy(pool) : mrmr_fail_errno(errno, "lock", pool->dir);
    char text[WHO_MAX + 32];
    int n = snprintf(text, sizeof text, "%ld %.*s\n", (long)getpid(), WHO_MAX, who);
    /* The text is a courtesy to whoever comes second: the lock holds without it. */
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        mrmr_log(MRMR_LOG_INFO, "the pool's lock could not be labelled");
    pool->lockfd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

/* --- The folder --- */

static void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pool_stripes_destroy(pool);
    pool_drives_unload(pool);
    pool_writers_close(pool->writers);
    pool_moved_destroy(pool);
    pool_noted_destroy(pool);
    pool_told_destroy(pool);
    meta_close(pool->meta);
    if (pool->lockfd >= 0)
        close(pool->lockfd);
    if (pool->mountfd >= 0)
        close(pool->mountfd);
    if (pool->dirfd >= 0)
        close(pool->dirfd);
    free(pool->dir);
    free(pool);
}

MRMR_DEFINE_AUTO(struct pool, pool_free);

static mrmr_err pool_start(const char *dir, enum pool_access access, struct pool **ret_pool)
{
    MRMR_AUTO(pool_free) struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return mrmr_nomem();
    pool->dirfd = pool->lockfd = pool->mountfd = -1;
    pool->access = access;
    /* Absolute, so that the folder is the same wherever the process goes. */
    pool->dir = realpath(dir, NULL);
    if (pool->dir)
        pool->dirfd = open(pool->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pool->dirfd < 0)
        return mrmr_err_hint(mrmr_fail_errno(errno, "open pool", dir),
            "name the pool's folder with --pool, and see that you may read and write it");
    MRMR_TRY(pool_moved_create(pool));
    MRMR_TRY(pool_noted_create(pool));
    MRMR_TRY(pool_told_create(pool));
    *ret_pool = mrmr_steal(pool);
    return MRMR_OK;
}

static mrmr_err pool_open_catalog(struct pool *pool, unsigned flags)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_fmt(&path, "%s/%s", pool->dir, CATALOG_NAME));
    return meta_open(path.data, flags, &pool->meta);
}

/* MRMR_ABSENT if create was interrupted. */
static mrmr_err pool_read_uuid(struct pool *pool)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(meta_get(pool->meta, UUID_KEY, &text));
    if (!mrmr_uuid_parse(text.data, &pool->uuid))
        return mrmr_fail(MRMR_CORRUPT, "the catalog's pool uuid is malformed");
    return MRMR_OK;
}

/* --- Create --- */

/* The folder and its missing parents. */
static mrmr_err create_folders(const char *dir)
{
    mrmr_autofree char *part = strdup(dir);
    if (!part)
        return mrmr_nomem();
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return mrmr_fail_errno(errno, "make folder", part);
        if (!slash)
            return MRMR_OK;
        *slash = '/';
    }
}

/* Before anything is made: the nearest folder that is there must not be on a drive. */
static mrmr_err create_check_place(const char *dir)
{
    mrmr_autofree char *part = strdup(dir);
    if (!part)
        return mrmr_nomem();
    for (char *slash; access(part, F_OK) < 0 && errno == ENOENT; *slash = '\0')
        if (!(slash = strrchr(part, '/')))
            return pool_place_check_home(".");
    return pool_place_check_home(part[0] ? part : "/");
}

static mrmr_err create_fill(struct meta *meta, void *arg)
{
    (void)meta;
    struct pool *pool = arg;
    char text[MRMR_UUID_TEXT];
    MRMR_TRY(mrmr_uuid_make(&pool->uuid));
    return meta_set(pool->meta, UUID_KEY, mrmr_uuid_print(&pool->uuid, text));
}

static mrmr_err create_in(struct pool *pool)
{
    MRMR_TRY(lock_take(pool, "init"));
    MRMR_TRY(pool_open_catalog(pool, META_CREATE));
    mrmr_err err = pool_read_uuid(pool);
    if (!err) {
        mrmr_fail(MRMR_EXISTS, "there is a pool in %s already", pool->dir);
        return mrmr_err_hint(MRMR_EXISTS, "use it as it is, or choose another folder with --pool");
    }
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    MRMR_TRY(meta_atomically(pool->meta, create_fill, pool));
    return fsync(pool->dirfd) < 0 ? mrmr_fail_errno(errno, "fsync", pool->dir) : MRMR_OK;
}

mrmr_err pool_create(const char *dir)
{
    if (!dir[0])
        return mrmr_fail(MRMR_INVALID, "the pool's folder has no name");
    MRMR_TRY(create_check_place(dir));
    MRMR_TRY(create_folders(dir));
    MRMR_AUTO(pool_free) struct pool *pool = NULL;
    MRMR_TRY(pool_start(dir, POOL_OWN, &pool));
    return create_in(pool);
}

/* --- Open and close --- */

static mrmr_err open_no_pool(const char *dir)
{
    mrmr_fail(MRMR_ABSENT, "there is no pool in %s", dir);
    return mrmr_err_hint(MRMR_ABSENT,
        "make one with `mrmr init`, or by adding its first drive with `mrmr add-drive`, or "
        "name the right folder with --pool");
}

static mrmr_err open_unfinished(struct pool *pool)
{
    mrmr_fail(MRMR_ABSENT, "the pool in %s was never finished", pool->dir);
    return mrmr_err_hint(MRMR_ABSENT, "finish it with `mrmr init`");
}

static mrmr_err open_catalog(struct pool *pool)
{
    mrmr_err err = pool_open_catalog(pool, pool->access == POOL_OWN ? 0 : META_READONLY);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return mrmr_err_hint(err, "look after %.200s", pool->dir);
    if (!err)
        err = pool_read_uuid(pool);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    return open_unfinished(pool);
}

/* A drive that hangs is given up by the mount after its deadline: a stop waits a little longer. */
static mrmr_err open_writers(struct pool *pool)
{
    enum { MARGIN_S = 5 };
    uint64_t timeout;
    MRMR_TRY(pool_setting_u64(pool, "drive-timeout", &timeout));
    MRMR_TRY(pool_writers_open(pool->dirfd, &pool->writers));
    pool_writers_wait_at_most(pool->writers, (int64_t)(timeout + MARGIN_S) * MRMR_NS_PER_S);
    return MRMR_OK;
}

static mrmr_err open_all(struct pool *pool, const char *who)
{
    struct stat st;
    if (fstatat(pool->dirfd, CATALOG_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return open_no_pool(pool->dir);
    if (pool->access == POOL_OWN)
        MRMR_TRY(lock_take(pool, who));
    MRMR_TRY(open_catalog(pool));
    if (pool->access == POOL_OWN) {
        MRMR_TRY(meta_journal_start(pool->meta));
        MRMR_TRY(open_writers(pool));
    }
    MRMR_TRY(pool_stripes_create(pool));
    if (pool->access == POOL_CATALOG)
        return MRMR_OK;
    MRMR_TRY(pool_drives_load(pool));
    if (pool->access != POOL_OWN)
        return MRMR_OK;
    MRMR_TRY(meta_events_trim(pool->meta, EVENTS_KEPT));
    MRMR_TRY(pool_intents_settle(pool));
    /* Copies of a rebuild that was cut short. */
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool_drive_writable(pool->drives[i]) && pool_work_clear(pool, pool->drives[i]))
            mrmr_log_story(MRMR_LOG_WARN, "clearing away an interrupted rebuild's copies");
    return pool_repairs_settle(pool);
}

mrmr_err pool_open(
    const char *dir, enum pool_access access, const char *who, struct pool **ret_pool)
{
    struct pool *pool = NULL;
    mrmr_err err = pool_start(dir, access, &pool);
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? open_no_pool(dir) : err;
    err = open_all(pool, who);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        pool_close(pool);
        return mrmr_story_restore(&story);
    }
    *ret_pool = pool;
    return MRMR_OK;
}

mrmr_err pool_is_ours(const char *dir)
{
    mrmr_autobytes struct mrmr_bytes catalog = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_ours_check(dir));
    MRMR_TRY(mrmr_bytes_fmt(&catalog, "%s/" POOL_CATALOG_NAME, dir));
    const mrmr_err err = mrmr_ours_check(catalog.data);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

const char *pool_home(const struct pool *pool)
{
    return pool->dir;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    if (pool->ndrives && pool_catalog_copy(pool, NULL, POOL_COPIES_ATTACHED, NULL))
        mrmr_log_story(MRMR_LOG_WARN, "copying the catalog");
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool_drive_detach(pool, pool->drives[i]))
            mrmr_log_story(MRMR_LOG_WARN, "detaching a drive");
    if (pool->lockfd >= 0 && ftruncate(pool->lockfd, 0) < 0)
        mrmr_log(MRMR_LOG_INFO, "the pool's lock could not be cleared");
    pool_free(pool);
}
