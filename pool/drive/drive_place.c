/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a drive may be: roots lie side by side, never one inside another, and never inside or
 * around the pool's own folder. Compared are canonical paths, component by component; places that
 * are not folders of this computer are only compared as a whole.
 */
#include "pool/drive/drive.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool pool_place_is_local(const char *uri)
{
    return uri[0] == '/';
}

mrmr_err pool_place_resolve(const char *uri, char **ret_uri)
{
    if (strncmp(uri, "local://", 8) == 0)
        uri += 8;
    if (strchr(uri, '\n') || strlen(uri) > 1000)
        return mrmr_fail(
            MRMR_INVALID, "the place of a drive is at most 1,000 bytes, without line ends");
    char *got = pool_place_is_local(uri) ? realpath(uri, NULL) : strdup(uri);
    if (!got) {
        int saved = errno;
        mrmr_err err = mrmr_fail_errno(saved, "open drive", uri);
        if (err == MRMR_ABSENT) {
            mrmr_fail(MRMR_NO_DRIVE, "there is no folder %s", uri);
            return mrmr_err_hint(MRMR_NO_DRIVE, "make it, or mount the drive there first");
        }
        return mrmr_err_hint(err, "check that it is a folder that you may read and write");
    }
    *ret_uri = got;
    return MRMR_OK;
}

/* Both canonical: whether `inner` is `outer` or lies below it. */
static bool place_within(const char *inner, const char *outer)
{
    size_t n = strlen(outer);
    if (n == 1)
        return true;
    return strncmp(inner, outer, n) == 0 && (inner[n] == '/' || inner[n] == '\0');
}

static mrmr_err place_bad(const char *uri, const char *how, const char *what, const char *other)
{
    mrmr_fail(MRMR_INVALID, "%s lies %s %s (%s)", uri, how, what, other);
    return mrmr_err_hint(
        MRMR_INVALID, "drives and the pool's folder lie side by side: choose another folder");
}

static mrmr_err place_check_one(const char *uri, const char *other, const char *what)
{
    if (place_within(uri, other))
        return place_bad(uri, "inside", what, other);
    if (place_within(other, uri))
        return place_bad(uri, "around", what, other);
    return MRMR_OK;
}

/* A folder above that is a drive, of whatever pool. */
static mrmr_err place_check_above(const char *uri)
{
    mrmr_autofree char *above = strdup(uri);
    mrmr_autobytes struct mrmr_bytes mark = MRMR_BYTES_INIT;
    if (!above)
        return mrmr_nomem();
    for (char *slash; (slash = strrchr(above, '/')) != NULL;) {
        *slash = '\0';
        struct stat st;
        mrmr_bytes_clear(&mark);
        MRMR_TRY(mrmr_bytes_fmt(&mark, "%s/%s", above, POOL_IDENTITY_PATH));
        if (lstat(mark.data, &st) == 0)
            return place_bad(uri, "inside", "a drive of a pool", slash == above ? "/" : above);
    }
    return MRMR_OK;
}

mrmr_err pool_place_check(struct pool *pool, const char *uri, const struct pool_drive *self)
{
    if (!pool_place_is_local(uri))
        return MRMR_OK;
    mrmr_autofree char *home = realpath(pool->dir, NULL);
    if (home)
        MRMR_TRY(place_check_one(uri, home, "the pool's own folder"));
    for (size_t i = 0; i < pool->ndrives; i++) {
        const struct meta_drive *meta = &pool->drives[i]->meta;
        /* The same place is looked at by whoever reads the identity there. */
        if (pool->drives[i] == self || meta->state == META_DRIVE_RETIRED ||
            !pool_place_is_local(meta->uri) || strcmp(meta->uri, uri) == 0)
            continue;
        char what[96];
        snprintf(what, sizeof what, "the drive '%s'", meta->name);
        MRMR_TRY(place_check_one(uri, meta->uri, what));
    }
    return place_check_above(uri);
}

mrmr_err pool_place_check_home(const char *dir)
{
    mrmr_autofree char *home = realpath(dir, NULL);
    struct stat st;
    mrmr_autobytes struct mrmr_bytes mark = MRMR_BYTES_INIT;
    if (!home)
        return MRMR_OK;
    MRMR_TRY(mrmr_bytes_fmt(&mark, "%s/%s", home, POOL_IDENTITY_PATH));
    if (lstat(mark.data, &st) == 0)
        return place_bad(home, "on", "a drive of a pool", home);
    return place_check_above(home);
}
