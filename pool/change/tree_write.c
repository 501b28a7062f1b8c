/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes of open files that change: writes, sizes, holes, copies.
 *
 * Each is one change (tree_keep.c): among the writers, what counts of the part that it touches is
 * kept, the drive does it, and only then the caller is told. Nothing is held back. What is kept is
 * kept as the process; bytes that may take room are written as whom the file was opened for.
 *
 * An append goes to where the file ends on its drive, asked for at that moment, and not to where whoever
 * appends believes it to end: what was appended on the drive since would be written over. One append at a
 * time of a node. Crash argument: it is a write from there on, of bytes that nothing counts on; what
 * counts of the leaf in which the file ends is kept before, as of any write.
 *
 * Of one that fails nothing stays: whoever is told so appends it again, behind what is there. What a drive took of it
 * is cut off, still as the node's one appender and among the writers: the file ends where it did, nothing counts on
 * what goes, and a cut before that leaves what a cut append leaves anywhere. Where somebody's bytes on the drive
 * lie there by then, all of it stays. Where a drive gives no answer, one that is tried again goes to the same
 * place, or bytes would be there twice.
 *
 * A resize changes what lies between where the file ends and where it will, which is asked for among the writers as an append's place is: so
 * much is kept, and noted as written (written.h). Whoever else changes the end meanwhile, before this one is done, is among the same writers,
 * from before his look at it or his note to after his change, and no commit begins or ends while any of them is. So each byte that one of them cuts off
 * without having seen it was noted by who put it there, in the same stretch without a commit; and of what lies before the lesser end none changed,
 * whoever cuts and grows again, at once or after another. O_TRUNC is a resize to nothing; what is punched out at the end is noted as any range, and
 * an append behind a cut from where the file ends then. Who changes the end on the drive itself beside all that is seen where the file is shorter
 * at the commit than what is claimed of it, or by the next scan (stripe.c).
 *
 * What a drive has no room for lets the file go to another (tree_bring.c): if that drive says so itself, of bytes. Where
 * the pool's folder has none for the record of the change, or no file may be that large, another drive is no help.
 */
#include "pool/change/tree_change.h"
#include "pool/change/tree_room.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_stay.h"
#include "pool/tree/tree_sync.h"
#include "pool/tree/tree_watch.h"

#include "base/cleanup.h"
#include "base/log.h"
#include <string.h>

/* What is done to an original. */
struct change {
    struct pool_tree *tree;
    struct tree_node *node;
    size_t drive;
    uint64_t from, to;                /* bytes that are touched */
    bool keeps;                       /* what is there stays as it is */
    bool cuts;                        /* it is going to end at `from` */
    const struct pool_caller *caller; /* who needs the room; NULL: nobody, or the process */
    mrmr_err (*fn)(struct drv_file *file, void *arg);
    void *arg;
    mrmr_err (*place)(struct change *change, struct drv_file *file); /* NULL: it is known which */
    struct writing *appends;                                         /* NULL: it does not */
};

struct writing {
    uint64_t offset;
    const void *buf;
    size_t size;
    bool begun; /* some of it may be written */
    bool stays; /* so it is, of an append that failed */
};

static _Thread_local const struct pool_caller *changing_as;

void pool_tree_change_as(const struct pool_caller *caller)
{
    changing_as = caller;
}

/* As who opened the file, so that it is his room that is taken; of one that may have set-id bits as who
 * writes: the drive's own kernel knows best whose change costs them. What is kept before is none of
 * the caller's business, and not done as the caller. */
static mrmr_err change_as(const struct change *change, struct drv_file *file)
{
    __attribute__((cleanup(tree_act_end), unused)) int acting = 0;
    if (changing_as)
        tree_act_begin(changing_as);
    else
        tree_act_bytes_begin(change->caller);
    return change->fn(file, change->arg);
}

/* Where the file ends now. */
static mrmr_err append_place(struct change *change, struct drv_file *file)
{
    struct writing *writing = change->appends;
    struct drv_stat stat;
    if (writing->begun)
        return MRMR_OK;
    MRMR_TRY(drv_file_stat(file, &stat));
    if (stat.size > INT64_MAX - writing->size)
        return mrmr_fail(MRMR_INVALID, "a file is not that large");
    writing->offset = change->from = stat.size;
    change->to = stat.size + writing->size;
    return MRMR_OK;
}

/* What goes, or comes. */
static mrmr_err resize_place(struct change *change, struct drv_file *file)
{
    const uint64_t size = *(const uint64_t *)change->arg;
    struct drv_stat stat;
    MRMR_TRY(drv_file_stat(file, &stat));
    change->cuts = size < stat.size;
    change->from = change->cuts ? size : stat.size;
    change->to = change->cuts ? stat.size : size;
    return MRMR_OK;
}

/* From where it began to the file's end there is nothing but what was to be appended. */
static mrmr_err append_is_ours(
    struct drv_file *file, const struct writing *writing, uint64_t end, bool *ret_ours)
{
    enum { PIECE = 16 << 10 };
    uint8_t piece[PIECE];
    size_t got;
    *ret_ours = end - writing->offset <= writing->size;
    for (uint64_t at = writing->offset; *ret_ours && at < end; at += got) {
        const size_t want = end - at < PIECE ? (size_t)(end - at) : PIECE;
        MRMR_TRY(drv_file_read(file, at, piece, want, &got));
        const uint8_t *wrote = (const uint8_t *)writing->buf + (at - writing->offset);
        *ret_ours = got && memcmp(piece, wrote, got) == 0;
    }
    return MRMR_OK;
}

static mrmr_err append_cut_off(struct drv_file *file, struct writing *writing)
{
    struct drv_stat stat;
    bool ours = false;
    MRMR_TRY(drv_file_stat(file, &stat));
    if (stat.size > writing->offset) {
        MRMR_TRY(append_is_ours(file, writing, stat.size, &ours));
        if (ours)
            MRMR_TRY(drv_file_truncate(file, writing->offset));
        writing->stays = writing->stays || !ours;
    }
    writing->begun = false;
    return MRMR_OK;
}

/* It failed. Returns the error of the moment. */
static mrmr_err append_taken_back(struct drv_file *file, struct writing *writing)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (append_cut_off(file, writing))
        mrmr_log_story(MRMR_LOG_DEBUG, "taking back a part of an append");
    return mrmr_story_restore(&story);
}

/* What the drive says is its own word (tree_place_full); what is kept before may be the pool's folder's. */
static mrmr_err change_made(
    struct change *change, const struct tree_original *original, uint64_t epoch)
{
    const char *name = change->tree->drive[change->drive].drive->meta.name;
    const struct tree_inode inode = {change->drive, tree_original_ino(original)};
    struct drv_file *file = tree_original_file(original);
    if (change->place)
        MRMR_TRY(mrmr_err_drive(change->place(change, file), name));
    /* What only grows is noted all the same: the catalog does not have it as it is from now on. */
    MRMR_TRY(tree_keep_bytes(change->tree, change->node, &inode, file,
        change->keeps ? 0 : change->from, change->keeps ? 0 : change->to, epoch));
    if (change->cuts)
        tree_keep_cut(change->tree, change->node, change->from);
    tree_file_written(change->tree, change->node);
    tree_owe(change->tree, change->node, change->drive);
    mrmr_err err = mrmr_err_drive(change_as(change, file), name);
    if (err && change->appends)
        err = append_taken_back(file, change->appends);
    tree_owe(change->tree, change->node, change->drive);
    tree_own_node(change->tree, change->node);
    return err;
}

static mrmr_err change_run(struct change *change, struct tree_original *original, uint64_t epoch)
{
    return original ? change_made(change, original, epoch)
                    : mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "the drive of this file is away"),
                          change->tree->drive[change->drive].drive->meta.name);
}

static mrmr_err change_try(struct pool_tree_file *file, struct change *change)
{
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(change->tree, &epoch));
    struct tree_original *original = tree_original_now(file);
    mrmr_err err = change_run(change, original, epoch);
    tree_original_put(original);
    tree_change_end(change->tree);
    return err;
}

/* On an open file, which is opened again if its drive went and is back, or it lies elsewhere now. */
static mrmr_err change_once(struct pool_tree_file *file, struct change *change)
{
    change->drive = tree_file_drive(file);
    mrmr_err err = change_try(file, change);
    if (err != MRMR_OFFLINE || !tree_live(&change->tree->drive[change->drive]))
        return err;
    tree_file_open_again(file);
    return change_try(file, change);
}

static mrmr_err change_stay(struct pool_tree_file *file, struct change *change)
{
    tree_stay_begin(change->tree, change->node);
    mrmr_err err = change_once(file, change);
    tree_stay_end(change->tree, change->node);
    return err;
}

/* What another drive could do. */
static bool may_leave(struct change *change, mrmr_err err)
{
    return tree_place_full(change->tree, change->drive, change->to - change->from, false, err) ||
           tree_drive_failed(&change->tree->drive[change->drive], err);
}

/* It may have got room while it was asked whether it has any, as when another file has left it. */
static mrmr_err change_here(struct pool_tree_file *file, struct change *change)
{
    mrmr_err err = change_stay(file, change);
    return err != MRMR_SPACE || may_leave(change, err) ? err : change_stay(file, change);
}

/* A drive that is full, or away, lets the file go to another. */
static mrmr_err change_file(struct pool_tree_file *file, struct change *change)
{
    mrmr_err err = MRMR_OK;
    change->node = tree_file_node(file);
    change->caller = tree_file_caller(file);
    for (size_t i = 0; i < change->tree->ndrives; i++) {
        struct mrmr_story story;
        err = change_here(file, change);
        if (!may_leave(change, err))
            return err;
        mrmr_story_save(&story);
        if (tree_bring(change->tree, change->node, change->drive, change->to - change->from))
            return mrmr_story_restore(&story);
    }
    return err;
}

/* --- writing --- */

static mrmr_err write_now(struct drv_file *file, void *arg)
{
    struct writing *writing = arg;
    writing->begun = true;
    return drv_file_write(file, writing->offset, writing->buf, writing->size);
}

static mrmr_err write_file(struct pool_tree_file *file, struct writing *writing, bool appends)
{
    struct change change = {.tree = tree_file_tree(file),
        .from = writing->offset,
        .to = writing->offset + writing->size,
        .fn = write_now,
        .arg = writing,
        .place = appends ? append_place : NULL,
        .appends = appends ? writing : NULL};
    if (writing->size > INT64_MAX || writing->offset > INT64_MAX - writing->size)
        return mrmr_fail(MRMR_INVALID, "a file is not that large");
    if (!writing->size)
        return MRMR_OK;
    MRMR_TRY(change_file(file, &change));
    atomic_fetch_add(&change.tree->drive[change.drive].placed, writing->size);
    return MRMR_OK;
}

mrmr_err pool_tree_file_write(
    struct pool_tree_file *file, uint64_t offset, const void *buf, size_t size)
{
    struct writing writing = {.offset = offset, .buf = buf, .size = size};
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = write_file(file, &writing, false);
    while (tree_room_came(tree_file_tree(file), &room, err));
    return err;
}

/* --- appending --- */

static void append_begin(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    while (node->appending)
        pthread_cond_wait(&tree->moved, &tree->lock);
    node->appending = true;
}

static void append_end(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->appending = false;
    pthread_cond_broadcast(&tree->moved);
}

/* Whoever appended has these bytes in his pages at another place than the one where they are. He is not told
 * here: he may hold those pages until this request is answered. */
static void append_elsewhere(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->changes++;
    tree_later_locked(tree, TREE_TELL, node->number, "");
}

/* A part of it is left, or may be. Keeps the story. */
static void append_told(struct pool_tree *tree, struct tree_node *node, size_t drive)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct mrmr_story story;
    mrmr_story_save(&story);
    const bool named = tree_path(tree, node, &path) == MRMR_OK;
    mrmr_log(MRMR_LOG_WARN,
        "drive %s may have a part of an append that failed in %s: look at what was written to it "
        "last",
        tree->drive[drive].drive->meta.name, named ? path.data : "a file without a name");
    mrmr_story_restore(&story);
}

static mrmr_err append_tried(struct pool_tree_file *file, struct writing *writing)
{
    struct pool_tree *tree = tree_file_tree(file);
    struct tree_node *node = tree_file_node(file);
    append_begin(tree, node);
    mrmr_err err = write_file(file, writing, true);
    append_end(tree, node);
    if (writing->stays || (err && writing->begun))
        append_told(tree, node, tree_file_drive(file));
    return err;
}

/* While it waits for room others append: it goes where the file ends then. Of one of which a part stays,
 * none is tried again, or that would be there twice. */
mrmr_err pool_tree_file_append(
    struct pool_tree_file *file, uint64_t believed, const void *buf, size_t size)
{
    struct writing writing = {.offset = believed, .buf = buf, .size = size};
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = append_tried(file, &writing);
    while (!writing.stays && !writing.begun && tree_room_came(tree_file_tree(file), &room, err));
    if (writing.offset != believed)
        append_elsewhere(tree_file_tree(file), tree_file_node(file));
    return err;
}

/* --- its size --- */

static mrmr_err truncate_now(struct drv_file *file, void *arg)
{
    return drv_file_truncate(file, *(const uint64_t *)arg);
}

mrmr_err tree_truncate(struct pool_tree *tree, struct tree_node *node, size_t drive,
    struct tree_original *original, uint64_t size, uint64_t epoch)
{
    struct change change = {.tree = tree,
        .node = node,
        .drive = drive,
        .fn = truncate_now,
        .arg = &size,
        .place = resize_place};
    if (size > INT64_MAX)
        return mrmr_fail(MRMR_INVALID, "a file is not that large");
    return change_run(&change, original, epoch);
}

/* --- ranges --- */

struct ranging {
    enum drv_range what;
    uint64_t offset, size;
};

static mrmr_err range_now(struct drv_file *file, void *arg)
{
    const struct ranging *ranging = arg;
    return drv_file_range(file, ranging->what, ranging->offset, ranging->size);
}

static mrmr_err range_tried(
    struct pool_tree_file *file, enum pool_range what, uint64_t offset, uint64_t size)
{
    static const enum drv_range whats[] = {
        [POOL_RANGE_ALLOCATE] = DRV_RANGE_ALLOCATE,
        [POOL_RANGE_ALLOCATE_KEEP] = DRV_RANGE_ALLOCATE_KEEP,
        [POOL_RANGE_PUNCH] = DRV_RANGE_PUNCH,
        [POOL_RANGE_ZERO] = DRV_RANGE_ZERO,
        [POOL_RANGE_ZERO_KEEP] = DRV_RANGE_ZERO_KEEP,
    };
    struct ranging ranging = {whats[what], offset, size};
    struct change change = {.tree = tree_file_tree(file),
        .from = offset,
        .to = offset + size,
        .fn = range_now,
        .arg = &ranging};
    if (size > INT64_MAX || offset > INT64_MAX - size)
        return mrmr_fail(MRMR_INVALID, "a file is not that large");
    change.keeps = what == POOL_RANGE_ALLOCATE || what == POOL_RANGE_ALLOCATE_KEEP;
    return change_file(file, &change);
}

mrmr_err pool_tree_file_range(
    struct pool_tree_file *file, enum pool_range what, uint64_t offset, uint64_t size)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = range_tried(file, what, offset, size);
    while (tree_room_came(tree_file_tree(file), &room, err));
    return err;
}

/* --- copies --- */

struct copying {
    struct tree_original *from;
    uint64_t from_offset, to_offset, size, copied;
};

static mrmr_err copy_now(struct drv_file *file, void *arg)
{
    struct copying *copying = arg;
    return drv_file_copy(tree_original_file(copying->from), copying->from_offset, file,
        copying->to_offset, copying->size, &copying->copied);
}

mrmr_err pool_tree_file_copy(struct pool_tree_file *from, uint64_t from_offset,
    struct pool_tree_file *to, uint64_t to_offset, uint64_t size, uint64_t *ret_copied)
{
    struct copying copying = {NULL, from_offset, to_offset, size, 0};
    struct change change = {.tree = tree_file_tree(to),
        .from = to_offset,
        .to = to_offset + size,
        .fn = copy_now,
        .arg = &copying};
    if (size > INT64_MAX || to_offset > INT64_MAX - size)
        return mrmr_fail(MRMR_INVALID, "a file is not that large");
    copying.from = tree_original_now(from);
    if (!copying.from)
        return mrmr_fail(MRMR_OFFLINE, "the drive of these files is away");
    tree_stay_begin(change.tree, tree_file_node(to));
    change.node = tree_file_node(to);
    change.caller = tree_file_caller(to);
    mrmr_err err = tree_file_drive(from) == tree_file_drive(to)
                       ? change_once(to, &change)
                       : mrmr_fail(MRMR_CROSS_DEVICE, "the files lie on different drives");
    tree_stay_end(change.tree, tree_file_node(to));
    tree_original_put(copying.from);
    if (err == MRMR_SPACE)
        return mrmr_fail(MRMR_CROSS_DEVICE, "there is no room on this drive");
    if (!err)
        *ret_copied = copying.copied;
    return err;
}

/* --- durability --- */

mrmr_err pool_tree_file_sync(struct pool_tree_file *file)
{
    struct pool_tree *tree = tree_file_tree(file);
    struct tree_node *node = tree_file_node(file);
    uint64_t owed = tree_sync_begin(tree, node);
    struct tree_original *original = tree_original_now(file);
    mrmr_err err = original ? drv_file_sync(tree_original_file(original))
                            : mrmr_fail(MRMR_OFFLINE, "the drive of this file is away");
    tree_original_put(original);
    err = tree_sync_end(tree, node, owed, tree_file_seen(file), err);
    if (tree_direct_has(tree, node)) /* what is written next is not seen */
        tree_owe(tree, node, tree_file_drive(file));
    return mrmr_err_drive(err, tree->drive[tree_file_drive(file)].drive->meta.name);
}
