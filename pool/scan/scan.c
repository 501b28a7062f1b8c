/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The scan: all drives at once are walked and compared with the catalog, then each is judged.
 *
 * Crash argument. The scan writes to no drive. In the catalog:
 *   - During the walk, groups of writes are committed from time to time. A group is one of: a new
 * entry with its name, attributes and exposed ranges (true as soon as it is there, and wholly there
 * or not at all, so no file is known without its bytes being exposed); the attributes of a folder,
 * link or special file (true, too); bytes that count as missing becoming suspect (compare reads
 * them before anyone believes them); a staged change (says nothing until it is judged). Cut
 * anywhere, the catalog is as before but for some of these, and the next scan begins with throwing
 * the staged changes away and finds them again.
 *   - A walk that did not end (the drive went away, the user interrupted it) is not judged.
 *   - What people wrote may be in memory yet, with its times on the disk already: after a cut a file would look as the
 * catalog has it, and be without the bytes that were read, digested and claimed. So a drive with anything new is synced once,
 * between its walk and its judgement: whatever has the times of that walk has its bytes. Who writes later leaves other times,
 * or is synced by who reads it then (compare.c, lane.c). Where the job is cut before that sync the next scan makes up for it,
 * since what is exposed is new to that, too.
 *   - The judgement of a drive is one transaction, with the drive's hold and the time of its scan:
 * all of it, or nothing, and then the next scan stages and judges the same again. Between two
 * drives' judgements either may be missing; they do not depend on each other.
 *   - The moment at which it began is left for whoever reads without a drive (written.h) after that drive's
 * judgement, and never before: until then the one of an earlier scan is there, which is as true.
 *   - What is judged as changed is SUSPECT, an erasure, until compare has read it: a crash between
 * scan and compare leaves it so, and compare begins where it was. A new version's leaves are
 * exposed in the same transaction, so none is forgotten. A name that waited for the judgement
 * (another kind of thing is there now) is taken in by a second look at its folder, inside the same
 *     transaction; if the drive fails in that, all of the judgement is rolled back.
 */
#include "pool/scan/scan.h"
#include "pool/drive/drive.h"
#include "pool/drive/hung.h"
#include "pool/records/brought.h"
#include "pool/records/direct.h"
#include "pool/records/gone.h"
#include "pool/records/moved.h"
#include "pool/records/written.h"
#include "pool/return/gone_apply.h"

#include <fcntl.h>
#include <string.h>

/* How often records are looked at for what came meanwhile, before the writers stand still. */
enum { FOLLOW_ROUNDS = 3 };

struct scan {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_sync_report *report;
    struct pool_scan_excludes excludes;
    struct pool_touched touched, touched_first;
    uint64_t moved_before;       /* bytes of what was renamed, when the scan began */
    struct pool_brought brought; /* when it began */
    struct pool_gone *gone;
    struct pool_gone_list over; /* what had been applied when the scan began */
    uint64_t followed; /* stamp of what was recorded, as it was given the catalog's paths last */
    struct pool_scan_drive *drive;
    struct pool_scan_worker *worker; /* worker[i].arg is &drive[i] */
    size_t n;
    struct pool_written_since since; /* of these drives: */
    int64_t *still;
    size_t nstill;
};

/* The boot in which the drive was attached is over, and nobody has looked at it since. */
static bool scan_was_unclean(const struct pool_drive *drive)
{
    const struct meta_drive meta = drive->meta;
    char now[sizeof meta.boot] = "";
    mrmr_autoclose int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (!meta.boot[0] || fd < 0 || read(fd, now, sizeof now - 1) < 0)
        return false;
    now[strcspn(now, "\n")] = '\0';
    return strcmp(meta.boot, now) != 0;
}

static mrmr_err scan_begin_drive(
    struct scan *s, struct pool_drive *drive, bool accept, struct pool_scan_drive *ret_scan)
{
    struct meta *meta = s->pool->meta;
    struct meta_node nodes[2];
    size_t n;
    *ret_scan = (struct pool_scan_drive){.pool = s->pool,
        .drive = drive,
        .job = s->job,
        .excludes = &s->excludes,
        .touched = &s->touched,
        .touched_before = &s->touched_first,
        .brought = &s->brought,
        .gone = s->gone,
        .was_held = drive->meta.hold[0] != '\0',
        .accept = accept,
        .unclean = scan_was_unclean(drive),
        .replacing = drive->meta.state == META_DRIVE_REBUILDING,
        .now = mrmr_clock_real()};
    MRMR_TRY(meta_nodes_after(meta, drive->meta.id, 0, nodes, 2, &n));
    ret_scan->blank = n < 2;
    MRMR_TRY(pool_scan_held_load(meta, drive->meta.id, &ret_scan->held));
    /* Of a scan that did not end. */
    for (int kind = META_CHANGE_VANISHED; kind <= META_CHANGE_APPEARED; kind++) {
        uint64_t staged;
        MRMR_TRY(meta_changes_count(meta, drive->meta.id, (enum meta_change_kind)kind, &staged));
        if (staged)
            MRMR_TRY(meta_changes_clear(meta, drive->meta.id, (enum meta_change_kind)kind));
    }
    return MRMR_OK;
}

/* What was removed while its drive was away goes before the walk. One that fails in that is walked
 * all the same: what waits is as it was. */
static mrmr_err scan_apply_gone(struct scan *s)
{
    MRMR_TRY(pool_gone_open(s->pool->dirfd, true, &s->gone));
    for (size_t i = 0; pool_gone_any(s->gone) && i < s->pool->ndrives; i++) {
        struct pool_drive *drive = s->pool->drives[i];
        if (drive->meta.state == META_DRIVE_RETIRED || !pool_drive_writable(drive))
            continue;
        mrmr_err err = pool_gone_apply(s->pool, s->job, s->gone, drive, NULL, NULL);
        if (mrmr_ran_short(err) || err == MRMR_CANCELLED)
            return err;
        if (err)
            pool_tell_story(s->pool, s->job, true, "removal-waits", drive,
                "what was removed while a drive was away could not be removed from it");
    }
    return pool_gone_list(s->gone, 0, true, &s->over);
}

/* Nobody stores into any of its files without a word, and each change of one shows. */
static bool scan_is_told(struct scan *s, int64_t id)
{
    const struct pool_drive *drive = pool_drive_by_id(s->pool, id);
    struct mrmr_story story;
    mrmr_story_save(&story);
    if ((drive->info.caps & DRV_CAP_STABLE_CTIME) && !pool_direct_none_on(s->pool, drive))
        return true;
    mrmr_story_restore(&story);
    return false;
}

/* Whoever writes from now on notes it as after this (written.h), and asks anew where his file ends. */
static mrmr_err scan_begin_since(struct scan *s)
{
    size_t n = s->n;
    if (!pool_written_lives(s->pool))
        return MRMR_OK;
    s->still = calloc(n + 1, sizeof *s->still);
    if (!s->still)
        return mrmr_nomem();
    for (size_t i = 0; i < n; i++)
        s->still[i] = s->worker[i].drive->meta.id;
    MRMR_TRY(pool_stop_for_some(s->pool, s->job, s->still, &n));
    mrmr_err err = pool_writers_new_epoch(s->pool->writers);
    if (!err)
        s->since = pool_written_begin(s->pool);
    for (size_t i = 0; !err && i < n; i++)
        if (scan_is_told(s, s->still[i]))
            s->still[s->nstill++] = s->still[i];
    pool_writers_go(s->pool->writers);
    return err;
}

static mrmr_err scan_begin(struct scan *s, bool accept)
{
    s->drive = calloc(s->pool->ndrives + 1, sizeof *s->drive);
    s->worker = calloc(s->pool->ndrives + 1, sizeof *s->worker);
    if (!s->drive || !s->worker)
        return mrmr_nomem();
    MRMR_TRY(pool_scan_excludes_load(s->pool, &s->excludes));
    MRMR_TRY(scan_apply_gone(s));
    MRMR_TRY(pool_touched_begin(s->pool, s->job));
    MRMR_TRY(pool_touched_load(s->pool, &s->touched_first));
    MRMR_TRY(pool_brought_load(s->pool, &s->brought));
    MRMR_TRY(pool_moved_begin(s->pool, s->job, &s->moved_before));
    for (size_t i = 0; i < s->pool->ndrives; i++) {
        struct pool_drive *drive = s->pool->drives[i];
        if (drive->meta.state == META_DRIVE_RETIRED)
            continue;
        if (drive->presence != POOL_PRESENT || !drive->drv) {
            s->report->drives_away += drive->presence != POOL_DETACHED;
            continue;
        }
        struct pool_scan_drive *scan = &s->drive[s->n];
        s->worker[s->n].drive = drive;
        s->worker[s->n].arg = scan;
        s->n++;
        MRMR_TRY(scan_begin_drive(s, drive, accept, scan));
    }
    return scan_begin_since(s);
}

static void scan_free(struct scan *s)
{
    for (size_t i = 0; i < s->n; i++)
        pool_scan_walk_free(&s->drive[i]);
    free(s->drive);
    free(s->worker);
    free(s->still);
    pool_scan_excludes_free(&s->excludes);
    pool_touched_free(&s->touched);
    pool_touched_free(&s->touched_first);
    pool_brought_free(&s->brought);
    pool_gone_list_free(&s->over);
    pool_gone_close(s->gone);
}

/* There are bytes that compare or protect are going to read and to count on. */
static mrmr_err scan_is_new(const struct pool_scan_drive *scan, bool *ret_new)
{
    struct meta *meta = scan->pool->meta;
    const int64_t drive = scan->drive->meta.id;
    struct meta_exposed_total exposed;
    uint64_t changed, again;
    MRMR_TRY(meta_exposed_total(meta, drive, &exposed));
    MRMR_TRY(meta_changes_count(meta, drive, META_CHANGE_CHANGED, &changed));
    MRMR_TRY(meta_changes_count(meta, drive, META_CHANGE_RECHECK, &again));
    *ret_new = exposed.files || changed || again;
    return MRMR_OK;
}

/* What has the times that the walk saw has the bytes, too, from here on. A backend that cannot do that promises nothing of the kind. */
static mrmr_err scan_sync_drive(struct pool_scan_worker *worker)
{
    const struct pool_scan_drive *scan = worker->arg;
    bool is_new;
    MRMR_TRY(scan_is_new(scan, &is_new));
    mrmr_err err = is_new ? drv_sync_all(scan->drive->drv) : MRMR_OK;
    if (!err || err == MRMR_UNSUPPORTED)
        return MRMR_OK;
    worker->stopped = true;
    return mrmr_err_drive(err, scan->drive->meta.name);
}

static mrmr_err scan_work(struct pool_scan_worker *worker)
{
    struct pool_scan_drive *scan = worker->arg;
    scan->worker = worker;
    MRMR_TRY(pool_scan_walk(scan));
    return scan_sync_drive(worker);
}

/* The drive stopped answering: nothing that was staged for it is applied, and nobody asks it again
 * in this run. */
static void scan_lost_drive(struct scan *s, const struct pool_scan_worker *worker)
{
    struct pool_drive *drive = worker->drive;
    mrmr_story_restore(&worker->story);
    mrmr_err_hint(worker->err, "look at the drive and its cable, then run the command again");
    {
        mrmr_locked(&drive->lock);
        mrmr_story_save(&drive->why);
        drive->errors++;
        drive->presence = worker->err == MRMR_OFFLINE ? POOL_AWAY : POOL_FAILED;
    }
    s->report->drives_away++;
    pool_tell_story(s->pool, s->job, true, "drive-failed", drive,
        "the scan of a drive ended early; it counts as it was seen last");
}

static mrmr_err scan_judge(struct scan *s, struct pool_scan_worker *worker)
{
    if (!worker->err) {
        worker->err = pool_scan_judge(worker->arg, s->report);
        mrmr_story_save(&worker->story);
    }
    if (!worker->err || !worker->stopped)
        return worker->err;
    scan_lost_drive(s, worker);
    return MRMR_OK;
}

/* All of the drive was looked at, if a record is what keeps a file from being overlooked. */
static bool scan_saw_touched(const struct pool_scan_drive *scan)
{
    return (scan->drive->info.caps & DRV_CAP_STABLE_CTIME) ||
           (!scan->unreadable && !scan->hidden.n && !scan->replacing);
}

/* Nothing of the drive is otherwise in the catalog than it was met. */
static bool scan_saw_all(const struct pool_scan_drive *scan)
{
    return !scan->hold && !scan->replacing && !scan->unreadable && !scan->hidden.n &&
           !scan->stranded.n && !scan->escaped.n && !scan->unseen.size;
}

static void scan_leave_since(struct scan *s)
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->nstill; j++)
            if (s->still[j] == s->worker[i].drive->meta.id && !s->worker[i].err &&
                scan_saw_all(&s->drive[i]))
                pool_written_scanned(s->pool, s->since, s->still[j]);
}

/* What had been applied on these drives when the scan began is not in the catalog any more; but of a
 * drive that is being restored, where what is not there yet has not vanished. */
static mrmr_err scan_drop_gone(struct scan *s, const int64_t drives[], size_t ndrives)
{
    mrmr_autofree uint64_t *ids = calloc(s->over.n + 1, sizeof *ids);
    size_t n = 0;
    if (!ids)
        return mrmr_nomem();
    for (size_t i = 0; i < s->over.n; i++) {
        const struct pool_drive *drive = pool_drive_by_id(s->pool, s->over.record[i].drive);
        bool scanned = !drive; /* what one that was given up has still must not show again */
        bool whole = drive && drive->meta.state != META_DRIVE_REBUILDING;
        for (size_t d = 0; whole && !scanned && d < ndrives; d++)
            scanned = drives[d] == s->over.record[i].drive;
        if (scanned)
            ids[n++] = s->over.record[i].id;
    }
    return pool_gone_settle(s->gone, ids, n, true);
}

/* What was touched before the scan began is judged. */
static mrmr_err scan_drop_touched(struct scan *s)
{
    mrmr_autofree int64_t *drives = calloc(s->n + 1, sizeof *drives);
    size_t n = 0;
    if (!drives)
        return mrmr_nomem();
    for (size_t i = 0; i < s->n; i++)
        if (!s->worker[i].err && !s->drive[i].hold && scan_saw_touched(&s->drive[i]))
            drives[n++] = s->worker[i].drive->meta.id;
    MRMR_TRY(scan_drop_gone(s, drives, n));
    return pool_touched_drop(s->pool, s->job, drives, n);
}

/* A rename that the drive has not made yet is shown by its record. */
static mrmr_err scan_renames_wait(struct scan *s, int64_t drive, bool *ret_wait)
{
    struct pool_gone_list list;
    *ret_wait = false;
    if (!pool_gone_any(s->gone))
        return MRMR_OK;
    MRMR_TRY(pool_gone_list(s->gone, drive, false, &list));
    for (size_t i = 0; i < list.n; i++)
        *ret_wait = *ret_wait || list.record[i].kind == POOL_GONE_RENAMED;
    pool_gone_list_free(&list);
    return MRMR_OK;
}

/* What is recorded for the drive goes by the catalog's paths, and nothing that the drive was asked for
 * needs its renames still. Else it keeps them, and the scan goes on. */
static mrmr_err scan_follow(struct scan *s, struct pool_drive *drive, bool *ret_followed)
{
    size_t left = 0;
    bool wait = false;
    mrmr_err err = pool_gone_follow(s->pool, s->job, s->gone, drive, &left);
    if (!err)
        err = scan_renames_wait(s, drive->meta.id, &wait);
    *ret_followed = !err && !wait && !left;
    if (!err || mrmr_ran_short(err) || err == MRMR_CANCELLED)
        return err;
    pool_tell_story(s->pool, s->job, true, "removal-waits", drive,
        "what was removed or changed while a drive was away could not be given its new paths");
    return MRMR_OK;
}

/* Those that came while the scan looked: nobody adds any now. */
static mrmr_err scan_follow_last(void *arg, int64_t drives[], size_t *ndrives)
{
    struct scan *s = arg;
    uint64_t stamp;
    size_t n = 0;
    MRMR_TRY(pool_gone_stamp(s->gone, &stamp));
    if (stamp == s->followed)
        return MRMR_OK;
    for (size_t i = 0; i < *ndrives; i++) {
        bool followed;
        MRMR_TRY(scan_follow(s, pool_drive_by_id(s->pool, drives[i]), &followed));
        if (followed)
            drives[n++] = drives[i];
    }
    *ndrives = n;
    return MRMR_OK;
}

/* What was renamed before the scan began is known by its new name, on drives that were seen whole. Paths
 * are looked for while others write, and once more only if there are other records by then. */
static mrmr_err scan_drop_moved(struct scan *s)
{
    mrmr_autofree int64_t *drives = calloc(s->n + 1, sizeof *drives);
    uint64_t stamp;
    size_t n = 0;
    if (!drives)
        return mrmr_nomem();
    for (unsigned round = 0; round < FOLLOW_ROUNDS; round++) {
        n = 0;
        MRMR_TRY(pool_gone_stamp(s->gone, &s->followed));
        for (size_t i = 0; i < s->n; i++) {
            bool done = false, followed = false;
            if (!s->worker[i].err)
                MRMR_TRY(scan_follow(s, s->worker[i].drive, &followed));
            if (followed)
                MRMR_TRY(pool_scan_is_done_with_moves(&s->drive[i], &done));
            if (done)
                drives[n++] = s->worker[i].drive->meta.id;
        }
        MRMR_TRY(pool_gone_stamp(s->gone, &stamp));
        if (stamp == s->followed)
            break;
    }
    return pool_moved_drop_after(s->pool, s->job, s->moved_before, drives, n, scan_follow_last, s);
}

/* What was touched there is not known one by one: touched.h says what that costs. */
static void scan_tell_marked(struct scan *s, const struct pool_drive *drive)
{
    if (pool_touched_all(&s->touched, drive->meta.id))
        pool_tell(s->pool, s->job, true, "touched-all", drive,
            "more files of drive %s were changed through the mount since its last scan than are "
            "noted "
            "one by one: whatever changed or vanished there by now counts as meant, and nothing of "
            "it "
            "is held",
            drive->meta.name);
}

static mrmr_err scan_run(struct scan *s)
{
    MRMR_TRY(pool_scan_team_run(s->pool, s->job, "scan", s->worker, s->n, scan_work));
    MRMR_TRY(pool_touched_load(s->pool, &s->touched));
    for (size_t i = 0; i < s->n; i++) {
        scan_tell_marked(s, s->worker[i].drive);
        MRMR_TRY(scan_judge(s, &s->worker[i]));
    }
    scan_leave_since(s);
    MRMR_TRY(scan_drop_moved(s));
    MRMR_TRY(scan_drop_touched(s));
    struct meta_exposed_total exposed;
    MRMR_TRY(meta_exposed_total(s->pool->meta, 0, &exposed));
    s->report->exposed_bytes = exposed.bytes;
    s->report->exposed_files = exposed.files;
    return MRMR_OK;
}

mrmr_err pool_scan(struct pool *pool, const struct pool_job *job, bool accept_changes,
    struct pool_sync_report *ret_report)
{
    struct pool_sync_report report = {0};
    struct scan s = {.pool = pool, .job = job, .report = &report};
    if (pool->access != POOL_OWN)
        return mrmr_fail(MRMR_READONLY, "the pool was opened to look only");
    mrmr_err err = scan_begin(&s, accept_changes);
    if (!err)
        err = scan_run(&s);
    pool_moved_end(pool);
    scan_free(&s);
    *ret_report = report;
    return err;
}
