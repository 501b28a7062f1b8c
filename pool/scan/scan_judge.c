/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The judgement (I5): what a complete walk of a drive staged is weighed as a whole before any of it
 * takes effect.
 *
 * Moves come first, because a file that is elsewhere has not vanished. Then what is left is
 * counted: too much at once, and the drive is held as it was. Single files are held where the
 * change cannot be an ordinary edit: another size without a newer time, or losses after the power
 * went. What is held keeps its node, its names and its place in the stripes, as MISSING: it can be
 * reconstructed until the user says yes.
 */
#include "pool/drive/drive.h"
#include "pool/records/gone.h"
#include "pool/records/moved.h"
#include "pool/scan/scan.h"

#include "base/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { JUDGE_BATCH = 32, JUDGE_TELL = 20, JUDGE_LOOKS = 8 };
enum { JUDGE_WAIT_MS = 10, JUDGE_WAITS = 50 /* of a scan */ };

typedef mrmr_err (*judge_fn)(struct pool_scan_drive *scan, const struct meta_change *change);

/* fn for each change of the kind, also for those that it adds; its own it may remove. */
static mrmr_err judge_each(struct pool_scan_drive *scan, enum meta_change_kind kind, judge_fn fn)
{
    mrmr_autofree struct meta_change *changes = calloc(JUDGE_BATCH, sizeof *changes);
    if (!changes)
        return mrmr_nomem();
    int64_t after = 0;
    for (;;) {
        size_t n;
        MRMR_TRY(pool_job_poll(scan->job));
        MRMR_TRY(meta_changes_after(
            scan->pool->meta, scan->drive->meta.id, kind, after, changes, JUDGE_BATCH, &n));
        if (!n)
            return MRMR_OK;
        after = changes[n - 1].id;
        for (size_t i = 0; i < n; i++)
            MRMR_TRY(fn(scan, &changes[i]));
    }
}

static mrmr_err judge_count(
    struct pool_scan_drive *scan, enum meta_change_kind kind, uint64_t *ret_n)
{
    return meta_changes_count(scan->pool->meta, scan->drive->meta.id, kind, ret_n);
}

/* --- Moves, and what they make void --- */

static mrmr_err judge_move(struct pool_scan_drive *scan, const struct meta_change *change)
{
    bool done;
    MRMR_TRY(pool_scan_apply_move(scan, change, false, &done));
    return done ? meta_change_remove(scan->pool->meta, change->id) : MRMR_OK;
}

static mrmr_err judge_move_onto(struct pool_scan_drive *scan, const struct meta_change *change)
{
    bool done;
    MRMR_TRY(pool_scan_apply_move(scan, change, true, &done));
    return done ? meta_change_remove(scan->pool->meta, change->id) : MRMR_OK;
}

/* What may not take its new name, because something that is kept has it, has not vanished either.
 */
static mrmr_err judge_stranded(struct pool_scan_drive *scan, const struct meta_change *change)
{
    return pool_scan_ids_add(&scan->stranded, change->node);
}

/* A move may wait for another one to free its name. */
static mrmr_err judge_moves_onto(struct pool_scan_drive *scan)
{
    uint64_t before, after;
    MRMR_TRY(judge_count(scan, META_CHANGE_APPEARED, &after));
    do {
        before = after;
        MRMR_TRY(judge_each(scan, META_CHANGE_APPEARED, judge_move_onto));
        MRMR_TRY(judge_count(scan, META_CHANGE_APPEARED, &after));
    } while (after && after < before);
    return MRMR_OK;
}

/* The name of a file that has others leads to another inode: it left them. */
static bool judge_left(const struct pool_scan_drive *scan, const struct meta_change *change,
    const struct meta_node *node)
{
    return change->kind != META_CHANGE_VANISHED &&
           pool_scan_is_other(&scan->drive->info, node, &change->now);
}

/* On a drive that is being restored each file below a missing folder is staged by itself; the folder
 * may have moved, and the file with it. */
static bool judge_moved_along(struct pool_scan_drive *scan, const struct meta_node *node)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct drv_stat stat;
    struct meta_node now = {0};
    if (!scan->replacing || meta_path(scan->pool->meta, node->id, &path) || !path.size ||
        drv_stat(scan->drive->drv, path.data, &stat) || (int)stat.type != (int)node->type)
        return false;
    pool_node_from_stat(&now, &stat);
    return !pool_scan_is_other(&scan->drive->info, node, &now);
}

/* The name has come to be another's, or one of several names of a file is gone. */
static mrmr_err judge_void(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta *meta = scan->pool->meta;
    struct meta_node node;
    mrmr_err err = meta_lookup(meta, change->parent, change->name, &node);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    if (err || node.id != change->node) {
        if (change->kind != META_CHANGE_VANISHED)
            MRMR_TRY(pool_scan_list_add(&scan->revisit, change->parent));
        return meta_change_remove(meta, change->id);
    }
    bool left = judge_left(scan, change, &node);
    if ((change->kind != META_CHANGE_VANISHED && !left) || node.type == META_DIR ||
        pool_scan_ids_has(&scan->hidden, node.id))
        return MRMR_OK;
    size_t names;
    MRMR_TRY(pool_scan_count_names(scan, node.id, &names));
    if (names < 2)
        return !left && judge_moved_along(scan, &node) ? meta_change_remove(meta, change->id)
                                                       : MRMR_OK;
    if (left)
        MRMR_TRY(pool_scan_list_add(&scan->revisit, change->parent));
    MRMR_TRY(meta_name_remove(meta, change->parent, change->name));
    return meta_change_remove(meta, change->id);
}

/* Another kind of thing has the name now, and comes in when the folder is looked at again. */
static mrmr_err judge_replaced(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta_node node;
    bool is_free;
    if (!pool_scan_ids_has(&scan->replaced, change->node))
        return MRMR_OK;
    mrmr_err err = meta_lookup(scan->pool->meta, change->parent, change->name, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || (!err && node.id != change->node))
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(pool_scan_apply_free(scan, change, &node, &is_free));
    return is_free ? meta_change_remove(scan->pool->meta, change->id) : MRMR_OK;
}

static mrmr_err judge_hidden(struct pool_scan_drive *scan, const struct meta_change *change)
{
    if (!pool_scan_ids_has(&scan->hidden, change->node))
        return MRMR_OK;
    if (!scan->held.n) /* else it is known */
        pool_tell(scan->pool, scan->job, true, "hidden", scan->drive,
            "on drive %s, something is mounted over '%s': what the catalog knows there counts as "
            "missing; unmount it, or, if those files are to be forgotten: mrmr sync "
            "--accept-changes",
            scan->drive->meta.name, change->name);
    MRMR_TRY(
        pool_scan_apply_vanish(scan, change->parent, change->name, change->node, POOL_SCAN_HIDDEN));
    return meta_change_remove(scan->pool->meta, change->id);
}

/* --- Too much at once? --- */

struct judge_limits {
    uint64_t percent, files;
    struct meta_loss top; /* the top folder that loses too large a part; files 0: none */
    char top_name[META_NAME_MAX + 1];
};

static bool judge_exceeds(const struct meta_loss *loss, uint64_t files, uint64_t percent)
{
    return (loss->vanished + loss->changed) * 100 > percent * files;
}

static mrmr_err judge_top(const char *top, const struct meta_loss *loss, void *arg)
{
    struct judge_limits *limits = arg;
    if (*top && !limits->top.files && loss->files > 100 &&
        judge_exceeds(loss, loss->files, limits->percent)) {
        limits->top = *loss;
        snprintf(limits->top_name, sizeof limits->top_name, "%s", top);
    }
    return MRMR_OK;
}

static bool judge_too_much(const struct pool_scan_drive *scan, const struct meta_loss *all,
    const struct judge_limits *limits)
{
    uint64_t lost = all->vanished + all->changed;
    uint64_t before = all->files > scan->added_files ? all->files - scan->added_files : 0;
    if (!lost)
        return false;
    /* A hold ends when nothing is missing any more, or by the user's word. */
    return scan->drive->meta.hold[0] || (all->vanished && all->vanished >= before) ||
           lost > limits->files || (before > 10 && judge_exceeds(all, before, limits->percent)) ||
           limits->top.files;
}

/* The day on which the drive was last seen whole; a hold that goes on keeps its own. */
static void judge_since(const struct meta_drive *meta, char ret_day[16])
{
    const char *since = strstr(meta->hold, " since ");
    time_t seconds = (time_t)(meta->scanned / MRMR_NS_PER_S);
    struct tm tm;
    if (since)
        snprintf(ret_day, 11, "%s", since + strlen(" since "));
    else if (!meta->scanned || !gmtime_r(&seconds, &tm) || !strftime(ret_day, 16, "%Y-%m-%d", &tm))
        snprintf(ret_day, 16, "it was added");
}

static void judge_sentence(const struct pool_scan_drive *scan, const struct meta_loss *all,
    const struct judge_limits *limits, char ret_hold[160])
{
    char day[16], where[64] = "";
    bool whole = all->vanished + all->changed > limits->files || !limits->top.files ||
                 judge_exceeds(all, all->files, limits->percent);
    const struct meta_loss *loss = whole ? all : &limits->top;
    judge_since(&scan->drive->meta, day);
    if (!whole) {
        mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
        if (!mrmr_text_print(&name, limits->top_name, strlen(limits->top_name)))
            snprintf(where, sizeof where, " in %.58s", name.data);
    }
    snprintf(ret_hold, 160,
        "of %" PRIu64 " files%s %" PRIu64 " vanished and %" PRIu64 " changed since %s", loss->files,
        where, loss->vanished, loss->changed, day);
}

static void judge_tell_hold(struct pool_scan_drive *scan, const char *was)
{
    const struct meta_drive *meta = &scan->drive->meta;
    const struct pool_job *job = scan->job;
    char text[512];
    snprintf(text, sizeof text,
        "drive %s is held as it was: %s. All of it can still be reconstructed. If you did this: "
        "mrmr "
        "sync --accept-changes; if not: mrmr rebuild %s",
        meta->name, meta->hold, meta->name);
    if (strcmp(was, meta->hold) != 0)
        pool_tell(scan->pool, job, true, "hold", scan->drive, "%s", text);
    else if (job && job->notice)
        job->notice(true, text, job->arg);
}

static mrmr_err judge_set_aside(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta_node node;
    mrmr_err err = meta_node_get(scan->pool->meta, change->node, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT ||
        (!err && !pool_scan_is_touched(scan, &node) &&
            pool_scan_brought(scan, &node) == POOL_BROUGHT_NOT))
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(mrmr_bytes_add(&scan->aside, change, sizeof *change));
    return meta_change_remove(scan->pool->meta, change->id);
}

/* What counts: not what the user did through MRMR, a folder with all that was in it included. It is
 * set aside for as long. */
static mrmr_err judge_losses(
    struct pool_scan_drive *scan, struct meta_loss *ret_all, struct judge_limits *limits)
{
    struct meta *meta = scan->pool->meta;
    if (scan->touched->n || scan->brought->n || pool_gone_any(scan->gone)) {
        MRMR_TRY(judge_each(scan, META_CHANGE_VANISHED, judge_set_aside));
        MRMR_TRY(judge_each(scan, META_CHANGE_CHANGED, judge_set_aside));
    }
    MRMR_TRY(meta_losses(meta, scan->drive->meta.id, ret_all, judge_top, limits));
    struct meta_change *aside = (struct meta_change *)(void *)scan->aside.data;
    for (size_t i = 0; i < scan->aside.size / sizeof *aside; i++)
        MRMR_TRY(meta_change_add(meta, &aside[i]));
    mrmr_bytes_free(&scan->aside);
    return MRMR_OK;
}

/* Decides scan->hold, and the drive's hold with it. */
static mrmr_err judge_hold(struct pool_scan_drive *scan)
{
    struct meta_drive *meta = &scan->drive->meta;
    struct judge_limits limits = {.top_name = ""};
    struct meta_loss all = {0, 0, 0};
    uint64_t vanished, changed;
    char was[sizeof meta->hold];
    memcpy(was, meta->hold, sizeof was);
    MRMR_TRY(judge_count(scan, META_CHANGE_VANISHED, &vanished));
    MRMR_TRY(judge_count(scan, META_CHANGE_CHANGED, &changed));
    if (!scan->accept && vanished + changed) {
        MRMR_TRY(pool_setting_u64(scan->pool, "hold-percent", &limits.percent));
        MRMR_TRY(pool_setting_u64(scan->pool, "hold-files", &limits.files));
        MRMR_TRY(judge_losses(scan, &all, &limits));
        scan->hold = judge_too_much(scan, &all, &limits);
    }
    char hold[sizeof meta->hold] = "";
    if (scan->hold)
        judge_sentence(scan, &all, &limits, hold);
    mrmr_locked(&scan->drive->lock);
    memcpy(meta->hold, hold, sizeof hold);
    return MRMR_OK;
}

/* --- One file --- */

static bool judge_same(const struct meta_node *node, const struct meta_node *now)
{
    return node->type == now->type && node->size == now->size && node->mtime == now->mtime &&
           node->ctime == now->ctime && node->ino == now->ino && node->btime == now->btime;
}

/* The node of a change, if it is still to be judged; id 0: gone, or taken in through another of its
 * names. */
static mrmr_err judge_node(
    struct pool_scan_drive *scan, const struct meta_change *change, struct meta_node *ret_node)
{
    mrmr_err err = meta_node_get(scan->pool->meta, change->node, ret_node);
    bool as_seen = !err && judge_same(ret_node, &change->now) &&
                   !pool_touched_hides(scan->touched_before, scan->drive, ret_node->ino);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || as_seen) {
        ret_node->id = 0;
        return MRMR_OK;
    }
    return err;
}

static mrmr_err judge_hold_file(struct pool_scan_drive *scan, const struct meta_change *change,
    const struct meta_node *node, bool known)
{
    if (!known && !scan->hold && scan->held_files < JUDGE_TELL) {
        mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
        const char *path;
        MRMR_TRY(pool_paths_get(scan->pool, &scan->paths, node->id, &path));
        MRMR_TRY(mrmr_text_print(&name, path, strlen(path)));
        pool_tell(scan->pool, scan->job, true, "held", scan->drive,
            "on drive %s, '%.600s' went from %" PRIu64 " to %" PRIu64
            " bytes%s: its protected content is held. If that is right: mrmr sync "
            "--accept-changes; if not: mrmr rebuild %s gives it back",
            scan->drive->meta.name, name.data, node->size, change->now.size,
            scan->unclean ? " when the power went" : " without a newer modification time",
            scan->drive->meta.name);
    }
    return pool_scan_hold_file(scan, change);
}

/* Another size, and the very times that the catalog has: while a file is being cut short its size is
 * the new one already and its times are the old ones still. */
static bool judge_is_being_cut(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat)
{
    return (info->caps & DRV_CAP_STABLE_CTIME) && stat->type == DRV_REG &&
           stat->size != node->size && stat->mtime == node->mtime && stat->ctime == node->ctime;
}

/* How the file is now; one that is being cut short is given a moment. */
static mrmr_err judge_stat(struct pool_scan_drive *scan, const struct meta_node *node,
    const char *path, struct drv_stat *ret_stat)
{
    struct drv_stat stat;
    mrmr_err err = drv_stat(scan->drive->drv, path, &stat);
    while (
        !err && judge_is_being_cut(&scan->drive->info, node, &stat) && scan->waits < JUDGE_WAITS) {
        const struct timespec moment = {.tv_nsec = JUDGE_WAIT_MS * 1000000L};
        nanosleep(&moment, NULL);
        scan->waits++;
        err = drv_stat(scan->drive->drv, path, &stat);
    }
    if (!err)
        *ret_stat = stat;
    return err;
}

/* A file that was renamed under the walk may have been seen twice, and the earlier sight of it be
 * judged after the later one, or it was seen while it was being cut short: before a change is held,
 * how the file is now. *ret_stale: it is as the catalog has it, or not there any more; the next
 * scan sees what became of it. */
static mrmr_err judge_again(struct pool_scan_drive *scan, const struct meta_node *node,
    struct meta_change *change, bool *ret_stale)
{
    const char *path;
    struct drv_stat stat;
    MRMR_TRY(pool_paths_get(scan->pool, &scan->paths, node->id, &path));
    mrmr_err err = judge_stat(scan, node, path, &stat);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return MRMR_OK; /* as it was seen */
    bool other = !err && (scan->drive->info.caps & DRV_CAP_STABLE_INO) && change->now.ino &&
                 stat.ino != change->now.ino;
    *ret_stale = err || other || stat.type != DRV_REG ||
                 pool_stat_same(&scan->drive->info, node, &stat) == POOL_SAME;
    if (!*ret_stale)
        pool_node_from_stat(&change->now, &stat);
    return MRMR_OK;
}

/* It was renamed under the walk, and what was seen by its name is, or may be, another file. What was seen of the file
 * itself counts, before that or after. */
static bool judge_is_elsewhere(
    const struct pool_scan_drive *scan, const struct meta_node *node, const struct meta_node *seen)
{
    const struct drv_info *info = &scan->drive->info;
    const bool itself = (info->caps & DRV_CAP_STABLE_INO) && node->ino && node->ino == seen->ino &&
                        !pool_scan_is_other(info, node, seen);
    return !itself && pool_scan_ids_has(&scan->escaped, node->id);
}

static mrmr_err judge_change(struct pool_scan_drive *scan, const struct meta_change *staged)
{
    struct meta_node node;
    struct meta_change seen = *staged;
    const struct meta_change *change = &seen;
    const struct meta_node *now = &seen.now;
    bool covered, expected, stale = false;
    MRMR_TRY(judge_node(scan, change, &node));
    if (!node.id || judge_is_elsewhere(scan, &node, &change->now))
        return MRMR_OK;
    MRMR_TRY(pool_scan_extents_in(scan->pool->meta, node.id, POOL_SCAN_WANTED, &covered));
    if (scan->accept || !covered || (!scan->hold && pool_scan_is_touched(scan, &node)))
        return pool_scan_apply_change(scan, &node, now);
    /* An edit was seen, and the file changed before its bytes were: both may have come in one tick
     * of the clock, so that the time says nothing, and nothing of that version is protected. */
    MRMR_TRY(pool_scan_expects_same(scan->pool->meta, &node, &expected));
    bool known = pool_scan_held_find(&scan->held, node.id) != NULL;
    if (!known && !scan->hold && now->mtime <= node.mtime)
        MRMR_TRY(judge_again(scan, &node, &seen, &stale));
    if (stale)
        return MRMR_OK;
    bool resized = now->size != node.size, older = expected && now->mtime <= node.mtime;
    bool cut = scan->unclean && now->size < node.size;
    if (scan->hold || cut || (resized && (older || known)))
        return judge_hold_file(scan, change, &node, known);
    /* The same size and an older time: only its bytes can tell. */
    if (older || known)
        return pool_scan_apply_recheck(scan, &node, now);
    return pool_scan_apply_change(scan, &node, now);
}

/* Its bytes may be others through us: somebody wrote to it, or put another file in its place. That a name of it went
 * says nothing of those that are left. */
static bool is_ours(const struct pool_scan_drive *scan, const struct meta_node *node, uint64_t ino)
{
    return node->ino && node->ino == ino ? pool_scan_is_written(scan, node)
                                         : pool_scan_is_touched(scan, node);
}

static mrmr_err judge_recheck(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta_node node;
    bool covered = false;
    MRMR_TRY(judge_node(scan, change, &node));
    if (!node.id || judge_is_elsewhere(scan, &node, &change->now))
        return MRMR_OK;
    if (scan->accept)
        MRMR_TRY(pool_scan_extents_in(scan->pool->meta, node.id, POOL_SCAN_WANTED, &covered));
    return covered || is_ours(scan, &node, change->now.ino)
               ? pool_scan_apply_change(scan, &node, &change->now)
               : pool_scan_apply_recheck(scan, &node, &change->now);
}

static mrmr_err judge_tell_vanished(
    struct pool_scan_drive *scan, const struct meta_change *change, uint64_t files)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    MRMR_TRY(meta_path(scan->pool->meta, change->parent, &path));
    if (path.size)
        MRMR_TRY(mrmr_bytes_str(&path, "/"));
    MRMR_TRY(mrmr_bytes_str(&path, change->name));
    pool_tell(scan->pool, scan->job, true, "held", scan->drive,
        "on drive %s, '%s' is gone%s: %" PRIu64 " protected files are held. If that is right: "
        "mrmr sync --accept-changes; if not: mrmr rebuild %s",
        scan->drive->meta.name, path.data, scan->unclean ? " since the power went" : "", files,
        scan->drive->meta.name);
    return MRMR_OK;
}

static mrmr_err judge_vanished(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta_node node;
    mrmr_err err = meta_lookup(scan->pool->meta, change->parent, change->name, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || (!err && node.id != change->node))
        return MRMR_OK; /* its name was taken by what moved there */
    MRMR_TRY(err);
    if (pool_scan_ids_has(&scan->escaped, change->node))
        return MRMR_OK; /* it is there: the next scan finds it */
    uint64_t held = scan->held_files;
    MRMR_TRY(pool_scan_apply_vanish(scan, change->parent, change->name, change->node,
        pool_scan_ids_has(&scan->stranded, change->node) ? POOL_SCAN_STRANDED : POOL_SCAN_GONE));
    if (scan->held_files > held && !scan->hold && held < JUDGE_TELL &&
        !pool_scan_held_find(&scan->held, change->node))
        return judge_tell_vanished(scan, change, scan->held_files - held);
    return MRMR_OK;
}

/* The user's yes to what was held before: what is there now is the file's content. */
static mrmr_err judge_accept(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta_node node;
    bool missing = false;
    mrmr_err err = meta_node_get(scan->pool->meta, change->node, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(pool_scan_extents_in(scan->pool->meta, node.id, 1U << META_MISSING, &missing));
    struct meta_node now = node;
    return missing ? pool_scan_apply_change(scan, &node, &now) : MRMR_OK;
}

/* --- The whole --- */

static mrmr_err judge_moves(struct pool_scan_drive *scan)
{
    MRMR_TRY(judge_each(scan, META_CHANGE_APPEARED, judge_move));
    MRMR_TRY(judge_each(scan, META_CHANGE_VANISHED, judge_void));
    MRMR_TRY(judge_each(scan, META_CHANGE_CHANGED, judge_void));
    return judge_each(scan, META_CHANGE_RECHECK, judge_void);
}

static mrmr_err judge_look(struct pool_scan_worker *worker)
{
    return pool_scan_walk_again(worker->arg);
}

/* What was renamed through MRMR under the walk has not vanished, and does not count as lost: the
 * folders in which it lies now are looked at again, until no more is found. Names that waited before
 * do so still. */
static mrmr_err judge_escaped(struct pool_scan_drive *scan)
{
    struct pool_scan_list waiting = scan->revisit;
    scan->revisit = (struct pool_scan_list){.n = 0};
    mrmr_err err = pool_scan_escaped(scan);
    for (int look = 0; !err && scan->revisit.n && look < JUDGE_LOOKS; look++) {
        err = pool_scan_team_alone(scan->pool, scan->job, "scan", scan->worker, judge_look);
        if (!err)
            err = judge_moves(scan);
        if (!err)
            err = pool_scan_escaped(scan);
    }
    for (size_t i = 0; !err && i < waiting.n; i++)
        err = pool_scan_list_add(&scan->revisit, waiting.id[i]);
    pool_scan_list_free(&waiting);
    return err;
}

/* Names pass from one thing to another; what has come into a freed one is found by looking again,
 * before anything is taken for vanished that may have moved there. */
static mrmr_err judge_names(struct pool_scan_drive *scan)
{
    for (int look = 0; look < JUDGE_LOOKS; look++) {
        MRMR_TRY(judge_moves_onto(scan));
        MRMR_TRY(judge_each(scan, META_CHANGE_CHANGED, judge_void));
        MRMR_TRY(judge_each(scan, META_CHANGE_RECHECK, judge_void));
        MRMR_TRY(judge_each(scan, META_CHANGE_CHANGED, pool_scan_linked));
        MRMR_TRY(judge_each(scan, META_CHANGE_RECHECK, pool_scan_linked));
        MRMR_TRY(judge_each(scan, META_CHANGE_VANISHED, judge_replaced));
        if (!scan->revisit.n)
            break;
        MRMR_TRY(pool_scan_team_alone(scan->pool, scan->job, "scan", scan->worker, judge_look));
        MRMR_TRY(judge_moves(scan));
    }
    return judge_each(scan, META_CHANGE_APPEARED, judge_stranded);
}

static mrmr_err judge_all(struct pool_scan_drive *scan)
{
    MRMR_TRY(judge_moves(scan));
    if (scan->hidden.n && !scan->accept)
        MRMR_TRY(judge_each(scan, META_CHANGE_VANISHED, judge_hidden));
    uint64_t files = scan->files;
    bool renamed;
    MRMR_TRY(pool_moved_concerns(scan->pool, scan->drive->meta.id, "", &renamed));
    if (renamed)
        MRMR_TRY(judge_escaped(scan));
    MRMR_TRY(judge_hold(scan));
    if (!scan->hold)
        MRMR_TRY(judge_names(scan));
    MRMR_TRY(pool_scan_apply_unread(scan));
    scan->files = files; /* not twice what was looked at twice */
    MRMR_TRY(judge_each(scan, META_CHANGE_VANISHED, judge_vanished));
    MRMR_TRY(pool_scan_apply_orphans(scan));
    MRMR_TRY(judge_each(scan, META_CHANGE_CHANGED, judge_change));
    MRMR_TRY(judge_each(scan, META_CHANGE_RECHECK, judge_recheck));
    if (scan->accept)
        MRMR_TRY(judge_each(scan, META_CHANGE_HELD, judge_accept));
    return MRMR_OK;
}

static mrmr_err judge_clear(struct pool_scan_drive *scan, enum meta_change_kind kind)
{
    uint64_t n;
    MRMR_TRY(judge_count(scan, kind, &n));
    return n ? meta_changes_clear(scan->pool->meta, scan->drive->meta.id, kind) : MRMR_OK;
}

static mrmr_err judge_close(struct pool_scan_drive *scan)
{
    struct meta *meta = scan->pool->meta;
    for (int kind = META_CHANGE_VANISHED; kind <= META_CHANGE_APPEARED; kind++)
        MRMR_TRY(judge_clear(scan, (enum meta_change_kind)kind));
    if (scan->accept)
        MRMR_TRY(judge_clear(scan, META_CHANGE_HELD));
    else
        MRMR_TRY(pool_scan_held_sweep(meta, scan->drive->meta.id));
    struct meta_drive now;
    {
        mrmr_locked(&scan->drive->lock);
        scan->drive->meta.scanned = scan->now; /* what comes later may not have been seen */
        if (scan->unclean)
            pool_session_boot_judged(&scan->drive->meta, scan->drive->attached);
        now = scan->drive->meta;
    }
    return meta_drive_store(meta, &now);
}

static void judge_report(struct pool_scan_drive *scan, struct pool_sync_report *report)
{
    report->files += scan->files;
    report->added += scan->added;
    report->unreadable += scan->unreadable;
    report->held += scan->held_files;
    report->moved += scan->moved;
    report->vanished += scan->vanished;
    report->changed += scan->changed;
    report->drives_held += scan->hold;
}

/* --- Before it --- */

static mrmr_err judge_note_children(
    struct pool_scan_drive *scan, int64_t folder, struct pool_scan_list *todo)
{
    mrmr_autofree struct meta_child *children = NULL;
    size_t n = 0;
    MRMR_TRY(meta_children(scan->pool->meta, folder, &children, &n));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(pool_scan_list_add(todo, children[i].node.id));
    return MRMR_OK;
}

/* A node, and all below it. */
static mrmr_err judge_note_below(struct pool_scan_drive *scan, struct pool_scan_list *todo)
{
    while (todo->n) {
        struct meta_node node;
        MRMR_TRY(pool_job_poll(scan->job));
        mrmr_err err = meta_node_get(scan->pool->meta, todo->id[--todo->n], &node);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            continue;
        MRMR_TRY(err);
        if (node.type == META_DIR)
            MRMR_TRY(judge_note_children(scan, node.id, todo));
        else if (node.type == META_REG)
            MRMR_TRY(pool_retained_note(scan->pool, scan->job, &node, &scan->kept));
    }
    return MRMR_OK;
}

static mrmr_err judge_note(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct pool_scan_list todo = {.n = 0};
    mrmr_err err = pool_scan_list_add(&todo, change->node);
    if (!err)
        err = judge_note_below(scan, &todo);
    pool_scan_list_free(&todo);
    return err;
}

/* What is kept of files that may have vanished is read before the transaction, which must not last
 * as long. What vanishes and was not thought of here counts as gone: too little, never too much. */
static mrmr_err judge_note_kept(struct pool_scan_drive *scan)
{
    struct drv_stat stat;
    if (drv_stat(scan->drive->drv, POOL_RETAINED, &stat))
        return MRMR_OK;
    return judge_each(scan, META_CHANGE_VANISHED, judge_note);
}

mrmr_err pool_scan_judge(struct pool_scan_drive *scan, struct pool_sync_report *report)
{
    struct meta_drive *meta = &scan->drive->meta;
    const struct meta_drive was = *meta;
    MRMR_TRY(judge_note_kept(scan));
    MRMR_TRY(meta_begin(scan->pool->meta));
    mrmr_err err = judge_all(scan);
    if (!err)
        err = judge_close(scan);
    if (!err && scan->hold)
        judge_tell_hold(scan, was.hold);
    else if (!err && was.hold[0])
        pool_tell(scan->pool, scan->job, false, "hold-lifted", scan->drive,
            "drive %s is not held any more", meta->name);
    if (!err)
        err = meta_commit(scan->pool->meta);
    if (!err) {
        judge_report(scan, report);
        return MRMR_OK;
    }
    meta_rollback(scan->pool->meta);
    mrmr_locked(&scan->drive->lock);
    memcpy(meta->hold, was.hold, sizeof was.hold);
    memcpy(meta->boot, was.boot, sizeof was.boot);
    meta->scanned = was.scanned;
    return err;
}
