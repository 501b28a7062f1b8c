/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Compare: files that changed, leaf by leaf, against the digests of what the stripes hold of them.
 * What is the same goes on being protected; what is not is an erasure, and exposed.
 *
 * Two kinds of files come here. Of one that was edited (its node has a new version) leaves that
 * differ are simply not the old ones. Of one that should be as it was (node.recheck: only its
 * change time or inode differs, or it came back) a leaf that differs is damage or an edit that hid
 * itself: its old bytes are held until the user says what it is (I5).
 *
 * Crash argument. A file's verdict is one group of writes: its extents leave SUSPECT, and its
 * leaves are exposed or not, wholly or not at all. SUSPECT is an erasure until then, so a crash
 * leaves too little claimed, never too much. A verdict is given only on bytes of a file that was
 * the catalog's before and after they were read, and not within a clock tick of its last change
 * (I4).
 *
 * Of a file that was edited, and is written to all the time, a verdict is given, too, or what shares parity with it would have a
 * margin less for as long. It need not be as the catalog has it: it must be the same inode, and have been changed later than
 * the catalog says, by a change time that nobody sets. Against whoever writes meanwhile: a leaf that is what the stripe holds was
 * in place when it was read, after the catalog's look at the file. Who changes it after that through the mount has kept it
 * before, since what is SUSPECT counts as what is LIVE does (I3), in each epoch alike. Who changes it on the drive leaves
 * a change time that is not the catalog's, as it is not now: the next scan makes all of the file SUSPECT again, as of any
 * edit, and until then nobody takes its bytes for rot, since that is said only of a file that is as the catalog has it. A leaf
 * that is not what the stripe holds, or was torn by the reading, was changed by somebody, and is an erasure, or kept. So is one
 * that was cut off since: a file whose end goes to and fro would wait for ever. What grew behind the catalog's size is not looked at.
 * Against the power going: a leaf that was written over and has its bytes back has them in memory, and those that were kept of it are let go
 * of, so the file is synced before the verdict; it is as it was read then, or has a time that the next scan finds.
 * Left to wait for the next scan, as before: files that should be as they were, since there a verdict may be damage; those that were
 * replaced; and all on drives whose change times or inodes say nothing.
 */
#include "pool/records/moved.h"
#include "pool/retained/retained.h"
#include "pool/scan/scan.h"

#include "base/text.h"
#include <string.h>

enum {
    COMPARE_BATCH = 8, /* leaves read and digested together */
    COMPARE_NODES = 64,
    COMPARE_RETAINED = META_SUSPECT + 1, /* a verdict: its bytes lie elsewhere on the drive (I3) */
};

/* One file at hand. */
struct compare_file {
    struct meta_node node;
    struct drv_file *file;
    struct drv_stat stat;
    const char *path;
    struct meta_extent *extent;
    size_t n;
    uint8_t *verdict; /* enum meta_extent_state, or COMPARE_RETAINED, of each leaf of the suspect
                         extents, one after another */
    uint8_t
        *covered; /* a bit for each leaf of the file: some extent has it in place, or wants it */
    uint64_t nverdict;
    bool differs; /* some leaf is not what a stripe holds */
    bool damaged; /* and it should be */
    bool unreadable;
    bool goes_on; /* being written to: it is not as the catalog has it any more */
    bool cut;     /* some leaf ended before the catalog's size */
};

struct compare {
    struct pool *pool;
    struct pool_drive *drive;
    struct pool_scan_worker *worker;
    struct pool_scan_held held;
    struct pool_paths paths;
    uint8_t *buffer; /* COMPARE_BATCH leaves */
    int64_t begun;   /* monotonic: the scan is over, and stored each time that it saw */
    uint64_t skipped, held_files;
};

static void compare_file_close(struct compare_file *f)
{
    drv_file_close(f->file);
    free(f->extent);
    free(f->verdict);
    free(f->covered);
}

static bool covered_get(const struct compare_file *f, uint64_t leaf)
{
    return f->covered[leaf / 8] >> (leaf % 8) & 1;
}

static void covered_set(struct compare_file *f, uint64_t leaf)
{
    f->covered[leaf / 8] |= (uint8_t)(1 << (leaf % 8));
}

/* --- Reading --- */

/* What of a leaf is in the file now. */
static uint64_t compare_leaf_now(const struct compare_file *f, uint64_t leaf)
{
    uint64_t begin = leaf * META_LEAF;
    if (begin >= f->stat.size)
        return 0;
    return f->stat.size - begin < META_LEAF ? f->stat.size - begin : META_LEAF;
}

/* A newer version's extent is compared for this leaf, too. */
static bool compare_is_older(
    const struct compare_file *f, const struct meta_extent *extent, uint64_t leaf)
{
    for (size_t e = 0; e < f->n; e++) {
        const struct meta_extent *other = &f->extent[e];
        if (other != extent && other->state == META_SUSPECT && leaf >= other->first &&
            leaf < other->first + other->leaves &&
            (other->version > extent->version ||
                (other->version == extent->version && other->id > extent->id)))
            return true;
    }
    return false;
}

/* Not what the stripe holds; that may be kept elsewhere on the drive, which is read into buf. */
static uint8_t compare_other(const struct compare *c, struct compare_file *f,
    const struct meta_extent *extent, uint64_t leaf, uint8_t *buf)
{
    f->differs = true;
    if (!f->node.recheck || covered_get(f, leaf) || compare_is_older(f, extent, leaf)) {
        uint64_t i = leaf - extent->first;
        return pool_retained_read(
                   c->drive->drv, &extent->digests[i], buf, pool_leaf_size(extent, i))
                   ? META_GONE
                   : COMPARE_RETAINED;
    }
    f->damaged = true;
    covered_set(f, leaf);
    return META_MISSING;
}

static enum meta_extent_state compare_equal(struct compare_file *f, uint64_t leaf, bool whole)
{
    if (!whole || covered_get(f, leaf)) {
        f->differs = f->differs || !whole;
        return META_STALE;
    }
    covered_set(f, leaf);
    return META_LIVE;
}

/* Leaves [i, i + n) of an extent. */
static mrmr_err compare_batch(struct compare *c, struct compare_file *f,
    const struct meta_extent *extent, uint64_t i, size_t n, uint8_t verdict[])
{
    struct mrmr_span span[COMPARE_BATCH];
    struct mrmr_digest digest[COMPARE_BATCH];
    size_t which[COMPARE_BATCH], spans = 0;
    for (size_t k = 0; k < n; k++) {
        uint64_t leaf = extent->first + i + k, size = pool_leaf_size(extent, i + k);
        uint8_t *buf = c->buffer + k * META_LEAF;
        if (compare_leaf_now(f, leaf) < size) {
            verdict[k] = compare_other(c, f, extent, leaf, buf);
            continue;
        }
        mrmr_err err = drv_file_read_exact(f->file, leaf * META_LEAF, buf, size);
        if (err == MRMR_IO || mrmr_class_of(err) == MRMR_CLASS_CORRUPT) {
            if (err == MRMR_TRUNCATED) {
                f->cut = true;
                verdict[k] = compare_other(c, f, extent, leaf, buf);
                continue;
            }
            f->unreadable = true;
            verdict[k] = META_SUSPECT; /* nobody knows: it is compared again */
            if (f->node.recheck) {     /* it should be as it was: what is protected is wanted */
                covered_set(f, leaf);
                verdict[k] = META_MISSING;
            }
            continue;
        }
        MRMR_TRY(err);
        span[spans] = (struct mrmr_span){buf, size};
        which[spans++] = k;
    }
    mrmr_digest_batch(spans, span, digest);
    for (size_t s = 0; s < spans; s++) {
        size_t k = which[s];
        uint64_t leaf = extent->first + i + k;
        bool whole = compare_leaf_now(f, leaf) == span[s].size;
        verdict[k] = mrmr_digest_equal(&digest[s], &extent->digests[i + k])
                         ? (uint8_t)compare_equal(f, leaf, whole)
                         : compare_other(c, f, extent, leaf, c->buffer + k * META_LEAF);
        atomic_fetch_add_explicit(&c->worker->team->bytes, span[s].size, memory_order_relaxed);
    }
    return MRMR_OK;
}

static mrmr_err compare_read(struct compare *c, struct compare_file *f)
{
    uint64_t at = 0;
    for (size_t e = 0; e < f->n; e++) {
        const struct meta_extent *extent = &f->extent[e];
        if (extent->state != META_SUSPECT)
            continue;
        drv_file_advise(f->file, extent->first * META_LEAF, extent->bytes, false);
        for (uint64_t i = 0; i < extent->leaves; i += COMPARE_BATCH) {
            uint64_t left = extent->leaves - i;
            size_t n = left < COMPARE_BATCH ? (size_t)left : COMPARE_BATCH;
            MRMR_TRY(pool_scan_poll(c->worker));
            MRMR_TRY(compare_batch(c, f, extent, i, n, f->verdict + at + i));
        }
        at += extent->leaves;
    }
    return MRMR_OK;
}

/* --- Writing --- */

static mrmr_err compare_judge(struct compare *c, const struct compare_file *f,
    const struct meta_extent *extent, const uint8_t verdict[])
{
    struct meta *meta = c->pool->meta;
    mrmr_autofree struct meta_verdict *runs = calloc(extent->leaves, sizeof *runs);
    size_t n = 0;
    if (!runs)
        return mrmr_nomem();
    for (uint64_t i = 0; i < extent->leaves; i++) {
        bool retained = verdict[i] == COMPARE_RETAINED;
        if (!n || verdict[i] != verdict[i - 1])
            runs[n++] = (struct meta_verdict){
                0, retained ? META_STALE : (enum meta_extent_state)verdict[i], retained};
        runs[n - 1].leaves++;
    }
    MRMR_TRY(meta_extent_judge(meta, extent->id, runs, n));
    uint64_t first = extent->first;
    for (size_t r = 0; r < n; first += runs[r++].leaves)
        if (runs[r].state == META_LIVE)
            MRMR_TRY(meta_unexpose(meta, f->node.id, first, runs[r].leaves));
    return MRMR_OK;
}

/* Its bytes are not what was protected, although nothing says that it was edited. */
static mrmr_err compare_hold(struct compare *c, const struct compare_file *f)
{
    struct meta_change held = {
        .drive = f->node.drive, .kind = META_CHANGE_HELD, .node = f->node.id, .now = f->node};
    return meta_change_add(c->pool->meta, &held);
}

static mrmr_err compare_write(
    struct compare *c, struct compare_file *f, const struct pool_scan_leaves *leaves)
{
    struct meta *meta = c->pool->meta;
    uint64_t at = 0;
    for (size_t e = 0; e < f->n; e++) {
        if (f->extent[e].state != META_SUSPECT)
            continue;
        MRMR_TRY(compare_judge(c, f, &f->extent[e], f->verdict + at));
        at += f->extent[e].leaves;
    }
    if (f->node.recheck && !f->damaged && !f->unreadable) {
        f->node.recheck = false;
        MRMR_TRY(meta_node_store(meta, &f->node));
    }
    if (f->damaged)
        MRMR_TRY(compare_hold(c, f));
    return pool_scan_leaves_expose_rest(meta, f->node.drive, f->node.id, leaves, mrmr_clock_real());
}

/* --- One file --- */

/* f->stat: as far as the catalog's size. */
static mrmr_err compare_same(struct compare *c, struct compare_file *f)
{
    MRMR_TRY(drv_file_stat(f->file, &f->stat));
    if (pool_stat_same(&c->drive->info, &f->node, &f->stat) == POOL_SAME)
        return f->cut ? mrmr_fail(MRMR_CHANGED, "it was shorter than it is") : MRMR_OK;
    if (f->node.recheck || !pool_stat_later(&c->drive->info, &f->node, &f->stat))
        return mrmr_fail(MRMR_CHANGED, "it was changed since the scan");
    f->goes_on = true;
    if (f->stat.size != f->node.size)
        f->stat.allocated = 0; /* nobody knows where: it is looked for holes */
    f->stat.size = f->node.size;
    return MRMR_OK;
}

static mrmr_err compare_open(struct compare *c, struct compare_file *f)
{
    MRMR_TRY(pool_paths_get(c->pool, &c->paths, f->node.id, &f->path));
    MRMR_TRY(meta_extents_of(c->pool->meta, f->node.id, &f->extent, &f->n));
    MRMR_TRY(pool_node_open(c->pool, f->node.id, &f->file));
    MRMR_TRY(compare_same(c, f));
    bool renamed = false;
    if (!(c->drive->info.caps & DRV_CAP_STABLE_INO))
        MRMR_TRY(pool_moved_concerns(c->pool, f->node.drive, f->path, &renamed));
    if (renamed)
        return mrmr_fail(MRMR_CHANGED, "another file may be there by now");
    pool_tick_wait(&c->drive->info, &f->stat, c->begun);
    uint64_t end = 1;
    for (size_t e = 0; e < f->n; e++) {
        const struct meta_extent *extent = &f->extent[e];
        f->nverdict += extent->state == META_SUSPECT ? extent->leaves : 0;
        if (extent->first + extent->leaves > end)
            end = extent->first + extent->leaves;
    }
    f->verdict = malloc(f->nverdict + 1);
    f->covered = calloc(end / 8 + 1, 1);
    if (!f->verdict || !f->covered)
        return mrmr_nomem();
    for (size_t e = 0; e < f->n; e++)
        if (f->extent[e].state == META_LIVE || f->extent[e].state == META_MISSING)
            for (uint64_t i = 0; i < f->extent[e].leaves; i++)
                covered_set(f, f->extent[e].first + i);
    return MRMR_OK;
}

static void compare_tell(struct compare *c, const struct compare_file *f)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (mrmr_text_print(&path, f->path, strlen(f->path)))
        return;
    if (f->unreadable)
        pool_scan_note(c->worker, "unreadable",
            f->node.recheck
                ? "on drive %s, parts of '%.600s' cannot be read: they count as missing; look at "
                  "the drive, and mrmr scrub --repair writes them anew"
                : "on drive %s, parts of '%.600s', which was edited, cannot be read: what was "
                  "protected of it before is kept until they can be; look at the drive",
            c->drive->meta.name, path.data);
    if (f->damaged && !pool_scan_held_find(&c->held, f->node.id))
        pool_scan_note(c->worker, "held",
            "on drive %s, the bytes of '%.600s' are not what was protected, yet its size and "
            "modification time do not say that it was edited: rot, or an edit that set the time "
            "back. What "
            "was protected is held. mrmr scrub --repair gives it back; mrmr sync --accept-changes "
            "takes what is there now",
            c->drive->meta.name, path.data);
}

static mrmr_err compare_node(struct compare *c, struct compare_file *f)
{
    MRMR_TRY(compare_open(c, f));
    MRMR_TRY(compare_read(c, f));
    MRMR_TRY(compare_same(c, f));
    if (f->goes_on)
        MRMR_TRY(drv_file_sync(f->file));
    struct pool_scan_leaves leaves = {.n = 0};
    mrmr_err err = MRMR_OK;
    if (f->differs)
        err = pool_scan_leaves_of(c->drive->drv, f->path, &f->stat, &leaves);
    if (!err) {
        pool_scan_write_begin(c->worker);
        err = compare_write(c, f, &leaves);
        pool_scan_write_end(c->worker, (unsigned)(3 * f->n));
    }
    pool_scan_leaves_free(&leaves);
    MRMR_TRY(err);
    c->held_files += f->damaged;
    atomic_fetch_add_explicit(&c->worker->team->items, 1, memory_order_relaxed);
    compare_tell(c, f);
    return MRMR_OK;
}

/* Whose bytes wait to be compared, until the next time. */
static mrmr_err compare_skip(struct compare *c, const struct compare_file *f, mrmr_err err)
{
    c->skipped++;
    if (*f->path)
        mrmr_err_path(err, f->path);
    pool_scan_note_story(c->worker, false, "file-skipped", "not compared in this run");
    return MRMR_OK;
}

/* What concerns one file leaves it suspect for the next time. */
static mrmr_err compare_failed(struct compare *c, const struct compare_file *f, mrmr_err err)
{
    switch (mrmr_class_of(err)) {
    case MRMR_CLASS_ABSENT:
    case MRMR_CLASS_CONFLICT:
    case MRMR_CLASS_INVALID:
        return compare_skip(c, f, err);
    case MRMR_CLASS_DENIED:
    case MRMR_CLASS_UNSUPPORTED:
        break;
    case MRMR_CLASS_UNAVAILABLE:
        if (mrmr_of_one_thing(err))
            break;
        c->worker->stopped = true;
        return mrmr_err_drive(err, c->drive->meta.name);
    default:
        return err;
    }
    c->skipped++;
    mrmr_err_path(err, f->path);
    pool_scan_note_story(c->worker, true, "unreadable", "a changed file could not be compared");
    return MRMR_OK;
}

static mrmr_err compare_drive(struct compare *c)
{
    int64_t ids[COMPARE_NODES], after = 0;
    for (;;) {
        size_t n;
        MRMR_TRY(
            meta_suspects_after(c->pool->meta, c->drive->meta.id, after, ids, COMPARE_NODES, &n));
        if (!n)
            return MRMR_OK;
        after = ids[n - 1];
        for (size_t i = 0; i < n; i++) {
            struct compare_file f = {.path = ""};
            MRMR_TRY(pool_scan_poll(c->worker));
            mrmr_err err = meta_node_get(c->pool->meta, ids[i], &f.node);
            MRMR_TRY(err);
            if (f.node.drive != c->drive->meta.id)
                continue; /* it moved to another drive: nothing is in place to compare with */
            err = compare_node(c, &f);
            if (err)
                err = compare_failed(c, &f, err);
            compare_file_close(&f);
            MRMR_TRY(err);
        }
    }
}

/* --- The whole --- */

static mrmr_err compare_work(struct pool_scan_worker *worker)
{
    struct compare *c = worker->arg;
    c->worker = worker;
    c->buffer = malloc(COMPARE_BATCH * META_LEAF);
    if (!c->buffer)
        return mrmr_nomem();
    return compare_drive(c);
}

/* The drives with something to compare. */
static mrmr_err compare_begin(
    struct pool *pool, struct compare compares[], struct pool_scan_worker workers[], size_t *ret_n)
{
    const int64_t begun = mrmr_clock_monotonic();
    *ret_n = 0;
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        int64_t id;
        size_t any;
        if (drive->presence != POOL_PRESENT || !drive->drv)
            continue;
        MRMR_TRY(meta_suspects_after(pool->meta, drive->meta.id, 0, &id, 1, &any));
        if (!any)
            continue;
        struct compare *c = &compares[*ret_n];
        *c = (struct compare){.pool = pool, .drive = drive, .begun = begun};
        workers[*ret_n] = (struct pool_scan_worker){.drive = drive, .arg = c};
        ++*ret_n;
        MRMR_TRY(pool_scan_held_load(pool->meta, drive->meta.id, &c->held));
    }
    return MRMR_OK;
}

static mrmr_err compare_end(struct pool *pool, const struct pool_job *job,
    struct pool_scan_worker workers[], size_t n, struct pool_sync_report *report)
{
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; i < n; i++) {
        struct compare *c = workers[i].arg;
        report->skipped += c->skipped;
        report->held += c->held_files;
        if (workers[i].stopped) {
            mrmr_story_restore(&workers[i].story);
            pool_tell_story(pool, job, true, "drive-failed", c->drive,
                "comparing changed files ended early; the rest waits for the next time");
        }
        if (!err)
            err = pool_scan_held_sweep(pool->meta, c->drive->meta.id);
    }
    return err;
}

mrmr_err pool_compare(
    struct pool *pool, const struct pool_job *job, struct pool_sync_report *report)
{
    mrmr_autofree struct compare *compares = calloc(pool->ndrives + 1, sizeof *compares);
    mrmr_autofree struct pool_scan_worker *workers = calloc(pool->ndrives + 1, sizeof *workers);
    size_t n = 0;
    if (!compares || !workers)
        return mrmr_nomem();
    mrmr_err err = compare_begin(pool, compares, workers, &n);
    if (!err && n)
        err = pool_scan_team_run(pool, job, "compare", workers, n, compare_work);
    struct mrmr_story story;
    mrmr_story_save(&story);
    mrmr_err end = compare_end(pool, job, workers, n, report);
    for (size_t i = 0; i < n; i++) {
        pool_scan_held_free(&compares[i].held);
        pool_paths_free(&compares[i].paths);
        free(compares[i].buffer);
    }
    if (!err)
        return end;
    mrmr_story_restore(&story);
    return err;
}
