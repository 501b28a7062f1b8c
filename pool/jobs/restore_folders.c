/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders of a drive that comes back: made on the way to what is in them, and given their attributes in full at the end of the run, deepest first, so
 * that none hinders the filling and their times stay.
 */
#include "pool/jobs/rebuild.h"
#include "pool/records/names.h"

#include <string.h>

/* --- On the way --- */

static mrmr_err restore_note_folder(
    struct rebuild *rebuild, struct pool_drive *on, const char *path, size_t size)
{
    if (rebuild->nfolders == rebuild->folders_room) {
        size_t room = rebuild->folders_room ? 2 * rebuild->folders_room : 64;
        struct rebuild_folder *grown = realloc(rebuild->folders, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        rebuild->folders = grown;
        rebuild->folders_room = room;
    }
    char *copy = strndup(path, size);
    if (!copy)
        return mrmr_nomem();
    rebuild->folders[rebuild->nfolders++] = (struct rebuild_folder){on, copy};
    return MRMR_OK;
}

static mrmr_err restore_folder_node_at(
    struct rebuild *rebuild, const char *path, struct meta_node *ret_node)
{
    return rebuild->names
               ? pool_names_lookup(rebuild->names, path, ret_node)
               : meta_lookup_path(rebuild->pool->meta, rebuild->drive->meta.root, path, ret_node);
}

/* A folder that was just made: its attributes as far as they do not hinder the filling, so that
 * little is missing should this run not reach its end, where they are set in full (and a failure is
 * told). */
static void restore_folder_early(struct restore *item, const char *path)
{
    struct meta_node node;
    if (restore_folder_node_at(item->rebuild, path, &node))
        return;
    node.mode |= 0700;
    (void)pool_copy_attrs(item->rebuild->pool, &node, item->target, path);
}

mrmr_err pool_restore_make_folder(struct restore *item, const char *path, size_t size)
{
    mrmr_autofree char *folder = strndup(path, size);
    if (!folder)
        return mrmr_nomem();
    for (size_t end = 0; end <= size; end++) {
        if (end < size && folder[end] != '/')
            continue;
        char saved = folder[end];
        folder[end] = '\0';
        mrmr_err err = drv_mkdir(item->target->drv, folder, 0700);
        if (!err) {
            restore_folder_early(item, folder);
            err = restore_note_folder(item->rebuild, item->target, folder, end);
        }
        if (err && err != MRMR_EXISTS)
            return mrmr_err_drive(err, item->target->meta.name);
        folder[end] = saved;
    }
    return MRMR_OK;
}

/* --- At the end --- */

static size_t path_depth(const char *path)
{
    size_t depth = 0;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static int deepest_first(const void *a, const void *b)
{
    size_t x = path_depth(((const struct rebuild_folder *)a)->path);
    size_t y = path_depth(((const struct rebuild_folder *)b)->path);
    return x > y ? -1 : x < y;
}

static mrmr_err restore_folder_attrs(struct rebuild *rebuild, const struct rebuild_folder *folder)
{
    struct meta_node node;
    MRMR_TRY(restore_folder_node_at(rebuild, folder->path, &node));
    mrmr_err err = pool_copy_attrs(rebuild->pool, &node, folder->on, folder->path);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err; /* a user removed it since */
}

static void restore_forget_folders(struct rebuild *rebuild)
{
    for (size_t i = 0; i < rebuild->nfolders; i++)
        free(rebuild->folders[i].path);
    rebuild->nfolders = 0;
}

mrmr_err pool_restore_note_all(struct rebuild *rebuild)
{
    enum { NOTE_BATCH = 256 };
    mrmr_autofree struct meta_node *nodes = calloc(NOTE_BATCH, sizeof *nodes);
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    int64_t after = 0;
    size_t n;
    if (!nodes)
        return mrmr_nomem();
    restore_forget_folders(rebuild);
    do {
        MRMR_TRY(meta_nodes_after(
            rebuild->pool->meta, rebuild->drive->meta.id, after, nodes, NOTE_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            after = nodes[i].id;
            if (nodes[i].type != META_DIR || after == rebuild->drive->meta.root)
                continue;
            mrmr_bytes_clear(&path);
            MRMR_TRY(meta_path(rebuild->pool->meta, after, &path));
            MRMR_TRY(restore_note_folder(rebuild, rebuild->drive, path.data, path.size));
        }
    } while (n);
    return MRMR_OK;
}

mrmr_err pool_restore_folders(struct rebuild *rebuild)
{
    if (rebuild->nfolders)
        qsort(rebuild->folders, rebuild->nfolders, sizeof *rebuild->folders, deepest_first);
    for (size_t i = 0; i < rebuild->nfolders; i++) {
        if (restore_folder_attrs(rebuild, &rebuild->folders[i]))
            pool_tell_story(rebuild->pool, rebuild->job, true, "restore-failed", rebuild->drive,
                "a folder's attributes could not be set");
    }
    restore_forget_folders(rebuild);
    free(rebuild->folders);
    rebuild->folders = NULL;
    rebuild->folders_room = 0;
    return MRMR_OK;
}
