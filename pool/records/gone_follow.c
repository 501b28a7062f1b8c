/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Records go by the catalog's paths, and a scan has brought those up to date (gone.h): what they are of
 * is found by the records of renames, and given the path that the catalog has now. What is to be set on
 * a folder is found by its inode, too, where a scan has seen it after somebody moved it on the drive; what is
 * to be removed is not, since that one's word is the later one.
 *
 * By its inode the catalog finds only what it has taken in. What is recorded for a drive is done when
 * it is back, before any scan: a folder that somebody moved while the drive was out of MRMR's sight is
 * found by nobody then, nothing is set on it, and the event says so (later_set.c). It is for records
 * that wait longer than that, since the drive refused them, and for those that are over.
 */
#include "pool/records/gone.h"
#include "pool/records/moved.h"

#include "base/text.h"
#include <string.h>

static mrmr_err is_there(struct pool *pool, const struct pool_drive *drive,
    const struct pool_gone_record *record, const char *path, bool *ret_is)
{
    struct meta_node node;
    mrmr_err err = meta_lookup_path(pool->meta, drive->meta.root, path, &node);
    *ret_is = !err && pool_gone_is_node(record, &node);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

static mrmr_err find_moved(struct pool *pool, const struct pool_drive *drive,
    const struct pool_gone_record *record, char **ret_path)
{
    struct pool_moved_paths moved = {.n = 0};
    bool is = false;
    if (!pool_moved_any(pool))
        return MRMR_OK;
    MRMR_TRY(pool_moved_paths(pool, record->drive, record->path, &moved));
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && !is && i < moved.n; i++) {
        err = is_there(pool, drive, record, moved.path[i], &is);
        if (!err && is)
            *ret_path = mrmr_steal(moved.path[i]);
    }
    pool_moved_paths_free(&moved);
    return err;
}

mrmr_err pool_gone_by_inode(
    struct pool *pool, const struct pool_gone_record *record, char **ret_path)
{
    enum { MOST = 8 };
    struct meta_node node[MOST];
    size_t n;
    *ret_path = NULL;
    if (!record->ino)
        return MRMR_OK;
    MRMR_TRY(meta_node_by_ino(pool->meta, record->drive, record->ino, node, MOST, &n));
    for (size_t i = 0; i < n; i++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        if (!pool_gone_is_node(record, &node[i]))
            continue;
        MRMR_TRY(meta_path(pool->meta, node[i].id, &path));
        *ret_path = path.size ? strdup(path.data) : NULL;
        return path.size && !*ret_path ? mrmr_nomem() : MRMR_OK;
    }
    return MRMR_OK;
}

struct following {
    struct pool *pool;
    const struct pool_job *job;
    const struct pool_drive *drive;
    struct pool_gone_path *paths;
    size_t n, left;
};

/* Its path stays what it was. What is found by its inode needs no other. */
static void too_long(struct following *f, const struct pool_gone_record *record, bool by_inode)
{
    mrmr_autobytes struct mrmr_bytes shown = MRMR_BYTES_INIT;
    if (record->over)
        return;
    f->left += !by_inode;
    if (!mrmr_text_print(&shown, record->path, strlen(record->path)))
        pool_tell(f->pool, f->job, true, "conflict", f->drive,
            "on drive %s, '%.600s' was removed or changed while the drive was away, and lies so "
            "deep "
            "by now that its path is too long to be recorded: move it up, and sync again",
            f->drive->meta.name, shown.data);
}

/* None is added if it is where it was, or nowhere. */
static mrmr_err follow_one(struct following *f, const struct pool_gone_record *record)
{
    mrmr_autofree char *path = NULL;
    bool is, by_inode;
    if (record->kind ==
        POOL_GONE_LATE) /* it goes by the drive's path, and the catalog has not seen it */
        return MRMR_OK;
    MRMR_TRY(is_there(f->pool, f->drive, record, record->path, &is));
    if (is)
        return MRMR_OK;
    MRMR_TRY(find_moved(f->pool, f->drive, record, &path));
    by_inode = !path && record->kind != POOL_GONE_REMOVED;
    if (by_inode)
        MRMR_TRY(pool_gone_by_inode(f->pool, record, &path));
    if (path && !pool_gone_path_fits(path))
        too_long(f, record, by_inode);
    else if (path)
        f->paths[f->n++] = (struct pool_gone_path){record->id, mrmr_steal(path)};
    return MRMR_OK;
}

static mrmr_err follow(
    struct following *f, struct pool_gone *gone, const struct pool_gone_list *list)
{
    f->paths = calloc(list->n + 1, sizeof *f->paths);
    mrmr_err err = f->paths ? MRMR_OK : mrmr_nomem();
    for (size_t i = 0; !err && i < list->n; i++)
        err = follow_one(f, &list->record[i]);
    if (!err)
        err = pool_gone_repath(gone, f->paths, f->n);
    while (f->n > 0)
        free(f->paths[--f->n].path);
    free(f->paths);
    return err;
}

mrmr_err pool_gone_follow(struct pool *pool, const struct pool_job *job, struct pool_gone *gone,
    const struct pool_drive *drive, size_t *ret_left)
{
    struct following f = {.pool = pool, .job = job, .drive = drive};
    mrmr_err err = pool_gone_refresh(gone);
    for (unsigned over = 0; !err && pool_gone_any(gone) && over < 2; over++) {
        struct pool_gone_list list;
        MRMR_TRY(pool_gone_list(gone, drive->meta.id, over, &list));
        err = follow(&f, gone, &list);
        pool_gone_list_free(&list);
    }
    *ret_left = f.left;
    return err;
}
