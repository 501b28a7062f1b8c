/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders that are changed while a drive of theirs is away (later.h, where the crash argument is): the
 * records, made as tree_gone_add.c makes those of removals, under gone_gate.
 *
 * A folder of which the catalog knows nothing on that drive is either to be made there by a rename that
 * waits, as it is elsewhere by then, or was made after the last scan: it has no attributes to be set
 * that anybody could see, and whoever renames it is refused.
 */
#include "pool/change/tree_change.h"
#include "pool/records/later.h"
#include "pool/records/moved.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_look.h"

#include <string.h>

#define ACL "system.posix_acl_access"

static mrmr_err is_back(const struct tree_drive *drive)
{
    return tree_live(drive) ? mrmr_err_drive(mrmr_fail(MRMR_CHANGED, "it came back just now"),
                                  drive->drive->meta.name)
                            : MRMR_OK;
}

/* --- renames --- */

static bool is_pair(const struct pool_gone_record *record, const char *from, const char *to)
{
    struct pool_later_rename rename;
    return pool_later_rename(record, &rename) && strcmp(rename.from, from) == 0 &&
           strcmp(rename.to, to) == 0;
}

static mrmr_err find_waiting(struct pool_tree *tree, int64_t drive, const char *from,
    const char *to, uint64_t *ret_id, bool *ret_found)
{
    struct pool_gone_list list;
    *ret_found = false;
    if (!pool_gone_any(tree->gone))
        return MRMR_OK;
    MRMR_TRY(pool_gone_list(tree->gone, drive, false, &list));
    for (size_t i = 0; i < list.n; i++)
        if (is_pair(&list.record[i], from, to)) {
            *ret_found = true;
            *ret_id = list.record[i].id;
        }
    pool_gone_list_free(&list);
    return MRMR_OK;
}

static mrmr_err add_rename(struct pool_tree *tree, const char *known, const struct meta_node *node,
    const char *from, const char *to)
{
    uint64_t id;
    return pool_later_add_rename(tree->gone, known ? known : "", node, from, to, &id);
}

/* In `moved` first: what cannot be recorded after that is taken back there, now or by whoever records the
 * next (tree_keep.c). A journal that is full could not be rid of a record any more. */
mrmr_err tree_later_rename(
    struct pool_tree *tree, size_t drive, const char *from, const char *to, uint64_t epoch)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    struct tree_drive *own = &tree->drive[drive];
    struct meta_node node;
    mrmr_locked(&tree->gone_gate);
    MRMR_TRY(is_back(own));
    MRMR_TRY(tree_gone_known(tree, drive, from, &node));
    if (node.type != META_DIR)
        return mrmr_fail(MRMR_ABSENT, "it is no folder");
    if (!node.id)
        return mrmr_err_hint(
            mrmr_err_drive(mrmr_fail(MRMR_OFFLINE,
                               "the folder was made after the last scan, and its drive is away"),
                own->drive->meta.name),
            "connect the drive");
    MRMR_TRY(tree_catalog_path(tree, drive, from, &known));
    const struct drv_stat stat = {.type = DRV_DIR, .ino = node.ino};
    MRMR_TRY(tree_keep_moved(tree, drive, from, to, &stat, NULL, epoch));
    mrmr_err err = add_rename(tree, known.data, &node, from, to);
    return err ? tree_not_moved(tree, drive, from, to, &stat, NULL, epoch) : MRMR_OK;
}

mrmr_err tree_later_not_renamed(
    struct pool_tree *tree, size_t drive, const char *from, const char *to, uint64_t epoch)
{
    struct meta_node node;
    uint64_t id;
    bool found;
    mrmr_locked(&tree->gone_gate);
    MRMR_TRY(find_waiting(tree, tree->drive[drive].drive->meta.id, from, to, &id, &found));
    if (!found)
        return mrmr_fail(MRMR_CHANGED, "the drive came back just now, and has renamed it");
    MRMR_TRY(tree_gone_known(tree, drive, to, &node));
    const struct drv_stat stat = {.type = DRV_DIR, .ino = node.ino};
    MRMR_TRY(tree_keep_not_moved(tree, drive, from, to, &stat, NULL, epoch));
    return pool_gone_settle(tree->gone, &id, 1, true);
}

/* After a cut: by its record in `moved` the folder has the new name, or had it on the drive, where it may
 * not have become durable. */
static mrmr_err rename_waits(
    struct pool_tree *tree, size_t drive, const char *from, const char *to, uint64_t ino)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    struct meta_node node;
    mrmr_locked(&tree->gone_gate);
    MRMR_TRY(is_back(&tree->drive[drive]));
    mrmr_err err = tree_gone_known(tree, drive, to, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT ||
        (!err && (node.type != META_DIR || !node.id || node.ino != ino)))
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(tree_catalog_path(tree, drive, to, &known));
    return add_rename(tree, known.data, &node, from, to);
}

/* One of the two records may be there, or both. */
mrmr_err tree_later_rename_again(struct pool_tree *tree, size_t drive, const char *from,
    const char *to, uint64_t ino, uint64_t epoch)
{
    struct meta_node node;
    uint64_t id;
    bool found;
    MRMR_TRY(pool_gone_refresh(tree->gone));
    MRMR_TRY(find_waiting(tree, tree->drive[drive].drive->meta.id, from, to, &id, &found));
    mrmr_err err = tree_gone_known(tree, drive, from, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || (!err && node.ino != ino))
        return found ? MRMR_OK : rename_waits(tree, drive, from, to, ino);
    MRMR_TRY(err);
    if (!found)
        return tree_later_rename(tree, drive, from, to, epoch);
    const struct drv_stat stat = {.type = DRV_DIR, .ino = ino};
    return tree_keep_moved(tree, drive, from, to, &stat, NULL, epoch);
}

/* --- attributes --- */

struct reading {
    const char *name;
    struct mrmr_bytes value;
    bool found;
};

static mrmr_err read_value(const char *name, const void *value, size_t size, void *arg)
{
    struct reading *reading = arg;
    if (strcmp(name, reading->name) != 0)
        return MRMR_OK;
    reading->found = true;
    return mrmr_bytes_add(&reading->value, value, size);
}

/* A record says what came of it on a drive that is there: there the caller was refused what he may not
 * have, and times are no `now` any more. */
static mrmr_err add_set(struct pool_tree *tree, size_t drive, const char *path,
    const struct meta_node *node, struct pool_later_set *set)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    mrmr_locked(&tree->gone_gate);
    MRMR_TRY(is_back(&tree->drive[drive]));
    MRMR_TRY(tree_catalog_path(tree, drive, path, &known));
    return pool_later_add_set(tree->pool, tree->gone, known.data ? known.data : "", node, set);
}

static mrmr_err add_values(struct pool_tree *tree, size_t drive, const char *path,
    const struct meta_node *node, const struct drv_stat *is, unsigned what)
{
    struct pool_later_set set = {.fixed = {.asked = mrmr_clock_real(),
                                     .what = what,
                                     .now = {.mode = is->mode,
                                         .uid = is->uid,
                                         .gid = is->gid,
                                         .atime = is->atime,
                                         .mtime = is->mtime}}};
    return what ? add_set(tree, drive, path, node, &set) : MRMR_OK;
}

static mrmr_err add_xattr(struct pool_tree *tree, size_t drive, const char *path,
    const struct meta_node *node, const char *name, const struct reading *value)
{
    struct pool_later_set set = {
        .fixed = {.asked = mrmr_clock_real(),
            .xattr = value->found ? POOL_LATER_XATTR_SET : POOL_LATER_XATTR_REMOVED},
        .name = name,
        .value = value->value.data ? value->value.data : "",
        .size = value->value.size};
    return add_set(tree, drive, path, node, &set);
}

/* An ACL is part of a mode, and the other way round. */
static mrmr_err set_later(struct pool_tree *tree, size_t drive, size_t model, const char *path,
    unsigned what, const char *xattr)
{
    struct drv *drv = tree->drive[model].drive->drv;
    struct reading reading = {.name = xattr ? xattr : ACL};
    struct meta_node node;
    struct drv_stat is;
    bool acl = strcmp(reading.name, ACL) == 0 && (xattr || what & DRV_ATTR_MODE);
    mrmr_err err = tree_gone_known(tree, drive, path, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || (!err && !node.id))
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(drv_stat(drv, path, &is));
    MRMR_TRY(add_values(tree, drive, path, &node, &is, what | (acl ? DRV_ATTR_MODE : 0)));
    if (!xattr && !acl)
        return MRMR_OK;
    err = drv_xattr_list(drv, path, read_value, &reading);
    if (err == MRMR_UNSUPPORTED && !xattr)
        err = MRMR_OK;
    if (!err && (xattr || reading.found))
        err = add_xattr(tree, drive, path, &node, reading.name, &reading);
    mrmr_bytes_free(&reading.value);
    return err;
}

mrmr_err tree_later_set(struct pool_tree *tree, size_t drive, size_t model, const char *path,
    unsigned what, const char *xattr)
{
    return mrmr_err_drive(
        set_later(tree, drive, model, path, what, xattr), tree->drive[drive].drive->meta.name);
}
