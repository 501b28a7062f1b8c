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
#include "pool/moved.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = -1, WORK_MOST = 1 << 20 };

enum what { WHAT_STALE, WHAT_KNOWN, WHAT_UNKNOWN, WHAT_NOT_ASKED };

struct now_step {
    enum pool_moved_kind kind;
    const char *path[2]; /* from, to; of a name that went the first alone */
    size_t size[2];
    enum what what[2]; /* what was at from, and at to if it is exchanged */
    bool counts;
    char *origin[2]; /* where the catalog has that; NULL: nowhere */
    char *now[2];    /* where that is now; NULL: nowhere */
};

struct now_side { /* a path of a step, in its bucket */
    size_t step;
    unsigned side;
    ptrdiff_t next; /* put in before, or NONE */
};

/* The steps by their paths: in a bucket those come first that were put in last. */
struct now_index {
    struct now_side *side; /* two for each step; in a bucket if it was put in */
    ptrdiff_t *bucket;
};

/* Which names that went were asked of. */
struct now_asked {
    size_t upto; /* steps that are judged, and in the index */
    bool asking; /* of one now */
    bool all;    /* up to there; then it is of each that comes */
};

struct pool_moved_now {
    struct pool *pool;
    int64_t drive, root;
    struct pool_moved_steps steps; /* owns the paths */
    struct now_step *step;
    struct now_index back, forth; /* put in in order, and the other way round */
    size_t buckets;               /* of each; a power of two */
    struct now_asked *asked;      /* its own memory, as looks */
    const char **place;           /* where what the catalog knows is now, sorted; of the steps */
    size_t places;
    atomic_ullong
        *looks; /* at places and names, so far; its own memory, for it changes when asked */
};

/* --- by path --- */

static uint64_t hash_of(const char *path, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)path[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static void index_clear(const struct pool_moved_now *now, const struct now_index *index)
{
    for (size_t i = 0; i < now->buckets; i++)
        index->bucket[i] = NONE;
}

static mrmr_err index_create(const struct pool_moved_now *now, struct now_index *index)
{
    index->side = calloc(2 * now->steps.n + 1, sizeof *index->side);
    index->bucket = calloc(now->buckets, sizeof *index->bucket);
    if (!index->side || !index->bucket)
        return mrmr_nomem();
    index_clear(now, index);
    return MRMR_OK;
}

static void index_destroy(struct now_index *index)
{
    free(index->side);
    free(index->bucket);
}

static void index_put(const struct pool_moved_now *now, const struct now_index *index, size_t at)
{
    const struct now_step *step = &now->step[at];
    for (unsigned side = 0; step->counts && side < 2 && step->path[side]; side++) {
        uint64_t hash = hash_of(step->path[side], step->size[side]);
        ptrdiff_t *bucket = &index->bucket[hash & (now->buckets - 1)];
        index->side[2 * at + side] = (struct now_side){at, side, *bucket};
        *bucket = (ptrdiff_t)(2 * at + side);
    }
}

/* A step, and which of its paths is the one that was looked for, or a folder above it. */
struct found {
    ptrdiff_t step; /* or NONE */
    unsigned side;
};

/* The latest of those before `to` that was put in; with last false the earliest from `to` on. */
static void find_in(const struct pool_moved_now *now, const char *path, size_t size, size_t to,
    bool last, struct found *found, unsigned *work)
{
    const struct now_index *index = last ? &now->back : &now->forth;
    ptrdiff_t i = index->bucket[hash_of(path, size) & (now->buckets - 1)];
    for (; i != NONE && *work; i = index->side[i].next, --*work) {
        const struct now_side *side = &index->side[i];
        const struct now_step *step = &now->step[side->step];
        ptrdiff_t at = (ptrdiff_t)side->step;
        if (!step->counts || (last ? side->step >= to : side->step < to) ||
            step->size[side->side] != size || memcmp(step->path[side->side], path, size) != 0)
            continue;
        if (found->step == NONE || (last ? at > found->step : at < found->step))
            *found = (struct found){at, side->side};
        return;
    }
}

static struct found find(
    const struct pool_moved_now *now, const char *path, size_t to, bool last, unsigned *work)
{
    struct found found = {.step = NONE};
    for (size_t size = 0; path[size] && *work;) {
        --*work;
        size += strcspn(path + size + 1, "/") + 1;
        find_in(now, path, size, to, last, &found, work);
    }
    return found;
}

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

/* --- backwards --- */

static mrmr_err become(struct mrmr_bytes *path, const char *other)
{
    if (!other)
        return mrmr_fail(MRMR_ABSENT, NULL);
    mrmr_bytes_clear(path);
    return mrmr_bytes_str(path, other);
}

static mrmr_err went(const struct pool_moved_now *now, size_t at, bool *ret_went);

/* The path before `to` steps were made. MRMR_ABSENT: what is there now is none of the catalog's. */
static mrmr_err back(const struct pool_moved_now *now, struct mrmr_bytes *path, size_t to)
{
    unsigned work = WORK_MOST;
    size_t unknown = 0;
    for (;;) {
        const struct found found = find(now, path->data, to, true, &work);
        if (!work)
            return too_much(path->data);
        if (found.step == NONE)
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
        if (step->kind == POOL_MOVED_RENAME && found.side == 0)
            return mrmr_fail(MRMR_ABSENT, "it was renamed");
        if (path->size == step->size[found.side])
            return become(path, step->origin[was]);
        if (step->size[found.side] > unknown)
            unknown = step->what[was] == WHAT_UNKNOWN ? step->size[was] : 0;
        else
            unknown = unknown - step->size[found.side] + step->size[was];
        MRMR_TRY(replace(path, step->size[found.side], step->path[was], step->size[was]));
        to = (size_t)found.step;
    }
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
        step->what[side] = WHAT_KNOWN;
        step->origin[side] = strdup(path.data);
        return step->origin[side] ? MRMR_OK : mrmr_nomem();
    }
    if (inode)
        MRMR_TRY(meta_node_by_ino(meta, now->drive, inode, &node, 1, &n));
    step->what[side] = inode && !n ? WHAT_UNKNOWN : WHAT_STALE;
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
    step->what[0] = gone ? WHAT_KNOWN : WHAT_STALE;
    step->counts = gone;
    return MRMR_OK;
}

/* Each when just those before it that count are in the index. On failure all that may count are. */
static mrmr_err ask_all(const struct pool_moved_now *now)
{
    mrmr_err err = MRMR_OK;
    index_clear(now, &now->back);
    for (size_t i = 0; i < now->asked->upto; i++) {
        if (!err && now->step[i].what[0] == WHAT_NOT_ASKED)
            err = ask(now, i);
        index_put(now, &now->back, i);
    }
    now->asked->all = !err;
    return err;
}

static mrmr_err went(const struct pool_moved_now *now, size_t at, bool *ret_went)
{
    const struct now_step *step = &now->step[at];
    struct now_asked *asked = now->asked;
    mrmr_err err = MRMR_OK;
    if (step->what[0] == WHAT_NOT_ASKED && asked->asking) {
        err = ask_all(now); /* another depends on it; these on none */
    } else if (step->what[0] == WHAT_NOT_ASKED) {
        asked->asking = true;
        err = ask(now, at);
        asked->asking = false;
    }
    *ret_went = step->what[0] == WHAT_KNOWN;
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
            index_put(now, &now->back, i);
            continue;
        }
        bool both = step->kind == POOL_MOVED_EXCHANGE;
        MRMR_TRY(judge(now, i, 0));
        if (both)
            MRMR_TRY(judge(now, i, 1));
        step->counts = step->what[0] != WHAT_STALE && (!both || step->what[1] != WHAT_STALE);
        index_put(now, &now->back, i);
    }
    now->asked->upto = now->steps.n;
    return MRMR_OK;
}

/* --- forwards --- */

/* Where what is at the path after `from` steps is now; NULL: nowhere. */
static mrmr_err forth(const struct pool_moved_now *now, size_t from, const char *to, char **ret_now)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    unsigned work = WORK_MOST;
    MRMR_TRY(mrmr_bytes_str(&path, to));
    for (;;) {
        const struct found found = find(now, path.data, from, false, &work);
        if (!work)
            return too_much(path.data);
        if (found.step == NONE)
            break;
        const struct now_step *step = &now->step[found.step];
        bool gone = step->kind == POOL_MOVED_RENAME && found.side == 1; /* it was replaced */
        if (moved_is_gone(step->kind))
            MRMR_TRY(went(now, (size_t)found.step, &gone));
        if (gone)
            return MRMR_OK;
        if (moved_is_gone(step->kind))
            continue;
        if (path.size == step->size[found.side]) {
            *ret_now = step->now[found.side] ? strdup(step->now[found.side]) : NULL;
            return *ret_now || !step->now[found.side] ? MRMR_OK : mrmr_nomem();
        }
        mrmr_err err = replace(
            &path, step->size[found.side], step->path[!found.side], step->size[!found.side]);
        if (err)
            return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
        from = (size_t)found.step + 1;
    }
    *ret_now = strdup(path.data);
    return *ret_now ? MRMR_OK : mrmr_nomem();
}

/* The last one first, so that those before it go on from it. */
static mrmr_err lead_all(struct pool_moved_now *now)
{
    for (size_t i = now->steps.n; i-- > 0; index_put(now, &now->forth, i)) {
        struct now_step *step = &now->step[i];
        if (!step->counts || moved_is_gone(step->kind))
            continue;
        MRMR_TRY(forth(now, i + 1, step->path[1], &step->now[0]));
        if (step->kind == POOL_MOVED_EXCHANGE)
            MRMR_TRY(forth(now, i + 1, step->path[0], &step->now[1]));
    }
    return MRMR_OK;
}

static int text_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void places_make(struct pool_moved_now *now)
{
    for (size_t i = 0; i < 2 * now->steps.n; i++)
        if (now->step[i / 2].what[i % 2] == WHAT_KNOWN && now->step[i / 2].now[i % 2])
            now->place[now->places++] = now->step[i / 2].now[i % 2];
    qsort(now->place, now->places, sizeof *now->place, text_compare);
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
    MRMR_TRY(index_create(now, &now->back));
    MRMR_TRY(index_create(now, &now->forth));
    for (size_t i = 0; i < n; i++) {
        const struct pool_moved_step *step = &now->steps.step[i];
        now->step[i] = (struct now_step){.kind = step->kind,
            .path = {step->from, step->to},
            .size = {strlen(step->from), step->to ? strlen(step->to) : 0},
            .what = {moved_is_gone(step->kind) ? WHAT_NOT_ASKED : WHAT_STALE},
            .counts = moved_is_gone(step->kind)};
    }
    MRMR_TRY(judge_all(now));
    MRMR_TRY(lead_all(now));
    places_make(now);
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
    index_destroy(&now->back);
    index_destroy(&now->forth);
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

/* Its rest below the folder; NULL: it lies elsewhere. */
static const char *below(const char *path, const char *folder, size_t size)
{
    if (strncmp(path, folder, size) != 0)
        return NULL;
    if (!size)
        return *path ? path : NULL;
    return path[size] == '/' ? path + size + 1 : NULL;
}

/* Before all that is below the folder: those lie side by side, from the folder with a slash on. */
static bool comes_before(const char *path, const char *folder, size_t size)
{
    int order = strncmp(path, folder, size);
    return order < 0 || (order == 0 && size && (uint8_t)path[size] < '/');
}

static size_t first_below(const struct pool_moved_now *now, const char *folder, size_t size)
{
    size_t low = 0, high = now->places;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        atomic_fetch_add(now->looks, 1);
        if (comes_before(now->place[middle], folder, size))
            low = middle + 1;
        else
            high = middle;
    }
    while (!size && low < now->places && !*now->place[low])
        low++; /* the root itself */
    return low;
}

bool pool_moved_now_leads(const struct pool_moved_now *now, const char *folder)
{
    const size_t size = strlen(folder), at = first_below(now, folder, size);
    return at < now->places && below(now->place[at], folder, size);
}

struct name {
    const char *text;
    size_t size;
};

static int name_compare(const void *a, const void *b, void *looks)
{
    const struct name *x = a, *y = b;
    const size_t least = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->text, y->text, least);
    atomic_fetch_add((atomic_ullong *)looks, 1);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The first of what is below goes on past the slash, and so may another behind it: "a", "a-b", "a/c". */
static mrmr_err names_add(
    const struct pool_moved_now *now, struct name *name, size_t n, struct mrmr_bytes *names)
{
    qsort_r(name, n, sizeof *name, name_compare, now->looks);
    for (size_t i = 0; i < n; i++) {
        if (i && name_compare(&name[i - 1], &name[i], now->looks) == 0)
            continue;
        MRMR_TRY(mrmr_bytes_add(names, name[i].text, name[i].size));
        MRMR_TRY(mrmr_bytes_add(names, "", 1));
    }
    return MRMR_OK;
}

mrmr_err pool_moved_now_names(
    const struct pool_moved_now *now, const char *folder, struct mrmr_bytes *names)
{
    const size_t size = strlen(folder), first = first_below(now, folder, size);
    const char *rest;
    size_t end = first;
    while (end < now->places && below(now->place[end], folder, size))
        end++;
    mrmr_autofree struct name *name = calloc(end - first + 1, sizeof *name);
    if (!name)
        return mrmr_nomem();
    for (size_t i = first; i < end; i++) {
        rest = below(now->place[i], folder, size);
        name[i - first] = (struct name){rest, strcspn(rest, "/")};
    }
    atomic_fetch_add(now->looks, end - first);
    return names_add(now, name, end - first, names);
}

uint64_t pool_moved_now_looks(const struct pool_moved_now *now)
{
    return atomic_load(now->looks);
}
