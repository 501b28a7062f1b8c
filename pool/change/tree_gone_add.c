/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that are removed while their drive is away, and what may come late on one that hung, are recorded (gone.h, gone_late.c,
 * where the crash arguments are). Under gone_gate, so that none is for a drive that is live by then: nobody would apply it.
 */
#include "pool/change/tree_change.h"
#include "pool/records/gone.h"
#include "pool/return/tree_return.h"
#include "pool/tree/tree_look.h"

mrmr_err tree_gone_add(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *node)
{
    mrmr_locked(&tree->gone_gate);
    if (tree_live(&tree->drive[drive]))
        return mrmr_err_drive(
            mrmr_fail(MRMR_CHANGED, "it came back just now"), tree->drive[drive].drive->meta.name);
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    MRMR_TRY(tree_catalog_path(tree, drive, path, &known));
    return pool_gone_add(tree->gone, known.data, node);
}

/* The catalog does not know it: it goes by the path that it has. What is new has no inode yet by which it would be told from
 * what is made there once the drive is in service: then it has been made by now, or never will be. */
mrmr_err tree_gone_late(struct pool_tree *tree, size_t drive, enum pool_gone_late what,
    const char *path, const struct drv_stat *stat)
{
    struct tree_drive *own = &tree->drive[drive];
    const struct meta_node node = {.drive = own->drive->meta.id,
        .type = (enum meta_type)stat->type,
        .size = stat->size,
        .ino = what == POOL_GONE_LATE_NEW ? 0 : stat->ino,
        .mtime = stat->mtime,
        .ctime = what == POOL_GONE_LATE_COPY ? stat->ctime : 0};
    mrmr_locked(&tree->gone_gate);
    if (what != POOL_GONE_LATE_COPY && tree_live(own))
        return MRMR_OK;
    MRMR_TRY(pool_gone_add_late(tree->gone, what, path, &node));
    if (tree_live(own))
        tree_return_left(own);
    return MRMR_OK;
}

void tree_gone_gave_up(struct pool_tree *tree, size_t drive, mrmr_err err, enum pool_gone_late what,
    const char *path, const struct drv_stat *stat)
{
    struct mrmr_story story;
    if (!tree_silent(&tree->drive[drive], err))
        return;
    mrmr_story_save(&story);
    if (tree_gone_late(tree, drive, what, path, stat))
        mrmr_log_story(MRMR_LOG_WARN,
            "a drive hangs, and that what was asked of it may come late cannot be recorded");
    mrmr_story_restore(&story);
}
