/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sessions (I5): number and random token, changed at every attach and detach, so that a drive that
 * was rolled back, cloned, or run from another catalog or host is told from the one we know.
 *
 * A change from session R to session N = (R.number + 1, random) takes three durable steps, none
 * inside a catalog transaction of somebody else (the intent would not be durable before the drive
 * is written, and a crash would make a diverged drive of a good one):
 *
 *     0                catalog: recorded R               drive: R
 *     1  the intent    catalog: recorded R, intended N   drive: R
 *     2  the drive     catalog: recorded R, intended N   drive: N (temp, fsync, rename, fsync folder)
 *     3  the catalog   catalog: recorded N               drive: N
 *
 * Crash argument. Cut before 1 is durable: nothing happened. Between 1 and 2: the drive holds R,
 * which is the recorded one; the intent stays and the next change overwrites it. Within 2, the file
 * is R or N, whole (base/durable.h). Between 2 and 3: the drive holds N, the intended one; the next
 * look adopts it. After 3: done. A cut within 1 or 3 leaves the catalog before or after it.
 *
 * Overwriting an intent N1 by N2 is safe only if the drive cannot hold N1 any more; so every change
 * reads the drive first and adopts N1 if it is there. And N1 read back may still be in memory only
 * (a process was killed between rename and fsync, or the fsync failed): adopting syncs the folder
 * before the catalog forgets R, else a power cut could bring R back under a catalog that knows N1
 * alone.
 *
 * An old image of the drive holds a session before R: tokens are random and numbers never used
 * again, so it is strange, and so is every session that another catalog gave it. An old copy of the
 * catalog, restored, finds the drive's session strange in the same way. Strange means: nothing on
 * the drive is written or deleted.
 *
 * Where the user detaches the drive, the mark of that (detached.h) is set by step 3's transaction: a drive that is marked has ended
 * its session, and one that has not is in service.
 *
 * boot is the boot in which the drive was attached: set by step 3 of attach, cleared by step 3 of
 * detach. If it is another boot's, the power went while the drive was attached, and the next scan
 * holds what it finds lost. It must not be forgotten before that scan: attach and detach keep a
 * foreign boot until the drive was scanned in the present one.
 */
#include "pool/drive/detached.h"
#include "pool/drive/drive.h"

#include "base/durable.h"
#include <fcntl.h>
#include <string.h>

/* --- The boot --- */

/* "" if the system does not say. */
static void boot_id(char ret_id[40])
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    ret_id[0] = '\0';
    mrmr_autoclose int fd = open("/proc/sys/kernel/random", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || mrmr_durable_read(fd, "boot_id", 64, &text) || text.size < MRMR_UUID_TEXT - 1)
        return;
    memcpy(ret_id, text.data, MRMR_UUID_TEXT - 1);
    ret_id[MRMR_UUID_TEXT - 1] = '\0';
}

/* By the scan itself, not by the clock, which may have been set back since. */
void pool_session_boot_judged(struct meta_drive *meta, bool attached)
{
    meta->boot[0] = '\0';
    if (attached)
        boot_id(meta->boot);
}

/* --- Judging --- */

enum pool_session_kind pool_session_judge(
    const struct meta_drive *meta, const struct meta_session *session)
{
    if (pool_session_equal(session, &meta->session))
        return POOL_SESSION_RECORDED;
    if (meta->intended.number && pool_session_equal(session, &meta->intended))
        return POOL_SESSION_INTENDED;
    return POOL_SESSION_STRANGE;
}

mrmr_err pool_session_diverged(const struct meta_drive *meta, const struct meta_session *session)
{
    unsigned long long there = session->number, known = meta->session.number;
    const char *how =
        there < known ? "an old image of it was copied back"
                      : (there > known ? "the catalog was restored from an old copy, or "
                                         "another computer used the drive since"
                                       : "another computer used a copy of this catalog with it");
    mrmr_fail(MRMR_DIVERGED,
        "it has diverged: the drive is in session %llu, the catalog knows %llu; %s. Its files can "
        "be "
        "read; nothing on it is written or deleted",
        there, known, how);
    mrmr_err_drive(MRMR_DIVERGED, meta->name);
    if (there < known)
        return mrmr_err_hint(MRMR_DIVERGED,
            "put the right drive there; or move %s/.mrmr away, add it as a new drive, and: mrmr "
            "rebuild %s",
            meta->uri, meta->name);
    return mrmr_err_hint(MRMR_DIVERGED,
        "use the newest catalog of this pool, on the computer that used the drive last");
}

/* --- Changing --- */

struct session_store {
    const struct meta_drive *next;
    const struct mrmr_uuid *mark;     /* NULL: it is not detached by this */
    struct pool_detached_stamp stamp; /* else */
};

/* One drive's catalog entry, durably, on its own. */
static mrmr_err session_store_in(struct meta *meta, void *arg)
{
    const struct session_store *store = arg;
    if (store->mark)
        MRMR_TRY(pool_detached_set(meta, &store->next->uuid, store->mark, &store->stamp));
    return meta_drive_store(meta, store->next);
}

/* The fields that a session change owns go into the drive's entry; others may have changed
 * meanwhile. */
static void session_publish(struct pool_drive *drive, const struct meta_drive *from)
{
    mrmr_locked(&drive->lock);
    drive->meta.session = from->session;
    drive->meta.intended = from->intended;
    memcpy(drive->meta.boot, from->boot, sizeof drive->meta.boot);
    memcpy(drive->meta.fs_id, from->fs_id, sizeof drive->meta.fs_id);
    drive->meta.total = from->total;
    drive->meta.avail = from->avail;
    drive->meta.seen = from->seen;
    drive->meta.present = from->present;
}

/* A copy of the entry; its uri is the drive's own. */
static struct meta_drive session_copy(struct pool_drive *drive)
{
    mrmr_locked(&drive->lock);
    return drive->meta;
}

static mrmr_err session_store(struct pool *pool, struct pool_drive *drive,
    const struct meta_drive *next, const struct mrmr_uuid *mark)
{
    struct session_store store = {.next = next, .mark = mark};
    if (mark)
        store.stamp = pool_detached_stamp(drive);
    MRMR_TRY(meta_atomically(pool->meta, session_store_in, &store));
    session_publish(drive, next);
    return MRMR_OK;
}

mrmr_err pool_session_adopt(struct pool *pool, struct pool_drive *drive)
{
    struct meta_drive next = session_copy(drive);
    /* Who may not write leaves the intent standing: the next who may will adopt it. */
    if (pool->access != POOL_OWN || !(drive->info.caps & DRV_CAP_WRITABLE))
        return MRMR_OK;
    MRMR_TRY(mrmr_err_drive(drv_dir_sync(drive->drv, POOL_DOT), next.name));
    next.session = next.intended;
    memset(&next.intended, 0, sizeof next.intended);
    return session_store(pool, drive, &next, NULL);
}

static mrmr_err session_write(
    struct pool *pool, struct pool_drive *drive, const struct meta_drive *meta)
{
    struct pool_identity identity = {
        .pool = pool->uuid, .uuid = meta->uuid, .slot = meta->slot, .session = meta->intended};
    memcpy(identity.name, meta->name, sizeof identity.name);
    return mrmr_err_drive(pool_identity_write(drive->drv, &identity), meta->name);
}

static void session_seen(struct pool_drive *drive, struct meta_drive *meta)
{
    struct drv_space space;
    if (drv_space(drive->drv, &space) == MRMR_OK) {
        meta->total = space.total;
        meta->avail = space.avail;
    }
    meta->seen = mrmr_clock_real();
    meta->present = true;
    memcpy(meta->fs_id, drive->info.fs_id, sizeof meta->fs_id);
}

static void session_boot(struct meta_drive *meta, bool attach)
{
    char now[40];
    boot_id(now);
    if (!meta->boot[0] || strcmp(meta->boot, now) == 0)
        memcpy(meta->boot, attach ? now : (char[40]){""}, sizeof meta->boot);
}

enum session_way { SESSION_ATTACH, SESSION_DETACH };

/* Steps 1 to 3. mark: with the last of them the drive is detached by the user's word. */
static mrmr_err session_change(
    struct pool *pool, struct pool_drive *drive, enum session_way way, const struct mrmr_uuid *mark)
{
    struct meta_drive next = session_copy(drive);
    next.intended.number = next.session.number + 1;
    MRMR_TRY(mrmr_random(next.intended.token, sizeof next.intended.token));
    MRMR_TRY(session_store(pool, drive, &next, NULL));
    MRMR_TRY(session_write(pool, drive, &next));
    next.session = next.intended;
    memset(&next.intended, 0, sizeof next.intended);
    session_boot(&next, way == SESSION_ATTACH);
    session_seen(drive, &next);
    next.present = !mark;
    return session_store(pool, drive, &next, mark);
}

/* What the drive says it is, against the entry; *ret_kind is set for our own drive only. */
static mrmr_err session_read(
    struct pool *pool, struct pool_drive *drive, enum pool_session_kind *ret_kind)
{
    struct pool_identity found;
    mrmr_err err = pool_identity_read(drive->drv, &found);
    struct meta_drive meta = session_copy(drive);
    if (err == MRMR_ABSENT) {
        mrmr_fail(MRMR_DIVERGED, "its file " POOL_IDENTITY_PATH " was removed while it was in use");
        mrmr_err_drive(MRMR_DIVERGED, meta.name);
        return mrmr_err_hint(MRMR_DIVERGED, "look who did, then run the command again");
    }
    if (err)
        return mrmr_err_drive(err, meta.name);
    if (!mrmr_uuid_equal(&found.pool, &pool->uuid) || !mrmr_uuid_equal(&found.uuid, &meta.uuid)) {
        mrmr_fail(MRMR_DIVERGED, "another drive's identity appeared at %s", meta.uri);
        mrmr_err_drive(MRMR_DIVERGED, meta.name);
        return mrmr_err_hint(MRMR_DIVERGED, "mount the right drive there");
    }
    *ret_kind = pool_session_judge(&meta, &found.session);
    return *ret_kind == POOL_SESSION_STRANGE ? pool_session_diverged(&meta, &found.session)
                                             : MRMR_OK;
}

/* What a failed look says about the drive's presence from now on. */
static mrmr_err session_failed(struct pool_drive *drive, mrmr_err err)
{
    mrmr_locked(&drive->lock);
    if (err == MRMR_DIVERGED)
        pool_drive_verdict(drive, POOL_DIVERGED);
    else if (err == MRMR_OFFLINE)
        pool_drive_verdict(drive, POOL_AWAY);
    drive->errors++;
    return err;
}

/* The drive is ours and in a session we know, which is the recorded one on return. */
static mrmr_err session_ready(struct pool *pool, struct pool_drive *drive)
{
    enum pool_session_kind kind;
    mrmr_err err = session_read(pool, drive, &kind);
    if (err)
        return session_failed(drive, err);
    return kind == POOL_SESSION_INTENDED ? pool_session_adopt(pool, drive) : MRMR_OK;
}

static bool session_attached(struct pool_drive *drive)
{
    mrmr_locked(&drive->lock);
    return drive->attached;
}

static void session_set_attached(struct pool_drive *drive, bool attached)
{
    mrmr_locked(&drive->lock);
    drive->attached = attached;
}

mrmr_err pool_drive_may_write(const struct pool *pool, struct pool_drive *drive)
{
    if (pool->access != POOL_OWN)
        return mrmr_fail(MRMR_READONLY, "the pool was opened to look only");
    if (drive->presence != POOL_PRESENT) {
        mrmr_locked(&drive->lock);
        return mrmr_story_restore(&drive->why);
    }
    if (!(drive->info.caps & DRV_CAP_WRITABLE)) {
        mrmr_fail(MRMR_READONLY, "its root %s is read-only", drive->meta.uri);
        mrmr_err_drive(MRMR_READONLY, drive->meta.name);
        return mrmr_err_hint(MRMR_READONLY, "mount it writable; if it turned read-only by itself, "
                                            "look into the system's log for errors of the disk");
    }
    return MRMR_OK;
}

enum { LEND_MOST = 8 /* pieces */ };

/* On a drive that is full to the last byte the identity's next version has no room either: the
 * slack makes it, piece by piece, and is there again afterwards, since the old version's bytes are free then. All of
 * it at once would be for whoever else writes there; it is what helps where a file system gives what came free only in larger
 * pieces, as btrfs does. */
static mrmr_err session_change_full(
    struct pool *pool, struct pool_drive *drive, enum session_way way, const struct mrmr_uuid *mark)
{
    mrmr_err err = session_change(pool, drive, way, mark);
    if (err != MRMR_SPACE)
        return err;
    for (unsigned i = 0; err == MRMR_SPACE && i <= LEND_MOST; i++) {
        struct mrmr_story story;
        bool lent = false;
        mrmr_story_save(&story);
        if (pool_drive_slack_lend_locked(drive, i == LEND_MOST, &lent) || !lent ||
            session_ready(pool, drive))
            return mrmr_story_restore(&story);
        err = session_change(pool, drive, way, mark);
    }
    if (!err && way == SESSION_DETACH && !mark && pool_drive_slack_keep_locked(pool, drive))
        mrmr_log_story(MRMR_LOG_INFO, "keeping slack");
    return err;
}

mrmr_err pool_drive_attach(struct pool *pool, struct pool_drive *drive)
{
    if (session_attached(drive))
        return MRMR_OK;
    mrmr_locked(&drive->gate);
    if (session_attached(drive))
        return MRMR_OK;
    MRMR_TRY(pool_drive_may_write(pool, drive));
    MRMR_TRY(session_ready(pool, drive));
    MRMR_TRY(session_change_full(pool, drive, SESSION_ATTACH, NULL));
    session_set_attached(drive, true);
    /* No room, or no means: it is made later. */
    if (pool_drive_slack_keep_locked(pool, drive))
        mrmr_log_story(MRMR_LOG_INFO, "keeping slack");
    return MRMR_OK;
}

mrmr_err pool_drive_detach(struct pool *pool, struct pool_drive *drive)
{
    mrmr_locked(&drive->gate);
    if (!session_attached(drive))
        return MRMR_OK;
    session_set_attached(drive, false);
    MRMR_TRY(pool_drive_may_write(pool, drive));
    MRMR_TRY(session_ready(pool, drive));
    return session_change_full(pool, drive, SESSION_DETACH, NULL);
}

mrmr_err pool_drive_detach_by(
    struct pool *pool, struct pool_drive *drive, const struct mrmr_uuid *mark)
{
    mrmr_locked(&drive->gate);
    MRMR_TRY(pool_drive_may_write(pool, drive));
    MRMR_TRY(session_ready(pool, drive));
    MRMR_TRY(session_change_full(pool, drive, SESSION_DETACH, mark));
    session_set_attached(drive, false);
    return MRMR_OK;
}

mrmr_err pool_drive_still_ours(struct pool *pool, struct pool_drive *drive)
{
    enum pool_session_kind kind;
    MRMR_TRY(pool_drive_may_write(pool, drive));
    if (session_read(pool, drive, &kind) == MRMR_OK)
        return MRMR_OK;
    /* Another thread's attach may have come between the reading of the drive and of its entry: look
     * again when it is through. */
    mrmr_locked(&drive->gate);
    mrmr_err err = session_read(pool, drive, &kind);
    return err ? session_failed(drive, err) : MRMR_OK;
}
