/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive that is detached while the tree shows it: the command that does it asks (detach_ask.h), and is answered when
 * nothing of the drive is open here any more, or with what is in the way. From then on the drive is as one that
 * went: its files are read by reconstruction, and changed as those of a drive that is away.
 *
 * States of a drive:
 *
 *     in service              asked whether it may: answered when nothing that takes long is under way on it, or with what is
 *                             in the way; nobody is stopped, and nothing has changed
 *     in service -> asked     nothing of it is open for writing, used directly, or removed and open. What it was asked to
 *                             write is synced, and it is cut off; answered when the last descriptor is closed; where that
 *                             does not come soon, it goes on
 *     asked -> detached       the catalog says so, and the question is over
 *     asked -> looked for     the question is over, and the catalog does not: as any that is out of service
 *     any -> detached         the catalog says so, and nobody has asked: who may not write the pool's folder is not
 *     detached -> looked for  it was seen gone, here or by anyone (detached.h), or the catalog does not say so any more;
 *                             before it is used, it is noted that it is (tree_detach_back)
 *
 * Crash argument. Nothing is lost that was acknowledged: who asks has stopped the writers, so no change is
 * under way but such as make a new name; those, too, are over when the last op on the drive is, which is before the answer, and who
 * asked syncs the drive once more after that. Who asks may have given up meanwhile, and the writers go on: he ends the question before
 * they do, and whether it stands is looked at together with what is taken as paid. So what nodes owe on the drive (tree_sync.c) is taken as paid here, and nobody is told
 * of a loss; if that last sync fails, the command says so. A process that is killed in between has let go of everything.
 *
 * A file that somebody opens for writing between the look and the cut is one whose drive goes: what is written then goes to
 * another drive, or fails.
 *
 * A drive that is detached is not opened to see whether it is there: that could keep its file system from being unmounted.
 *
 * Threads: the monitor's. Locks: the tree's.
 */
#include "pool/tree/tree_detach.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_open.h"
#include "pool/tree/tree_watch.h"

#include "drivers/guard.h"
#include "pool/drive/detached.h"
#include "pool/tree/tree_sync.h"
#include <string.h>
#include <time.h>

static const int64_t closes_within = MRMR_NS_PER_S / 2;  /* as a rule: else the next look sees it */
static const int64_t closes_at_last = 3 * MRMR_NS_PER_S; /* the writers wait */
static const int64_t takes_long = MRMR_NS_PER_S / 10;
static const int64_t waits_for_slow = 5 * MRMR_NS_PER_S; /* nobody waits meanwhile but who asks */

/* --- who is in the way --- */

static void holder(struct mrmr_bytes *text, const struct tree_node *node, const char *how)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (text->size)
        return;
    if (tree_path_locked(node, &path) || !path.data)
        mrmr_bytes_fmt(text, "a file without a name %s", how);
    else
        mrmr_bytes_fmt(text, "'%.1000s' %s", path.data, how);
}

static const char *holds(const struct pool_tree_file *file)
{
    const struct tree_node *node = file->node;
    if (node->direct)
        return "is used directly (passthrough)";
    if (node->gone)
        return "was removed, and is open still";
    return file->writing ? "is open for writing" : NULL;
}

/* How many, and the first of them as text. */
static size_t holders(struct pool_tree *tree, size_t place, struct mrmr_bytes *text)
{
    size_t n = 0;
    mrmr_locked(&tree->lock);
    for (struct pool_tree_file *file = tree->files; file; file = file->next) {
        const char *how = file->drive == place ? holds(file) : NULL;
        if (!how)
            continue;
        holder(text, file->node, how);
        n++;
    }
    const struct tree_node *mapped = tree_direct_on_locked(tree, place);
    if (!n && mapped) {
        holder(text, mapped, "is mapped, or open, through passthrough");
        n++;
    }
    return n;
}

/* Empty: nobody. */
static mrmr_err in_the_way(struct tree_drive *drive, struct mrmr_bytes *text)
{
    struct pool_tree *tree = drive->tree;
    if (tree_drive_is_coming(drive)) /* and waits for who asks, who has stopped the writers */
        return mrmr_bytes_str(
            text, "what was asked of it while it was away is being done on it; try again soon");
    const size_t n = holders(tree, (size_t)(drive - tree->drive), text);
    return n > 1 ? mrmr_bytes_fmt(text, ", and %zu more like it", n - 1) : MRMR_OK;
}

/* --- letting go --- */

static void moment(void)
{
    const struct timespec wait = {.tv_nsec = 2 * 1000 * 1000};
    nanosleep(&wait, NULL);
}

/* A look of ours has it open, too. */
static bool is_free(const struct tree_drive *drive)
{
    return !drive->probe && drv_guard_idle(drive->drive->drv);
}

/* What was written was synced, and nobody writes as long as the question stands. Whoever does is among the writers
 * again, and owes under the lock: after this, or the question is over by now. (Of the pool's folder alone is read under it.) */
static mrmr_err take_as_paid(struct pool_tree *tree, const struct tree_drive *drive)
{
    struct pool_detach_question now;
    mrmr_locked(&tree->lock);
    if (!pool_detach_asked(tree->pool->dirfd, &now) ||
        !mrmr_uuid_equal(&now.ask, &tree->detach.question.ask))
        return mrmr_fail(MRMR_CANCELLED, "who asked does not wait any more");
    tree_paid_locked(tree, (size_t)(drive - tree->drive));
    return MRMR_OK;
}

static mrmr_err let_go(struct tree_drive *drive)
{
    struct pool_tree *tree = drive->tree;
    struct drv *drv = drive->drive->drv;
    const int64_t until = mrmr_clock_monotonic() + closes_within;
    if (drv_guard_serves(drv)) {
        MRMR_TRY(drv_sync_all(drv));
        MRMR_TRY(take_as_paid(tree, drive));
        mrmr_fail(MRMR_OFFLINE, "it is being detached");
        drv_guard_cut(drv, MRMR_OFFLINE);
    }
    tree_drive_let_go(drive);
    while (!is_free(drive) && mrmr_clock_monotonic() < until)
        moment();
    return MRMR_OK;
}

/* --- questions --- */

static void answer(struct pool_tree *tree, const char *busy)
{
    struct tree_detach *own = &tree->detach;
    own->answered = true;
    if (pool_detach_answer(tree->pool->dirfd, &own->question, busy))
        mrmr_log_story(MRMR_LOG_WARN, "answering whether a drive can be detached");
}

/* Whether something that cannot be cut short has not come back, after a while. Empty: nothing. */
static mrmr_err under_way(const struct tree_detach *own, int64_t slowest, struct mrmr_bytes *text)
{
    const unsigned stuck = drv_guard_stuck(own->drive->drive->drv);
    if (stuck)
        return mrmr_bytes_fmt(text,
            "the drive hangs: %u of the things that it was asked for were given up, and have not "
            "come back",
            stuck);
    if (slowest < waits_for_slow)
        return MRMR_OK;
    return mrmr_bytes_fmt(text,
        "the drive hangs, or is very slow: what it was asked for %lld seconds ago has not come "
        "back",
        (long long)(slowest / MRMR_NS_PER_S));
}

/* Nothing takes long on it; or, where something always does, nothing for so long that the writers would wait in vain. */
static bool is_quick(const struct tree_detach *own, int64_t slowest)
{
    return slowest < takes_long ||
           (slowest < closes_at_last / 3 && mrmr_clock_monotonic() > own->since + waits_for_slow);
}

/* Whether it could be let go of. What takes long is waited for. */
static void may_look(struct pool_tree *tree)
{
    const struct tree_detach *own = &tree->detach;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    const int64_t slowest = drv_guard_slowest(own->drive->drive->drv);
    mrmr_err err = in_the_way(own->drive, &text);
    if (!err && !text.size)
        err = under_way(own, slowest, &text);
    if (err || text.size)
        answer(tree, text.size ? text.data : "its process is out of memory");
    else if (is_quick(own, slowest))
        answer(tree, NULL);
}

static void now_begin(struct pool_tree *tree)
{
    struct tree_detach *own = &tree->detach;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    mrmr_err err = in_the_way(own->drive, &text);
    if (!err && !text.size) {
        own->drive->asked = true;
        err = let_go(own->drive);
    }
    if (err || text.size) {
        own->drive->asked = false;
        answer(tree, text.size ? text.data : "what was written to it cannot be synced");
        if (err)
            mrmr_log_story(MRMR_LOG_WARN, "letting go of a drive that is to be detached");
    }
}

/* The writers wait for that: one that does not come back keeps them no longer. */
static void now_look(struct pool_tree *tree)
{
    struct tree_detach *own = &tree->detach;
    if (is_free(own->drive)) {
        answer(tree, NULL);
    } else if (mrmr_clock_monotonic() > own->since + closes_at_last) {
        own->drive->asked = false;
        answer(tree, "the drive hangs: what was under way on it has not come back");
    }
}

static void question_begin(struct pool_tree *tree, const struct pool_detach_question *question)
{
    struct tree_detach *own = &tree->detach;
    *own = (struct tree_detach){
        .stands = true, .question = *question, .since = mrmr_clock_monotonic()};
    for (size_t i = 0; i < tree->ndrives; i++)
        if (mrmr_uuid_equal(&tree->drive[i].drive->meta.uuid, &question->drive))
            own->drive = &tree->drive[i];
    if (!own->drive)
        answer(tree, NULL);
    else if (question->now)
        now_begin(tree);
}

static void question_end(struct pool_tree *tree, bool *ret_ended)
{
    struct tree_detach *own = &tree->detach;
    *ret_ended = own->drive && own->question.now;
    if (own->drive)
        own->drive->asked = false;
    own->stands = false;
}

bool tree_detach_look(struct pool_tree *tree, bool *ret_ended)
{
    struct tree_detach *own = &tree->detach;
    struct pool_detach_question question;
    *ret_ended = false;
    if (!tree->keeper) /* another may show the pool, and is asked */
        return false;
    const bool asked = pool_detach_asked(tree->pool->dirfd, &question);
    if (own->stands && (!asked || !mrmr_uuid_equal(&question.ask, &own->question.ask)))
        question_end(tree, ret_ended);
    if (asked && !own->stands)
        question_begin(tree, &question);
    if (asked && !own->answered && own->question.now)
        now_look(tree);
    else if (asked && !own->answered)
        may_look(tree);
    return asked;
}

/* --- what the catalog says --- */

static void follow(struct tree_drive *drive)
{
    enum pool_detached detached;
    if (pool_detached_get(drive->tree->pool, &drive->drive->meta.uuid, &detached, &drive->mark)) {
        mrmr_log_story(MRMR_LOG_INFO, "whether a drive is detached");
        return;
    }
    drive->detached = detached == POOL_DETACHED_HERE;
    drive->went = detached == POOL_DETACHED_WENT && drive->tree->keeper;
    if (!(drive->detached || drive->went) || tree_drive_is_coming(drive) ||
        !drv_guard_serves(drive->drive->drv))
        return;
    mrmr_fail(MRMR_OFFLINE, "it was detached");
    drv_guard_cut(drive->drive->drv, MRMR_OFFLINE);
}

bool tree_detach_back(struct tree_drive *drive)
{
    if (!drive->went)
        return true;
    drive->went = pool_detached_back(drive->tree->pool, &drive->mark) != MRMR_OK;
    if (drive->went)
        mrmr_log_story(MRMR_LOG_WARN, "a drive that was detached stays out of service");
    return !drive->went;
}

/* It was there when the pool was opened, so it is back; what is detached follow() takes out. */
void tree_detach_start(struct pool_tree *tree)
{
    enum pool_detached detached;
    for (size_t i = 0; tree->keeper && i < tree->ndrives; i++) {
        struct tree_drive *drive = &tree->drive[i];
        if (drive->drive->meta.state == META_DRIVE_RETIRED || !tree_live(drive))
            continue;
        if (pool_detached_get(tree->pool, &drive->drive->meta.uuid, &detached, &drive->mark)) {
            mrmr_log_story(MRMR_LOG_INFO, "whether a drive is detached");
            continue;
        }
        drive->went = detached == POOL_DETACHED_WENT;
        if (!tree_detach_back(drive))
            drv_guard_cut(drive->drive->drv, MRMR_OFFLINE);
    }
}

void tree_detach_follow(struct pool_tree *tree)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree->drive[i].drive->meta.state != META_DRIVE_RETIRED)
            follow(&tree->drive[i]);
}
