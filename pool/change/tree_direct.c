/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that the kernel reads and writes without asking (passthrough): which ones may be, and until
 * when they are. direct.h says what those who protect need to know, and has the argument for it.
 *
 * States of a node's record here:
 *
 *     none -> busy       the first of its files wants to be used directly
 *     busy -> serving    nothing counts on it, it is recorded, and the kernel has it
 *     busy -> none       something does, or the kernel or the drive cannot: all are ordinary
 *     serving -> waiting the last of its files is closed; a mapping of one may go on for ever, for the
 *                        kernel lets go of the file then, and keeps what lies below
 *     waiting -> busy    the drive is asked who writes it, or another file is opened
 *     busy -> waiting    somebody does
 *     busy -> none       nobody; or the drive is gone, and who does is not known: left behind
 *
 * Invariants. While the record is there, and not busy for the first time, the inode is recorded in the
 * pool's folder, no stripe counts on it, and its node is counted among those that are written: nobody is
 * told to keep its attributes for more than a moment. What events tell of its bytes is taken for the
 * work of whoever uses it directly; when the record goes, the kernel is told that they may be others. The
 * inode is held open by `anchor`, so nothing else has its number. A node does not have files that are used
 * directly beside such as are not.
 *
 * What has no name (O_TMPFILE) is ordinary: it is opened anew for the anchor, which must not be open
 * for writing, or the drive would always say that somebody writes it.
 */
#include "pool/change/tree_change.h"
#include "pool/records/direct.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_stay.h"
#include "pool/tree/tree_sync.h"
#include "pool/tree/tree_watch.h"

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

static const int64_t pause_first = 20 * 1000 * 1000, pause_most = MRMR_NS_PER_S;

struct tree_direct {
    struct tree_node *node; /* counted */
    size_t drive;
    uint64_t ino;
    struct drv_file *anchor; /* NULL: not yet */
    bool recorded;
    unsigned place; /* of the record */

    /* Guarded by the tree's lock. */
    struct tree_direct *next, **at;
    bool busy;              /* with whoever made it so; others wait */
    unsigned files;         /* that are used directly; 0: waiting */
    int number;             /* that stands for it */
    int64_t look_at, pause; /* monotonic: when the drive is asked; while waiting */
};

struct tree_directs {
    struct pool_direct *records;
    atomic_bool on, told;
    pthread_t thread;
    bool threaded;
    pthread_cond_t wake;
    /* Guarded by the tree's lock. */
    bool stop;
    struct tree_direct *first;
};

/* --- life --- */

static void direct_unlink_locked(struct pool_tree *tree, struct tree_direct *direct)
{
    *direct->at = direct->next;
    if (direct->next)
        direct->next->at = direct->at;
    direct->node->direct = NULL;
    direct->node->writers--;
    if (direct->recorded) { /* others may have written to it, too, and nobody was told */
        direct->node->changes++;
        tree_later_locked(tree, TREE_TELL, direct->node->number, "");
    }
    direct->node->own_until = mrmr_clock_monotonic() + tree_own_window;
    pthread_cond_broadcast(&tree->moved);
}

/* It is not in the tree any more. */
static void direct_free(struct pool_tree *tree, struct tree_direct *direct)
{
    drv_file_close(direct->anchor);
    tree_put(tree, direct->node);
    free(direct);
}

static void direct_drop(struct pool_tree *tree, struct tree_direct *direct)
{
    {
        mrmr_locked(&tree->lock);
        direct_unlink_locked(tree, direct);
    }
    direct_free(tree, direct);
}

static struct tree_direct *direct_new_locked(struct pool_tree *tree, struct tree_node *node)
{
    struct tree_directs *directs = tree->directs;
    struct tree_direct *direct = calloc(1, sizeof *direct);
    if (!direct)
        return NULL;
    direct->node = node;
    tree_ref_locked(node);
    direct->next = directs->first;
    if (direct->next)
        direct->next->at = &direct->next;
    direct->at = &directs->first;
    directs->first = direct;
    if (!node->writers++ && node->kept)
        tree_later_locked(tree, TREE_TELL_ATTRS, node->number, "");
    node->kept = false;
    return node->direct = direct;
}

/* --- beginning --- */

struct anchoring {
    struct pool_tree *tree;
    size_t drive;
    uint64_t ino; /* that it must be */
    struct drv_file *file;
};

static mrmr_err anchor_at(const char *path, void *arg)
{
    struct anchoring *anchoring = arg;
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct drv_stat stat;
    MRMR_TRY(drv_file_open_stat(
        anchoring->tree->drive[anchoring->drive].drive->drv, path, DRV_OPEN_READ, 0, &file, &stat));
    if (stat.ino != anchoring->ino)
        return mrmr_fail(MRMR_ABSENT, NULL);
    anchoring->file = mrmr_steal(file);
    return MRMR_OK;
}

/* What the drive has to be able to do is tried. */
static mrmr_err anchor(
    struct pool_tree *tree, struct tree_direct *direct, const struct tree_original *original)
{
    struct anchoring anchoring = {
        .tree = tree, .drive = direct->drive, .ino = tree_original_ino(original)};
    bool written;
    if (!anchoring.ino)
        return mrmr_fail(MRMR_UNSUPPORTED, "the drive has no inode numbers");
    MRMR_TRY(tree_by_path(tree, direct->node, anchor_at, &anchoring));
    direct->anchor = anchoring.file;
    direct->ino = anchoring.ino;
    return drv_file_is_written(direct->anchor, &written);
}

/* Recorded first, and then looked at what counts: direct.h. A repair may have replaced the file
 * until the writers were entered. */
static mrmr_err record_among(
    struct pool_tree *tree, struct tree_direct *direct, struct pool_tree_file *file, uint64_t epoch)
{
    const struct tree_inode inode = {direct->drive, direct->ino};
    struct tree_original *original = tree_original_of_file(file);
    bool same = original && tree_original_ino(original) == direct->ino, counts = true;
    tree_original_put(original);
    if (!same)
        return mrmr_fail(MRMR_CHANGED, "it was replaced just now");
    MRMR_TRY(pool_direct_add(tree->directs->records, tree->drive[direct->drive].drive->meta.id,
        direct->ino, &direct->place));
    mrmr_err err = tree_keep_counts(tree, direct->node, &inode, epoch, &counts);
    if (!err && counts)
        err = mrmr_fail(MRMR_CONFLICT, "bytes of it are protected");
    if (err)
        pool_direct_remove(tree->directs->records, direct->place);
    direct->recorded = !err;
    return err;
}

static mrmr_err record(
    struct pool_tree *tree, struct tree_direct *direct, struct pool_tree_file *file)
{
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(tree, &epoch));
    mrmr_err err = record_among(tree, direct, file, epoch);
    tree_change_end(tree);
    return err;
}

/* Nobody is bringing it elsewhere. */
static mrmr_err begin_staying(
    struct pool_tree *tree, struct tree_direct *direct, struct pool_tree_file *file)
{
    direct->drive = tree_file_drive(file);
    struct tree_original *original = tree_original_of_file(file);
    mrmr_err err = original ? anchor(tree, direct, original)
                            : mrmr_fail(MRMR_OFFLINE, "the drive of this file is away");
    tree_original_put(original);
    return err ? err : record(tree, direct, file);
}

/* Who begins once more finds it recorded still. */
static mrmr_err begin(struct pool_tree *tree, struct tree_direct *direct,
    struct pool_tree_file *file, int *ret_descriptor)
{
    if (!direct->anchor) {
        tree_stay_begin(tree, direct->node);
        mrmr_err err = begin_staying(tree, direct, file);
        tree_stay_end(tree, direct->node);
        MRMR_TRY(mrmr_err_drive(err, tree->drive[direct->drive].drive->meta.name));
    }
    return mrmr_err_drive(drv_file_descriptor(direct->anchor, ret_descriptor),
        tree->drive[direct->drive].drive->meta.name);
}

/* That bytes are protected, or that it has no name, is nothing to tell of; what a drive cannot do, once. */
static void tell_once(struct tree_directs *directs, mrmr_err err)
{
    if (err == MRMR_CONFLICT || mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return;
    if (!atomic_exchange(&directs->told, true))
        mrmr_log_story(MRMR_LOG_WARN,
            "passthrough: a file is served the ordinary way, as others will be without a word");
}

/* --- in use --- */

static int join_locked(struct pool_tree_file *file, struct tree_direct *direct, int number)
{
    direct->files++;
    direct->number = number;
    *tree_file_way_locked(file) = TREE_WAY_DIRECT;
    return number;
}

/* NULL, with *ret_number: it is known what it is; else it is to be found out. */
static struct tree_direct *choose(
    struct pool_tree *tree, struct pool_tree_file *file, bool *ret_new, int *ret_number)
{
    struct tree_node *node = tree_file_node(file);
    mrmr_locked(&tree->lock);
    while (node->direct && node->direct->busy)
        pthread_cond_wait(&tree->moved, &tree->lock);
    struct tree_direct *direct = node->direct;
    *ret_number = direct && direct->files ? join_locked(file, direct, direct->number) : 0;
    if (*ret_number)
        return NULL;
    *ret_new = !direct;
    if (tree_node_ordinary_locked(node))
        direct = NULL;
    else if (!direct)
        direct = direct_new_locked(tree, node);
    if (direct)
        direct->busy = true;
    else
        *tree_file_way_locked(file) = TREE_WAY_ORDINARY;
    return direct;
}

static void wait_locked(struct pool_tree *tree, struct tree_direct *direct, int64_t pause)
{
    direct->pause = pause;
    direct->look_at = mrmr_clock_monotonic() + pause;
    pthread_cond_signal(&tree->directs->wake);
}

/* The kernel has it, or not: then what was recorded for this is forgotten, and what waited waits on. */
static void chosen(struct pool_tree *tree, struct pool_tree_file *file, struct tree_direct *direct,
    bool new, int number)
{
    mrmr_locked(&tree->lock);
    direct->busy = false;
    if (number)
        join_locked(file, direct, number);
    else
        *tree_file_way_locked(file) = TREE_WAY_ORDINARY;
    if (!number && new)
        direct_unlink_locked(tree, direct);
    else if (!number)
        wait_locked(tree, direct, pause_first);
    pthread_cond_broadcast(&tree->moved);
}

static int try(struct pool_tree *tree, struct pool_tree_file *file, struct tree_direct *direct,
    bool new, int (*give)(int descriptor, void *arg), void *arg)
{
    mrmr_autoclose int descriptor = -1;
    mrmr_err err = begin(tree, direct, file, &descriptor);
    int number = err ? 0 : give(descriptor, arg);
    if (err)
        tell_once(tree->directs, err);
    if (!number && new && direct->recorded)
        pool_direct_remove(tree->directs->records, direct->place);
    chosen(tree, file, direct, new, number);
    if (!number && new)
        direct_free(tree, direct);
    return number;
}

int pool_tree_file_direct(
    struct pool_tree_file *file, int (*give)(int descriptor, void *arg), void *arg)
{
    struct pool_tree *tree = tree_file_tree(file);
    struct tree_node *node = tree_file_node(file);
    bool new;
    int number;
    if (!tree->directs || !tree->directs->on)
        return 0;
    struct tree_direct *direct = choose(tree, file, &new, &number);
    if (direct)
        number = try(tree, file, direct, new, give, arg);
    if (number && tree_file_writes(file)) {
        tree_file_written(tree, node);
        tree_owe(tree, node, tree_file_drive(file));
    }
    return number;
}

int pool_tree_file_undirect(struct pool_tree_file *file)
{
    struct pool_tree *tree = tree_file_tree(file);
    struct tree_node *node = tree_file_node(file);
    mrmr_locked(&tree->lock);
    enum tree_way *way = tree_file_way_locked(file);
    bool was = *way == TREE_WAY_DIRECT;
    *way = TREE_WAY_OWN;
    if (!was || --node->direct->files)
        return 0;
    wait_locked(tree, node->direct, pause_first);
    return node->direct->number;
}

const struct tree_node *tree_direct_on_locked(const struct pool_tree *tree, size_t drive)
{
    for (const struct tree_direct *at = tree->directs ? tree->directs->first : NULL; at;
         at = at->next)
        if (at->drive == drive)
            return at->node;
    return NULL;
}

bool tree_direct_has(struct pool_tree *tree, const struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    return node->direct;
}

mrmr_err tree_direct_recorded(
    struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_recorded)
{
    *ret_recorded = false;
    return tree->directs ? pool_direct_has(tree->directs->records,
                               tree->drive[drive].drive->meta.id, ino, ret_recorded)
                         : MRMR_OK;
}

/* --- whether it still is --- */

/* *ret_written: wait on. Else its record is not needed any more, or is left behind. */
static void look(struct pool_tree *tree, struct tree_direct *direct, bool *ret_written)
{
    mrmr_err err = drv_file_is_written(direct->anchor, ret_written);
    if (err) {
        mrmr_log_story(MRMR_LOG_INFO, "whether a file is in use directly is not known any more");
        *ret_written = false;
        pool_direct_leave(tree->directs->records, direct->place);
    } else if (!*ret_written) {
        pool_direct_remove(tree->directs->records, direct->place);
    }
}

/* The next one to be looked at, which is busy then; NULL: stop. */
static struct tree_direct *look_next(struct pool_tree *tree)
{
    struct tree_directs *directs = tree->directs;
    mrmr_locked(&tree->lock);
    while (!directs->stop) {
        int64_t now = mrmr_clock_monotonic(), until = now + MRMR_NS_PER_S;
        for (struct tree_direct *direct = directs->first; direct; direct = direct->next) {
            if (direct->busy || direct->files)
                continue;
            if (direct->look_at <= now) {
                direct->busy = true;
                return direct;
            }
            until = direct->look_at < until ? direct->look_at : until;
        }
        struct timespec at = mrmr_clock_to_timespec(until);
        pthread_cond_timedwait(&directs->wake, &tree->lock, &at);
    }
    return NULL;
}

static void look_at(struct pool_tree *tree, struct tree_direct *direct)
{
    bool written;
    look(tree, direct, &written);
    if (!written) {
        direct_drop(tree, direct);
        return;
    }
    mrmr_locked(&tree->lock);
    direct->busy = false;
    wait_locked(tree, direct, direct->pause < pause_most / 2 ? 2 * direct->pause : pause_most);
    pthread_cond_broadcast(&tree->moved);
}

static void *looks_run(void *arg)
{
    struct pool_tree *tree = arg;
    for (struct tree_direct *direct; (direct = look_next(tree)) != NULL;)
        look_at(tree, direct);
    return NULL;
}

mrmr_err tree_direct_start(struct pool_tree *tree)
{
    pthread_condattr_t attr;
    if (!pool_tree_writable(tree))
        return MRMR_OK;
    struct tree_directs *directs = calloc(1, sizeof *directs);
    if (!directs)
        return mrmr_nomem();
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&directs->wake, &attr);
    pthread_condattr_destroy(&attr);
    tree->directs = directs;
    return pool_direct_open(tree->pool->dirfd, &directs->records);
}

mrmr_err pool_tree_direct(struct pool_tree *tree)
{
    if (!tree->directs)
        return mrmr_err_hint(mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written"),
            "mount without passthrough");
    int err = pthread_create(&tree->directs->thread, NULL, looks_run, tree);
    if (err)
        return mrmr_fail_errno(err, "start thread", "");
    tree->directs->threaded = true;
    tree->directs->on = true;
    return MRMR_OK;
}

/* No file is open any more; what is mapped still is left behind. */
void tree_direct_stop(struct pool_tree *tree)
{
    struct tree_directs *directs = tree->directs;
    if (!directs)
        return;
    {
        mrmr_locked(&tree->lock);
        directs->stop = true;
        pthread_cond_signal(&directs->wake);
    }
    if (directs->threaded)
        pthread_join(directs->thread, NULL);
    while (directs->first) {
        struct tree_direct *direct = directs->first;
        bool written;
        look(tree, direct, &written);
        if (written)
            pool_direct_leave(directs->records, direct->place);
        direct_drop(tree, direct);
    }
    pool_direct_close(directs->records);
    pthread_cond_destroy(&directs->wake);
    free(directs);
    tree->directs = NULL;
}
