/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that were asked for while a drive was away are given to its folders: never over anything, and
 * each recorded in `moved` before it is made, so that blocks are found by either path (later.h).
 */
#include "pool/return/later_apply.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool is_step(
    const struct pool_moved_step *step, const struct pool_later_rename *rename, uint64_t ino)
{
    return step->kind == POOL_MOVED_RENAME && step->inode[0] == ino &&
           strcmp(step->from, rename->from) == 0 && strcmp(step->to, rename->to) == 0;
}

/* Read anew only if there are others by now. */
static mrmr_err steps_read(struct pool_later *l)
{
    uint64_t stamp;
    bool any;
    MRMR_TRY(pool_moved_stamp(l->pool, l->drive->meta.id, &stamp, &any));
    if (l->steps.stamp == stamp && any)
        return MRMR_OK;
    pool_moved_steps_free(&l->steps);
    return pool_moved_steps(l->pool, l->drive->meta.id, &l->steps);
}

static mrmr_err moved_has(
    struct pool_later *l, const struct pool_later_rename *rename, uint64_t ino, bool *ret_has)
{
    *ret_has = false;
    MRMR_TRY(steps_read(l));
    for (size_t i = 0; !*ret_has && i < l->steps.n; i++)
        *ret_has = is_step(&l->steps.step[i], rename, ino);
    return MRMR_OK;
}

static mrmr_err moved_add(struct pool_later *l, const struct pool_later_rename *rename,
    uint64_t ino, enum pool_moved_kind kind)
{
    const uint64_t inodes[2] = {ino, 0};
    int fd;
    MRMR_TRY(pool_moved_open(l->pool->dirfd, &fd));
    mrmr_err err =
        pool_moved_add_inodes(fd, l->drive->meta.id, rename->from, rename->to, kind, inodes, true);
    close(fd);
    return err;
}

/* As on another drive that has it, else as the folder above it. */
static mrmr_err make_like(struct pool_later *l, const char *path, const char *above)
{
    struct drv *drv = l->drive->drv;
    struct drv_stat stat;
    for (size_t i = 0; i < l->pool->ndrives; i++) {
        struct pool_drive *other = l->pool->drives[i];
        if (other == l->drive || other->presence != POOL_PRESENT || !other->drv ||
            other->meta.state == META_DRIVE_RETIRED || drv_stat(other->drv, path, &stat) ||
            stat.type != DRV_DIR)
            continue;
        return pool_copy_attrs_of(other->drv, path, drv, path);
    }
    return pool_copy_attrs_of(drv, above, drv, path);
}

static mrmr_err make_folder(struct pool_later *l, const char *path, const char *above)
{
    struct drv_stat before;
    MRMR_TRY(drv_stat(l->drive->drv, above, &before));
    mrmr_err err = drv_mkdir(l->drive->drv, path, 0700);
    if (err == MRMR_EXISTS) /* a file has the name: the rename tells */
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(mrmr_bytes_add(&l->made, path, strlen(path) + 1));
    MRMR_TRY(make_like(l, path, above));
    return drv_set_attr(l->drive->drv, above, DRV_ATTR_MTIME, &before);
}

static mrmr_err make_above(struct pool_later *l, const char *to)
{
    mrmr_autofree char *path = strdup(to), *above = strdup(to);
    struct drv_stat stat;
    if (!path || !above)
        return mrmr_nomem();
    above[0] = '\0';
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mrmr_err err = drv_stat(l->drive->drv, path, &stat);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            err = make_folder(l, path, above);
        MRMR_TRY(err);
        strcpy(above, path);
        *slash = '/';
    }
    return MRMR_OK;
}

/* Where it is in the list of what was made; else the list's end. */
static size_t made_find(const struct pool_later *l, const char *path)
{
    size_t at = 0;
    while (at < l->made.size && strcmp(l->made.data + at, path) != 0)
        at += strlen(l->made.data + at) + 1;
    return at;
}

/* --- folders that were made for what went on from there --- */

/* It is none of the list any more. */
static void made_forget(struct pool_later *l, size_t at)
{
    const size_t size = strlen(l->made.data + at) + 1;
    memmove(l->made.data + at, l->made.data + at + size, l->made.size - at - size);
    l->made.size -= size;
}

/* False: something is in it. To the folder above it nothing has happened. */
static bool unmake(struct pool_later *l, size_t at)
{
    struct drv *drv = l->drive->drv;
    mrmr_autofree char *above = strdup(l->made.data + at);
    struct drv_stat before;
    if (!above)
        return false;
    char *slash = strrchr(above, '/');
    *(slash ? slash : above) = '\0';
    const bool known = !drv_stat(drv, above, &before);
    if (drv_rmdir(drv, l->made.data + at))
        return false;
    if (known && drv_set_attr(drv, above, DRV_ATTR_MTIME, &before))
        mrmr_log_story(MRMR_LOG_INFO, "a folder's time");
    made_forget(l, at);
    return true;
}

void later_unmake(struct pool_later *l)
{
    size_t end = l->made.size;
    while (end > 0) {
        size_t at = end - 1;
        while (at > 0 && l->made.data[at - 1])
            at--;
        unmake(l, at);
        end = at;
    }
}

/* Those above the path in which nothing is any more. At once: later it may be in the way, or have another name. */
static mrmr_err unmake_above(struct pool_later *l, const char *path)
{
    mrmr_autofree char *above = strdup(path);
    if (!above)
        return mrmr_nomem();
    for (char *slash; (slash = strrchr(above, '/')) != NULL;) {
        *slash = '\0';
        const size_t at = made_find(l, above);
        if (at == l->made.size || !unmake(l, at))
            break;
    }
    return MRMR_OK;
}

/* Those in a folder that has another name now lie in it still, and are found by that. */
static mrmr_err made_moved(struct pool_later *l, const struct pool_later_rename *rename)
{
    mrmr_autobytes struct mrmr_bytes made = MRMR_BYTES_INIT;
    const size_t size = strlen(rename->from);
    for (size_t at = 0; at < l->made.size; at += strlen(l->made.data + at) + 1) {
        const char *path = l->made.data + at;
        if (strncmp(path, rename->from, size) == 0 && path[size] == '/') {
            MRMR_TRY(mrmr_bytes_str(&made, rename->to));
            path += size;
        }
        MRMR_TRY(mrmr_bytes_add(&made, path, strlen(path) + 1));
    }
    mrmr_bytes_clear(&l->made);
    return mrmr_bytes_add(&l->made, made.data, made.size);
}

/* --- one name --- */

/* On a drive to which both names are one, or as far as it is known there. */
static bool is_other_case(const struct pool_later *l, const struct pool_later_rename *rename)
{
    return !(l->drive->info.caps & DRV_CAP_CASE_SENSITIVE) &&
           strcasecmp(rename->from, rename->to) == 0;
}

/* Never over anything but itself; a folder of our own making from just now, which is empty again, goes. */
static mrmr_err rename_free(
    struct pool_later *l, const struct pool_later_rename *rename, bool itself)
{
    struct drv *drv = l->drive->drv;
    struct drv_stat stat;
    if (itself)
        return drv_rename(drv, rename->from, rename->to, DRV_RENAME_REPLACE);
    const size_t made = made_find(l, rename->to);
    if (made < l->made.size)
        unmake(l, made);
    mrmr_err err = drv_rename(drv, rename->from, rename->to, DRV_RENAME_NOREPLACE);
    if (err != MRMR_UNSUPPORTED)
        return err;
    err = drv_stat(drv, rename->to, &stat);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err ? err : mrmr_fail(MRMR_EXISTS, NULL);
    return drv_rename(drv, rename->from, rename->to, DRV_RENAME_REPLACE);
}

static mrmr_err sync_above(struct pool_later *l, const char *path)
{
    mrmr_autofree char *folder = strdup(path);
    if (!folder)
        return mrmr_nomem();
    for (;;) {
        char *slash = strrchr(folder, '/');
        *(slash ? slash : folder) = '\0';
        mrmr_err err = later_sync_folder(l, folder);
        if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
            return err;
        if (!slash)
            return MRMR_OK;
    }
}

enum outcome { OUT_DONE, OUT_NOT_THERE, OUT_IN_THE_WAY };

static mrmr_err rename_among(struct pool_later *l, const struct pool_gone_record *record,
    const struct pool_later_rename *rename, enum outcome *ret_outcome)
{
    const bool known = l->drive->info.caps & DRV_CAP_STABLE_INO && record->ino;
    struct drv_stat stat;
    bool has, is, itself;
    *ret_outcome = OUT_DONE;
    MRMR_TRY(later_is_at(l, record, rename->to, &stat, &itself));
    MRMR_TRY(later_is_at(l, record, rename->from, &stat, &is));
    if (!is) { /* it was made before a cut, or by somebody else */
        *ret_outcome = itself ? OUT_DONE : OUT_NOT_THERE;
        return MRMR_OK;
    }
    itself = itself && (known || is_other_case(l, rename)); /* else it is some folder */
    MRMR_TRY(moved_has(l, rename, record->ino, &has));
    if (!has)
        MRMR_TRY(moved_add(l, rename, record->ino, POOL_MOVED_RENAME));
    mrmr_err err = make_above(l, rename->to);
    if (!err)
        err = rename_free(l, rename, itself);
    if (!err)
        err = made_moved(l, rename);
    if (!err || !later_is_final(err))
        return err;
    mrmr_log_story(MRMR_LOG_INFO, "a folder that was renamed while its drive was away");
    *ret_outcome = OUT_IN_THE_WAY;
    return MRMR_OK;
}

static mrmr_err over(struct pool_later *l, const struct pool_gone_record *record)
{
    uint64_t id = record->id;
    MRMR_TRY(pool_gone_settle(l->gone, &id, 1, false));
    l->done++;
    return MRMR_OK;
}

/* It has its old name, whoever asks. */
static mrmr_err take_back(struct pool_later *l, const struct pool_gone_record *record,
    const struct pool_later_rename *rename, enum outcome outcome)
{
    MRMR_TRY(moved_add(l, rename, record->ino, POOL_MOVED_UNDONE));
    if (!later_was_removed(l, record))
        later_tell(l, rename->from, rename->to,
            outcome == OUT_IN_THE_WAY
                ? "it cannot be given that name there, and keeps its own"
                : "it is not there, or is another folder by now: nothing was renamed");
    return MRMR_OK;
}

mrmr_err later_rename_one(struct pool_later *l, const struct pool_gone_record *record)
{
    struct pool_later_rename rename;
    enum outcome outcome = OUT_DONE;
    uint64_t epoch;
    if (!pool_later_rename(record, &rename))
        return over(l, record);
    MRMR_TRY(l->before(l->arg, rename.to));
    MRMR_TRY(pool_writers_begin(l->writers, &epoch));
    mrmr_err err = rename_among(l, record, &rename, &outcome);
    if (!err && outcome != OUT_DONE)
        err = take_back(l, record, &rename, outcome);
    if (!err)
        err = unmake_above(l, outcome == OUT_DONE ? rename.from : rename.to);
    pool_writers_end();
    MRMR_TRY(mrmr_err_path(err, rename.to));
    if (outcome == OUT_DONE) {
        MRMR_TRY(sync_above(l, rename.to));
        MRMR_TRY(sync_above(l, rename.from));
    }
    return over(l, record);
}
