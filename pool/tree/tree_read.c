/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What an open file holds. The bytes come from the original while its drive answers; else from what the
 * stripes hold of the content that was opened, if the catalog knows that content: the same size and mtime.
 * What is made that way is verified and goes through the leaf cache.
 *
 * A file that was written through us is not what the catalog knows of it, whatever its size and time
 * are: from then on its descriptors have no bytes but the original's. One that is opened after that, while its drive is away, has those leaves that
 * were not written to since the catalog saw them (written.h), each asked for when it is read. The same holds once it is seen to have
 * been changed on its drive: while that answers it is asked, before bytes are made of what was opened.
 */
#include "pool/change/tree_replaced.h"
#include "pool/stripe/leaf_cache.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_open.h"

static mrmr_err read_original(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct tree_original *original = tree_original_of_file(file);
    if (!original)
        return mrmr_fail(MRMR_OFFLINE, "the drive was not there when it was opened");
    mrmr_err err = drv_file_read_sure(original->file, offset, buf, size, ret_got);
    tree_original_put(original);
    return err;
}

struct finding {
    struct pool_tree_file *file;
    struct meta_node node;
    size_t drive;
};

/* By the inode, if it is open: another file may have had its path, with its size and its time, when the catalog saw it last. */
static mrmr_err finding_node(struct finding *finding, const char *path)
{
    struct pool_tree_file *file = finding->file;
    struct tree_original *original = tree_original_of_file(file);
    const uint64_t ino = original ? original->ino : 0;
    tree_original_put(original);
    mrmr_err err = ino ? tree_catalog(file->tree, file->drive, path, &finding->node) : MRMR_ABSENT;
    if (!ino || (!err && finding->node.ino && finding->node.ino != ino))
        err = tree_catalog_without(file->tree, file->drive, path, &finding->node);
    if (!err && ino && finding->node.ino && finding->node.ino != ino)
        err = mrmr_fail(MRMR_ABSENT, "it was not there when its drive was looked through");
    return err;
}

/* Where the drive has left the pool it may have been rebuilt on another. That the catalog has it nowhere
 * says nothing of a drive that is not there. */
static mrmr_err finding_path(const char *path, void *arg)
{
    struct finding *finding = arg;
    struct pool_tree_file *file = finding->file;
    finding->drive = file->drive;
    mrmr_err err = finding_node(finding, path);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        err = tree_catalog_left(file->tree, file->drive, path, file->size, file->mtime,
            &finding->drive, &finding->node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT && !tree_live(&file->tree->drive[file->drive]))
        err = mrmr_fail(MRMR_OFFLINE, "its drive is away, and the catalog does not know it");
    return err;
}

static bool written_since(struct pool_tree_file *file)
{
    mrmr_locked(&file->tree->lock);
    return file->node->writes != file->writes;
}

/* By somebody else, on its drive. One that does not say is not changed by anybody now. */
static bool changed_since(struct pool_tree_file *file)
{
    const struct tree_drive *drive = &file->tree->drive[file->drive];
    struct tree_original *original = tree_original_of_file(file);
    struct drv_stat stat;
    const bool answered = original && !drv_file_stat(original->file, &stat);
    tree_original_put(original);
    return answered &&
           (stat.size != file->size || stat.mtime != file->mtime ||
               ((drive->drive->info.caps & DRV_CAP_STABLE_CTIME) && stat.ctime != file->ctime));
}

/* Of what was opened on its drive it is not asked which leaves are as they were. */
static bool made_is_since(
    struct pool_tree_file *file, const struct finding *finding, const struct tree_made_since *since)
{
    struct tree_original *original = tree_original_of_file(file);
    tree_original_put(original);
    return !original && finding->drive == file->drive &&
           tree_catalog_since(
               file->tree, finding->drive, file->spot.number, &finding->node, since->since);
}

/* What the catalog knows of this content. */
static mrmr_err made_open(
    struct pool_tree_file *file, struct tree_made_since *ret_since, struct pool_file **ret_made)
{
    struct finding finding = {.file = file};
    struct tree_made_since since = {.drive = file->tree->drive[file->drive].drive->meta.id};
    since.since = pool_written_since_scan(file->tree->pool, since.drive);
    MRMR_TRY(tree_by_path(file->tree, file->node, finding_path, &finding));
    if (finding.node.type != META_REG || finding.node.size != file->size ||
        finding.node.mtime != file->mtime)
        return mrmr_fail(MRMR_ABSENT, "it changed since it was protected");
    bool touched;
    MRMR_TRY(tree_catalog_touched(file->tree, finding.drive, finding.node.ino, &touched));
    if (touched && !made_is_since(file, &finding, &since))
        return mrmr_fail(MRMR_ABSENT, "it changed since it was protected");
    since.ino = finding.node.ino;
    *ret_since = touched ? since : (struct tree_made_since){.ino = 0};
    return pool_file_open_node(file->tree->pool, &finding.node,
        POOL_READ_VERIFY | (touched ? POOL_READ_IN_PLACE : 0), ret_made);
}

static mrmr_err file_made(
    struct pool_tree_file *file, struct tree_made_since *ret_since, struct pool_file **ret_made)
{
    struct tree_made_since since;
    struct pool_file *made = NULL;
    {
        mrmr_locked(&file->lock);
        *ret_made = file->made;
        *ret_since = file->made_since;
    }
    if (*ret_made)
        return MRMR_OK;
    MRMR_TRY(made_open(file, &since, &made));
    mrmr_locked(&file->lock);
    if (file->made) {
        pool_file_close(made); /* another thread was faster */
    } else {
        file->made = made;
        file->made_since = since;
    }
    *ret_made = file->made;
    *ret_since = file->made_since;
    return MRMR_OK;
}

/* After its bytes were made: whoever wrote to it before has noted that. */
static mrmr_err leaf_is_since(
    struct pool_tree_file *file, const struct tree_made_since *since, uint64_t leaf)
{
    if (!since->ino ||
        pool_written_is_same(file->tree->pool, since->since, since->drive, since->ino, leaf))
        return MRMR_OK;
    return mrmr_fail(MRMR_OFFLINE,
        "this part of it was written to since it was protected, or that is not known, and its "
        "drive is away");
}

/* Verified, leaf by leaf. */
static mrmr_err read_made(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct tree_made_since since;
    struct pool_file *made;
    if (written_since(file) || changed_since(file))
        return mrmr_fail(MRMR_ABSENT, "it changed since it was protected");
    MRMR_TRY(file_made(file, &since, &made));
    size_t done = 0;
    if (offset >= file->size)
        size = 0;
    else if (size > file->size - offset)
        size = file->size - offset;
    while (done < size) {
        uint64_t at = offset + done;
        size_t from = at % META_LEAF, part = META_LEAF - from;
        if (part > size - done)
            part = size - done;
        MRMR_TRY(leaf_cache_read(
            file->tree->leaves, made, at / META_LEAF, from, (char *)buf + done, part));
        MRMR_TRY(leaf_is_since(file, &since, at / META_LEAF));
        done += part;
    }
    *ret_got = done;
    return MRMR_OK;
}

mrmr_err tree_file_read_known(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    return read_made(file, offset, buf, size, ret_got);
}

mrmr_err pool_tree_file_read(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct mrmr_story story;
    MRMR_TRY(tree_replaced_look(file->tree));
    if (file->tree->verify && !read_made(file, offset, buf, size, ret_got))
        return MRMR_OK;
    mrmr_err err = read_original(file, offset, buf, size, ret_got);
    if (err == MRMR_OFFLINE && tree_live(&file->tree->drive[file->drive])) {
        tree_file_open_again(file);
        err = read_original(file, offset, buf, size, ret_got);
    }
    if (!tree_silent(&file->tree->drive[file->drive], err) &&
        mrmr_class_of(err) != MRMR_CLASS_CORRUPT)
        return err;
    mrmr_story_save(&story);
    mrmr_err made = read_made(file, offset, buf, size, ret_got);
    if (made && mrmr_class_of(made) == MRMR_CLASS_ABSENT)
        return mrmr_story_restore(&story);
    return made;
}

mrmr_err pool_tree_file_seek(
    struct pool_tree_file *file, uint64_t offset, bool hole, uint64_t *ret_offset)
{
    struct tree_original *original = tree_original_now(file);
    uint64_t start = offset, end = file->size, size = file->size;
    struct drv_stat stat;
    if (original) {
        if (!drv_file_stat(original->file, &stat))
            size = end = stat.size;
        if (drv_file_next_data(original->file, offset, &start, &end)) {
            start = offset; /* all is data */
            end = size;
        }
    }
    tree_original_put(original);
    if (offset >= size || (!hole && start >= size))
        return mrmr_fail(MRMR_ABSENT, "there is no more");
    *ret_offset = !hole ? start : start > offset ? offset : end;
    return MRMR_OK;
}

/* By the catalog: the drive on which it was opened has left the pool. */
static mrmr_err attr_left(struct pool_tree_file *file, struct pool_attr *ret_attr)
{
    struct finding finding = {.file = file};
    MRMR_TRY(tree_by_path(file->tree, file->node, finding_path, &finding));
    if (finding.drive == file->drive)
        return mrmr_fail(MRMR_ABSENT, NULL);
    MRMR_TRY(tree_attr_from_node(file->tree, &finding.node, ret_attr));
    ret_attr->node = file->node->number;
    ret_attr->keep = tree_own_window;
    return MRMR_OK;
}

/* No original is open. */
static mrmr_err attr_elsewhere(struct pool_tree_file *file, struct pool_attr *ret_attr)
{
    struct mrmr_story story;
    if (pool_tree_attr(file->tree, file->node->number, ret_attr) == MRMR_OK)
        return MRMR_OK;
    mrmr_story_save(&story);
    return attr_left(file, ret_attr) ? mrmr_story_restore(&story) : MRMR_OK;
}

mrmr_err pool_tree_file_attr(struct pool_tree_file *file, struct pool_attr *ret_attr)
{
    struct tree_original *original = tree_original_now(file);
    struct drv_stat stat;
    mrmr_err err = original ? drv_file_stat(original->file, &stat) : MRMR_OFFLINE;
    tree_original_put(original);
    if (err)
        return attr_elsewhere(file, ret_attr);
    tree_attr_from_stat(&stat, ret_attr);
    ret_attr->nlink = tree_kept_nlink(&file->tree->drive[file->drive], &stat);
    ret_attr->node = file->node->number;
    ret_attr->keep = tree_own_window;
    mrmr_locked(&file->tree->lock);
    if (file->node->gone)
        ret_attr->nlink = 0;
    return MRMR_OK;
}
