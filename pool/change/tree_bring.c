/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file is brought whole to another drive, because its own is full or away, and stays the node it
 * was: the same number, the same open descriptors.
 *
 * Changes of a node's file, its names and its attributes want it to stay where it is (tree_stay.c);
 * bringing waits for them, and they for it; but whoever changes its name does not wait for the copying: that
 * begins anew after him. Reading goes on meanwhile: both files have the same bytes.
 * A folder above it may be renamed while its bytes are copied, and not while it is looked at before that, nor from (2)
 * to (4), which are at one path (tree_paths.c).
 *
 * Crash argument. (1) The bytes, which are the catalog's and verified if the drive is away, also if it comes by
 * meanwhile, and the attributes go to
 * a temporary file of the other drive, under .mrmr/moving, which is synced: a cut leaves that, and
 * whoever opens the tree next clears it away. (2) A record `bring-<hex>` in the pool's folder says
 * from which drive to which, and the path, durably, and what both files are: their inodes, the copy's size and time,
 * which a rename keeps, and all the times of the one it comes from. (3) The temporary file gets the path, without
 * replacing, and the folder is synced, with those above it: from here on both drives have the file, whole and equal. (4)
 * The one it came from is removed as any other (tree_keep.c), if it is still what was copied; if its drive is away, that is
 * remembered, durably (gone.h). (5) The record gets another name, by which a release leaves alone
 * what stripes count on of the file until a scan has met the copy (brought.h); of a copy that is not wanted it goes. A cut before (4) leaves two equal copies: whoever opens
 * the tree next removes the one it came from, if both are there and what they were, once the other's name is
 * durable. No change is acknowledged before (5), and none after a cut before it is said which one is the file.
 *
 * A copy that has its path by (3), or may get it yet, since its drive hangs in that, and is not wanted after all, is removed,
 * durably. Where its drive does not let it, as one that has just stopped answering, it is recorded as one that may come late
 * (gone_late.c) before (5), and before its writer is told: it does not show, also once the file itself is written, brought
 * elsewhere or removed, and goes when it can. Where (4) fails, and the file may be there still, since its drive has just stopped
 * answering, the copy is the file from then on, and what was copied is recorded in the same way, for the drive on which it is: it does
 * not show beside the copy, which may be changed, when its drive is back, and goes. Where the one or the other cannot be recorded, as
 * in a pool's folder that is full, the record of (2) gets a name that says so, `late-<hex>` or `bring-over-<hex>`, for which there is always room,
 * durably, and by it it is recorded before the drive is live again. A cut before that leaves the record of (2).
 *
 * A cut leaves the record of (2), and it is judged before any of the two drives shows what it has there (tree_bring_record.c), by what
 * they have: so nobody has changed one of the two copies through us by then, and it does not matter that they differ in
 * nothing by which one could tell. Whoever opens the tree next does that, with each drive that is there. Where the
 * copy has its path, by its inode, and the drive of the file is away, the copy is the file from then on, and what its drive has is
 * recorded as removed, or late. Where the file is where it was, by its inode, and not recorded as removed, and the drive of
 * the copy is away, the file stays, and the copy is recorded as late. Of two that are both away it is done when the first one is
 * back, before it is live: then the other one is one that is away. So is one whose drive is there, and does not say what it
 * has by that path, or whose name cannot be made durable: nobody waits for a bad place. Where the copy's is such a one, and the file's
 * is away, it is done when that is back; if the copy's does not say it then either, it may have been changed through us, and both stay.
 *
 * What was judged is durable, as another name of the record, before anything is done for it, and before any of the two drives
 * shows what it has: `late-<hex>`, the copy goes, or `bring-over-<hex>`, the file does. So it is never judged anew by what the one that shows has
 * become since: it may be changed, renamed or removed through us. A cut, or a full folder, leaves that name, by which whoever opens the tree next,
 * and each return of one of the two drives, goes on; what goes is hidden until it can be recorded, since its drive is not live until then.
 * What was judged says nothing of how long the copy's drive is there: the file is neither taken nor recorded as what goes unless that drive
 * answers at that moment (I6). Where it is away by then, the file's drive, if it is back, is not live, and shows by the catalog, as where both
 * are away: so neither what was changed through us of the copy since is hidden by an older file, nor does the only one that there may be
 * go. That ends when the copy's drive is back, or when the pool has lost it: then the file is the file. Where that drive is there, and does not say
 * what it has, both stay.
 *
 * Of two that are both away what the catalog has of the file shows, and may be removed, or brought once more: that is recorded as removed
 * first (gone.h), then the copy as what is late, likewise, and then it is acknowledged; so the copy does not bring back what was removed. Both lie in the
 * one journal, by which no drive is live before it has what is recorded for it: so it does not matter whether somebody judges meanwhile, or has just judged
 * that the copy is the file. The records of the copies are read before anything is recorded; where one cannot be read, or the copy not be
 * recorded, what was recorded is taken back, and whoever removes is told that it failed.
 * The copy has the bytes of what was removed, whether the cut was before (4) or after it, if what the catalog has is, by inode, size and times, what was copied: else
 * it is another version, and is kept, as it would be on the drive that it came from. A cut in between leaves a removal that nobody was told of,
 * and the copy is the file.
 *
 * The limit: a folder above may be renamed while both are away. The record has the path of before: nothing is found by that when they are back, both
 * stay, and what was removed under the new name meanwhile is back with the copy.
 *
 * Where both drives are there, and the file was changed directly since while the copy is what it
 * was, it is the copy that is removed. That nobody has changed the file is by its change time, too: whoever edits it in place may set
 * its time back (I4). So it is on a drive that is away: what the catalog has of it is recorded as removed alone, and compared
 * when its change time is another one; what the catalog never had, or has seen changed after it was copied, is late with its change time, and kept if that is another one.
 * Where both were changed directly since, if only by their change times, both stay, and the log says so: their bytes are not compared, which
 * would keep whoever opens the tree waiting.
 *
 * It is copied to the next drive only for what the one before said itself: where the record cannot be written, or the file
 * not be taken from where it is, no other drive is better. Whether there is room for a record is tried before anything is
 * copied.
 */
#include "pool/change/tree_bring.h"
#include "pool/change/tree_change.h"
#include "pool/retained/retained.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree_stay.h"

#include "base/uuid.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is written directly goes to the inode that the kernel has. Whoever begins to use it so waits
 * until nobody is bringing it. */
static mrmr_err not_direct(struct pool_tree *tree, struct tree_node *node)
{
    return tree_direct_has(tree, node)
               ? mrmr_fail(MRMR_UNSUPPORTED, "a file that is in use directly stays on its drive")
               : MRMR_OK;
}

/* --- the record --- */

static struct tree_pair record_of(const struct bringing *b)
{
    return (struct tree_pair){
        .from = b->from, .to = b->to, .path = b->path.data, .file = b->stat, .copy = b->copy};
}

/* Each write to a drive that is full would copy the file for nothing, as long as the pool's folder is full, too. */
static mrmr_err record_try(const struct bringing *b)
{
    const struct tree_pair record = record_of(b);
    char name[POOL_PAIR_NAME];
    mrmr_err err = tree_pair_write(b->tree, &record, TREE_BRING_TRY, name);
    if (!err)
        unlinkat(b->tree->pool->dirfd, name, 0);
    return err;
}

/* --- from one drive to the other --- */

/* What was set since the last scan is on the drive that is away alone, and would not be of the copy. */
static mrmr_err attrs_known(const struct bringing *b)
{
    bool touched;
    MRMR_TRY(tree_keep_attrs_touched(b->tree, b->from, b->known.ino, &touched));
    return touched ? mrmr_err_hint(
                         mrmr_fail(MRMR_OFFLINE,
                             "its drive went away before a sync had seen what was changed of it"),
                         "try again when the drive is back")
                   : MRMR_OK;
}

static mrmr_err source_seen(struct bringing *b)
{
    struct tree_drive *from = &b->tree->drive[b->from];
    b->live = tree_live(from);
    if (b->live) {
        MRMR_TRY(drv_stat(from->drive->drv, b->path.data, &b->stat));
        b->generation = (uint64_t)b->stat.btime;
    } else {
        MRMR_TRY(tree_gone_known(b->tree, b->from, b->path.data, &b->known));
        MRMR_TRY(attrs_known(b));
        b->stat = (struct drv_stat){.type = (enum drv_type)b->known.type,
            .size = b->known.size,
            .nlink = b->known.nlink,
            .ino = b->known.ino,
            .mtime = b->known.mtime,
            .ctime = b->known.ctime};
        b->generation = (uint64_t)b->known.btime;
    }
    if (b->stat.type != DRV_REG || b->stat.nlink > 1)
        return mrmr_fail(MRMR_UNSUPPORTED, "a file with several names stays on its drive");
    bool
        recorded; /* of a mount before this one, too: who has it mapped still goes on writing there */
    MRMR_TRY(tree_direct_recorded(b->tree, b->from, b->stat.ino, &recorded));
    if (recorded)
        return mrmr_fail(MRMR_UNSUPPORTED, "a file that is in use directly stays on its drive");
    b->generation = tree_generation(b->tree, b->node->number, b->generation);
    return MRMR_OK;
}

/* At one path: a folder above it may be renamed before this, and after it. */
static mrmr_err source_look(struct bringing *b)
{
    tree_paths_held(b->tree, b->node, b->folder);
    MRMR_TRY(tree_bring_path_now(b));
    return source_seen(b);
}

/* Nobody changed it directly meanwhile. */
static mrmr_err source_same(struct bringing *b)
{
    const struct pool_drive *from = b->tree->drive[b->from].drive;
    struct drv_stat now;
    if (!b->live)
        return MRMR_OK;
    MRMR_TRY(drv_stat(from->drv, b->path.data, &now));
    return now.ino == b->stat.ino && now.size == b->stat.size && now.mtime == b->stat.mtime &&
                   (!(from->info.caps & DRV_CAP_STABLE_CTIME) || now.ctime == b->stat.ctime)
               ? MRMR_OK
               : mrmr_fail(MRMR_CHANGED, "it was changed on its drive while it was copied");
}

/* It has its path on both drives afterwards. */
static mrmr_err name_it(struct bringing *b)
{
    mrmr_autobytes struct mrmr_bytes folder = MRMR_BYTES_INIT;
    struct drv *drv = b->tree->drive[b->to].drive->drv;
    struct drv_stat now;
    mrmr_err err = tree_place_folder(b->tree, b->folder, b->to, &folder);
    if (err) /* of the drive, if it is named */
        return mrmr_story_get()->drive[0] ? tree_bring_to_said(b, err) : err;
    MRMR_TRY(tree_number_keep(b->tree, b->to, b->copy.ino, b->node->number, b->generation));
    b->to_ino = b->copy.ino;
    MRMR_TRY(tree_change_beside(b->tree));
    err = drv_rename(drv, b->temp, b->path.data, DRV_RENAME_NOREPLACE);
    tree_change_end(b->tree);
    b->named = !err || mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE;
    MRMR_TRY(tree_bring_to_said(b, err));
    if (!drv_stat(drv, b->path.data, &now) && now.ino == b->copy.ino)
        b->copy.ctime = now.ctime;
    return tree_bring_to_said(b, tree_place_sync(b->tree, b->to, folder.data ? folder.data : ""));
}

/* It is where it was, and as it was copied, whatever the answer to taking it away was. */
static bool source_is_there(struct bringing *b)
{
    struct drv_stat now;
    return drv_stat(b->tree->drive[b->from].drive->drv, b->path.data, &now) == MRMR_OK &&
           now.ino == b->stat.ino;
}

/* Its drive gave no answer: what it has still is over. */
static mrmr_err source_goes_later(struct bringing *b)
{
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(b->tree, &epoch));
    mrmr_err err = tree_bring_goes_later(b->tree, b->from, b->path.data, &b->stat);
    tree_change_end(b->tree);
    return err;
}

/* *ret_kept: the source is still there for sure, and the copy must go. Where that cannot be told (its
 * drive gave no answer) the copy is what there is; *ret_unclear: that could not be recorded, and the record stays for whoever
 * looks next. */
static mrmr_err remove_source(struct bringing *b, bool *ret_kept, bool *ret_unclear)
{
    uint64_t epoch;
    struct mrmr_story story;
    *ret_kept = *ret_unclear = false;
    if (!b->live) {
        /* Among the writers: a rebuild of that drive brings it back, or sees the record. */
        mrmr_err err = tree_change_begin(b->tree, &epoch);
        if (!err) {
            err = tree_bring_removed(b->tree, b->from, b->path.data, &b->known);
            tree_change_end(b->tree);
        }
        /* It is back, or was brought elsewhere, and nothing was recorded. */
        *ret_kept = err == MRMR_CHANGED || mrmr_class_of(err) == MRMR_CLASS_ABSENT;
        *ret_unclear = err && !*ret_kept;
        return *ret_kept ? err : MRMR_OK;
    }
    mrmr_err err = tree_change_begin(b->tree, &epoch);
    if (!err) {
        err = tree_keep_taken(b->tree, b->from, b->path.data, &b->stat, epoch);
        tree_change_end(b->tree);
    }
    if (!err)
        return MRMR_OK;
    mrmr_story_save(&story);
    *ret_kept = err == MRMR_CHANGED || source_is_there(b);
    if (*ret_kept)
        return mrmr_story_restore(&story);
    mrmr_log_story(
        MRMR_LOG_WARN, "a file was copied to another drive, and the first one may have it still");
    *ret_unclear = source_goes_later(b) != MRMR_OK;
    if (*ret_unclear)
        mrmr_log_story(MRMR_LOG_WARN, "that it is to go from there cannot be recorded");
    return MRMR_OK;
}

static void node_brought(struct bringing *b)
{
    struct pool_tree *tree = b->tree;
    struct tree_node *node = b->node;
    struct tree_original *old = NULL;
    {
        mrmr_locked(&tree->lock);
        node->on = (struct tree_set){{0}};
        tree_set_add(&node->on, b->to);
        node->owes = (struct tree_set){{0}}; /* all of it was synced there */
        tree_files_brought_locked(node, b->to, &old);
        tree_parted_leave_locked(tree, node); /* from a name that it had besides */
    }
    tree_originals_put(old);
}

/* It goes from the file's path, durably, or has not got it, and never will. */
static mrmr_err unname(struct bringing *b)
{
    struct drv *drv = b->tree->drive[b->to].drive->drv;
    struct drv_stat there;
    mrmr_err err = drv_stat(drv, b->path.data, &there);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
        (!err && there.ino != b->copy.ino))
        return MRMR_OK;
    if (!err)
        err = drv_unlink(drv, b->path.data);
    return err ? err : tree_place_sync_name(b->tree, b->to, b->path.data);
}

/* The file has its number where it is, also if that is not the one of its inode there. */
static void number_back(struct bringing *b)
{
    if (!b->to_ino)
        return;
    tree_number_forget(b->tree, b->to, b->to_ino);
    if (!tree_number_is_own(b->tree, b->from, b->stat.ino, b->node->number) &&
        tree_number_keep(b->tree, b->from, b->stat.ino, b->node->number, b->generation))
        mrmr_log_story(MRMR_LOG_WARN, "the number of a file that was not brought to another drive");
}

/* The copy goes, whatever name it has by now: one without the file's is cleared away by who opens the tree next.
 * True: that is sure, or recorded. */
static bool drop(struct bringing *b)
{
    struct mrmr_story story;
    mrmr_err err = MRMR_OK;
    mrmr_story_save(&story);
    if (b->named && unname(b))
        err = tree_gone_late(b->tree, b->to, POOL_GONE_LATE_COPY, b->path.data, &b->copy);
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "a copy of a file, which it was not brought to, stays");
    drv_unlink(b->tree->drive[b->to].drive->drv, b->temp);
    number_back(b);
    mrmr_story_restore(&story);
    return !err;
}

static mrmr_err bring_named(struct bringing *b, bool *ret_unclear)
{
    bool kept;
    mrmr_err err = remove_source(b, &kept, ret_unclear);
    if (kept) {
        *ret_unclear = !drop(b);
        return err;
    }
    node_brought(b);
    return err;
}

static void begun_add(struct pool_tree *tree, struct tree_bring_begun *begun)
{
    mrmr_locked(&tree->lock);
    begun->next = tree->begun;
    tree->begun = begun;
}

static void begun_remove(struct pool_tree *tree, const struct tree_bring_begun *begun)
{
    mrmr_locked(&tree->lock);
    struct tree_bring_begun **at = &tree->begun;
    while (*at != begun)
        at = &(*at)->next;
    *at = begun->next;
}

/* unclear: what is over is there, or may come, and nothing but this says so. */
static void record_end(struct bringing *b, const char *record, bool unclear, mrmr_err err)
{
    const int dir = b->tree->pool->dirfd;
    if (err && !unclear) {
        unlinkat(dir, record, 0);
        return;
    }
    const char *over = err ? TREE_BRING_LATE : TREE_BRING_OVER;
    tree_bring_record_is(b->tree, record, unclear ? over : POOL_BROUGHT_ENDED);
    if (unclear && fsync(dir) < 0)
        mrmr_log(MRMR_LOG_WARN,
            "which of two copies is the file may be forgotten if the power goes now");
}

/* The copy takes the place of the file, at one path, which nobody changes meanwhile. */
static mrmr_err bring_begun(struct bringing *b, const char *record)
{
    bool unclear = false, recorded = false;
    tree_paths_held(b->tree, b->node, b->folder);
    mrmr_err err = tree_bring_path_now(b);
    if (!err)
        err = source_same(b);
    if (!err)
        err = tree_bring_to_said(b, drv_stat(b->tree->drive[b->to].drive->drv, b->temp, &b->copy));
    b->copy.ctime = 0; /* its rename gives it another */
    const struct tree_pair is = record_of(b);
    if (!err)
        err = tree_pair_put(b->tree, &is, record);
    recorded = !err;
    if (!err)
        err = name_it(b);
    if (err)
        unclear = !drop(b);
    else
        err = bring_named(b, &unclear);
    if (recorded)
        record_end(b, record, unclear, err);
    return err;
}

static mrmr_err bring_copied(struct bringing *b)
{
    struct tree_bring_begun begun;
    mrmr_err err = pool_pair_name(TREE_BRING_RECORD, begun.record);
    if (err) {
        drop(b);
        return err;
    }
    begun_add(b->tree, &begun);
    err = bring_begun(b, begun.record);
    begun_remove(b->tree, &begun);
    return err;
}

static mrmr_err bring_to(struct bringing *b)
{
    uint64_t random;
    b->to_ino = 0;
    b->named = b->to_failed = false;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    snprintf(b->temp, sizeof b->temp, TREE_BRING_FOLDER "/%016" PRIx64, random);
    mrmr_err err = tree_bring_copy(b);
    if (!err)
        return bring_copied(b);
    drop(b);
    return err;
}

/* The folder that it lies in, counted, and its name there. */
static mrmr_err bring_names(struct bringing *b)
{
    mrmr_locked(&b->tree->lock);
    const struct tree_link *link = b->node->links;
    if (!link || b->node->gone)
        return mrmr_fail(MRMR_UNSUPPORTED, "it has no name any more");
    strncpy(b->name, link->name, META_NAME_MAX);
    b->folder = link->parent;
    tree_ref_locked(b->folder);
    return MRMR_OK;
}

static mrmr_err bring_somewhere(struct bringing *b, uint64_t more)
{
    struct tree_set but = {{0}};
    tree_set_add(&but, b->from);
    for (;;) {
        MRMR_TRY(tree_place_choose(b->tree, &but, b->stat.size + more, &b->to));
        tree_own_name(b->tree, b->folder, b->name);
        mrmr_err err = bring_to(b);
        tree_owned_name(b->tree, b->folder, b->name);
        if (!b->to_failed || (mrmr_class_of(err) != MRMR_CLASS_SPACE && err != MRMR_READONLY &&
                                 mrmr_class_of(err) != MRMR_CLASS_UNSUPPORTED))
            return err;
        tree_set_add(&but, b->to);
    }
}

static mrmr_err bring(struct bringing *b, uint64_t more)
{
    MRMR_TRY(bring_names(b));
    MRMR_TRY(source_look(b));
    MRMR_TRY(record_try(b));
    MRMR_TRY(bring_somewhere(b, more));
    mrmr_log(MRMR_LOG_INFO, "%s goes from drive %s, which is %s, to drive %s", b->path.data,
        b->tree->drive[b->from].drive->meta.name, b->live ? "full" : "away",
        b->tree->drive[b->to].drive->meta.name);
    return MRMR_OK;
}

static mrmr_err bring_once(struct pool_tree *tree, struct tree_node *node, size_t from,
    uint64_t more, bool stays, bool *ret_gave_way)
{
    *ret_gave_way = false;
    struct bringing b = {.tree = tree, .node = node, .from = from, .stays = stays};
    if (!tree_leave_begin(tree, node, from))
        return MRMR_OK;
    mrmr_err err = not_direct(tree, node);
    if (!err)
        err = bring(&b, more);
    *ret_gave_way = err && b.gave_way;
    tree_leave_end(tree, node);
    tree_put(tree, b.folder);
    mrmr_err_path(err, b.path.data);
    mrmr_bytes_free(&b.path);
    return err;
}

mrmr_err tree_bring(struct pool_tree *tree, struct tree_node *node, size_t from, uint64_t more)
{
    enum { WAYS_MOST = 4 };
    bool gave_way = true;
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; gave_way; i++)
        err = bring_once(tree, node, from, more, i == WAYS_MOST, &gave_way);
    if (err && err != MRMR_UNSUPPORTED)
        mrmr_log_story(MRMR_LOG_WARN, "a file cannot be brought to another drive");
    return err;
}
