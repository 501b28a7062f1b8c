/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was asked of folders while their drive was away is done on it (later.h): names first, in order,
 * each durable and over before the next one, then attributes.
 */
#include "pool/later.h"
#include "pool/moved.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct seen { /* a folder before anything was done: for who judges what others changed */
    bool is;
    struct drv_stat stat;
};

struct pool_later {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_gone *gone;
    struct pool_drive *drive;
    struct pool_writers *writers;
    const struct pool_gone_list *list;
    struct seen *seen;             /* of each record of the list */
    struct mrmr_bytes made;        /* folders that were made above new names, each with its NUL */
    struct mrmr_bytes ids;         /* of attributes that are durable */
    size_t done;                   /* records that are over */
    struct pool_moved_steps steps; /* of the drive, as they were read last */
    pool_later_fn before;
    void *arg;
};

/* --- telling --- */

static void tell(struct pool_later *l, const char *path, const char *other, const char *what)
{
    mrmr_autobytes struct mrmr_bytes shown = MRMR_BYTES_INIT, more = MRMR_BYTES_INIT;
    const char *name = l->drive->meta.name;
    if (mrmr_text_print(&shown, *path ? path : "/", *path ? strlen(path) : 1) ||
        (other && (mrmr_bytes_str(&more, " to '") || mrmr_text_print(&more, other, strlen(other)) ||
                      mrmr_bytes_str(&more, "'"))))
        return;
    const char *to = other ? more.data : "";
    pool_tell(l->pool, l->job, true, "conflict", l->drive,
        "on drive %s, '%.600s' was changed%.600s while the drive was away: %s", name, shown.data,
        to, what);
    if (l->pool->access != POOL_OWN)
        mrmr_log(MRMR_LOG_WARN, "drive %s: '%.600s' was changed%.600s while the drive was away: %s",
            name, shown.data, to, what);
}

/* --- where a folder is --- */

/* Not to know whether it is there is not to know that it is gone. */
static mrmr_err is_at(struct pool_later *l, const struct pool_gone_record *record, const char *path,
    struct drv_stat *ret_stat, bool *ret_is)
{
    mrmr_err err = drv_stat(l->drive->drv, path, ret_stat);
    *ret_is = !err && pool_gone_is(record, &l->drive->info, ret_stat);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR || err == MRMR_LOOP
               ? MRMR_OK
               : err;
}

static mrmr_err find_in(struct pool_later *l, const struct pool_gone_record *record,
    const struct pool_moved_paths *moved, const char **ret_path, struct drv_stat *ret_stat)
{
    bool is;
    MRMR_TRY(is_at(l, record, record->path, ret_stat, &is));
    *ret_path = is ? record->path : NULL;
    for (size_t i = 0; !is && i < moved->n; i++) {
        MRMR_TRY(is_at(l, record, moved->path[i], ret_stat, &is));
        *ret_path = is ? moved->path[i] : NULL;
    }
    return MRMR_OK;
}

/* Where a scan has found it since, by its inode. */
static mrmr_err find_by_inode(struct pool_later *l, const struct pool_gone_record *record,
    char **ret_path, struct drv_stat *ret_stat)
{
    mrmr_autofree char *path = NULL;
    bool is = false;
    if (l->drive->info.caps & DRV_CAP_STABLE_INO)
        MRMR_TRY(pool_gone_by_inode(l->pool, record, &path));
    if (path)
        MRMR_TRY(is_at(l, record, path, ret_stat, &is));
    *ret_path = is ? mrmr_steal(path) : NULL;
    return MRMR_OK;
}

/* At the catalog's path, or where records of renames lead, or where it was found since. *ret_path NULL: it is
 * not there. */
static mrmr_err find(struct pool_later *l, const struct pool_gone_record *record, char **ret_path,
    struct drv_stat *ret_stat)
{
    struct pool_moved_paths moved = {.n = 0};
    const char *found;
    if (*record->path && pool_moved_any(l->pool))
        MRMR_TRY(pool_moved_paths(l->pool, record->drive, record->path, &moved));
    mrmr_err err = find_in(l, record, &moved, &found, ret_stat);
    *ret_path = !err && found ? strdup(found) : NULL;
    if (!err && found && !*ret_path)
        err = mrmr_nomem();
    pool_moved_paths_free(&moved);
    return err || found ? err : find_by_inode(l, record, ret_path, ret_stat);
}

/* --- names --- */

/* Who asks again gets the same answer, until somebody changes what lies there. Anything else may pass:
 * a drive that is full, busy, read-only, or not this user's. */
static bool is_final(mrmr_err err)
{
    switch (err) {
    case MRMR_EXISTS:
    case MRMR_NOT_EMPTY:
    case MRMR_NOT_DIR:
    case MRMR_IS_DIR:
    case MRMR_LOOP:
    case MRMR_NAME_TOO_LONG:
    case MRMR_INVALID:
        return true;
    default:
        return mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED;
    }
}

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

static bool was_made(const struct pool_later *l, const char *path)
{
    for (size_t at = 0; at < l->made.size; at += strlen(l->made.data + at) + 1)
        if (strcmp(l->made.data + at, path) == 0)
            return true;
    return false;
}

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
    if (was_made(l, rename->to))
        drv_rmdir(drv, rename->to);
    mrmr_err err = drv_rename(drv, rename->from, rename->to, DRV_RENAME_NOREPLACE);
    if (err != MRMR_UNSUPPORTED)
        return err;
    err = drv_stat(drv, rename->to, &stat);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err ? err : mrmr_fail(MRMR_EXISTS, NULL);
    return drv_rename(drv, rename->from, rename->to, DRV_RENAME_REPLACE);
}

/* Who may not read a folder cannot sync it alone. */
static mrmr_err sync_folder(struct pool_later *l, const char *folder)
{
    mrmr_err err = drv_dir_sync(l->drive->drv, folder);
    if (err == MRMR_DENIED)
        err = drv_sync_all(l->drive->drv);
    return mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED ? MRMR_OK : err;
}

static mrmr_err sync_above(struct pool_later *l, const char *path)
{
    mrmr_autofree char *folder = strdup(path);
    if (!folder)
        return mrmr_nomem();
    for (;;) {
        char *slash = strrchr(folder, '/');
        *(slash ? slash : folder) = '\0';
        mrmr_err err = sync_folder(l, folder);
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
    MRMR_TRY(is_at(l, record, rename->to, &stat, &itself));
    MRMR_TRY(is_at(l, record, rename->from, &stat, &is));
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
    if (!err || !is_final(err))
        return err;
    mrmr_log_story(MRMR_LOG_INFO, "a folder that was renamed while its drive was away");
    *ret_outcome = OUT_IN_THE_WAY;
    return MRMR_OK;
}

struct removal {
    bool is;
};

static mrmr_err note_removal(const struct pool_gone_record *record, void *arg)
{
    (void)record;
    ((struct removal *)arg)->is = true;
    return MRMR_OK;
}

/* It was removed in the end, and that has been done, or has been told of. */
static bool was_removed(struct pool_later *l, const struct pool_gone_record *record)
{
    const struct meta_node node = {
        .drive = record->drive, .type = record->type, .ino = record->ino, .btime = record->btime};
    struct removal removal = {false};
    return !pool_gone_each(
               l->gone, POOL_GONE_REMOVED, record->path, &node, note_removal, &removal) &&
           removal.is;
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
    if (!was_removed(l, record))
        tell(l, rename->from, rename->to,
            outcome == OUT_IN_THE_WAY
                ? "it cannot be given that name there, and keeps its own"
                : "it is not there, or is another folder by now: nothing was renamed");
    return MRMR_OK;
}

static mrmr_err rename_one(struct pool_later *l, const struct pool_gone_record *record)
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
    pool_writers_end();
    MRMR_TRY(mrmr_err_path(err, rename.to));
    if (outcome == OUT_DONE) {
        MRMR_TRY(sync_above(l, rename.to));
        MRMR_TRY(sync_above(l, rename.from));
    }
    return over(l, record);
}

/* Folders that were made for what went on from there. */
static void unmake(struct pool_later *l)
{
    size_t end = l->made.size;
    while (end > 0) {
        size_t at = end - 1;
        while (at > 0 && l->made.data[at - 1])
            at--;
        drv_rmdir(l->drive->drv, l->made.data + at);
        end = at;
    }
}

/* --- attributes --- */

/* What is there is left: somebody else set it after it was asked for. */
static bool is_left(struct pool_later *l, const struct pool_later_set *set, const struct seen *seen,
    bool is_new, bool is_was)
{
    bool stable = l->drive->info.caps & DRV_CAP_STABLE_CTIME;
    return !is_new && !is_was && (!stable || !seen->is || seen->stat.ctime > set->fixed.asked);
}

static mrmr_err set_values(struct pool_later *l, const char *path, const struct pool_later_set *set,
    const struct seen *seen, const struct drv_stat *is)
{
    const struct pool_later_values *now = &set->fixed.now, *was = &set->fixed.was;
    unsigned what = set->fixed.what, left = 0;
    if (what & DRV_ATTR_MODE && is_left(l, set, seen, is->mode == now->mode, is->mode == was->mode))
        left |= DRV_ATTR_MODE;
    if (what & DRV_ATTR_UID && is_left(l, set, seen, is->uid == now->uid, is->uid == was->uid))
        left |= DRV_ATTR_UID;
    if (what & DRV_ATTR_GID && is_left(l, set, seen, is->gid == now->gid, is->gid == was->gid))
        left |= DRV_ATTR_GID;
    if (what & DRV_ATTR_MTIME &&
        is_left(l, set, seen, is->mtime == now->mtime, is->mtime == was->mtime))
        left |= DRV_ATTR_MTIME;
    if (left)
        tell(l, path, NULL,
            left == DRV_ATTR_MTIME
                ? "its time has been changed on the drive since, and is left"
                : "its mode, owner or time have been changed on the drive since, and are left");
    const struct drv_stat stat = {.mode = now->mode,
        .uid = now->uid,
        .gid = now->gid,
        .atime = now->atime,
        .mtime = now->mtime};
    what &= ~left;
    /* An owner is set first: that may take bits from the mode. */
    if (what & DRV_ATTR_OWNER)
        MRMR_TRY(drv_set_attr(l->drive->drv, path, what & DRV_ATTR_OWNER, &stat));
    what &= ~(unsigned)DRV_ATTR_OWNER;
    return what ? drv_set_attr(l->drive->drv, path, what, &stat) : MRMR_OK;
}

struct comparing {
    const struct pool_later_set *set;
    bool has, is_new, is_was;
};

static mrmr_err compare_value(const char *name, const void *value, size_t size, void *arg)
{
    struct comparing *c = arg;
    if (strcmp(name, c->set->name) != 0)
        return MRMR_OK;
    const struct mrmr_digest digest = pool_later_digest(value, size);
    c->has = true;
    c->is_new = c->set->fixed.xattr == POOL_LATER_XATTR_SET && size == c->set->size &&
                (!size || memcmp(value, c->set->value, size) == 0);
    c->is_was = memcmp(digest.bytes, c->set->fixed.xattr_was, sizeof digest.bytes) == 0;
    return MRMR_OK;
}

static mrmr_err set_xattr(struct pool_later *l, const char *path, const struct pool_later_set *set,
    const struct seen *seen)
{
    static const uint8_t none[MRMR_DIGEST_SIZE];
    struct comparing c = {.set = set};
    bool removes = set->fixed.xattr == POOL_LATER_XATTR_REMOVED;
    MRMR_TRY(drv_xattr_list(l->drive->drv, path, compare_value, &c));
    if (!c.has) {
        c.is_new = removes;
        c.is_was = memcmp(set->fixed.xattr_was, none, sizeof none) == 0;
    }
    if (c.is_new)
        return MRMR_OK;
    if (is_left(l, set, seen, false, c.is_was)) {
        tell(l, path, NULL,
            "an extended attribute has been changed on the drive since, and is left");
        return MRMR_OK;
    }
    return drv_xattr_set(
        l->drive->drv, path, set->name, removes ? NULL : set->value, removes ? 0 : set->size);
}

/* This run removed or renamed something in it: its time is what it was before. */
static mrmr_err time_back(struct pool_later *l, size_t i, const char *path, struct drv_stat *is)
{
    const struct seen *seen = &l->seen[i];
    if (!seen->is || seen->stat.mtime == is->mtime)
        return MRMR_OK;
    for (size_t j = 0; j < i; j++) {
        const struct pool_gone_record *before = &l->list->record[j];
        struct pool_later_set set;
        if (pool_later_set(before, &set) && set.fixed.what & DRV_ATTR_MTIME &&
            strcmp(before->path, l->list->record[i].path) == 0)
            return MRMR_OK; /* one that was asked for before set it */
    }
    is->mtime = seen->stat.mtime;
    return drv_set_attr(l->drive->drv, path, DRV_ATTR_MTIME, is);
}

static mrmr_err set_at(struct pool_later *l, size_t i, const struct pool_later_set *set,
    const char *path, struct drv_stat *is)
{
    if (set->fixed.what & DRV_ATTR_MTIME)
        MRMR_TRY(time_back(l, i, path, is));
    if (set->fixed.xattr != POOL_LATER_NONE)
        MRMR_TRY(set_xattr(l, path, set, &l->seen[i]));
    if (set->fixed.what)
        MRMR_TRY(set_values(l, path, set, &l->seen[i], is));
    return sync_folder(l, path);
}

/* The drive has no such attribute, or not for this user, or has room for none of that size: the last is
 * an answer only where there is room for anything else. */
static bool is_final_of(struct pool_later *l, const struct pool_later_set *set, const char *path,
    const struct drv_stat *is, mrmr_err err)
{
    enum { ROOM = 1 << 20 };
    const uint32_t caps = l->drive->info.caps;
    const bool owner = set->fixed.what & DRV_ATTR_OWNER;
    struct drv_space space;
    if (err == MRMR_DENIED)
        return (owner && !(caps & DRV_CAP_OWNER)) ||
               (set->fixed.what & DRV_ATTR_MODE && !(caps & DRV_CAP_MODE)) ||
               (geteuid() != 0 && (owner || (caps & DRV_CAP_OWNER && is->uid != geteuid())));
    if (err == MRMR_SPACE && set->fixed.xattr == POOL_LATER_XATTR_SET)
        return !drv_space(l->drive->drv, &space) && space.avail >= ROOM &&
               !drv_dir_sync(l->drive->drv, path);
    return is_final(err);
}

static mrmr_err set_failed(struct pool_later *l, const struct pool_gone_record *record,
    const struct pool_later_set *set, const char *path, const struct drv_stat *is, mrmr_err err)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    bool final = is_final_of(l, set, path, is, err);
    mrmr_story_restore(&story);
    if (!final)
        return mrmr_err_path(err, record->path);
    mrmr_log_story(MRMR_LOG_WARN, "an attribute that was set while its drive was away");
    tell(l, path, NULL, "an attribute cannot be set there, and is what it was");
    return MRMR_OK;
}

/* The record is as it was read after it was marked as begun. */
static mrmr_err set_record(struct pool_later *l, size_t i, const struct pool_gone_record *record)
{
    mrmr_autofree char *path = NULL;
    struct pool_later_set set;
    struct drv_stat is;
    if (!pool_later_set(record, &set))
        return MRMR_OK;
    MRMR_TRY(find(l, record, &path, &is));
    mrmr_err err = path ? set_at(l, i, &set, path, &is) : MRMR_OK;
    if (err)
        return set_failed(l, record, &set, path, &is, err);
    if (!path && !was_removed(l, record))
        tell(l, record->path, NULL,
            "it is not found there, or is another folder by now: nothing was set. If it was moved "
            "on "
            "the drive itself, set it again at its new place");
    return MRMR_OK;
}

/* Records of one folder are in order: none is done before one that waits. What is not there any more a
 * later one says, which waits. */
static mrmr_err set_one(struct pool_later *l, size_t i)
{
    const uint64_t id = l->list->record[i].id;
    struct pool_gone_list now;
    MRMR_TRY(pool_gone_get(l->gone, id, &now));
    mrmr_err err = now.n ? set_record(l, i, &now.record[0]) : MRMR_OK;
    pool_gone_list_free(&now);
    return err ? err : mrmr_bytes_add(&l->ids, &id, sizeof id);
}

/* gone_compact.c says why. */
static mrmr_err sets_begin(struct pool_later *l)
{
    mrmr_autofree uint64_t *ids = calloc(l->list->n + 1, sizeof *ids);
    size_t n = 0;
    if (!ids)
        return mrmr_nomem();
    for (size_t i = 0; i < l->list->n; i++)
        if (l->list->record[i].kind == POOL_GONE_SET)
            ids[n++] = l->list->record[i].id;
    return pool_gone_begin(l->gone, ids, n);
}

/* --- all of it --- */

static mrmr_err look_before(struct pool_later *l)
{
    for (size_t i = 0; i < l->list->n; i++) {
        mrmr_autofree char *path = NULL;
        if (l->list->record[i].kind != POOL_GONE_SET)
            continue;
        mrmr_err err = find(l, &l->list->record[i], &path, &l->seen[i].stat);
        if (err && err != MRMR_DENIED) /* what was asked by who may look is done first */
            return err;
        l->seen[i].is = path;
    }
    return MRMR_OK;
}

mrmr_err pool_later_begin(struct pool *pool, const struct pool_job *job, struct pool_gone *gone,
    struct pool_drive *drive, struct pool_writers *writers, const struct pool_gone_list *list,
    struct pool_later **ret_later)
{
    struct pool_later *l = calloc(1, sizeof *l);
    if (!l)
        return mrmr_nomem();
    *l = (struct pool_later){.pool = pool,
        .job = job,
        .gone = gone,
        .drive = drive,
        .writers = writers,
        .list = list,
        .seen = calloc(list->n + 1, sizeof *l->seen)};
    mrmr_err err = l->seen ? look_before(l) : mrmr_nomem();
    if (err)
        pool_later_end(l);
    else
        *ret_later = l;
    return err;
}

static mrmr_err run(struct pool_later *l)
{
    for (size_t i = 0; i < l->list->n; i++)
        if (l->list->record[i].kind == POOL_GONE_RENAMED)
            MRMR_TRY(rename_one(l, &l->list->record[i]));
    unmake(l);
    MRMR_TRY(l->before(l->arg, NULL));
    MRMR_TRY(sets_begin(l));
    for (size_t i = 0; i < l->list->n; i++)
        if (l->list->record[i].kind == POOL_GONE_SET)
            MRMR_TRY(set_one(l, i));
    return MRMR_OK;
}

mrmr_err pool_later_run(struct pool_later *l, pool_later_fn before, void *arg, size_t *ret_left)
{
    struct mrmr_story story;
    size_t n = 0;
    l->before = before;
    l->arg = arg;
    for (size_t i = 0; i < l->list->n; i++)
        n += l->list->record[i].kind != POOL_GONE_REMOVED;
    mrmr_err err = mrmr_err_drive(run(l), l->drive->meta.name);
    if (err)
        mrmr_story_save(&story);
    size_t ids = l->ids.size / sizeof(uint64_t);
    mrmr_err settled = pool_gone_settle(l->gone, (uint64_t *)(void *)l->ids.data, ids, false);
    l->done += settled ? 0 : ids;
    *ret_left = n - l->done;
    return err ? mrmr_story_restore(&story) : settled;
}

void pool_later_end(struct pool_later *l)
{
    if (!l)
        return;
    free(l->seen);
    pool_moved_steps_free(&l->steps);
    mrmr_bytes_free(&l->made);
    mrmr_bytes_free(&l->ids);
    free(l);
}
