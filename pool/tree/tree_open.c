/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Opening a file. The original is opened while its drive answers; else what counts is the content that
 * the catalog has, if it has it (tree_read.c).
 *
 * Of one that was written to since the catalog has seen it, only what was not is given (tree_read.c), and nothing at all where it is not known which
 * leaves that was, or its size may be another.
 *
 * An original that was opened before its drive was taken out of service is of no use when the drive
 * comes back: it is opened again, if it is still the same content; for writing, if it is still the
 * same inode.
 */
#include "pool/tree/tree_open.h"
#include "pool/change/tree_replaced.h"
#include "pool/stripe/leaf_cache.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_watch.h"

struct opening {
    struct pool_tree_file *file;
    struct drv_file *original;
    struct drv_stat stat;
    struct meta_node known;
    size_t drive;  /* that was asked */
    int64_t asked; /* before that; real */
    bool answered; /* by the drive; else known says what it was */
};

static mrmr_err opening_catalog(struct opening *opening, const char *path)
{
    struct pool_tree_file *file = opening->file;
    const struct pool_written_since since =
        pool_written_since_scan(file->tree->pool, file->tree->drive[file->drive].drive->meta.id);
    struct mrmr_story story;
    bool touched = false;
    mrmr_story_save(&story);
    mrmr_err err = tree_catalog_without(file->tree, file->drive, path, &opening->known);
    if (!err && opening->known.type != META_REG)
        err = mrmr_fail(MRMR_ABSENT, NULL);
    if (!err)
        err = tree_catalog_touched(file->tree, file->drive, opening->known.ino, &touched);
    if (!err && touched &&
        !tree_catalog_since(file->tree, file->drive, file->spot.number, &opening->known, since))
        return mrmr_fail(MRMR_OFFLINE, "its drive went away before what was written was protected");
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? mrmr_story_restore(&story) : err;
}

/* For writing it must be readable, too: what a stripe counts on is read before it is written over.
 * Who may write it and not read it gets it for writing alone, and cannot change such bytes. */
mrmr_err tree_open_original(struct drv *drv, const char *path, bool writing,
    struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    const unsigned flags = DRV_OPEN_READ | (writing ? DRV_OPEN_WRITE : 0);
    mrmr_err err = drv_file_open_stat(drv, path, flags, 0, ret_file, ret_stat);
    if (writing && mrmr_class_of(err) == MRMR_CLASS_DENIED)
        err = drv_file_open_stat(drv, path, DRV_OPEN_WRITE, 0, ret_file, ret_stat);
    return err;
}

static mrmr_err opening_path(const char *path, void *arg)
{
    struct opening *opening = arg;
    struct pool_tree_file *file = opening->file;
    struct tree_spot spot = file->spot;
    spot.drive = opening->drive = file->drive;
    opening->asked = mrmr_clock_real();
    struct tree_drive *own = &file->tree->drive[spot.drive];
    drv_file_close(opening->original);
    opening->original = NULL;
    mrmr_err err = tree_live(own) ? tree_open_original(own->drive->drv, path, file->writing,
                                        &opening->original, &opening->stat)
                                  : mrmr_fail(MRMR_OFFLINE, NULL);
    if (!err)
        err = tree_check_stat(file->tree, &spot, path, &opening->stat);
    opening->answered = !err;
    if (tree_silent(own, err))
        err = opening_catalog(opening, path);
    return mrmr_err_drive(err, own->drive->meta.name);
}

/* It takes the place of the one before. */
static mrmr_err opening_take(struct opening *opening)
{
    struct pool_tree_file *file = opening->file;
    struct tree_original *original =
                             tree_original_new(mrmr_steal(opening->original), opening->stat.ino),
                         *old;
    if (!original)
        return mrmr_nomem();
    bool there;
    {
        mrmr_locked(&file->tree->lock);
        mrmr_locked(&file->lock);
        there = file->drive == opening->drive;
        old = there ? file->original : original;
        original->seen = (struct tree_seen_file){
            true, opening->stat.mtime, opening->stat.size, file->node->writes};
        file->original = there ? original : file->original;
    }
    tree_original_put(old);
    return there ? MRMR_OK : mrmr_fail(MRMR_OFFLINE, "it was brought elsewhere just now");
}

/* A store through a mapping changes no times where the page is to be written back already. */
static const int64_t stores_hide = 60 * MRMR_NS_PER_S;

/* Somebody may be changing it through what he has open. Old as before where the drive cannot tell. */
static bool opened_written(const struct opening *opening)
{
    const int64_t age = opening->asked - opening->stat.mtime;
    if (opening->file->writing)
        return true;
    struct tree_original *original = tree_original_of_file(opening->file);
    bool written = true;
    if (age > stores_hide)
        written = false;
    else if (original && drv_file_is_written(original->file, &written))
        written = age <= 2 * tree_second;
    tree_original_put(original);
    return written;
}

/* Whoever changes it from now on gives it other times than it has. Of a drive that tells nothing, as
 * one of another machine, nobody knows how its clock goes: there an open is as good as remote-ttl, and nothing is claimed. */
static bool opened_late(const struct opening *opening)
{
    const struct tree_drive *drive = &opening->file->tree->drive[opening->drive];
    if (drive->silent)
        return opening->asked - opening->stat.mtime > 2 * tree_second;
    return pool_tick_over(&drive->drive->info, &opening->stat, opening->asked) &&
           !opened_written(opening);
}

/* Nothing has changed since the last open, as far as events and attributes tell. Two changes in quick
 * succession may leave the same times behind: what the last open found must have been older then. */
static bool opened_same(struct opening *opening)
{
    struct tree_node *node = opening->file->node;
    const bool late = opening->answered && opened_late(opening);
    mrmr_locked(&opening->file->tree->lock);
    bool same = opening->answered && node->open_late && node->open_mtime == opening->stat.mtime &&
                node->open_ctime == opening->stat.ctime && node->open_size == opening->stat.size &&
                node->open_changes == node->changes;
    node->open_late = late;
    node->open_mtime = opening->stat.mtime;
    node->open_ctime = opening->answered ? opening->stat.ctime : -1;
    node->open_size = opening->stat.size;
    node->open_changes = node->changes;
    return same;
}

/* A change through another name of it, which no event told of: whoever keeps its attributes asks for them
 * again, and not only once it is open: he would read to the end that it had. */
static void opened_tells(const struct opening *opening)
{
    struct pool_tree *tree = opening->file->tree;
    struct tree_node *node = opening->file->node;
    const struct drv_stat *stat = &opening->stat;
    struct pool_attr now;
    if (!opening->answered)
        return;
    tree_attr_seen(tree, opening->drive, stat, &now);
    {
        mrmr_locked(&tree->lock);
        const struct tree_shown *shown = &node->shown;
        if (!shown->is ||
            (shown->mtime == stat->mtime && shown->size == stat->size && shown->nlink == now.nlink))
            return;
        node->shown.is = false;
    }
    tree_tell_node(tree, node->number, false);
}

/* No name leads to it any more, but somebody has it open: his descriptor serves this one, too. */
static mrmr_err opening_share(struct opening *opening)
{
    struct pool_tree_file *file = opening->file;
    struct tree_original *original = tree_original_of_node(file->tree, file->node, file->writing);
    if (!original)
        return mrmr_fail(MRMR_ABSENT, NULL);
    opening->drive = file->drive;
    opening->asked = mrmr_clock_real();
    mrmr_err err = drv_file_stat(original->file, &opening->stat);
    opening->answered = !err;
    if (err) {
        tree_original_put(original);
        return err;
    }
    mrmr_locked(&file->lock);
    file->original = original;
    return MRMR_OK;
}

enum { OPEN_TRIES = 8 };

/* It was opened, or looked for, where it is no more. While it is being brought it is absent: whoever opens it
 * looks it up again then, which waits (tree_look.c). */
static bool opening_moved(const struct opening *opening, mrmr_err err)
{
    return (err == MRMR_OFFLINE || mrmr_class_of(err) == MRMR_CLASS_ABSENT) &&
           opening->drive != opening->file->drive;
}

/* Where it lies, also if it is brought elsewhere meanwhile. */
static mrmr_err opening_run(struct opening *opening)
{
    struct pool_tree_file *file = opening->file;
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        opening->drive =
            file->drive; /* also if no name leads to it, so that nothing is looked for */
        err = tree_by_path(file->tree, file->node, opening_path, opening);
        if (!err && opening->answered)
            err = opening_take(opening);
        if (!opening_moved(opening, err))
            break;
    }
    return err;
}

static mrmr_err file_open(struct pool_tree_file *file, bool *ret_same)
{
    struct opening opening = {.file = file};
    tree_file_link(file);
    mrmr_err err = opening_run(&opening);
    drv_file_close(opening.original);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = opening_share(&opening);
    MRMR_TRY(err);
    file->btime = opening.answered ? opening.stat.btime : opening.known.btime;
    file->ctime = opening.answered ? opening.stat.ctime : opening.known.ctime;
    file->mtime = opening.answered ? opening.stat.mtime : opening.known.mtime;
    file->size = opening.answered ? opening.stat.size : opening.known.size;
    *ret_same = opened_same(&opening);
    opened_tells(&opening);
    return MRMR_OK;
}

static mrmr_err file_new(
    struct pool_tree *tree, uint64_t number, bool writing, struct pool_tree_file **ret_file)
{
    struct pool_tree_file *file = calloc(1, sizeof *file);
    if (!file)
        return mrmr_nomem();
    file->tree = tree;
    file->writing = writing;
    pthread_mutex_init(&file->lock, NULL);
    *ret_file = file;
    MRMR_TRY(tree_node(tree, number, false, &file->node));
    file->spot = tree_spot(tree, file->node);
    return MRMR_OK;
}

mrmr_err tree_file_made(struct pool_tree *tree, struct tree_node *node, struct drv_file *original,
    const struct drv_stat *stat, struct pool_tree_file **ret_file)
{
    struct pool_tree_file *file = NULL;
    mrmr_err err = file_new(tree, node->number, true, &file);
    struct opening opening = {.file = file, .original = original, .stat = *stat};
    if (!err) {
        tree_file_link(file);
        opening.drive = file->drive;
        err = opening_take(&opening);
        file->btime = stat->btime;
        file->ctime = stat->ctime;
        file->mtime = stat->mtime;
        file->size = stat->size;
    }
    drv_file_close(opening.original);
    if (err)
        pool_tree_file_close(file);
    else
        *ret_file = file;
    return err;
}

mrmr_err pool_tree_file_open(struct pool_tree *tree, uint64_t number, bool writing,
    struct pool_tree_file **ret_file, bool *ret_same)
{
    struct pool_tree_file *file = NULL;
    mrmr_err err = file_new(tree, number, writing, &file);
    if (!err && writing && !pool_tree_writable(tree))
        err = mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    if (!err && file->spot.kind != POOL_REG)
        err = file->spot.kind == POOL_DIR ? mrmr_fail(MRMR_IS_DIR, NULL)
                                          : mrmr_fail(MRMR_INVALID, "not a regular file");
    if (!err)
        err = file_open(file, ret_same);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        pool_tree_file_close(file);
        return mrmr_story_restore(&story);
    }
    *ret_file = file;
    return MRMR_OK;
}

void pool_tree_file_close(struct pool_tree_file *file)
{
    if (!file)
        return;
    pool_tree_file_undirect(file); /* whoever could be told of it has gone */
    tree_file_unlink(file);
    if (file->made)
        leaf_cache_leave(file->tree->leaves, file->made);
    pool_file_close(file->made);
    tree_original_put(file->original);
    tree_put(file->tree, file->node);
    pthread_mutex_destroy(&file->lock);
    free(file);
}

/* The node is not what was opened any more: it was removed, and something else may have its number. */
static bool file_is_dead(struct pool_tree_file *file)
{
    mrmr_locked(&file->tree->lock);
    return file->node->gone || file->node->births != file->births;
}

void tree_file_open_again(struct pool_tree_file *file)
{
    struct opening opening = {.file = file};
    if (file_is_dead(file))
        return;
    mrmr_err err = tree_by_path(file->tree, file->node, opening_path, &opening);
    bool same = opening.stat.size == file->size && opening.stat.mtime == file->mtime;
    bool born = file->brought || opening.stat.btime == file->btime;
    if (!err && opening.answered && born && (same || file->writing || file->brought)) {
        err = opening_take(&opening);
        file->btime = opening.stat.btime;
        file->ctime = same ? opening.stat.ctime : file->ctime;
    }
    drv_file_close(opening.original);
    if (err)
        mrmr_log_story(MRMR_LOG_INFO, "opening a file again on a drive that came back");
}

struct tree_original *tree_original_now(struct pool_tree_file *file)
{
    if (tree_replaced_look(file->tree)) {
        mrmr_log_story(MRMR_LOG_WARN, "whether an open file was repaired is not known");
        return NULL;
    }
    struct tree_original *original = tree_original_of_file(file);
    if (original || !tree_live(&file->tree->drive[file->drive]))
        return original;
    tree_file_open_again(file);
    return tree_original_of_file(file);
}
