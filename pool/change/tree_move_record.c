/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Records of folders that are being renamed (tree_move.c): a file `rename-<16 hex>` of the pool's folder
 * for each, durable before the first drive renames.
 *
 * Crash argument. Whoever opens the tree next takes them up: a copy that is still under the old name,
 * and is the folder that was to be renamed, is renamed where nothing is under the new one; of a drive that is
 * away what is missing of its records is made up for (later.h), and it is renamed when it is back. The
 * folders in which the names lie are synced on each drive that is there, also one that had renamed it
 * before, and then the file goes. A cut in between finds the same once more. Where both names are there by then, somebody
 * made one of them, and both stay.
 *
 * A file stays where a rename that was made is not known to be durable, or one that failed was not taken back. It
 * says what the folder was to be called then: before that folder is renamed once more, and before that is recorded, its folders are synced again,
 * and the file goes. Where they cannot be synced still the folder keeps its name: or whoever opens the tree next would
 * give it the name of then.
 */
#include "pool/change/tree_change.h"
#include "pool/records/spare.h"
#include "pool/tree/tree_gone.h"

#include "base/durable.h"
#include "base/uuid.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORD_PREFIX "rename-"
enum { RECORD_MOST = 64 << 10 };

/* The folder's inode there; as the catalog has it, if the drive is away. */
static mrmr_err folder_ino(
    struct pool_tree *tree, size_t drive, const char *path, uint64_t *ret_ino)
{
    const struct tree_drive *own = &tree->drive[drive];
    struct drv_stat stat;
    struct meta_node node;
    mrmr_err err = tree_live(own) ? drv_stat(own->drive->drv, path, &stat) : MRMR_OFFLINE;
    if (mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE && !tree_live(own)) {
        err = tree_gone_known(tree, drive, path, &node);
        stat.ino = node.ino;
    }
    if (!err)
        *ret_ino = stat.ino;
    return err;
}

static mrmr_err record_drive(struct mrmr_bytes *text, int64_t id, uint64_t ino)
{
    return mrmr_bytes_fmt(text, "%lld:%llu ", (long long)id, (unsigned long long)ino);
}

static mrmr_err record_folder(
    struct pool_tree *tree, size_t drive, const char *path, struct mrmr_bytes *text)
{
    uint64_t ino;
    mrmr_err err = folder_ino(tree, drive, path, &ino);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT && !tree_live(&tree->drive[drive]))
        return MRMR_OK; /* not that anybody knows */
    MRMR_TRY(err);
    return record_drive(text, tree->drive[drive].drive->meta.id, ino);
}

static mrmr_err record_paths(struct mrmr_bytes *text, const char *from, const char *to)
{
    MRMR_TRY(mrmr_bytes_add(text, "", 1));
    MRMR_TRY(mrmr_bytes_add(text, from, strlen(from) + 1));
    return mrmr_bytes_add(text, to, strlen(to) + 1);
}

/* Each line NUL-terminated: the drives, by id and the folder's inode there, so that another folder
 * which has the name later is not taken for it; the old path, the new one. */
mrmr_err tree_move_record(struct pool_tree *tree, const struct tree_set *on, const char *from,
    const char *to, char ret_name[TREE_RECORD_NAME])
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    char name[TREE_RECORD_NAME];
    uint64_t random;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    snprintf(name, sizeof name, RECORD_PREFIX "%016" PRIx64, random);
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i))
            MRMR_TRY(record_folder(tree, i, from, &text));
    MRMR_TRY(record_paths(&text, from, to));
    if (text.size > RECORD_MOST)
        return mrmr_fail(MRMR_NAME_TOO_LONG, "the folder lies too deep to be renamed");
    MRMR_TRY(pool_spare_record(tree->pool->dirfd, tree->pool->dir, name, &text));
    memcpy(ret_name, name, sizeof name);
    return MRMR_OK;
}

/* Who may not read a folder cannot sync it alone. */
static mrmr_err sync_folder_of(struct drv *drv, const char *path)
{
    const char *slash = strrchr(path, '/');
    mrmr_autofree char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
    if (!folder)
        return mrmr_nomem();
    mrmr_err err = drv_dir_sync(drv, folder);
    if (err == MRMR_DENIED)
        err = drv_sync_all(drv);
    return mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED ||
                   mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR
               ? MRMR_OK
               : err;
}

/* The new name first: a cut after that leaves none or both. */
static mrmr_err sync_names(struct tree_drive *drive, const char *from, const char *to)
{
    struct drv *drv = drive->drive->drv;
    mrmr_err err = sync_folder_of(drv, to);
    if (!err)
        err = sync_folder_of(drv, from);
    return mrmr_err_drive(err, drive->drive->meta.name);
}

static bool is_durable(
    struct pool_tree *tree, const struct tree_set *on, const char *from, const char *to)
{
    bool all = true;
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && sync_names(&tree->drive[i], from, to)) {
            mrmr_log_story(MRMR_LOG_WARN, "a folder's new name may not be durable yet");
            all = false;
        }
    return all;
}

static void record_remove(struct pool_tree *tree, const char *name)
{
    unlinkat(tree->pool->dirfd, name, 0);
    /* One that comes to life after a cut finds other inodes, or nothing left to do. */
}

void tree_move_record_end(struct pool_tree *tree, const char *name, const struct tree_set *on,
    const char *from, const char *to, bool made)
{
    struct mrmr_story story;
    if (!name[0])
        return;
    mrmr_story_save(&story);
    if (is_durable(tree, on, from, to) || !made)
        record_remove(tree, name);
    else
        atomic_store(&tree->records_left, true);
    mrmr_story_restore(&story);
}

/* --- reading one --- */

struct record {
    const char *drives, *from, *to;
};

static bool record_parse(const struct mrmr_bytes *text, struct record *ret_record)
{
    const char *end = text->data + text->size, *at = text->data;
    const char **field[] = {&ret_record->drives, &ret_record->from, &ret_record->to};
    for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
        const char *nul = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
        if (!nul)
            return false;
        *field[i] = at;
        at = nul + 1;
    }
    return at == end && !drv_path_check(ret_record->from) && !drv_path_check(ret_record->to);
}

/* What it points to is of the text. */
static mrmr_err record_read(
    struct pool_tree *tree, const char *name, struct mrmr_bytes *text, struct record *ret_record)
{
    MRMR_TRY(mrmr_durable_read(tree->pool->dirfd, name, RECORD_MOST, text));
    return record_parse(text, ret_record)
               ? MRMR_OK
               : mrmr_err_path(mrmr_fail(MRMR_FORMAT, "not the record of a rename"), name);
}

/* Whether it names a drive, and the folder's inode there. */
static bool record_names(const struct record *record, int64_t id, uint64_t *ret_ino)
{
    const char *at = record->drives;
    for (char *end; *at; at = end + (*end == ' ')) {
        long long one = strtoll(at, &end, 10);
        if (end == at || *end != ':')
            return false;
        at = end + 1;
        *ret_ino = strtoull(at, &end, 10);
        if (end == at)
            return false;
        if (one == id)
            return true;
    }
    return false;
}

/* --- the way back --- */

/* In one step: it is the one or the other. */
static mrmr_err record_turn(struct pool_tree *tree, const char *name, const struct tree_set *on)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT, back = MRMR_BYTES_INIT;
    struct record record;
    MRMR_TRY(record_read(tree, name, &text, &record));
    for (size_t i = 0; i < tree->ndrives; i++) {
        const int64_t id = tree->drive[i].drive->meta.id;
        uint64_t ino;
        if (tree_set_has(on, i) && record_names(&record, id, &ino))
            MRMR_TRY(record_drive(&back, id, ino));
    }
    MRMR_TRY(record_paths(&back, record.to, record.from));
    return pool_spare_record(tree->pool->dirfd, tree->pool->dir, name, &back);
}

void tree_move_record_back(struct pool_tree *tree, const char *name, const struct tree_set *on)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (record_turn(tree, name, on))
        mrmr_log_story(
            MRMR_LOG_WARN, "the way back of a rename is not recorded: the next mount finishes it");
    atomic_store(&tree->records_left, true);
    mrmr_story_restore(&story);
}

/* --- what is left of an earlier rename --- */

struct settling {
    const struct tree_set *on; /* the folder's drives, */
    const char *path;          /* and where it lies */
    mrmr_err err;
};

static bool record_is_of(
    struct pool_tree *tree, const struct record *record, const struct settling *settling)
{
    for (size_t i = 0; i < tree->ndrives; i++) {
        uint64_t then, now;
        if (tree_set_has(settling->on, i) &&
            record_names(record, tree->drive[i].drive->meta.id, &then) &&
            !folder_ino(tree, i, settling->path, &now) && then && now == then)
            return true;
    }
    return false;
}

static bool record_is_durable(struct pool_tree *tree, const struct record *record)
{
    struct tree_set on = {{0}};
    for (size_t i = 0; i < tree->ndrives; i++) {
        uint64_t ino;
        if (record_names(record, tree->drive[i].drive->meta.id, &ino) && tree_live(&tree->drive[i]))
            tree_set_add(&on, i);
    }
    return is_durable(tree, &on, record->from, record->to);
}

static mrmr_err record_settle(struct pool_tree *tree, const char *name, void *arg)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct settling *settling = arg;
    struct record record;
    MRMR_TRY(record_read(tree, name, &text, &record));
    if (!record_is_of(tree, &record, settling))
        return MRMR_OK;
    if (record_is_durable(tree, &record))
        record_remove(tree, name);
    else
        settling->err = MRMR_IO;
    return MRMR_OK;
}

mrmr_err tree_move_records_settle(
    struct pool_tree *tree, const struct tree_set *on, const char *path)
{
    struct settling settling = {on, path, MRMR_OK};
    if (!atomic_load(&tree->records_left))
        return MRMR_OK;
    MRMR_TRY(tree_records_each(tree, RECORD_PREFIX, record_settle, &settling));
    return settling.err ? mrmr_fail(MRMR_IO,
                              "an earlier rename of this folder is not durable on its drives, "
                              "which cannot be synced")
                        : MRMR_OK;
}

/* --- after a crash --- */

static mrmr_err finish_rename(
    struct tree_drive *drive, const struct record *record, const struct drv_stat *stat)
{
    struct pool_tree *tree = drive->tree;
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(tree, &epoch));
    size_t i = (size_t)(drive - tree->drive);
    mrmr_err err = tree_keep_moved(tree, i, record->from, record->to, stat, NULL, epoch);
    if (!err) {
        err = drv_rename(drive->drive->drv, record->from, record->to, DRV_RENAME_NOREPLACE);
        if (err)
            err = tree_not_moved(tree, i, record->from, record->to, stat, NULL, epoch);
    }
    tree_change_end(tree);
    return err;
}

static mrmr_err finish_on(struct tree_drive *drive, const struct record *record, uint64_t ino)
{
    struct drv *drv = drive->drive->drv;
    struct drv_stat stat;
    mrmr_err err = drv_stat(drv, record->from, &stat);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        return MRMR_OK;
    if (!err && stat.ino != ino)
        return MRMR_OK; /* another folder: it was renamed */
    if (!err)
        err = finish_rename(drive, record, &stat);
    if (err == MRMR_EXISTS || mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
        mrmr_log_story(MRMR_LOG_WARN, "a folder keeps its old name on one drive");
        return MRMR_OK;
    }
    return mrmr_err_drive(err, drive->drive->meta.name);
}

static mrmr_err finish_later(struct tree_drive *drive, const struct record *record, uint64_t ino)
{
    struct pool_tree *tree = drive->tree;
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(tree, &epoch));
    mrmr_err err = tree_later_rename_again(
        tree, (size_t)(drive - tree->drive), record->from, record->to, ino, epoch);
    tree_change_end(tree);
    return err;
}

static mrmr_err finish_now_or_later(
    struct tree_drive *drive, const struct record *record, uint64_t ino)
{
    if (!tree_live(drive))
        return finish_later(drive, record, ino);
    MRMR_TRY(finish_on(drive, record, ino));
    return sync_names(drive, record->from, record->to);
}

/* False: the record is needed still. */
static bool record_finish(struct pool_tree *tree, const struct record *record)
{
    bool all = true;
    for (size_t i = 0; i < tree->ndrives; i++) {
        uint64_t ino;
        if (!record_names(record, tree->drive[i].drive->meta.id, &ino))
            continue;
        if (finish_now_or_later(&tree->drive[i], record, ino)) {
            mrmr_log_story(MRMR_LOG_WARN, "finishing the rename of a folder");
            all = false;
        }
    }
    return all;
}

static mrmr_err record_take_up(struct pool_tree *tree, const char *name, void *arg)
{
    (void)arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct record record;
    MRMR_TRY(record_read(tree, name, &text, &record));
    if (record_finish(tree, &record))
        record_remove(tree, name);
    else
        atomic_store(&tree->records_left, true);
    return MRMR_OK;
}

mrmr_err tree_records_each(struct pool_tree *tree, const char *prefix,
    mrmr_err (*fn)(struct pool_tree *tree, const char *name, void *arg), void *arg)
{
    int fd = openat(tree->pool->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    mrmr_err err = MRMR_OK;
    if (!dir) {
        err = mrmr_fail_errno(errno, "list", tree->pool->dir);
        if (fd >= 0)
            close(fd);
        return err;
    }
    for (const struct dirent *entry; errno = 0, (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
            strlen(entry->d_name) ==
                TREE_RECORD_NAME - strlen(RECORD_PREFIX) - 1 + strlen(prefix) &&
            fn(tree, entry->d_name, arg))
            mrmr_log_story(MRMR_LOG_WARN, "finishing what was under way");
    if (errno)
        err = mrmr_fail_errno(errno, "list", tree->pool->dir);
    closedir(dir);
    return err;
}

mrmr_err tree_moves_finish(struct pool_tree *tree)
{
    return pool_tree_writable(tree) ? tree_records_each(tree, RECORD_PREFIX, record_take_up, NULL)
                                    : MRMR_OK;
}
