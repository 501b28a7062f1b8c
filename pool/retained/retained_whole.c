/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is kept as a file with symlinks into it (retained.h has the crash arguments): whole files that go, and leaves that
 * follow each other.
 */
#include "pool/retained/retained_parts.h"

#include "base/uuid.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- whole files --- */

/* It is kept already: by itself, or, where the file in which it is kept may be any, so that it can be read. What cannot be read
 * now may be a leaf that has no other place: the file that goes has other bytes there since. Where that is the medium's doing it may
 * never be again, and the file goes all the same: pointers lead into it, too (keep). */
static mrmr_err point_is_there(struct drv *drv, const char *path,
    const struct pool_retained_leaf *leaf, bool by_itself, bool *ret_there)
{
    if (by_itself) { /* else what it is led to has its bytes */
        *ret_there = retained_is_by_itself(drv, path, &leaf->digest, leaf->size);
        return MRMR_OK;
    }
    mrmr_autofree void *buf = malloc(META_LEAF);
    if (!buf)
        return mrmr_nomem();
    mrmr_err err = retained_read_named(drv, &leaf->digest, buf, leaf->size);
    *ret_there = !err;
    return mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE || mrmr_ran_short(err) ? err : MRMR_OK;
}

static mrmr_err point_at(
    struct drv *drv, const char *file, const struct pool_retained_leaf *leaf, bool by_itself)
{
    char path[POOL_RETAINED_PATH], target[POOL_RETAINED_PATH];
    char temp[POOL_RETAINED_PATH + RETAINED_NAME_HEX + 1];
    retained_leaf_path(&leaf->digest, path);
    snprintf(target, sizeof target, "../files/%s#%" PRIu64, strrchr(file, '/') + 1, leaf->leaf);
    mrmr_err err = drv_symlink(drv, target, path);
    if (err == MRMR_ABSENT) {
        MRMR_TRY(retained_folder_make(drv, path));
        err = drv_symlink(drv, target, path);
    }
    bool there;
    if (err != MRMR_EXISTS)
        return err;
    MRMR_TRY(point_is_there(drv, path, leaf, by_itself, &there));
    if (there)
        return retained_renew(drv, path);
    /* It leads to a file that never came, or to other bytes. What a pointer leads to is no answer: that
     * may be let go of by itself. */
    snprintf(temp, sizeof temp, "%s~%s", path, strrchr(file, '/') + 1);
    MRMR_TRY(drv_symlink(drv, target, temp));
    return drv_rename(drv, temp, path, DRV_RENAME_REPLACE);
}

/* Their folders are synced once each: 256 at most. */
static mrmr_err point_sync(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n)
{
    bool synced[256] = {false};
    for (size_t i = 0; i < n; i++) {
        char path[POOL_RETAINED_PATH];
        if (synced[leaves[i].digest.bytes[0]])
            continue;
        synced[leaves[i].digest.bytes[0]] = true;
        retained_leaf_path(&leaves[i].digest, path);
        MRMR_TRY(retained_folder_sync(drv, path));
    }
    return MRMR_OK;
}

static mrmr_err files_folder(struct drv *drv, const char path[POOL_RETAINED_PATH])
{
    struct drv_stat stat;
    return drv_stat(drv, POOL_RETAINED_FILES, &stat) ? retained_folder_make(drv, path)
                                                     : retained_folder_durable(drv, path);
}

static mrmr_err point_all(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    const char path[POOL_RETAINED_PATH])
{
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(point_at(drv, path, &leaves[i], false));
    return point_sync(drv, leaves, n);
}

/* A name for a retained file. */
static mrmr_err file_name(uint8_t file[POOL_POINTERS_FILE], char ret_path[POOL_RETAINED_PATH])
{
    MRMR_TRY(mrmr_random(file, POOL_POINTERS_FILE));
    retained_file_path(file, ret_path);
    return MRMR_OK;
}

mrmr_err pool_retained_point(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    char ret_path[POOL_RETAINED_PATH])
{
    uint8_t file[POOL_POINTERS_FILE];
    MRMR_TRY(file_name(file, ret_path));
    MRMR_TRY(files_folder(drv, ret_path));
    return point_all(drv, leaves, n, ret_path);
}

/* --- saving several --- */

/* Leaves of a file that follow each other: the one at i is at i * META_LEAF of the file that is made. */
struct run {
    struct drv_file *from, *to;
    bool cloned;
    const struct pool_retained_leaf *leaf;
    size_t n;
    struct pool_retained_leaf kept[POOL_RETAINED_RUN];
    size_t nkept;
};

enum { RUN_PART = 4 }; /* as many digests as are computed side by side; and it stays in the cache */

/* What is cloned is read where it was cloned to. */
static mrmr_err run_read_leaf(const struct run *run, size_t i, uint8_t *buf)
{
    return run->cloned ? drv_file_read_exact(run->to, i * META_LEAF, buf, run->leaf[i].size)
                       : drv_file_read_exact(
                             run->from, run->leaf[i].leaf * META_LEAF, buf, run->leaf[i].size);
}

/* What is not there any more has no size. */
static mrmr_err run_read(const struct run *run, size_t first, size_t n, uint8_t *buf,
    struct mrmr_span ret_span[RUN_PART])
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *at = buf + i * META_LEAF;
        mrmr_err err = run_read_leaf(run, first + i, at);
        if (err && err != MRMR_TRUNCATED)
            return err;
        ret_span[i] = (struct mrmr_span){at, err ? 0 : run->leaf[first + i].size};
    }
    return MRMR_OK;
}

/* Nothing leads to what is not, any more, what was coded. */
static mrmr_err run_fill_part(struct run *run, size_t first, size_t n, uint8_t *buf)
{
    struct mrmr_span span[RUN_PART];
    struct mrmr_digest digest[RUN_PART];
    MRMR_TRY(run_read(run, first, n, buf, span));
    mrmr_digest_batch(n, span, digest);
    for (size_t i = 0; i < n; i++) {
        const struct pool_retained_leaf *leaf = &run->leaf[first + i];
        const uint64_t at = (first + i) * META_LEAF;
        if (!span[i].size || !mrmr_digest_equal(&digest[i], &leaf->digest))
            continue;
        if (!run->cloned)
            MRMR_TRY(drv_file_write(run->to, at, span[i].data, span[i].size));
        run->kept[run->nkept] = *leaf;
        run->kept[run->nkept++].leaf = first + i;
    }
    return MRMR_OK;
}

/* Where the file system cannot clone, or not just this, as with more behind a short leaf, it is copied. */
static mrmr_err run_fill(struct run *run)
{
    const uint64_t size = (run->n - 1) * META_LEAF + run->leaf[run->n - 1].size;
    mrmr_autofree uint8_t *buf = malloc(RUN_PART * META_LEAF);
    if (!buf)
        return mrmr_nomem();
    run->cloned = !drv_file_clone_range(run->from, run->leaf->leaf * META_LEAF, run->to, 0, size);
    for (size_t i = 0; i < run->n; i += RUN_PART)
        MRMR_TRY(run_fill_part(run, i, run->n - i < RUN_PART ? run->n - i : RUN_PART, buf));
    return drv_file_sync(run->to);
}

static mrmr_err run_temp(struct drv *drv, pthread_mutex_t *names, struct run *run, const char *temp)
{
    const unsigned flags = DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE;
    mrmr_err err = drv_file_open(drv, temp, flags, RETAINED_LEAF_MODE, &run->to);
    if (err == MRMR_ABSENT) {
        MRMR_TRY(retained_folder_make_named(drv, names, temp));
        err = drv_file_open(drv, temp, flags, RETAINED_LEAF_MODE, &run->to);
    }
    return err ? err : run_fill(run);
}

/* A name that nobody else has. */
static mrmr_err run_name(
    struct drv *drv, pthread_mutex_t *names, const char *temp, char ret_path[POOL_RETAINED_PATH])
{
    uint8_t file[POOL_POINTERS_FILE];
    mrmr_locked(names);
    MRMR_TRY(file_name(file, ret_path));
    MRMR_TRY(files_folder(drv, ret_path));
    return drv_rename(drv, temp, ret_path, DRV_RENAME_REPLACE);
}

/* Other files in which they lie may be just those that change. */
static mrmr_err run_point(
    struct drv *drv, pthread_mutex_t *names, const struct run *run, const char *path)
{
    mrmr_locked(names);
    for (size_t i = 0; i < run->nkept; i++)
        MRMR_TRY(point_at(drv, path, &run->kept[i], true));
    return MRMR_OK;
}

/* Its name first: what leads elsewhere until now is led to bytes that are there. */
static mrmr_err run_keep(
    struct drv *drv, pthread_mutex_t *names, const struct run *run, const char *temp)
{
    char path[POOL_RETAINED_PATH];
    if (!run->nkept)
        return drv_unlink(drv, temp);
    MRMR_TRY(run_name(drv, names, temp, path));
    MRMR_TRY(drv_dir_sync(drv, POOL_RETAINED_FILES));
    MRMR_TRY(run_point(drv, names, run, path));
    return point_sync(drv, run->kept, run->nkept);
}

mrmr_err pool_retained_save_run(struct drv *drv, pthread_mutex_t *names, struct drv_file *file,
    const struct pool_retained_leaf leaves[], size_t n)
{
    char path[POOL_RETAINED_PATH], temp[POOL_RETAINED_PATH + RETAINED_NAME_HEX + 2];
    struct run run = {.from = file, .leaf = leaves, .n = n};
    uint64_t random;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    retained_leaf_path(&leaves->digest, path);
    snprintf(temp, sizeof temp, "%s~%016" PRIx64, path, random);
    mrmr_err err = run_temp(drv, names, &run, temp);
    if (!err)
        err = run_keep(drv, names, &run, temp);
    drv_file_close(run.to);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, temp);
        return mrmr_story_restore(&story);
    }
    return MRMR_OK;
}

/* What it fails with when nothing is left to give. */
static mrmr_err keep_failed(const struct mrmr_story *story)
{
    return mrmr_err_hint(mrmr_story_restore(story),
        "its old bytes must be kept until no parity counts on them, and its drive has no room to "
        "note where; make a little room on the drive, or run: mrmr sync");
}

static mrmr_err keep_named(
    struct drv *drv, const char *path, enum pool_retained_how how, const char *kept)
{
    for (;;) {
        struct mrmr_story story;
        bool gave = false;
        mrmr_err err = how == POOL_RETAINED_LINK ? drv_link(drv, path, kept)
                                                 : drv_rename(drv, path, kept, DRV_RENAME_REPLACE);
        if (err != MRMR_SPACE)
            return err;
        mrmr_story_save(&story);
        if (pool_pointers_give(drv, &gave) || !gave)
            return keep_failed(&story);
    }
}

/* With less than this free, symlinks and their folders would take what is given back for names. */
static bool keep_is_tight(struct drv *drv, size_t n)
{
    static const uint64_t folders = 2 << 20, symlink = 1 << 10;
    struct drv_space space;
    return n && !drv_space(drv, &space) && space.avail < folders + n * symlink;
}

mrmr_err pool_retained_keep(struct drv *drv, const char *path,
    const struct pool_retained_leaf leaves[], size_t n, enum pool_retained_how how,
    char ret_kept[POOL_RETAINED_PATH])
{
    uint8_t file[POOL_POINTERS_FILE];
    struct mrmr_story story;
    MRMR_TRY(file_name(file, ret_kept));
    MRMR_TRY(files_folder(drv, ret_kept));
    bool tight = keep_is_tight(drv, n);
    mrmr_err err =
        tight ? pool_pointers_add(drv, leaves, n, file) : point_all(drv, leaves, n, ret_kept);
    if (err == MRMR_SPACE || (!tight && mrmr_of_one_thing(err)))
        err = tight ? point_all(drv, leaves, n, ret_kept) : pool_pointers_add(drv, leaves, n, file);
    mrmr_story_save(&story);
    if (err)
        return err == MRMR_SPACE ? keep_failed(&story) : err;
    if (how == POOL_RETAINED_TAKE) {
        char saved[POOL_RETAINED_PATH];
        retained_saved_path(ret_kept, saved);
        memcpy(ret_kept, saved, sizeof saved);
    }
    return keep_named(drv, path, how, ret_kept);
}

/* A name below the folder without what stands before it beside. */
static const char *bare_name(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    const size_t prefix = strlen(POOL_RETAINED_SAVED);
    return strncmp(name, POOL_RETAINED_SAVED, prefix) ? name : name + prefix;
}

mrmr_err pool_retained_taken(struct drv *drv, const char *taken, const char *path)
{
    char kept[POOL_RETAINED_PATH];
    struct mrmr_story story;
    snprintf(kept, sizeof kept, POOL_RETAINED_FILES "/%.40s", bare_name(taken));
    mrmr_err err = keep_named(drv, taken, POOL_RETAINED_TAKE, kept);
    if (!err)
        return MRMR_OK;
    mrmr_story_save(&story);
    pool_retained_put_back(drv, taken, path);
    return mrmr_story_restore(&story);
}

static mrmr_err to_quarantine(
    struct drv *drv, const char *kept, const char *name, char ret_to[POOL_RETAINED_PATH])
{
    snprintf(ret_to, POOL_RETAINED_PATH, POOL_QUARANTINE "/" POOL_RETAINED_SAVED "%.40s", name);
    MRMR_TRY(drv_mkdirs(drv, POOL_QUARANTINE, RETAINED_FOLDER_MODE));
    return drv_rename(drv, kept, ret_to, DRV_RENAME_REPLACE);
}

mrmr_err pool_retained_put_back(struct drv *drv, const char *kept, const char *path)
{
    char to[POOL_RETAINED_PATH];
    const char *name = bare_name(kept);
    if (!drv_rename(drv, kept, path, DRV_RENAME_NOREPLACE))
        return MRMR_OK;
    mrmr_err err = to_quarantine(drv, kept, name, to);
    if (err) { /* where it lies, under a name that nothing is let go of by */
        snprintf(to, sizeof to, POOL_RETAINED_FILES "/" POOL_RETAINED_SAVED "%.40s", name);
        err = strcmp(kept, to) != 0 ? drv_rename(drv, kept, to, DRV_RENAME_REPLACE) : MRMR_OK;
    }
    if (!err)
        mrmr_log(MRMR_LOG_WARN, "what somebody saved as '%s' is now %s", path, to);
    return err;
}

mrmr_err pool_retained_settle_saved(
    struct pool *pool, const struct pool_job *job, struct pool_drive *drive, const char *name)
{
    char kept[POOL_RETAINED_PATH], to[POOL_RETAINED_PATH];
    const size_t prefix = strlen(POOL_RETAINED_SAVED);
    if (strncmp(name, POOL_RETAINED_SAVED, prefix) != 0 ||
        snprintf(kept, sizeof kept, POOL_RETAINED_FILES "/%s", name) >= (int)sizeof kept)
        return MRMR_OK;
    mrmr_err err = to_quarantine(drive->drv, kept, name + prefix, to);
    if (err == MRMR_ABSENT) /* it was judged since */
        return MRMR_OK;
    MRMR_TRY(err);
    pool_tell(pool, job, true, "saved-aside", drive,
        "a file on drive %s that was being removed may be one that somebody saved just then, and "
        "was "
        "not put back in its place: it is %s there",
        drive->meta.name, to);
    return MRMR_OK;
}
