/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where the catalog has what is at a path now: the records of renames (moved.h), read backwards. For
 * whoever cannot look at the drive since it is away; what is believed of a drive that answers is what
 * it says.
 *
 * A record counts unless the catalog has come to know of its rename: then the inode that was renamed
 * is not where it was renamed from, and is known elsewhere. Each record is judged so by those before
 * it. One that was taken back is none of them (moved.h). One that a power cut parted from its rename
 * may count wrongly until the next scan: the thing shows under the name that its user wanted to give it.
 *
 * Such a folder is not what the catalog has at either path of its step, and a file that the catalog does not have (moved.h) is not, either:
 * that came, or went, at another time, and is asked of by itself. So of these two paths the step says nothing: what the catalog has there
 * after it is what it had there before. What it has below them is in another folder of that name, if nothing of it was moved there.
 *
 * Of a name that went (moved.h) that is asked when a path comes to it: there may be many, and few of them
 * are looked at. It counts if the catalog has just that inode where the name comes from. Where it went more
 * than once that depends on those before it: then all are asked, in order, so that each is asked once,
 * by those that are known to count.
 *
 * A folder that was made after the last scan is no node of the catalog. It may have been renamed, and
 * what the catalog knows may have been moved into it: `unknown` is how much of a path is such a
 * folder, of which nothing is known but what was moved there.
 *
 * What became of a path that is just a step's own is remembered with the step, so that thousands of
 * renames of one thing forth and back cost no more each than one. How much is looked at for any other
 * path is bounded, and beyond that there is no answer but an error. How long it may become is, too: beyond that
 * it leads nowhere.
 *
 * Threads: one at a time; what was asked is remembered.
 */
#include "pool/records/moved_now.h"

#include <stdlib.h>
#include <string.h>

enum { WORK_MOST = 1 << 20 };

/* What comes of it then is no answer. */
static mrmr_err too_much(const char *path)
{
    return mrmr_err_hint(
        mrmr_err_path(mrmr_fail(MRMR_UNSUPPORTED, "too many renames have to do with it"), path),
        "connect its drive and run mrmr sync");
}

static mrmr_err replace(struct mrmr_bytes *path, size_t size, const char *by, size_t by_size)
{
    mrmr_autobytes struct mrmr_bytes other = MRMR_BYTES_INIT;
    if (path->size - size + by_size > POOL_MOVED_PATH_MOST)
        return mrmr_fail(MRMR_ABSENT, "there is no such path");
    MRMR_TRY(mrmr_bytes_add(&other, by, by_size));
    MRMR_TRY(mrmr_bytes_str(&other, path->data + size));
    mrmr_bytes_clear(path);
    return mrmr_bytes_str(path, other.data);
}

/* Of its own two paths it says nothing. */
static bool is_unknown(const struct now_step *step)
{
    return step->what[0] == NOW_UNKNOWN &&
           (step->kind == POOL_MOVED_RENAME || step->what[1] == NOW_UNKNOWN);
}

/* --- backwards --- */

static mrmr_err become(struct mrmr_bytes *path, const char *other)
{
    if (!other)
        return mrmr_fail(MRMR_ABSENT, NULL);
    mrmr_bytes_clear(path);
    return mrmr_bytes_str(path, other);
}

static mrmr_err went(const struct pool_moved_now *now, size_t at, bool *ret_went);

/* Before the first step that is of an unknown folder above the path. */
struct aside {
    struct mrmr_bytes path; /* empty: there is none */
    size_t to;
};

static mrmr_err aside_put(struct aside *aside, const struct mrmr_bytes *path, ptrdiff_t step)
{
    if (aside->path.size)
        return MRMR_OK;
    aside->to = (size_t)step;
    return mrmr_bytes_str(&aside->path, path->data);
}

/* With what was moved into folders that are unknown. */
static mrmr_err back_with(const struct pool_moved_now *now, struct mrmr_bytes *path, size_t to,
    unsigned *work, struct aside *aside)
{
    size_t unknown = 0;
    for (;;) {
        const struct now_found found = now_find(now, path->data, to, true, work);
        if (!*work)
            return too_much(path->data);
        if (found.step == NOW_NONE)
            return unknown ? mrmr_fail(MRMR_ABSENT, NULL) : MRMR_OK;
        const struct now_step *step = &now->step[found.step];
        unsigned was = !found.side;
        if (moved_is_gone(step->kind)) {
            bool gone;
            MRMR_TRY(went(now, (size_t)found.step, &gone));
            if (gone)
                return mrmr_fail(MRMR_ABSENT, "it was removed");
            continue; /* it is not found any more */
        }
        if (path->size == step->size[found.side])
            return become(path, step->origin[was]);
        if (is_unknown(step))
            MRMR_TRY(aside_put(aside, path, found.step));
        if (step->kind == POOL_MOVED_RENAME && found.side == 0)
            return mrmr_fail(MRMR_ABSENT, "it was renamed");
        if (step->size[found.side] > unknown)
            unknown = step->what[was] == NOW_UNKNOWN ? step->size[was] : 0;
        else
            unknown = unknown - step->size[found.side] + step->size[was];
        MRMR_TRY(replace(path, step->size[found.side], step->path[was], step->size[was]));
        to = (size_t)found.step;
    }
}

/* Whatever came to such a folder went with it. What the catalog has by the path is in another that has the name, unless it went from there. */
static mrmr_err back_without(
    const struct pool_moved_now *now, const struct mrmr_bytes *path, size_t to, unsigned *work)
{
    for (;;) {
        const struct now_found found = now_find(now, path->data, to, true, work);
        bool gone;
        if (!*work)
            return too_much(path->data);
        if (found.step == NOW_NONE)
            return MRMR_OK;
        const struct now_step *step = &now->step[found.step];
        if (moved_is_gone(step->kind))
            MRMR_TRY(went(now, (size_t)found.step, &gone));
        if (step->what[found.side] == NOW_KNOWN)
            return mrmr_fail(MRMR_ABSENT, "it was renamed, or removed");
        to = (size_t)found.step;
    }
}

/* The path before `to` steps were made. MRMR_ABSENT: what is there now is none of the catalog's. */
static mrmr_err back(const struct pool_moved_now *now, struct mrmr_bytes *path, size_t to)
{
    unsigned work = WORK_MOST;
    struct aside aside = {.path = MRMR_BYTES_INIT};
    mrmr_err err = back_with(now, path, to, &work, &aside);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT && aside.path.size) {
        const struct mrmr_bytes other = *path;
        *path = aside.path;
        aside.path = other;
        err = back_without(now, path, aside.to, &work);
    }
    mrmr_bytes_free(&aside.path);
    return err;
}

static mrmr_err judge(struct pool_moved_now *now, size_t at, unsigned side)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct now_step *step = &now->step[at];
    uint64_t inode = now->steps.step[at].inode[side];
    struct meta *meta = now->pool->meta;
    struct meta_node node;
    size_t n = 0;
    MRMR_TRY(mrmr_bytes_str(&path, step->path[side]));
    mrmr_err err = back(now, &path, at);
    if (!err)
        err = meta_lookup_path(meta, now->root, path.data, &node);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    if (!err && (!inode || !node.ino || node.ino == inode)) {
        step->what[side] = NOW_KNOWN;
        step->origin[side] = strdup(path.data);
        return step->origin[side] ? MRMR_OK : mrmr_nomem();
    }
    if (inode)
        MRMR_TRY(meta_node_by_ino(meta, now->drive, inode, &node, 1, &n));
    step->what[side] = inode && !n ? NOW_UNKNOWN : NOW_STALE;
    return MRMR_OK;
}

/* What is at its paths was there before, too. */
static mrmr_err judge_unknown(struct pool_moved_now *now, size_t at)
{
    struct now_step *step = &now->step[at];
    for (unsigned side = 0; side < 2; side++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        MRMR_TRY(mrmr_bytes_str(&path, step->path[side]));
        mrmr_err err = back(now, &path, at);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            continue;
        MRMR_TRY(err);
        step->origin[!side] = strdup(path.data);
        if (!step->origin[!side])
            return mrmr_nomem();
    }
    return MRMR_OK;
}

/* The inode that the name led to, in the catalog still where that came from. */
static mrmr_err went_judge(const struct pool_moved_now *now, size_t at, bool *ret_went)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const uint64_t *inode = now->steps.step[at].inode;
    struct meta_node node;
    *ret_went = false;
    MRMR_TRY(mrmr_bytes_str(&path, now->step[at].path[0]));
    mrmr_err err = back(now, &path, at);
    if (!err)
        err = meta_lookup_path(now->pool->meta, now->root, path.data, &node);
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
    *ret_went =
        inode[0] == node.ino && (!inode[1] || !node.btime || (int64_t)inode[1] == node.btime);
    return MRMR_OK;
}

static mrmr_err ask(const struct pool_moved_now *now, size_t at)
{
    struct now_step *step = &now->step[at];
    bool gone;
    MRMR_TRY(went_judge(now, at, &gone));
    step->what[0] = gone ? NOW_KNOWN : NOW_STALE;
    step->counts = gone;
    return MRMR_OK;
}

/* Each when just those before it that count are in the index. On failure all that may count are. */
static mrmr_err ask_all(const struct pool_moved_now *now)
{
    mrmr_err err = MRMR_OK;
    now_index_clear(now, &now->back);
    for (size_t i = 0; i < now->asked->upto; i++) {
        if (!err && now->step[i].what[0] == NOW_NOT_ASKED)
            err = ask(now, i);
        now_index_put(now, &now->back, i);
    }
    now->asked->all = !err;
    return err;
}

static mrmr_err went(const struct pool_moved_now *now, size_t at, bool *ret_went)
{
    const struct now_step *step = &now->step[at];
    struct now_asked *asked = now->asked;
    mrmr_err err = MRMR_OK;
    if (step->what[0] == NOW_NOT_ASKED && asked->asking) {
        err = ask_all(now); /* another depends on it; these on none */
    } else if (step->what[0] == NOW_NOT_ASKED) {
        asked->asking = true;
        err = ask(now, at);
        asked->asking = false;
    }
    *ret_went = step->what[0] == NOW_KNOWN;
    return err;
}

static mrmr_err judge_all(struct pool_moved_now *now)
{
    for (size_t i = 0; i < now->steps.n; i++) {
        struct now_step *step = &now->step[i];
        now->asked->upto = i;
        if (moved_is_gone(step->kind)) {
            if (now->asked->all)
                MRMR_TRY(ask(now, i));
            now_index_put(now, &now->back, i);
            continue;
        }
        bool both = step->kind == POOL_MOVED_EXCHANGE;
        MRMR_TRY(judge(now, i, 0));
        if (both)
            MRMR_TRY(judge(now, i, 1));
        step->counts = step->what[0] != NOW_STALE && (!both || step->what[1] != NOW_STALE);
        if (is_unknown(step))
            MRMR_TRY(judge_unknown(now, i));
        now_index_put(now, &now->back, i);
    }
    now->asked->upto = now->steps.n;
    return MRMR_OK;
}

/* --- forwards --- */

/* Where what is at the path after `from` steps is now; NULL: nowhere. What the catalog has there is in no unknown folder before it is
 * moved there. */
static mrmr_err forth(const struct pool_moved_now *now, size_t from, const char *to, char **ret_now)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    unsigned work = WORK_MOST;
    bool came = from > 0;
    MRMR_TRY(mrmr_bytes_str(&path, to));
    for (;;) {
        const struct now_found found = now_find(now, path.data, from, false, &work);
        if (!work)
            return too_much(path.data);
        if (found.step == NOW_NONE)
            break;
        const struct now_step *step = &now->step[found.step];
        bool gone = false;
        if (moved_is_gone(step->kind)) {
            MRMR_TRY(went(now, (size_t)found.step, &gone));
            if (gone)
                return MRMR_OK;
            continue;
        }
        if (path.size == step->size[found.side]) {
            *ret_now = step->now[found.side] ? strdup(step->now[found.side]) : NULL;
            return *ret_now || !step->now[found.side] ? MRMR_OK : mrmr_nomem();
        }
        if (is_unknown(step) && !came) {
            from = (size_t)found.step + 1;
            continue;
        }
        if (step->kind == POOL_MOVED_RENAME && found.side == 1)
            return MRMR_OK; /* it was replaced */
        mrmr_err err = replace(
            &path, step->size[found.side], step->path[!found.side], step->size[!found.side]);
        if (err)
            return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
        came = true;
        from = (size_t)found.step + 1;
    }
    *ret_now = strdup(path.data);
    return *ret_now ? MRMR_OK : mrmr_nomem();
}

/* The last one first, so that those before it go on from it. */
static mrmr_err lead_all(struct pool_moved_now *now)
{
    for (size_t i = now->steps.n; i-- > 0; now_index_put(now, &now->forth, i)) {
        struct now_step *step = &now->step[i];
        if (!step->counts || moved_is_gone(step->kind))
            continue;
        const bool stays = is_unknown(step);
        MRMR_TRY(forth(now, i + 1, step->path[!stays], &step->now[0]));
        if (stays || step->kind == POOL_MOVED_EXCHANGE)
            MRMR_TRY(forth(now, i + 1, step->path[stays], &step->now[1]));
    }
    return MRMR_OK;
}

/* --- life --- */

static mrmr_err now_make(struct pool_moved_now *now)
{
    size_t n = now->steps.n;
    now->buckets = 16;
    while (now->buckets < 2 * n)
        now->buckets *= 2;
    now->step = calloc(n + 1, sizeof *now->step);
    now->place = calloc(2 * n + 1, sizeof *now->place);
    now->looks = calloc(1, sizeof *now->looks);
    now->asked = calloc(1, sizeof *now->asked);
    if (!now->step || !now->place || !now->looks || !now->asked)
        return mrmr_nomem();
    MRMR_TRY(now_index_create(now, &now->back));
    MRMR_TRY(now_index_create(now, &now->forth));
    for (size_t i = 0; i < n; i++) {
        const struct pool_moved_step *step = &now->steps.step[i];
        now->step[i] = (struct now_step){.kind = step->kind,
            .path = {step->from, step->to},
            .size = {strlen(step->from), step->to ? strlen(step->to) : 0},
            .what = {moved_is_gone(step->kind) ? NOW_NOT_ASKED : NOW_STALE},
            .counts = moved_is_gone(step->kind)};
    }
    MRMR_TRY(judge_all(now));
    MRMR_TRY(lead_all(now));
    now_places_make(now);
    return MRMR_OK;
}

mrmr_err pool_moved_now_create(
    struct pool *pool, int64_t drive, int64_t root, struct pool_moved_now **ret_now)
{
    struct pool_moved_now *now = calloc(1, sizeof *now);
    if (!now)
        return mrmr_nomem();
    now->pool = pool;
    now->drive = drive;
    now->root = root;
    mrmr_err err = pool_moved_steps(pool, drive, &now->steps);
    if (!err)
        err = now_make(now);
    if (err)
        pool_moved_now_destroy(now);
    else
        *ret_now = now;
    return err;
}

void pool_moved_now_destroy(struct pool_moved_now *now)
{
    if (!now)
        return;
    for (size_t i = 0; now->step && i < now->steps.n; i++) {
        for (unsigned side = 0; side < 2; side++) {
            free(now->step[i].origin[side]);
            free(now->step[i].now[side]);
        }
    }
    free(now->step);
    now_index_destroy(&now->back);
    now_index_destroy(&now->forth);
    free(now->place);
    free(now->looks);
    free(now->asked);
    pool_moved_steps_free(&now->steps);
    free(now);
}

/* --- asking --- */

static bool steps_equal(const struct pool_moved_steps *a, const struct pool_moved_steps *b)
{
    bool equal = a->n == b->n;
    for (size_t i = 0; equal && i < a->n; i++) {
        const struct pool_moved_step *x = &a->step[i], *y = &b->step[i];
        equal = x->kind == y->kind && x->inode[0] == y->inode[0] && x->inode[1] == y->inode[1] &&
                strcmp(x->from, y->from) == 0 &&
                (!x->to || !y->to ? x->to == y->to : strcmp(x->to, y->to) == 0);
    }
    return equal;
}

mrmr_err pool_moved_now_same(struct pool_moved_now *now, uint64_t stamp, bool *ret_same)
{
    struct pool_moved_steps steps;
    *ret_same = now->steps.stamp == stamp;
    if (*ret_same)
        return MRMR_OK;
    MRMR_TRY(pool_moved_steps(now->pool, now->drive, &steps));
    *ret_same = steps_equal(&steps, &now->steps);
    if (*ret_same)
        now->steps.stamp = steps.stamp;
    pool_moved_steps_free(&steps);
    return MRMR_OK;
}

mrmr_err pool_moved_now_origin(
    const struct pool_moved_now *now, const char *path, struct mrmr_bytes *ret_path)
{
    mrmr_bytes_clear(ret_path);
    MRMR_TRY(mrmr_bytes_str(ret_path, path));
    return back(now, ret_path, now->steps.n);
}

mrmr_err pool_moved_now_place(
    const struct pool_moved_now *now, const char *path, struct mrmr_bytes *ret_path)
{
    mrmr_autofree char *place = NULL;
    MRMR_TRY(forth(now, 0, path, &place));
    if (!place)
        return mrmr_fail(MRMR_ABSENT, "it was removed, or replaced");
    mrmr_bytes_clear(ret_path);
    return mrmr_bytes_str(ret_path, place);
}
