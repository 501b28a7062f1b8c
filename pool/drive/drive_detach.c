/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Taking a drive out of service by the user's word, so that it can be unmounted and pulled, and back.
 *
 * Crash argument. What is done of it, in this order, and where a cut leaves it:
 *
 *     1  what was written is synced, whoever is in the way is asked for, the          in service: the questions and the
 *        writers stop, who shows the pool lets go of the drive (detach_ask.h)         writers' locks go with the process
 *     2  it is synced once more: nothing is written to it any more                    likewise
 *     3  the intent, the session on the drive (drive_session.c)                       likewise; the next look adopts it
 *     4  the catalog: its session, and the mark, in one transaction (detached.h)      detached
 *
 * So a drive is either in service, in a session that is known, or detached, with all on it that was
 * acknowledged. Whatever fails before 4 leaves it in service, and the process that shows the pool takes it back. A drive that
 * is read only has no session to end and nothing to sync: 4 alone; so has one that is away, which is marked as seen gone.
 *
 * attach takes the mark out, where it is another place by the transaction that says so, and after the
 * drive was looked at as at any start: this drive, in a session that is known. What was recorded of it meanwhile is done
 * by whoever takes it into service next, as of any drive that was away (gone.h, later.h).
 */
#include "pool/drive/detach_ask.h"
#include "pool/drive/detached.h"
#include "pool/drive/drive.h"
#include "pool/drive/failing.h"
#include "pool/drive/hung.h"
#include "pool/records/direct.h"
#include "pool/writers.h"

#include <string.h>
#include <unistd.h>

/* --- whether it may be --- */

static mrmr_err find(struct pool *pool, const char *name, struct pool_drive **ret_drive)
{
    struct pool_drive *drive = pool_drive_by_name(pool, name);
    if (pool->access != POOL_OWN)
        return mrmr_fail(MRMR_READONLY, "the pool was opened to look only");
    if (!drive)
        return mrmr_err_hint(mrmr_fail(MRMR_NO_DRIVE, "the pool has no drive '%s'", name),
            "`mrmr drives` lists them");
    if (drive->meta.state == META_DRIVE_RETIRED)
        return mrmr_err_drive(
            mrmr_fail(MRMR_NO_DRIVE, "it was given up, and is used no more"), name);
    *ret_drive = drive;
    return MRMR_OK;
}

static mrmr_err may_while_rebuilt(struct pool *pool, const struct pool_drive *drive)
{
    const char *name = drive->meta.name;
    uint64_t left = 0, bytes;
    MRMR_TRY(meta_todo_totals(pool->meta, POOL_REBUILD_JOB, drive->meta.id, &left, &bytes));
    if (drive->meta.state != META_DRIVE_REBUILDING && !left)
        return MRMR_OK;
    mrmr_fail(MRMR_BUSY, "it is being rebuilt, and is not whole yet");
    return mrmr_err_hint(mrmr_err_drive(MRMR_BUSY, name), "first: mrmr rebuild %s", name);
}

static mrmr_err may_be_last(struct pool *pool, const struct pool_drive *drive)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool->drives[i] != drive && pool_drive_present(pool->drives[i]))
            return MRMR_OK;
    mrmr_fail(MRMR_CONFLICT, "it is the last drive of the pool that is in service");
    return mrmr_err_hint(mrmr_err_drive(MRMR_CONFLICT, drive->meta.name),
        "unmount the pool (mrmr umount) instead: then no drive is in use");
}

static mrmr_err may_detach(struct pool *pool, const struct pool_drive *drive)
{
    switch ((enum pool_presence)drive->presence) {
    case POOL_DETACHED:
        mrmr_fail(MRMR_EXISTS, drive->mark_gone ? "it is detached already, and is not there"
                                                : "it is detached already, and can be unmounted");
        return mrmr_err_hint(mrmr_err_drive(MRMR_EXISTS, drive->meta.name),
            "to use it again: mrmr attach %s", drive->meta.name);
    case POOL_DIVERGED:
    case POOL_FAILED:
        return mrmr_story_restore(&drive->why);
    case POOL_PRESENT:
        MRMR_TRY(may_be_last(pool, drive));
        break;
    case POOL_AWAY:
    case POOL_FOREIGN:
        break;
    }
    return may_while_rebuilt(pool, drive);
}

/* --- detach --- */

struct detaching {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_drive *drive;
    struct mrmr_uuid mark;
    struct pool_detached_stamp stamp; /* of a drive that is only read */
};

static mrmr_err mark_in(struct meta *meta, void *arg)
{
    const struct detaching *d = arg;
    return pool_detached_set(meta, &d->drive->meta.uuid, &d->mark, &d->stamp);
}

/* Until it is back, which nobody has to say. The file first: without the mark it says nothing. */
static mrmr_err detach_away(struct detaching *d)
{
    pool_detached_goes(d->pool, &d->mark);
    mrmr_err err = meta_atomically(d->pool->meta, mark_in, d);
    if (err)
        pool_detached_over(d->pool, &d->mark);
    return err;
}

/* Nobody writes to it, and nobody else has anything of it open. */
static mrmr_err detach_alone(struct detaching *d)
{
    struct pool_drive *drive = d->drive;
    if (!pool_drive_writable(drive)) {
        d->stamp = pool_detached_stamp(drive);
        return meta_atomically(d->pool->meta, mark_in, d);
    }
    MRMR_TRY(mrmr_err_drive(drv_sync_all(drive->drv), drive->meta.name));
    return pool_drive_detach_by(d->pool, drive, &d->mark);
}

static mrmr_err detach_stopped(struct detaching *d, int question)
{
    static const int64_t at_most = 15 * MRMR_NS_PER_S; /* everybody waits meanwhile */
    MRMR_TRY(pool_detach_ask_now(d->pool, d->job, d->drive, at_most, question));
    MRMR_TRY(pool_direct_none_on(d->pool, d->drive)); /* left by a mount that was killed */
    return detach_alone(d);
}

/* Nobody waits for that. What is under way on the drive may take as long as it is let. */
static mrmr_err detach_asks(struct detaching *d, int *ret_question)
{
    static const int64_t more = 15 * MRMR_NS_PER_S;
    uint64_t timeout;
    MRMR_TRY(pool_setting_u64(d->pool, "drive-timeout", &timeout));
    return pool_detach_ask(
        d->pool, d->job, d->drive, (int64_t)timeout * MRMR_NS_PER_S + more, ret_question);
}

static mrmr_err detach_present(struct detaching *d)
{
    struct pool *pool = d->pool;
    const int64_t id = d->drive->meta.id;
    mrmr_autoclose int question = -1;
    MRMR_TRY(pool_catalog_copy(pool, d->job, POOL_COPIES_ALL, NULL));
    if (pool_drive_writable(d->drive)) /* most of it, while others write on */
        MRMR_TRY(mrmr_err_drive(drv_sync_all(d->drive->drv), d->drive->meta.name));
    MRMR_TRY(detach_asks(d, &question));
    MRMR_TRY(pool_stop_for(pool, d->job, &id, 1));
    mrmr_err err = detach_stopped(d, question);
    if (err) { /* before anybody writes on: who shows the pool may be about to let go of it yet */
        close(question);
        question = -1;
    }
    pool_writers_go(pool->writers);
    return err;
}

static mrmr_err detach_run(struct detaching *d, struct pool_detach_report *report)
{
    struct pool *pool = d->pool;
    struct pool_drive *drive = d->drive;
    struct meta_exposed_total exposed;
    MRMR_TRY(may_detach(pool, drive));
    MRMR_TRY(meta_exposed_total(pool->meta, drive->meta.id, &exposed));
    MRMR_TRY(mrmr_uuid_make(&d->mark));
    report->exposed_files = exposed.files;
    report->exposed_bytes = exposed.bytes;
    report->away = drive->presence != POOL_PRESENT;
    MRMR_TRY(report->away ? detach_away(d) : detach_present(d));
    pool_views_forget(pool, 0); /* they hold rows open */
    pool_drive_verdict_detached(drive, &d->mark, report->away);
    pool_tell(pool, NULL, false, "drive-detached", drive, "drive %s was detached%s",
        drive->meta.name, report->away ? ", while it was away" : "");
    return MRMR_OK;
}

mrmr_err pool_detach(struct pool *pool, const struct pool_job *job, const char *name,
    struct pool_detach_report *ret_report)
{
    struct detaching d = {.pool = pool, .job = job};
    struct pool_detach_report report = {0};
    MRMR_TRY(find(pool, name, &d.drive));
    MRMR_TRY(detach_run(&d, &report));
    *ret_report = report;
    return MRMR_OK;
}

/* --- attach --- */

static mrmr_err unmark_in(struct meta *meta, void *arg)
{
    const struct pool_drive *drive = arg;
    return pool_detached_set(meta, &drive->meta.uuid, NULL, NULL);
}

static mrmr_err attach_here(struct pool *pool, struct pool_drive *drive)
{
    const struct mrmr_uuid mark = drive->mark;
    pool_drive_look_at_root(pool, drive);
    if (drive->presence != POOL_PRESENT) {
        struct mrmr_story why = drive->why;
        pool_drive_look(pool, drive); /* detached still */
        return mrmr_story_restore(&why);
    }
    mrmr_err err = meta_atomically(pool->meta, unmark_in, drive);
    if (err) {
        struct mrmr_story why;
        mrmr_story_save(&why);
        pool_drive_verdict_detached(drive, &mark, false);
        return mrmr_story_restore(&why);
    }
    pool_detached_over(pool, &mark);
    MRMR_TRY(pool_drive_note(pool, drive, true));
    pool_tell(
        pool, NULL, false, "drive-attached", drive, "drive %s is in service", drive->meta.name);
    return MRMR_OK;
}

/* It gave errors, and the user wants it all the same. */
static mrmr_err attach_failing(struct pool *pool, struct pool_drive *drive)
{
    pool_drive_look_at_root(pool, drive);
    if (drive->presence != POOL_PRESENT)
        return mrmr_story_restore(&drive->why);
    drive->failing = false;
    pool_failing_over(pool, &drive->meta.uuid);
    MRMR_TRY(pool_drive_note(pool, drive, true));
    pool_tell(
        pool, NULL, false, "drive-attached", drive, "drive %s is in service", drive->meta.name);
    return MRMR_OK;
}

static mrmr_err attach_run(struct pool *pool, struct pool_drive *drive, const char *place)
{
    mrmr_autofree char *uri = NULL;
    if (place)
        MRMR_TRY(pool_place_resolve(place, &uri));
    if (uri && strcmp(uri, drive->meta.uri) != 0)
        return pool_drive_move(pool, drive, uri);
    if (drive->presence == POOL_DETACHED)
        return attach_here(pool, drive);
    if (drive->failing)
        return attach_failing(pool, drive);
    return drive->presence == POOL_PRESENT ? MRMR_OK : mrmr_story_restore(&drive->why);
}

mrmr_err pool_attach(struct pool *pool, const char *name, const char *place)
{
    struct pool_drive *drive;
    MRMR_TRY(find(pool, name, &drive));
    return attach_run(pool, drive, place);
}
